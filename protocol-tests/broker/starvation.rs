//! A consumer that always fails starves nobody: what it refuses waits, what it leaves is anybody's, and everything else
//! keeps flowing.

use std::collections::BTreeSet;
use std::time::Duration;

use gumboot::broker::{Options, QueueOptions, QueuePolicy};
use gumboot::destination::Destination;
use gumboot::message::{Outcome, SubscriberId, Tag};

use crate::harness::{Net, body, pattern, session, subscription};

const MESSAGES: usize = 60;
const DELAY: Duration = Duration::from_secs(1);

/// What a consumer does that never consumes anything.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// It refuses each message as soon as it has it.
    Refuses,
    /// The same, and asks for no delay.
    Insists,
    /// It takes as much as it can, and is gone.
    Crashes,
}

/// What the consumers of a queue have in hand.
struct Scene {
    net: Net,
    queue: Destination,
    sound: SubscriberId,
    /// What the sound one has, and what it had.
    held: Option<Tag>,
    consumed: BTreeSet<String>,
    failing: u64,
}

impl Scene {
    fn new(home: u16) -> Scene {
        let options = QueueOptions { redelivery_delay: DELAY, max_deliveries: 3, ..QueueOptions::default() };
        let queue_policies = vec![QueuePolicy { pattern: pattern("/queue/q*"), options }];
        let net = Net::new(2, Options { queue_policies, ..Options::default() });
        let queue = net.queue_on(home, 0);
        let sound = subscription(session(1, 1), 0);
        Scene { net, queue, sound, held: None, consumed: BTreeSet::new(), failing: 100 }
    }

    /// A failing consumer comes, with much more credit than the sound one.
    fn fail(&mut self, failure: Failure) {
        self.failing += 1;
        let failing = subscription(session(0, self.failing), 0);
        self.net.consume(failing, &self.queue, 1000, false);
        // As often as it gets something at this moment; a refused message must not come at once.
        for _ in 0..10 * MESSAGES {
            let found = self.take();
            let outcome = match failure {
                Failure::Refuses => Outcome::Rejected,
                Failure::Insists => Outcome::Deferred(Duration::ZERO),
                Failure::Crashes => break,
            };
            if found.is_empty() {
                break;
            }
            found.into_iter().for_each(|tag| self.net.settle(failing.session, tag, outcome));
        }
        self.net.cancel(failing, &self.queue);
        self.take();
    }

    /// Sorts what was handed out: what the sound consumer has is kept, what the failing one has is the answer.
    fn take(&mut self) -> Vec<Tag> {
        let found = std::mem::take(&mut self.net.log.queue);
        let (own, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(to, _)| *to == self.sound);
        for (_, delivery) in own {
            assert!(self.held.is_none(), "it has credit for one");
            self.held = delivery.tag;
            assert!(self.consumed.insert(body(&delivery.message)), "consumed before");
        }
        others.into_iter().filter_map(|(_, delivery)| delivery.tag).collect()
    }

    /// The sound consumer consumes what it has. Answers whether it had anything.
    fn consume(&mut self) -> bool {
        let held = self.held.take();
        if let Some(tag) = held {
            self.net.settle(self.sound.session, tag, Outcome::Consumed);
        }
        self.take();
        held.is_some()
    }

    fn dead(&self) -> usize {
        self.net.queue_stats(&Destination::new("/queue/dead-letter")).map_or(0, |stats| stats.messages)
    }
}

#[test]
fn a_consumer_that_always_fails_leaves_the_rest_to_others() {
    for failure in [Failure::Refuses, Failure::Insists, Failure::Crashes] {
        for home in [0, 1] {
            let mut scene = Scene::new(home);
            for number in 0..MESSAGES {
                scene.net.send(session(0, 9), &scene.queue, &number.to_string());
            }
            scene.net.consume(scene.sound, &scene.queue, 1, false);
            scene.take();
            let mut rounds = 0;
            while scene.net.queue_stats(&scene.queue).is_some_and(|stats| stats.messages > 0) {
                rounds += 1;
                assert!(rounds <= 2 * MESSAGES, "{failure:?}: it does not come to an end");
                scene.fail(failure);
                let had_some = scene.consume();
                let waiting = scene.net.queue_stats(&scene.queue).map_or(0, |stats| stats.ready);
                assert!(had_some || waiting == 0, "{failure:?}: {waiting} messages wait, and nobody gets them");
                scene.net.advance(DELAY);
                scene.take();
            }
            assert_eq!(scene.consumed.len() + scene.dead(), MESSAGES, "{failure:?}");
            assert!(scene.consumed.len() > 2, "{failure:?}: {} were consumed", scene.consumed.len());
            if matches!(failure, Failure::Crashes) {
                assert_eq!(scene.consumed.len(), MESSAGES, "to be gone is no refusal");
            }
        }
    }
}

#[test]
fn a_message_that_nobody_can_take_holds_up_no_other() {
    for home in [0, 1] {
        let mut scene = Scene::new(home);
        scene.net.consume(scene.sound, &scene.queue, 1, false);
        scene.net.send(session(0, 9), &scene.queue, "poison");
        scene.take();
        for round in 0..3 {
            let tag = scene.held.take().expect("it comes again");
            scene.consumed.clear();
            scene.net.settle(scene.sound.session, tag, Outcome::Rejected);
            for number in 0..MESSAGES {
                scene.net.send(session(0, 9), &scene.queue, &format!("{round}-{number}"));
                scene.take();
                assert!(scene.consume(), "others pass at once");
            }
            scene.net.advance(8 * DELAY);
            scene.take();
        }
        assert_eq!((scene.dead(), scene.held), (1, None));
    }
}
