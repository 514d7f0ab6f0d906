//! `RUSTC_BOOTSTRAP=1 cargo fuzz run sockjs_messages` on a stable toolchain.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gumboot_fuzz::sockjs_messages::target(data));
