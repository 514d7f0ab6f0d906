//! The engine `redb`: one table of messages, one of states, both by sequence.

use std::fmt;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::engine::{Engine, Kept, lost};
use super::error::{Damage, OpenError, StoreError};
use super::net::Outcomes;
use super::record::{MessageRecord, Record, RecordError, encode_mark, encode_message, encode_state};
use super::{Durability, Store, Usage, format};

const FILE: &str = "data.redb";
const MESSAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("messages");
const STATES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("states");
const MARKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("marks");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// The number of the last batch, in `NUMBERS`.
const LAST_BATCH: &str = "last-batch";

/// Memory for pages. The operating system keeps what does not fit.
const CACHE_BYTES: usize = 32 << 20;

/// Opens a database, or creates it where there is none.
type Opener = dyn Fn() -> Result<Database, DatabaseError> + Send + Sync;

/// Where a database is.
#[derive(Clone)]
pub(super) enum Place {
    /// In the store's directory.
    File,
    /// Wherever this opens one.
    Backend(Arc<Opener>),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::File => "File",
            Place::Backend(_) => "Backend",
        })
    }
}

/// A store in a redb database that is not a file: for tests that fail on purpose, or cut the power.
///
/// `opener` is called to open, and to open again after each error; it creates the database where there is none.
pub fn open_on_backend(
    opener: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
) -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(Kept::<Redb>::elsewhere(Place::Backend(Arc::new(opener)))?))
}

/// An open database.
#[derive(Debug)]
pub(super) struct Redb {
    database: Database,
    last_batch: AtomicU64,
    /// Empty where the database is no file.
    directory: Box<Path>,
}

impl Engine for Redb {
    type Place = Place;

    fn create(directory: &Path, place: &Place) -> Result<(), StoreError> {
        let Place::File = place else { return Ok(()) };
        let database = Database::builder().create(directory.join(FILE)).map_err(failed)?;
        make_tables(&database)
    }

    fn open(directory: &Path, place: &Place) -> Result<Redb, StoreError> {
        let database = match place {
            Place::File => {
                let opened = Database::builder().set_cache_size(CACHE_BYTES).open(directory.join(FILE));
                opened.map_err(|error| match failed(error) {
                    // Where the file does not begin as one of the engine's.
                    StoreError::Io(error) if error.kind() == ErrorKind::InvalidData => {
                        StoreError::Damaged(Damage::Engine(error.to_string()))
                    }
                    error => lost(FILE, error),
                })?
            }
            Place::Backend(opener) => {
                let database = opener().map_err(failed)?;
                make_tables(&database)?;
                database
            }
        };
        let reading = database.begin_read().map_err(failed)?;
        let numbers = reading.open_table(NUMBERS).map_err(failed)?;
        let last_batch = numbers.get(LAST_BATCH).map_err(failed)?.map_or(0, |number| number.value());
        Ok(Redb { database, last_batch: AtomicU64::new(last_batch), directory: directory.into() })
    }

    fn last_batch(&self) -> u64 {
        self.last_batch.load(Ordering::Relaxed)
    }

    fn apply(&self, outcomes: &Outcomes<'_>, number: u64, durability: Durability) -> Result<(), StoreError> {
        let mut writing = self.database.begin_write().map_err(failed)?;
        writing
            .set_durability(match durability {
                Durability::Now => redb::Durability::Immediate,
                Durability::Later => redb::Durability::None,
            })
            .map_err(failed)?;
        // After a crash the whole file would have to be read to find out what of it is free.
        writing.set_quick_repair(durability == Durability::Now);
        {
            let mut messages = writing.open_table(MESSAGES).map_err(failed)?;
            let mut states = writing.open_table(STATES).map_err(failed)?;
            for (sequence, outcome) in &outcomes.messages {
                if outcome.forget {
                    messages.remove(sequence).map_err(failed)?;
                    states.remove(sequence).map_err(failed)?;
                }
                if let Some(message) = outcome.message {
                    messages.insert(sequence, encode_message(message).as_slice()).map_err(failed)?;
                }
                let Some(state) = outcome.state else { continue };
                if outcome.message.is_some() || messages.get(sequence).map_err(failed)?.is_some() {
                    states.insert(sequence, encode_state(state).as_slice()).map_err(failed)?;
                }
            }
            if !outcomes.marks.is_empty() {
                let mut marks = writing.open_table(MARKS).map_err(failed)?;
                for mark in outcomes.marks.values() {
                    let queue: &str = &mark.queue;
                    match mark.up_to {
                        0 => marks.remove(queue).map_err(failed)?,
                        _ => marks.insert(queue, encode_mark(mark).as_slice()).map_err(failed)?,
                    };
                }
            }
            writing.open_table(NUMBERS).map_err(failed)?.insert(LAST_BATCH, number).map_err(failed)?;
        }
        writing.commit().map_err(failed)?;
        self.last_batch.store(number, Ordering::Relaxed);
        Ok(())
    }

    fn check(&self, visit: &mut dyn FnMut(Result<Record, Damage>) -> ControlFlow<()>) -> Result<(), StoreError> {
        let reading = self.database.begin_read().map_err(failed)?;
        let messages = reading.open_table(MESSAGES).map_err(failed)?;
        let states = reading.open_table(STATES).map_err(failed)?;
        let expected = messages.len().map_err(failed)?;
        for entry in reading.open_table(MARKS).map_err(failed)?.range::<&str>(..).map_err(failed)? {
            let (key, value) = entry.map_err(failed)?;
            let mark = Record::decode(value.value()).ok();
            let of_queue = |record: &Record| matches!(record, Record::Mark(mark) if mark.queue == key.value());
            if visit(mark.filter(of_queue).ok_or(Damage::Stray)).is_break() {
                return Ok(());
            }
        }
        let mut found = 0;
        let mut states = states.range::<u64>(..).map_err(failed)?.peekable();
        for entry in messages.range::<u64>(..).map_err(failed)? {
            let (key, value) = entry.map_err(failed)?;
            let sequence = key.value();
            found += 1;
            if visit(decode(sequence, value.value(), true)).is_break() {
                return Ok(());
            }
            let is_due = |entry: &Result<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, &[u8]>), _>| {
                entry.as_ref().map_or(true, |(key, _)| key.value() <= sequence)
            };
            while let Some(entry) = states.next_if(is_due) {
                let (key, value) = entry.map_err(failed)?;
                // One without its message is of no use; nothing writes such.
                if key.value() == sequence && visit(decode(sequence, value.value(), false)).is_break() {
                    return Ok(());
                }
            }
        }
        if found != expected {
            // There is nothing after it, so it does not matter whether this ends the visit.
            let _ = visit(Err(Damage::Count { expected, found }));
        }
        Ok(())
    }

    fn read(&self, sequence: u64) -> Result<Option<MessageRecord>, StoreError> {
        let reading = self.database.begin_read().map_err(failed)?;
        let messages = reading.open_table(MESSAGES).map_err(failed)?;
        let Some(value) = messages.get(sequence).map_err(failed)? else { return Ok(None) };
        match decode(sequence, value.value(), true).map_err(StoreError::Damaged)? {
            Record::Message(message) => Ok(Some(message)),
            Record::State(_) | Record::Mark(_) => Ok(None),
        }
    }

    fn usage(&self) -> Usage {
        let counted = || -> Result<Usage, StoreError> {
            let reading = self.database.begin_read().map_err(failed)?;
            let messages = reading.open_table(MESSAGES).map_err(failed)?;
            let highest = messages.last().map_err(failed)?.map_or(0, |(key, _)| key.value());
            let bytes = if self.directory.as_os_str().is_empty() { 0 } else { format::size_of_tree(&self.directory) };
            Ok(Usage { messages: messages.len().map_err(failed)?, bytes, highest_sequence: highest })
        };
        counted().unwrap_or_default()
    }
}

/// All tables exist from the start, so that a missing one is damage.
fn make_tables(database: &Database) -> Result<(), StoreError> {
    let writing = database.begin_write().map_err(failed)?;
    writing.open_table(MESSAGES).map_err(failed)?;
    writing.open_table(STATES).map_err(failed)?;
    writing.open_table(MARKS).map_err(failed)?;
    writing.open_table(NUMBERS).map_err(failed)?;
    writing.commit().map_err(failed)
}

/// Reads the record of this sequence: a message, or a state.
fn decode(sequence: u64, bytes: &[u8], is_message: bool) -> Result<Record, Damage> {
    let damaged = |error: RecordError| Damage::Record { sequence, error };
    let record = Record::decode(bytes).map_err(damaged)?;
    let fits = record.sequence() == Some(sequence) && matches!(record, Record::Message(_)) == is_message;
    if fits { Ok(record) } else { Err(damaged(RecordError::Misplaced)) }
}

fn failed(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(error) => error.into(),
        error @ (redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::RepairAborted) => StoreError::Damaged(Damage::Engine(error.to_string())),
        error => StoreError::Io(std::io::Error::other(error)),
    }
}
