//! What is fuzzed: each module is a target, a function that takes any bytes and panics where a promise is broken.
//!
//! `fuzz_targets` gives them to a fuzzer; the package's own tests run them over `corpus` and mutations of it, without one.

pub mod config;
pub mod deflate;
pub mod sockjs_messages;
pub mod stomp_decoder;
pub mod websocket_draft76;
pub mod websocket_packets;
