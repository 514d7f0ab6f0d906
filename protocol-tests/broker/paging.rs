//! Queues larger than memory, and restarts: the same steps with different memory must look the same from the outside, and what
//! comes back after an end, orderly or not, must be what was there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gumboot::broker::{Command, Consumer, Note, Options, QueueOptions, QueuePolicy, WhenExpired};
use gumboot::destination::Destination;
use gumboot::message::{Content, Moment, Outcome, SubscriberId, Tag, Terms, Ticket, Verdict};
use proptest::prelude::*;

use crate::harness::{Disk, Net, body, content, pattern, session, subscription};

/// Bytes in memory: all, some, none.
const MEMORIES: [usize; 3] = [usize::MAX, 2000, 0];

#[derive(Clone, Debug)]
enum Step {
    Send { session: u64, terms: Terms, long: bool },
    Consume { session: u64, credit: u32, no_local: bool },
    Cancel { session: u64 },
    Settle { which: prop::sample::Index, outcome: Outcome, asks: bool },
    Browse { credit: u32 },
    Advance { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let moment = || prop::option::weighted(0.15, (1..9_u64).prop_map(|s| Moment::After(Duration::from_secs(s))));
    let terms = (moment(), moment(), prop::option::of(0..10_u8), prop::option::weighted(0.3, "[ab]")).prop_map(
        |(expires, due, priority, group)| {
            let group = group.map(Into::into);
            Terms { expires, due, priority, group, persistent: true, is_question: false, is_relayed: false }
        },
    );
    let outcomes = vec![
        Outcome::Consumed,
        Outcome::Consumed,
        Outcome::Consumed,
        Outcome::Rejected,
        Outcome::Deferred(Duration::from_secs(2)),
        Outcome::Returned,
        Outcome::Discarded,
    ];
    let settle = (any::<prop::sample::Index>(), prop::sample::select(outcomes), any::<bool>());
    let session = || 1..4_u64;
    prop_oneof![
        6 => (session(), terms, any::<bool>()).prop_map(|(session, terms, long)| Step::Send { session, terms, long }),
        1 => (session(), 1..6_u32, any::<bool>())
            .prop_map(|(session, credit, no_local)| Step::Consume { session, credit, no_local }),
        1 => session().prop_map(|session| Step::Cancel { session }),
        4 => settle.prop_map(|(which, outcome, asks)| Step::Settle { which, outcome, asks }),
        1 => (1..5_u32).prop_map(|credit| Step::Browse { credit }),
        2 => (0..5_u64).prop_map(|seconds| Step::Advance { seconds }),
    ]
}

fn options(memory: usize, has_priority: bool, expired: WhenExpired) -> Options {
    let queues = QueueOptions { memory, priority: has_priority, expired, max_deliveries: 3, ..QueueOptions::default() };
    Options { queues, ..Options::default() }
}

/// A broker whose disk obliges.
struct Kept {
    net: Net,
    disk: Disk,
    queue: Destination,
    sent: usize,
}

/// What came of a step: deliveries in order with how often each came before, answers, and how many were dropped or died.
type Seen = (Vec<(SubscriberId, String, u32, bool)>, Vec<Verdict>, usize);

impl Kept {
    fn new(options: Options) -> Kept {
        let net = Net::durable(1, options);
        let queue = net.queue_on(0, 0);
        Kept { net, disk: Disk::default(), queue, sent: 0 }
    }

    fn consumer(session: u64) -> SubscriberId {
        subscription(crate::harness::session(0, session), 0)
    }

    /// Does it, and answers with the tags of what was delivered, and what was seen.
    fn take(&mut self, step: &Step, held: &[(SubscriberId, Tag)]) -> (Vec<(SubscriberId, Tag)>, Seen) {
        match step {
            Step::Send { session: key, terms, long } => {
                self.sent += 1;
                let body = format!("{}{}", self.sent, if *long { "x".repeat(900) } else { String::new() });
                let terms = Some(Box::new(terms.clone()));
                let content = Content { terms, ..content(self.queue.as_str(), &body) };
                self.net.publish(session(0, *key), content);
            }
            Step::Consume { session, credit, no_local } => {
                let id = Kept::consumer(*session);
                self.net.consume(id, &self.queue, *credit, *no_local);
            }
            Step::Cancel { session } => self.net.cancel(Kept::consumer(*session), &self.queue),
            Step::Settle { which, outcome, asks } if !held.is_empty() => {
                let (holder, tag) = held[which.index(held.len())];
                let ticket = asks.then_some(Ticket(9));
                let settle = Command::Settle { session: holder.session, tags: [tag].into(), outcome: *outcome, ticket };
                self.net.run(holder.session.worker, settle);
            }
            Step::Settle { .. } => {}
            Step::Browse { credit } => return (Vec::new(), (self.browse(*credit), Vec::new(), 0)),
            Step::Advance { seconds } => {
                for _ in 0..*seconds {
                    self.net.advance(Duration::from_secs(1));
                    self.net.oblige(&mut self.disk);
                }
            }
        }
        self.net.oblige(&mut self.disk);
        self.seen()
    }

    fn seen(&mut self) -> (Vec<(SubscriberId, Tag)>, Seen) {
        let found = std::mem::take(&mut self.net.log.queue);
        let tags = found.iter().filter_map(|(to, delivery)| Some((*to, delivery.tag?))).collect();
        let seen = |(to, delivery): &(SubscriberId, gumboot::message::Delivery)| {
            let is_letter = delivery.message.content.headers.find("dead-letter-reason").is_some();
            (*to, body(&delivery.message), delivery.redeliveries, is_letter)
        };
        let seen = found.iter().map(seen).collect();
        let ends = |note: &Note| match note {
            Note::Dropped { count, .. } => *count,
            Note::DeadLettered { .. } => 1,
            _ => 0,
        };
        let notes: usize = std::mem::take(&mut self.net.log.notes).iter().map(ends).sum();
        (tags, (seen, self.net.verdicts(), notes))
    }

    /// All that waits, in order.
    fn browse(&mut self, credit: u32) -> Vec<(SubscriberId, String, u32, bool)> {
        let id = subscription(session(0, 50), 0);
        let (mut after, mut all) = (None, Vec::new());
        loop {
            let reader = Consumer { id, credit, no_local: false, ends_queue: false };
            let queue = self.queue.clone();
            self.net.run(id.session.worker, Command::Browse { reader, queue, after, ticket: None });
            self.net.oblige(&mut self.disk);
            let (tags, (seen, ..)) = self.seen();
            after = tags.last().map(|(_, tag)| tag.sequence);
            let is_end = tags.len() < seen.len();
            all.extend(seen.into_iter().take(tags.len()));
            if is_end {
                return all;
            }
            assert!(!tags.is_empty(), "a page or the end");
        }
    }

    /// All consumers go, one by one; answers with what the others got meanwhile.
    fn leave(&mut self) -> Vec<String> {
        let mut bodies = Vec::new();
        for session in 1..4 {
            self.net.cancel(Kept::consumer(session), &self.queue);
            self.net.oblige(&mut self.disk);
            let (_, (seen, ..)) = self.seen();
            bodies.extend(seen.into_iter().map(|(_, body, ..)| body));
        }
        bodies
    }

    /// A new broker with the same disk.
    fn restarted(mut self, options: Options, in_order: bool, delivered: &mut BTreeMap<String, u32>) -> Kept {
        if in_order {
            self.leave().into_iter().for_each(|body| *delivered.entry(body).or_insert(0) += 1);
            self.net.close(&mut self.disk);
        }
        let mut net = Net::durable_at(1, options, self.net.epoch_ms());
        net.restore(&mut self.disk);
        Kept { net, ..self }
    }

    /// Everything, to one consumer who settles it all; with the dead letters.
    fn drain(&mut self) -> Vec<(String, u32, bool)> {
        self.leave();
        let letters = Destination::new("/queue/dead-letter");
        let mut all = Vec::new();
        for (key, queue) in [(60, self.queue.clone()), (61, letters)] {
            let id = subscription(session(0, key), 0);
            self.net.consume(id, &queue, 7, false);
            self.net.oblige(&mut self.disk);
            // Longer than any delay there is.
            for _ in 0..80 {
                loop {
                    let (tags, (seen, ..)) = self.seen();
                    all.extend(seen.into_iter().map(|(_, body, before, is_letter)| (body, before, is_letter)));
                    if tags.is_empty() {
                        break;
                    }
                    for (to, tag) in tags {
                        self.net.settle(to.session, tag, Outcome::Consumed);
                        self.net.oblige(&mut self.disk);
                    }
                }
                self.net.advance(Duration::from_secs(1));
                self.net.oblige(&mut self.disk);
            }
        }
        all
    }
}

#[test]
fn a_look_goes_on_past_what_cannot_be_read() {
    for credit in 1..4 {
        let mut kept = Kept::new(options(0, false, WhenExpired::Drop));
        for _ in 0..5 {
            let terms = Terms { persistent: true, ..Terms::default() };
            kept.take(&Step::Send { session: 1, terms, long: true }, &[]);
        }
        let first: Vec<u64> = kept.disk.messages.keys().skip(1).take(2).copied().collect();
        kept.disk.unreadable.extend(first);
        let bodies: Vec<String> = kept.browse(credit).into_iter().map(|(_, body, ..)| body[..1].to_owned()).collect();
        assert_eq!(bodies, ["1", "4", "5"], "{credit} a page");
    }
}

#[test]
fn what_cannot_be_read_leaves_its_credit_to_others_of_a_group() {
    let mut kept = Kept::new(options(0, false, WhenExpired::Drop));
    let reader = subscription(session(0, 1), 0);
    let send = |kept: &mut Kept, group: Option<&str>| {
        let terms = Terms { persistent: true, group: group.map(Into::into), ..Terms::default() };
        kept.take(&Step::Send { session: 2, terms, long: true }, &[]);
    };
    // They take the reader's credit, and so what is of its group has to wait.
    send(&mut kept, None);
    send(&mut kept, None);
    kept.disk.unreadable.extend(kept.disk.messages.keys().take(2).copied().collect::<Vec<_>>());
    send(&mut kept, Some("a"));
    send(&mut kept, Some("a"));
    kept.net.consume(reader, &kept.queue, 3, false);
    kept.net.consume(subscription(session(0, 3), 0), &kept.queue, 3, false);
    kept.net.oblige(&mut kept.disk);
    let (_, (seen, ..)) = kept.seen();
    let bodies: BTreeSet<&str> = seen.iter().map(|(_, body, ..)| &body[..1]).collect();
    assert_eq!(bodies, BTreeSet::from(["3", "4"]));
}

#[test]
fn what_cannot_die_does_not_stay_in_memory() {
    let queues = QueueOptions {
        memory: 0,
        ttl: Some(Duration::from_secs(1)),
        dead_letter: Some(Destination::new("/queue/full")),
        ..QueueOptions::default()
    };
    let full = QueueOptions { max_messages: 0, ..queues.clone() };
    let queue_policies = vec![QueuePolicy { pattern: pattern("/queue/full"), options: full }];
    let mut kept = Kept::new(Options { queues, queue_policies, ..Options::default() });
    for _ in 0..9 {
        let terms = Terms { persistent: true, ..Terms::default() };
        kept.take(&Step::Send { session: 1, terms, long: true }, &[]);
    }
    for _ in 0..3 {
        kept.take(&Step::Advance { seconds: 90 }, &[]);
        let stats = kept.net.queue_stats(&kept.queue).expect("it is there");
        assert_eq!((stats.messages, stats.messages - stats.away > 1), (9, false), "{stats:?}");
    }
}

/// Takes the steps, and answers with who holds what, how often each body was delivered, and which are known to be consumed.
fn run(kept: &mut Kept, steps: &[Step]) -> (BTreeMap<String, u32>, BTreeSet<String>) {
    let mut held: Vec<(SubscriberId, Tag)> = Vec::new();
    let mut bodies: BTreeMap<Tag, String> = BTreeMap::new();
    let (mut delivered, mut consumed) = (BTreeMap::new(), BTreeSet::new());
    for step in steps {
        let settled = match step {
            Step::Settle { which, outcome, .. } if !held.is_empty() => Some((which.index(held.len()), *outcome)),
            _ => None,
        };
        let (tags, (seen, ..)) = kept.take(step, &held);
        if let Some((at, outcome)) = settled {
            let (_, tag) = held.remove(at);
            if outcome == Outcome::Consumed {
                consumed.extend(bodies.get(&tag).cloned());
            }
        }
        if let Step::Cancel { session } | Step::Consume { session, .. } = step {
            held.retain(|(to, _)| *to != Kept::consumer(*session));
        }
        for ((to, tag), (_, body, ..)) in tags.into_iter().zip(seen) {
            held.push((to, tag));
            *delivered.entry(body.clone()).or_insert(0) += 1;
            bodies.insert(tag, body);
        }
    }
    (delivered, consumed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Q1 to Q5, whatever is in memory.
    #[test]
    fn memory_shows_nowhere(
        steps in prop::collection::vec(step(), 1..80),
        has_priority in any::<bool>(),
        drops in any::<bool>(),
    ) {
        let expired = if drops { WhenExpired::Drop } else { WhenExpired::DeadLetter };
        let mut brokers: Vec<Kept> =
            MEMORIES.iter().map(|memory| Kept::new(options(*memory, has_priority, expired))).collect();
        let mut held: Vec<(SubscriberId, Tag)> = Vec::new();
        for step in &steps {
            let mut came: Vec<_> = brokers.iter_mut().map(|broker| broker.take(step, &held)).collect();
            let (tags, seen) = came.remove(0);
            for (other_tags, other_seen) in came {
                prop_assert_eq!(&seen, &other_seen, "at {:?}", step);
                prop_assert_eq!(&tags, &other_tags);
            }
            held.extend(tags);
        }
        let mut drained: Vec<_> = brokers.iter_mut().map(Kept::drain).collect();
        // Of those that die in one moment the ones in memory are sooner among the dead letters.
        drained.iter_mut().for_each(|all| all.sort_by_key(|(body, _, is_letter)| is_letter.then(|| body.clone())));
        let first = drained.remove(0);
        for (broker, other) in brokers.iter().skip(1).zip(drained) {
            prop_assert_eq!(&first, &other);
            let away: usize = broker.net.queue_stats(&broker.queue).map_or(0, |stats| stats.away);
            prop_assert_eq!(away, 0);
        }
        prop_assert!(brokers.iter().all(|broker| broker.disk.messages.is_empty()), "all is settled");
    }

    /// Q6, M2: nothing is lost by an end, nothing consumed comes again, and what came before says so.
    #[test]
    fn q6_an_end_changes_nothing(
        before in prop::collection::vec(step(), 1..60),
        has_priority in any::<bool>(),
        in_order in any::<bool>(),
        memories in (0..3_usize, 0..3_usize),
    ) {
        let expired = WhenExpired::DeadLetter;
        let mut kept = Kept::new(options(MEMORIES[memories.0], has_priority, expired));
        let (mut delivered, consumed) = run(&mut kept, &before);
        let sent = kept.sent;
        // A consumer that was never there has seen nothing.
        let had_consumer = before.iter().any(|step| matches!(step, Step::Consume { .. }));
        let waits: Vec<String> = if had_consumer { Vec::new() } else {
            kept.browse(5).into_iter().map(|(_, body, ..)| body).collect()
        };
        let mut kept = kept.restarted(options(MEMORIES[memories.1], has_priority, expired), in_order, &mut delivered);
        if !had_consumer {
            let again: Vec<String> = kept.browse(5).into_iter().map(|(_, body, ..)| body).collect();
            prop_assert_eq!(waits, again, "the order stays");
        }
        let mut came = BTreeSet::new();
        for (body, before, is_letter) in kept.drain() {
            prop_assert!(came.insert(body.clone()), "{} comes twice", body);
            prop_assert!(!consumed.contains(&body), "{} was consumed", body);
            if is_letter {
                continue;
            }
            let known = delivered.get(&body).copied().unwrap_or(0);
            if in_order {
                prop_assert_eq!(before, known, "{} came so often", body);
            } else if known > 0 {
                prop_assert!(before > 0, "{} came before", body);
            } else if !had_consumer {
                prop_assert_eq!(before, 0, "{} never came before", body);
            }
        }
        prop_assert_eq!(came.len() + consumed.len(), sent, "what is gone was consumed");
        prop_assert!(kept.disk.messages.is_empty() && kept.disk.marks.len() <= 2);
    }
}
