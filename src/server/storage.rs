//! The store at the start of a broker: opening it, reading it back, and the threads that commit and read.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::StartError;
use crate::broker::{Command, History, Interest};
use crate::destination::{Destination, Kind, Spaces};
use crate::message::{Sequences, WorkerId};
use crate::store::{
    self, Answer, Asker, Committer, CommitterOptions, Engine, Found, MessageRecord, Reader, Record, StateRecord, Store,
    Submitter,
};
use crate::worker::{self, Batch, Post};

/// How often the log tells how far reading has come.
const PROGRESS: Duration = Duration::from_secs(2);

/// Messages in one batch for a worker, and how many such batches may wait for it: what is in memory while the store is read.
const BATCH: usize = 256;
const BATCHES: usize = 4;

/// A store that is open.
pub(super) struct Opened {
    store: Arc<dyn Store>,
    total: u64,
    sequences: Sequences,
}

/// What each worker gets.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) sequences: Sequences,
    pub(super) submitter: Submitter,
    pub(super) asker: Asker,
}

/// The threads of the store. Dropped when the workers are gone, so that what they asked for last is stored.
#[derive(Debug)]
pub(super) struct Running {
    _committer: Committer,
    _reader: Reader,
}

/// Opens the store. None: there is nothing that outlives the process.
pub(super) fn open(options: &store::Options) -> Result<Option<Opened>, StartError> {
    if options.engine == Engine::Memory {
        tracing::info!("no store (store.engine = \"memory\"): messages do not outlive the broker");
        return Ok(None);
    }
    let begin = Instant::now();
    let store = store::open(options)?;
    let usage = store.usage();
    tracing::info!(
        "store {} ({}): {} messages, {} bytes, opened in {} ms",
        options.path.display(),
        options.engine,
        usage.messages,
        usage.bytes,
        begin.elapsed().as_millis()
    );
    Ok(Some(Opened { store, total: usage.messages, sequences: Sequences::above(usage.highest_sequence) }))
}

impl Opened {
    /// Starts the threads that commit and read, which answer through the inboxes of the workers.
    pub(super) fn start(&self, options: &store::Options, inboxes: Vec<Sender<Batch>>) -> io::Result<(Running, Way)> {
        // Workers never wait for these threads, so there is room soon; or the worker is gone, and nobody listens.
        let others = inboxes.clone();
        let sink = Box::new(move |worker: WorkerId, answers: Vec<Answer>| {
            let posts = worker::answers(answers);
            if let Some(inbox) = inboxes.get(worker.index()).filter(|_| !posts.is_empty()) {
                let _ = inbox.blocking_send(posts);
            }
        });
        let found_sink = Box::new(move |worker: WorkerId, found: Found| {
            if let Some(inbox) = others.get(worker.index()) {
                let _ = inbox.blocking_send(vec![worker::found(found)]);
            }
        });
        let options = CommitterOptions { sync: options.sync, ..CommitterOptions::default() };
        let committer = Committer::start(Arc::clone(&self.store), options, sink)?;
        let reader = Reader::start(Arc::clone(&self.store), found_sink)?;
        let way = Way { sequences: self.sequences.clone(), submitter: committer.submitter(), asker: reader.asker() };
        Ok((Running { _committer: committer, _reader: reader }, way))
    }

    /// Reads the whole store, and tells each worker what is its own: what is left to do before the broker serves.
    pub(super) fn restore(
        self,
        interest: &Interest,
        spaces: &Spaces,
        workers: Vec<Sender<Batch>>,
    ) -> Result<(), StartError> {
        let begin = Instant::now();
        let mut reading = Reading {
            interest,
            spaces,
            stranded: None,
            sequences: self.sequences,
            batches: workers.iter().map(|_| Batch::new()).collect(),
            workers,
            last: None,
            count: 0,
            total: self.total,
            told: begin,
        };
        let visit = &mut |record| {
            reading.take(record);
            ControlFlow::Continue(())
        };
        self.store.scan(visit).map_err(StartError::Read)?;
        reading.finish();
        tracing::info!("read {} stored messages in {} ms", self.total, begin.elapsed().as_millis());
        Ok(())
    }
}

/// The ways on which workers hear what was stored.
pub(super) fn restoring_channels(workers: usize) -> (Vec<Sender<Batch>>, Vec<Receiver<Batch>>) {
    (0..workers).map(|_| channel(BATCHES)).unzip()
}

/// The scan so far.
struct Reading<'a> {
    interest: &'a Interest,
    spaces: &'a Spaces,
    /// How many messages are in queues that no client can name now, and one of these.
    stranded: Option<(u64, Destination)>,
    sequences: Sequences,
    workers: Vec<Sender<Batch>>,
    batches: Vec<Batch>,
    /// Its state, where it has one, comes next.
    last: Option<(MessageRecord, History)>,
    count: u64,
    total: u64,
    told: Instant,
}

impl Reading<'_> {
    fn take(&mut self, record: Record) {
        match record {
            Record::Mark(mark) => {
                // A later message is beyond every mark.
                self.sequences.leave_out(mark.up_to);
                let queue = Destination::new(mark.queue);
                let home = self.interest.home_of(&queue);
                self.post(home, Post::Command(Command::RestoreMark { queue, up_to: mark.up_to }));
            }
            Record::Message(message) => {
                self.finish_last();
                let history = History { taken_at: message.enqueued_at, ..History::default() };
                self.last = Some((message, history));
            }
            Record::State(StateRecord { sequence, redeliveries, refused, not_before }) => {
                if let Some((_, history)) = self.last.as_mut().filter(|(last, _)| last.sequence == sequence) {
                    *history = History { redeliveries, refused, not_before, ..*history };
                }
            }
        }
    }

    fn finish_last(&mut self) {
        let Some((record, history)) = self.last.take() else { return };
        let queue = Destination::new(record.queue.clone());
        let home = self.interest.home_of(&queue);
        if !self.is_reachable(&queue) {
            self.stranded.get_or_insert((0, queue)).0 += 1;
        }
        self.post(home, worker::restored(record, history));
        self.count += 1;
        if self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            tracing::info!("read {} of {} stored messages", self.count, self.total);
        }
    }

    /// Whether clients can subscribe to a queue, or it is that of a durable subscription.
    fn is_reachable(&self, queue: &Destination) -> bool {
        let space = self.spaces.resolve(queue.as_str());
        queue.is_reserved() || space.is_some_and(|space| matches!(space.kind, Kind::Queue | Kind::Application))
    }

    fn post(&mut self, home: WorkerId, post: Post) {
        let Some(batch) = self.batches.get_mut(home.index()) else { return };
        batch.push(post);
        if batch.len() >= BATCH {
            let batch = std::mem::take(batch);
            self.send(home.index(), batch);
        }
    }

    /// Waits while the worker has enough to do.
    fn send(&self, worker: usize, batch: Batch) {
        if let Some(worker) = self.workers.get(worker) {
            // A worker that is gone has said why, and the broker stops.
            let _ = worker.blocking_send(batch);
        }
    }

    fn finish(mut self) {
        self.finish_last();
        if let Some((messages, queue)) = &self.stranded {
            tracing::warn!(
                messages,
                %queue,
                "stored messages are in queues, such as this one, that no [[destinations]] takes as queues: they stay there, \
                 and nobody can get them until one does"
            );
        }
        for (worker, mut batch) in std::mem::take(&mut self.batches).into_iter().enumerate() {
            batch.push(Post::Command(Command::Restored));
            self.send(worker, batch);
        }
    }
}
