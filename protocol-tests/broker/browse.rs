//! Looking at what waits in a queue, without taking it.

use std::time::Duration;

use gumboot::broker::{Options, QueueOptions, QueuePolicy};
use gumboot::message::{Content, Moment, Outcome, Terms};

use crate::harness::{Net, content, pattern, session, subscription};

#[test]
fn it_shows_what_waits_in_its_order_and_leaves_it_there() {
    for home in [0, 1] {
        for priority in [false, true] {
            let options = QueueOptions { priority, ..QueueOptions::default() };
            let queue_policies = vec![QueuePolicy { pattern: pattern("/queue/**"), options }];
            let mut net = Net::new(2, Options { queue_policies, ..Options::default() });
            let queue = net.queue_on(home, 0);
            let (sender, one, reader) = (session(0, 9), subscription(session(0, 1), 0), subscription(session(1, 2), 0));
            let shy = subscription(sender, 7);
            for (number, level) in [4, 9, 0, 4, 9, 4, 0].into_iter().enumerate() {
                let terms = Some(Box::new(Terms { priority: Some(level), ..Terms::default() }));
                net.publish(sender, Content { terms, ..content(queue.as_str(), &number.to_string()) });
            }
            let order: &[&str] =
                if priority { &["1", "4", "0", "3", "5", "2", "6"] } else { &["0", "1", "2", "3", "4", "5", "6"] };
            for credit in 1..9 {
                assert_eq!(net.browse(reader, &queue, credit), order, "{credit} a page");
            }
            // What somebody has does not wait; what came back, or what some consumers do not take, does.
            net.consume(shy, &queue, 9, true);
            net.consume(one, &queue, 2, false);
            net.log.queue.truncate(1);
            let tag = net.log.queue.remove(0).1.tag.expect("queues have tags");
            for credit in 1..9 {
                assert_eq!(net.browse(reader, &queue, credit), order[2..], "{credit} a page");
            }
            net.settle(one.session, tag, Outcome::Rejected);
            net.cancel(one, &queue);
            net.log.queue.clear();
            net.advance(Duration::from_secs(60));
            for credit in 1..9 {
                assert_eq!(net.browse(reader, &queue, credit), order, "{credit} a page");
            }
        }
    }
}

#[test]
fn it_does_not_show_what_has_expired_or_is_not_due() {
    let mut net = Net::new(2, Options::default());
    let queue = net.queue_on(1, 0);
    let reader = subscription(session(0, 2), 0);
    assert_eq!(net.browse(reader, &queue, 5), [] as [&str; 0]);
    assert_eq!(net.queues(), 0, "a look makes no queue");
    let second = Some(Moment::After(Duration::from_secs(1)));
    let expires = Some(Box::new(Terms { expires: second, ..Terms::default() }));
    let due = Some(Box::new(Terms { due: second, ..Terms::default() }));
    net.publish(session(0, 9), Content { terms: expires, ..content(queue.as_str(), "expires") });
    net.publish(session(0, 9), Content { terms: due, ..content(queue.as_str(), "due") });
    assert_eq!(net.browse(reader, &queue, 5), ["expires"]);
    net.advance(Duration::from_secs(1));
    assert_eq!(net.browse(reader, &queue, 5), ["due"]);
}
