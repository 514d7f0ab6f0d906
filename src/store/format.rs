//! The directory of a store: who may use it, and what made it.
//!
//! ```text
//! <path>/lock           held by the one process that has the store open
//! <path>/data/FORMAT    the engine and the version of the format
//! <path>/data/...       the engine's files
//! <path>/new/...        a store that is being made; becomes `data` when it is whole and on disk
//! ```
//!
//! `data` so either is a whole store or does not exist, whenever the power fails.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::{Damage, FORMAT_VERSION, OpenError};
use super::options::Engine;

const LOCK: &str = "lock";
const DATA: &str = "data";
const NEW: &str = "new";
const FORMAT: &str = "FORMAT";

/// The first words of `FORMAT`.
const TITLE: &str = "gumboot store";

/// A directory that this process alone uses.
#[derive(Debug)]
pub(super) struct Directory {
    /// Where the engine's files are.
    pub(super) data: PathBuf,
    /// Released when it is dropped.
    _lock: File,
}

impl Directory {
    /// Locks the store at `path`, and checks that `engine` made it. Where there is none, `create` makes one in the directory
    /// it is given and closes it again.
    pub(super) fn open(
        path: &Path,
        engine: Engine,
        create: impl FnOnce(&Path) -> Result<(), OpenError>,
    ) -> Result<Directory, OpenError> {
        let failed = |source: io::Error| OpenError::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        refuse_foreign(path)?;
        let lock = lock(path)?;
        let data = path.join(DATA);
        if !data.try_exists().map_err(failed)? {
            let new = path.join(NEW);
            // What is there was never in use: `data` would exist.
            if new.try_exists().map_err(failed)? {
                fs::remove_dir_all(&new).map_err(failed)?;
            }
            fs::create_dir(&new).map_err(failed)?;
            let format = format!("{TITLE}\nversion = {FORMAT_VERSION}\nengine = {engine}\n");
            fs::write(new.join(FORMAT), format).map_err(failed)?;
            create(&new)?;
            sync_tree(&new).map_err(failed)?;
            fs::rename(&new, &data).map_err(failed)?;
            sync_directory(path).map_err(failed)?;
            path.canonicalize().ok().and_then(|path| path.parent().map(sync_directory)).transpose().map_err(failed)?;
        }
        check_format(path, &data, engine)?;
        Ok(Directory { data, _lock: lock })
    }
}

/// Makes all files below `directory` safe, and the directories that name them.
pub(super) fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            match File::open(entry.path()) {
                Ok(file) => file.sync_all()?,
                // Engines replace files of theirs in the background.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    sync_directory(directory)
}

/// Makes the names in a directory safe.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Bytes that the files below `directory` take on disk. What cannot be read counts as nothing.
pub(super) fn size_of_tree(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => size_of_tree(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// A directory with anything else in it is somebody else's.
fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let failed = |source: io::Error| OpenError::Io { path: path.to_owned(), source };
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // A directory that is a disk of its own begins with this one.
        if ![LOCK, DATA, NEW, "lost+found"].iter().any(|known| name == *known) {
            return Err(OpenError::Foreign { path: path.to_owned() });
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let name = path.join(LOCK);
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
    let file = opened.map_err(|source| OpenError::Io { path: name.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path: name, source }),
    }
}

fn check_format(path: &Path, data: &Path, wanted: Engine) -> Result<(), OpenError> {
    let text = match fs::read(data.join(FORMAT)) {
        Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(OpenError::Io { path: data.join(FORMAT), source }),
    };
    let path = || path.to_owned();
    let mut lines = text.lines();
    let title = lines.next().filter(|title| *title == TITLE);
    let version = lines.next().and_then(|line| line.strip_prefix("version = ")?.parse::<u32>().ok());
    let (Some(_), Some(version)) = (title, version) else {
        return Err(OpenError::Damaged { path: path(), damage: Damage::Format });
    };
    match version {
        ..FORMAT_VERSION => return Err(OpenError::Older { path: path(), found: version }),
        FORMAT_VERSION => {}
        _ => return Err(OpenError::Newer { path: path(), found: version }),
    }
    match lines.next().and_then(|line| Engine::parse(line.strip_prefix("engine = ")?)) {
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(OpenError::OtherEngine { path: path(), found, wanted }),
        None => Err(OpenError::Damaged { path: path(), damage: Damage::Format }),
    }
}
