//! SEND and receipts: SEMANTICS G3, M1, M3, M5, M6, M7, U8, X3, H6.

use super::*;

#[test]
fn m1_private_headers_and_our_own_do_not_pass() {
    check_connected(
        "1.2",
        Options { private_headers: vec!["token".into(), "login".into()], ..Options::default() },
        "> SEND destination:/topic/a receipt:r b:1 Token:t a:2 b:3 login:u message-id:5 ack:5 subscription:5 redelivered:true content-length:2 content-type:text/plain | hi
         < #0 send /topic/a b:1 a:2 content-type:text/plain | hi",
    );
    check_connected(
        "1.2",
        Options::default(),
        "> SEND destination:/topic/a login:u passcode:p Authorization:a x-authorization:b persistent:true | hi
         < #- send /topic/a persistent:true {persistent} | hi",
    );
    // What ends the browsing of a queue is for the broker to say; another browser is the application's business.
    check_connected(
        "1.2",
        Options::default(),
        "> SEND destination:/queue/a browser:end | hi
         < #- send /queue/a | hi
         > SEND destination:/queue/a browser:Lynx | hi
         < #- send /queue/a browser:Lynx | hi",
    );
}

#[test]
fn m3_h6_text_is_what_is_not_said_to_be_binary() {
    check_connected(
        "1.2",
        Options::default(),
        "> SEND destination:/topic/a | hi
         < #- send /topic/a | hi
         > SEND destination:/topic/a content-type:application/json | {}
         < #- send /topic/a content-type:application/json | {}
         > SEND destination:/topic/a content-type:image/png | hi
         < #- send /topic/a content-type:image/png |binary| hi",
    );
    let mut player = Player::new(Options::default());
    player.happen("> CONNECT accept-version:1.2");
    let headers = [("destination", "/topic/a"), ("content-type", "text/plain")];
    let frame = Frame::new(Command::Send, headers, Bytes::from_static(b"\xff"));
    player.session.handle_frame(player.now, frame);
    assert_eq!(player.asked(), ["#- send /topic/a content-type:text/plain |binary| \u{fffd}"]);
}

#[test]
fn m5_m6_what_a_sender_asks_for() {
    check_connected(
        "1.2",
        Options::default(),
        "> SEND destination:/topic/a exclude-self:true mandatory:true | hi
         < #- send /topic/a exclude-self:true mandatory:true (exclude-origin) (mandatory) | hi",
    );
}

#[test]
fn g3_m6_receipts_leave_in_the_order_of_the_frames() {
    check_connected(
        "1.2",
        Options::default(),
        "> SEND destination:/topic/a receipt:r0
         < #0 send /topic/a |
         > SEND destination:/queue/b receipt:r1
         < #1 send /queue/b |
         > BEGIN transaction:t receipt:r2
         > SEND destination:/queue/b receipt:r3
         < #3 send /queue/b |
         = 1 1
         = 0 7
         < RECEIPT receipt-id:r0 matched:7
         < RECEIPT receipt-id:r1 matched:1
         < RECEIPT receipt-id:r2
         = 1 9
         = 0 9
         = 77 9
         = 3 0
         < RECEIPT receipt-id:r3 matched:0
         > SEND destination:/queue/b receipt:r4
         < #4 send /queue/b |",
    );
}

#[test]
fn too_many_pending_receipts_stop_the_input() {
    check_connected(
        "1.2",
        Options { max_pending_receipts: 2, ..Options::default() },
        "> SEND destination:/topic/a receipt:r0
         < #0 send /topic/a |
         > SEND destination:/topic/a receipt:r1
         < #1 send /topic/a |
         < (wants no input)
         = 1 0
         < (wants no input)
         = 0 0
         < RECEIPT receipt-id:r0 matched:0
         < RECEIPT receipt-id:r1 matched:0",
    );
}

#[test]
fn m6_unroutable() {
    check_connected(
        "1.2",
        Options::default(),
        "> SEND destination:/topic/a mandatory:true receipt:r
         < #0 send /topic/a mandatory:true (mandatory) |
         = 0 unroutable
         < ERROR code:unroutable receipt-id:r
         < close 1013 unroutable",
    );
    check_connected(
        "1.2",
        Options::default(),
        "> SEND destination:/topic/a mandatory:true
         < #- send /topic/a mandatory:true (mandatory) |
         = - unroutable
         < ERROR code:unroutable
         < close 1013 unroutable",
    );
}

#[test]
fn m7_u8_a_destination_is_needed() {
    check_connected(
        "1.1",
        Options::default(),
        "> SEND receipt:r
         < ERROR code:missing-header receipt-id:r
         < close 1002 missing-header",
    );
    check_connected(
        "1.1",
        Options::default(),
        "> SEND destination:/topicX receipt:r
         < ERROR code:unknown-destination receipt-id:r
         < close 1008 unknown-destination",
    );
}

#[test]
fn u8_where_unknown_destinations_are_dropped_the_broker_notes_it() {
    let spaces = Spaces::new(Vec::new(), Unknown::Drop).expect("no spaces");
    check_connected(
        "1.2",
        Options { spaces, ..Options::default() },
        "> SEND destination:/x receipt:r
         < #0 send /x |
         = 0 0
         < RECEIPT receipt-id:r matched:0",
    );
}

#[test]
fn x3_a_refused_send_leaves_a_session_that_asked_for_it_alive() {
    check_continuing(
        Options::default(),
        "> SEND destination:/x receipt:r0
         < ERROR code:unknown-destination receipt-id:r0
         < note Refused { code: \"unknown-destination\" }
         > SEND destination:/queue/a receipt:r1
         < #0 send /queue/a |
         > SEND destination:/queue/a receipt:r2
         < #1 send /queue/a |
         = 1 1
         = 0 full
         < ERROR code:queue-full receipt-id:r1
         < note Refused { code: \"queue-full\" }
         < RECEIPT receipt-id:r2 matched:1
         = - unroutable
         < ERROR code:unroutable
         < note Refused { code: \"unroutable\" }
         > SEND receipt:r3
         < ERROR code:missing-header receipt-id:r3
         < close 1002 missing-header",
    );
}

#[test]
fn x4_some_sessions_need_not_ask() {
    check_connected(
        "1.1",
        Options { continue_on_error: true, ..Options::default() },
        "> SEND destination:/x
         < ERROR code:unknown-destination
         < note Refused { code: \"unknown-destination\" }",
    );
}

#[test]
fn a_receipt_id_has_a_limit() {
    check_connected(
        "1.2",
        Options { max_id_bytes: 3, ..Options::default() },
        "> BEGIN transaction:t receipt:r12
         < RECEIPT receipt-id:r12
         > ABORT transaction:t receipt:r123
         < ERROR code:id-too-long receipt-id:r123
         < close 1009 id-too-long",
    );
}

/// X3: a wish that nobody understands concerns its own frame alone.
#[test]
fn x3_a_session_survives_a_header_that_a_queue_does_not_understand() {
    let mut player = Player::new(Options::default());
    player.happen("> CONNECT accept-version:1.2 on-error:continue");
    for frame in [
        "SEND destination:/queue/a delay:soon receipt:r",
        "SUBSCRIBE id:a destination:/queue/a prefetch-count:many receipt:r",
        "SUBSCRIBE id:a destination:/topic/a activemq.subscriptionName:prices receipt:r",
    ] {
        let actions = player.happen(&format!("> {frame}"));
        assert!(actions[0].starts_with("ERROR code:bad-header receipt-id:r"), "{frame}: {actions:?}");
        assert!(actions.iter().all(|action| !action.starts_with("close")), "{frame}: {actions:?}");
    }
    assert_eq!(player.happen("> SEND destination:/queue/a delay:5"), ["#- send /queue/a delay:5 {due +5} |"]);
}

#[test]
fn what_a_sender_asks_of_a_queue() {
    let check_terms = |headers: &str, terms: &str| {
        let send = format!("> SEND destination:/queue/a {headers}\n< #- send /queue/a {headers}{terms} |");
        check_connected("1.2", Options::default(), &send);
    };
    check_terms("expires:1700000000000", " {expires @1700000000000}");
    check_terms("expiration:5000 delay:10", " {expires +5000, due +10}");
    check_terms("deliver-at:7 AMQ_SCHEDULED_DELAY:9", " {due @7}");
    check_terms("AMQ_SCHEDULED_DELAY:9 deliver-at:7", " {due +9}");
    check_terms("expires:0 expiration:5", " {expires +5}");
    check_terms("expires:99999999999999999999999", " {expires @18446744073709551615}");
    check_terms("priority:9 persistent:true", " {priority 9, persistent}");
    check_terms("priority:high x:y persistent:yes group:", "");
    check_terms("JMSXGroupID:a group:b", " {group a}");
    for wrong in ["expires:tomorrow", "expiration:-1", "delay:1.5", "deliver-at:", "AMQ_SCHEDULED_DELAY:+1"] {
        let send = format!("> SEND destination:/queue/a {wrong}\n< ERROR code:bad-header\n< close 1002 bad-header");
        check_connected("1.2", Options::default(), &send);
        // A topic has no such things, so there the header is the application's.
        let send = format!("> SEND destination:/topic/a {wrong}\n< #- send /topic/a {wrong} |");
        check_connected("1.2", Options::default(), &send);
    }
}
