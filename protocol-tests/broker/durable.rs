//! Q6, Q7, G3: what must outlive the process waits for the store, which the tests play.

use std::sync::Arc;
use std::time::Duration;

use gumboot::broker::{Change, Command, History, Options, QueueOptions, UNAWAITED};
use gumboot::destination::Destination;
use gumboot::message::{
    Content, Message, MessageId, Moment, Operation, Outcome, Refusal, SessionId, SubscriberId, Terms, WorkerId,
};

use crate::harness::{Net, START_EPOCH_MS, content, session, subscription};

fn alice() -> SessionId {
    session(0, 1)
}

fn reader() -> SubscriberId {
    subscription(session(1, 2), 0)
}

pub(crate) fn persistent(to: &Destination, body: &str) -> Content {
    let terms = Terms { persistent: true, ..Terms::default() };
    Content { terms: Some(Box::new(terms)), ..content(to.as_str(), body) }
}

/// What the shards ask of the store, in words, and who is to hear of it.
pub(crate) fn asked(net: &mut Net) -> (Vec<String>, Vec<(WorkerId, u64)>) {
    let stores = std::mem::take(&mut net.log.stores);
    let word = |change: &Change| match change {
        Change::Append { sequence, message, .. } => {
            format!("+{sequence} {}", String::from_utf8_lossy(&message.content.body))
        }
        Change::Bind { sequence, queue, topic, .. } => format!("+{sequence} {queue} on {topic}"),
        Change::State { sequence, redeliveries, refused, not_before } => match not_before.checked_sub(START_EPOCH_MS) {
            Some(wait) => format!("={sequence} {redeliveries} {refused} +{wait}"),
            None => format!("={sequence} {redeliveries} {refused}"),
        },
        Change::Delete { sequence } => format!("-{sequence}"),
        Change::Mark { queue: _, up_to: 0 } => "no mark".to_owned(),
        Change::Mark { queue: _, up_to: _ } => "mark".to_owned(),
    };
    let words = stores.iter().map(|(_, _, changes)| changes.iter().map(word).collect::<Vec<_>>().join(", "));
    let awaited = stores.iter().filter(|(_, ticket, _)| *ticket != UNAWAITED);
    (words.collect(), awaited.map(|(worker, ticket, _)| (*worker, *ticket)).collect())
}

/// Checks what is asked of the store, and answers that it is done, or that it cannot be.
#[track_caller]
pub(crate) fn answer_store(net: &mut Net, expected: &[&str], works: bool) {
    let (words, awaited) = asked(net);
    assert_eq!(words, expected);
    for (worker, ticket) in awaited {
        let refusal = Refusal::NotStored { code: "store-full", why: "the disk is full".into() };
        let result = if works { Ok(()) } else { Err(refusal) };
        net.run(worker, Command::Stored { ticket, result });
    }
}

#[test]
fn q6_a_message_is_there_when_it_is_stored_and_what_follows_waits() {
    for home in [0, 1] {
        let mut net = Net::durable(2, Options::default());
        let queue = net.queue_on(home, 0);
        net.consume(reader(), &queue, 9, false);
        net.verdicts();
        net.publish(alice(), persistent(&queue, "one"));
        net.send(alice(), &queue, "two");
        net.publish(alice(), persistent(&queue, "three"));
        net.expect_queue(&[]);
        assert_eq!(net.verdicts(), []);
        answer_store(&mut net, &["+1 one, mark", "+2 three"], true);
        net.expect_queue(&[(reader(), "one", 0), (reader(), "two", 0), (reader(), "three", 0)]);
        assert_eq!(net.verdicts(), [Ok(1), Ok(1), Ok(1)]);
        net.send(alice(), &queue, "four");
        net.expect_queue(&[(reader(), "four", 0)]);
    }
}

#[test]
fn q6_what_the_store_does_not_take_is_refused_and_leaves_no_trace() {
    let options = QueueOptions { max_messages: 2, ..QueueOptions::default() };
    let mut net = Net::durable(1, Options { queues: options, ..Options::default() });
    let queue = net.queue_on(0, 0);
    net.publish(alice(), persistent(&queue, "one"));
    net.publish(alice(), persistent(&queue, "two"));
    net.publish(alice(), persistent(&queue, "three"));
    assert_eq!(net.refusals(), ["queue-full"]);
    answer_store(&mut net, &["+1 one", "+2 two"], false);
    assert_eq!(net.refusals(), ["store-full", "store-full"]);
    assert_eq!(net.queues(), 0);
    net.send(alice(), &queue, "four");
    assert_eq!(net.verdicts(), [Ok(1)]);
}

#[test]
fn g3_a_settlement_is_done_when_it_is_stored() {
    let options = QueueOptions { durable: true, ..QueueOptions::default() };
    let mut net = Net::durable(2, Options { queues: options, ..Options::default() });
    let queue = net.queue_on(0, 0);
    net.consume(reader(), &queue, 9, false);
    net.send(alice(), &queue, "one");
    net.send(alice(), &queue, "two");
    answer_store(&mut net, &["+1 one, mark", "+2 two"], true);
    let tags = net.expect_queue(&[(reader(), "one", 0), (reader(), "two", 0)]);
    net.verdicts();
    let ticket = Some(gumboot::message::Ticket(5));
    let settle = Command::Settle { session: reader().session, tags: tags.into(), outcome: Outcome::Consumed, ticket };
    net.run(reader().session.worker, settle);
    assert_eq!(net.verdicts(), []);
    answer_store(&mut net, &["-1, -2"], true);
    assert_eq!(net.verdicts(), [Ok(0)]);
    net.send(alice(), &queue, "three");
    answer_store(&mut net, &["+3 three"], true);
    let tags = net.expect_queue(&[(reader(), "three", 0)]);
    net.settle(reader().session, tags[0], Outcome::Rejected);
    answer_store(&mut net, &["=3 1 1 +1000"], true);
}

#[test]
fn q5_a_dead_letter_is_stored_before_its_source_is_forgotten() {
    for (home, accepts) in [(0, true), (0, false), (1, true), (1, false)] {
        let mut options = QueueOptions::default();
        let letters = Net::durable(2, Options::default()).queue_on(0, 0);
        options.dead_letter = Some(letters.clone());
        let mut net = Net::durable(2, Options { queues: options, ..Options::default() });
        let queue = net.queue_on(home, 1);
        net.consume(reader(), &queue, 9, false);
        net.publish(alice(), persistent(&queue, "one"));
        answer_store(&mut net, &["+1 one, mark"], true);
        let tags = net.expect_queue(&[(reader(), "one", 0)]);
        net.settle(reader().session, tags[0], Outcome::Discarded);
        answer_store(&mut net, &["+2 one, -1"], accepts);
        let expected: &[&str] = if accepts { &["-1"] } else { &[] };
        answer_store(&mut net, expected, true);
        assert_eq!(net.queue_stats(&letters).map(|stats| stats.ready), accepts.then_some(1), "{home} {accepts}");
        assert_eq!(net.queue_stats(&queue).map(|stats| stats.messages), Some(usize::from(!accepts)));
    }
}

#[test]
fn q7_a_transaction_over_several_homes_is_stored_at_once() {
    for works in [true, false] {
        let mut net = Net::durable(3, Options::default());
        let queues = [0, 1, 2].map(|worker| net.queue_on(worker, 0));
        for queue in &queues {
            net.consume(reader(), queue, 9, false);
        }
        net.publish(alice(), persistent(&queues[1], "old"));
        answer_store(&mut net, &["+1 old, mark"], true);
        let tags = net.expect_queue(&[(reader(), "old", 0)]);
        net.verdicts();
        let mut operations: Vec<Operation> =
            queues[..2].iter().map(|queue| Operation::Send(persistent(queue, "new"))).collect();
        operations.push(Operation::Send(content(queues[2].as_str(), "light")));
        operations.push(Operation::Settle(tags.into(), Outcome::Consumed));
        net.commit(reader().session, 5, operations);
        net.settle_down();
        net.expect_queue(&[]);
        assert_eq!(net.verdicts(), []);
        let (words, awaited) = asked(&mut net);
        assert_eq!(words, ["mark", "+2 new, -1, +3 new"], "two messages and a settlement in one submission");
        let refusal = Refusal::NotStored { code: "store-full", why: "the disk is full".into() };
        let result = if works { Ok(()) } else { Err(refusal) };
        net.run(awaited[0].0, Command::Stored { ticket: awaited[0].1, result: Ok(()) });
        net.run(awaited[1].0, Command::Stored { ticket: awaited[1].1, result });
        let came = std::mem::take(&mut net.log.queue).len();
        assert_eq!(came, if works { 3 } else { 0 });
        assert_eq!(net.verdicts().into_iter().map(|verdict| verdict.ok()).collect::<Vec<_>>(), [works.then_some(3)]);
        assert_eq!(net.queue_stats(&queues[1]).map(|stats| stats.messages), Some(1), "the new one, or the old one");
        assert_eq!(asked(&mut net).0, [""; 0], "nothing is said twice");
    }
}

fn restored(net: &mut Net, queue: &Destination, sequence: u64, body: &str, expires: Option<u64>, refused: u32) {
    let history = History { redeliveries: refused, refused, ..History::default() };
    let terms = Terms { expires: expires.map(Moment::At), persistent: true, ..Terms::default() };
    let content = Content { terms: Some(Box::new(terms)), ..content(queue.as_str(), body) };
    let id = MessageId { boot: 1, worker: WorkerId(0), sequence };
    let message = Arc::new(Message { id, origin: session(0, 0), content });
    net.run(WorkerId(0), Command::Restore { queue: queue.clone(), message, sequence, history });
}

#[test]
fn q6_what_was_stored_comes_back_in_order_with_what_it_has_been_through() {
    let options = QueueOptions { max_messages: 1, dead_letter: None, ..QueueOptions::default() };
    let mut net = Net::durable(1, Options { queues: options, ..Options::default() });
    let queue = net.queue_on(0, 0);
    net.run(WorkerId(0), Command::RestoreMark { queue: queue.clone(), up_to: 4 });
    restored(&mut net, &queue, 3, "one", None, 0);
    restored(&mut net, &queue, 5, "late", Some(START_EPOCH_MS - 1), 0);
    restored(&mut net, &queue, 7, "two", None, 4);
    restored(&mut net, &queue, 8, "three", None, 0);
    restored(&mut net, &queue, 9, "brief", Some(START_EPOCH_MS + 1000), 0);
    answer_store(&mut net, &[], true);
    net.run(WorkerId(0), Command::Restored);
    answer_store(&mut net, &["-5"], true);
    net.advance(Duration::from_secs(2));
    answer_store(&mut net, &["-9"], true);
    net.consume(reader_here(), &queue, 9, false);
    // Nobody knows whether the first one was handed out; the others wait until it is known that they may have been.
    let tags = net.expect_queue(&[(reader_here(), "one", 1)]);
    answer_store(&mut net, &["mark"], true);
    net.expect_queue(&[(reader_here(), "two", 4), (reader_here(), "three", 0)]);
    net.settle(reader_here().session, tags[0], Outcome::Consumed);
    answer_store(&mut net, &["-3"], true);
}

fn reader_here() -> SubscriberId {
    subscription(session(0, 2), 0)
}

/// A full disk takes no mark either: handing out goes on, since it makes room, and the next message brings the mark again.
#[test]
fn q6_a_mark_that_was_not_stored_comes_with_the_next_message() {
    let mut net = Net::durable(1, Options::default());
    let queue = net.queue_on(0, 0);
    net.publish(alice(), persistent(&queue, "one"));
    answer_store(&mut net, &["+1 one"], true);
    net.consume(reader_here(), &queue, 9, false);
    answer_store(&mut net, &["mark"], false);
    net.expect_queue(&[(reader_here(), "one", 0)]);
    net.publish(alice(), persistent(&queue, "two"));
    answer_store(&mut net, &["+2 two, mark"], false);
    net.publish(alice(), persistent(&queue, "three"));
    answer_store(&mut net, &["+3 three, mark"], true);
    net.publish(alice(), persistent(&queue, "four"));
    answer_store(&mut net, &["+4 four"], true);
    net.expect_queue(&[(reader_here(), "three", 0), (reader_here(), "four", 0)]);
}

/// M2: a mark that was refused with its message is no leave to hand out others beyond what the store knows.
#[test]
fn m2_a_refused_mark_is_asked_for_again_by_who_needs_it() {
    for works in [true, false] {
        let mut net = Net::durable(2, Options::default());
        let queue = net.queue_on(1, 0);
        net.publish(alice(), persistent(&queue, "one"));
        answer_store(&mut net, &["+1 one"], true);
        // A consumer who does not take it, so that a message brings a mark.
        net.consume(subscription(alice(), 0), &queue, 9, true);
        net.publish(alice(), persistent(&queue, "two"));
        answer_store(&mut net, &["+2 two, mark"], false);
        net.consume(reader(), &queue, 9, false);
        net.expect_queue(&[]);
        // If there is no room for it alone either, handing out must go on.
        answer_store(&mut net, &["mark"], works);
        net.expect_queue(&[(reader(), "one", 0)]);
        // What may be known, or become known, is forgotten when it is of no use.
        let mut disk = crate::harness::Disk::default();
        net.close(&mut disk);
        assert!(disk.messages.is_empty() && !disk.marks.contains_key(&queue));
    }
}
