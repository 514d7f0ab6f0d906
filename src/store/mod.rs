//! Durable state: the messages of queues, kept by an engine that is chosen by configuration.
//!
//! [`open`] gives a [`Store`], which commits batches and reads them back. A [`Committer`] stands before it: one thread that
//! gathers what all workers submit, commits it as one batch, and tells them what is durable. A message is known by its
//! *sequence*, a number that [`Sequences`] hands out: it is the order within each queue, and the key on disk.
//!
//! A broker starts so: [`open`], [`Store::scan`] to fill its queues, [`Committer::start`]. What each engine promises stands in
//! `docs/durability.md`.

mod committer;
mod engine;
mod error;
mod format;
mod journal;
mod journaled;
mod memory;
mod net;
mod options;
mod pending;
mod reader;
mod record;
mod redb;
mod sled;
mod survey;
mod transfer;
mod wire;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

pub use crate::message::Sequences;
pub use committer::{Answer, Busy, Committer, Failure, Sink, Submission, Submitter};
pub use error::{Damage, JournalDamage, OpenError, StoreError};
pub use memory::Memory;
pub use options::{CommitterOptions, Engine, Options, Sync};
pub use reader::{Asker, Found, FoundSink, Lookup, Reader};
pub use record::{MarkRecord, MessageRecord, Record, RecordError, StateRecord};
pub use redb::open_on_backend;
pub use survey::{Holding, Survey, verify};
pub use transfer::{Moved, TransferError, export, import, import_as};

/// One change of the stored state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// Stores a message; one with the same sequence is replaced, its state forgotten.
    Append(Arc<MessageRecord>),
    /// Stores what became of a message. Nothing happens when the message is not there.
    State(StateRecord),
    /// Forgets a message and its state: it is settled. Nothing happens when it is not there.
    Delete(u64),
    /// Stores how far a queue was handed out.
    Mark(MarkRecord),
}

impl StoreOp {
    /// The sequence of the message that this is about; none for a mark.
    pub fn sequence(&self) -> Option<u64> {
        match self {
            StoreOp::Append(message) => Some(message.sequence),
            StoreOp::State(state) => Some(state.sequence),
            StoreOp::Delete(sequence) => Some(*sequence),
            StoreOp::Mark(_) => None,
        }
    }

    /// Bytes that this keeps in memory until it is stored, roughly.
    pub fn footprint(&self) -> usize {
        match self {
            StoreOp::Append(message) => message.footprint(),
            StoreOp::State(_) | StoreOp::Delete(_) => size_of::<StoreOp>(),
            StoreOp::Mark(mark) => size_of::<StoreOp>() + mark.queue.len(),
        }
    }
}

/// Changes that take effect together or not at all, in this order: a transaction is within one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes, the first one first.
    pub operations: Vec<StoreOp>,
}

/// When a batch is to be safe from a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before [`Store::commit`] returns, with all batches before it.
    Now,
    /// Together with the next batch that is to be safe [`Durability::Now`], which may be an empty one.
    Later,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Messages.
    pub messages: u64,
    /// Bytes on disk, space that is free for later messages included; in memory for the engine without a disk.
    pub bytes: u64,
    /// No message has a higher sequence; zero when there is none.
    pub highest_sequence: u64,
}

/// What keeps messages. One thread commits; any thread may read meanwhile.
pub trait Store: Send + std::marker::Sync + fmt::Debug {
    /// Applies a batch, all or nothing.
    ///
    /// When it returns `Ok`, the batch is in effect, and as durable as was asked for. On an error it is not, unless the error
    /// [is in doubt](StoreError::is_in_doubt): then it may be, or come into effect at the next opening; the batch can be
    /// committed again as it is, with the same result. After an error the store goes on: each call tries anew.
    fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError>;

    /// Notes down how far all is safe, so that files which fell behind that are noticed at the next opening. Of use soon after
    /// [`Store::commit`], when nobody waits any more for what was committed.
    fn note_safe(&self) {}

    /// Visits all marks, and then all messages in the order of their sequences, each followed by its state where it has one,
    /// until `visit` breaks.
    ///
    /// What is committed meanwhile may be seen or not. `visit` must not commit.
    fn scan(&self, visit: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<(), StoreError>;

    /// Visits what [`Store::scan`] visits, and goes on after a record that cannot be read: that one is told as its damage.
    ///
    /// An engine whose own files are damaged may have to stop all the same, with an error.
    fn check(&self, visit: &mut dyn FnMut(Result<Record, Damage>) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.scan(&mut |record| visit(Ok(record)))
    }

    /// The message with this sequence, where it is there.
    fn read(&self, sequence: u64) -> Result<Option<MessageRecord>, StoreError>;

    /// How much there is now.
    fn usage(&self) -> Usage;
}

/// Opens the store that the options describe, or creates it where there is none.
///
/// Blocks, for seconds when much is stored. Nothing is deleted or overwritten when it fails.
pub fn open(options: &Options) -> Result<Arc<dyn Store>, OpenError> {
    match options.engine {
        Engine::Memory => Ok(Arc::new(Memory::default())),
        Engine::Sled => Ok(Arc::new(engine::Kept::<sled::Sled>::open(options, ())?)),
        Engine::Redb => Ok(Arc::new(engine::Kept::<redb::Redb>::open(options, redb::Place::File)?)),
    }
}

/// Opens the store that the options describe. Where there is none, none is made: that is an error, as is an engine that keeps
/// nothing.
pub fn open_existing(options: &Options) -> Result<Arc<dyn Store>, OpenError> {
    match options.engine {
        Engine::Memory => Err(OpenError::NotOnDisk),
        Engine::Sled => Ok(Arc::new(engine::Kept::<sled::Sled>::open_existing(options, ())?)),
        Engine::Redb => Ok(Arc::new(engine::Kept::<redb::Redb>::open_existing(options, redb::Place::File)?)),
    }
}
