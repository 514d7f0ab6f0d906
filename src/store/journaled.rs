//! Commits by way of the journal: a batch is safe when it is there. The engine gets what is left of many batches at a time, in a
//! thread of its own, while the other file of the journal takes the next ones; whoever reads meanwhile looks here first.
//!
//! When the engine fails, the journal keeps what was confirmed until the engine is well, or until the next opening. When the
//! journal fails, each batch goes to the engine at once, until there is a new journal.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::engine::{Core, Engine};
use super::error::StoreError;
use super::journal::Journal;
use super::net::net;
use super::pending::Pending;
use super::record::MessageRecord;
use super::{Batch, Durability, StoreOp};

/// How long to do without a journal that failed before a new one is tried again.
const RENEW_PAUSE: Duration = Duration::from_secs(10);

/// An engine with a journal before it.
#[derive(Debug)]
pub(super) struct Journaled<E: Engine> {
    core: Arc<Core<E>>,
    layers: Arc<RwLock<Layers>>,
    /// Held while a batch is committed.
    writing: Mutex<Writing>,
}

/// What the journal has and the engine has not.
#[derive(Debug)]
struct Layers {
    /// The batches of the file that takes entries.
    active: Pending,
    /// Those of the other file, while they go to the engine, or when the engine did not take them.
    frozen: Option<Arc<Pending>>,
}

#[derive(Debug)]
struct Writing {
    journal: Journal,
    /// Brings the frozen batches to the engine.
    checkpoint: Option<JoinHandle<()>>,
    /// When to try for a new journal again, where one failed.
    renew_due: Option<Instant>,
    /// Whether the number of a batch was taken that the engine may not have, nor the journal: the engine has to be past it before
    /// the journal goes on, or one would seem to be missing there.
    has_gap: bool,
}

impl Layers {
    fn merged(&self) -> Pending {
        match &self.frozen {
            None => self.active.clone(),
            Some(frozen) => {
                let mut merged = Pending::clone(frozen);
                merged.join(&self.active);
                merged
            }
        }
    }
}

impl<E: Engine> Journaled<E> {
    /// The engine has all that is in the journal, and no message with a higher sequence than `floor`.
    pub(super) fn new(core: Arc<Core<E>>, journal: Journal, floor: u64) -> Journaled<E> {
        let layers = Layers { active: Pending::above(floor), frozen: None };
        let writing = Writing { journal, checkpoint: None, renew_due: None, has_gap: false };
        Journaled { core, layers: Arc::new(RwLock::new(layers)), writing: Mutex::new(writing) }
    }

    /// As [`Store::commit`](super::Store::commit).
    pub(super) fn commit(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        let writing = &mut *self.writing.lock();
        if batch.operations.is_empty() {
            self.make_safe(writing, durability)
        } else {
            self.add(writing, batch, durability)
        }
    }

    /// A number up to which all batches are safe.
    pub(super) fn safe(&self) -> u64 {
        self.writing.lock().journal.safe()
    }

    /// The message with this sequence, where the engine does not know the newest about it.
    pub(super) fn find(&self, sequence: u64) -> Option<Option<MessageRecord>> {
        let layers = self.layers.read();
        let frozen = || layers.frozen.as_ref().and_then(|frozen| frozen.find(sequence));
        let message = layers.active.find(sequence).or_else(frozen)?;
        Some(message.map(|message| MessageRecord::clone(message)))
    }

    /// Has the engine catch up with the journal.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.catch_up(&mut self.writing.lock())
    }

    fn make_safe(&self, writing: &mut Writing, durability: Durability) -> Result<(), StoreError> {
        if durability == Durability::Later || !writing.journal.is_unsafe() {
            return Ok(());
        }
        writing.journal.sync().or_else(|error| {
            tell_broken(&error);
            self.catch_up(writing)
        })
    }

    fn add(&self, writing: &mut Writing, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        if writing.has_gap {
            self.catch_up(writing)?;
        }
        if writing.journal.is_broken() {
            self.renew(writing);
        }
        if writing.journal.is_broken() {
            return self.pass(writing, batch);
        }
        writing.journal.prepare(batch);
        if !writing.journal.could_hold() {
            return self.pass(writing, batch);
        }
        let stores_new = batch.operations.iter().any(|operation| matches!(operation, StoreOp::Append(_)));
        if !writing.journal.has_room(stores_new) {
            match self.turn(writing) {
                // The engine does not take what is there: settles go on, which make room in it.
                Err(_) if !stores_new && writing.journal.has_room(false) => {}
                turned => turned?,
            }
        }
        if writing.journal.is_broken() {
            return self.pass(writing, batch);
        }
        match writing.journal.write(durability) {
            Ok(number) => {
                self.layers.write().active.add(batch, number);
                Ok(())
            }
            Err(error) => {
                tell_broken(&error);
                // It may be in the journal, and count when that is next read.
                self.pass(writing, batch).map_err(StoreError::in_doubt)
            }
        }
    }

    /// Goes on with the other file, and has the batches of this one go to the engine meanwhile.
    fn turn(&self, writing: &mut Writing) -> Result<(), StoreError> {
        join(&mut writing.checkpoint);
        if self.layers.read().frozen.is_some() {
            // The engine failed with them. All at once may be less than a part: what was settled since is not in it.
            return self.catch_up(writing);
        }
        if let Err(error) = writing.journal.turn() {
            tell_broken(&error);
            return self.catch_up(writing);
        }
        {
            let layers = &mut *self.layers.write();
            let successor = layers.active.successor();
            layers.frozen = Some(Arc::new(std::mem::replace(&mut layers.active, successor)));
        }
        let (core, layers) = (Arc::clone(&self.core), Arc::clone(&self.layers));
        let started = thread::Builder::new().name("checkpoint".to_owned()).spawn(move || checkpoint(&core, &layers));
        match started {
            Ok(thread) => writing.checkpoint = Some(thread),
            Err(_) => checkpoint(&self.core, &self.layers),
        }
        Ok(())
    }

    /// Makes all that was confirmed safe in the engine, so that the journal is free.
    fn catch_up(&self, writing: &mut Writing) -> Result<(), StoreError> {
        join(&mut writing.checkpoint);
        let merged = self.layers.read().merged();
        let number = writing.journal.last();
        // The number of a batch that failed was taken all the same.
        if merged.is_empty() && self.core.with(|engine| Ok(engine.last_batch()))? >= number {
            writing.has_gap = false;
            return Ok(());
        }
        self.core.apply_pending(&merged, number)?;
        *self.layers.write() = Layers { active: merged.successor(), frozen: None };
        writing.has_gap = false;
        if !writing.journal.is_broken() {
            writing.journal.restart();
        }
        Ok(())
    }

    /// Stores a batch in the engine, past the journal.
    fn pass(&self, writing: &mut Writing, batch: &Batch) -> Result<(), StoreError> {
        self.catch_up(writing)?;
        let number = writing.journal.skip();
        writing.has_gap = true;
        self.core.apply(&net(batch), number, Durability::Now)?;
        writing.has_gap = false;
        let active = &mut self.layers.write().active;
        active.add(batch, number);
        *active = active.successor();
        if !writing.journal.is_broken() {
            writing.journal.restart();
        }
        Ok(())
    }

    /// Tries for a new journal in place of one that failed.
    fn renew(&self, writing: &mut Writing) {
        let now = Instant::now();
        if writing.renew_due.is_some_and(|due| now < due) {
            return;
        }
        writing.renew_due = Some(now + RENEW_PAUSE);
        let renewed = self.catch_up(writing).and_then(|()| Ok(writing.journal.renew()?));
        match renewed {
            Ok(()) => {
                writing.renew_due = None;
                tracing::info!("there is a new journal");
            }
            Err(error) => tracing::warn!(%error, "there is no new journal yet"),
        }
    }
}

impl<E: Engine> Drop for Journaled<E> {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::error!(%error, "the newest changes are in the journal alone, and are read from there at the next start");
        }
    }
}

fn join(checkpoint: &mut Option<JoinHandle<()>>) {
    if let Some(Err(panic)) = checkpoint.take().map(JoinHandle::join) {
        std::panic::resume_unwind(panic);
    }
}

fn checkpoint<E: Engine>(core: &Core<E>, layers: &RwLock<Layers>) {
    let Some(frozen) = layers.read().frozen.clone() else { return };
    match core.apply_pending(&frozen, frozen.last()) {
        Ok(()) => layers.write().frozen = None,
        Err(error) => tracing::error!(%error, "the engine of the store fails; the journal keeps what is safe"),
    }
}

fn tell_broken(error: &std::io::Error) {
    tracing::error!(%error, "the journal of the store fails; each batch goes to the engine until there is a new one");
}
