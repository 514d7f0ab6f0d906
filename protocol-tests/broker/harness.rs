//! Some shards in one thread: what they post to each other arrives in order per pair, when the test says so.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gumboot::broker::{
    Change, Command, Consumer, Effects, Interest, Note, Options, QueueStats, Shard, Subscriber, TransactionId,
};
use gumboot::clock::Clock;
use gumboot::destination::{Destination, Pattern, Spaces, Style};
use gumboot::headers::Headers;
use gumboot::message::{
    Content, Delivery, Message, Operation, Outcome, Sequences, SessionId, SubscriberId, SubscriptionKey, Tag, Ticket,
    Verdict, WhenSlow, WorkerId,
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

    fn note(&mut self, note: Note) {
        self.log.notes.push(note);
    }
}

impl Net {
    pub(crate) fn new(workers: u16, options: Options) -> Net {
        Net::with_interest(Interest::new(workers), options)
    }

    fn with_interest(interest: Interest, options: Options) -> Net {
        let workers = interest.workers();
        let (interest, options) = (Arc::new(interest), Arc::new(options));
        let now = Instant::now();
        let clock = Clock::new(now, START_EPOCH_MS);
        let shard = |id| Shard::new(clock, id, BOOT, Arc::clone(&options), Arc::clone(&interest));
        let ids = || (0..workers).map(WorkerId);
        let link = |from, to| Link { from, to, commands: VecDeque::new() };
        Net {
            now,
            log: Log::default(),
            shards: ids().map(shard).collect(),
            links: ids().flat_map(|from| ids().map(move |to| link(from, to))).collect(),
            interest,
        }
    }

    /// As [`Net::new`], but with a store, which is the test itself.
    pub(crate) fn durable(workers: u16, options: Options) -> Net {
        let mut net = Net::with_interest(Interest::seeded(workers, 1), options);
        let sequences = Sequences::above(0);
        net.shards.iter_mut().for_each(|shard| shard.use_store(sequences.clone()));
        net
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
        self.run(id.session.worker, Command::Consume { consumer, queue: queue.clone(), ticket: Some(Ticket(0)) });
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
        self.run(id.session.worker, Command::Consume { consumer, queue: queue.clone(), ticket: Some(Ticket(0)) });
    }

    pub(crate) fn cancel(&mut self, id: SubscriberId, queue: &Destination) {
        self.run(id.session.worker, Command::Cancel { consumer: id, queue: queue.clone(), ticket: None });
    }

    pub(crate) fn send(&mut self, origin: SessionId, to: &Destination, body: &str) {
        self.publish(origin, content(to.as_str(), body));
    }

    pub(crate) fn publish(&mut self, origin: SessionId, content: Content) {
        self.run(origin.worker, Command::Publish { origin, content, ticket: Some(Ticket(1)) });
    }

    pub(crate) fn settle(&mut self, session: SessionId, tag: Tag, outcome: Outcome) {
        self.run(session.worker, Command::Settle { session, tags: vec![tag], outcome, ticket: None });
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
