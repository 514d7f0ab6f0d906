//! P6: queues that are gone with their last consumer, and with what is in them.

use std::time::Duration;

use gumboot::broker::{Change, Command, Options, QueueOptions, QueuePolicy};
use gumboot::destination::Destination;
use gumboot::message::{Content, Operation, Outcome, SessionId, SubscriberId, Terms};

use crate::harness::{Net, content, pattern, session, subscription};

fn alice() -> SessionId {
    session(0, 1)
}

fn reader(worker: u16) -> SubscriberId {
    subscription(session(worker, 2), 0)
}

fn with_policy() -> Options {
    let options = QueueOptions { auto_delete: true, ..QueueOptions::default() };
    Options { queue_policies: vec![QueuePolicy { pattern: pattern("/queue/**"), options }], ..Options::default() }
}

/// A queue of this home with three messages, and a consumer that has one of them.
fn consumed(net: &mut Net, home: u16, by_header: bool) -> Destination {
    let queue = net.queue_on(home, 0);
    net.send(alice(), &queue, "a");
    assert_eq!(net.queues(), 1, "never before it had a consumer");
    match by_header {
        true => net.consume_to_the_end(reader(1), &queue, 1),
        false => net.consume(reader(1), &queue, 1, false),
    }
    net.send(alice(), &queue, "b");
    net.send(alice(), &queue, "c");
    queue
}

#[test]
fn it_ends_with_its_last_consumer() {
    for (home, by_header) in [(0, false), (0, true), (1, false), (1, true)] {
        let mut net = Net::new(2, if by_header { Options::default() } else { with_policy() });
        let queue = consumed(&mut net, home, by_header);
        net.consume(reader(0), &queue, 1, false);
        net.cancel(reader(1), &queue);
        net.expect_queue(&[(reader(1), "a", 0), (reader(0), "b", 0)]);
        assert_eq!(net.queue_stats(&queue).map(|stats| stats.messages), Some(3), "there is one consumer still");
        net.cancel(reader(0), &queue);
        assert_eq!((net.queues(), net.next_due()), (0, None));
        net.consume(reader(0), &queue, 9, false);
        net.expect_queue(&[]);
    }
}

#[test]
fn what_is_for_one_client_does_not_wait_for_it_for_ever() {
    let minute = Duration::from_secs(60);
    let terms = Terms { is_relayed: true, ..Terms::default() };
    let relayed =
        |queue: &Destination| Content { terms: Some(Box::new(terms.clone())), ..content(queue.as_str(), "a") };
    for home in [0, 1] {
        let mut net = Net::new(2, Options::default());
        let queue = net.queue_on(home, 0);
        net.publish(alice(), relayed(&queue));
        net.publish(alice(), relayed(&queue));
        net.advance(minute - Duration::from_millis(1));
        assert_eq!(net.queue_stats(&queue).map(|stats| stats.messages), Some(2));
        net.advance(Duration::from_millis(1));
        assert_eq!((net.queues(), net.next_due()), (0, None), "nobody came");
        net.publish(alice(), relayed(&queue));
        net.consume(reader(1), &queue, 1, false);
        net.advance(minute);
        assert_eq!(net.queue_stats(&queue).map(|stats| stats.messages), Some(1), "somebody came who says nothing");
        net.cancel(reader(1), &queue);
        assert_eq!(net.queue_stats(&queue).map(|stats| stats.messages), Some(1));
        net.consume_to_the_end(reader(1), &queue, 1);
        net.cancel(reader(1), &queue);
        assert_eq!(net.queues(), 0, "somebody came as was expected");
        net.publish(alice(), relayed(&queue));
        net.send(alice(), &queue, "for all");
        net.advance(minute);
        assert_eq!(net.queue_stats(&queue).map(|stats| stats.messages), Some(2), "it is not for one client alone");
    }
}

#[test]
fn a_queue_of_which_nobody_says_so_stays() {
    let mut net = Net::new(2, Options::default());
    let queue = net.queue_on(0, 0);
    net.consume(reader(1), &queue, 1, false);
    net.send(alice(), &queue, "a");
    net.cancel(reader(1), &queue);
    assert_eq!(net.queue_stats(&queue).map(|stats| stats.messages), Some(1));
}

#[test]
fn messages_that_wait_for_their_delay_go_too() {
    let mut net = Net::new(1, with_policy());
    let queue = net.queue_on(0, 0);
    let id = subscription(alice(), 0);
    net.consume(id, &queue, 2, false);
    net.send(alice(), &queue, "a");
    let tag = net.expect_queue(&[(id, "a", 0)]);
    net.settle(alice(), tag[0], Outcome::Rejected);
    assert!(net.next_due().is_some());
    net.cancel(id, &queue);
    assert_eq!((net.queues(), net.next_due()), (0, None));
}

#[test]
fn q7_a_transaction_that_settles_or_sends_keeps_it_until_it_is_over() {
    let mut net = Net::new(2, with_policy());
    let (queue, other) = (net.queue_on(0, 0), net.queue_on(1, 0));
    let id = subscription(alice(), 0);
    net.consume(id, &queue, 1, false);
    net.send(alice(), &queue, "a");
    let tag = net.expect_queue(&[(id, "a", 0)])[0];
    let send = |queue: &Destination, body: &str| Operation::Send(content(queue.as_str(), body));
    let settle = Operation::Settle([tag].into(), Outcome::Consumed);
    net.verdicts();
    net.commit(alice(), 5, vec![settle, send(&queue, "b"), send(&other, "c")]);
    net.give(alice().worker, Command::Cancel { consumer: id, queue: queue.clone(), ticket: None });
    assert!(net.queue_stats(&queue).is_some());
    net.settle_down();
    assert_eq!(net.verdicts(), [Ok(2)]);
    assert!(net.queue_stats(&queue).is_none());
}

/// What was stored before there was a consumer must not come back; what comes after is not stored.
#[test]
fn the_store_forgets_it_too() {
    let terms = Terms { persistent: true, ..Terms::default() };
    let mut net = Net::durable(2, with_policy());
    let queue = net.queue_on(0, 0);
    let persistent = |body| Content { terms: Some(Box::new(terms.clone())), ..content(queue.as_str(), body) };
    let (id, mut asked) = (reader(1), Vec::new());
    for (body, with_consumer) in [("a", false), ("b", true)] {
        if with_consumer {
            net.consume(id, &queue, 1, false);
        }
        net.publish(alice(), persistent(body));
        for (worker, ticket, changes) in std::mem::take(&mut net.log.stores) {
            asked.extend(changes);
            net.run(worker, Command::Stored { ticket, result: Ok(()) });
        }
    }
    net.expect_queue(&[(id, "a", 0)]);
    net.cancel(id, &queue);
    assert_eq!(net.queues(), 0);
    asked.extend(std::mem::take(&mut net.log.stores).into_iter().flat_map(|(_, _, changes)| changes));
    // The mark of how far it was handed out goes with it.
    let is_as_wanted = matches!(
        asked[..],
        [
            Change::Append { sequence: 1, .. },
            Change::Mark { up_to: 1.., .. },
            Change::Delete { sequence: 1 },
            Change::Mark { up_to: 0, .. }
        ]
    );
    assert!(is_as_wanted, "{asked:?}");
}

/// A message on its way to the disk when its queue's consumer leaves: its sender is answered all the same.
#[test]
fn g3_who_waits_for_the_store_is_answered() {
    let terms = Terms { persistent: true, ..Terms::default() };
    let mut net = Net::durable(1, with_policy());
    let queue = net.queue_on(0, 0);
    let id = subscription(session(0, 2), 0);
    net.publish(alice(), Content { terms: Some(Box::new(terms)), ..content(queue.as_str(), "a") });
    net.consume(id, &queue, 1, false);
    net.cancel(id, &queue);
    net.verdicts();
    for (worker, ticket, _) in std::mem::take(&mut net.log.stores) {
        net.run(worker, Command::Stored { ticket, result: Ok(()) });
    }
    assert_eq!(net.verdicts(), [Ok(1)]);
    assert_eq!(net.queues(), 0);
}
