//! ERROR, DISCONNECT and every other end: SEMANTICS X1, X2, X5, Q4, G5.

use super::*;
use crate::session::fault::{Limit, Slow};

#[test]
fn x5_disconnect() {
    check_connected(
        "1.2",
        Options::default(),
        "> DISCONNECT receipt:bye
         < RECEIPT receipt-id:bye
         < close 1000 disconnect
         lost",
    );
    check_connected(
        "1.2",
        Options::default(),
        "> DISCONNECT
         < close 1000 disconnect",
    );
}

#[test]
fn x5_the_receipts_before_it_come_first() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/a
         < #0 subscribe 0=a queue /queue/a credit:100
         > SEND destination:/topic/a receipt:r
         < #1 send /topic/a |
         > DISCONNECT receipt:bye
         < #2 unsubscribe 0=a queue /queue/a by-client
         > SEND destination:/topic/a receipt:ignored
         > NACK
         bad-bytes
         + 0 /queue/a 1 queue
         = - unroutable
         = 1 2
         = 0 0
         < RECEIPT receipt-id:r matched:2
         = 2 0
         < RECEIPT receipt-id:bye
         < close 1000 disconnect",
    );
    check_connected(
        "1.2",
        Options::default(),
        "> SEND destination:/topic/a receipt:r
         < #0 send /topic/a |
         > DISCONNECT
         = 0 2
         < RECEIPT receipt-id:r matched:2
         < close 1000 disconnect",
    );
}

/// A client that closes its side without a DISCONNECT still gets its answers (G3), and its messages go back (Q4).
#[test]
fn g3_the_receipts_before_the_end_of_input() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/a
         < #0 subscribe 0=a queue /queue/a credit:100
         > SEND destination:/topic/a receipt:r
         < #1 send /topic/a |
         ended
         < #- unsubscribe 0=a queue /queue/a
         = 0 0
         = 1 2
         < RECEIPT receipt-id:r matched:2
         < close 1000 closed-by-peer
         ended
         lost",
    );
    check(Options::default(), "ended\n < close 1000 closed-by-peer");
}

/// Q4, G3: whoever has the RECEIPT may rely on it that what was unsettled is back, and what was settled is not.
#[test]
fn x5_the_receipt_says_that_the_subscriptions_are_gone() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/a
         < #0 subscribe 0=a queue /queue/a credit:100
         > SUBSCRIBE id:b destination:/topic/b
         < #1 subscribe 1=b topic /topic/b credit:100
         > SUBSCRIBE id:c destination:/queue/a browser:true
         < #2 subscribe 2=c queue /queue/a browses credit:100
         = 0 0
         = 1 0
         = 2 0
         > DISCONNECT receipt:bye
         < #3 unsubscribe 0=a queue /queue/a by-client
         < #- unsubscribe 1=b topic /topic/b by-client
         < #- unsubscribe 2=c queue /queue/a by-client
         = 3 0
         < RECEIPT receipt-id:bye
         < close 1000 disconnect",
    );
}

#[test]
fn x5_a_refusal_before_it_is_told() {
    check_connected(
        "1.2",
        Options::default(),
        "> SEND destination:/topic/a receipt:r
         < #0 send /topic/a |
         > DISCONNECT receipt:bye
         = 0 unroutable
         < ERROR code:unroutable receipt-id:r
         < close 1013 unroutable",
    );
}

/// X3: only what was refused is lost.
#[test]
fn x5_a_refusal_before_it_that_the_session_survives() {
    let mut player = Player::new(Options::default());
    player.happen("> CONNECT accept-version:1.2 on-error:continue");
    player.happen("> SEND destination:/queue/a receipt:r");
    player.happen("> DISCONNECT receipt:bye");
    let actions = player.happen("= 0 full");
    let expected =
        ["ERROR code:queue-full receipt-id:r", "note Refused", "RECEIPT receipt-id:bye", "close 1000 disconnect"];
    assert_eq!(actions.len(), expected.len(), "{actions:?}");
    for (action, expected) in actions.iter().zip(expected) {
        assert!(action.starts_with(expected), "{actions:?}");
    }
}

#[test]
fn x5_the_wait_has_an_end() {
    check_connected(
        "1.2",
        Options { disconnect_timeout: Duration::from_millis(500), ..Options::default() },
        "> SEND destination:/topic/a receipt:r
         < #0 send /topic/a |
         @ 1000
         > DISCONNECT receipt:bye
         @ 1499
         @ 1500
         < close 1000 disconnect
         = 0 1",
    );
}

#[test]
fn x2_the_broker_shuts_down() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/a
         < #0 subscribe 0=a queue /queue/a credit:100
         closing
         < #- unsubscribe 0=a queue /queue/a
         < close 1001 going-away
         lost",
    );
    check(Options::default(), "closing\n< close 1001 going-away");
}

#[test]
fn q4_a_lost_transport_takes_all_subscriptions_away_once() {
    check_connected(
        "1.1",
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/a
         < #0 subscribe 0=a queue /queue/a credit:100
         > SUBSCRIBE id:b destination:/topic/b ack:client
         < #1 subscribe 1=b topic /topic/b paced credit:100
         lost
         < #- unsubscribe 0=a queue /queue/a
         < #- unsubscribe 1=b topic /topic/b paced
         lost
         closing
         = 0 1
         @ 60000
         writable",
    );
    check(Options::default(), "lost\n> CONNECT");
}

#[test]
fn x2_bytes_that_are_no_frame() {
    check(
        Options::default(),
        "too-long
         < ERROR code:body-too-long
         < close 1009 body-too-long",
    );
    check_connected(
        "1.2",
        Options::default(),
        "bad-bytes
         < ERROR code:bad-escape
         < close 1002 bad-escape",
    );
}

#[test]
fn the_version_outlives_the_session() {
    let mut player = Player::new(Options::default());
    assert_eq!(player.session.version(), None);
    player.happen("> CONNECT accept-version:1.1");
    assert!(player.session.is_connected());
    player.happen("> CONNECT");
    assert_eq!(player.session.version(), Some(Version::V1_1));
    assert!(player.session.is_closed() && !player.session.is_connected());
    assert!(!player.session.wants_input() && player.session.poll_timeout().is_none());
}

/// X1: the whole ERROR.
#[test]
fn x1_an_error_in_full() {
    let fault = Fault::from(Violation::UnknownAck("1\n2".into()));
    let frame = fault.frame(Some("r"));
    let headers: Vec<_> = frame.headers.iter().collect();
    let wanted = [
        ("message", "no such unsettled message"),
        ("code", "unknown-ack"),
        ("content-type", "text/plain"),
        ("receipt-id", "r"),
    ];
    assert_eq!(headers, wanted);
    let body = "No message of the session that is to be settled has the name 1\\n2.\n\
                Settle a message once, while its subscription lives: in 1.2 by its ack header, before by message-id.\n";
    assert_eq!(frame.body, body);
}

/// G5: an ERROR about a limit names the limit's value and key.
#[test]
fn g5_limits_are_named() {
    let check_limit = |fault: Fault, key: &str| {
        let frame = fault.frame(None);
        let body = String::from_utf8_lossy(&frame.body).into_owned();
        assert!(body.contains("7717") && body.contains(key), "{key}: {body}");
        assert!(frame.headers.find("message").is_some_and(|text| text.len() < 80));
    };
    check_limit(Limit::Subscriptions(7717).into(), "limits.subscriptions_per_session");
    check_limit(Limit::IdBytes(7717, "id").into(), "limits.id_bytes");
    check_limit(Limit::Transactions(7717).into(), "limits.transactions");
    check_limit(Limit::TransactionOperations(7717).into(), "limits.transaction_operations");
    check_limit(Limit::TransactionBytes(7717).into(), "limits.transaction_bytes");
    check_limit(Fault::Slow(Slow::Outbox(7717)), "limits.outbox_bytes");
    check_limit(Fault::Slow(Slow::HeldMessages(7717)), "limits.held_messages");
    check_limit(Fault::Slow(Slow::HeldBytes(7717)), "limits.held_bytes");
    let unfinished = Fault::Unfinished { limit: 7717, kept: 99, age: Duration::from_millis(5) };
    check_limit(unfinished, "limits.unfinished_bytes");
    check_limit(Fault::Silent(Duration::from_millis(7717)), "heart_beat.tolerance");
    check_limit(Fault::ConnectTimeout(Duration::from_millis(7717)), "connect_timeout");
    check_limit(Fault::Decode(DecodeError::BodyTooLong { limit: 7717 }), "limits.body_bytes");
    let refusal = Refusal::Limit { code: "queue-full", what: "messages", limit: 7717, key: "queues.x" };
    check_limit(Fault::Refused(refusal), "queues.x");
}

/// What the peer chose is cut short and made printable before people read it.
#[test]
fn x1_names_in_texts_are_harmless() {
    let long = "\u{1b}[31m".to_owned() + &"x".repeat(5000);
    let fault = Fault::Refused(Refusal::UnknownDestination(long.into()));
    let frame = fault.frame(None);
    let body = String::from_utf8_lossy(&frame.body).into_owned();
    assert!(body.len() < 500 && !body.contains('\u{1b}'), "{body}");
}
