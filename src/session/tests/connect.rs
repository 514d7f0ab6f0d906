//! CONNECT and heart-beats: SEMANTICS C1 to C5, B1, B4, H4.

use super::*;

const SERVER: &str = concat!("server:gumboot/", env!("CARGO_PKG_VERSION"));

/// A broker that asks for heart-beats no more often than every ten seconds.
fn calm() -> Options {
    let interval = Duration::from_secs(10);
    Options { heart_beat_send: interval, heart_beat_receive: interval, ..Options::default() }
}

#[track_caller]
fn check_connect(connect: &str, connected: &str) {
    check(calm(), &format!("> {connect}\n< CONNECTED {connected} session:s-1 {SERVER}"));
}

#[test]
fn c1_c2_c3_the_highest_common_version() {
    let js = "accept-version:1.2,1.1,1.0 heart-beat:10000,10000";
    check_connect(&format!("CONNECT {js}"), "version:1.2 heart-beat:10000,10000");
    check_connect(&format!("STOMP {js} host:x"), "version:1.2 heart-beat:10000,10000");
    check_connect("CONNECT accept-version:1.1,1.0", "version:1.1 heart-beat:10000,10000");
    check_connect("CONNECT accept-version:1.0,9.9", "version:1.0 heart-beat:0,0");
    check_connect("CONNECT", "version:1.0 heart-beat:0,0");
    check_connect("CONNECT login:guest passcode:guest", "version:1.0 heart-beat:0,0");
}

#[test]
fn c4_no_common_version() {
    check(
        Options::default(),
        "> CONNECT accept-version:2.0
         < ERROR code:no-common-version version:1.2,1.1,1.0
         < close 1002 no-common-version",
    );
}

#[test]
fn c4_second_connect() {
    check_connected(
        "1.2",
        Options::default(),
        "> CONNECT accept-version:1.2
         < ERROR code:already-connected
         < close 1002 already-connected
         > SEND destination:/topic/a | nothing is heard any more
         = - unroutable
         @ 60000
         closing
         lost",
    );
}

#[test]
fn c5_another_frame_before_connect() {
    check(
        Options::default(),
        "> SEND destination:/topic/a receipt:r
         < ERROR code:not-connected receipt-id:r
         < close 1002 not-connected",
    );
    check(
        Options::default(),
        "> MESSAGE destination:/topic/a
         < ERROR code:not-connected
         < close 1002 not-connected",
    );
}

#[test]
fn a_malformed_heart_beat() {
    check(
        Options::default(),
        "> CONNECT accept-version:1.2 heart-beat:10s,10s
         < ERROR code:bad-header
         < close 1002 bad-header",
    );
}

#[test]
fn h4_no_connect_in_time() {
    check(
        Options::default(),
        "received 9000
         @ 9999
         @ 10000
         < ERROR code:connect-timeout
         < close 1002 connect-timeout",
    );
    let player = Player::new(Options::default());
    assert_eq!(player.session.poll_timeout(), Some(player.at("10000")));
}

#[test]
fn b1_we_send_when_we_are_idle() {
    check(
        calm(),
        &format!(
            "> CONNECT accept-version:1.2 heart-beat:0,10000
             < CONNECTED version:1.2 heart-beat:10000,10000 session:s-1 {SERVER}
             @ 7999
             @ 8000
             < heart-beat
             @ 15999
             sent 15999
             @ 16000
             @ 23999
             < heart-beat
             @ 600000
             < heart-beat"
        ),
    );
}

#[test]
fn b1_b4_three_intervals_of_silence() {
    check(
        Options { heart_beat_tolerance: 3, ..calm() },
        &format!(
            "> CONNECT accept-version:1.2 heart-beat:5000,0
             < CONNECTED version:1.2 heart-beat:10000,10000 session:s-1 {SERVER}
             @ 29999
             received 20000
             @ 30000
             @ 49999
             @ 50000
             < ERROR code:heart-beat-missed
             < close 1002 heart-beat-missed"
        ),
    );
}

#[test]
fn b1_the_timeout_is_the_earlier_deadline() {
    let mut player = Player::new(calm());
    player.happen("> CONNECT accept-version:1.2 heart-beat:2000,10000");
    assert_eq!(player.session.poll_timeout(), Some(player.at("8000")));
    player.happen("sent 25000");
    assert_eq!(player.session.poll_timeout(), Some(player.at("30000")));

    let mut player = Player::new(calm());
    player.happen("> CONNECT accept-version:1.2 heart-beat:0,0");
    assert_eq!(player.session.poll_timeout(), None);
}
