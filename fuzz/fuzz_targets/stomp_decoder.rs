//! `RUSTC_BOOTSTRAP=1 cargo fuzz run stomp_decoder` on a stable toolchain.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gumboot_fuzz::stomp_decoder::target(data));
