//! `gumboot store import`: a store out of a file.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;

use clap::Args;
use gumboot::store::{self, Moved, Options};

use super::progress::{Progress, size};
use super::{Failure, Which};

/// Makes a store out of an export, in place of one that is empty or does not exist
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The export; "-" for standard input
    #[arg(value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    which: Which,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let options = self.which.options()?;
        let moved = if self.from.as_os_str() == "-" {
            imported(&options, io::stdin().lock(), None)?
        } else {
            let failed = |error: io::Error| Failure::File { path: self.from.clone(), error };
            let file = File::open(&self.from).map_err(failed)?;
            // What is no plain file has no length that says anything.
            let about = file.metadata().map_err(failed)?;
            imported(&options, file, about.is_file().then_some(about.len()))?
        };
        let (bytes, path) = (size(moved.bytes), options.path.display());
        writeln!(
            io::stdout(),
            "imported {} messages, {bytes}, into the store {path} ({})",
            moved.messages,
            options.engine
        )?;
        Ok(())
    }
}

fn imported(options: &Options, from: impl Read, length: Option<u64>) -> Result<Moved, Failure> {
    let mut progress = Progress::new("importing", length);
    Ok(store::import_as(options, BufReader::with_capacity(1 << 20, from), |moved| progress.at(moved.bytes, moved))?)
}
