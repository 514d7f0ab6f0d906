//! Queues: turns, credit, settlement, redelivery, dead letters, limits.

use std::time::Duration;

use gumboot::broker::{Note, Options, QueueOptions};
use gumboot::destination::Destination;
use gumboot::message::{Outcome, SessionId, SubscriberId, Tag};

use crate::harness::{Net, session, subscription};

const SECOND: Duration = Duration::from_secs(1);

fn options(change: impl FnOnce(&mut QueueOptions)) -> Options {
    let mut options = Options::default();
    change(&mut options.queues);
    options
}

fn sender() -> SessionId {
    session(0, 99)
}

fn consumer(worker: u16) -> SubscriberId {
    subscription(session(worker, 1), 0)
}

#[test]
fn q1_messages_wait_and_then_go_round_in_order() {
    for home in [0, 1] {
        let mut net = Net::new(2, Options::default());
        let queue = net.queue_on(home, 0);
        for body in ["a", "b", "c"] {
            net.send(sender(), &queue, body);
        }
        assert_eq!(net.verdicts(), [Ok(1), Ok(1), Ok(1)]);
        net.expect_queue(&[]);
        let (one, two) = (consumer(0), consumer(1));
        net.consume(one, &queue, 2, false);
        net.expect_queue(&[(one, "a", 0), (one, "b", 0)]);
        net.consume(two, &queue, 9, false);
        net.expect_queue(&[(two, "c", 0)]);
        net.cancel(one, &queue);
        net.expect_queue(&[(two, "a", 1), (two, "b", 1)]);
        net.consume(one, &queue, 9, false);
        for body in ["d", "e", "f", "g"] {
            net.send(sender(), &queue, body);
        }
        net.expect_queue(&[(two, "d", 0), (one, "e", 0), (two, "f", 0), (one, "g", 0)]);
    }
}

#[test]
fn q5_no_consumer_holds_more_than_its_credit() {
    let mut net = Net::new(2, Options::default());
    let queue = net.queue_on(1, 0);
    let (one, none) = (consumer(0), consumer(1));
    net.consume(one, &queue, 1, false);
    net.consume(none, &queue, 0, false);
    for body in ["a", "b", "c"] {
        net.send(sender(), &queue, body);
    }
    let first = net.expect_queue(&[(one, "a", 0)]);
    net.settle(one.session, first[0], Outcome::Consumed);
    let second = net.expect_queue(&[(one, "b", 0)]);
    net.settle(one.session, first[0], Outcome::Consumed);
    net.settle(none.session, second[0], Outcome::Consumed);
    net.expect_queue(&[]);
    let stats = net.queue_stats(&queue).expect("it is there");
    assert_eq!((stats.ready, stats.unsettled, stats.messages, stats.consumers), (1, 1, 2, 2));
}

#[test]
fn q4_what_was_not_settled_returns_to_its_place() {
    let mut net = Net::new(2, Options::default());
    let queue = net.queue_on(0, 0);
    let (one, two) = (consumer(0), consumer(1));
    net.consume(one, &queue, 3, false);
    for body in ["a", "b", "c", "d"] {
        net.send(sender(), &queue, body);
    }
    let tags = net.expect_queue(&[(one, "a", 0), (one, "b", 0), (one, "c", 0)]);
    net.settle(one.session, tags[1], Outcome::Consumed);
    net.cancel(one, &queue);
    net.expect_queue(&[(one, "d", 0)]);
    net.settle(one.session, tags[0], Outcome::Consumed);
    net.consume(two, &queue, 9, false);
    net.expect_queue(&[(two, "a", 1), (two, "c", 1), (two, "d", 1)]);
}

#[test]
fn q3_refused_messages_wait_longer_each_time_while_others_pass() {
    let limits = |queues: &mut QueueOptions| {
        queues.redelivery_delay = SECOND;
        queues.redelivery_delay_max = 3 * SECOND;
        queues.max_deliveries = 100;
    };
    let mut net = Net::new(2, options(limits));
    let queue = net.queue_on(1, 0);
    let one = consumer(0);
    net.consume(one, &queue, 1, false);
    net.send(sender(), &queue, "bad");
    net.send(sender(), &queue, "good");
    let tags = net.expect_queue(&[(one, "bad", 0)]);
    net.settle(one.session, tags[0], Outcome::Rejected);
    let good = net.expect_queue(&[(one, "good", 0)]);
    net.settle(one.session, good[0], Outcome::Consumed);
    for (times, seconds) in [1, 2, 3, 3, 3].into_iter().enumerate() {
        assert_eq!(net.next_due(), Some(net.now + seconds * SECOND));
        net.advance(seconds * SECOND - Duration::from_nanos(1));
        net.expect_queue(&[]);
        net.advance(Duration::from_nanos(1));
        let tags = net.expect_queue(&[(one, "bad", times as u32 + 1)]);
        net.settle(one.session, tags[0], Outcome::Rejected);
    }
}

#[test]
fn q3_after_too_many_refusals_a_message_moves_to_the_dead_letters() {
    for (home, dead_home) in [(0, 0), (0, 1), (1, 0)] {
        let dead = Net::new(2, Options::default()).queue_on(dead_home, 5);
        let limits = |queues: &mut QueueOptions| {
            queues.max_deliveries = 3;
            queues.dead_letter = Some(dead.clone());
        };
        let mut net = Net::new(2, options(limits));
        let queue = net.queue_on(home, 0);
        let (one, reader) = (consumer(0), consumer(1));
        net.consume(one, &queue, 1, false);
        net.send(sender(), &queue, "bad");
        for times in 0..3 {
            let tags = net.expect_queue(&[(one, "bad", times)]);
            net.settle(one.session, tags[0], Outcome::Rejected);
            net.advance(60 * SECOND);
        }
        net.expect_queue(&[]);
        assert_eq!(net.log.notes, [Note::DeadLettered { queue: queue.clone(), reason: "max-deliveries" }]);
        assert_eq!(net.queue_stats(&queue).map(|stats| (stats.messages, stats.bytes)), Some((0, 0)));
        net.consume(reader, &dead, 1, false);
        let message = net.log.queue[0].1.message.clone();
        assert_eq!(message.content.destination, dead);
        let expected = [
            ("original-destination", queue.as_str()),
            ("dead-letter-reason", "max-deliveries"),
            ("dead-letter-time", "1120000"),
            ("delivery-count", "3"),
            ("a", "1"),
        ];
        assert_eq!(message.content.headers.iter().collect::<Vec<_>>(), expected);
        net.expect_queue(&[(reader, "bad", 0)]);
    }
}

#[test]
fn q3_a_discarded_message_moves_there_at_once() {
    let mut net = Net::new(3, Options::default());
    let queue = net.queue_on(2, 0);
    let (one, reader) = (consumer(0), consumer(1));
    net.consume(one, &queue, 1, false);
    net.consume(reader, &Destination::new("/queue/dead-letter"), 1, false);
    net.send(sender(), &queue, "bad");
    let tags = net.expect_queue(&[(one, "bad", 0)]);
    net.settle(one.session, tags[0], Outcome::Discarded);
    let reason = net.log.queue[0].1.message.content.headers.find("dead-letter-reason").map(str::to_owned);
    assert_eq!(reason.as_deref(), Some("discarded"));
    net.expect_queue(&[(reader, "bad", 0)]);
}

/// Refuses or discards one message, and expects it back after the longest delay.
#[track_caller]
fn check_kept(mut net: Net, queue: &Destination, outcome: Outcome, note: Option<Note>) {
    let one = consumer(0);
    net.consume(one, queue, 1, false);
    net.send(sender(), queue, "bad");
    let tags = net.expect_queue(&[(one, "bad", 0)]);
    net.settle(one.session, tags[0], outcome);
    net.advance(60 * SECOND - Duration::from_nanos(1));
    net.expect_queue(&[]);
    net.advance(Duration::from_nanos(1));
    net.expect_queue(&[(one, "bad", 1)]);
    assert_eq!(net.log.notes.last(), note.as_ref());
}

#[test]
fn q3_what_the_dead_letters_cannot_take_stays_and_is_tried_again_after_the_longest_delay() {
    let dead = Destination::new("/queue/dead-letter");
    let refused = |queue: &Destination, reason| Some(Note::DeadLetterRefused { queue: queue.clone(), reason });

    let net = Net::new(2, options(|queues| queues.max_deliveries = 1));
    check_kept(net, &dead, Outcome::Rejected, refused(&dead, "max-deliveries"));
    let net = Net::new(2, Options::default());
    check_kept(net, &dead, Outcome::Discarded, refused(&dead, "discarded"));

    for home in [0, 1] {
        let mut net = Net::new(2, options(|queues| queues.max_messages = 1));
        let queue = net.queue_on(home, 0);
        net.send(sender(), &dead, "in the way");
        check_kept(net, &queue, Outcome::Discarded, refused(&queue, "discarded"));
    }

    let nowhere = |queues: &mut QueueOptions| {
        queues.dead_letter = None;
        queues.max_deliveries = 1;
        queues.redelivery_delay = 60 * SECOND;
    };
    let net = Net::new(1, options(nowhere));
    let queue = net.queue_on(0, 0);
    check_kept(net, &queue, Outcome::Rejected, None);
}

#[test]
fn q3_only_a_message_discarded_where_there_are_no_dead_letters_is_lost() {
    let mut net = Net::new(1, options(|queues| queues.dead_letter = None));
    let queue = net.queue_on(0, 0);
    net.consume(consumer(0), &queue, 1, false);
    net.send(sender(), &queue, "bad");
    let tags = net.expect_queue(&[(consumer(0), "bad", 0)]);
    net.settle(consumer(0).session, tags[0], Outcome::Discarded);
    assert_eq!(net.log.notes, [Note::Lost { queue: queue.clone(), reason: "discarded" }]);
    assert_eq!(net.queue_stats(&queue).map(|stats| stats.messages), Some(0));
}

#[test]
fn a_consumer_that_stays_and_returns_everything_makes_no_loop() {
    let mut net = Net::new(1, Options::default());
    let queue = net.queue_on(0, 0);
    let one = consumer(0);
    net.consume(one, &queue, 1, false);
    net.send(sender(), &queue, "a");
    let tags = net.expect_queue(&[(one, "a", 0)]);
    net.settle(one.session, tags[0], Outcome::Returned);
    for (times, seconds) in [1, 2, 4, 8].into_iter().enumerate() {
        let tags = net.expect_queue(&[(one, "a", times as u32 + 1)]);
        net.settle(one.session, tags[0], Outcome::Returned);
        assert_eq!(net.next_due(), Some(net.now + seconds * SECOND));
        net.advance(seconds * SECOND);
    }
}

#[test]
fn a_consumer_that_always_fails_starves_nobody() {
    let mut net = Net::new(1, Options::default());
    let queue = net.queue_on(0, 0);
    let (failing, fine) = (consumer(0), subscription(session(0, 2), 0));
    net.consume(failing, &queue, 1, false);
    net.consume(fine, &queue, 1, false);
    for n in 0..100 {
        net.send(sender(), &queue, &n.to_string());
    }
    let mut consumed = 0;
    for _ in 0..1000 {
        for (to, delivery) in std::mem::take(&mut net.log.queue) {
            let tag: Tag = delivery.tag.expect("queues have tags");
            let outcome = if to == fine { Outcome::Consumed } else { Outcome::Rejected };
            consumed += u32::from(to == fine);
            net.settle(to.session, tag, outcome);
        }
        net.advance(SECOND);
    }
    let dead = net.queue_stats(&Destination::new("/queue/dead-letter")).map_or(0, |stats| stats.messages);
    assert_eq!(consumed as usize + dead, 100);
    assert!(consumed > 50, "only {consumed} got through");
}

#[test]
fn m5_no_local_leaves_own_messages_to_others_in_their_order() {
    let mut net = Net::new(2, Options::default());
    let queue = net.queue_on(1, 0);
    let shy = subscription(sender(), 0);
    let (other, stranger) = (consumer(1), session(1, 77));
    net.consume(shy, &queue, 2, true);
    for body in ["own 1", "own 2", "own 3"] {
        net.send(sender(), &queue, body);
    }
    net.send(stranger, &queue, "foreign 1");
    net.expect_queue(&[(shy, "foreign 1", 0)]);
    net.consume(other, &queue, 2, true);
    net.expect_queue(&[(other, "own 1", 0), (other, "own 2", 0)]);
    net.send(stranger, &queue, "foreign 2");
    net.expect_queue(&[(shy, "foreign 2", 0)]);
    net.cancel(shy, &queue);
    net.cancel(other, &queue);
    net.consume(other, &queue, 9, false);
    let all = [("own 1", 1), ("own 2", 1), ("own 3", 0), ("foreign 1", 1), ("foreign 2", 1)];
    net.expect_queue(&all.map(|(body, again)| (other, body, again)));
}

#[test]
fn q5_limits_refuse_what_is_too_much() {
    let mut net = Net::new(2, options(|queues| queues.max_messages = 2));
    let queue = net.queue_on(1, 0);
    let one = consumer(0);
    for body in ["a", "b", "c"] {
        net.send(sender(), &queue, body);
    }
    assert_eq!(net.refusals(), ["queue-full"]);
    net.consume(one, &queue, 1, false);
    let tags = net.expect_queue(&[(one, "a", 0)]);
    net.send(sender(), &queue, "d");
    assert_eq!(net.refusals(), ["queue-full"], "unsettled messages count");
    net.settle(one.session, tags[0], Outcome::Consumed);
    net.send(sender(), &queue, "e");
    assert_eq!(net.refusals(), [] as [&str; 0]);

    let mut net = Net::new(1, options(|queues| queues.max_bytes = 1000));
    let queue = net.queue_on(0, 0);
    net.send(sender(), &queue, &"x".repeat(1000));
    assert_eq!(net.refusals(), ["queue-full"]);
    assert_eq!(net.queues(), 0, "a queue that took nothing is forgotten");
    net.send(sender(), &queue, "x");
    assert_eq!(net.refusals(), [] as [&str; 0]);

    let mut net = Net::new(1, options(|queues| (queues.max_consumers, queues.max_queues) = (1, 1)));
    let (queue, second) = (net.queue_on(0, 0), net.queue_on(0, 1));
    net.consume(consumer(0), &queue, 1, false);
    net.consume(subscription(session(0, 2), 0), &queue, 1, false);
    assert_eq!(net.refusals(), ["too-many-consumers"]);
    net.send(sender(), &second, "x");
    assert_eq!(net.refusals(), ["too-many-queues"]);
}

#[test]
fn an_empty_queue_without_consumers_is_forgotten() {
    let mut net = Net::new(2, Options::default());
    let queue = net.queue_on(1, 0);
    let one = consumer(0);
    net.consume(one, &queue, 1, false);
    net.send(sender(), &queue, "a");
    let tags = net.expect_queue(&[(one, "a", 0)]);
    net.settle(one.session, tags[0], Outcome::Consumed);
    assert_eq!(net.queues(), 1);
    net.cancel(one, &queue);
    assert_eq!(net.queues(), 0);
    // A tag of the old queue means nothing to a new one of its name.
    net.consume(one, &queue, 1, false);
    net.send(sender(), &queue, "b");
    net.expect_queue(&[(one, "b", 0)]);
    net.settle(one.session, tags[0], Outcome::Consumed);
    assert_eq!(net.queue_stats(&queue).map(|stats| stats.unsettled), Some(1));
}
