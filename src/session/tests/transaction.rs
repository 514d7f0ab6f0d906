//! BEGIN, COMMIT and ABORT: SEMANTICS Q7.

use super::*;

/// A queue subscription `a` in mode client-individual with messages 1 to 3 delivered, and transaction `t` begun.
#[track_caller]
fn check_begun(mode: &str, options: Options, transcript: &str) {
    let mut player = Player::new(options);
    player.happen("> CONNECT accept-version:1.2 on-error:continue");
    player.happen(&format!("> SUBSCRIBE id:a destination:/queue/a ack:{mode}"));
    player.happen("= 0 0");
    for n in 1..=3 {
        player.happen(&format!("+ 0 /queue/a {n} queue"));
    }
    assert_eq!(player.happen("> BEGIN transaction:t receipt:b"), ["RECEIPT receipt-id:b"]);
    compare(&mut player, transcript);
}

const GONE: &str = "< #- unsubscribe 0=a queue /queue/a";

#[test]
fn q7_all_together_at_commit() {
    check_begun(
        "client-individual",
        Options::default(),
        "> SEND destination:/queue/b transaction:t receipt:r1 x:1 | one
         < RECEIPT receipt-id:r1
         > ACK id:0-2 transaction:t receipt:r2
         < RECEIPT receipt-id:r2
         > SEND destination:/topic/c | outside
         < #- send /topic/c | outside
         > NACK id:0-1 transaction:t
         > COMMIT transaction:t receipt:r3
         < #1 commit { send /queue/b x:1 | one; Consumed 2; Rejected 1 }
         < (wants no input)
         = 1 0
         < RECEIPT receipt-id:r3
         > ACK id:0-3
         < #- Consumed 3",
    );
}

/// Q4: what the subscription had to settle may come again, to this session too; that would be another delivery. The rest must not
/// be done without it.
#[test]
fn q7_a_transaction_that_settles_for_a_subscription_that_ended_cannot_be_committed() {
    for end in ["UNSUBSCRIBE id:a", "SUBSCRIBE id:a destination:/queue/b"] {
        let begun = |others: &[&str]| {
            let mut player = Player::new(Options::default());
            for line in ["> CONNECT accept-version:1.2", "> SUBSCRIBE id:a destination:/queue/a ack:client", "= 0 0"] {
                player.happen(line);
            }
            player.happen("+ 0 /queue/a 1 queue");
            player.happen("> BEGIN transaction:t");
            player.happen("> SEND destination:/queue/c transaction:t | result");
            others.iter().for_each(|line| drop(player.happen(line)));
            player.happen(&format!("> {end}"));
            player
        };
        let actions = begun(&["> ACK id:0-1 transaction:t"]).happen("> COMMIT transaction:t receipt:r");
        let error = actions.first().map(String::as_str).unwrap_or_default();
        assert!(error.starts_with("ERROR") && error.contains("code:transaction-broken"), "{end}: {actions:?}");
        assert!(
            error.contains("receipt-id:r") && actions.iter().all(|action| !action.contains("commit")),
            "{actions:?}"
        );
        // It can be given up; and a transaction that settles nothing is not concerned.
        let actions = begun(&["> ACK id:0-1 transaction:t"]).happen("> ABORT transaction:t receipt:r");
        assert!(!actions.iter().any(|action| action.starts_with("ERROR")), "{end}: {actions:?}");
        let actions = begun(&[]).happen("> COMMIT transaction:t");
        assert!(actions.iter().any(|action| action.contains("commit { send /queue/c")), "{end}: {actions:?}");
    }
}

#[test]
fn q7_a_commit_without_a_receipt_is_awaited_too() {
    check_begun(
        "client",
        Options::default(),
        "> ACK id:0-2 transaction:t
         > COMMIT transaction:t
         < #1 commit { Consumed 1,2 }
         < (wants no input)
         = 1 0
         > BEGIN transaction:t
         > COMMIT transaction:t receipt:r
         < RECEIPT receipt-id:r",
    );
}

#[test]
fn q7_abort_makes_messages_unsettled_again() {
    check_begun(
        "client",
        Options::default(),
        "> ACK id:0-2 transaction:t
         > SEND destination:/queue/b transaction:t
         > ABORT transaction:t receipt:r
         < RECEIPT receipt-id:r
         > ACK id:0-1
         < #- Consumed 1
         > ACK id:0-3
         < #- Consumed 2,3",
    );
}

#[test]
fn q7_what_one_transaction_settles_no_other_can() {
    check_begun(
        "client",
        Options::default(),
        "> ACK id:0-1 transaction:t
         > BEGIN transaction:u
         > ACK id:0-2 transaction:u
         > ACK id:0-1 transaction:u
         > ACK id:0-3
         < #- Consumed 3
         > COMMIT transaction:u
         < #1 commit { Consumed 2 }
         < (wants no input)
         = 1 0
         > ABORT transaction:t
         > ACK id:0-1
         < #- Consumed 1",
    );
    check_begun(
        "client-individual",
        Options::default(),
        &format!(
            "> ACK id:0-1 transaction:t
             > ACK id:0-1
             < ERROR code:unknown-ack
             {GONE}
             < close 1002 unknown-ack"
        ),
    );
}

#[test]
fn q7_q9_a_topic_gets_its_credit_back_at_commit() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/a ack:client prefetch-count:1
         < #0 subscribe 0=a topic /topic/a paced credit:1
         = 0 0
         + 0 /topic/a 1 disconnect
         < MESSAGE a 1 ack:0-1
         + 0 /topic/a 2 disconnect
         > BEGIN transaction:t
         > ACK id:0-1 transaction:t
         > COMMIT transaction:t receipt:r
         < RECEIPT receipt-id:r
         < (holds messages)",
    );
}

#[test]
fn q7_unknown_and_repeated_names() {
    for frame in [
        "COMMIT transaction:u",
        "ABORT transaction:u",
        "SEND transaction:u destination:/topic/a",
        "ACK transaction:u id:0-1",
        "NACK transaction:u id:0-1",
    ] {
        let error = format!("< ERROR code:unknown-transaction\n{GONE}\n< close 1002 unknown-transaction");
        check_begun("client", Options::default(), &format!("> {frame}\n{error}"));
    }
    check_begun(
        "client",
        Options::default(),
        &format!("> BEGIN transaction:t\n< ERROR code:transaction-exists\n{GONE}\n< close 1002 transaction-exists"),
    );
    check_begun(
        "client",
        Options::default(),
        &format!("> BEGIN\n< ERROR code:missing-header\n{GONE}\n< close 1002 missing-header"),
    );
    check_begun(
        "client",
        Options::default(),
        &format!(
            "> ACK id:0-1
             < #- Consumed 1
             > ACK id:0-1 transaction:u
             < ERROR code:unknown-transaction
             {GONE}
             < close 1002 unknown-transaction"
        ),
    );
}

/// X3 does not reach into a transaction: it would be committed in part.
#[test]
fn q7_a_send_is_checked_at_once() {
    check_begun(
        "client",
        Options::default(),
        &format!(
            "> SEND destination:/x transaction:t
             < ERROR code:unknown-destination
             {GONE}
             < close 1008 unknown-destination"
        ),
    );
}

#[test]
fn q7_a_refused_commit_ends_the_session() {
    check_begun(
        "client",
        Options::default(),
        &format!(
            "> SEND destination:/queue/b transaction:t
             > COMMIT transaction:t receipt:r
             < #1 commit {{ send /queue/b | }}
             < (wants no input)
             = 1 full
             < ERROR code:queue-full receipt-id:r
             {GONE}
             < close 1013 queue-full"
        ),
    );
}

#[test]
fn q7_limits() {
    let check_limit = |options: Options, frame: &str, close: u16, code: &str| {
        let error = format!("< ERROR code:{code}\n{GONE}\n< close {close} {code}");
        let transcript = format!("> SEND destination:/topic/a transaction:t\n> {frame}\n{error}");
        check_begun("client", options, &transcript);
    };
    let second = "SEND destination:/topic/a transaction:t";
    let one = Options { max_transaction_operations: 1, ..Options::default() };
    check_limit(one.clone(), second, 1008, "too-many-operations");
    check_limit(one, "ACK id:0-1 transaction:t", 1008, "too-many-operations");
    let small = Options { max_transaction_bytes: 2000, ..Options::default() };
    let long = format!("{second} | {}", "x".repeat(1999));
    check_limit(small, &long, 1009, "transaction-too-big");
    let single = Options { max_transactions: 1, ..Options::default() };
    check_limit(single, "BEGIN transaction:u", 1008, "too-many-transactions");
    let short = Options { max_id_bytes: 3, ..Options::default() };
    check_limit(short, "BEGIN transaction:long", 1009, "id-too-long");
}
