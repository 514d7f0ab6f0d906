//! What the engines on disk have in common: the directory, and how a store lives on after its engine failed.

use std::fmt;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::error::{Damage, OpenError, StoreError};
use super::format::Directory;
use super::journal::{Files, Form, Journal};
use super::journaled::Journaled;
use super::net::{Outcomes, net};
use super::options::{self, Options};
use super::pending::Pending;
use super::record::{MessageRecord, Record};
use super::{Batch, Durability, Store, Usage};

/// The first version of the format that has a journal.
const JOURNALED: u32 = 2;

/// An engine's files, open. Dropped after its first error, and opened again.
pub(super) trait Engine: Sized + Send + Sync + fmt::Debug + 'static {
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
    /// `None` when the files are not in a directory of ours: each batch then goes to the engine at once.
    journaled: Option<Journaled<E>>,
    core: Arc<Core<E>>,
    /// Held while a batch is committed without a journal, so that reading goes on meanwhile.
    committing: Mutex<()>,
    /// The last that was noted down as safe.
    noted: AtomicU64,
    /// `None` likewise. Released last.
    directory: Option<Directory>,
}

/// An engine that is opened again after each error.
#[derive(Debug)]
pub(super) struct Core<E: Engine> {
    /// Where the files are; empty when they are in no directory.
    data: PathBuf,
    place: E::Place,
    /// `None` after an error, until it opens again.
    engine: RwLock<Option<E>>,
    /// The last batch that it said was safe.
    safe: AtomicU64,
}

impl<E: Engine> Kept<E> {
    /// Opens the store that the options describe, or creates it.
    pub(super) fn open(options: &Options, place: E::Place) -> Result<Kept<E>, OpenError> {
        let create = |new: &Path| create::<E>(new, &place, options).map_err(|error| opening(&options.path, error));
        Kept::within(Directory::open(&options.path, options.engine, create)?, options, place)
    }

    /// Opens the store that the options describe, where there is one.
    pub(super) fn open_existing(options: &Options, place: E::Place) -> Result<Kept<E>, OpenError> {
        Kept::within(Directory::open_existing(&options.path, options.engine)?, options, place)
    }

    /// A store whose files are not in a directory of ours.
    pub(super) fn elsewhere(place: E::Place) -> Result<Kept<E>, OpenError> {
        let engine = guarded(|| E::open(Path::new(""), &place)).map_err(|error| opening(Path::new(""), error))?;
        Ok(Kept::new(None, Core::new(PathBuf::new(), place, engine), None))
    }

    /// Makes the store that the options describe, with what `fill` puts into it. Where `fill` fails, or the process ends
    /// meanwhile, there is none, or the empty one that was there before.
    pub(super) fn filled<T, F: From<OpenError>>(
        options: &Options,
        place: E::Place,
        fill: impl FnOnce(&dyn Store) -> Result<T, F>,
    ) -> Result<T, F> {
        let Options { path, engine: name, .. } = options;
        let refused = |error: StoreError| opening(path, error);
        let content = |data: &Path, version: u32| {
            let opened = match version {
                ..JOURNALED => guarded(|| E::open(data, &place)),
                _ => caught_up::<E>(data, &place, options).map(|(engine, _)| engine),
            };
            Ok(opened.map_err(refused)?.usage().messages)
        };
        Directory::replace(path, *name, content, |new| {
            create::<E>(new, &place, options).map_err(refused)?;
            let engine = guarded(|| E::open(new, &place)).map_err(refused)?;
            let store = Kept::new(None, Core::new(new.to_owned(), place.clone(), engine), None);
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

    fn within(mut directory: Directory, options: &Options, place: E::Place) -> Result<Kept<E>, OpenError> {
        let refused = |error: StoreError| opening(&options.path, error);
        if directory.version < JOURNALED {
            // Only a store that can be opened is made into one of this version.
            drop(guarded(|| E::open(&directory.data, &place)).map_err(refused)?);
            Journal::create(&directory.data, options.journal_bytes).map_err(|error| refused(error.into()))?;
            directory.upgrade(options.engine).map_err(|error| refused(error.into()))?;
        }
        let (engine, journal) = caught_up::<E>(&directory.data, &place, options).map_err(refused)?;
        let (found, expected) = (engine.last_batch(), directory.marked());
        if found < expected {
            return Err(refused(StoreError::Damaged(Damage::Behind { expected, found })));
        }
        let core = Core::new(directory.data.clone(), place, engine);
        Ok(Kept::new(Some(directory), core, Some(journal)))
    }

    fn new(directory: Option<Directory>, core: Core<E>, journal: Option<Journal>) -> Kept<E> {
        let core = Arc::new(core);
        let floor = core.engine.read().as_ref().map_or(0, |engine| engine.usage().highest_sequence);
        let journaled = journal.map(|journal| Journaled::new(Arc::clone(&core), journal, floor));
        Kept { journaled, core, committing: Mutex::new(()), noted: AtomicU64::new(0), directory }
    }

    fn commit_to_engine(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        let _only_one = self.committing.lock();
        // Where it does not even open, nothing was tried.
        let number = self.core.with(|engine| Ok(engine.last_batch() + 1))?;
        self.core.apply(&net(batch), number, durability)
    }

    /// Has the engine know all that is stored.
    fn flush(&self) -> Result<(), StoreError> {
        self.journaled.as_ref().map_or(Ok(()), Journaled::flush)
    }
}

impl<E: Engine> Drop for Kept<E> {
    fn drop(&mut self) {
        self.note_safe();
    }
}

impl<E: Engine> Core<E> {
    pub(super) fn new(data: PathBuf, place: E::Place, engine: E) -> Core<E> {
        let safe = AtomicU64::new(engine.last_batch());
        Core { data, place, engine: RwLock::new(Some(engine)), safe }
    }

    fn reopen(&self) -> Result<E, StoreError> {
        let engine = guarded(|| E::open(&self.data, &self.place))?;
        let (found, expected) = (engine.last_batch(), self.safe.load(Ordering::Relaxed));
        if found < expected {
            return Err(StoreError::Damaged(Damage::Behind { expected, found }));
        }
        Ok(engine)
    }

    /// Does something with the engine, which is opened first if it is closed.
    pub(super) fn with<T>(&self, act: impl FnOnce(&E) -> Result<T, StoreError>) -> Result<T, StoreError> {
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

    /// Applies a batch, all or nothing. On an error the engine is closed, and opened again where that works.
    pub(super) fn apply(&self, outcomes: &Outcomes<'_>, number: u64, durability: Durability) -> Result<(), StoreError> {
        let Err(error) = self.with(|engine| engine.apply(outcomes, number, durability)) else {
            if durability == Durability::Now {
                self.safe.store(number, Ordering::Relaxed);
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

    /// Applies what is left of batches that the journal keeps until this has succeeded, and makes it safe. The engine is closed
    /// on an error.
    pub(super) fn apply_pending(&self, pending: &Pending, number: u64) -> Result<(), StoreError> {
        let applied = self.with(|engine| apply_pending(engine, pending, number));
        match &applied {
            Ok(()) => self.safe.store(number, Ordering::Relaxed),
            Err(_) => *self.engine.write() = None,
        }
        applied
    }
}

impl<E: Engine> Store for Kept<E> {
    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        if self.directory.as_ref().is_some_and(Directory::is_removed) {
            return Err(StoreError::Removed);
        }
        match &self.journaled {
            Some(journaled) => journaled.commit(batch, durability),
            None => self.commit_to_engine(batch, durability),
        }
    }

    fn note_safe(&self) {
        if let (Some(journaled), Some(directory)) = (&self.journaled, &self.directory) {
            let safe = journaled.safe();
            // Not each batch makes something safe.
            if self.noted.swap(safe, Ordering::Relaxed) != safe {
                // A mark that is missing makes damage harder to notice, and nothing else.
                let _ = directory.mark(safe);
            }
        }
    }

    fn scan(&self, visit: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<(), StoreError> {
        let mut damaged = None;
        self.flush()?;
        self.core.with(|engine| {
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
        self.flush()?;
        self.core.with(|engine| engine.check(visit))
    }

    fn read(&self, sequence: u64) -> Result<Option<MessageRecord>, StoreError> {
        match self.journaled.as_ref().and_then(|journaled| journaled.find(sequence)) {
            Some(message) => Ok(message),
            None => self.core.with(|engine| engine.read(sequence)),
        }
    }

    fn usage(&self) -> Usage {
        // What the engine cannot take is not counted.
        let _ = self.flush();
        self.core.engine.read().as_ref().map(E::usage).unwrap_or_default()
    }
}

/// Makes the files of an empty store.
fn create<E: Engine>(directory: &Path, place: &E::Place, options: &Options) -> Result<(), StoreError> {
    guarded(|| E::create(directory, place))?;
    Ok(Journal::create(directory, options.journal_bytes)?)
}

/// Opens the engine and the journal, and brings to the engine what only the journal has.
fn caught_up<E: Engine>(data: &Path, place: &E::Place, options: &Options) -> Result<(E, Journal), StoreError> {
    // First, since an engine may change its own files when it is opened.
    let files = Files::read(data)?;
    let engine = guarded(|| E::open(data, place))?;
    let form = Form { bytes: options.journal_bytes, is_synced: options.sync == options::Sync::Always };
    let (journal, recovered) = Journal::open(files, form, engine.last_batch())?;
    if recovered.highest > engine.last_batch() {
        let mut pending = Pending::above(engine.usage().highest_sequence);
        for (number, batch) in &recovered.batches {
            pending.add(batch, *number);
        }
        guarded(|| apply_pending(&engine, &pending, recovered.highest))?;
        tracing::info!(batches = recovered.batches.len(), "the engine of the store has caught up with the journal");
    }
    Ok((engine, journal))
}

fn apply_pending<E: Engine>(engine: &E, pending: &Pending, number: u64) -> Result<(), StoreError> {
    let slices = pending.slices();
    let last = slices.len().saturating_sub(1);
    for (at, slice) in slices.iter().enumerate() {
        if at == last {
            engine.apply(slice, number, Durability::Now)?;
        } else {
            // It remembers its own last batch until it has all of them.
            engine.apply(slice, engine.last_batch(), Durability::Later)?;
        }
    }
    Ok(())
}

/// Files that are not what they should be may make an engine panic, which must not end the broker.
fn guarded<T>(act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(StoreError::Damaged(Damage::Engine("it panicked, see standard error".to_owned()))))
}

/// What an engine says that does not find its main file, where the directory is there.
pub(super) fn lost(name: &'static str, error: StoreError) -> StoreError {
    match error {
        StoreError::Io(error) if error.kind() == ErrorKind::NotFound => StoreError::Damaged(Damage::Lost(name)),
        other => other,
    }
}

/// An error of the engine as one of opening.
fn opening(path: &Path, error: StoreError) -> OpenError {
    let path = path.to_owned();
    match error {
        StoreError::Damaged(damage) => OpenError::Damaged { path, damage },
        StoreError::DiskFull => OpenError::Io { path, source: ErrorKind::StorageFull.into() },
        StoreError::Io(source) => OpenError::Io { path, source },
        StoreError::Removed => OpenError::Missing { path },
        StoreError::InDoubt(error) => opening(&path, *error),
    }
}
