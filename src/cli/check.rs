//! `gumboot check`: is the configuration right?

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{Changes, Failure};

/// Says whether the configuration is right, and everything that is wrong with it
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file; else the one that GUMBOOT_CONFIG names, else ./config.toml if there is one
    file: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (found, _) = self.changes.load(self.file)?;
        writeln!(std::io::stdout(), "{found}: ok")?;
        Ok(())
    }
}
