//! The directory of a store: who may use it, and what made it.
//!
//! ```text
//! <path>/lock           held by the one process that has the store open
//! <path>/data/FORMAT    the engine and the version of the format
//! <path>/data/MARK      a batch that was safe; there may be later ones, but not only earlier ones
//! <path>/data/journal-* the newest batches, which the engine may not have yet
//! <path>/data/...       the engine's files
//! <path>/new/...        a store that is being made; becomes `data` when it is whole and on disk
//! <path>/old/...        an empty store that another one took the place of; of no use
//! ```
//!
//! `data` so either is a whole store or does not exist, whenever the power fails.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{Damage, FORMAT_VERSION, OLDEST_VERSION, OpenError};
use super::options::Engine;

const LOCK: &str = "lock";
const DATA: &str = "data";
const NEW: &str = "new";
const OLD: &str = "old";
const FORMAT: &str = "FORMAT";
const MARK: &str = "MARK";

/// How long to try to lock a store, and the pause between.
const LOCKING: Duration = Duration::from_secs(1);
const LOCKING_PAUSE: Duration = Duration::from_millis(10);

/// A number, and its checksum.
const MARK_BYTES: usize = 12;

/// The first words of `FORMAT`.
const TITLE: &str = "gumboot store";

/// A directory that this process alone uses.
#[derive(Debug)]
pub(super) struct Directory {
    /// Where the engine's files are.
    pub(super) data: PathBuf,
    /// The version of its format.
    pub(super) version: u32,
    mark: File,
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
            create(&prepare(path, engine).map_err(failed)?)?;
            put_in_place(path).map_err(failed)?;
        }
        Directory::locked(path, engine, lock)
    }

    /// Locks the store at `path`, and checks that `engine` made it. Nothing is made where there is none.
    pub(super) fn open_existing(path: &Path, engine: Engine) -> Result<Directory, OpenError> {
        match path.join(DATA).try_exists() {
            Ok(true) => Directory::locked(path, engine, lock(path)?),
            Ok(false) => Err(OpenError::Missing { path: path.to_owned() }),
            Err(source) => Err(OpenError::Io { path: path.to_owned(), source }),
        }
    }

    /// Has `fill` make a store in the directory it is given, and close it again; it then takes the place of the one at `path`,
    /// which must have no content, or not exist.
    pub(super) fn replace<T, F: From<OpenError>>(
        path: &Path,
        engine: Engine,
        content: impl FnOnce(&Path, u32) -> Result<u64, OpenError>,
        fill: impl FnOnce(&Path) -> Result<T, F>,
    ) -> Result<T, F> {
        let failed = |source: io::Error| OpenError::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        refuse_foreign(path)?;
        let _lock = lock(path)?;
        let data = path.join(DATA);
        if data.try_exists().map_err(failed)? {
            let version = check_format(path, &data, engine)?;
            let messages = content(&data, version)?;
            if messages > 0 {
                return Err(OpenError::NotEmpty { path: path.to_owned(), messages }.into());
            }
        }
        let new = prepare(path, engine).map_err(failed)?;
        let filled = fill(&new).inspect_err(|_| {
            // It is of no use, and of no harm where it cannot be removed.
            let _ = fs::remove_dir_all(&new);
        })?;
        put_in_place(path).map_err(failed)?;
        Ok(filled)
    }

    fn locked(path: &Path, engine: Engine, lock: File) -> Result<Directory, OpenError> {
        let data = path.join(DATA);
        let version = check_format(path, &data, engine)?;
        let mark = OpenOptions::new().read(true).write(true).open(data.join(MARK));
        let mark = mark.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => OpenError::Damaged { path: path.to_owned(), damage: Damage::Lost(MARK) },
            _ => OpenError::Io { path: data.join(MARK), source },
        })?;
        Ok(Directory { data, version, mark, _lock: lock })
    }

    /// Says that the store is of the present version now, which it was made into.
    pub(super) fn upgrade(&mut self, engine: Engine) -> io::Result<()> {
        let made = self.data.join(format!("{FORMAT}.new"));
        fs::write(&made, format_of(engine))?;
        File::open(&made)?.sync_all()?;
        fs::rename(&made, self.data.join(FORMAT))?;
        sync_directory(&self.data)?;
        self.version = FORMAT_VERSION;
        Ok(())
    }

    /// Whether somebody removed it meanwhile. Its files can still be written then, and are gone when they are closed.
    pub(super) fn is_removed(&self) -> bool {
        self.mark.metadata().is_ok_and(|about| about.nlink() == 0)
    }

    /// Remembers a batch that is safe. Not synced, as it is never more than the truth: it costs nothing, and may be lost.
    pub(super) fn mark(&self, batch: u64) -> io::Result<()> {
        let number = batch.to_be_bytes();
        let mut bytes = [0; MARK_BYTES];
        for (to, from) in bytes.iter_mut().zip(number.into_iter().chain(crc32fast::hash(&number).to_be_bytes())) {
            *to = from;
        }
        self.mark.write_all_at(&bytes, 0)
    }

    /// A batch that was safe once; zero where none is known of.
    pub(super) fn marked(&self) -> u64 {
        let mut bytes = [0; MARK_BYTES];
        let read = self.mark.read_exact_at(&mut bytes, 0).ok();
        let parts = read.and_then(|()| bytes.split_first_chunk::<8>());
        // One that was half written says nothing.
        parts
            .filter(|(number, sum)| crc32fast::hash(*number).to_be_bytes() == **sum)
            .map_or(0, |(number, _)| u64::from_be_bytes(*number))
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

/// Makes a directory for a new store, without the engine's files.
fn prepare(path: &Path, engine: Engine) -> io::Result<PathBuf> {
    let new = path.join(NEW);
    // What is there was never in use: it would be `data`.
    remove_tree(&new)?;
    fs::create_dir(&new)?;
    fs::write(new.join(FORMAT), format_of(engine))?;
    fs::write(new.join(MARK), [])?;
    Ok(new)
}

/// What `FORMAT` says.
fn format_of(engine: Engine) -> String {
    format!("{TITLE}\nversion = {FORMAT_VERSION}\nengine = {engine}\n")
}

/// Makes the new store the one that is used. The one before has no content.
fn put_in_place(path: &Path) -> io::Result<()> {
    let (new, data, old) = (path.join(NEW), path.join(DATA), path.join(OLD));
    sync_tree(&new)?;
    remove_tree(&old)?;
    match fs::rename(&data, &old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::rename(&new, &data)?;
    sync_directory(path)?;
    path.canonicalize()?.parent().map(sync_directory).transpose()?;
    remove_tree(&old)
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A directory with anything else in it is somebody else's.
fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let failed = |source: io::Error| OpenError::Io { path: path.to_owned(), source };
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // A directory that is a disk of its own begins with this one.
        if ![LOCK, DATA, NEW, OLD, "lost+found"].iter().any(|known| name == *known) {
            return Err(OpenError::Foreign { path: path.to_owned() });
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let name = path.join(LOCK);
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
    let file = opened.map_err(|source| OpenError::Io { path: name.clone(), source })?;
    let until = Instant::now() + LOCKING;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // A program that another thread of the last owner is about to start holds it for a moment longer than that one.
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOCKING_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(OpenError::Io { path: name, source }),
        }
    }
}

/// Checks what made a store; answers with the version of its format.
fn check_format(path: &Path, data: &Path, wanted: Engine) -> Result<u32, OpenError> {
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
        ..OLDEST_VERSION => return Err(OpenError::Older { path: path(), found: version }),
        OLDEST_VERSION..=FORMAT_VERSION => {}
        _ => return Err(OpenError::Newer { path: path(), found: version }),
    }
    match lines.next().and_then(|line| Engine::parse(line.strip_prefix("engine = ")?)) {
        Some(found) if found == wanted => Ok(version),
        Some(found) => Err(OpenError::OtherEngine { path: path(), found, wanted }),
        None => Err(OpenError::Damaged { path: path(), damage: Damage::Format }),
    }
}
