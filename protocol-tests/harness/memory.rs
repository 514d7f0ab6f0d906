//! Our own broker without sockets, in this process, on a virtual clock: hours of protocol time pass in no time at all.
//!
//! The only part of the suite that knows the broker's library.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gumboot::config::{self, Source, Sources};
use gumboot::worker::{Framing, Options};

use super::{Carrier, Close, Harness, HarnessError, Link, Opening, Piece, Received, Scope, World};
use crate::virtual_broker::{ClientId, VirtualBroker};

/// Where the configuration does not say: more than one, so that every case crosses from worker to worker.
const WORKERS: usize = 3;

/// A broker of its own for each run of each case.
pub(crate) struct Memory {
    workers: usize,
    options: Options,
}

impl Memory {
    /// `config` is what the launched program would read from its file.
    pub(crate) fn new(config: &str) -> Result<Self, HarnessError> {
        let file = Source::new("the profile's launch.config", config);
        let loaded = config::load(Sources { file: Some(file), ..Sources::default() })
            .map_err(|errors| HarnessError::Config(errors.to_string()))?;
        let server = loaded.options.server;
        let workers = if server.workers == 0 { WORKERS } else { server.workers };
        Ok(Memory { workers, options: server.worker })
    }
}

impl Harness for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn world(&self, _: Scope) -> Result<Box<dyn World>, HarnessError> {
        let broker = Rc::new(RefCell::new(VirtualBroker::new(self.workers, self.options.clone())));
        Ok(Box::new(MemoryWorld { broker, connections: 0 }))
    }
}

struct MemoryWorld {
    broker: Rc<RefCell<VirtualBroker>>,
    connections: usize,
}

impl World for MemoryWorld {
    fn connect(&mut self, _: &Opening) -> Result<Box<dyn Link>, HarnessError> {
        let mut broker = self.broker.borrow_mut();
        let worker = self.connections % broker.workers();
        self.connections += 1;
        let client = broker.connect(worker, Framing::Stream);
        Ok(Box::new(MemoryLink { broker: Rc::clone(&self.broker), client }))
    }

    fn now(&self) -> Instant {
        self.broker.borrow().now()
    }

    fn advance(&mut self, by: Duration) {
        let mut broker = self.broker.borrow_mut();
        broker.settle();
        broker.advance(by);
    }

    fn restart(&mut self) -> Result<(), HarnessError> {
        Err(HarnessError::Unsupported("restart it: nothing is stored"))
    }
}

struct MemoryLink {
    broker: Rc<RefCell<VirtualBroker>>,
    client: ClientId,
}

impl Link for MemoryLink {
    fn send(&mut self, pieces: &[Piece]) {
        let mut broker = self.broker.borrow_mut();
        for piece in pieces {
            if let Piece::Plain(bytes) | Piece::Binary(bytes) = piece {
                // A session that waits for an answer takes more once that is there.
                while !broker.send(self.client, bytes) {
                    broker.settle();
                }
            }
        }
        broker.settle();
    }

    fn receive(&mut self, patience: Duration) -> Received {
        let mut broker = self.broker.borrow_mut();
        let until = broker.now() + patience;
        broker.settle();
        loop {
            let bytes = broker.take(self.client);
            if !bytes.is_empty() {
                return Received::Bytes(bytes, Carrier::Stream);
            }
            if broker.is_closed(self.client) {
                return Received::Closed(Close::default());
            }
            if !broker.advance_to_next(until) {
                return Received::Silence;
            }
        }
    }

    fn stall(&mut self) {
        self.broker.borrow_mut().stall(self.client, true);
    }

    fn resume(&mut self) {
        let mut broker = self.broker.borrow_mut();
        broker.stall(self.client, false);
        broker.settle();
    }

    fn close(&mut self, _: Option<u16>) {
        let mut broker = self.broker.borrow_mut();
        broker.finish(self.client);
        broker.settle();
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        let mut broker = self.broker.borrow_mut();
        broker.drop_client(self.client);
        broker.settle();
    }
}
