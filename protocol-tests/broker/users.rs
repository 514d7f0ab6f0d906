//! P1 to P5: user destinations across workers.

use gumboot::broker::{Note, Options, TopicOptions, TopicPolicy};
use gumboot::destination::Destination;
use gumboot::message::{Content, Operation, Refusal, SessionId, Ticket, WhenSlow, WorkerId};

use crate::harness::{BOOT, Net, body, content, pattern, session, subscription};

fn to_bob(text: &str) -> Content {
    content("/user/bob/queue/x", text)
}

#[test]
fn p2_a_user_is_reached_in_every_session_on_every_worker() {
    let mut net = Net::new(3, Options::default());
    let eve = session(0, 9);
    let ids = [0, 1, 2].map(|worker| subscription(session(worker, 1), 0));
    for id in ids {
        net.subscribe_own(id, "/user/queue/x", Some("bob"), false);
    }
    net.subscribe_own(subscription(session(1, 2), 0), "/user/queue/other", Some("bob"), false);
    net.subscribe_own(subscription(session(2, 2), 0), "/user/**", Some("bo"), false);
    net.subscribe_own(subscription(eve, 0), "/user/**", None, false);
    net.verdicts();
    net.publish(eve, to_bob("one"));
    assert_eq!(net.verdicts(), [Ok(3)]);
    let shown: Vec<&str> = net.log.topic.iter().map(|(_, message, _)| message.content.destination.as_str()).collect();
    assert_eq!(shown, ["/user/queue/x"; 3], "P4");
    net.expect_topic(&ids.map(|id| (id, "one")));
    net.unsubscribe_own(ids[1]);
    net.publish(eve, to_bob("two"));
    net.expect_topic(&[(ids[0], "two"), (ids[2], "two")]);
    for id in ids {
        net.unsubscribe_own(id);
    }
    net.verdicts();
    net.publish(eve, to_bob("three"));
    assert_eq!(net.verdicts(), [Ok(0)]);
    net.expect_topic(&[]);
    assert_eq!(net.log.notes, [Note::UserAbsent(Destination::new("/user/bob/queue/x"))], "P5");
}

#[test]
fn p3_a_session_is_reached_by_its_name_wherever_it_is() {
    let mut net = Net::new(2, Options::default());
    let (here, there, eve) = (session(0, 1), session(1, 1), session(0, 2));
    net.subscribe_own(subscription(here, 0), "/user/queue/*", Some("bob"), false);
    net.subscribe_own(subscription(there, 0), "/user/queue/x", None, false);
    net.verdicts();
    let to = |name: String, text| content(&format!("/user/{name}/queue/x"), text);
    net.publish(eve, to(here.name(BOOT), "here"));
    net.publish(eve, to(there.name(BOOT), "there"));
    net.publish(eve, to(there.name(BOOT + 1), "of another start"));
    net.publish(eve, to(session(7, 1).name(BOOT), "on no worker"));
    assert_eq!(net.verdicts(), [Ok(1), Ok(1), Ok(0), Ok(0)]);
    net.expect_topic(&[(subscription(here, 0), "here"), (subscription(there, 0), "there")]);
}

/// Who is called like a session must get nothing that is for that session.
#[test]
fn p3_a_name_of_the_form_of_a_session_is_never_a_user() {
    let mut net = Net::new(2, Options::default());
    let (target, eve) = (session(0, 1), session(1, 2));
    let name = target.name(BOOT);
    net.subscribe_own(subscription(eve, 0), "/user/**", Some(&name), false);
    net.verdicts();
    net.publish(eve, content(&format!("/user/{name}/queue/x"), "secret"));
    assert_eq!(net.verdicts(), [Ok(0)]);
    net.expect_topic(&[]);
}

#[test]
fn g3_a_receipt_waits_for_the_other_workers() {
    let mut net = Net::new(2, Options::default());
    let (bob, eve) = (subscription(session(1, 1), 0), session(0, 2));
    net.subscribe_own(bob, "/user/queue/x", Some("bob"), false);
    net.verdicts();
    net.offer(eve, to_bob("one"), Some(Ticket(3)));
    assert_eq!(net.verdicts(), []);
    // Gone before the message is there: it reaches nobody after all.
    net.unsubscribe_own(bob);
    net.settle_down();
    assert_eq!(net.verdicts(), [Ok(0)]);
    net.subscribe_own(bob, "/user/queue/x", Some("bob"), false);
    net.verdicts();
    net.offer(eve, Content { mandatory: true, ..to_bob("two") }, Some(Ticket(3)));
    net.unsubscribe_own(bob);
    net.settle_down();
    assert_eq!(net.verdicts(), [Err(Refusal::Unroutable("/user/bob/queue/x".into()))], "M6: as its sender wrote it");
}

#[test]
fn g4_order_holds_between_spellings_that_reach_the_same_session() {
    let mut net = Net::new(2, Options::default());
    let (bob, eve) = (session(1, 1), session(0, 2));
    net.subscribe_own(subscription(bob, 0), "/user/queue/x", Some("bob"), false);
    let by_session = format!("/user/{}/queue/x", bob.name(BOOT));
    for round in 0..20 {
        let to = if round % 3 == 0 { &by_session } else { "/user/bob/queue/x" };
        net.offer(eve, content(to, &round.to_string()), None);
    }
    net.settle_down();
    let seen: Vec<String> = net.log.topic.iter().map(|(_, message, _)| body(message)).collect();
    assert_eq!(seen, (0..20).map(|round| round.to_string()).collect::<Vec<_>>());
}

#[test]
fn m5_own_messages_come_unless_one_side_says_no() {
    let mut net = Net::new(2, Options::default());
    let (one, other) = (session(0, 1), session(1, 1));
    net.subscribe_own(subscription(one, 0), "/user/queue/x", Some("bob"), false);
    net.subscribe_own(subscription(one, 1), "/user/queue/x", Some("bob"), true);
    net.subscribe_own(subscription(other, 0), "/user/queue/x", Some("bob"), false);
    net.publish(one, to_bob("a"));
    net.expect_topic(&[(subscription(one, 0), "a"), (subscription(other, 0), "a")]);
    net.publish(one, Content { exclude_origin: true, ..to_bob("b") });
    net.expect_topic(&[(subscription(other, 0), "b")]);
}

#[test]
fn q7_transactions_reach_users_as_a_whole() {
    let mut net = Net::new(2, Options::default());
    let (bob, eve) = (subscription(session(1, 1), 0), session(0, 2));
    net.subscribe_own(bob, "/user/queue/x", Some("bob"), false);
    net.verdicts();
    let send = |content| Operation::Send(content);
    net.commit(eve, 1, vec![send(to_bob("one")), send(content("/topic/a", "t")), send(to_bob("two"))]);
    net.settle_down();
    assert_eq!(net.verdicts(), [Ok(2)]);
    net.expect_topic(&[(bob, "one"), (bob, "two")]);
    let absent = Content { mandatory: true, ..content("/user/nobody/queue/x", "no") };
    for bad in [absent, content("/user/bob", "no")] {
        net.commit(eve, 2, vec![send(to_bob("no")), send(bad)]);
        net.settle_down();
    }
    assert_eq!(net.refusals(), ["unroutable", "bad-user-destination"]);
    net.expect_topic(&[]);
}

#[test]
fn topics_and_user_destinations_do_not_meet() {
    let mut net = Net::new(2, Options::default());
    let (one, eve) = (session(0, 1), session(1, 2));
    net.subscribe(subscription(eve, 0), "/**", false);
    net.subscribe(subscription(eve, 1), "%2Fuser/bob/queue/x", false);
    net.subscribe(subscription(eve, 2), "/user/queue/x", false);
    net.subscribe_own(subscription(one, 0), "/user/queue/x", Some("bob"), false);
    net.verdicts();
    net.publish(eve, to_bob("private"));
    assert_eq!(net.verdicts(), [Ok(1)]);
    net.expect_topic(&[(subscription(one, 0), "private")]);
    net.publish(eve, content("/topic/a", "public"));
    net.expect_topic(&[(subscription(eve, 0), "public")]);
}

/// Policies speak of what a subscriber subscribed to, so that one holds for all users.
#[test]
fn x2_slow_subscribers_have_the_policy_of_what_they_see() {
    let policies = vec![TopicPolicy { pattern: pattern("/user/queue/x"), when_slow: WhenSlow::KeepLatest }];
    let topics = TopicOptions { policies, ..TopicOptions::default() };
    let mut net = Net::new(2, Options { topics, ..Options::default() });
    net.subscribe_own(subscription(session(1, 1), 0), "/user/**", Some("bob"), false);
    net.publish(session(0, 2), to_bob("one"));
    net.publish(session(0, 2), content("/user/bob/queue/y", "two"));
    let seen: Vec<WhenSlow> = net.log.topic.iter().map(|(_, _, when_slow)| *when_slow).collect();
    assert_eq!(seen, [WhenSlow::KeepLatest, WhenSlow::Disconnect]);
}

#[test]
fn subscriptions_to_user_destinations_have_a_limit() {
    let mut net = Net::new(1, Options { max_subscriptions: 2, ..Options::default() });
    let id = |key| subscription(session(0, 1), key);
    for key in 0..3 {
        net.subscribe_own(id(key), "/user/queue/x", Some("bob"), false);
    }
    assert_eq!(net.refusals(), ["too-many-subscriptions"]);
    net.publish(session(0, 2), to_bob("one"));
    net.expect_topic(&[(id(0), "one"), (id(1), "one")]);
    net.unsubscribe_own(id(0));
    net.subscribe_own(id(2), "/user/queue/x", Some("bob"), false);
    assert_eq!(net.refusals(), [] as [&str; 0]);
}

/// What the broker says itself has no session for its verdict, and is nobody's own.
#[test]
fn the_broker_itself_reaches_users_and_sessions() {
    let mut net = Net::new(2, Options::default());
    let bob = session(1, 1);
    net.subscribe_own(subscription(bob, 0), "/user/queue/x", Some("bob"), true);
    net.verdicts();
    let origin = SessionId::of_broker(WorkerId(0));
    for to in ["bob".to_owned(), bob.name(BOOT)] {
        let content = Content { exclude_origin: true, ..content(&format!("/user/{to}/queue/x"), "answer") };
        net.offer(origin, content, None);
        net.settle_down();
        net.expect_topic(&[(subscription(bob, 0), "answer")]);
    }
    assert_eq!(net.verdicts(), []);
}
