//! `RUSTC_BOOTSTRAP=1 cargo fuzz run websocket_draft76` on a stable toolchain.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gumboot_fuzz::websocket_draft76::target(data));
