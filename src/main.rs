//! The `gumboot` command line.

mod cli;

use std::process::ExitCode;

/// For whom the system's allocator keeps too much: see `docs/configuration.md`.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run()
}
