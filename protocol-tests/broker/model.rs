//! Q1 to Q5 against a model: whatever sessions do, and however commands between workers interleave, no message is lost,
//! none is settled twice or held by two, none overtakes another before its first delivery, and credit holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gumboot::broker::{Command, Consumer, Options, QueueOptions};
use gumboot::destination::Destination;
use gumboot::message::{Outcome, SessionId, SubscriberId, Tag};
use proptest::prelude::*;

use crate::harness::{Net, body, content, session, subscription};

const MAX_DELIVERIES: u32 = 3;

#[derive(Clone, Debug)]
enum Step {
    Send { session: u16 },
    Consume { session: u16, credit: u32 },
    Cancel { session: u16 },
    Settle { which: prop::sample::Index, outcome: Outcome },
    Advance { seconds: u64 },
    Arrive { choice: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let session = 0..3u16;
    let outcomes = vec![
        Outcome::Consumed,
        Outcome::Consumed,
        Outcome::Rejected,
        Outcome::Deferred(Duration::from_secs(2)),
        Outcome::Returned,
        Outcome::Discarded,
    ];
    let settle = (any::<prop::sample::Index>(), prop::sample::select(outcomes));
    prop_oneof![
        4 => session.clone().prop_map(|session| Step::Send { session }),
        1 => (session.clone(), 1..4u32).prop_map(|(session, credit)| Step::Consume { session, credit }),
        1 => session.prop_map(|session| Step::Cancel { session }),
        4 => settle.prop_map(|(which, outcome)| Step::Settle { which, outcome }),
        1 => (0..5u64).prop_map(|seconds| Step::Advance { seconds }),
        6 => any::<usize>().prop_map(|choice| Step::Arrive { choice }),
    ]
}

/// What is known of one message from the outside.
#[derive(Debug, Default)]
struct Fate {
    origin: u16,
    handed_out: u32,
    refused: u32,
    holder: Option<(SubscriberId, Tag)>,
    is_consumed: bool,
    is_dead: bool,
}

struct Model {
    workers: u16,
    net: Net,
    queue: Destination,
    /// By the number in the body, which counts up in the order sent.
    fates: BTreeMap<u32, Fate>,
    /// The consumer of each session, and its credit.
    live: BTreeMap<u16, (SubscriberId, u32)>,
    subscribed: u32,
}

impl Model {
    fn new(workers: u16, home: u16) -> Model {
        let queues = QueueOptions { max_deliveries: MAX_DELIVERIES, ..QueueOptions::default() };
        let net = Net::new(workers, Options { queues, ..Options::default() });
        let queue = net.queue_on(home % workers, 0);
        Model { workers, net, queue, fates: BTreeMap::new(), live: BTreeMap::new(), subscribed: 0 }
    }

    fn session(&self, number: u16) -> SessionId {
        session(number % self.workers, u64::from(number))
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Send { session } => {
                let number = self.fates.len() as u32;
                self.fates.insert(number, Fate { origin: session, ..Fate::default() });
                let origin = self.session(session);
                let content = content(self.queue.as_str(), &number.to_string());
                self.net.offer(origin, content, None);
            }
            Step::Consume { session, credit } => {
                self.cancel(session);
                self.subscribed += 1;
                let id = subscription(self.session(session), self.subscribed);
                self.live.insert(session, (id, credit));
                let consumer = Consumer { id, credit, no_local: false, ends_queue: false };
                let queue = self.queue.clone();
                self.net.give(id.session.worker, Command::Consume { consumer, replaces: None, queue, ticket: None });
            }
            Step::Cancel { session } => self.cancel(session),
            Step::Settle { which, outcome } => self.settle(which, outcome),
            Step::Advance { seconds } => self.net.advance(Duration::from_secs(seconds)),
            Step::Arrive { choice } => {
                self.net.step(choice);
            }
        }
        self.look();
    }

    fn cancel(&mut self, session: u16) {
        let Some((consumer, _)) = self.live.remove(&session) else {
            return;
        };
        for fate in self.fates.values_mut() {
            fate.holder.take_if(|(holder, _)| *holder == consumer);
        }
        let queue = self.queue.clone();
        self.net.give(consumer.session.worker, Command::Cancel { consumer, queue, ticket: None });
    }

    fn settle(&mut self, which: prop::sample::Index, outcome: Outcome) {
        let mut held: Vec<&mut Fate> = self.fates.values_mut().filter(|fate| fate.holder.is_some()).collect();
        if held.is_empty() {
            return;
        }
        let index = which.index(held.len());
        let fate = &mut held[index];
        let (holder, tag) = fate.holder.take().expect("it is held");
        match outcome {
            Outcome::Consumed => fate.is_consumed = true,
            Outcome::Discarded => fate.is_dead = true,
            Outcome::Rejected | Outcome::Deferred(_) => {
                fate.refused += 1;
                fate.is_dead = fate.refused >= MAX_DELIVERIES;
            }
            Outcome::Returned => {}
        }
        let command = Command::Settle { session: holder.session, tags: [tag].into(), outcome, ticket: None };
        self.net.give(holder.session.worker, command);
    }

    /// Compares what came out with what may come.
    fn look(&mut self) {
        for (to, delivery) in std::mem::take(&mut self.net.log.queue) {
            let number: u32 = body(&delivery.message).parse().expect("a number");
            let origin = self.fates[&number].origin;
            let overtaken = self.fates.range(..number).find(|(_, fate)| fate.origin == origin && fate.handed_out == 0);
            assert_eq!(overtaken.map(|(number, _)| *number), None, "{number} overtook");
            let fate = self.fates.get_mut(&number).expect("it was sent");
            assert!(!fate.is_consumed && !fate.is_dead && fate.holder.is_none(), "{number} came again: {fate:?}");
            assert_eq!(delivery.redeliveries, fate.handed_out);
            fate.handed_out += 1;
            // A consumer who is going away will not settle it; the queue takes it back when it hears of that.
            let credit = self.live.values().find(|(id, _)| *id == to).map(|(_, credit)| *credit);
            if let Some(credit) = credit {
                fate.holder = Some((to, delivery.tag.expect("queues have tags")));
                let held = self.fates.values().filter(|fate| fate.holder.is_some_and(|(holder, _)| holder == to));
                assert!(held.count() <= credit as usize, "{to:?} has more than {credit}");
            }
        }
    }

    /// All go away, and one reader gets all that is left, in order; the dead letters hold the rest.
    fn finish(mut self) {
        for session in 0..3 {
            self.cancel(session);
        }
        self.net.settle_down();
        self.look();
        self.net.advance(Duration::from_secs(1000));
        self.look();
        let left = self.drain(&self.queue.clone(), 1);
        let expected: BTreeSet<u32> = self
            .fates
            .iter()
            .filter(|(_, fate)| !fate.is_consumed && !fate.is_dead)
            .map(|(number, _)| *number)
            .collect();
        assert_eq!(left.iter().copied().collect::<BTreeSet<u32>>(), expected);
        assert_eq!(left.len(), expected.len());
        for origin in 0..3 {
            let of_origin: Vec<u32> =
                left.iter().copied().filter(|number| self.fates[number].origin == origin).collect();
            assert!(of_origin.is_sorted(), "{of_origin:?}");
        }
        let mut dead = self.drain(&Destination::new("/queue/dead-letter"), 2);
        dead.sort_unstable();
        let expected: Vec<u32> =
            self.fates.iter().filter(|(_, fate)| fate.is_dead).map(|(number, _)| *number).collect();
        assert_eq!(dead, expected);
        assert_eq!(self.net.queues(), 0);
    }

    /// Consumes all that a queue holds.
    fn drain(&mut self, queue: &Destination, key: u64) -> Vec<u32> {
        let reader = subscription(session(0, 1000 + key), 0);
        self.net.consume(reader, queue, u32::MAX, false);
        let deliveries = std::mem::take(&mut self.net.log.queue);
        for (_, delivery) in &deliveries {
            self.net.settle(reader.session, delivery.tag.expect("queues have tags"), Outcome::Consumed);
        }
        self.net.cancel(reader, queue);
        deliveries.iter().map(|(_, delivery)| body(&delivery.message).parse().expect("a number")).collect()
    }
}

proptest! {
    #[test]
    fn q1_to_q5_hold_whatever_happens(
        workers in prop::sample::select(vec![1u16, 3]),
        home in 0..3u16,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut model = Model::new(workers, home);
        for step in steps {
            model.act(step);
        }
        model.finish();
    }
}
