use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ConnectionKey, Counters, Event, Framing, Hub, Options, Peer, Post, Submission};
use crate::broker::{Change, Command, Interest};
use crate::clock::Clock;
use crate::destination::Destination;
use crate::headers::Headers;
use crate::message::{Content, Sequences, WorkerId};

/// One hub and its clients.
struct Player {
    hub: Hub,
    now: Instant,
    counters: Arc<Counters>,
}

impl Player {
    fn new(options: Options) -> Player {
        let (now, counters) = (Instant::now(), Arc::new(Counters::default()));
        let interest = Arc::new(Interest::new(1));
        let hub = Hub::new(Clock::new(now, 0), WorkerId(0), 1, Arc::new(options), interest, Arc::clone(&counters));
        Player { hub, now, counters }
    }

    fn connect(&mut self) -> ConnectionKey {
        let key = self.hub.open(self.now, Peer { transport: "tcp", address: None }, Framing::Stream);
        self.say(key, "CONNECT\naccept-version:1.2\n\n\0");
        assert!(self.hear(key).starts_with("CONNECTED\n"));
        key
    }

    fn say(&mut self, key: ConnectionKey, text: &str) {
        self.hub.receive(self.now, key, &mut text.as_bytes().to_vec());
    }

    /// Takes all that is written to one client, whose socket takes everything; the others' take nothing.
    fn hear(&mut self, key: ConnectionKey) -> String {
        let mut text = String::new();
        for dirty in self.hub.seal() {
            if dirty != key {
                self.hub.blocked(dirty);
            }
        }
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let filled = self.hub.slices(key, &mut slices);
            let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
            if bytes.is_empty() {
                return text;
            }
            text.push_str(&String::from_utf8_lossy(&bytes));
            self.hub.wrote(self.now, key, bytes.len());
            self.hub.seal();
        }
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.hub.poll_event()).collect()
    }
}

#[test]
fn subscribers_with_one_id_share_one_encoding() {
    let mut player = Player::new(Options::default());
    let clients: Vec<_> = (0..3).map(|_| player.connect()).collect();
    for client in &clients {
        player.say(*client, "SUBSCRIBE\nid:sub-0\ndestination:/topic/a\n\n\0");
    }
    for number in 0..2 {
        player.say(clients[0], &format!("SEND\ndestination:/topic/a\n\nm{number}\0"));
    }
    let keys = player.hub.seal();
    assert_eq!(keys.len(), 3);
    let front = |hub: &Hub, key| {
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(hub.slices(key, &mut slices), 1, "a burst is one piece");
        (slices[0].as_ptr(), slices[0].len())
    };
    let places: Vec<_> = keys.iter().map(|key| front(&player.hub, *key)).collect();
    assert!(places.iter().all(|place| *place == places[0]), "all write the same bytes of the same buffer");
    assert_eq!(player.counters.deliveries.read(), 6);
}

#[test]
fn x5_all_that_was_queued_goes_out_before_the_end() {
    let mut player = Player::new(Options::default());
    let client = player.connect();
    player.say(client, "SUBSCRIBE\nid:0\ndestination:/queue/a\n\n\0");
    player.say(client, "SEND\ndestination:/queue/a\n\none\0DISCONNECT\nreceipt:bye\n\n\0");
    let heard = player.hear(client);
    let (message, receipt) = (heard.find("MESSAGE\n").unwrap(), heard.find("RECEIPT\n").unwrap());
    assert!(message < receipt, "{heard}");
    assert_eq!(player.events(), [Event::Finished(client)]);
    // Q2: what was written is consumed.
    let other = player.connect();
    player.say(other, "SUBSCRIBE\nid:0\ndestination:/queue/a\nreceipt:r\n\n\0");
    assert!(!player.hear(other).contains("MESSAGE"));
}

/// Q2, Q4: what is on its way to a client that says goodbye is its own if it is written, and else goes back to its place.
#[test]
fn q2_what_was_unwritten_at_the_end_of_its_subscription_is_not_lost() {
    for goodbye in
        ["UNSUBSCRIBE\nid:0\n\n\0", "DISCONNECT\nreceipt:bye\n\n\0", "SUBSCRIBE\nid:0\ndestination:/queue/a\n\n\0"]
    {
        for is_written in [true, false] {
            let mut player = Player::new(Options::default());
            let client = player.connect();
            player.say(client, "SUBSCRIBE\nid:0\ndestination:/queue/a\n\n\0");
            player.say(client, "SEND\ndestination:/queue/a\n\none\0");
            player.say(client, goodbye);
            let other = player.connect();
            player.say(other, "SUBSCRIBE\nid:0\ndestination:/queue/a\nreceipt:r\n\n\0");
            assert!(!player.hear(other).contains("MESSAGE"), "it still may reach the first");
            if is_written {
                assert!(player.hear(client).contains("MESSAGE"));
            }
            player.hub.failed(player.now, client);
            let heard = player.hear(other);
            assert_eq!(
                heard.contains("MESSAGE") && heard.contains("redelivered:true"),
                !is_written,
                "{goodbye:?} {heard}"
            );
        }
    }
}

#[test]
fn b3_a_silent_websocket_peer_is_pinged_and_then_given_up() {
    let mut player = Player::new(Options::default());
    let peer = Peer { transport: "websocket", address: None };
    let key = player.hub.open(player.now, peer, Framing::Packets(None));
    let connect = masked("CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0");
    player.hub.receive(player.now, key, &mut connect.clone());
    player.hear(key);
    player.now += Duration::from_secs(25);
    player.hub.handle_timeout(player.now);
    assert_eq!(player.hear(key), "\u{fffd}\0", "a ping is two bytes");
    // A pong is a sign of life.
    player.hub.receive(player.now, key, &mut [0x8a, 0x80, 0, 0, 0, 0]);
    player.now += Duration::from_secs(25);
    player.hub.handle_timeout(player.now);
    player.hear(key);
    player.now += Duration::from_secs(20);
    player.hub.handle_timeout(player.now);
    assert_eq!(player.events(), [Event::Removed(key)]);
}

/// G5: no policy for slow consumers speaks about answers, so a peer that leaves them unread is not read.
#[test]
fn a_peer_that_does_not_read_its_answers_is_not_read() {
    let mut player = Player::new(Options { outbox_bytes: 500, ..Options::default() });
    let client = player.connect();
    let frame = "SEND\ndestination:/topic/a\nreceipt:one\n\n\0";
    let mut sent = 0;
    while player.hub.wants_input(client) {
        player.say(client, frame);
        sent += 1;
        assert!(sent < 100, "{} bytes are unread", player.hub.queued(client));
    }
    let before = player.hub.queued(client);
    player.say(client, &frame.repeat(50));
    assert_eq!(player.hub.queued(client), before, "what it sends all the same has to wait");
    player.hear(client);
    assert_eq!(player.events(), [Event::Resumed(client)]);
    player.hub.resume(player.now, client);
    assert!(player.hub.queued(client) > 500, "it is taken up again, up to the limit");
    assert!(!player.hub.wants_input(client));
}

/// G3: a client may say all it wants to say, close its side, and read the answers.
#[test]
fn what_came_before_the_end_of_input_takes_effect_and_is_answered() {
    let mut player = Player::new(Options { outbox_bytes: 200, ..Options::default() });
    let client = player.connect();
    let frames: String = (0..30).map(|number| format!("SEND\ndestination:/queue/a\nreceipt:{number}\n\nm\0")).collect();
    player.say(client, &frames);
    player.hub.ended(player.now, client);
    let mut heard = String::new();
    loop {
        heard.push_str(&player.hear(client));
        match player.events()[..] {
            [Event::Resumed(_)] => player.hub.resume(player.now, client),
            [Event::Finished(_)] => break,
            ref events => panic!("{events:?} after {heard}"),
        }
    }
    assert_eq!(heard.matches("RECEIPT\n").count(), 30, "{heard}");
    assert_eq!(player.counters.closes().get("closed-by-peer"), Some(&1));
}

/// Law 8 the other way round: who reads is not slow, however much comes at once.
#[test]
fn g5_a_large_commit_costs_a_reading_subscriber_nothing() {
    let mut player = Player::new(Options { outbox_bytes: 200, ..Options::default() });
    let clients: Vec<_> = (0..3).map(|_| player.connect()).collect();
    let [publisher, reading, stuck] = clients[..] else { panic!("three were made") };
    for client in [reading, stuck] {
        player.say(client, "SUBSCRIBE\nid:sub-0\ndestination:/topic/a\n\n\0");
    }
    // What one socket does not take makes it a slow one.
    player.say(publisher, "SEND\ndestination:/topic/a\n\nm\0");
    assert_eq!(player.hear(reading).matches("MESSAGE\n").count(), 1);
    let send = "SEND\ndestination:/topic/a\ntransaction:t\n\nm\0".repeat(50);
    player.say(publisher, &format!("BEGIN\ntransaction:t\n\n\0{send}COMMIT\ntransaction:t\n\n\0"));
    assert_eq!(player.hear(reading).matches("MESSAGE\n").count(), 50);
    assert_eq!(player.counters.closes().get("slow-consumer"), Some(&1));
    assert!(player.hear(stuck).contains("code:slow-consumer"));
}

/// A text packet with the key 0, which leaves it readable.
fn masked(text: &str) -> Vec<u8> {
    let mut packet = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    packet.extend_from_slice(text.as_bytes());
    packet
}

/// P3: what the broker itself says reaches one session by its name, and shows what that subscribed to.
#[test]
fn the_broker_itself_can_answer_a_session() {
    let mut player = Player::new(Options::default());
    let key = player.hub.open(player.now, Peer { transport: "tcp", address: None }, Framing::Stream);
    player.say(key, "CONNECT\naccept-version:1.2\n\n\0");
    let connected = player.hear(key);
    let name = connected.lines().find_map(|line| line.strip_prefix("session:")).unwrap();
    player.say(key, "SUBSCRIBE\nid:0\ndestination:/user/queue/answers\n\n\0");
    for (to, is_reached) in [(name, true), ("00000001-0-ff", false), ("nobody", false)] {
        let content = Content {
            destination: Destination::new(format!("/user/{to}/queue/answers")),
            headers: Headers::default(),
            body: bytes::Bytes::from_static(b"yes"),
            is_text: true,
            exclude_origin: false,
            mandatory: true,
            terms: None,
        };
        player.hub.publish(player.now, content);
        let heard = player.hear(key);
        assert_eq!(heard.contains("\ndestination:/user/queue/answers\n"), is_reached, "{heard}");
        assert_eq!(heard.is_empty(), !is_reached, "{heard}");
        assert!(!heard.contains(name), "{heard}");
    }
}

/// U9: an UNSUBSCRIBE that ends a durable subscription, with messages of it unwritten, ends the session's own part first.
#[test]
fn what_is_asked_after_an_unsubscribe_comes_after_it() {
    let mut player = Player::new(Options::default());
    let client = player.connect();
    let subscribe = "SUBSCRIBE\nid:a\ndestination:/topic/a\ndurable:true\nauto-delete:false\nprefetch-count:1\n\n\0";
    player.say(client, subscribe);
    player.say(client, &"SEND\ndestination:/topic/a\n\nm\0".repeat(3));
    player.say(client, "UNSUBSCRIBE\nid:a\ndurable:true\nreceipt:r\n\n\0");
    let heard = player.hear(client);
    assert!(heard.contains("MESSAGE\n") && heard.contains("receipt-id:r\n"), "{heard}");
    assert!(!heard.contains("ERROR\n"), "{heard}");
}

/// M2, Q6: a queue that ends and is made anew within one turn has its new mark in the store, not what ended the old one.
#[test]
fn the_store_hears_of_marks_in_order() {
    let mut player = Player::new(Options::default());
    player.hub.use_store(Sequences::above(0));
    let client = player.connect();
    player.say(client, "SUBSCRIBE\nid:a\ndestination:/queue/a\nack:client-individual\n\n\0");
    player.say(client, "SEND\ndestination:/queue/a\npersistent:true\n\none\0");
    for Submission { ticket, .. } in player.hub.take_submissions() {
        let stored = Post::Command(Command::Stored { ticket, result: Ok(()) });
        player.hub.receive_posts(player.now, vec![stored]);
    }
    let heard = player.hear(client);
    let ack = heard.lines().find_map(|line| line.strip_prefix("ack:")).expect("a MESSAGE");
    player.say(client, &format!("ACK\nid:{ack}\n\n\0UNSUBSCRIBE\nid:a\n\n\0"));
    player.say(client, "SUBSCRIBE\nid:b\ndestination:/queue/a\n\n\0");
    player.say(client, "SEND\ndestination:/queue/a\npersistent:true\n\ntwo\0");
    let changes = player.hub.take_submissions().into_iter().flat_map(|submission| submission.changes);
    let marks: Vec<u64> =
        changes.filter_map(|change| if let Change::Mark { up_to, .. } = change { Some(up_to) } else { None }).collect();
    assert!(matches!(&marks[..], [0, new] if *new > 0), "{marks:?}");
}
