//! Clients that are slow: what is held back, dropped or ended (DESIGN laws 6, 8 and 9; SEMANTICS G4, G5).

use super::*;

const TOPIC: &str = "> SUBSCRIBE id:a destination:/topic/**";

/// A topic subscription `a` in mode `auto`, with at most three messages held back.
#[track_caller]
fn check_topic(transcript: &str) {
    let mut player = Player::new(Options { max_held_messages: 3, ..Options::default() });
    player.happen("> CONNECT accept-version:1.2");
    player.happen(TOPIC);
    compare(&mut player, transcript);
}

#[test]
fn disconnect_at_once_without_room() {
    check_topic(
        "+ 0 /topic/a 1 disconnect full
         < ERROR code:slow-consumer
         < #- unsubscribe 0=a topic /topic/**
         < close 4500 slow-consumer",
    );
}

#[test]
fn g4_what_is_held_back_keeps_its_order() {
    check_topic(
        "+ 0 /topic/a 1 drop-oldest full
         < (holds messages)
         + 0 /topic/b 2 disconnect
         < (holds messages)
         + 0 /topic/a 3 drop-oldest
         < (holds messages)
         writable
         < MESSAGE a 1
         < (holds messages)
         writable
         < MESSAGE a 2
         < (holds messages)
         writable
         < MESSAGE a 3
         writable
         + 0 /topic/a 4 drop-oldest
         < MESSAGE a 4",
    );
}

#[test]
fn drop_oldest() {
    check_topic(
        "+ 0 /topic/a 1 drop-oldest full
         < (holds messages)
         + 0 /topic/a 2 drop-oldest full
         < (holds messages)
         + 0 /topic/a 3 drop-oldest full
         < (holds messages)
         + 0 /topic/a 4 drop-oldest full
         < note Dropped { subscription: SubscriptionKey(0), count: 1 }
         < (holds messages)
         writable
         < MESSAGE a 2
         < (holds messages)",
    );
}

/// The policy of one topic says nothing about the messages of another, though one pattern takes both.
#[test]
fn drop_oldest_of_those_that_may_be_dropped() {
    check_topic(
        "+ 0 /topic/a 1 drop-oldest full
         < (holds messages)
         + 0 /topic/b 2 disconnect
         < (holds messages)
         + 0 /topic/b 3 disconnect
         < (holds messages)
         + 0 /topic/a 4 drop-oldest full
         < note Dropped { subscription: SubscriptionKey(0), count: 1 }
         < (holds messages)
         writable
         < MESSAGE a 2
         < (holds messages)
         writable
         < MESSAGE a 3
         < (holds messages)
         writable
         < MESSAGE a 4",
    );
}

#[test]
fn keep_latest_of_each_destination() {
    check_topic(
        "+ 0 /topic/a 1 keep-latest full
         < (holds messages)
         + 0 /topic/b 2 keep-latest full
         < (holds messages)
         + 0 /topic/a 3 keep-latest full
         < note Dropped { subscription: SubscriptionKey(0), count: 1 }
         < (holds messages)
         writable
         < MESSAGE a 2
         < (holds messages)
         writable
         < MESSAGE a 3",
    );
    check_topic(
        "+ 0 /topic/a 1 keep-latest full
         < (holds messages)
         + 0 /topic/b 2 keep-latest full
         < (holds messages)
         + 0 /topic/c 3 keep-latest full
         < (holds messages)
         + 0 /topic/d 4 keep-latest full
         < note Dropped { subscription: SubscriptionKey(0), count: 1 }
         < (holds messages)
         writable
         < MESSAGE a 2
         < (holds messages)",
    );
}

#[test]
fn without_credit_messages_are_held_up_to_the_limit() {
    check_connected(
        "1.2",
        Options { max_held_messages: 1, ..Options::default() },
        "> SUBSCRIBE id:a destination:/topic/a ack:client prefetch-count:1
         < #0 subscribe 0=a topic /topic/a paced credit:1
         + 0 /topic/a 1 disconnect
         < MESSAGE a 1 ack:0-1
         + 0 /topic/a 2 disconnect
         + 0 /topic/a 3 disconnect
         < ERROR code:slow-consumer
         < #- unsubscribe 0=a topic /topic/a paced
         < close 4500 slow-consumer",
    );
}

#[test]
fn the_bytes_of_all_subscriptions_count_together() {
    // One message of a thousand bytes fits, and two do not.
    check_connected(
        "1.2",
        Options { max_held_bytes: 2000, ..Options::default() },
        "> SUBSCRIBE id:a destination:/topic/a
         < #0 subscribe 0=a topic /topic/a credit:100
         > SUBSCRIBE id:b destination:/topic/b
         < #1 subscribe 1=b topic /topic/b credit:100
         + 0 /topic/a 1 drop-oldest full
         < (holds messages)
         + 1 /topic/b 2 drop-oldest full
         < note Dropped { subscription: SubscriptionKey(1), count: 1 }
         < (holds messages)
         > UNSUBSCRIBE id:a
         < #- unsubscribe 0=a topic /topic/a by-client
         + 1 /topic/b 3 drop-oldest full
         < (holds messages)
         writable
         < MESSAGE b 3
         + 1 /topic/b 4 drop-oldest full
         < (holds messages)",
    );
}

#[test]
fn a_queue_loses_nothing_and_counts_for_nothing() {
    check_connected(
        "1.2",
        Options { max_held_messages: 0, max_held_bytes: 0, ..Options::default() },
        "> SUBSCRIBE id:a destination:/queue/a
         < #0 subscribe 0=a queue /queue/a credit:100
         + 0 /queue/a 1 queue full
         < (holds messages)
         + 0 /queue/a 2 queue again:1
         < (holds messages)
         writable
         < MESSAGE a 1 settle-when-written:1
         < (holds messages)
         writable
         < MESSAGE a 2 redelivered:1 settle-when-written:2
         + 0 /queue/a 3 queue
         < MESSAGE a 3 settle-when-written:3",
    );
}

#[test]
fn subscriptions_take_turns() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/a
         < #0 subscribe 0=a queue /queue/a credit:100
         > SUBSCRIBE id:b destination:/queue/b
         < #1 subscribe 1=b queue /queue/b credit:100
         + 0 /queue/a 1 queue full
         < (holds messages)
         + 0 /queue/a 2 queue full
         < (holds messages)
         + 1 /queue/b 3 queue full
         < (holds messages)
         writable
         < MESSAGE a 1 settle-when-written:1
         < (holds messages)
         writable
         < MESSAGE b 3 settle-when-written:3
         < (holds messages)
         > UNSUBSCRIBE id:a
         < #- unsubscribe 0=a queue /queue/a by-client",
    );
}
