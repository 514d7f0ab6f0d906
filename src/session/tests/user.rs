//! User destinations and who a client is: SEMANTICS P1, C3, X4.

use super::*;

fn trusting() -> Options {
    Options { trust_login: true, ..Options::default() }
}

#[test]
fn p1_a_subscription_takes_streams_of_its_session_and_its_user() {
    let mut player = Player::new(trusting());
    player.happen("> CONNECT accept-version:1.2 login:a/b");
    assert_eq!(player.session.user(), Some("a/b"));
    compare(
        &mut player,
        "> SUBSCRIBE id:0 destination:/user/queue/x
         < #0 subscribe 0=0 own %2Fuser/s-1/queue/x %2Fuser/a%2Fb/queue/x credit:100
         = 0 0
         > SUBSCRIBE id:1 destination:/user/** ack:client
         < #1 subscribe 1=1 own %2Fuser/s-1/** %2Fuser/a%2Fb/** paced credit:100
         = 1 0
         > UNSUBSCRIBE id:0
         < #- unsubscribe 0=0 own %2Fuser/s-1/queue/x %2Fuser/a%2Fb/queue/x by-client
         > SUBSCRIBE id:2 destination:/user
         < ERROR code:bad-user-destination
         < #- unsubscribe 1=1 own %2Fuser/s-1/** %2Fuser/a%2Fb/** paced
         < close 1008 bad-user-destination",
    );
}

#[test]
fn c3_connected_names_the_user() {
    let server = concat!("server:gumboot/", env!("CARGO_PKG_VERSION"));
    let connected = format!("< CONNECTED version:1.2 heart-beat:0,0 session:s-1 {server}");
    let calm = |options| Options { heart_beat_send: Duration::ZERO, heart_beat_receive: Duration::ZERO, ..options };
    check(calm(trusting()), &format!("> CONNECT accept-version:1.2 login:bob\n{connected} user-name:bob"));
    check(calm(trusting()), &format!("> CONNECT accept-version:1.2\n{connected}"));
    check(calm(Options::default()), &format!("> CONNECT accept-version:1.2 login:bob\n{connected}"));
    check(
        trusting(),
        "> CONNECT accept-version:1.2 login:00000001-0-1
         < ERROR code:bad-user-name
         < close 1002 bad-user-name",
    );
}

#[test]
fn x4_a_relay_goes_on_after_a_refusal() {
    let relays = vec![Relay { login: "bus".into(), passcode: Secret::new("secret") }];
    let options = Options { relays, ..Options::default() };
    let mut player = Player::new(options.clone());
    player.happen("> CONNECT accept-version:1.2 login:bus passcode:secret");
    compare(
        &mut player,
        "> SUBSCRIBE id:0 destination:/nowhere
         < ERROR code:unknown-destination
         < note Refused { code: \"unknown-destination\" }",
    );
    check(
        options,
        "> CONNECT accept-version:1.2 login:bus passcode:other
         < ERROR code:wrong-passcode
         < close 1008 wrong-passcode",
    );
}
