//! Group commit: one thread gathers what the workers submit, commits it as one batch, and tells them what is durable.
//!
//! The longer a commit takes, the more waits for the next one: the rate so adapts to the disk by itself. What nobody waits for
//! causes no commit of its own: it goes with the next that somebody waits for, or after a short pause.
//!
//! When the disk fails, messages and transactions that were to be stored are refused at once, each with the reason. Submissions
//! that store nothing new, such as settles, are kept and tried again with every batch, since a settle that is lost would bring
//! a message back; deleting is also what makes room on a disk that is full.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::options::{CommitterOptions, Sync};
use super::{Batch, Durability, Store, StoreError, StoreOp};
use crate::message::WorkerId;

/// Changes that a worker wants to be stored together, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Who is told.
    pub from: WorkerId,
    /// What the answer names; the worker's own choice.
    pub ticket: u64,
    /// The changes, in order.
    pub operations: Vec<StoreOp>,
    /// Whether anybody waits for the answer. What nobody waits for may be stored a little later, in its place in the order; see
    /// [`CommitterOptions::unawaited_pause`].
    pub is_awaited: bool,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the submission.
    pub ticket: u64,
    /// `Ok`: it is as durable as [`CommitterOptions::sync`] says. A failure: it has no effect. Only what was given up while it
    /// was tried again, at the limit of [`CommitterOptions::max_retried`] or at the end, may have had one all the same.
    pub outcome: Result<(), Failure>,
}

/// Why a submission was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No space is left on the disk of the store.
    #[error("the disk of the store is full")]
    DiskFull,
    /// The disk failed.
    #[error("the disk of the store failed: {0}")]
    Io(io::ErrorKind),
    /// What is stored cannot be read back.
    #[error("the store is damaged")]
    Damaged,
    /// Somebody removed the directory of the store.
    #[error("the files of the store were removed")]
    Removed,
    /// The broker stopped before the disk was well again.
    #[error("the broker stopped before this could be stored")]
    Stopped,
}

impl Failure {
    /// The stable `code` header of the ERROR that tells the peer.
    pub fn code(self) -> &'static str {
        match self {
            Failure::DiskFull => "store-full",
            Failure::Io(_) | Failure::Removed => "store-failed",
            Failure::Damaged => "store-damaged",
            Failure::Stopped => "stopping",
        }
    }
}

impl From<&StoreError> for Failure {
    fn from(error: &StoreError) -> Failure {
        match error {
            StoreError::DiskFull => Failure::DiskFull,
            StoreError::Io(error) => Failure::Io(error.kind()),
            StoreError::Damaged(_) => Failure::Damaged,
            StoreError::Removed => Failure::Removed,
            StoreError::InDoubt(error) => Failure::from(&**error),
        }
    }
}

/// Too much waits for the disk. The submission is handed back; there is room again after the next answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Busy(pub Submission);

/// Receives the answers of one worker, in the order of its submissions as far as they were committed together. Called on the
/// committer's thread, which it must not block.
pub type Sink = Box<dyn Fn(WorkerId, Vec<Answer>) + Send>;

/// The thread that commits. Dropping it stops it as [`Committer::stop`] does.
#[derive(Debug)]
pub struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Hands submissions to the committer. One for each worker.
#[derive(Clone, Debug)]
pub struct Submitter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: CommitterOptions,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Inbox {
    waiting: VecDeque<Submission>,
    /// How many of them somebody waits for.
    awaited: usize,
    operations: usize,
    bytes: usize,
    /// Whether something was handed back.
    is_full: bool,
    stops: bool,
    /// Whether the thread waits without end, so that even what nobody waits for has to wake it.
    is_asleep: bool,
}

impl Committer {
    /// Starts the thread. `sink` receives all answers.
    pub fn start(store: Arc<dyn Store>, options: CommitterOptions, sink: Sink) -> io::Result<Committer> {
        let shared = Arc::new(Shared { options: options.clone(), inbox: Mutex::default(), arrived: Condvar::new() });
        let mut run = Run {
            store,
            options,
            sink,
            shared: Arc::clone(&shared),
            retried: Vec::new(),
            sync_due: None,
            has_trouble: false,
        };
        let thread = thread::Builder::new().name("committer".to_owned()).spawn(move || run.run())?;
        Ok(Committer { shared, thread: Some(thread) })
    }

    /// A way to submit.
    pub fn submitter(&self) -> Submitter {
        Submitter { shared: Arc::clone(&self.shared) }
    }

    /// Commits what waits, makes everything safe, and ends the thread. What cannot be stored then is answered
    /// [`Failure::Stopped`]. Submissions that come later are never answered.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.inbox.lock().stops = true;
        self.shared.arrived.notify_all();
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        if self.thread.is_some() && !thread::panicking() {
            self.end();
        }
    }
}

impl Submitter {
    /// Hands a submission over; the answer comes to the sink. Never blocks for the disk.
    pub fn submit(&self, submission: Submission) -> Result<(), Busy> {
        let bytes = footprint(&submission);
        let Shared { options, inbox, arrived } = &*self.shared;
        let mut inbox = inbox.lock();
        let was_due = inbox.is_due(options);
        // One that is larger than the limit passes when nothing else waits, or it never would.
        let has_room = inbox.waiting.len() < options.max_waiting && inbox.bytes + bytes <= options.max_waiting_bytes;
        let result = if has_room || inbox.waiting.is_empty() {
            inbox.awaited += usize::from(submission.is_awaited);
            inbox.operations += submission.operations.len();
            inbox.bytes += bytes;
            inbox.waiting.push_back(submission);
            Ok(())
        } else {
            inbox.is_full = true;
            Err(Busy(submission))
        };
        // The committer only ever waits while nothing is due.
        if inbox.is_asleep || (!was_due && inbox.is_due(options)) {
            arrived.notify_one();
        }
        result
    }
}

impl Inbox {
    /// Whether to commit now: somebody waits, or much does.
    fn is_due(&self, options: &CommitterOptions) -> bool {
        let is_much = self.operations >= options.batch_operations || self.bytes >= options.batch_bytes;
        self.awaited > 0 || is_much || self.is_full || self.stops
    }

    /// As many submissions as fit into a batch, one at least.
    fn take(&mut self, options: &CommitterOptions) -> Vec<Submission> {
        let (mut operations, mut bytes, mut count) = (0, 0, 0);
        for submission in &self.waiting {
            let (more_operations, more_bytes) = (submission.operations.len(), footprint(submission));
            let is_full =
                operations + more_operations > options.batch_operations || bytes + more_bytes > options.batch_bytes;
            if count > 0 && is_full {
                break;
            }
            operations += more_operations;
            bytes += more_bytes;
            count += 1;
        }
        let taken: Vec<Submission> = self.waiting.drain(..count).collect();
        self.operations = self.operations.saturating_sub(operations);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.awaited = self.awaited.saturating_sub(taken.iter().filter(|submission| submission.is_awaited).count());
        self.is_full = false;
        taken
    }
}

/// The state of the thread.
struct Run {
    store: Arc<dyn Store>,
    options: CommitterOptions,
    sink: Sink,
    shared: Arc<Shared>,
    /// What failed and is tried again with the next batch, before it.
    retried: Vec<Retried>,
    /// When what was committed for later is to be made safe.
    sync_due: Option<Instant>,
    /// Whether the last commit failed: said once in the log, and once when it is over.
    has_trouble: bool,
}

/// What is tried until it succeeds.
enum Retried {
    /// What waits for its answer, and is refused when it cannot be stored, unless it stores nothing new.
    Submitted(Submission),
    /// A transaction that may be stored already. Nothing but success tells, so it is never refused again.
    InDoubt(Submission),
    /// A message that was refused and may be stored all the same.
    Undo(u64),
    /// Marks that were refused: nobody waits for them any longer, and they are true all the same.
    Marks(Submission),
}

impl Run {
    fn run(&mut self) {
        loop {
            let (submissions, stops) = self.gather();
            // When it stops, everything that came before is committed first, not only what fits into a batch.
            let is_last = stops && submissions.is_empty();
            if !submissions.is_empty() || !self.retried.is_empty() {
                self.commit(submissions);
            }
            if self.sync_due.is_some_and(|due| is_last || due <= Instant::now()) {
                self.sync();
            }
            if is_last {
                return self.give_up();
            }
        }
    }

    /// Waits for something to do; answers with new submissions, and whether to stop after them.
    fn gather(&self) -> (Vec<Submission>, bool) {
        let mut inbox = self.shared.inbox.lock();
        let from_now = |pause| Instant::now() + pause;
        let retry_due = (!self.retried.is_empty()).then(|| from_now(self.options.retry_pause));
        let due = [retry_due, self.sync_due].into_iter().flatten().min();
        // While it waits for this moment, what nobody waits for needs not wake it, which would cost more than storing it.
        let mut look = Some(from_now(self.options.unawaited_pause));
        while !inbox.is_due(&self.options) {
            inbox.is_asleep = look.is_none();
            match [due, look].into_iter().flatten().min() {
                None => self.shared.arrived.wait(&mut inbox),
                Some(until) if self.shared.arrived.wait_until(&mut inbox, until).timed_out() => {
                    if !inbox.waiting.is_empty() || due.is_some_and(|due| due <= until) {
                        break;
                    }
                    look = None;
                }
                Some(_) => {}
            }
            if look.is_none() && !inbox.waiting.is_empty() {
                look = Some(from_now(self.options.unawaited_pause));
            }
        }
        inbox.is_asleep = false;
        let stops = inbox.stops;
        (inbox.take(&self.options), stops)
    }

    /// Commits what failed before, and the new submissions; answers what is decided.
    fn commit(&mut self, submissions: Vec<Submission>) {
        let mut parts = std::mem::take(&mut self.retried);
        parts.extend(submissions.into_iter().map(Retried::Submitted));
        let mut answers = Answers::default();
        if let Err(error) = self.store_all(&parts) {
            let reason = Failure::from(&error);
            let mut kept = Vec::new();
            for part in parts {
                sort_out(part, reason, error.is_in_doubt(), &mut kept, &mut answers);
            }
            // What stores nothing new may well succeed where there was no room for more.
            parts = match self.store_all(&kept) {
                Ok(()) => kept,
                Err(error) => {
                    let reason = Failure::from(&error);
                    self.retried = kept.into_iter().map(|part| stop_waiting(part, reason, &mut answers)).collect();
                    self.refuse_excess(reason, &mut answers);
                    Vec::new()
                }
            };
        }
        for part in parts {
            if let Retried::Submitted(submission) | Retried::InDoubt(submission) = part {
                answers.add(&submission, Ok(()));
            }
        }
        answers.send(&self.sink);
        self.store.note_safe();
    }

    fn store_all(&mut self, parts: &[Retried]) -> Result<(), StoreError> {
        if parts.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for part in parts {
            match part {
                Retried::Submitted(submission) | Retried::InDoubt(submission) | Retried::Marks(submission) => {
                    batch.operations.extend_from_slice(&submission.operations)
                }
                Retried::Undo(sequence) => batch.operations.push(StoreOp::Delete(*sequence)),
            }
        }
        let (durability, due) = match self.options.sync {
            Sync::Always => (Durability::Now, None),
            Sync::Interval(pause) => (Durability::Later, Some(Instant::now() + pause)),
        };
        let result = self.store.commit(&batch, durability);
        if result.is_ok() {
            self.sync_due = self.sync_due.or(due);
        }
        self.tell_trouble(&result);
        result
    }

    /// Makes safe what was committed for later.
    fn sync(&mut self) {
        let result = self.store.commit(&Batch::default(), Durability::Now);
        self.sync_due = match (&result, self.options.sync) {
            (Err(_), Sync::Interval(pause)) => Some(Instant::now() + pause),
            _ => None,
        };
        self.tell_trouble(&result);
    }

    /// Bounds what is tried again: beyond the limit the newest are answered with the failure.
    fn refuse_excess(&mut self, reason: Failure, answers: &mut Answers) {
        let mut operations = 0;
        let mut fits = |part: &Retried| {
            operations += match part {
                Retried::Submitted(submission) | Retried::InDoubt(submission) | Retried::Marks(submission) => {
                    submission.operations.len().max(1)
                }
                Retried::Undo(_) => 1,
            };
            operations <= self.options.max_retried
        };
        let count = self.retried.iter().map_while(|part| fits(part).then_some(())).count();
        for part in self.retried.drain(count..) {
            match part {
                Retried::Submitted(submission) | Retried::InDoubt(submission) => answers.add(&submission, Err(reason)),
                Retried::Undo(sequence) => {
                    tracing::error!(sequence, "a message that was refused may come back after a restart");
                }
                Retried::Marks(_) => tracing::warn!("after a crash, messages may come again and not say so"),
            }
        }
    }

    /// Answers what could not be stored until the end.
    fn give_up(&mut self) {
        let mut answers = Answers::default();
        for part in self.retried.drain(..) {
            if let Retried::Submitted(submission) | Retried::InDoubt(submission) = part {
                answers.add(&submission, Err(Failure::Stopped));
            }
        }
        answers.send(&self.sink);
    }

    /// Says once that the store fails, and once that it is well again.
    fn tell_trouble(&mut self, result: &Result<(), StoreError>) {
        match result {
            Err(error) if !self.has_trouble => {
                tracing::error!(%error, "messages cannot be stored; new persistent ones are refused until this is over");
            }
            Ok(()) if self.has_trouble => tracing::info!("messages can be stored again"),
            _ => {}
        }
        self.has_trouble = result.is_err();
    }
}

/// What to do with a part of a batch that failed: answer it, or keep it.
fn sort_out(part: Retried, reason: Failure, in_doubt: bool, kept: &mut Vec<Retried>, answers: &mut Answers) {
    let submission = match part {
        Retried::Submitted(submission) => submission,
        Retried::InDoubt(_) | Retried::Undo(_) | Retried::Marks(_) => return kept.push(part),
    };
    let stores_new = submission.operations.iter().any(|operation| matches!(operation, StoreOp::Append(_)));
    // A mark that is there by mistake does no harm.
    let settles = |operation: &StoreOp| matches!(operation, StoreOp::State(_) | StoreOp::Delete(_));
    let stores_only_new = !submission.operations.iter().any(settles);
    match (stores_new, in_doubt) {
        (false, _) => kept.push(Retried::Submitted(submission)),
        (true, false) => answers.add(&submission, Err(reason)),
        // It may be there all the same, and is then to go again.
        (true, true) if stores_only_new => {
            answers.add(&submission, Err(reason));
            kept.extend(submission.operations.iter().filter_map(StoreOp::sequence).map(Retried::Undo));
        }
        // A transaction that settles cannot be taken back, so it is carried through: its answer waits.
        (true, true) => kept.push(Retried::InDoubt(submission)),
    }
}

/// Who waits for marks alone goes on without them: what it wants to hand out is what makes room. They are tried again.
fn stop_waiting(part: Retried, reason: Failure, answers: &mut Answers) -> Retried {
    let is_mark = |operation: &StoreOp| matches!(operation, StoreOp::Mark(_));
    match part {
        Retried::Submitted(submission) if submission.operations.iter().all(is_mark) => {
            answers.add(&submission, Err(reason));
            Retried::Marks(submission)
        }
        other => other,
    }
}

/// Answers by worker.
#[derive(Default)]
struct Answers(BTreeMap<WorkerId, Vec<Answer>>);

impl Answers {
    fn add(&mut self, submission: &Submission, outcome: Result<(), Failure>) {
        let answer = Answer { ticket: submission.ticket, outcome };
        self.0.entry(submission.from).or_default().push(answer);
    }

    fn send(self, sink: &Sink) {
        for (worker, answers) in self.0 {
            sink(worker, answers);
        }
    }
}

fn footprint(submission: &Submission) -> usize {
    size_of::<Submission>() + submission.operations.iter().map(StoreOp::footprint).sum::<usize>()
}
