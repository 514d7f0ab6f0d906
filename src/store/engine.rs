//! What the engines on disk have in common: the directory, and how a store lives on after its engine failed.

use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, RwLock};

use super::error::{Damage, OpenError, StoreError};
use super::format::Directory;
use super::net::{Outcomes, net};
use super::options;
use super::record::{MessageRecord, Record};
use super::{Batch, Durability, Store, Usage};

/// An engine's files, open. Dropped after its first error, and opened again.
pub(super) trait Engine: Sized + Send + Sync + fmt::Debug {
    /// Where the files are, beyond the directory.
    type Place: Clone + Send + Sync + fmt::Debug;

    /// Makes the files of an empty store in a directory, and closes them.
    fn create(directory: &Path, place: &Self::Place) -> Result<(), StoreError>;

    /// Opens files that are there. What it then reads is safe from a power cut.
    fn open(directory: &Path, place: &Self::Place) -> Result<Self, StoreError>;

    /// The number of the last batch that took effect; zero before the first.
    fn last_batch(&self) -> u64;

    /// Applies the outcomes of a batch, all or nothing, and remembers its number with them. One thread at a time.
    fn apply(&self, outcomes: &Outcomes<'_>, number: u64, durability: Durability) -> Result<(), StoreError>;

    /// As [`Store::check`].
    fn check(&self, visit: &mut dyn FnMut(Result<Record, Damage>) -> ControlFlow<()>) -> Result<(), StoreError>;

    /// As [`Store::read`].
    fn read(&self, sequence: u64) -> Result<Option<MessageRecord>, StoreError>;

    /// As [`Store::usage`].
    fn usage(&self) -> Usage;
}

/// A store on disk.
#[derive(Debug)]
pub(super) struct Kept<E: Engine> {
    /// `None` when the files are not in a directory of ours.
    directory: Option<Directory>,
    /// Where the files are; empty when they are in no directory.
    data: PathBuf,
    place: E::Place,
    /// `None` after an error, until it opens again.
    engine: RwLock<Option<E>>,
    /// Held while a batch is committed, so that reading goes on meanwhile.
    committing: Mutex<()>,
}

impl<E: Engine> Kept<E> {
    /// Opens the store at `path`, or creates it.
    pub(super) fn open(path: &Path, name: options::Engine, place: E::Place) -> Result<Kept<E>, OpenError> {
        let create = |new: &Path| guarded(|| E::create(new, &place)).map_err(|error| opening(path, error));
        Kept::within(Directory::open(path, name, create)?, path, place)
    }

    /// Opens the store at `path`, where there is one.
    pub(super) fn open_existing(path: &Path, name: options::Engine, place: E::Place) -> Result<Kept<E>, OpenError> {
        Kept::within(Directory::open_existing(path, name)?, path, place)
    }

    /// A store whose files are not in a directory of ours.
    pub(super) fn elsewhere(place: E::Place) -> Result<Kept<E>, OpenError> {
        let engine = guarded(|| E::open(Path::new(""), &place)).map_err(|error| opening(Path::new(""), error))?;
        Ok(Kept::new(None, PathBuf::new(), place, engine))
    }

    /// Makes a store at `path` that holds what `fill` puts into it. Where `fill` fails, or the process ends meanwhile, there
    /// is none, or the empty one that was there before.
    pub(super) fn filled<T, F: From<OpenError>>(
        path: &Path,
        name: options::Engine,
        place: E::Place,
        fill: impl FnOnce(&dyn Store) -> Result<T, F>,
    ) -> Result<T, F> {
        let refused = |error: StoreError| opening(path, error);
        let content = |data: &Path| Ok(guarded(|| E::open(data, &place)).map_err(refused)?.usage().messages);
        Directory::replace(path, name, content, |new| {
            guarded(|| E::create(new, &place)).map_err(refused)?;
            let engine = guarded(|| E::open(new, &place)).map_err(refused)?;
            let store = Kept::new(None, new.to_owned(), place.clone(), engine);
            let filled = fill(&store)?;
            let expected = store.usage().messages;
            drop(store);
            // Opened again, it is closed for certain before its directory is renamed; and it says what others will see.
            let found = guarded(|| E::open(new, &place)).map_err(refused)?.usage().messages;
            if found != expected {
                return Err(refused(StoreError::Damaged(Damage::Count { expected, found })).into());
            }
            Ok(filled)
        })
    }

    fn within(directory: Directory, path: &Path, place: E::Place) -> Result<Kept<E>, OpenError> {
        let refused = |error: StoreError| opening(path, error);
        let engine = guarded(|| E::open(&directory.data, &place)).map_err(refused)?;
        let (found, expected) = (engine.last_batch(), directory.marked());
        if found < expected {
            return Err(refused(StoreError::Damaged(Damage::Behind { expected, found })));
        }
        let data = directory.data.clone();
        Ok(Kept::new(Some(directory), data, place, engine))
    }

    fn new(directory: Option<Directory>, data: PathBuf, place: E::Place, engine: E) -> Kept<E> {
        Kept { directory, data, place, engine: RwLock::new(Some(engine)), committing: Mutex::new(()) }
    }

    fn reopen(&self) -> Result<E, StoreError> {
        guarded(|| E::open(&self.data, &self.place))
    }

    /// Does something with the engine, which is opened first if it is closed.
    fn with<T>(&self, act: impl FnOnce(&E) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(engine) = &*self.engine.read() {
            return guarded(|| act(engine));
        }
        let mut closed = self.engine.write();
        let engine = match &mut *closed {
            Some(engine) => engine,
            none => none.insert(self.reopen()?),
        };
        guarded(|| act(engine))
    }
}

impl<E: Engine> Store for Kept<E> {
    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        let _only_one = self.committing.lock();
        let outcomes = net(batch);
        // Where it does not even open, nothing was tried.
        let number = self.with(|engine| Ok(engine.last_batch() + 1))?;
        let Err(error) = self.with(|engine| engine.apply(&outcomes, number, durability)) else {
            if let (Some(directory), Durability::Now) = (&self.directory, durability) {
                // A mark that is missing makes damage harder to notice, and nothing else.
                let _ = directory.mark(number);
            }
            return Ok(());
        };
        let mut engine = self.engine.write();
        // Closed first: no file can be open twice.
        *engine = None;
        match self.reopen() {
            Ok(reopened) => {
                // A batch that is there may be so only in the memory of the operating system.
                let is_there = reopened.last_batch() >= number;
                *engine = Some(reopened);
                Err(if is_there { error.in_doubt() } else { error })
            }
            Err(_) => Err(error.in_doubt()),
        }
    }

    fn scan(&self, visit: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<(), StoreError> {
        let mut damaged = None;
        self.with(|engine| {
            engine.check(&mut |record| match record {
                Ok(record) => visit(record),
                Err(damage) => {
                    damaged = Some(damage);
                    ControlFlow::Break(())
                }
            })
        })?;
        damaged.map_or(Ok(()), |damage| Err(StoreError::Damaged(damage)))
    }

    fn check(&self, visit: &mut dyn FnMut(Result<Record, Damage>) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.with(|engine| engine.check(visit))
    }

    fn read(&self, sequence: u64) -> Result<Option<MessageRecord>, StoreError> {
        self.with(|engine| engine.read(sequence))
    }

    fn usage(&self) -> Usage {
        self.engine.read().as_ref().map(E::usage).unwrap_or_default()
    }
}

/// Files that are not what they should be may make an engine panic, which must not end the broker.
fn guarded<T>(act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(StoreError::Damaged(Damage::Engine("it panicked, see standard error".to_owned()))))
}

/// An error of the engine as one of opening.
fn opening(path: &Path, error: StoreError) -> OpenError {
    let path = path.to_owned();
    match error {
        StoreError::Damaged(damage) => OpenError::Damaged { path, damage },
        StoreError::DiskFull => OpenError::Io { path, source: std::io::ErrorKind::StorageFull.into() },
        StoreError::Io(source) => OpenError::Io { path, source },
        StoreError::InDoubt(error) => opening(&path, *error),
    }
}
