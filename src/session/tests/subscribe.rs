//! SUBSCRIBE and UNSUBSCRIBE: SEMANTICS U1, U2, U4, U6 to U9, M5, Q5, Q9.

use super::*;

#[test]
fn u1_u4_q9_kinds_and_modes() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/**
         < #0 subscribe 0=a topic /topic/** credit:100
         > SUBSCRIBE id:b destination:/topic/b ack:client no-local:true
         < #1 subscribe 1=b topic /topic/b no-local paced credit:100
         > SUBSCRIBE id:c destination:/queue/* ack:auto
         < #2 subscribe 2=c queue /queue/* credit:100
         > SUBSCRIBE id:d destination:/queue/d ack:client-individual no-local:false
         < #3 subscribe 3=d queue /queue/d credit:100",
    );
}

#[test]
fn g3_the_receipt_comes_when_it_is_live() {
    check_connected(
        "1.1",
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/a receipt:r0
         < #0 subscribe 0=a topic /topic/a credit:100
         > UNSUBSCRIBE id:a receipt:r1
         < #1 unsubscribe 0=a topic /topic/a by-client
         = 0 0
         < RECEIPT receipt-id:r0
         = 1 0
         < RECEIPT receipt-id:r1",
    );
}

#[test]
fn u2_what_is_needed() {
    for (version, subscribe) in [
        ("1.2", "SUBSCRIBE destination:/topic/a"),
        ("1.1", "SUBSCRIBE destination:/topic/a"),
        ("1.2", "SUBSCRIBE id:a"),
        ("1.0", "SUBSCRIBE id:a"),
        ("1.2", "UNSUBSCRIBE destination:/topic/a"),
    ] {
        let error = "ERROR code:missing-header\n< close 1002 missing-header";
        check_connected(version, Options::default(), &format!("> {subscribe}\n< {error}"));
    }
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/a ack:sometimes
         < ERROR code:bad-header
         < close 1002 bad-header",
    );
}

#[test]
fn u2_in_1_0_the_destination_stands_in() {
    check_connected(
        "1.0",
        Options::default(),
        "> SUBSCRIBE destination:/topic/a
         < #0 subscribe 0=/topic/a topic /topic/a credit:100
         + 0 /topic/a 1 disconnect
         < MESSAGE /topic/a 1
         > UNSUBSCRIBE destination:/topic/a
         < #- unsubscribe 0=/topic/a topic /topic/a by-client",
    );
}

#[test]
fn u6_a_live_id_is_replaced() {
    check_connected(
        "1.2",
        Options { max_subscriptions: 1, ..Options::default() },
        "> SUBSCRIBE id:a destination:/queue/a ack:client
         < #0 subscribe 0=a queue /queue/a credit:100
         > SUBSCRIBE id:a destination:/topic/b
         < #- unsubscribe 0=a queue /queue/a by-client
         < #1 subscribe 1=a topic /topic/b credit:100
         + 0 /queue/a 1 queue
         + 1 /topic/b 2 disconnect
         < MESSAGE a 2",
    );
    check_continuing(
        Options::default(),
        "> SUBSCRIBE id:a destination:/topic/a
         < #0 subscribe 0=a topic /topic/a credit:100
         > SUBSCRIBE id:a destination:/x
         < ERROR code:unknown-destination
         < note Refused { code: \"unknown-destination\" }
         + 0 /topic/a 1 disconnect
         < MESSAGE a 1",
    );
}

#[test]
fn g3_u6_the_receipt_waits_for_the_end_of_what_is_replaced() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/a
         < #0 subscribe 0=a queue /queue/a credit:100
         = 0 0
         > SUBSCRIBE id:a destination:/queue/b receipt:r
         < #1 unsubscribe 0=a queue /queue/a by-client
         < #2 subscribe 1=a queue /queue/b credit:100
         = 2 0
         = 1 0
         < RECEIPT receipt-id:r
         > SUBSCRIBE id:a destination:/queue/b receipt:s
         < #3 subscribe 2=a queue /queue/b replaces 1 credit:100
         = 3 0
         < RECEIPT receipt-id:s",
    );
}

#[test]
fn u7_an_unknown_id_is_only_answered() {
    check_connected(
        "1.2",
        Options::default(),
        "> UNSUBSCRIBE id:nobody receipt:r
         < RECEIPT receipt-id:r
         > UNSUBSCRIBE id:nobody",
    );
}

#[test]
fn u8_under_no_prefix() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/x receipt:r
         < ERROR code:unknown-destination receipt-id:r
         < close 1008 unknown-destination",
    );
    let spaces = Spaces::new(Vec::new(), Unknown::Drop).expect("no spaces");
    check_connected(
        "1.2",
        Options { spaces, ..Options::default() },
        "> SUBSCRIBE id:a destination:/x receipt:r
         < note UnknownSubscribed(Destination(\"/x\"))
         < RECEIPT receipt-id:r
         > UNSUBSCRIBE id:a receipt:r2
         < RECEIPT receipt-id:r2",
    );
}

#[test]
fn q5_u9_prefetch() {
    let check_prefetch = |headers: &str, credit: u32| {
        let options = Options { prefetch: 10, max_prefetch: 50, ..Options::default() };
        let subscribe = format!("SUBSCRIBE id:a destination:/queue/a {headers}");
        let transcript = format!("> {subscribe}\n< #0 subscribe 0=a queue /queue/a credit:{credit}");
        check_connected("1.2", options, &transcript);
    };
    check_prefetch("x:y", 10);
    check_prefetch("prefetch-count:1", 1);
    check_prefetch("activemq.prefetchSize:7", 7);
    check_prefetch("prefetch-count:51", 50);
    check_prefetch("prefetch-count:99999999999999", 50);
    check_prefetch("prefetch-count:0", 50);
    for wrong in ["many", "-1", "+1", "1.5", ""] {
        let subscribe = format!("> SUBSCRIBE id:a destination:/queue/a prefetch-count:{wrong}");
        let error = "< ERROR code:bad-header\n< close 1002 bad-header";
        check_connected("1.2", Options::default(), &format!("{subscribe}\n{error}"));
    }
}

#[test]
fn limits_of_subscriptions() {
    check_continuing(
        Options { max_subscriptions: 1, max_id_bytes: 3, ..Options::default() },
        "> SUBSCRIBE id:a destination:/topic/a
         < #0 subscribe 0=a topic /topic/a credit:100
         > SUBSCRIBE id:b destination:/topic/a receipt:r
         < ERROR code:too-many-subscriptions receipt-id:r
         < note Refused { code: \"too-many-subscriptions\" }
         > SUBSCRIBE id:long destination:/topic/a
         < ERROR code:id-too-long
         < note Refused { code: \"id-too-long\" }
         > UNSUBSCRIBE id:a
         < #- unsubscribe 0=a topic /topic/a by-client
         > SUBSCRIBE id:b destination:/topic/a
         < #1 subscribe 1=b topic /topic/a credit:100",
    );
    check_connected(
        "1.2",
        Options { max_subscriptions: 0, ..Options::default() },
        "> SUBSCRIBE id:a destination:/topic/a
         < ERROR code:too-many-subscriptions
         < close 1008 too-many-subscriptions",
    );
}

#[test]
fn u4_a_pattern_that_is_too_much() {
    let many = format!("/topic{}/**", "/*".repeat(100));
    check_connected(
        "1.2",
        Options::default(),
        &format!("> SUBSCRIBE id:a destination:{many}\n< ERROR code:bad-pattern\n< close 1008 bad-pattern"),
    );
}

#[test]
fn x3_a_subscription_that_the_broker_refuses_is_gone() {
    check_continuing(
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/a
         < #0 subscribe 0=a queue /queue/a credit:100
         = 0 full
         < ERROR code:queue-full
         < note Refused { code: \"queue-full\" }
         > UNSUBSCRIBE id:a receipt:r
         < RECEIPT receipt-id:r",
    );
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/a receipt:r0
         < #0 subscribe 0=a queue /queue/a credit:100
         > SUBSCRIBE id:b destination:/queue/b receipt:r1
         < #1 subscribe 1=b queue /queue/b credit:100
         = 0 full
         < ERROR code:queue-full receipt-id:r0
         < #- unsubscribe 1=b queue /queue/b
         < close 1013 queue-full",
    );
}

/// More subscriptions than a search through all is meant for.
#[test]
fn many_subscriptions_are_found_by_id_and_by_key() {
    let mut player = Player::new(Options::default());
    player.happen("> CONNECT accept-version:1.2");
    for n in 0..30 {
        let asked = player.happen(&format!("> SUBSCRIBE id:s{n} destination:/topic/{n}"));
        assert_eq!(asked, [format!("#{n} subscribe {n}=s{n} topic /topic/{n} credit:100")]);
        assert_eq!(player.happen(&format!("= {n} 0")), [""; 0]);
    }
    for n in (0..30).step_by(2).chain((1..30).step_by(2)) {
        let asked = player.happen(&format!("+ {n} /topic/{n} 1 disconnect"));
        assert_eq!(asked, [format!("MESSAGE s{n} 1")]);
        let asked = player.happen(&format!("> UNSUBSCRIBE id:s{n}"));
        assert_eq!(asked, [format!("#- unsubscribe {n}=s{n} topic /topic/{n} by-client")]);
        assert_eq!(player.happen(&format!("+ {n} /topic/{n} 1 disconnect")), [""; 0]);
    }
}

#[test]
fn q5_a_policy_says_the_usual_prefetch() {
    let pattern = |text| Spaces::default().resolve(text).and_then(|space| space.pattern(text).ok()).expect("a pattern");
    let queue_prefetches = vec![(pattern("/queue/slow.*"), 1), (pattern("/queue/**"), 7)];
    let options = Options { queue_prefetches, ..Options::default() };
    check_connected(
        "1.2",
        options,
        "> SUBSCRIBE id:a destination:/queue/slow.x
         < #0 subscribe 0=a queue /queue/slow.x credit:1
         > SUBSCRIBE id:b destination:/queue/x
         < #1 subscribe 1=b queue /queue/x credit:7
         > SUBSCRIBE id:c destination:/queue/slow.x prefetch-count:5
         < #2 subscribe 2=c queue /queue/slow.x credit:5
         > SUBSCRIBE id:d destination:/topic/x
         < #3 subscribe 3=d topic /topic/x credit:100",
    );
}

#[test]
fn who_browses_settles_nothing_and_asks_for_more_when_it_has_what_it_asked_for() {
    check_connected(
        "1.2",
        Options::default(),
        "> SUBSCRIBE id:a destination:/queue/a browser:true ack:client prefetch-count:2 receipt:r
         < #0 subscribe 0=a queue /queue/a browses credit:2
         = 0 0
         < RECEIPT receipt-id:r
         + 0 /queue/a 5 queue
         < MESSAGE a 5
         + 0 /queue/a 7 queue full
         < (holds messages)
         writable
         < MESSAGE a 7
         < browse 0 /queue/a 2 after 7
         + 0 /queue/a 8 queue
         < MESSAGE a 8
         + 0 /queue/a 9 disconnect
         < MESSAGE a 9
         > UNSUBSCRIBE id:a
         < #- unsubscribe 0=a queue /queue/a by-client
         > SUBSCRIBE id:t destination:/topic/a browser:true
         < #1 subscribe 1=t topic /topic/a credit:100",
    );
}
