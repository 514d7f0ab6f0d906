//! A disk that is slow, fails, is full, and forgets what was not synced when the process ends; and the group commit before it.
//! It keeps to what the real one promises, and shares no code with it but the form of the records.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use gumboot::broker::{Command, History, UNAWAITED};
use gumboot::destination::Destination;
use gumboot::message::{Message, Refusal};
use gumboot::store::{Record, StateRecord, StoreOp};
use gumboot::worker::{self, Post, Submission};

use crate::taps::Lie;

/// The changes of one submission, and who waits for them.
#[derive(Clone, Debug)]
struct Part {
    hub: usize,
    ticket: u64,
    operations: Vec<StoreOp>,
}

/// What is on the disk.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// What was submitted and not looked at.
    pending: VecDeque<Part>,
    /// What stores nothing new and could not be done yet: it is tried again, before all others.
    retained: Vec<Part>,
    /// What survives: each message as bytes, and what it has been through.
    kept: BTreeMap<u64, (Vec<u8>, StateRecord)>,
    /// How far each queue was handed out.
    marks: BTreeMap<String, u64>,
    /// What of it is durable subscriptions.
    bindings: BTreeSet<u64>,
    /// The highest number there ever was.
    last: u64,
    /// What is to be read: who asks, for which of its queues.
    wanted: VecDeque<(usize, u64, Vec<u64>)>,
    /// Nothing new has room.
    pub(crate) is_full: bool,
    /// The next write fails.
    pub(crate) fails_once: bool,
    /// Some of what is read next cannot be read.
    pub(crate) is_unreadable: bool,
    /// What it keeps though it was given up.
    undying: BTreeSet<u64>,
    /// What it does wrong, to prove that this would be noticed.
    lie: Option<Lie>,
    pub(crate) has_lied: bool,
}

/// What a worker is told.
pub(crate) type Answer = (usize, u64, Result<(), Refusal>);

/// What was read.
pub(crate) struct Reading {
    pub(crate) hub: usize,
    pub(crate) queue: u64,
    pub(crate) found: Vec<Option<Arc<Message>>>,
    /// What is there and could not be read.
    pub(crate) failed: Vec<Arc<Message>>,
}

impl Disk {
    pub(crate) fn new(lie: Option<Lie>) -> Disk {
        Disk { lie, ..Disk::default() }
    }

    pub(crate) fn submit(&mut self, (hub, submission): (usize, Submission)) {
        let operations = submission.changes.into_iter().map(worker::operation).collect();
        self.pending.push_back(Part { hub, ticket: submission.ticket, operations });
    }

    /// Whether nothing waits for it.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.retained.is_empty() && self.wanted.is_empty()
    }

    /// Writes at most so many submissions as one batch, and syncs.
    pub(crate) fn sync(&mut self, most: usize) -> Vec<Answer> {
        let mut parts = std::mem::take(&mut self.retained);
        let count = self.pending.len().min(most);
        parts.extend(self.pending.drain(..count));
        let is_broken = std::mem::take(&mut self.fails_once);
        let code = if is_broken { "store-failed" } else { "store-full" };
        let mut answers = Vec::new();
        for part in parts {
            let is_new = part.operations.iter().any(|operation| matches!(operation, StoreOp::Append(_)));
            let fails = is_broken || (self.is_full && is_new);
            match (fails, is_new) {
                (true, true) => {
                    if self.lies(Lie::SaysNothing) {
                        continue;
                    }
                    answers.push((part.hub, part.ticket, Err(Refusal::NotStored { code, why: "a test".into() })));
                }
                (true, false) => self.retained.push(part),
                (false, _) => {
                    answers.push((part.hub, part.ticket, Ok(())));
                    let is_whole =
                        part.ticket == UNAWAITED || part.operations.len() == 1 || !self.lies(Lie::StoresHalf);
                    self.apply(part.operations.into_iter().take(if is_whole { usize::MAX } else { 1 }));
                }
            }
        }
        answers
    }

    /// Acknowledges what is not written, where it lies about that.
    pub(crate) fn promise(&mut self) -> Vec<Answer> {
        if self.pending.is_empty() || !self.lies(Lie::AnswersEarly) {
            return Vec::new();
        }
        let answers = self.pending.iter_mut().map(|part| (part.hub, std::mem::take(&mut part.ticket), Ok(())));
        answers.filter(|(_, ticket, _)| *ticket > 0).collect()
    }

    /// Somebody wants to read.
    pub(crate) fn want(&mut self, wanted: (usize, u64, Vec<u64>)) {
        self.wanted.push_back(wanted);
    }

    /// Reads for at most so many who want to.
    pub(crate) fn read(&mut self, most: usize) -> Vec<Reading> {
        let count = self.wanted.len().min(most);
        let wanted: Vec<_> = self.wanted.drain(..count).collect();
        let mut readings = Vec::new();
        for (hub, queue, sequences) in wanted {
            let is_unreadable = std::mem::take(&mut self.is_unreadable);
            let mut found: Vec<_> = sequences.iter().map(|sequence| self.message(*sequence)).collect();
            let mut failed = Vec::new();
            for (at, found) in found.iter_mut().enumerate().filter(|(at, _)| is_unreadable && at % 3 < 2) {
                failed.extend(found.take().map(|message| (at, message)));
            }
            let failed = failed.into_iter().map(|(_, message)| message).collect();
            if found.len() > 1 && self.lies(Lie::MixesUp) {
                found.rotate_left(1);
            }
            if self.lies(Lie::ReadsNothing) {
                found.iter_mut().for_each(|found| *found = None);
            }
            for found in found.iter_mut().flatten() {
                if found.content.body.len() > 1 && self.lies(Lie::ReadsHalf) {
                    let mut half = Message::clone(found);
                    half.content.body.truncate(1);
                    *found = Arc::new(half);
                }
            }
            if !self.lies(Lie::NeverReads) {
                readings.push(Reading { hub, queue, found, failed });
            }
        }
        readings
    }

    /// Whether it is what a durable subscription keeps.
    fn is_copy(&self, sequence: u64) -> bool {
        let record = self.kept.get(&sequence).map(|(bytes, _)| Record::decode(bytes));
        matches!(record, Some(Ok(Record::Message(record))) if record.topic.is_some() && !record.is_binding)
    }

    fn message(&self, sequence: u64) -> Option<Arc<Message>> {
        let (bytes, _) = self.kept.get(&sequence)?;
        let Ok(Record::Message(record)) = Record::decode(bytes) else { return None };
        match worker::restored(record, History::default()) {
            Post::Command(Command::Restore { message, .. }) => Some(message),
            _ => None,
        }
    }

    fn apply(&mut self, operations: impl Iterator<Item = StoreOp>) {
        let mut brings = false;
        for operation in operations {
            brings |= matches!(operation, StoreOp::Append(_));
            match operation {
                StoreOp::Append(record) => {
                    let mut record = (*record).clone();
                    self.bindings.extend(record.is_binding.then_some(record.sequence));
                    if record.expires_at.is_some() && self.lies(Lie::ForgetsEnds) {
                        record.expires_at = None;
                    }
                    self.last = self.last.max(record.sequence);
                    self.kept.insert(record.sequence, (Record::Message(record).encode(), StateRecord::default()));
                }
                StoreOp::State(state) => {
                    if let Some((_, kept)) = self.kept.get_mut(&state.sequence) {
                        *kept = state;
                    }
                }
                StoreOp::Mark(mark) => {
                    self.last = self.last.max(mark.up_to);
                    self.marks.insert(mark.queue.to_string(), mark.up_to);
                }
                StoreOp::Delete(sequence) => {
                    let is_kept = match self.bindings.contains(&sequence) {
                        true => self.lies(Lie::KeepsBindings),
                        false if self.undying.contains(&sequence) => true,
                        false if brings && self.is_copy(sequence) && self.lies(Lie::KeepsDead) => {
                            self.undying.insert(sequence)
                        }
                        false => self.lies(Lie::KeepsSettled),
                    };
                    if !is_kept {
                        self.kept.remove(&sequence);
                    }
                }
            }
        }
    }

    /// The process is gone: what was not synced never was. Answers with what brings the rest back, and the number of the
    /// last message.
    pub(crate) fn crash(&mut self) -> (Vec<Post>, u64) {
        self.pending.clear();
        self.retained.clear();
        self.wanted.clear();
        let loses = !self.bindings.is_empty() && self.lies(Lie::LosesBindings);
        if loses {
            self.kept.retain(|sequence, _| !self.bindings.contains(sequence));
        }
        let record = |(bytes, state): &(Vec<u8>, StateRecord)| {
            let Ok(Record::Message(message)) = Record::decode(bytes) else { return None };
            let StateRecord { redeliveries, refused, not_before, .. } = *state;
            let history = History { redeliveries, refused, not_before, taken_at: message.enqueued_at };
            Some(worker::restored(message, history))
        };
        let mut posts: Vec<Post> = self.kept.values().filter_map(record).collect();
        assert_eq!(posts.len(), self.kept.len(), "a record that cannot be read");
        if posts.len() > 1 && self.lies(Lie::Reorders) {
            posts.reverse();
        }
        let marks = self.marks.iter().map(|(queue, up_to)| {
            Post::Command(Command::RestoreMark { queue: Destination::new(queue.clone()), up_to: *up_to })
        });
        (marks.chain(posts).collect(), self.last)
    }

    fn lies(&mut self, lie: Lie) -> bool {
        let is_it = self.lie == Some(lie);
        self.has_lied |= is_it;
        is_it
    }
}
