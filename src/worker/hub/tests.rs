use super::*;
use crate::destination::Destination;
use crate::headers::Headers;

/// A hub with one TCP connection that may leave `outbox_bytes` unread, and is connected.
fn connected(outbox_bytes: usize) -> (Hub, ConnectionKey, Instant) {
    let now = Instant::now();
    let options = Arc::new(Options { outbox_bytes, ..Options::default() });
    let interest = Arc::new(Interest::new(1));
    let mut hub = Hub::new(Clock::new(now, 0), WorkerId(0), 1, options, interest, Arc::new(Counters::default()));
    let key = hub.open(now, Peer { transport: "tcp", address: None }, Framing::Stream);
    hub.receive(now, key, &mut b"CONNECT\naccept-version:1.2\n\n\0".to_vec());
    (hub, key, now)
}

/// Writes all that waits.
fn write(hub: &mut Hub, key: ConnectionKey, now: Instant) {
    hub.seal();
    while hub.queued(key) > 0 {
        let count = hub.queued(key);
        hub.wrote(now, key, count);
    }
}

/// G5: no policy for slow consumers speaks about answers, so a peer that leaves them unread is not read.
#[test]
fn a_peer_that_does_not_read_its_answers_is_not_read() {
    let (mut hub, key, now) = connected(500);
    let frame = b"SEND\ndestination:/topic/a\nreceipt:one\n\n\0";
    let mut sent = 0;
    while hub.wants_input(key) {
        hub.receive(now, key, &mut frame.to_vec());
        sent += 1;
        assert!(sent < 100, "{} bytes are unread", hub.queued(key));
    }
    let before = hub.queued(key);
    hub.receive(now, key, &mut frame.repeat(50));
    assert_eq!(hub.queued(key), before, "what it sends all the same has to wait");
    write(&mut hub, key, now);
    assert_eq!(hub.poll_event(), Some(Event::Resumed(key)));
    hub.resume(now, key);
    assert!(hub.queued(key) > 500, "it is taken up again, up to the limit");
    assert!(!hub.wants_input(key));
}

/// P3: what the broker itself says reaches one session by its name, and shows what that subscribed to.
#[test]
fn the_broker_itself_can_answer_a_session() {
    let (mut hub, key, now) = connected(1 << 20);
    let name = hub.peers.session_id(key).name(1);
    hub.receive(now, key, &mut b"SUBSCRIBE\nid:0\ndestination:/user/queue/answers\n\n\0".to_vec());
    write(&mut hub, key, now);
    for (to, is_reached) in [(name.as_str(), true), ("00000001-0-ff", false), ("nobody", false)] {
        let content = Content {
            destination: Destination::new(format!("/user/{to}/queue/answers")),
            headers: Headers::default(),
            body: bytes::Bytes::from_static(b"yes"),
            is_text: true,
            exclude_origin: false,
            mandatory: true,
            terms: None,
        };
        hub.publish(now, content);
        assert_eq!(hub.has_output(), is_reached, "{to}");
        hub.seal();
        let mut slices = [IoSlice::new(b""); 8];
        let count = hub.slices(key, &mut slices);
        let bytes = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(text.contains("\ndestination:/user/queue/answers\n"), is_reached, "{text}");
        assert!(!text.contains(&name), "{text}");
        write(&mut hub, key, now);
    }
}
