//! Deliveries, ACK and NACK: SEMANTICS M2, Q2 to Q4, Q8, Q9.

use super::*;

/// A queue subscription `a` in this mode, with messages 1 to 4 delivered, that is then played on.
#[track_caller]
fn check_queue(version: &str, mode: &str, transcript: &str) {
    let mut player = Player::new(Options::default());
    player.happen(&format!("> CONNECT accept-version:{version}"));
    player.happen(&format!("> SUBSCRIBE id:a destination:/queue/a ack:{mode}"));
    player.happen("= 0 0");
    for n in 1..=4 {
        let asked = player.happen(&format!("+ 0 /queue/a {n} queue"));
        assert_eq!(asked, [format!("MESSAGE a {n} ack:0-{n}")]);
    }
    compare(&mut player, transcript);
}

const UNKNOWN: &str = "ERROR code:unknown-ack
     < #- unsubscribe 0=a queue /queue/a
     < close 1002 unknown-ack";

#[test]
fn q2_auto_is_settled_when_it_is_written() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/a
         < #0 subscribe 0=a queue /queue/a credit:100
         + 0 /queue/a 1 queue
         < MESSAGE a 1 settle-when-written:1
         + 0 /queue/a 2 queue again:2
         < MESSAGE a 2 redelivered:2 settle-when-written:2",
    );
}

#[test]
fn q2_client_is_cumulative() {
    check_queue(
        "1.2",
        "client",
        "> ACK id:0-3 receipt:r
         < #1 Consumed 1,2,3
         = 1 0
         < RECEIPT receipt-id:r
         > ACK id:0-4
         < #- Consumed 4",
    );
}

#[test]
fn q2_client_individual_is_not() {
    check_queue(
        "1.2",
        "client-individual",
        "> ACK id:0-3
         < #- Consumed 3
         > ACK id:0-1
         < #- Consumed 1",
    );
}

#[test]
fn q2_before_1_2_messages_are_named_by_message_id() {
    check_queue(
        "1.1",
        "client",
        "> ACK message-id:00000000-0-2 subscription:a
         < #- Consumed 1,2
         > NACK message-id:00000000-0-4 subscription:a
         < #- Rejected 3,4",
    );
    check_queue(
        "1.0",
        "client",
        "> ACK message-id:00000000-0-2
         < #- Consumed 1,2
         > ACK message-id:00000000-0-3 subscription:a
         < #- Consumed 3",
    );
    let missing = "ERROR code:missing-header
         < #- unsubscribe 0=a queue /queue/a
         < close 1002 missing-header";
    check_queue("1.1", "client", &format!("> ACK message-id:00000000-0-2\n< {missing}"));
    check_queue("1.2", "client", &format!("> ACK message-id:00000000-0-2 subscription:a\n< {missing}"));
}

/// U5 and Q2: a 1.0 client may name no subscription; the first that has the message unsettled is meant.
#[test]
fn q2_in_1_0_one_message_of_two_subscriptions() {
    check_connected(
        "1.0",
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/x ack:client prefetch-count:1
         < #0 subscribe 0=a topic /topic/x paced credit:1
         > SUBSCRIBE id:b destination:/topic/* ack:client prefetch-count:1
         < #1 subscribe 1=b topic /topic/* paced credit:1
         + 0 /topic/x 1 disconnect
         < MESSAGE a 1 ack:0-1
         + 1 /topic/x 1 disconnect
         < MESSAGE b 1 ack:1-1
         + 1 /topic/x 2 disconnect
         > ACK message-id:00000000-0-1
         > ACK message-id:00000000-0-1
         < (holds messages)",
    );
}

/// Two dead letters of one message have its id: each ACK is for one of them, in a transaction too.
#[test]
fn q2_before_1_2_one_message_twice_in_a_subscription() {
    check_connected(
        "1.1",
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/a ack:client-individual
         < #0 subscribe 0=a queue /queue/a credit:100
         + 0 /queue/a 1 queue
         < MESSAGE a 1 ack:0-1
         + 0 /queue/a 1 queue
         < MESSAGE a 1 ack:0-2
         > BEGIN transaction:t
         > ACK message-id:00000000-0-1 subscription:a transaction:t
         > ACK message-id:00000000-0-1 subscription:a
         < #- Consumed 1",
    );
}

#[test]
fn q3_nack() {
    check_queue(
        "1.2",
        "client-individual",
        "> NACK id:0-2 receipt:r
         < #1 Rejected 2
         > NACK id:0-1 requeue:false
         < #- Discarded 1
         > NACK id:0-3 requeue:true
         < #- Rejected 3",
    );
    check_queue("1.2", "client", "> NACK id:0-3 requeue:false\n< #- Discarded 1,2,3");
    check_queue(
        "1.0",
        "client",
        "> NACK message-id:00000000-0-1
         < ERROR code:command-not-in-version
         < #- unsubscribe 0=a queue /queue/a
         < close 1002 command-not-in-version",
    );
}

#[test]
fn q8_unknown_names() {
    for name in ["0-5", "0-0", "1-1", "x", "0-", "-1", "0-1-1", "", "4294967296-1", "00000000-0-1"] {
        check_queue("1.2", "client", &format!("> ACK id:{name}\n< {UNKNOWN}"));
    }
    for name in ["00000000-0-5", "00000001-0-1", "1", ""] {
        let ack = format!("> ACK message-id:{name} subscription:a");
        check_queue("1.1", "client-individual", &format!("{ack}\n< {UNKNOWN}"));
    }
    check_queue("1.1", "client", &format!("> ACK message-id:00000000-0-1 subscription:b\n< {UNKNOWN}"));
}

#[test]
fn q8_settled_before() {
    for (version, three, two) in [
        ("1.2", "id:0-3", "id:0-2"),
        ("1.1", "subscription:a message-id:00000000-0-3", "subscription:a message-id:00000000-0-2"),
        ("1.0", "message-id:00000000-0-3", "message-id:00000000-0-2"),
    ] {
        check_queue(
            version,
            "client",
            &format!(
                "> ACK {three}
                 < #- Consumed 1,2,3
                 > ACK {two} receipt:r
                 < RECEIPT receipt-id:r
                 > ACK {three}"
            ),
        );
    }
    check_queue("1.2", "client", &format!("> ACK id:0-3\n< #- Consumed 1,2,3\n> NACK id:0-2\n< {UNKNOWN}"));
    check_queue("1.2", "client-individual", &format!("> ACK id:0-3\n< #- Consumed 3\n> ACK id:0-3\n< {UNKNOWN}"));
}

#[test]
fn q4_what_is_gone_cannot_be_settled() {
    check_queue(
        "1.2",
        "client",
        "> UNSUBSCRIBE id:a
         < #- unsubscribe 0=a queue /queue/a by-client
         > ACK id:0-1
         < ERROR code:unknown-ack
         < close 1002 unknown-ack",
    );
}

#[test]
fn q8_nothing_is_to_be_settled_in_mode_auto() {
    check_connected(
        "1.1",
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/a
         < #0 subscribe 0=a topic /topic/a credit:100
         + 0 /topic/a 1 disconnect
         < MESSAGE a 1
         > ACK message-id:00000000-0-1 subscription:a
         < ERROR code:unknown-ack
         < #- unsubscribe 0=a topic /topic/a
         < close 1002 unknown-ack",
    );
}

#[test]
fn q9_a_topic_gives_credit_back() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/a ack:client-individual prefetch-count:2
         < #0 subscribe 0=a topic /topic/a paced credit:2
         = 0 0
         + 0 /topic/a 1 disconnect
         < MESSAGE a 1 ack:0-1
         + 0 /topic/a 2 disconnect
         < MESSAGE a 2 ack:0-2
         + 0 /topic/a 3 disconnect
         + 0 /topic/a 4 disconnect
         writable
         > ACK id:0-2 receipt:r
         < RECEIPT receipt-id:r
         < (holds messages)
         writable
         < MESSAGE a 3 ack:0-3
         > NACK id:0-1
         < (holds messages)
         writable
         < MESSAGE a 4 ack:0-4
         + 0 /topic/a 5 disconnect full
         < ERROR code:slow-consumer
         < #- unsubscribe 0=a topic /topic/a paced
         < close 4500 slow-consumer",
    );
}

#[test]
fn q3_a_nack_may_ask_for_its_delay() {
    check_queue(
        "1.2",
        "client-individual",
        "> NACK id:0-1 delay:250
         < #- Deferred(250ms) 1
         > NACK id:0-2 delay:250 requeue:false
         < #- Discarded 2
         > NACK id:0-3 delay:soon
         < ERROR code:bad-header
         < #- unsubscribe 0=a queue /queue/a
         < close 1002 bad-header",
    );
}
