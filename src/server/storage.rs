//! The store at the start of a broker: opening it, reading it back, and the thread that commits.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;

use super::StartError;
use crate::broker::Interest;
use crate::destination::Destination;
use crate::message::{Sequences, WorkerId};
use crate::store::{self, Answer, Committer, CommitterOptions, Engine, MessageRecord, Record, Store, Submitter};
use crate::worker::{self, Batch, Post};

/// How often the log tells how far reading has come.
const PROGRESS: Duration = Duration::from_secs(2);

/// A store that has been read.
pub(super) struct Opened {
    store: Arc<dyn Store>,
    sequences: Sequences,
    /// What each worker has to put back.
    restored: Vec<Batch>,
}

/// What workers get: the way to the store, and what each has to put back.
pub(super) type Ways = (Option<(Sequences, Submitter)>, Vec<Batch>);

/// Opens the store and reads all of it. None: there is nothing that outlives the process.
pub(super) fn open(options: &store::Options, interest: &Interest) -> Result<Option<Opened>, StartError> {
    if options.engine == Engine::Memory {
        tracing::info!("no store (store.engine = \"memory\"): messages do not outlive the broker");
        return Ok(None);
    }
    let store = store::open(options)?;
    let usage = store.usage();
    tracing::info!(
        "store {} ({}): {} messages, {} bytes",
        options.path.display(),
        options.engine,
        usage.messages,
        usage.bytes
    );
    let mut reading = Reading {
        interest,
        restored: (0..interest.workers()).map(|_| Batch::new()).collect(),
        last: None,
        count: 0,
        total: usage.messages,
        told: Instant::now(),
    };
    let visit = &mut |record| {
        reading.take(record);
        ControlFlow::Continue(())
    };
    store.scan(visit).map_err(StartError::Read)?;
    reading.finish_last();
    let restored = reading.restored;
    Ok(Some(Opened { store, sequences: Sequences::above(usage.highest_sequence), restored }))
}

impl Opened {
    /// Starts the thread that commits, which answers through the inboxes of the workers.
    pub(super) fn start(self, options: &store::Options, inboxes: Vec<Sender<Batch>>) -> io::Result<(Committer, Ways)> {
        let sink = Box::new(move |worker: WorkerId, answers: Vec<Answer>| {
            let posts = worker::answers(answers);
            if let Some(inbox) = inboxes.get(worker.index()).filter(|_| !posts.is_empty()) {
                // Workers never wait for this thread, so there is room soon; or the worker is gone, and nobody listens.
                let _ = inbox.blocking_send(posts);
            }
        });
        let options = CommitterOptions { sync: options.sync, ..CommitterOptions::default() };
        let committer = Committer::start(self.store, options, sink)?;
        let way = (self.sequences, committer.submitter());
        Ok((committer, (Some(way), self.restored)))
    }
}

/// The scan so far.
struct Reading<'a> {
    interest: &'a Interest,
    restored: Vec<Batch>,
    /// Its state, where it has one, comes next.
    last: Option<(MessageRecord, u32)>,
    count: u64,
    total: u64,
    told: Instant,
}

impl Reading<'_> {
    fn take(&mut self, record: Record) {
        match record {
            Record::Message(message) => {
                self.finish_last();
                self.last = Some((message, 0));
            }
            Record::State(state) => {
                if let Some((_, redeliveries)) = self.last.as_mut().filter(|(last, _)| last.sequence == state.sequence)
                {
                    *redeliveries = state.redeliveries;
                }
            }
        }
    }

    fn finish_last(&mut self) {
        let Some((record, redeliveries)) = self.last.take() else { return };
        let home = self.interest.home_of(&Destination::new(record.queue.clone()));
        if let Some(batch) = self.restored.get_mut(home.index()) {
            batch.push(Post::Command(worker::restored(record, redeliveries)));
        }
        self.count += 1;
        if self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            tracing::info!("read {} of {} stored messages", self.count, self.total);
        }
    }
}
