//! `gumboot version`: which one is this?

use std::io::Write;

use clap::Args;

use super::Failure;

/// Prints the version
#[derive(Debug, Args)]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        writeln!(std::io::stdout(), "gumboot {}", env!("CARGO_PKG_VERSION"))?;
        Ok(())
    }
}
