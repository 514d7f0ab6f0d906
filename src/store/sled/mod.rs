//! The engine `sled`: one tree, with small messages packed together and large ones cut into pieces.
//!
//! Six rules make sled 0.34.7 durable; each was found by cutting the power.
//!
//! 1. Its `flush` does not sync: the file `db` is synced here, after it.
//! 2. It never syncs its `conf` file nor the directory: that is done at every opening.
//! 3. Keys count up, and values are small. A page of sled holds up to nineteen values and is written whole from time to time; a
//!    page of more than a quarter of a segment becomes a file of its own below `blobs`, which is never synced. `VALUE_BYTES`
//!    keeps every page below that.
//! 4. An error is never followed by a deletion, and never by a panic.
//! 5. One thread commits, and `flush_async` is not used: it deadlocks.
//! 6. A snapshot that was being written when the power failed is taken away before the files are opened. The engine means to
//!    pass it over, but looks for another name, and then calls the store corrupt.

mod index;
mod keys;
mod pack;

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use self::index::Index;
use self::pack::{Packed, Recent};
use super::engine::{Engine, lost};
use super::error::{Damage, StoreError};
use super::format::{size_of_tree, sync_directory, sync_tree};
use super::net::Outcomes;
use super::record::{MessageRecord, Record, RecordError, encode_mark, encode_state};
use super::{Durability, Usage};

/// Bytes of one segment of sled's log. A quarter of it is the largest page that does not become a blob.
const SEGMENT_BYTES: usize = 2 << 20;

/// Bytes of a value, at most: nineteen of them are a page that is smaller than a quarter of a segment.
const VALUE_BYTES: usize = 22 << 10;

/// Memory for pages, beyond those that the cache keeps in any case. The operating system keeps what does not fit.
const CACHE_BYTES: u64 = 8 << 20;

/// Accesses for each value, so that those of a full page are some more than the 64 that the cache gathers.
const TOUCHES: u32 = 4;

/// The file that holds the tree.
const FILE: &str = "db";

/// Stands for the engine's files in a store that was never open. They are not made sooner, since that takes to open the engine and
/// to close it again, and glibc takes the large blocks of memory that it frees then as reason to keep others; see
/// `journal::release`.
const UNMADE: &str = "unmade";

/// How often to try to open files that the engine's own threads may still hold from before, and the pause between.
const OPENINGS: u32 = 100;
const OPENING_PAUSE: Duration = Duration::from_millis(20);

/// An open tree.
#[derive(Debug)]
pub(super) struct Sled {
    database: sled::Db,
    /// Our own handle of the file that the engine writes, to sync it.
    file: File,
    /// Changed together with the tree, so that who reads it finds what it says.
    index: RwLock<Index>,
    /// For who reads message by message. A chunk never changes, nor does another one get its number.
    recent: Mutex<Recent>,
    last_batch: AtomicU64,
    directory: Box<Path>,
}

impl Engine for Sled {
    type Place = ();

    fn create(directory: &Path, (): &()) -> Result<(), StoreError> {
        File::create(directory.join(UNMADE))?.sync_all()?;
        Ok(sync_directory(directory)?)
    }

    fn open(directory: &Path, (): &()) -> Result<Sled, StoreError> {
        let is_unmade = directory.join(UNMADE).try_exists()?;
        if is_unmade {
            remove_begun(directory)?;
        } else {
            // The engine would make one in place of one that is lost.
            File::open(directory.join(FILE)).map_err(|error| lost(FILE, error.into()))?;
        }
        remove_unfinished(directory)?;
        let database = patiently(|| configuration(directory).open().map_err(failed))?;
        let file = File::open(directory.join(FILE))?;
        if is_unmade {
            database.flush().map_err(failed)?;
        }
        sync_tree(directory)?;
        if is_unmade {
            fs::remove_file(directory.join(UNMADE))?;
            sync_directory(directory)?;
        }
        directory.parent().map(sync_directory).transpose()?;
        let (last_batch, expected) = match database.get(keys::LAST_BATCH).map_err(failed)? {
            None => (0, 0),
            Some(bytes) => read_last_batch(&bytes).ok_or_else(stray)?,
        };
        let index = Index::of(&database)?;
        let found = index.len();
        if found != expected {
            return Err(StoreError::Damaged(Damage::Count { expected, found }));
        }
        let index = RwLock::new(index);
        let (last_batch, recent) = (AtomicU64::new(last_batch), Mutex::default());
        Ok(Sled { database, file, index, recent, last_batch, directory: directory.into() })
    }

    fn last_batch(&self) -> u64 {
        self.last_batch.load(Ordering::Relaxed)
    }

    fn apply(&self, outcomes: &Outcomes<'_>, number: u64, durability: Durability) -> Result<(), StoreError> {
        {
            let mut index = self.index.write();
            let mut batch = sled::Batch::default();
            let mut packed = Packed::new(&self.database, &index, &mut batch);
            for (sequence, outcome) in outcomes.messages.iter().filter(|(_, outcome)| outcome.forget) {
                packed.forget(*sequence)?;
                if let Some(message) = outcome.message {
                    packed.append(message);
                }
            }
            packed.close()?;
            let changes = packed.into_changes();
            let mut states = Vec::new();
            for (sequence, outcome) in &outcomes.messages {
                let is_there = if outcome.forget { outcome.message.is_some() } else { index.home(*sequence).is_some() };
                match outcome.state.filter(|_| is_there) {
                    Some(state) => {
                        batch.insert(&keys::state(*sequence), encode_state(state));
                        states.push(*sequence);
                    }
                    None if outcome.forget && index.has_state(*sequence) => batch.remove(&keys::state(*sequence)),
                    None => {}
                }
            }
            for mark in outcomes.marks.values() {
                match mark.up_to {
                    0 => batch.remove(keys::mark(&mark.queue)),
                    _ => batch.insert(keys::mark(&mark.queue), encode_mark(mark)),
                }
            }
            let count = index.len_after(&changes);
            batch.insert(keys::LAST_BATCH, [number.to_be_bytes(), count.to_be_bytes()].concat());
            self.database.apply_batch(batch).map_err(failed)?;
            for (number, _) in changes.chunks.iter().filter(|(_, chunk)| chunk.is_some()) {
                touch(&self.database, &keys::chunk(*number))?;
            }
            index.apply(changes, &states);
        }
        if durability == Durability::Now {
            self.database.flush().map_err(failed)?;
            self.file.sync_data()?;
        }
        self.last_batch.store(number, Ordering::Relaxed);
        Ok(())
    }

    fn check(&self, visit: &mut dyn FnMut(Result<Record, Damage>) -> ControlFlow<()>) -> Result<(), StoreError> {
        for entry in self.database.scan_prefix([keys::MARK]) {
            let (key, value) = entry.map_err(failed)?;
            let mark = Record::decode(&value).ok();
            let of_queue = |record: &Record| matches!(record, Record::Mark(mark) if key == keys::mark(&mark.queue));
            if visit(mark.filter(of_queue).ok_or(Damage::Stray)).is_break() {
                return Ok(());
            }
        }
        // What comes meanwhile is not of interest.
        let highest = self.index.read().highest();
        let (mut from, mut recent) = (0, Recent::default());
        while from <= highest {
            let index = self.index.read();
            let messages = index.next(from);
            let Some((last, _)) = messages.last() else { break };
            from = last.saturating_add(1);
            let mut records = Vec::with_capacity(messages.len());
            for (sequence, home) in messages {
                let message =
                    pack::fetch(&self.database, (sequence, home), &mut recent, |bytes| decode(sequence, bytes));
                let message = or_damage(message)?;
                let has_state = message.is_ok() && index.has_state(sequence);
                let state = if has_state { or_damage(self.state(sequence))?.transpose() } else { None };
                records.extend(std::iter::once(message).chain(state));
            }
            drop(index);
            if records.into_iter().try_for_each(&mut *visit).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn read(&self, sequence: u64) -> Result<Option<MessageRecord>, StoreError> {
        let index = self.index.read();
        let Some(home) = index.home(sequence) else { return Ok(None) };
        let mut recent = self.recent.lock();
        match pack::fetch(&self.database, (sequence, home), &mut recent, |bytes| decode(sequence, bytes))? {
            Record::Message(message) => Ok(Some(message)),
            Record::State(_) | Record::Mark(_) => Err(damaged(sequence, RecordError::Misplaced)),
        }
    }

    fn usage(&self) -> Usage {
        let index = self.index.read();
        Usage { messages: index.len(), bytes: size_of_tree(&self.directory), highest_sequence: index.highest() }
    }
}

/// Has the cache notice that a page was used, after a value of it was read or written.
///
/// The cache looks at what it should evict only when 64 accesses of a part of it have come together. Pages here are large, and
/// most are read or written from front to back, value by value, and then not for long: without more accesses than that they
/// would all stay in memory.
fn touch(tree: &sled::Tree, key: &[u8]) -> Result<(), StoreError> {
    (0..TOUCHES).try_for_each(|_| tree.get(key).map(drop)).map_err(failed)
}

impl Sled {
    fn state(&self, sequence: u64) -> Result<Option<Record>, StoreError> {
        let Some(bytes) = self.database.get(keys::state(sequence)).map_err(failed)? else { return Ok(None) };
        decode(sequence, &bytes).map(Some)
    }
}

/// The number of the last batch, and how many messages it left: an engine that forgets says nothing by itself.
fn read_last_batch(bytes: &[u8]) -> Option<(u64, u64)> {
    let (number, count) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), u64::from_be_bytes(count.try_into().ok()?)))
}

fn configuration(directory: &Path) -> sled::Config {
    sled::Config::new().path(directory).segment_size(SEGMENT_BYTES).cache_capacity(CACHE_BYTES)
}

/// Removes what is there of files that were never all made. Nothing was stored in them.
fn remove_begun(directory: &Path) -> io::Result<()> {
    let begun = |name: &str| name == FILE || name == "conf" || name.starts_with("snap.");
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| begun(&name.to_string_lossy())) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes what the engine was about to replace a snapshot with. It says nothing that is not in `db`.
fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// No other process has the store open, since this one has its lock. What then holds the files are threads of an engine that
/// was just closed.
fn patiently<T>(open: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for _ in 1..OPENINGS {
        match open() {
            Err(StoreError::Io(error)) if error.to_string().contains("could not acquire lock") => {
                thread::sleep(OPENING_PAUSE);
            }
            other => return other,
        }
    }
    open()
}

/// Reads the record of this sequence.
fn decode(sequence: u64, bytes: &[u8]) -> Result<Record, StoreError> {
    let record = Record::decode(bytes).map_err(|error| damaged(sequence, error))?;
    if record.sequence() == Some(sequence) { Ok(record) } else { Err(damaged(sequence, RecordError::Misplaced)) }
}

/// Damage is something that was found; any other error is a failure to look.
fn or_damage<T>(read: Result<T, StoreError>) -> Result<Result<T, Damage>, StoreError> {
    match read {
        Err(StoreError::Damaged(damage)) => Ok(Err(damage)),
        read => read.map(Ok),
    }
}

fn damaged(sequence: u64, error: RecordError) -> StoreError {
    StoreError::Damaged(Damage::Record { sequence, error })
}

fn stray() -> StoreError {
    StoreError::Damaged(Damage::Stray)
}

fn failed(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => error.into(),
        // The latter is said of a file that the engine cannot read.
        error @ (sled::Error::Corruption { .. } | sled::Error::Unsupported(_)) => {
            StoreError::Damaged(Damage::Engine(error.to_string()))
        }
        error => StoreError::Io(io::Error::other(error)),
    }
}
