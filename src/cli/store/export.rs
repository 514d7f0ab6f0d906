//! `gumboot store export`: what is stored, as a file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use gumboot::store::{self, Moved, Store};

use super::progress::{Progress, size};
use super::{Failure, Which};

/// Writes everything that is stored to a file, which any engine can import
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file, which must not exist; "-" or nothing for standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let target = self.out.filter(|path| path.as_os_str() != "-");
        if target.is_none() && io::stdout().is_terminal() {
            return Err(Failure::Terminal);
        }
        let options = self.which.options()?;
        // Looked for before a long wait, and again at the end.
        target.as_deref().map(refuse_present).transpose()?;
        let store = store::open_existing(&options)?;
        let moved = match &target {
            None => written(&*store, io::stdout().lock())?,
            Some(path) => {
                let part = Part::create(path)?;
                let moved = written(&*store, &part.file).inspect_err(|_| part.remove())?;
                part.finish(path)?;
                moved
            }
        };
        // The export may be on standard output.
        writeln!(
            io::stderr(),
            "exported {} messages, {}, from the store {} ({})",
            moved.messages,
            size(moved.bytes),
            options.path.display(),
            options.engine
        )?;
        Ok(())
    }
}

fn written(store: &dyn Store, to: impl Write) -> Result<Moved, Failure> {
    let mut progress = Progress::new("exporting", Some(store.usage().messages));
    let mut to = BufWriter::with_capacity(1 << 20, to);
    Ok(store::export(store, &mut to, |moved| progress.at(moved.messages, moved))?)
}

fn refuse_present(path: &Path) -> Result<(), Failure> {
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::Present { path: path.to_owned() }),
        Err(error) => Err(Failure::File { path: path.to_owned(), error }),
    }
}

/// A file that is not yet an export: it gets its name when it is whole and on disk.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(target: &Path) -> Result<Part, Failure> {
        let mut name = target.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let failed = |error: io::Error| Failure::File { path: path.clone(), error };
        // One that an interrupted export left is written over; one that is being written is not.
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Failure::Writing { path }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // It may have become a whole export between opening and locking.
        let is_same = fs::metadata(&path).and_then(|named| Ok(named.ino() == file.metadata()?.ino()));
        if !is_same.map_err(failed)? {
            return Err(Failure::Writing { path });
        }
        file.set_len(0).map_err(failed)?;
        Ok(Part { path, file })
    }

    fn finish(self, target: &Path) -> Result<(), Failure> {
        refuse_present(target).inspect_err(|_| self.remove())?;
        let failed = |error: io::Error| Failure::File { path: target.to_owned(), error };
        self.file.sync_all().map_err(failed)?;
        fs::rename(&self.path, target).map_err(failed)?;
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    fn remove(&self) {
        // Its name says what it is where it cannot be removed.
        let _ = fs::remove_file(&self.path);
    }
}
