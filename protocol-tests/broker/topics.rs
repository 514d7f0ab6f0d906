//! Topics: who gets what, in which order, and what the sender is told.

use gumboot::broker::{Note, Options, TopicOptions, TopicPolicy};
use gumboot::destination::{Destination, Spaces, Unknown};
use gumboot::message::{Content, Refusal, SubscriberId, WhenSlow};

use crate::harness::{Net, body, content, pattern, session, subscription};

#[test]
fn u5_each_matching_subscription_of_a_session_gets_the_message_once() {
    let mut net = Net::new(2, Options::default());
    let (alice, bob) = (session(0, 1), session(1, 1));
    let ids = [subscription(alice, 0), subscription(alice, 1), subscription(bob, 0), subscription(bob, 1)];
    net.subscribe(ids[0], "/topic/a", false);
    net.subscribe(ids[1], "/topic/*", false);
    net.subscribe(ids[2], "/topic/**", false);
    net.subscribe(ids[3], "/topic/b", false);
    net.publish(alice, content("/topic/a", "x"));
    net.expect_topic(&[(ids[0], "x"), (ids[1], "x"), (ids[2], "x")]);
}

#[test]
fn m5_own_messages_come_unless_one_side_says_no() {
    let mut net = Net::new(2, Options::default());
    let (alice, bob) = (session(0, 1), session(1, 1));
    let (own, no_local, other) = (subscription(alice, 0), subscription(alice, 1), subscription(bob, 0));
    net.subscribe(own, "/topic/a", false);
    net.subscribe(no_local, "/topic/a", true);
    net.subscribe(other, "/topic/a", true);
    net.publish(alice, content("/topic/a", "x"));
    net.expect_topic(&[(own, "x"), (other, "x")]);
    net.publish(alice, Content { exclude_origin: true, ..content("/topic/a", "y") });
    net.expect_topic(&[(other, "y")]);
    net.publish(bob, content("/topic/a", "z"));
    net.expect_topic(&[(own, "z"), (no_local, "z")]);
}

#[test]
fn m6_the_sender_learns_how_many_it_reached() {
    let mut net = Net::new(3, Options::default());
    let alice = session(0, 1);
    let mandatory = Content { mandatory: true, ..content("/topic/a", "x") };
    net.publish(alice, content("/topic/a", "x"));
    net.publish(alice, mandatory.clone());
    assert_eq!(net.verdicts(), [Ok(0), Err(Refusal::Unroutable("/topic/a".into()))]);
    assert_eq!(net.log.notes, vec![Note::Unrouted(Destination::new("/topic/a")); 2]);
    for worker in 0..3 {
        for key in 0..4 {
            net.subscribe(subscription(session(worker, 1), key), "/topic/{x}", key > 2);
        }
    }
    net.verdicts();
    net.publish(alice, mandatory);
    assert_eq!(net.verdicts(), [Ok(11)], "all but its own with no-local");
    assert_eq!(net.log.topic.len(), 11);
    net.unsubscribe(subscription(session(2, 1), 1), "/topic/{x}");
    net.verdicts();
    net.publish(alice, content("/topic/a", "x"));
    assert_eq!(net.verdicts(), [Ok(10)], "one less on another worker");
}

#[test]
fn g3_a_subscription_is_live_for_all_workers_once_it_is_answered_and_ends_as_fast() {
    let mut net = Net::new(2, Options::default());
    let (alice, bob) = (session(0, 1), session(1, 1));
    let (literal, wild) = (subscription(bob, 0), subscription(bob, 1));
    for _ in 0..3 {
        net.publish(alice, content("/topic/a", "nobody"));
        net.expect_topic(&[]);
        net.subscribe(literal, "/topic/a", false);
        net.publish(alice, content("/topic/a", "one"));
        net.expect_topic(&[(literal, "one")]);
        net.subscribe(wild, "/topic/*", false);
        net.publish(alice, content("/topic/a", "two"));
        net.expect_topic(&[(literal, "two"), (wild, "two")]);
        net.unsubscribe(literal, "/topic/a");
        net.publish(alice, content("/topic/a", "three"));
        net.expect_topic(&[(wild, "three")]);
        net.unsubscribe(wild, "/topic/*");
    }
    assert_eq!(net.shard(bob.worker).stats().patterns, 0);
}

#[test]
fn g4_messages_of_one_session_keep_their_order_on_every_worker() {
    let mut net = Net::new(3, Options::default());
    let alice = session(0, 1);
    let receivers = [0, 1, 2].map(|worker| subscription(session(worker, 2), 0));
    for receiver in receivers {
        net.subscribe(receiver, "/topic/a", false);
    }
    let bodies: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for (turn, body) in bodies.iter().enumerate() {
        let content = content("/topic/a", body);
        net.offer(alice, content, None);
        if turn % 3 == 0 {
            net.step(turn);
        }
    }
    net.settle_down();
    for receiver in receivers {
        let got = net.log.topic.iter().filter(|(to, _, _)| *to == receiver);
        assert_eq!(got.map(|(_, message, _)| body(message)).collect::<Vec<_>>(), bodies);
    }
    let ids: std::collections::BTreeSet<_> = net.log.topic.iter().map(|(_, message, _)| message.id).collect();
    assert_eq!(ids.len(), bodies.len(), "one message and one id per SEND");
}

#[test]
fn u8_unknown_destinations_are_refused_or_dropped_with_a_note() {
    let unknown = || content("/nowhere/a", "x");
    let mut net = Net::new(1, Options::default());
    net.publish(session(0, 1), unknown());
    assert_eq!(net.verdicts(), [Err(Refusal::UnknownDestination("/nowhere/a".into()))]);

    let spaces = Spaces::default().iter().cloned().collect();
    let destinations = Spaces::new(spaces, Unknown::Drop).expect("still fine");
    let mut net = Net::new(1, Options { destinations, ..Options::default() });
    net.publish(session(0, 1), unknown());
    net.publish(session(0, 1), Content { mandatory: true, ..unknown() });
    assert_eq!(net.verdicts(), [Ok(0), Err(Refusal::Unroutable("/nowhere/a".into()))]);
    assert_eq!(net.log.notes, vec![Note::UnknownDropped(Destination::new("/nowhere/a")); 2]);
}

#[test]
fn the_first_policy_whose_pattern_takes_the_topic_decides() {
    let policy = |text, when_slow| TopicPolicy { pattern: pattern(text), when_slow };
    let policies = vec![
        policy("/topic/price.*", WhenSlow::KeepLatest),
        policy("/topic/**", WhenSlow::DropOldest),
        policy("/topic/log", WhenSlow::KeepLatest),
    ];
    let topics = TopicOptions { when_slow: WhenSlow::Disconnect, policies };
    let mut net = Net::new(1, Options { topics, ..Options::default() });
    net.subscribe(subscription(session(0, 1), 0), "/topic/**", false);
    for name in ["/topic/price.x", "/topic/log"] {
        net.publish(session(0, 1), content(name, "x"));
    }
    let seen: Vec<WhenSlow> = net.log.topic.iter().map(|(_, _, when_slow)| *when_slow).collect();
    assert_eq!(seen, [WhenSlow::KeepLatest, WhenSlow::DropOldest]);
}

#[test]
fn subscriptions_are_limited_and_cheap_to_take_away() {
    let mut net = Net::new(1, Options { max_subscriptions: 1000, ..Options::default() });
    let ids: Vec<_> = (0..1000).map(|key| subscription(session(0, key), 0)).collect();
    for id in &ids {
        net.subscribe(*id, "/topic/a", false);
    }
    assert_eq!(net.refusals(), [] as [&str; 0]);
    net.subscribe(subscription(session(0, 5000), 0), "/topic/b", false);
    assert_eq!(net.refusals(), ["too-many-subscriptions"]);
    // Out of order, so that those that take the places of others are found there.
    let (gone, staying): (Vec<SubscriberId>, Vec<SubscriberId>) = ids.iter().partition(|id| id.session.key % 3 != 1);
    for id in gone.iter().rev().step_by(2).chain(gone.iter().rev().skip(1).step_by(2)) {
        net.unsubscribe(*id, "/topic/a");
    }
    net.unsubscribe(gone[0], "/topic/a");
    net.publish(session(0, 1), content("/topic/a", "x"));
    let expected: Vec<_> = staying.iter().map(|id| (*id, "x")).collect();
    net.expect_topic(&expected);
    assert_eq!(net.verdicts().last(), Some(&Ok(staying.len() as u32)));
}

#[test]
fn a_publisher_that_cycles_through_destinations_does_not_grow_memory() {
    let mut net = Net::new(1, Options { max_routes: 100, ..Options::default() });
    let receiver = subscription(session(0, 1), 0);
    net.subscribe(receiver, "/topic/**", false);
    let long = "x".repeat(1000);
    for n in 0..5000 {
        net.publish(session(0, 1), content(&format!("/topic/{n}"), "x"));
        net.publish(session(0, 1), content("/topic/often", "x"));
        net.publish(session(0, 1), content(&format!("/topic/{long}{n}"), "x"));
    }
    assert_eq!(net.log.topic.len(), 15_000);
    assert_eq!(net.shard(session(0, 1).worker).stats().routes, 100);
}
