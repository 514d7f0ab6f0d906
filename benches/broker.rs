//! What a message costs in a shard, with effects that only count.

#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gumboot::broker::{Change, Command, Consumer, Effects, Interest, Note, Options, Shard, Subscriber};
use gumboot::clock::Clock;
use gumboot::destination::{Destination, Pattern, Style};
use gumboot::headers::Headers;
use gumboot::message::{
    Content, Delivery, Message, Outcome, SessionId, SubscriberId, SubscriptionKey, Tag, Ticket, Verdict, WhenSlow,
    WorkerId,
};

const WORKER: WorkerId = WorkerId(0);

#[derive(Default)]
struct Counting {
    delivered: u64,
    tag: Option<Tag>,
}

impl Effects for Counting {
    #[inline]
    fn deliver_topic(&mut self, subscriber: &Subscriber, message: &Arc<Message>, _: WhenSlow) {
        black_box((subscriber, message));
        self.delivered += 1;
    }

    fn deliver(&mut self, _: SubscriberId, delivery: Delivery) {
        self.tag = delivery.tag;
    }

    fn verdict(&mut self, _: SessionId, _: Option<Ticket>, _: Verdict) {}

    fn post(&mut self, _: WorkerId, _: Command) {}

    fn store(&mut self, _: u64, _: Vec<Change>) {}

    fn fetch(&mut self, _: u64, _: Vec<u64>) {}

    fn note(&mut self, _: Note) {}
}

fn session(key: u64) -> SessionId {
    SessionId { worker: WORKER, key }
}

fn shard() -> Shard {
    Shard::new(Clock::new(Instant::now(), 0), WORKER, 1, Arc::new(Options::default()), Arc::new(Interest::new(1)))
}

fn subscribe(shard: &mut Shard, now: Instant, key: u64, text: &str) {
    let id = SubscriberId { session: session(key), subscription: SubscriptionKey(0) };
    let subscriber = Subscriber { id, label: 0, no_local: false, paced: false };
    let pattern = Pattern::parse(text.to_owned(), Style::Ant, '/').expect("a pattern");
    shard.apply(now, Command::Subscribe { subscriber, pattern, ticket: None }, &mut Counting::default());
}

fn to(destination: &Destination) -> Content {
    Content {
        destination: destination.clone(),
        headers: Headers::default(),
        body: Bytes::from_static(b"hello"),
        is_text: true,
        exclude_origin: false,
        mandatory: false,
        terms: None,
    }
}

fn topics(criterion: &mut Criterion) {
    let now = Instant::now();
    let mut group = criterion.benchmark_group("topic");
    let topic = Destination::new("/topic/prices");
    let mut effects = Counting::default();

    let mut fan_out = shard();
    (0..1000).for_each(|key| subscribe(&mut fan_out, now, key, topic.as_str()));
    group.throughput(Throughput::Elements(1000));
    group.bench_function("publish to 1000 subscribers", |bencher| {
        bencher.iter(|| fan_out.publish(now, session(0), to(&topic), None, &mut effects));
    });

    let mut crowded = shard();
    subscribe(&mut crowded, now, 0, topic.as_str());
    for key in 0..50_000 {
        subscribe(&mut crowded, now, 2 * key + 1, &format!("/topic/*/{key}/**"));
        subscribe(&mut crowded, now, 2 * key + 2, &format!("/topic/x{key}*y"));
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("publish beside 100000 other patterns", |bencher| {
        bencher.iter(|| crowded.publish(now, session(0), to(&topic), None, &mut effects));
    });
    let strangers: Vec<Destination> = (0..100_000).map(|n| Destination::new(format!("/topic/s{n}"))).collect();
    let mut next = strangers.iter().cycle();
    group.bench_function("publish to ever new destinations beside 100000 patterns", |bencher| {
        bencher.iter(|| crowded.publish(now, session(0), to(next.next().expect("a cycle")), None, &mut effects));
    });
    group.finish();
}

fn queues(criterion: &mut Criterion) {
    let now = Instant::now();
    let mut shard = shard();
    let mut effects = Counting::default();
    let queue = Destination::new("/queue/jobs");
    let id = SubscriberId { session: session(1), subscription: SubscriptionKey(0) };
    let consumer = Consumer { id, credit: 100, no_local: false, ends_queue: false };
    shard.apply(now, Command::Consume { consumer, replaces: None, queue: queue.clone(), ticket: None }, &mut effects);
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(1));
    group.bench_function("send and settle", |bencher| {
        bencher.iter(|| {
            shard.publish(now, session(0), to(&queue), None, &mut effects);
            let tags = effects.tag.take().into_iter().collect();
            let settle = Command::Settle { session: id.session, tags, outcome: Outcome::Consumed, ticket: None };
            shard.apply(now, settle, &mut effects);
        });
    });
    group.finish();
}

criterion_group!(benches, topics, queues);
criterion_main!(benches);
