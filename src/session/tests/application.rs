use super::super::WorkRight;
use super::super::identity::Secret;
use super::*;

/// One session may work for `/app/jobs/**`, and nobody may send to `/topic/events`.
fn options() -> Options {
    let right = WorkRight {
        destinations: vec!["/app/jobs/**".into()],
        login: Some(("worker".to_owned(), Secret::new("secret"))),
    };
    Options { work_rights: vec![right], protected: Some(Destination::new("/topic/events")), ..Options::default() }
}

/// All actions that come of a CONNECT with these headers, rendered.
fn connected(headers: &str) -> Vec<String> {
    let mut session = Session::new(Instant::now(), ByteString::from_static("s-1"), Arc::new(options()));
    session.handle_frame(Instant::now(), frame(&format!("CONNECT accept-version:1.2 {headers}")));
    std::iter::from_fn(|| session.poll_action()).map(render).collect()
}

#[test]
fn a4_who_connects_is_told_without_secrets() {
    let told = connected("login:me passcode:secret Authorization:x x:y x:z");
    assert_eq!(told.last().map(String::as_str), Some("opened s-1 as None accept-version:1.2 x:y"));
}

#[test]
fn sends_go_to_whoever_handles_them() {
    check_connected(
        "1.2",
        options(),
        "> SEND destination:/app/x a:b | body
         < #- call send /app/x a:b | body
         > SEND destination:/app/x receipt:r
         < #0 call send /app/x |
         = 0 2
         < RECEIPT receipt-id:r matched:2
         > BEGIN transaction:t
         > SEND destination:/app/x transaction:t
         > COMMIT transaction:t receipt:c
         < #1 commit { send /app/x | }
         < (wants no input)
         = 1 1
         < RECEIPT receipt-id:c",
    );
}

#[test]
fn a2_a_subscribe_asks_and_registers_nothing() {
    check_connected(
        "1.2",
        options(),
        "> SUBSCRIBE id:q destination:/app/init ack:client x:1 receipt:r
         < #0 ask 0=q /app/init x:1
         > UNSUBSCRIBE id:q receipt:u
         = 0 1
         < RECEIPT receipt-id:r
         < RECEIPT receipt-id:u
         > SUBSCRIBE id:q destination:/topic/a
         < #2 subscribe 1=q topic /topic/a credit:100
         = 2 0
         > SUBSCRIBE id:q destination:/app/jobs/**
         < #- unsubscribe 1=q topic /topic/a by-client
         < #3 ask 2=q /app/jobs/**",
    );
}

#[test]
fn a_refused_question_leaves_those_alive_who_asked_for_that() {
    check_continuing(
        options(),
        "> SUBSCRIBE id:q destination:/app/init receipt:r
         < #0 ask 0=q /app/init
         = 0 unroutable
         < ERROR code:unroutable receipt-id:r
         < note Refused { code: \"unroutable\" }",
    );
}

#[test]
fn only_those_with_the_right_work() {
    let mut player = Player::new(options());
    let refused = player.happen("> CONNECT accept-version:1.2 login:worker passcode:other");
    assert_eq!(refused.first().map(String::as_str), Some("ERROR code:wrong-passcode"));
    for (login, works) in [("login:worker passcode:secret", true), ("login:x passcode:secret", false)] {
        let mut player = Player::new(options());
        player.happen(&format!("> CONNECT accept-version:1.2 on-error:continue {login}"));
        let took = player.happen("> SUBSCRIBE id:w destination:/app/jobs/** ack:client");
        let expected = match works {
            true => "#0 subscribe 0=w queue /app/jobs/** credit:100",
            false => "#0 ask 0=w /app/jobs/**",
        };
        assert_eq!(took, [expected], "{login}");
        // The right is for what it names, as it is written.
        assert_eq!(player.happen("> SUBSCRIBE id:x destination:/app/jobs/1"), ["#1 ask 1=x /app/jobs/1"]);
        let answered = player.happen("> SEND destination:/app/@answer/s-1/1");
        assert_eq!(answered.first().is_some_and(|first| first.contains("call")), works, "{answered:?}");
        let listens = player.happen("> SUBSCRIBE id:e destination:/topic/*");
        assert_eq!(listens.first().is_some_and(|first| first.contains("subscribe")), works, "{listens:?}");
        let sent = player.happen("> SEND destination:/topic/events");
        assert_eq!(sent.first().map(String::as_str), Some("ERROR code:not-allowed"));
    }
}

#[test]
fn messages_of_workers_say_where_they_were_sent() {
    let mut player = Player::new(options());
    player.happen("> CONNECT accept-version:1.2 login:worker passcode:secret");
    player.happen("> SUBSCRIBE id:w destination:/app/jobs/** ack:client");
    let (key, mut delivery) = delivery("0 /app/jobs/** 7 queue");
    let content = &mut Arc::make_mut(&mut delivery.message).content;
    content.headers = Headers::from_iter([("app-destination", "/app/jobs/7")]);
    player.session.handle_delivery(player.now, key, delivery, true);
    let shown = std::iter::from_fn(|| player.session.poll_action()).find_map(|action| match action {
        Action::Deliver(outgoing) => Some(outgoing.message.content.destination.to_string()),
        _ => None,
    });
    assert_eq!(shown.as_deref(), Some("/app/jobs/7"));
}
