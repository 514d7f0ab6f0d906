//! Some shards in one thread: what they post to each other arrives in order per pair, when the test says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gumboot::broker::{
    Change, Command, Consumer, Effects, History, Interest, Note, Options, QueueStats, Shard, Subscriber, TransactionId,
    UNAWAITED,
};
use gumboot::clock::Clock;
use gumboot::destination::{Destination, Pattern, Spaces, Style};
use gumboot::headers::Headers;
use gumboot::message::{
    Content, Delivery, Message, Moment, Operation, Outcome, Sequences, SessionId, SubscriberId, SubscriptionKey, Tag,
    Ticket, Verdict, WhenSlow, WorkerId,
};

/// Names this start of the broker.
pub(crate) const BOOT: u32 = 7;

/// What time of day it is at first.
pub(crate) const START_EPOCH_MS: u64 = 1_000_000;

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) log: Log,
    interest: Arc<Interest>,
    shards: Vec<Shard>,
    links: Vec<Link>,
    /// Where there is a store.
    sequences: Sequences,
    clock: Clock,
}

/// What is stored, in the same form as it was given.
#[derive(Default)]
pub(crate) struct Disk {
    /// By sequence, with when it was taken and what it has been through.
    pub(crate) messages: BTreeMap<u64, (Arc<Message>, u64, History)>,
    pub(crate) marks: BTreeMap<Destination, u64>,
    /// What cannot be read.
    pub(crate) unreadable: BTreeSet<u64>,
}

impl Disk {
    /// A message as the store knows it: not who sent it.
    fn read(&self, sequence: u64) -> Option<Arc<Message>> {
        let (message, ..) = self.messages.get(&sequence).filter(|_| !self.unreadable.contains(&sequence))?;
        let origin = SessionId { worker: WorkerId(0), key: 0 };
        Some(Arc::new(Message { origin, ..Message::clone(message) }))
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Append { sequence, queue: _, message, taken_at, expires_at } => {
                let expires = message.content.terms.as_ref().and_then(|terms| terms.expires);
                assert!(expires.is_none() || expires == expires_at.map(Moment::At), "its own end holds");
                self.messages.insert(sequence, (message, taken_at, History::default()));
            }
            Change::State { sequence, redeliveries, refused, not_before } => {
                if let Some((_, _, history)) = self.messages.get_mut(&sequence) {
                    *history = History { redeliveries, refused, not_before, ..History::default() };
                }
            }
            Change::Delete { sequence } => {
                self.messages.remove(&sequence);
            }
            Change::Bind { .. } => panic!("no durable subscription is played"),
            Change::Mark { queue, up_to: 0 } => {
                self.marks.remove(&queue);
            }
            Change::Mark { queue, up_to } => {
                self.marks.insert(queue, up_to);
            }
        }
    }
}

struct Link {
    from: WorkerId,
    to: WorkerId,
    commands: VecDeque<Command>,
}

/// Everything that came out of the shards since it was last looked at.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) topic: Vec<(SubscriberId, Arc<Message>, WhenSlow)>,
    pub(crate) queue: Vec<(SubscriberId, Delivery)>,
    pub(crate) verdicts: Vec<(SessionId, Option<Ticket>, Verdict)>,
    pub(crate) notes: Vec<Note>,
    /// What is to be stored, by whom.
    pub(crate) stores: Vec<(WorkerId, u64, Vec<Change>)>,
    /// What is to be read from the store, by whom, for which queue.
    pub(crate) fetches: Vec<(WorkerId, u64, Vec<u64>)>,
}

struct Recording<'a> {
    from: WorkerId,
    log: &'a mut Log,
    links: &'a mut Vec<Link>,
}

impl Effects for Recording<'_> {
    fn deliver_topic(&mut self, subscriber: &Subscriber, message: &Arc<Message>, when_slow: WhenSlow) {
        assert_eq!(subscriber.id.session.worker, self.from, "topics are fanned out where the subscriber lives");
        self.log.topic.push((subscriber.id, Arc::clone(message), when_slow));
    }

    fn deliver(&mut self, consumer: SubscriberId, delivery: Delivery) {
        self.log.queue.push((consumer, delivery));
    }

    fn verdict(&mut self, session: SessionId, ticket: Option<Ticket>, verdict: Verdict) {
        self.log.verdicts.push((session, ticket, verdict));
    }

    fn post(&mut self, worker: WorkerId, command: Command) {
        assert_ne!(worker, self.from, "nothing is posted to oneself");
        let link = self.links.iter_mut().find(|link| (link.from, link.to) == (self.from, worker));
        link.expect("a worker that exists").commands.push_back(command);
    }

    fn store(&mut self, ticket: u64, changes: Vec<Change>) {
        self.log.stores.push((self.from, ticket, changes));
    }

    fn fetch(&mut self, queue: u64, sequences: Vec<u64>) {
        self.log.fetches.push((self.from, queue, sequences));
    }

    fn note(&mut self, note: Note) {
        self.log.notes.push(note);
    }
}

impl Net {
    pub(crate) fn new(workers: u16, options: Options) -> Net {
        Net::with_interest(Interest::new(workers), options, START_EPOCH_MS)
    }

    fn with_interest(interest: Interest, options: Options, epoch_ms: u64) -> Net {
        let workers = interest.workers();
        let (interest, options) = (Arc::new(interest), Arc::new(options));
        let now = Instant::now();
        let clock = Clock::new(now, epoch_ms);
        let shard = |id| Shard::new(clock, id, BOOT, Arc::clone(&options), Arc::clone(&interest));
        let ids = || (0..workers).map(WorkerId);
        let link = |from, to| Link { from, to, commands: VecDeque::new() };
        Net {
            now,
            log: Log::default(),
            shards: ids().map(shard).collect(),
            links: ids().flat_map(|from| ids().map(move |to| link(from, to))).collect(),
            interest,
            sequences: Sequences::above(0),
            clock,
        }
    }

    /// As [`Net::new`], but with a store, which is the test itself.
    pub(crate) fn durable(workers: u16, options: Options) -> Net {
        Net::durable_at(workers, options, START_EPOCH_MS)
    }

    /// The same at another time of day.
    pub(crate) fn durable_at(workers: u16, options: Options, epoch_ms: u64) -> Net {
        let mut net = Net::with_interest(Interest::seeded(workers, 1), options, epoch_ms);
        let sequences = net.sequences.clone();
        net.shards.iter_mut().for_each(|shard| shard.use_store(sequences.clone()));
        net
    }

    /// Plays a disk that is quick and never fails, until nobody wants anything of it.
    pub(crate) fn oblige(&mut self, disk: &mut Disk) {
        loop {
            self.settle_down();
            let stores = std::mem::take(&mut self.log.stores);
            let fetches = std::mem::take(&mut self.log.fetches);
            if stores.is_empty() && fetches.is_empty() {
                return;
            }
            for (worker, ticket, changes) in stores {
                changes.into_iter().for_each(|change| disk.apply(change));
                if ticket != UNAWAITED {
                    self.give(worker, Command::Stored { ticket, result: Ok(()) });
                }
            }
            for (worker, queue, sequences) in fetches {
                let found = sequences.iter().map(|sequence| disk.read(*sequence)).collect();
                self.give(worker, Command::Fetched { queue, found });
            }
        }
    }

    /// Ends in order, as far as the shards are concerned.
    pub(crate) fn close(&mut self, disk: &mut Disk) {
        for (worker, shard) in self.shards.iter_mut().enumerate() {
            let from = WorkerId(worker as u16);
            shard.close(&mut Recording { from, log: &mut self.log, links: &mut self.links });
        }
        self.oblige(disk);
    }

    /// The time of day.
    pub(crate) fn epoch_ms(&self) -> u64 {
        self.clock.epoch_ms(self.now)
    }

    /// Brings everything back that a disk has kept, into a net that is new.
    pub(crate) fn restore(&mut self, disk: &mut Disk) {
        let workers: Vec<WorkerId> = (0..self.interest.workers()).map(WorkerId).collect();
        for (queue, up_to) in disk.marks.clone() {
            self.sequences.leave_out(up_to);
            self.give(self.interest.home_of(&queue), Command::RestoreMark { queue, up_to });
        }
        for (sequence, (message, taken_at, history)) in disk.messages.clone() {
            self.sequences.leave_out(sequence);
            let history = History { taken_at, ..history };
            let home = self.interest.home_of(&message.content.destination);
            let queue = message.content.destination.clone();
            self.give(home, Command::Restore { queue, message, sequence, history });
        }
        for worker in workers {
            self.give(worker, Command::Restored);
        }
        self.oblige(disk);
    }

    /// Gives a command to a worker, and leaves what it posts on its way.
    pub(crate) fn give(&mut self, worker: WorkerId, command: Command) {
        let mut effects = Recording { from: worker, log: &mut self.log, links: &mut self.links };
        self.shards[worker.index()].apply(self.now, command, &mut effects);
    }

    /// Lets one posted command arrive, from one of the links that have some.
    pub(crate) fn step(&mut self, choice: usize) -> bool {
        let mut busy: Vec<&mut Link> = self.links.iter_mut().filter(|link| !link.commands.is_empty()).collect();
        if busy.is_empty() {
            return false;
        }
        let choice = choice % busy.len();
        let (to, command) = (busy[choice].to, busy[choice].commands.pop_front().expect("it is busy"));
        self.give(to, command);
        true
    }

    /// Lets everything posted arrive.
    pub(crate) fn settle_down(&mut self) {
        while self.step(0) {}
    }

    /// Gives a command, and lets everything arrive that follows from it.
    pub(crate) fn run(&mut self, worker: WorkerId, command: Command) {
        self.give(worker, command);
        self.settle_down();
    }

    /// Lets time pass, and everything happen that becomes due.
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.next_due().filter(|due| *due <= end) {
            self.now = due;
            for worker in 0..self.shards.len() {
                let from = WorkerId(worker as u16);
                let mut effects = Recording { from, log: &mut self.log, links: &mut self.links };
                self.shards[worker].handle_timeout(self.now, &mut effects);
            }
            self.settle_down();
            assert!(self.next_due().is_none_or(|next| next > due), "what was due is done");
        }
        self.now = end;
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.shards.iter().filter_map(Shard::poll_timeout).min()
    }

    pub(crate) fn shard(&self, worker: WorkerId) -> &Shard {
        &self.shards[worker.index()]
    }

    pub(crate) fn queue_stats(&self, name: &Destination) -> Option<QueueStats> {
        self.shards.iter().flat_map(Shard::queue_stats).find(|stats| stats.name == *name)
    }

    pub(crate) fn queues(&self) -> usize {
        self.shards.iter().map(|shard| shard.stats().queues).sum()
    }

    pub(crate) fn subscribe(&mut self, id: SubscriberId, text: &str, no_local: bool) {
        let subscriber = Subscriber { id, label: 0, no_local, paced: false };
        let command = Command::Subscribe { subscriber, pattern: pattern(text), ticket: Some(Ticket(0)) };
        self.give(id.session.worker, command);
    }

    pub(crate) fn unsubscribe(&mut self, id: SubscriberId, text: &str) {
        let command = Command::Unsubscribe { subscriber: id, pattern: pattern(text), ticket: None };
        self.give(id.session.worker, command);
    }

    /// Subscribes to a stream of one's own.
    pub(crate) fn subscribe_own(&mut self, id: SubscriberId, text: &str, user: Option<&str>, no_local: bool) {
        let spaces = Spaces::default();
        let space = spaces.resolve(text).expect("a prefix takes it");
        let stream = space.own_stream(text, &id.session.name(BOOT), user).expect("a pattern").expect("a stream");
        let subscriber = Subscriber { id, label: 0, no_local, paced: false };
        self.give(id.session.worker, Command::SubscribeOwn { subscriber, stream, ticket: Some(Ticket(0)) });
    }

    pub(crate) fn unsubscribe_own(&mut self, id: SubscriberId) {
        self.give(id.session.worker, Command::UnsubscribeOwn { subscriber: id, ticket: None });
    }

    pub(crate) fn consume(&mut self, id: SubscriberId, queue: &Destination, credit: u32, no_local: bool) {
        let consumer = Consumer { id, credit, no_local, ends_queue: false };
        self.run(
            id.session.worker,
            Command::Consume { consumer, replaces: None, queue: queue.clone(), ticket: Some(Ticket(0)) },
        );
    }

    /// As [`Net::consume`], in the place of another subscription of the same session.
    pub(crate) fn replace(&mut self, id: SubscriberId, replaced: SubscriptionKey, queue: &Destination, credit: u32) {
        let consumer = Consumer { id, credit, no_local: false, ends_queue: false };
        let (replaces, queue) = (Some(replaced), queue.clone());
        self.run(id.session.worker, Command::Consume { consumer, replaces, queue, ticket: Some(Ticket(0)) });
    }

    /// Looks at a queue page by page, and answers what there was before the end.
    pub(crate) fn browse(&mut self, id: SubscriberId, queue: &Destination, credit: u32) -> Vec<String> {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let reader = Consumer { id, credit, no_local: false, ends_queue: false };
            self.run(id.session.worker, Command::Browse { reader, queue: queue.clone(), after, ticket: None });
            let page = std::mem::take(&mut self.log.queue);
            assert!(page.len() <= credit as usize, "more than was asked for");
            for (_, delivery) in page {
                let Some(tag) = delivery.tag else {
                    assert_eq!(delivery.message.content.headers.find("browser"), Some("end"));
                    return seen;
                };
                after = Some(tag.sequence);
                seen.push(body(&delivery.message));
            }
        }
    }

    /// As [`Net::consume`], and the queue is to end with its last consumer.
    pub(crate) fn consume_to_the_end(&mut self, id: SubscriberId, queue: &Destination, credit: u32) {
        let consumer = Consumer { id, credit, no_local: false, ends_queue: true };
        self.run(
            id.session.worker,
            Command::Consume { consumer, replaces: None, queue: queue.clone(), ticket: Some(Ticket(0)) },
        );
    }

    pub(crate) fn cancel(&mut self, id: SubscriberId, queue: &Destination) {
        self.run(id.session.worker, Command::Cancel { consumer: id, queue: queue.clone(), ticket: None });
    }

    pub(crate) fn send(&mut self, origin: SessionId, to: &Destination, body: &str) {
        self.publish(origin, content(to.as_str(), body));
    }

    pub(crate) fn publish(&mut self, origin: SessionId, content: Content) {
        self.offer(origin, content, Some(Ticket(1)));
        self.settle_down();
    }

    /// As [`Net::publish`]; what that posts is left on its way.
    pub(crate) fn offer(&mut self, origin: SessionId, content: Content, ticket: Option<Ticket>) {
        let mut effects = Recording { from: origin.worker, log: &mut self.log, links: &mut self.links };
        self.shards[origin.worker.index()].publish(self.now, origin, content, ticket, &mut effects);
    }

    pub(crate) fn settle(&mut self, session: SessionId, tag: Tag, outcome: Outcome) {
        self.run(session.worker, Command::Settle { session, tags: [tag].into(), outcome, ticket: None });
    }

    /// Begins to commit; what that posts is left on its way.
    pub(crate) fn commit(&mut self, session: SessionId, ticket: u64, operations: Vec<Operation>) {
        let transaction = TransactionId { session, ticket: Ticket(ticket) };
        self.give(session.worker, Command::Commit { transaction, operations });
    }

    /// A queue that lives on `worker`; different ones for different numbers.
    pub(crate) fn queue_on(&self, worker: u16, number: usize) -> Destination {
        let names = (0..).map(|n: u32| Destination::new(format!("/queue/q{n}")));
        names.filter(|name| self.interest.home_of(name) == WorkerId(worker)).nth(number).expect("names do not end")
    }

    /// Whether the queue of this name lives on `worker`.
    pub(crate) fn lives_on(&self, queue: &Destination, worker: u16) -> bool {
        self.interest.home_of(queue) == WorkerId(worker)
    }

    /// Who was given which body from queues, since this was last asked.
    #[track_caller]
    pub(crate) fn expect_queue(&mut self, expected: &[(SubscriberId, &str, u32)]) -> Vec<Tag> {
        let found = std::mem::take(&mut self.log.queue);
        let seen: Vec<_> =
            found.iter().map(|(to, delivery)| (*to, body(&delivery.message), delivery.redeliveries)).collect();
        let wanted: Vec<_> = expected.iter().map(|(to, body, again)| (*to, body.to_string(), *again)).collect();
        assert_eq!(seen, wanted);
        found.iter().map(|(_, delivery)| delivery.tag.expect("queues have tags")).collect()
    }

    /// Who was given which body from topics, since this was last asked, sorted by receiver.
    #[track_caller]
    pub(crate) fn expect_topic(&mut self, expected: &[(SubscriberId, &str)]) {
        let mut seen: Vec<_> = self.log.topic.drain(..).map(|(to, message, _)| (to, body(&message))).collect();
        seen.sort_by_key(|(to, _)| *to);
        let mut wanted: Vec<_> = expected.iter().map(|(to, body)| (*to, body.to_string())).collect();
        wanted.sort_by_key(|(to, _)| *to);
        assert_eq!(seen, wanted);
    }

    /// The verdicts since this was last asked.
    pub(crate) fn verdicts(&mut self) -> Vec<Verdict> {
        self.log.verdicts.drain(..).map(|(_, _, verdict)| verdict).collect()
    }

    /// The code of each refusal since this was last asked.
    pub(crate) fn refusals(&mut self) -> Vec<&'static str> {
        self.verdicts().into_iter().filter_map(|verdict| verdict.err().map(|refusal| refusal.code())).collect()
    }
}

pub(crate) fn session(worker: u16, key: u64) -> SessionId {
    SessionId { worker: WorkerId(worker), key }
}

pub(crate) fn subscription(session: SessionId, key: u32) -> SubscriberId {
    SubscriberId { session, subscription: SubscriptionKey(key) }
}

pub(crate) fn content(to: &str, body: &str) -> Content {
    Content {
        destination: Destination::new(to.to_owned()),
        headers: Headers::from_iter([("a", "1")]),
        body: Bytes::from(body.to_owned()),
        is_text: true,
        exclude_origin: false,
        mandatory: false,
        terms: None,
    }
}

pub(crate) fn pattern(text: &str) -> Pattern {
    Pattern::parse(text.to_owned(), Style::Ant, '/').expect("a pattern")
}

pub(crate) fn body(message: &Message) -> String {
    String::from_utf8(message.content.body.to_vec()).expect("text")
}
