//! What a policy says about its queues: limits, ends, delays, priorities, groups, and who may consume.

use std::time::Duration;

use gumboot::broker::{Note, Options, Overflow, QueueOptions, QueuePolicy, WhenExpired};
use gumboot::destination::Destination;
use gumboot::message::{Content, Moment, Operation, Outcome, Refusal, SessionId, SubscriberId, Terms};

use crate::durable::answer_store;
use crate::harness::{Disk, Net, START_EPOCH_MS, body, content, pattern, session, subscription};

const SECOND: Duration = Duration::from_secs(1);

/// A broker in which these rules hold for all queues but the dead letters.
fn net(workers: u16, change: impl FnOnce(&mut QueueOptions)) -> Net {
    let mut options = QueueOptions::default();
    change(&mut options);
    let queue_policies = vec![QueuePolicy { pattern: pattern("/queue/q*"), options }];
    Net::new(workers, Options { queue_policies, ..Options::default() })
}

fn sender() -> SessionId {
    session(0, 99)
}

fn consumer(worker: u16, key: u64) -> SubscriberId {
    subscription(session(worker, key), 0)
}

fn send(net: &mut Net, to: &Destination, body: &str, terms: Terms) {
    net.publish(sender(), Content { terms: Some(Box::new(terms)), ..content(to.as_str(), body) });
}

fn after(span: Duration) -> Option<Moment> {
    Some(Moment::After(span))
}

/// The bodies that a queue holds, and why they are there.
fn letters(net: &mut Net) -> Vec<(String, String)> {
    let reader = consumer(0, 1000);
    let dead = Destination::new("/queue/dead-letter");
    net.consume(reader, &dead, u32::MAX, false);
    let found = std::mem::take(&mut net.log.queue);
    net.cancel(reader, &dead);
    let reason = |headers: &gumboot::headers::Headers| headers.find("dead-letter-reason").unwrap_or("-").to_owned();
    found.iter().map(|(_, each)| (body(&each.message), reason(&each.message.content.headers))).collect()
}

fn pair(body: &str, reason: &str) -> (String, String) {
    (body.to_owned(), reason.to_owned())
}

#[test]
fn the_first_policy_that_takes_a_queue_decides() {
    let limit = |max_messages| QueueOptions { max_messages, ..QueueOptions::default() };
    let policy = |text, max_messages| QueuePolicy { pattern: pattern(text), options: limit(max_messages) };
    let queue_policies = vec![policy("/queue/q0", 1), policy("/queue/q*", 2), policy("/queue/q0", 9)];
    let mut net = Net::new(1, Options { queue_policies, queues: limit(3), ..Options::default() });
    for (queue, limit, key) in [
        ("/queue/q0", 1, "queues.policy.max_messages"),
        ("/queue/q1", 2, "queues.policy.max_messages"),
        ("/queue/other", 3, "queues.max_messages"),
    ] {
        for _ in 0..limit {
            net.send(sender(), &Destination::new(queue), "x");
        }
        assert!(net.verdicts().iter().all(Result::is_ok), "{queue}");
        net.send(sender(), &Destination::new(queue), "x");
        let what = "the messages of this queue";
        assert_eq!(net.verdicts(), [Err(Refusal::Limit { code: "queue-full", what, limit, key })]);
    }
}

#[test]
fn a_full_queue_drops_the_oldest_that_waits() {
    let mut net = net(2, |queues| (queues.max_messages, queues.overflow) = (3, Overflow::DropOldest));
    let queue = net.queue_on(1, 0);
    let one = consumer(0, 1);
    net.consume(one, &queue, 1, false);
    for body in ["a", "b", "c", "d", "e"] {
        net.send(sender(), &queue, body);
    }
    assert_eq!(net.refusals(), [] as [&str; 0]);
    let dropped = |count| Note::Dropped { queue: queue.clone(), reason: "overflow", count };
    assert_eq!(net.log.notes, [dropped(1), dropped(1)]);
    let tags = net.expect_queue(&[(one, "a", 0)]);
    net.settle(one.session, tags[0], Outcome::Consumed);
    net.expect_queue(&[(one, "d", 0)]);
    // What consumers have is not dropped; then there is nothing left to drop.
    let greedy = consumer(1, 2);
    net.consume(greedy, &queue, 9, false);
    net.send(sender(), &queue, "f");
    net.send(sender(), &queue, "g");
    assert_eq!(net.refusals(), ["queue-full"]);
    net.expect_queue(&[(greedy, "e", 0), (greedy, "f", 0)]);
}

#[test]
fn a_transaction_finds_no_room_where_nothing_can_be_dropped_for_it() {
    let mut net = net(1, |queues| (queues.max_messages, queues.overflow) = (2, Overflow::DropOldest));
    let queue = net.queue_on(0, 0);
    let one = consumer(0, 1);
    let commit = |net: &mut Net, ticket, body| {
        net.commit(sender(), ticket, vec![Operation::Send(content(queue.as_str(), body))]);
        net.settle_down();
        net.verdicts().iter().all(Result::is_ok)
    };
    net.consume(one, &queue, 2, false);
    for body in ["a", "b"] {
        net.send(sender(), &queue, body);
    }
    assert!(net.verdicts().iter().all(Result::is_ok));
    assert!(!commit(&mut net, 10, "c"), "a consumer has all there is");
    let tags = net.expect_queue(&[(one, "a", 0), (one, "b", 0)]);
    net.cancel(one, &queue);
    assert!(commit(&mut net, 11, "d"), "the oldest is dropped for it");
    net.settle(one.session, tags[0], Outcome::Consumed);
    net.consume(one, &queue, 2, false);
    net.expect_queue(&[(one, "b", 1), (one, "d", 0)]);
}

#[test]
fn a_delay_that_is_too_long_is_refused_before_the_queue_makes_room() {
    for overflow in [Overflow::DropOldest, Overflow::DeadLetter] {
        let limits = |queues: &mut QueueOptions| {
            (queues.max_messages, queues.overflow, queues.max_delay) = (1, overflow, SECOND);
        };
        let mut net = net(1, limits);
        let queue = net.queue_on(0, 0);
        net.send(sender(), &queue, "a");
        net.verdicts();
        for persistent in [false, true] {
            let terms = Terms { due: after(2 * SECOND), persistent, ..Terms::default() };
            send(&mut net, &queue, "never", terms);
            assert_eq!(net.refusals(), ["delay-too-long"], "{overflow:?}");
        }
        net.consume(consumer(0, 1), &queue, 1, false);
        net.expect_queue(&[(consumer(0, 1), "a", 0)]);
        assert_eq!(letters(&mut net), []);
    }
}

#[test]
fn a_full_queue_may_give_to_the_dead_letters() {
    for home in [0, 1] {
        let mut net = net(2, |queues| (queues.max_messages, queues.overflow) = (1, Overflow::DeadLetter));
        let queue = net.queue_on(home, 0);
        net.send(sender(), &queue, "a");
        net.send(sender(), &queue, "b");
        assert_eq!(net.verdicts(), [Ok(1), Ok(1)]);
        assert_eq!(letters(&mut net), [pair("b", "queue-full")]);
    }
    // Those may be full too, and what they cannot keep goes nowhere else.
    for home in [0, 1] {
        let names = Net::new(2, Options::default());
        let (queue, dead) = (names.queue_on(home, 0), names.queue_on(1, 1));
        let limits = |queues: &mut QueueOptions| {
            (queues.max_messages, queues.overflow) = (1, Overflow::DeadLetter);
            queues.dead_letter = Some(dead.clone());
        };
        let mut net = net(2, limits);
        for (body, refused) in [("a", 0), ("b", 0), ("c", 1)] {
            net.send(sender(), &queue, body);
            assert_eq!(net.refusals(), vec!["queue-full"; refused], "{body}");
        }
    }
}

/// The note is what is counted, so one that is refused must not make one.
#[test]
fn what_the_dead_letters_took_is_told_once_they_have_it() {
    for home in [0, 1] {
        let names = Net::durable(2, Options::default());
        let (queue, dead) = (names.queue_on(home, 0), names.queue_on(1, 1));
        let options = QueueOptions {
            max_messages: 1,
            overflow: Overflow::DeadLetter,
            dead_letter: Some(dead),
            durable: true,
            ..QueueOptions::default()
        };
        let mut net = Net::durable(2, Options { queues: options.clone(), ..Options::default() });
        net.send(sender(), &queue, "a");
        answer_store(&mut net, &["+1 a"], true);
        for (body, number, works) in [("failed", 3, false), ("b", 5, true)] {
            net.send(sender(), &queue, body);
            assert_eq!(net.log.notes, [], "{body}: not yet");
            answer_store(&mut net, &[&format!("+{number} {body}")], works);
            let expected = Note::DeadLettered { queue: queue.clone(), reason: "queue-full" };
            assert_eq!(std::mem::take(&mut net.log.notes), Vec::from_iter(works.then_some(expected)), "{body}");
        }
        net.send(sender(), &queue, "refused");
        let is_told = net.log.notes.iter().any(|note| matches!(note, Note::DeadLettered { .. }));
        assert!(!is_told, "{:?}", net.log.notes);
        assert_eq!(net.refusals(), ["store-full", "queue-full"]);

        let mut net = Net::new(2, Options { queues: QueueOptions { durable: false, ..options }, ..Options::default() });
        ["a", "b", "refused"].iter().for_each(|body| net.send(sender(), &queue, body));
        net.log.notes.retain(|note| matches!(note, Note::DeadLettered { .. }));
        assert_eq!(net.log.notes, [Note::DeadLettered { queue: queue.clone(), reason: "queue-full" }]);
    }
}

#[test]
fn what_waits_too_long_expires_and_is_never_delivered_late() {
    for home in [0, 1] {
        let mut net = net(2, |_| {});
        let queue = net.queue_on(home, 0);
        let one = consumer(0, 1);
        send(&mut net, &queue, "short", Terms { expires: after(SECOND), ..Terms::default() });
        let at = Some(Moment::At(START_EPOCH_MS + 2000));
        send(&mut net, &queue, "longer", Terms { expires: at, ..Terms::default() });
        net.send(sender(), &queue, "for ever");
        net.advance(SECOND - Duration::from_millis(1));
        assert_eq!(letters(&mut net), []);
        net.advance(Duration::from_millis(1));
        assert_eq!(letters(&mut net), [pair("short", "expired")]);
        net.consume(one, &queue, 1, false);
        let tags = net.expect_queue(&[(one, "longer", 0)]);
        // A consumer may keep it for longer; but it does not come again.
        net.advance(2 * SECOND);
        net.settle(one.session, tags[0], Outcome::Returned);
        net.expect_queue(&[(one, "for ever", 0)]);
        let found = letters(&mut net);
        assert_eq!(found.last(), Some(&pair("longer", "expired")));
        assert_eq!(net.queue_stats(&queue).map(|stats| stats.messages), Some(1));
    }
}

#[test]
fn nothing_of_a_question_stays() {
    for home in [0, 1] {
        let mut net = net(2, |queues| (queues.max_deliveries, queues.durable) = (1, true));
        let queue = net.queue_on(home, 0);
        let one = consumer(0, 1);
        let question = || Terms { expires: after(SECOND), is_question: true, ..Terms::default() };
        let dropped = |reason| [Note::Dropped { queue: queue.clone(), reason, count: 1 }];
        send(&mut net, &queue, "nobody there", question());
        net.advance(SECOND);
        assert_eq!(std::mem::take(&mut net.log.notes), dropped("expired"));
        net.consume(one, &queue, 1, false);
        for (outcome, reason) in [(Outcome::Discarded, "discarded"), (Outcome::Rejected, "max-deliveries")] {
            send(&mut net, &queue, "nobody willing", question());
            let tags = net.expect_queue(&[(one, "nobody willing", 0)]);
            net.settle(one.session, tags[0], outcome);
            assert_eq!(std::mem::take(&mut net.log.notes), dropped(reason));
        }
        assert_eq!(letters(&mut net), []);
    }
}

#[test]
fn a_message_expires_while_it_waits_for_its_redelivery_or_its_group() {
    let mut net = net(1, |queues| queues.expired = WhenExpired::Drop);
    let queue = net.queue_on(0, 0);
    let (one, two) = (consumer(0, 1), consumer(0, 2));
    net.consume(one, &queue, 1, false);
    net.consume(two, &queue, 1, false);
    let group = || Some("g".into());
    send(&mut net, &queue, "a", Terms { group: group(), ..Terms::default() });
    send(&mut net, &queue, "b", Terms { group: group(), expires: after(SECOND), ..Terms::default() });
    let tags = net.expect_queue(&[(one, "a", 0)]);
    net.advance(SECOND);
    assert_eq!(net.log.notes, [Note::Dropped { queue: queue.clone(), reason: "expired", count: 1 }]);
    net.settle(one.session, tags[0], Outcome::Consumed);
    send(&mut net, &queue, "c", Terms { expires: after(SECOND), ..Terms::default() });
    let tags = net.expect_queue(&[(two, "c", 0)]);
    net.settle(two.session, tags[0], Outcome::Deferred(10 * SECOND));
    net.advance(SECOND);
    net.expect_queue(&[]);
    assert_eq!(net.queue_stats(&queue).map(|stats| (stats.messages, stats.bytes)), Some((0, 0)));
}

#[test]
fn a_queue_may_say_how_long_its_messages_live() {
    let mut net = net(1, |queues| (queues.ttl, queues.expired) = (Some(SECOND), WhenExpired::Drop));
    let queue = net.queue_on(0, 0);
    send(&mut net, &queue, "own", Terms { expires: after(3 * SECOND), ..Terms::default() });
    net.send(sender(), &queue, "usual");
    net.advance(SECOND);
    assert_eq!(net.queue_stats(&queue).map(|stats| stats.messages), Some(1));
    net.advance(2 * SECOND);
    assert_eq!(net.queues(), 0);
    assert_eq!(letters(&mut net), []);
}

#[test]
fn many_may_expire_at_once() {
    let mut net = net(1, |queues| queues.ttl = Some(SECOND));
    let queue = net.queue_on(0, 0);
    for _ in 0..20_000 {
        net.send(sender(), &queue, "x");
    }
    net.advance(SECOND);
    assert_eq!(letters(&mut net).len(), 20_000);
}

#[test]
fn a_delayed_message_comes_when_it_is_due_behind_those_that_wait() {
    let mut net = net(2, |queues| queues.max_delay = 10 * SECOND);
    let queue = net.queue_on(1, 0);
    let one = consumer(0, 1);
    send(&mut net, &queue, "later", Terms { due: after(2 * SECOND), ..Terms::default() });
    let at = Some(Moment::At(START_EPOCH_MS + 1000));
    send(&mut net, &queue, "soon", Terms { due: at, ..Terms::default() });
    send(&mut net, &queue, "past", Terms { due: Some(Moment::At(1)), ..Terms::default() });
    net.send(sender(), &queue, "now");
    let both = Terms { due: after(2 * SECOND), expires: after(SECOND), ..Terms::default() };
    send(&mut net, &queue, "too late", both);
    assert_eq!(net.queue_stats(&queue).map(|stats| (stats.ready, stats.delayed)), Some((2, 3)));
    net.advance(2 * SECOND - Duration::from_millis(1));
    net.consume(one, &queue, 9, false);
    net.expect_queue(&[(one, "past", 0), (one, "now", 0), (one, "soon", 0)]);
    net.advance(Duration::from_millis(1));
    net.expect_queue(&[(one, "later", 0)]);
    net.verdicts();
    send(&mut net, &queue, "never", Terms { due: after(11 * SECOND), ..Terms::default() });
    send(&mut net, &queue, "never", Terms { due: Some(Moment::At(u64::MAX)), ..Terms::default() });
    let refusal = || {
        let (code, key) = ("delay-too-long", "queues.policy.max_delay");
        Err(Refusal::Limit { code, what: "the delay of this message in milliseconds", limit: 10_000, key })
    };
    assert_eq!(net.verdicts(), [refusal(), refusal()]);
}

#[test]
fn q3_a_nack_says_its_own_delay_within_the_limit() {
    let mut net = net(1, |queues| queues.max_delay = 10 * SECOND);
    let queue = net.queue_on(0, 0);
    let one = consumer(0, 1);
    net.consume(one, &queue, 1, false);
    net.send(sender(), &queue, "a");
    for (times, (asked, waits)) in [(3, 3), (100, 10), (5, 5)].into_iter().enumerate() {
        let tags = net.expect_queue(&[(one, "a", times as u32)]);
        net.settle(one.session, tags[0], Outcome::Deferred(asked * SECOND));
        assert_eq!(net.next_due(), Some(net.now + waits * SECOND));
        net.advance(waits * SECOND);
    }
    // It counts as any other refusal.
    let tags = net.expect_queue(&[(one, "a", 3)]);
    net.settle(one.session, tags[0], Outcome::Rejected);
    net.advance(60 * SECOND);
    let tags = net.expect_queue(&[(one, "a", 4)]);
    net.settle(one.session, tags[0], Outcome::Deferred(SECOND));
    assert_eq!(letters(&mut net), [pair("a", "max-deliveries")]);
}

#[test]
fn higher_priorities_come_first_and_equal_ones_in_order() {
    let mut net = net(2, |queues| queues.priority = true);
    let queue = net.queue_on(1, 0);
    let one = consumer(0, 1);
    for (body, priority) in
        [("a", None), ("b", Some(9)), ("c", Some(4)), ("d", Some(0)), ("e", Some(200)), ("f", Some(5))]
    {
        send(&mut net, &queue, body, Terms { priority, ..Terms::default() });
    }
    net.consume(one, &queue, 3, false);
    let tags = net.expect_queue(&[(one, "b", 0), (one, "e", 0), (one, "f", 0)]);
    net.settle(one.session, tags[1], Outcome::Returned);
    let tags = net.expect_queue(&[(one, "e", 1)]);
    net.settle(one.session, tags[0], Outcome::Consumed);
    net.expect_queue(&[(one, "a", 0)]);
    net.cancel(one, &queue);
    net.consume(one, &queue, 9, false);
    net.expect_queue(&[(one, "b", 1), (one, "f", 1), (one, "a", 1), (one, "c", 0), (one, "d", 0)]);

    // Elsewhere a priority means nothing.
    let mut net = self::net(1, |_| {});
    for (body, priority) in [("a", Some(0)), ("b", Some(9))] {
        send(&mut net, &queue, body, Terms { priority: priority.map(|each: u8| each), ..Terms::default() });
    }
    net.consume(one, &queue, 9, false);
    net.expect_queue(&[(one, "a", 0), (one, "b", 0)]);
}

fn grouped(net: &mut Net, queue: &Destination, body: &str) {
    let group = body.chars().take(1).collect::<String>();
    send(net, queue, body, Terms { group: Some(group.into()), ..Terms::default() });
}

#[test]
fn a_group_sticks_to_its_consumer_while_that_lives() {
    let mut net = net(2, |_| {});
    let queue = net.queue_on(1, 0);
    let (one, two) = (consumer(0, 1), consumer(1, 2));
    net.consume(one, &queue, 2, false);
    net.consume(two, &queue, 2, false);
    for body in ["a1", "b1", "a2", "b2", "a3"] {
        grouped(&mut net, &queue, body);
    }
    net.send(sender(), &queue, "free");
    let tags = net.expect_queue(&[(one, "a1", 0), (two, "b1", 0), (one, "a2", 0), (two, "b2", 0)]);
    // `a3` is the first one's: the second gets what is behind it.
    net.settle(two.session, tags[1], Outcome::Consumed);
    net.expect_queue(&[(two, "free", 0)]);
    net.settle(one.session, tags[0], Outcome::Consumed);
    net.expect_queue(&[(one, "a3", 0)]);
    grouped(&mut net, &queue, "a4");
    net.expect_queue(&[]);
    net.cancel(one, &queue);
    net.settle(two.session, tags[3], Outcome::Consumed);
    net.expect_queue(&[(two, "a2", 1)]);
    net.consume(one, &queue, 9, false);
    net.expect_queue(&[]);
    let stats = net.queue_stats(&queue).expect("it is there");
    assert_eq!((stats.ready, stats.unsettled), (2, 2));
    net.cancel(two, &queue);
    net.expect_queue(&[(one, "a2", 2), (one, "a3", 1), (one, "free", 1), (one, "a4", 0)]);
}

#[test]
fn groups_without_messages_are_forgotten_when_there_are_too_many() {
    let mut net = net(1, |queues| queues.max_groups = 2);
    let queue = net.queue_on(0, 0);
    let (one, two) = (consumer(0, 1), consumer(0, 2));
    net.consume(one, &queue, 9, false);
    let tags = |net: &mut Net, body: &str| {
        grouped(net, &queue, body);
        net.expect_queue(&[(one, body, 0)])[0]
    };
    let (a, b) = (tags(&mut net, "a1"), tags(&mut net, "b1"));
    net.settle(one.session, b, Outcome::Consumed);
    net.consume(two, &queue, 9, false);
    // The turn is with the second one from here on: `b` is free once `c` came, `a` is not.
    grouped(&mut net, &queue, "c1");
    grouped(&mut net, &queue, "a2");
    let found = std::mem::take(&mut net.log.queue);
    let of_a = found.iter().find(|(_, each)| body(&each.message) == "a2").map(|(to, _)| *to);
    assert_eq!(of_a, Some(one));
    net.settle(one.session, a, Outcome::Consumed);
    grouped(&mut net, &queue, "a3");
    let to = std::mem::take(&mut net.log.queue);
    assert_eq!(to[0].0, one, "a2 is still held");
}

#[test]
fn m5_no_local_goes_before_the_group() {
    let mut net = net(1, |_| {});
    let queue = net.queue_on(0, 0);
    let (shy, other) = (subscription(sender(), 0), consumer(0, 2));
    let stranger = session(0, 50);
    net.consume(shy, &queue, 9, true);
    let group = || Some(Box::new(Terms { group: Some("g".into()), ..Terms::default() }));
    net.publish(stranger, Content { terms: group(), ..content(queue.as_str(), "foreign") });
    net.publish(sender(), Content { terms: group(), ..content(queue.as_str(), "own") });
    net.expect_queue(&[(shy, "foreign", 0)]);
    net.consume(other, &queue, 9, false);
    net.expect_queue(&[(other, "own", 0)]);
}

#[test]
fn an_exclusive_queue_has_one_consumer() {
    let mut net = net(2, |queues| queues.exclusive = true);
    let queue = net.queue_on(1, 0);
    let (one, two) = (consumer(0, 1), consumer(1, 2));
    net.consume(one, &queue, 9, false);
    net.consume(two, &queue, 9, false);
    assert_eq!(net.verdicts(), [Ok(0), Err(Refusal::Exclusive(queue.text().clone()))]);
    // The same one may come again.
    net.consume(one, &queue, 9, false);
    net.send(sender(), &queue, "a");
    net.expect_queue(&[(one, "a", 0)]);
    net.cancel(one, &queue);
    net.consume(two, &queue, 9, false);
    net.expect_queue(&[(two, "a", 1)]);
}

#[test]
fn one_consumer_is_active_and_the_others_stand_by_in_order() {
    let mut net = net(2, |queues| queues.single_active_consumer = true);
    let queue = net.queue_on(1, 0);
    let (one, two, three) = (consumer(0, 1), consumer(1, 2), consumer(0, 3));
    for each in [one, two, three] {
        net.consume(each, &queue, 2, false);
    }
    for body in ["a", "b", "c"] {
        net.send(sender(), &queue, body);
    }
    let tags = net.expect_queue(&[(one, "a", 0), (one, "b", 0)]);
    net.settle(one.session, tags[0], Outcome::Consumed);
    net.expect_queue(&[(one, "c", 0)]);
    net.cancel(two, &queue);
    net.expect_queue(&[]);
    net.cancel(one, &queue);
    net.expect_queue(&[(three, "b", 1), (three, "c", 1)]);
}

#[test]
fn an_idle_queue_may_stay_for_a_while() {
    let mut net = net(1, |queues| queues.idle_expiry = Some(5 * SECOND));
    let queue = net.queue_on(0, 0);
    let one = consumer(0, 1);
    net.consume(one, &queue, 1, false);
    net.cancel(one, &queue);
    net.advance(4 * SECOND);
    assert_eq!(net.queues(), 1);
    net.consume(one, &queue, 1, false);
    net.advance(10 * SECOND);
    net.cancel(one, &queue);
    net.advance(5 * SECOND - Duration::from_nanos(1));
    assert_eq!(net.queues(), 1);
    net.advance(Duration::from_nanos(1));
    assert_eq!((net.queues(), net.next_due()), (0, None));
}

/// A message that is on its way into the store has its place already, and what was to be dropped for it may be handed out before it
/// is there: no more than the limit comes on top of the limit.
#[test]
fn what_was_to_be_dropped_may_be_handed_out_first() {
    let queues = QueueOptions { max_messages: 3, overflow: Overflow::DropOldest, ..QueueOptions::default() };
    let mut net = Net::durable(1, Options { queues, ..Options::default() });
    let (queue, mut disk) = (net.queue_on(0, 0), Disk::default());
    let terms = || Terms { persistent: true, ..Terms::default() };
    for body in ["a", "b", "c"] {
        send(&mut net, &queue, body, terms());
        net.oblige(&mut disk);
    }
    for round in 0..3 {
        for _ in 0..3 {
            send(&mut net, &queue, "late", terms());
        }
        assert_eq!(net.refusals(), [] as [&str; 0]);
        send(&mut net, &queue, "too many at once", terms());
        assert_eq!(net.refusals(), ["queue-full"]);
        let one = consumer(0, round);
        net.consume(one, &queue, 9, false);
        net.oblige(&mut disk);
        assert_eq!(net.queue_stats(&queue).expect("it has messages").messages, 6, "round {round}");
        send(&mut net, &queue, "too much", terms());
        assert_eq!(net.refusals(), ["queue-full"]);
        // What comes back is there to be dropped.
        net.cancel(one, &queue);
    }
    assert_eq!(net.log.notes.iter().filter(|note| matches!(note, Note::Dropped { count: 3, .. })).count(), 2);
}
