//! Durable subscriptions to topics: SEMANTICS U9, Q9, and G3, M5, M6 where they are concerned.

use std::sync::Arc;
use std::time::Duration;

use gumboot::broker::{Command, Consumer, DurableOptions, History, Note, Options, Overflow, QueueOptions};
use gumboot::destination::Destination;
use gumboot::message::{
    Binding, Content, Message, MessageId, Operation, Outcome, Refusal, SessionId, SubscriberId, Ticket, WorkerId,
};

use crate::durable::{answer_store, persistent};
use crate::harness::{Net, body, content, pattern, session, subscription};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn alice() -> SessionId {
    session(0, 1)
}

/// A reader on the second worker.
fn reader() -> SubscriberId {
    subscription(session(1, 2), 0)
}

fn other() -> SubscriberId {
    subscription(session(0, 3), 4)
}

fn named(name: &str) -> Destination {
    Destination::of_client(None, "till", name)
}

fn attach(net: &mut Net, id: SubscriberId, queue: &Destination, topic: &str, (exclusive, no_local): (bool, bool)) {
    let consumer = Consumer { id, credit: 2, no_local, ends_queue: false };
    let binding = Box::new(Binding { queue: queue.clone(), topic: pattern(topic), exclusive });
    net.run(id.session.worker, Command::Attach { consumer, binding, ticket: Some(Ticket(0)) });
}

/// Attaches to the named subscription.
fn have(net: &mut Net, id: SubscriberId, queue: &Destination, topic: &str) {
    attach(net, id, queue, topic, (true, false));
}

fn forget(net: &mut Net, session: SessionId, queue: &Destination) {
    net.run(session.worker, Command::Forget { session, queue: queue.clone(), ticket: Some(Ticket(9)) });
}

/// A network with a named subscription on `home` of two workers.
fn with_one_on(home: u16, mut net: Net) -> (Net, Destination) {
    let mut names = (0..).map(|number: u32| named(&number.to_string()));
    let queue = names.find(|name| net.lives_on(name, home)).expect("names do not end");
    have(&mut net, reader(), &queue, "/topic/*");
    (net, queue)
}

fn limited(durable: DurableOptions) -> Options {
    Options { durable, ..Options::default() }
}

#[test]
fn u9_it_keeps_what_comes_while_its_client_is_away() {
    for home in [0, 1] {
        let (mut net, queue) = with_one_on(home, Net::new(2, Options::default()));
        assert_eq!(net.verdicts(), [Ok(0)]);
        net.send(alice(), &Destination::new("/topic/a"), "one");
        let tags = net.expect_queue(&[(reader(), "one", 0)]);
        net.settle(reader().session, tags[0], Outcome::Consumed);
        net.cancel(reader(), &queue);
        net.verdicts();
        for body in ["two", "three", "four"] {
            net.send(alice(), &Destination::new("/topic/b"), body);
        }
        net.send(alice(), &Destination::new("/topic/b/c"), "beside it");
        // M6: it counts as one that was reached.
        assert_eq!(net.verdicts(), [Ok(1), Ok(1), Ok(1), Ok(0)]);
        net.expect_queue(&[]);
        // From another worker; no more than it has credit for.
        have(&mut net, other(), &queue, "/topic/*");
        let seen: Vec<_> =
            net.log.queue.iter().map(|(_, delivery)| delivery.message.content.destination.to_string()).collect();
        assert_eq!(seen, ["/topic/b", "/topic/b"], "the topic, not the queue behind it");
        let tags = net.expect_queue(&[(other(), "two", 0), (other(), "three", 0)]);
        net.settle(other().session, tags[0], Outcome::Consumed);
        net.expect_queue(&[(other(), "four", 0)]);
        // Q4, Q9: what it did not settle comes again.
        net.cancel(other(), &queue);
        have(&mut net, reader(), &queue, "/topic/*");
        net.expect_queue(&[(reader(), "three", 1), (reader(), "four", 1)]);
    }
}

/// Has everything stored.
fn store_all(net: &mut Net) {
    while !net.log.stores.is_empty() {
        for (worker, ticket, _) in std::mem::take(&mut net.log.stores) {
            net.run(worker, Command::Stored { ticket, result: Ok(()) });
        }
    }
}

/// A client discards what it got, a stored message, and ends its durable subscription at once. Answers with the net, the queue of
/// dead letters, that of the subscription, and the message.
fn discard_and_forget(home: u16, queues: QueueOptions) -> (Net, Destination, Destination, Arc<Message>) {
    let letters = Net::durable(2, Options::default()).queue_on(0, 0);
    let queues = QueueOptions { dead_letter: Some(letters.clone()), ..queues };
    let (mut net, queue) = with_one_on(home, Net::durable(2, Options { queues, ..Options::default() }));
    store_all(&mut net);
    net.publish(alice(), persistent(&Destination::new("/topic/a"), "one"));
    store_all(&mut net);
    let message = net.log.queue.first().map(|(_, delivery)| Arc::clone(&delivery.message)).expect("it came");
    let tags = net.expect_queue(&[(reader(), "one", 0)]).into_iter().collect();
    net.verdicts();
    let (session, ticket) = (reader().session, Some(Ticket(8)));
    net.run(session.worker, Command::Settle { session, tags, outcome: Outcome::Discarded, ticket });
    net.cancel(reader(), &queue);
    forget(&mut net, session, &queue);
    (net, letters, queue, message)
}

/// Who has discarded something and then ended the durable subscription hears of both, wherever the letter is by then.
#[test]
fn g3_u9_forgotten_while_a_letter_is_on_its_way() {
    for home in [0, 1] {
        let (mut net, letters, _, _) = discard_and_forget(home, QueueOptions::default());
        assert_eq!(net.verdicts(), [], "nothing is stored");
        store_all(&mut net);
        assert_eq!(net.verdicts(), [Ok(0), Ok(0)]);
        assert_eq!(net.queue_stats(&letters).map(|stats| stats.ready), Some(1), "{home}");
    }
}

/// The same where the message must be read for its letter: it stays in the store until then, and another durable subscription
/// may have the name meanwhile.
#[test]
fn g3_u9_q5_forgotten_while_a_letter_must_be_read() {
    for (home, is_readable) in [(0, true), (1, true), (0, false), (1, false)] {
        let queues = QueueOptions { memory: 0, ..QueueOptions::default() };
        let (mut net, letters, queue, message) = discard_and_forget(home, queues);
        answer_store(&mut net, &["-1, no mark"], true);
        assert_eq!(net.verdicts(), [Ok(0)], "it is forgotten, and its letter is not stored");
        have(&mut net, reader(), &queue, "/topic/*");
        answer_store(&mut net, &[&format!("+3 {queue} on /topic/*")], true);
        net.verdicts();
        let fetches = std::mem::take(&mut net.log.fetches);
        let [(worker, number, sequences)] = &fetches[..] else { panic!("{fetches:?}") };
        assert_eq!(sequences, &[2]);
        let found = vec![is_readable.then_some(message)];
        net.run(*worker, Command::Fetched { queue: *number, found });
        let expected: &[&str] = if is_readable { &["+4 one, -2"] } else { &["-2"] };
        answer_store(&mut net, expected, true);
        store_all(&mut net);
        assert_eq!(net.verdicts(), [Ok(0)]);
        assert_eq!(net.queue_stats(&letters).map(|stats| stats.ready), is_readable.then_some(1), "{home}");
        assert_eq!(net.queue_stats(&queue).map(|stats| (stats.consumers, stats.messages)), Some((1, 0)));
        assert_eq!(net.queues(), 1 + usize::from(is_readable));
    }
}

#[test]
fn q9_refused_messages_come_again_and_end_as_dead_letters() {
    let letters = Destination::new("/queue/letters");
    let queues = QueueOptions { max_deliveries: 2, dead_letter: Some(letters.clone()), ..QueueOptions::default() };
    let (mut net, _) = with_one_on(1, Net::new(2, Options { queues, ..Options::default() }));
    net.send(alice(), &Destination::new("/topic/a"), "bad");
    let tags = net.expect_queue(&[(reader(), "bad", 0)]);
    net.settle(reader().session, tags[0], Outcome::Rejected);
    net.advance(Duration::from_secs(1));
    let tags = net.expect_queue(&[(reader(), "bad", 1)]);
    net.settle(reader().session, tags[0], Outcome::Rejected);
    net.consume(other(), &letters, 9, false);
    let letter = net.log.queue.first().map(|(_, delivery)| Arc::clone(&delivery.message)).expect("a letter");
    assert_eq!(letter.content.headers.find("original-destination"), Some("/topic/a"));
    net.expect_queue(&[(other(), "bad", 0)]);
}

#[test]
fn u9_a_named_one_has_one_session_and_the_others_are_shared() {
    let (mut net, queue) = with_one_on(0, Net::new(2, Options::default()));
    net.verdicts();
    have(&mut net, other(), &queue, "/topic/*");
    have(&mut net, other(), &queue, "/topic/else");
    assert_eq!(net.refusals(), ["subscription-in-use", "subscription-in-use"]);
    forget(&mut net, other().session, &queue);
    assert_eq!(net.refusals(), ["subscription-in-use"]);
    let shared = Destination::of_subscription(None, "s", "/topic/s");
    for id in [reader(), other()] {
        attach(&mut net, id, &shared, "/topic/s", (false, false));
    }
    net.cancel(reader(), &queue);
    for body in ["one", "two"] {
        net.send(alice(), &Destination::new("/topic/s"), body);
    }
    net.expect_queue(&[(reader(), "one", 0), (other(), "two", 0)]);
}

#[test]
fn u9_another_topic_under_the_same_name_is_another_subscription() {
    let (mut net, queue) = with_one_on(1, Net::new(2, Options::default()));
    net.cancel(reader(), &queue);
    net.send(alice(), &Destination::new("/topic/a"), "old");
    have(&mut net, reader(), &queue, "/topic/b/*");
    net.verdicts();
    net.send(alice(), &Destination::new("/topic/a"), "nobody's");
    net.send(alice(), &Destination::new("/topic/b/c"), "new");
    assert_eq!(net.verdicts(), [Ok(0), Ok(1)]);
    net.expect_queue(&[(reader(), "new", 0)]);
    assert_eq!(net.queues(), 1);
}

#[test]
fn u9_forgotten_it_is_gone_with_all_it_kept() {
    for home in [0, 1] {
        let (mut net, queue) = with_one_on(home, Net::new(2, Options::default()));
        net.cancel(reader(), &queue);
        net.send(alice(), &Destination::new("/topic/a"), "old");
        net.verdicts();
        forget(&mut net, reader().session, &queue);
        forget(&mut net, reader().session, &queue);
        net.send(alice(), &Destination::new("/topic/a"), "nobody's");
        assert_eq!(net.verdicts(), [Ok(0), Ok(0), Ok(0)]);
        assert_eq!((net.queues(), net.next_due()), (0, None));
        have(&mut net, reader(), &queue, "/topic/*");
        net.expect_queue(&[]);
    }
}

#[test]
fn g5_each_limit_has_its_outcome() {
    let (mut net, queue) =
        with_one_on(0, Net::new(2, limited(DurableOptions { max_subscriptions: 1, ..DurableOptions::default() })));
    net.verdicts();
    let second = (0..).map(|number: u32| named(&format!("more{number}"))).find(|name| net.lives_on(name, 0));
    have(&mut net, reader(), &second.expect("names do not end"), "/topic/x");
    assert_eq!(net.refusals(), ["too-many-durable-subscriptions"]);
    forget(&mut net, reader().session, &queue);
    for (overflow, kept) in [(Overflow::DropOldest, ["b", "c"]), (Overflow::Reject, ["a", "b"])] {
        let options = limited(DurableOptions { max_messages: 2, overflow, ..DurableOptions::default() });
        let (mut net, queue) = with_one_on(1, Net::new(2, options));
        net.cancel(reader(), &queue);
        net.verdicts();
        for body in ["a", "b", "c"] {
            net.send(alice(), &Destination::new("/topic/a"), body);
        }
        // Its sender has nothing to do with who is not there.
        assert_eq!(net.refusals(), [""; 0]);
        let dropped = |note: &&Note| matches!(note, Note::Dropped { reason: "overflow", count: 1, .. });
        assert_eq!(net.log.notes.iter().filter(dropped).count(), 1);
        have(&mut net, reader(), &queue, "/topic/*");
        net.expect_queue(&kept.map(|body| (reader(), body, 0)));
    }
}

#[test]
fn g5_an_abandoned_one_ends() {
    let options = limited(DurableOptions { idle_expiry: Some(DAY), ..DurableOptions::default() });
    let (mut net, queue) = with_one_on(1, Net::new(2, options));
    net.advance(DAY * 2);
    net.cancel(reader(), &queue);
    net.send(alice(), &Destination::new("/topic/a"), "kept");
    net.advance(DAY / 2);
    have(&mut net, other(), &queue, "/topic/*");
    net.expect_queue(&[(other(), "kept", 0)]);
    net.cancel(other(), &queue);
    net.advance(DAY - Duration::from_secs(1));
    assert_eq!(net.queues(), 1);
    net.advance(Duration::from_secs(2));
    assert_eq!((net.queues(), net.next_due()), (0, None));
    assert!(net.log.notes.contains(&Note::Abandoned { queue: queue.clone(), count: 1 }));
    net.verdicts();
    net.send(alice(), &Destination::new("/topic/a"), "nobody's");
    assert_eq!(net.verdicts(), [Ok(0)]);

    let options = limited(DurableOptions { idle_expiry: None, ..DurableOptions::default() });
    let (mut net, queue) = with_one_on(1, Net::new(2, options));
    net.cancel(reader(), &queue);
    assert_eq!((net.queues(), net.next_due()), (1, None));
}

#[test]
fn m5_ones_own_messages_are_not_kept_if_they_are_not_wanted() {
    let mut net = Net::new(2, Options::default());
    let queue = named("x");
    attach(&mut net, reader(), &queue, "/topic/*", (true, true));
    let topic = Destination::new("/topic/a");
    net.send(reader().session, &topic, "own");
    net.send(alice(), &topic, "other's");
    net.expect_queue(&[(reader(), "other's", 0)]);
    net.cancel(reader(), &queue);
    have(&mut net, reader(), &queue, "/topic/*");
    net.log.queue.clear();
    net.publish(reader().session, Content { exclude_origin: true, ..content("/topic/a", "excluded") });
    net.publish(alice(), Content { exclude_origin: true, ..content("/topic/a", "not its own") });
    net.expect_queue(&[(reader(), "not its own", 0)]);
}

#[test]
fn m6_mandatory_is_content_with_a_durable_one() {
    let (mut net, queue) = with_one_on(1, Net::new(2, Options::default()));
    net.cancel(reader(), &queue);
    net.verdicts();
    net.publish(alice(), Content { mandatory: true, ..content("/topic/a", "x") });
    net.commit(alice(), 5, vec![Operation::Send(Content { mandatory: true, ..content("/topic/a", "y") })]);
    net.settle_down();
    assert_eq!(net.verdicts(), [Ok(1), Ok(1)]);
}

#[test]
fn u4_beside_other_subscriptions_of_the_same_pattern() {
    let mut net = Net::new(1, Options::default());
    let queue = named("x");
    let plain = subscription(session(0, 7), 0);
    let topic = Destination::new("/topic/a");
    let mine = subscription(session(0, 8), 0);
    have(&mut net, mine, &queue, "/topic/*");
    net.subscribe(plain, "/topic/*", false);
    net.verdicts();
    net.send(alice(), &topic, "both");
    net.unsubscribe(plain, "/topic/*");
    net.send(alice(), &topic, "one");
    net.subscribe(plain, "/topic/*", false);
    net.cancel(mine, &queue);
    forget(&mut net, mine.session, &queue);
    net.send(alice(), &topic, "the other");
    net.expect_topic(&[(plain, "both"), (plain, "the other")]);
    let seen: Vec<String> = net.log.queue.iter().map(|(_, delivery)| body(&delivery.message)).collect();
    assert_eq!(seen, ["both", "one"]);
    let counts: Vec<_> = net.verdicts().into_iter().flatten().filter(|count| *count > 0).collect();
    assert_eq!(counts, [2, 1, 1]);
}

#[test]
fn g3_it_is_live_when_it_is_stored() {
    for home in [0, 1] {
        let (mut net, queue) = with_one_on(home, Net::durable(2, Options::default()));
        assert_eq!(net.verdicts(), []);
        // Another one is there already, and waits too.
        have(&mut net, other(), &queue, "/topic/*");
        assert_eq!(net.refusals(), ["subscription-in-use"]);
        answer_store(&mut net, &[&format!("+1 {queue} on /topic/*")], true);
        assert_eq!(net.verdicts(), [Ok(0)]);
        // Had again it needs no storing.
        net.cancel(reader(), &queue);
        have(&mut net, other(), &queue, "/topic/*");
        assert_eq!(net.verdicts(), [Ok(0)]);
        answer_store(&mut net, &[], true);
    }
}

#[test]
fn g3_one_that_cannot_be_stored_is_refused_and_not_there() {
    let (mut net, queue) = with_one_on(1, Net::durable(2, Options::default()));
    net.send(alice(), &Destination::new("/topic/a"), "x");
    answer_store(&mut net, &[&format!("+1 {queue} on /topic/*")], false);
    assert_eq!(net.refusals(), ["store-full"]);
    // It may be there after all, so it is taken back.
    answer_store(&mut net, &["-1"], true);
    assert_eq!(net.queues(), 0);
    net.send(alice(), &Destination::new("/topic/a"), "x");
    assert_eq!(net.verdicts(), [Ok(0)]);
}

#[test]
fn g3_who_leaves_before_it_is_stored_is_answered_and_does_not_have_it() {
    let (mut net, queue) = with_one_on(0, Net::durable(2, Options::default()));
    net.cancel(reader(), &queue);
    assert_eq!(net.verdicts(), [Ok(0)]);
    answer_store(&mut net, &[&format!("+1 {queue} on /topic/*")], true);
    have(&mut net, other(), &queue, "/topic/*");
    assert_eq!(net.verdicts(), [Ok(0)]);
}

/// G3: the RECEIPT of a persistent message comes when each copy that is to be stored is.
#[test]
fn g3_q6_a_persistent_message_is_there_when_its_copies_are_stored() {
    for publisher in [0, 1] {
        for works in [true, false] {
            let mut net = Net::durable(2, Options::default());
            let queues: Vec<Destination> = [0, 1]
                .map(|home| {
                    let mut names = (0..).map(|number: u32| named(&number.to_string()));
                    names.find(|name| net.lives_on(name, home)).expect("names do not end")
                })
                .into();
            let readers = [reader(), other()];
            for (queue, reader) in queues.iter().zip(readers) {
                have(&mut net, reader, queue, "/topic/*");
            }
            let bound = [0, 1].map(|place| format!("+{} {} on /topic/*", place + 1, queues[place]));
            answer_store(&mut net, &[&bound[0], &bound[1]], true);
            net.verdicts();
            let topic = Destination::new("/topic/a");
            net.publish(session(publisher, 1), persistent(&topic, "safe"));
            net.expect_queue(&[]);
            assert_eq!(net.verdicts(), []);
            answer_store(&mut net, &["+3 safe, mark", "+4 safe, mark"], works);
            if works {
                assert_eq!(net.verdicts(), [Ok(2)]);
                net.log.queue.sort_by_key(|(to, _)| *to);
                net.expect_queue(&[(other(), "safe", 0), (reader(), "safe", 0)]);
            } else {
                assert_eq!(net.refusals(), ["store-full"]);
                net.expect_queue(&[]);
            }
            // What needs no storing waits for none.
            net.send(session(publisher, 1), &topic, "quick");
            assert_eq!(net.verdicts(), [Ok(2)]);
            answer_store(&mut net, &[], true);
        }
    }
}

#[test]
fn q7_g3_a_commit_waits_for_the_copies_of_its_topics() {
    let (mut net, queue) = with_one_on(1, Net::durable(2, Options::default()));
    answer_store(&mut net, &[&format!("+1 {queue} on /topic/*")], true);
    net.verdicts();
    let topic = Destination::new("/topic/a");
    let sends = ["one", "two"].map(|body| Operation::Send(persistent(&topic, body)));
    net.commit(alice(), 5, sends.into());
    net.settle_down();
    assert_eq!(net.verdicts(), []);
    answer_store(&mut net, &["+2 one, mark", "+3 two"], true);
    assert_eq!(net.verdicts(), [Ok(2)]);
    net.expect_queue(&[(reader(), "one", 0), (reader(), "two", 0)]);
}

#[test]
fn a_failure_is_told_to_who_waits_for_no_receipt_too() {
    let (mut net, queue) = with_one_on(1, Net::durable(2, Options::default()));
    answer_store(&mut net, &[&format!("+1 {queue} on /topic/*")], true);
    net.verdicts();
    let content = persistent(&Destination::new("/topic/a"), "x");
    net.offer(alice(), content, None);
    net.settle_down();
    answer_store(&mut net, &["+2 x, mark"], false);
    assert_eq!(net.refusals(), ["store-full"]);
}

#[test]
fn g3_forgetting_is_done_when_it_is_stored_and_leaves_nothing_behind() {
    let (mut net, queue) = with_one_on(1, Net::durable(2, Options::default()));
    answer_store(&mut net, &[&format!("+1 {queue} on /topic/*")], true);
    let topic = Destination::new("/topic/a");
    for body in ["handed out", "handed out too", "ready"] {
        net.publish(alice(), persistent(&topic, body));
    }
    answer_store(&mut net, &["+2 handed out, mark", "+3 handed out too", "+4 ready"], true);
    net.cancel(reader(), &queue);
    net.verdicts();
    net.publish(alice(), persistent(&topic, "on its way"));
    forget(&mut net, reader().session, &queue);
    // Who sent it has not to wait for what is gone.
    assert_eq!(net.verdicts(), [Ok(0)]);
    let stores = std::mem::take(&mut net.log.stores);
    let deleted: Vec<String> = stores[1].2.iter().map(|change| format!("{change:?}")).collect();
    assert_eq!((stores.len(), deleted.len()), (2, 6), "the mark goes too: {deleted:?}");
    assert!((1..=5).all(|sequence| deleted.contains(&format!("Delete {{ sequence: {sequence} }}"))), "{deleted:?}");
    for (worker, ticket, _) in stores {
        net.run(worker, Command::Stored { ticket, result: Ok(()) });
    }
    assert_eq!(net.verdicts(), [Ok(0)]);
    assert_eq!(net.queues(), 0);
}

fn rebind(net: &mut Net, queue: &Destination, topic: &str, sequence: u64) {
    let command = Command::Rebind { queue: queue.clone(), topic: topic.to_owned().into(), sequence };
    net.run(WorkerId(0), command);
}

fn restore(net: &mut Net, queue: &Destination, topic: &str, sequence: u64) {
    let id = MessageId { boot: 1, worker: WorkerId(0), sequence };
    let content = persistent(&Destination::new(topic.to_owned()), &format!("m{sequence}"));
    let message = Arc::new(Message { id, origin: session(0, 0), content });
    net.run(WorkerId(0), Command::Restore { queue: queue.clone(), message, sequence, history: History::default() });
}

#[test]
fn q6_it_comes_back_with_what_it_kept() {
    let mut net = Net::durable(1, Options::default());
    let queue = named("x");
    let mine = subscription(session(0, 8), 0);
    rebind(&mut net, &queue, "/topic/*", 10);
    restore(&mut net, &queue, "/topic/a", 11);
    answer_store(&mut net, &[], true);
    net.publish(alice(), content("/topic/b", "new"));
    have(&mut net, mine, &queue, "/topic/*");
    answer_store(&mut net, &["mark"], true);
    net.expect_queue(&[(mine, "m11", 0), (mine, "new", 0)]);
    // What came for one that had ended is of no use.
    restore(&mut net, &named("ended"), "/topic/a", 12);
    answer_store(&mut net, &["-12"], true);
    // What it was on is no topic any more: its client can have something else under its name.
    let lost = named("lost");
    rebind(&mut net, &lost, "/gone/a", 13);
    assert!(net.log.notes.contains(&Note::Unbound(lost.clone())));
    net.verdicts();
    have(&mut net, other(), &lost, "/topic/b");
    answer_store(&mut net, &["-13", &format!("+1 {lost} on /topic/b")], true);
    assert_eq!(net.verdicts(), [Ok(0)]);
}

#[test]
fn names_of_others_queues_lead_nowhere() {
    let (mut net, queue) = with_one_on(0, Net::new(2, Options::default()));
    net.verdicts();
    net.send(alice(), &queue, "x");
    assert_eq!(net.verdicts(), [Err(Refusal::UnknownDestination(queue.text().clone()))]);
    net.expect_queue(&[]);
}
