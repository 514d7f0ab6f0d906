//! The whole broker in one thread on a virtual clock: several hubs, the posts between them, and clients that are nothing
//! but bytes. Nothing here waits; time moves when it is told to.
#![allow(dead_code, reason = "shared by tests of which each uses its own part")]

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gumboot::app::{Answer, CallId, Failure, Job, Table};
use gumboot::broker::{Change, Command, Interest, QueueStats, UNAWAITED};
use gumboot::clock::Clock;
use gumboot::message::{Message, Refusal, Sequences, WorkerId};
use gumboot::worker::{ConnectionKey, Counters, Event, Framing, Hub, Options, Peer, Post, Submission, Unfinished};

/// What time of day it is when a virtual broker starts.
pub(crate) const START_EPOCH_MS: u64 = 1_000_000_000_000;

/// Names a client of a virtual broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientId(pub(crate) usize);

/// One client's end of a connection.
#[derive(Debug)]
struct Client {
    hub: usize,
    key: ConnectionKey,
    /// What the broker wrote and the client has not taken yet.
    received: Vec<u8>,
    /// How many more bytes the socket of a stalled client takes.
    room: Option<usize>,
    /// The broker closed its writing side.
    finished: bool,
    /// The connection is no more.
    gone: bool,
}

/// A broker of several workers, its clients, and the time.
pub(crate) struct VirtualBroker {
    now: Instant,
    hubs: Vec<Hub>,
    /// Posts on their way, by sender and receiver: each pair keeps its order.
    links: BTreeMap<(usize, usize), VecDeque<Vec<Post>>>,
    clients: Vec<Client>,
    by_key: BTreeMap<(usize, ConnectionKey), ClientId>,
    /// What is stored.
    disk: BTreeMap<u64, Arc<Message>>,
    /// The most bytes one write takes; small values make every write partial.
    pub(crate) write_size: usize,
    interest: Arc<Interest>,
    start: Instant,
    boot: u32,
    /// What the workers want to be stored, where a test has the disk.
    submitted: Option<Vec<(usize, Submission)>>,
    /// What they want to read, likewise.
    lookups: Vec<(usize, u64, Vec<u64>)>,
    /// Who handles what is for applications, where a test plays the handlers; and what they are asked, and since when.
    table: Option<Arc<Table>>,
    jobs: Vec<(usize, Job, Instant)>,
}

impl VirtualBroker {
    /// A broker of `workers` workers.
    pub(crate) fn new(workers: usize, options: Options) -> VirtualBroker {
        VirtualBroker::with_interest(options, Interest::new(workers as u16))
    }

    /// A broker whose queues live where `seed` says, the same in every process.
    pub(crate) fn seeded(workers: usize, options: Options, seed: u64) -> VirtualBroker {
        VirtualBroker::with_interest(options, Interest::seeded(workers as u16, seed))
    }

    fn with_interest(options: Options, interest: Interest) -> VirtualBroker {
        let now = Instant::now();
        let mut broker = VirtualBroker {
            now,
            hubs: Vec::new(),
            links: BTreeMap::new(),
            clients: Vec::new(),
            by_key: BTreeMap::new(),
            disk: BTreeMap::new(),
            write_size: usize::MAX,
            interest: Arc::new(interest),
            start: now,
            boot: 0,
            submitted: None,
            lookups: Vec::new(),
            table: None,
            jobs: Vec::new(),
        };
        broker.boot(options, &Sequences::above(0));
        broker
    }

    /// Makes new hubs.
    fn boot(&mut self, options: Options, sequences: &Sequences) {
        self.boot += 1;
        let options = Arc::new(options);
        let unfinished = Unfinished::new(options.unfinished_bytes, usize::from(self.interest.workers()));
        let hub = |index: u16| {
            let clock = Clock::new(self.start, START_EPOCH_MS);
            let (options, interest) = (Arc::clone(&options), Arc::clone(&self.interest));
            let mut hub = Hub::new(clock, WorkerId(index), self.boot, options, interest, Arc::new(Counters::default()));
            hub.use_store(sequences.clone());
            hub.share_unfinished(Arc::clone(&unfinished));
            if let Some(table) = &self.table {
                hub.set_table(Arc::clone(table));
            }
            hub
        };
        self.hubs = (0..self.interest.workers()).map(hub).collect();
    }

    /// From now on what is to be stored waits for [`VirtualBroker::take_submitted`], and for its answer.
    pub(crate) fn hold_submissions(&mut self) {
        self.submitted = Some(Vec::new());
    }

    /// What workers want to be stored, in order, and who.
    pub(crate) fn take_submitted(&mut self) -> Vec<(usize, Submission)> {
        self.submitted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// From now on what handlers are asked waits for [`VirtualBroker::take_jobs`].
    pub(crate) fn use_table(&mut self, table: Arc<Table>) {
        for hub in &mut self.hubs {
            hub.set_table(Arc::clone(&table));
        }
        self.table = Some(table);
    }

    /// What handlers are asked, on which worker, and since when.
    pub(crate) fn take_jobs(&mut self) -> Vec<(usize, Job, Instant)> {
        std::mem::take(&mut self.jobs)
    }

    /// What a handler answers.
    pub(crate) fn answer_job(&mut self, hub: usize, call: CallId, answer: Answer) {
        self.hubs[hub].answer(self.now, call, answer);
    }

    /// What workers want to read: who, for which queue of theirs, and which messages.
    pub(crate) fn take_lookups(&mut self) -> Vec<(usize, u64, Vec<u64>)> {
        std::mem::take(&mut self.lookups)
    }

    /// Brings a worker what it wanted to read; what cannot be read is none.
    pub(crate) fn bring(&mut self, hub: usize, queue: u64, found: Vec<Option<Arc<Message>>>) {
        self.hubs[hub].receive_posts(self.now, vec![Post::Command(Command::Fetched { queue, found })]);
    }

    /// Tells a worker what became of what it wanted to be stored.
    pub(crate) fn answer(&mut self, hub: usize, ticket: u64, result: Result<(), Refusal>) {
        if ticket != UNAWAITED {
            self.hubs[hub].receive_posts(self.now, vec![Post::Command(Command::Stored { ticket, result })]);
        }
    }

    /// The process is gone with all it had in memory, and another one begins with what was stored: the messages, in order,
    /// and the number of the last one.
    pub(crate) fn restart(&mut self, options: Options, stored: Vec<Post>, last: u64) {
        self.links.clear();
        self.lookups.clear();
        self.jobs.clear();
        self.by_key.clear();
        self.disk.clear();
        for client in &mut self.clients {
            client.gone = true;
        }
        self.submitted = self.submitted.as_ref().map(|_| Vec::new());
        self.boot(options, &Sequences::above(last));
        for post in stored {
            let Post::Command(
                Command::Restore { queue, .. } | Command::Rebind { queue, .. } | Command::RestoreMark { queue, .. },
            ) = &post
            else {
                continue;
            };
            if let Post::Command(Command::Restore { message, sequence, .. }) = &post {
                self.disk.insert(*sequence, Arc::clone(message));
            }
            let home = self.interest.home_of(queue).index();
            self.hubs[home].receive_posts(self.now, vec![post]);
        }
        for hub in &mut self.hubs {
            hub.receive_posts(self.now, vec![Post::Command(Command::Restored)]);
        }
    }

    /// A new client on worker `hub`.
    pub(crate) fn connect(&mut self, hub: usize, framing: Framing) -> ClientId {
        let transport = if framing == Framing::Stream { "tcp" } else { "websocket" };
        let key = self.hubs[hub].open(self.now, Peer { transport, address: None }, framing);
        let id = ClientId(self.clients.len());
        let client = Client { hub, key, received: Vec::new(), room: None, finished: false, gone: false };
        self.clients.push(client);
        self.by_key.insert((hub, key), id);
        id
    }

    /// The client sends bytes. Answers whether the broker took them; it does not while the session has enough.
    pub(crate) fn send(&mut self, id: ClientId, bytes: &[u8]) -> bool {
        let client = &self.clients[id.0];
        let (hub, key) = (client.hub, client.key);
        if client.gone || !self.hubs[hub].wants_input(key) {
            return client.gone;
        }
        let mut bytes = bytes.to_vec();
        self.hubs[hub].receive(self.now, key, &mut bytes);
        self.flush_if_needed(hub);
        true
    }

    /// The client closes its writing side.
    pub(crate) fn finish(&mut self, id: ClientId) {
        let client = &self.clients[id.0];
        if !client.gone {
            self.hubs[client.hub].ended(self.now, client.key);
        }
    }

    /// The client's connection breaks.
    pub(crate) fn drop_client(&mut self, id: ClientId) {
        let client = &self.clients[id.0];
        if !client.gone {
            self.hubs[client.hub].failed(self.now, client.key);
        }
    }

    /// The client stops or resumes reading.
    pub(crate) fn stall(&mut self, id: ClientId, stalled: bool) {
        self.stall_after(id, stalled.then_some(0));
    }

    /// The client stops reading after so many bytes more; none: it reads.
    pub(crate) fn stall_after(&mut self, id: ClientId, room: Option<usize>) {
        self.clients[id.0].room = room;
        self.write(id);
    }

    /// What the client received since it last asked.
    pub(crate) fn take(&mut self, id: ClientId) -> Vec<u8> {
        std::mem::take(&mut self.clients[id.0].received)
    }

    /// Whether the broker has closed its side, or the connection is no more.
    pub(crate) fn is_closed(&self, id: ClientId) -> bool {
        self.clients[id.0].finished || self.clients[id.0].gone
    }

    /// Ends the turn of one worker: writes, posts, events.
    pub(crate) fn end_turn(&mut self, hub: usize) {
        for key in self.hubs[hub].seal() {
            if let Some(id) = self.by_key.get(&(hub, key)).copied() {
                self.write(id);
            }
        }
        for to in 0..self.hubs.len() {
            let posts = self.hubs[hub].take_posts(WorkerId(to as u16));
            if !posts.is_empty() {
                assert_ne!(hub, to, "a worker posts to itself");
                self.links.entry((hub, to)).or_default().push_back(posts);
            }
        }
        for job in self.hubs[hub].take_jobs() {
            if self.table.is_some() {
                self.jobs.push((hub, job, self.now));
                continue;
            }
            // There are no handlers here to call.
            self.hubs[hub].answer(self.now, job.call, Err(Failure::Unavailable));
        }
        while let Some(event) = self.hubs[hub].poll_event() {
            self.handle(hub, event);
        }
        let submissions = self.hubs[hub].take_submissions();
        for change in submissions.iter().flat_map(|submission| &submission.changes) {
            match change {
                Change::Append { sequence, message, .. } => self.disk.insert(*sequence, Arc::clone(message)),
                Change::Delete { sequence } => self.disk.remove(sequence),
                Change::Bind { .. } | Change::State { .. } | Change::Mark { .. } => None,
            };
        }
        let lookups = self.hubs[hub].take_lookups();
        if let Some(submitted) = &mut self.submitted {
            self.lookups.extend(lookups.into_iter().map(|(queue, sequences)| (hub, queue, sequences)));
            submitted.extend(submissions.into_iter().map(|submission| (hub, submission)));
            return;
        }
        // Else the disk is quick and never fails.
        for (queue, sequences) in lookups {
            let found = sequences.iter().map(|sequence| self.disk.get(sequence).map(Arc::clone)).collect();
            self.bring(hub, queue, found);
        }
        for submission in submissions {
            self.answer(hub, submission.ticket, Ok(()));
        }
    }

    /// Delivers one batch of posts, `choice` picking the link. Answers whether there was one.
    pub(crate) fn deliver_posts(&mut self, choice: usize) -> bool {
        let links: Vec<_> = self.links.iter().filter(|(_, posts)| !posts.is_empty()).map(|(link, _)| *link).collect();
        if links.is_empty() {
            return false;
        }
        let link = links[choice % links.len()];
        let posts = self.links.get_mut(&link).and_then(VecDeque::pop_front).unwrap_or_default();
        self.hubs[link.1].receive_posts(self.now, posts);
        self.flush_if_needed(link.1);
        true
    }

    /// Ends a turn that has grown too large, as the driver does.
    fn flush_if_needed(&mut self, hub: usize) {
        if self.hubs[hub].needs_flush() {
            self.end_turn(hub);
        }
    }

    /// Runs until nothing is left to do at this time.
    pub(crate) fn settle(&mut self) {
        loop {
            for hub in 0..self.hubs.len() {
                while self.hubs[hub].has_output() {
                    self.end_turn(hub);
                }
                self.end_turn(hub);
            }
            let idle = !self.deliver_posts(0);
            if idle && !self.hubs.iter().any(Hub::has_output) {
                return;
            }
        }
    }

    /// The time.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Lets time pass, and everything due in it happen at its time.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.advance_to_next(until) {}
    }

    /// Moves to the next thing due, if that is not after `until`, and lets it happen; else moves to `until` and
    /// answers false.
    pub(crate) fn advance_to_next(&mut self, until: Instant) -> bool {
        let next = self.hubs.iter().filter_map(Hub::poll_timeout).min().filter(|at| *at <= until);
        let Some(next) = next else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        for hub in &mut self.hubs {
            hub.handle_timeout(self.now);
        }
        self.settle();
        true
    }

    /// The broker goes away.
    pub(crate) fn shut_down(&mut self) {
        for hub in &mut self.hubs {
            hub.shut_down(self.now);
        }
    }

    /// How many bytes wait to be written to the client.
    pub(crate) fn queued(&self, id: ClientId) -> usize {
        let client = &self.clients[id.0];
        if client.gone { 0 } else { self.hubs[client.hub].queued(client.key) }
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.hubs.len()
    }

    /// What each queue holds.
    pub(crate) fn queue_stats(&self) -> Vec<QueueStats> {
        self.hubs.iter().flat_map(Hub::queue_stats).collect()
    }

    fn write(&mut self, id: ClientId) {
        if self.clients[id.0].gone {
            return;
        }
        let (hub, key) = (self.clients[id.0].hub, self.clients[id.0].key);
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let filled = self.hubs[hub].slices(key, &mut slices);
            if filled == 0 {
                return;
            }
            let client = &mut self.clients[id.0];
            if client.room == Some(0) {
                self.hubs[hub].blocked(key);
                return;
            }
            let before = client.received.len();
            let most = self.write_size.min(client.room.unwrap_or(usize::MAX));
            for slice in &slices[..filled] {
                let left = most - (client.received.len() - before);
                client.received.extend_from_slice(&slice[..slice.len().min(left)]);
            }
            let count = client.received.len() - before;
            client.room = client.room.map(|room| room - count);
            self.hubs[hub].wrote(self.now, key, count);
        }
    }

    fn handle(&mut self, hub: usize, event: Event) {
        match event {
            Event::Finished(key) => {
                if let Some(id) = self.by_key.get(&(hub, key)) {
                    self.clients[id.0].finished = true;
                }
            }
            Event::Removed(key) => {
                if let Some(id) = self.by_key.remove(&(hub, key)) {
                    self.clients[id.0].gone = true;
                }
            }
            Event::Resumed(key) => self.hubs[hub].resume(self.now, key),
        }
    }
}
