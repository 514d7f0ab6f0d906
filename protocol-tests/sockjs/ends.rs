//! The end of a connection whose client still sends: it reads all that it is told, over SockJS as without it (X1, X2).

use crate::Broker;
use crate::wire::{CLOSE, Client, TEXT, WAYS, Way, frame};

/// More than any buffer on the way has room for.
const MUCH: usize = 16 * 1024 * 1024;

/// Says something, goes on as if nothing were wrong, and only then reads.
fn go_on_after(client: &mut Client, bytes: &[u8]) {
    client.write(bytes);
    let more = client.written("\n").repeat(1024);
    for _ in 0..MUCH / more.len() {
        client.write(&more);
    }
}

#[test]
fn x1_who_sends_on_after_an_error_reads_it_and_the_close_frame() {
    for way in WAYS {
        let broker = Broker::start(|_| {});
        let mut client = Client::connect(&broker, way);
        let nonsense = client.written("NONSENSE\n\n\0");
        go_on_after(&mut client, &nonsense);
        let heard = client.hear();
        assert!(heard.starts_with("ERROR\n") && heard.contains("code:unknown-command\n"), "{way:?}: {heard}");
        if way == Way::SockJs {
            assert_eq!(client.packet(), (1, b"c[1002,\"unknown-command\"]".to_vec()));
        }
        client.expect_end(1002);
    }
}

#[test]
fn x2_who_sends_on_after_breaking_a_rule_reads_the_close_frame() {
    let broker = Broker::start(|_| {});
    let no_json = frame(TEXT, b"no array");
    let unmasked = vec![TEXT, 1, b'x'];
    let no_text = frame(TEXT, b"\xff");
    for (way, bytes, code) in [
        (Way::SockJs, &no_json, 1007),
        (Way::SockJs, &unmasked, 1002),
        (Way::SockJs, &no_text, 1007),
        (Way::WebSocket, &unmasked, 1002),
        (Way::WebSocket, &no_text, 1007),
    ] {
        let mut client = Client::connect(&broker, way);
        go_on_after(&mut client, bytes);
        client.expect_end(code);
    }
}

#[test]
fn x2_so_does_a_client_that_ends_the_connection_itself() {
    let broker = Broker::start(|_| {});
    for way in [Way::WebSocket, Way::SockJs] {
        let mut client = Client::connect(&broker, way);
        go_on_after(&mut client, &frame(CLOSE, &4321_u16.to_be_bytes()));
        client.expect_end(4321);
    }
}

/// G3: what a client said before its end takes effect, though all of it comes at once.
#[test]
fn g3_what_came_before_the_end_takes_effect() {
    for way in [Way::WebSocket, Way::SockJs] {
        let broker = Broker::start(|_| {});
        let mut subscriber = Client::connect(&broker, Way::Tcp);
        subscriber.say("SUBSCRIBE\nid:0\ndestination:/topic/a\nreceipt:r\n\n\0");
        assert!(subscriber.hear().starts_with("RECEIPT\n"));
        let mut client = Client::connect(&broker, way);
        let last = client.written("SEND\ndestination:/topic/a\n\nlast words\0");
        client.write(&[last, frame(CLOSE, &1000_u16.to_be_bytes())].concat());
        client.expect_end(1000);
        assert!(subscriber.hear().ends_with("\n\nlast words\0"), "{way:?}");
    }
}
