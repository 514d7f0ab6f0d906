//! Messages that are only in the store, brought back when their turn comes: one thread reads, so that no worker waits for it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};

use super::{MessageRecord, Store};
use crate::message::WorkerId;

/// Messages that a worker wants to have again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Who is answered.
    pub from: WorkerId,
    /// What the answer names; the worker's own choice.
    pub ticket: u64,
    /// Which messages.
    pub sequences: Vec<u64>,
}

/// What became of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Of the lookup.
    pub ticket: u64,
    /// One for each sequence, in that order. None: it is not there, or cannot be read; the log says which.
    pub messages: Vec<Option<MessageRecord>>,
}

/// Receives the answers of one worker. Called on the reader's thread, which it may block.
pub type FoundSink = Box<dyn Fn(WorkerId, Found) + Send>;

/// The thread that reads. Dropping it ends it; lookups that wait then are not answered.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Hands lookups to the reader. One for each worker.
#[derive(Clone, Debug)]
pub struct Asker {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

/// Bounded by those who ask: each queue waits for an answer before it asks again.
#[derive(Debug, Default)]
struct Inbox {
    waiting: VecDeque<Lookup>,
    stops: bool,
}

impl Reader {
    /// Starts the thread. `sink` receives all answers.
    pub fn start(store: Arc<dyn Store>, sink: FoundSink) -> io::Result<Reader> {
        let shared = Arc::new(Shared::default());
        let asked = Arc::clone(&shared);
        let run = move || {
            while let Some(lookup) = asked.next() {
                let messages = lookup.sequences.iter().map(|sequence| read(&*store, *sequence)).collect();
                sink(lookup.from, Found { ticket: lookup.ticket, messages });
            }
        };
        let thread = thread::Builder::new().name("reader".to_owned()).spawn(run)?;
        Ok(Reader { shared, thread: Some(thread) })
    }

    /// A way to ask.
    pub fn asker(&self) -> Asker {
        Asker { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.inbox.lock().stops = true;
        self.shared.arrived.notify_all();
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Asker {
    /// Asks; the answer comes to the sink. Never blocks for the disk.
    pub fn ask(&self, lookup: Lookup) {
        self.shared.inbox.lock().waiting.push_back(lookup);
        self.shared.arrived.notify_one();
    }
}

impl Shared {
    /// The next lookup; none when it is over.
    fn next(&self) -> Option<Lookup> {
        let mut inbox = self.inbox.lock();
        loop {
            if inbox.stops {
                return None;
            }
            match inbox.waiting.pop_front() {
                Some(lookup) => return Some(lookup),
                None => self.arrived.wait(&mut inbox),
            }
        }
    }
}

fn read(store: &dyn Store, sequence: u64) -> Option<MessageRecord> {
    match store.read(sequence) {
        Ok(Some(message)) => Some(message),
        Ok(None) => {
            tracing::error!(sequence, "a stored message is not there");
            None
        }
        Err(error) => {
            tracing::error!(sequence, %error, "a stored message cannot be read");
            None
        }
    }
}
