//! `RUSTC_BOOTSTRAP=1 cargo fuzz run stomp_decoder` on a stable toolchain.
#![no_main]

#[path = "../src/stomp_decoder.rs"]
mod stomp_decoder;

libfuzzer_sys::fuzz_target!(|data: &[u8]| stomp_decoder::target(data));
