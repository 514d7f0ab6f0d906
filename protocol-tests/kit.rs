//! The suite's own tests: its reader and matcher, and the proof that it can fail. `kit/broker.rs` is a tiny STOMP
//! server with a fault on demand; each fault must be found by the case that looks for it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod actor;
mod cli;
mod coverage;
mod expect;
mod harness;
mod launcher;
mod names;
mod profile;
mod replay;
mod report;
mod runner;
mod scan;
mod script;
mod suite;
mod transcript;
mod virtual_broker;
mod wire;

#[path = "kit/broker.rs"]
mod broker;
#[path = "kit/coverage_tests.rs"]
mod coverage_tests;
#[path = "kit/faults.rs"]
mod faults;
#[path = "kit/launcher_tests.rs"]
mod launcher_tests;
#[path = "kit/matching_tests.rs"]
mod matching_tests;
#[path = "kit/transcript_tests.rs"]
mod transcript_tests;
#[path = "kit/wire_tests.rs"]
mod wire_tests;
