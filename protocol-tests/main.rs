//! A conformance suite for any STOMP broker: see `README.md` beside this file.

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

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(std::env::args().skip(1), &mut std::io::stdout().lock())
}
