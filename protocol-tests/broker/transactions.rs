//! Q7: transactions over topics and queues of several workers apply as a whole or not at all.

use std::time::Duration;

use gumboot::broker::{Options, QueueOptions};
use gumboot::message::{Content, Operation, Outcome, Refusal, SessionId};

use crate::harness::{Net, content, session, subscription};

fn alice() -> SessionId {
    session(0, 1)
}

fn small_queues() -> Options {
    Options { queues: QueueOptions { max_messages: 2, ..QueueOptions::default() }, ..Options::default() }
}

fn send(to: &gumboot::destination::Destination, body: &str) -> Operation {
    Operation::Send(content(to.as_str(), body))
}

#[test]
fn q7_everything_takes_effect_together_and_in_order() {
    let mut net = Net::new(3, Options::default());
    let queues = [0, 1, 2].map(|worker| net.queue_on(worker, 0));
    let reader = subscription(session(1, 2), 0);
    let topic = subscription(session(2, 3), 0);
    for queue in &queues {
        net.consume(reader, queue, 9, false);
    }
    net.subscribe(topic, "/topic/a", false);
    net.verdicts();
    let mut operations: Vec<Operation> =
        queues.iter().flat_map(|queue| [send(queue, "one"), send(queue, "two")]).collect();
    operations.push(Operation::Send(content("/topic/a", "t1")));
    operations.push(Operation::Send(content("/topic/a", "t2")));
    net.commit(alice(), 5, operations);
    net.expect_queue(&[]);
    net.expect_topic(&[]);
    net.settle_down();
    assert_eq!(net.verdicts(), [Ok(8)]);
    let each: Vec<_> = [0, 1, 2].iter().flat_map(|_| [(reader, "one", 0), (reader, "two", 0)]).collect();
    net.expect_queue(&each);
    net.expect_topic(&[(topic, "t1"), (topic, "t2")]);
    assert_eq!(net.shard(alice().worker).stats().commits, 0);
}

#[test]
fn q7_one_full_queue_refuses_all_of_it() {
    for (full, home) in [(0, 1), (1, 2), (2, 0)] {
        let mut net = Net::new(3, small_queues());
        let (full, fine) = (net.queue_on(full, 0), net.queue_on(home, 1));
        net.send(session(1, 9), &full, "in the way");
        net.subscribe(subscription(alice(), 0), "/topic/a", false);
        net.verdicts();
        let topic = Operation::Send(content("/topic/a", "t"));
        let operations = vec![topic, send(&fine, "one"), send(&full, "two"), send(&full, "three")];
        net.commit(alice(), 5, operations.clone());
        net.settle_down();
        assert_eq!(net.refusals(), ["queue-full"]);
        net.expect_topic(&[]);
        assert_eq!(net.queue_stats(&fine), None, "nothing of it is left");
        let reader = subscription(alice(), 1);
        net.consume(reader, &full, 1, false);
        let tags = net.expect_queue(&[(reader, "in the way", 0)]);
        net.settle(alice(), tags[0], Outcome::Consumed);
        net.verdicts();
        net.commit(alice(), 6, operations);
        net.settle_down();
        assert_eq!(net.verdicts(), [Ok(4)], "what was reserved is free again");
    }
}

#[test]
fn q7_what_is_reserved_is_not_given_to_others() {
    let mut net = Net::new(2, small_queues());
    let queue = net.queue_on(1, 0);
    net.commit(alice(), 5, vec![send(&queue, "one"), send(&queue, "two")]);
    assert!(net.step(0), "the home prepares");
    net.offer(session(1, 2), content(queue.as_str(), "three"), None);
    assert_eq!(net.refusals(), ["queue-full"]);
    net.settle_down();
    assert_eq!(net.verdicts(), [Ok(2)]);
    assert_eq!(net.queue_stats(&queue).map(|stats| stats.messages), Some(2));
}

#[test]
fn q7_a_refusal_known_beforehand_refuses_all_of_it() {
    let mut net = Net::new(2, Options::default());
    let queue = net.queue_on(1, 0);
    let mandatory = Content { mandatory: true, ..content("/topic/nobody", "x") };
    net.commit(alice(), 5, vec![send(&queue, "one"), Operation::Send(mandatory)]);
    net.commit(alice(), 6, vec![send(&queue, "one"), Operation::Send(content("/nowhere", "x"))]);
    net.settle_down();
    let unknown = Refusal::UnknownDestination("/nowhere".into());
    assert_eq!(net.verdicts(), [Err(Refusal::Unroutable("/topic/nobody".into())), Err(unknown)]);
    assert_eq!(net.queues(), 0);
    net.commit(alice(), 7, Vec::new());
    assert_eq!(net.verdicts(), [Ok(0)]);
}

#[test]
fn q7_settlements_apply_with_the_rest_even_if_the_session_ends_meanwhile() {
    for (refused, home) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let mut net = Net::new(3, small_queues());
        let (input, output) = (net.queue_on(home, 0), net.queue_on(2, 0));
        let reader = subscription(alice(), 0);
        net.consume(reader, &input, 1, false);
        net.send(session(1, 9), &input, "job");
        if refused {
            net.send(session(1, 9), &output, "in the way");
            net.send(session(1, 9), &output, "in the way");
        }
        let tags = net.expect_queue(&[(reader, "job", 0)]);
        net.verdicts();
        net.commit(alice(), 5, vec![Operation::Settle(tags.into(), Outcome::Consumed), send(&output, "result")]);
        let (consumer, queue) = (reader, input.clone());
        net.give(alice().worker, gumboot::broker::Command::Cancel { consumer, queue, ticket: None });
        net.settle_down();
        assert_eq!(net.verdicts().first().is_some_and(Result::is_err), refused);
        let later = subscription(session(1, 4), 0);
        net.consume(later, &input, 1, false);
        let expected: &[_] = if refused { &[(later, "job", 1)] } else { &[] };
        net.expect_queue(expected);
    }
}

#[test]
fn q7_a_refused_commit_leaves_deliveries_with_their_consumer() {
    let mut net = Net::new(2, small_queues());
    let (input, output) = (net.queue_on(1, 0), net.queue_on(0, 0));
    let reader = subscription(alice(), 0);
    net.consume(reader, &input, 1, false);
    net.send(alice(), &input, "job");
    let tags = net.expect_queue(&[(reader, "job", 0)]);
    net.commit(
        alice(),
        5,
        vec![Operation::Settle(tags.clone().into(), Outcome::Rejected), send(&input, "x"), send(&input, "y")],
    );
    net.settle_down();
    net.advance(Duration::from_secs(600));
    net.expect_queue(&[]);
    net.commit(alice(), 6, vec![Operation::Settle(tags.into(), Outcome::Rejected), send(&output, "x")]);
    net.settle_down();
    net.advance(Duration::from_secs(1));
    net.expect_queue(&[(reader, "job", 1)]);
}

#[test]
fn q7_transactions_that_wait_are_limited() {
    let mut net = Net::new(2, Options { max_commits: 2, ..Options::default() });
    let (near, far) = (net.queue_on(0, 0), net.queue_on(1, 0));
    for ticket in 0..3 {
        net.commit(alice(), ticket, vec![send(&far, "x")]);
    }
    assert_eq!(net.refusals(), ["too-many-commits"]);
    net.commit(alice(), 3, vec![send(&near, "x")]);
    assert_eq!(net.verdicts(), [Ok(1)], "a transaction that waits for nobody is not limited");
    net.settle_down();
    assert_eq!(net.verdicts(), [Ok(1), Ok(1)]);
}
