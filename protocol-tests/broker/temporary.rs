//! Temporary queues: there while their session consumes, and nobody else's business.

use std::time::Duration;

use gumboot::broker::Options;
use gumboot::destination::Destination;
use gumboot::message::{Content, Operation, Refusal, SessionId};

use crate::harness::{BOOT, Net, content, session, subscription};

fn queue_of(owner: SessionId) -> Destination {
    Destination::new(format!("/temp-queue/@{}/answers", owner.name(BOOT)))
}

#[test]
fn it_lives_with_its_session_and_only_while_that_consumes() {
    for worker in 0..3 {
        let mut net = Net::new(3, Options::default());
        let (owner, other) = (session(worker, 5), session(2, 9));
        let (queue, consumer) = (queue_of(owner), subscription(owner, 0));
        net.send(other, &queue, "too early");
        assert_eq!((net.verdicts(), net.queues()), (vec![Ok(0)], 0));
        net.consume(consumer, &queue, 1, false);
        assert_eq!(net.shard(owner.worker).stats().queues, 1);
        for body in ["a", "b"] {
            net.send(other, &queue, body);
        }
        net.expect_queue(&[(consumer, "a", 0)]);
        net.cancel(consumer, &queue);
        assert_eq!((net.queues(), net.next_due()), (0, None));
        net.verdicts();
        net.publish(other, Content { mandatory: true, ..content(queue.as_str(), "too late") });
        assert_eq!(net.verdicts(), [Err(Refusal::Unroutable(queue.text().clone()))]);
        net.consume(consumer, &queue, 1, false);
        net.expect_queue(&[]);
    }
}

#[test]
fn u6_a_replaced_consumer_is_gone_before_the_new_one_gets_more() {
    for worker in 0..3 {
        let mut net = Net::new(3, Options::default());
        let (owner, other) = (session(worker, 5), session(2, 9));
        for queue in [queue_of(owner), net.queue_on(0, 0)] {
            let (first, second) = (subscription(owner, 0), subscription(owner, 1));
            net.consume(first, &queue, 1, false);
            for body in ["a", "b", "c"] {
                net.send(other, &queue, body);
            }
            net.expect_queue(&[(first, "a", 0)]);
            net.replace(second, first.subscription, &queue, 2);
            net.expect_queue(&[(second, "a", 1), (second, "b", 0)]);
            assert_eq!(net.queue_stats(&queue).expect("it has a consumer").consumers, 1);
        }
    }
}

#[test]
fn names_of_nobody_lead_nowhere() {
    let mut net = Net::new(2, Options::default());
    let sender = session(0, 9);
    let before = session(0, 5).name(BOOT - 1);
    for owner in ["", "1-2-3", &before, &session(7, 5).name(BOOT)] {
        net.send(sender, &Destination::new(format!("/temp-queue/@{owner}/x")), "a");
        assert_eq!(net.verdicts(), [Ok(0)], "{owner}");
    }
    assert_eq!(net.queues(), 0);
}

#[test]
fn q7_a_transaction_may_answer_who_is_gone() {
    let mut net = Net::new(2, Options::default());
    let (owner, answering) = (session(0, 5), session(1, 9));
    let (queue, consumer) = (queue_of(owner), subscription(owner, 0));
    let send = |body: &str| Operation::Send(content(queue.as_str(), body));
    net.commit(answering, 1, vec![send("gone")]);
    net.settle_down();
    net.consume(consumer, &queue, 9, false);
    net.commit(answering, 2, vec![send("there")]);
    net.settle_down();
    net.expect_queue(&[(consumer, "there", 0)]);
    // Its session ends between the two phases.
    net.commit(answering, 3, vec![send("half way")]);
    net.step(0);
    net.cancel(consumer, &queue);
    net.settle_down();
    net.advance(Duration::from_secs(1));
    assert_eq!(net.queues(), 0);
    let strict = Operation::Send(Content { mandatory: true, ..content(queue.as_str(), "x") });
    net.verdicts();
    net.commit(answering, 4, vec![strict]);
    net.settle_down();
    assert_eq!(net.refusals(), ["unroutable"]);
}
