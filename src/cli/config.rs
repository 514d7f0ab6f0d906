//! `gumboot config`: what holds, and who says so.

use std::io::Write;

use clap::Args;

use super::{Configuration, Failure};

/// Prints the effective configuration as a configuration file, with the origin of each value
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (_, loaded) = self.configuration.load()?;
        write!(std::io::stdout(), "{}", loaded.effective)?;
        Ok(())
    }
}
