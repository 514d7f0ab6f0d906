//! SockJS in the draft of WebSocket from 2010, byte by byte (E1, H2).

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::{Broker, messages, read_head};

const NONCE: &[u8; 8] = b"^n:ds[4U";
/// What the draft's own example makes of its keys and that nonce.
const PROOF: &[u8; 16] = b"8jKS'y:G*Co,Wxa-";
const KEYS: &str = "sec-websocket-key1: 4 @1  46546xW%0l 1 5\r\nsec-websocket-key2: 12998 5 Y3 1  .P00\r\n";

const END: &[u8] = b"\xff\x00";

fn start() -> Broker {
    Broker::start(|options| options.sockjs.websocket_draft_76 = true)
}

/// The head of a request with more headers.
fn head(path: &str, headers: &str) -> String {
    format!("GET /ws{path} HTTP/1.1\r\nhost: 127.0.0.1:1\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\n{headers}\r\n")
}

fn good_head() -> String {
    head("/0/s/websocket", KEYS)
}

fn frame(messages: &[&str]) -> Vec<u8> {
    [b"\x00", serde_json::to_string(messages).unwrap().as_bytes(), b"\xff"].concat()
}

struct Client(BufReader<TcpStream>);

impl Client {
    /// A client whose handshake is over, and whose conduit is open.
    fn new(broker: &Broker) -> Client {
        let mut client = Client(BufReader::new(broker.dial()));
        client.send(good_head().as_bytes());
        client.send(NONCE);
        client.expect_opening();
        client
    }

    fn connected(broker: &Broker) -> Client {
        let mut client = Client::new(broker);
        client.send(&frame(&["CONNECT\naccept-version:1.2\n\n\0"]));
        assert!(client.messages()[0].starts_with("CONNECTED\n"));
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn expect_opening(&mut self) {
        let head = read_head(&mut self.0);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        self.expect_proof();
    }

    fn expect_proof(&mut self) {
        let mut proof = [0; 16];
        self.0.read_exact(&mut proof).unwrap();
        assert_eq!(&proof, PROOF);
        assert_eq!(self.frame(), "o");
    }

    fn frame(&mut self) -> String {
        let mut byte = [0];
        self.0.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [0x00], "a frame of text");
        let mut text = Vec::new();
        loop {
            self.0.read_exact(&mut byte).unwrap();
            match byte {
                [0xff] => return String::from_utf8(text).unwrap(),
                [other] => text.push(other),
            }
        }
    }

    fn messages(&mut self) -> Vec<String> {
        messages(&self.frame())
    }

    fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, END, "{}", rest.escape_ascii());
    }
}

#[test]
fn the_response_comes_before_the_nonce_and_stomp_goes_both_ways() {
    let broker = start();
    let mut client = Client(BufReader::new(broker.dial()));
    let more = format!("{KEYS}origin: http://localhost:3000\r\nsec-websocket-protocol: v12.stomp\r\n");
    client.send(head("/0/s/websocket?a=b", &more).as_bytes());
    let head = read_head(&mut client.0);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for line in [
        "upgrade: WebSocket",
        "connection: Upgrade",
        "sec-websocket-location: ws://127.0.0.1:1/ws/0/s/websocket?a=b",
        "sec-websocket-origin: http://localhost:3000",
        "sec-websocket-protocol: v12.stomp",
    ] {
        assert!(head.lines().any(|each| each == line), "{line} is not in\n{head}");
    }
    assert!(!head.contains("content-length") && !head.contains("sec-websocket-accept"), "{head}");
    client.send(NONCE);
    client.expect_proof();
    client.send(&frame(&["CONNECT\naccept-version:1.2\n\n\0"]));
    assert!(client.messages()[0].starts_with("CONNECTED\n"));
    client.send(&frame(&["SUBSCRIBE\nid:0\ndestination:/topic/t\nreceipt:r\n\n\0"]));
    assert_eq!(client.messages(), ["RECEIPT\nreceipt-id:r\n\n\0"]);
    client.send(&frame(&["SEND\ndestination:/topic/t\n\nGrüße\0"]));
    let message = client.messages().concat();
    assert!(message.starts_with("MESSAGE\n") && message.ends_with("\n\nGrüße\0"), "{message}");
    client.send(END);
    client.expect_end();
}

#[test]
fn a_handshake_may_be_cut_anywhere() {
    let broker = start();
    let head = good_head();
    let all = [head.as_bytes(), NONCE, &frame(&["CONNECT\naccept-version:1.2\n\n\0"])].concat();
    for cut in 0..=all.len() {
        let mut client = Client(BufReader::new(broker.dial()));
        client.send(&all[..cut]);
        if cut >= head.len() {
            // So that what follows surely comes for itself, as it does behind a proxy.
            assert!(read_head(&mut client.0).starts_with("HTTP/1.1 101 "));
            client.send(&all[cut..]);
            client.expect_proof();
        } else {
            client.send(&all[cut..]);
            client.expect_opening();
        }
        assert!(client.messages()[0].starts_with("CONNECTED\n"), "cut at {cut}");
    }
}

#[test]
fn requests_that_are_none_of_the_draft_are_refused() {
    let check = |broker: &Broker, request: String, status: &str, part: &str| {
        let mut stream = broker.dial();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let head = read_head(&mut reader);
        assert!(head.starts_with(status), "{request}\n{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut text = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut text).unwrap();
        assert!(String::from_utf8(text).unwrap().contains(part), "{request}\n{head}");
    };
    let on = start();
    let session = |headers: &str| head("/0/s/websocket", headers);
    let keys = "\"Sec-WebSocket-Key1\" and \"Sec-WebSocket-Key2\"";
    check(&on, session("sec-websocket-key1: 12345\r\nsec-websocket-key2: 1 2\r\n"), "HTTP/1.1 400 ", keys);
    check(&on, session("sec-websocket-key1: 1 2\r\n"), "HTTP/1.1 400 ", keys);
    check(&on, session(&format!("{KEYS}origin: http://elsewhere.example\r\n")), "HTTP/1.1 403 ", "elsewhere");
    check(&on, good_head().replace("GET", "POST"), "HTTP/1.1 405 ", "");
    check(&on, session(&format!("{KEYS}sec-websocket-version: 8\r\n")), "HTTP/1.1 426 ", "version 13");
    // It is for SockJS only, and only where it is switched on.
    check(&on, head("", KEYS), "HTTP/1.1 426 ", "version 13");
    check(&on, head("/websocket", KEYS), "HTTP/1.1 426 ", "version 13");
    check(&Broker::start(|_| {}), good_head(), "HTTP/1.1 426 ", "version 13");
}

#[test]
fn the_standard_is_spoken_as_ever() {
    let broker = start();
    let key = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut client = Client(BufReader::new(broker.dial()));
    client.send(head("/0/s/websocket", key).as_bytes());
    assert!(read_head(&mut client.0).contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    let mut opened = [0; 3];
    client.0.read_exact(&mut opened).unwrap();
    assert_eq!(&opened, b"\x81\x01o");
}

#[test]
fn a_nonce_that_does_not_come_is_not_waited_for() {
    let broker = Broker::start(|options| {
        options.sockjs.websocket_draft_76 = true;
        options.http.request_timeout = Duration::from_millis(200);
    });
    let mut client = Client(BufReader::new(broker.dial()));
    client.send(good_head().as_bytes());
    assert!(read_head(&mut client.0).starts_with("HTTP/1.1 101 "));
    client.send(&NONCE[..7]);
    let mut rest = Vec::new();
    client.0.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "nothing is proven");
    assert_eq!(broker.connections(), 0, "no session was begun");
}

#[test]
fn what_breaks_a_rule_ends_the_connection() {
    let broker = Broker::start(|options| {
        options.sockjs.websocket_draft_76 = true;
        options.worker.websocket.max_packet_bytes = 1024;
    });
    let long = [b"\x00", &b"x".repeat(1025)[..]].concat();
    for broken in [&long[..], b"\x00[\"\xff", b"\x00\"\x80\"\xff", b"\x81\x00", b"\xff\x01"] {
        let mut client = Client::connected(&broker);
        client.send(broken);
        client.expect_end();
    }
    let mut client = Client::connected(&broker);
    let fits = format!("SEND\ndestination:/topic/t\nreceipt:r\n\n{}\0", "x".repeat(900));
    client.send(&frame(&[&fits]));
    assert!(client.messages()[0].starts_with("RECEIPT\nreceipt-id:r\n"));
}

#[test]
fn what_closes_a_connection_is_said_by_sockjs() {
    let broker = start();
    let mut client = Client::connected(&broker);
    client.send(&frame(&["NONSENSE\n\n\0"]));
    assert!(client.messages()[0].starts_with("ERROR\n"));
    let closed = client.frame();
    assert!(closed.starts_with("c[1002,"), "{closed}");
    client.expect_end();
}

#[test]
fn going_away_is_said_in_the_draft_too() {
    let broker = start();
    let mut client = Client::connected(&broker);
    broker.server.shut_down();
    assert_eq!(client.frame(), "c[1001,\"going-away\"]");
    client.expect_end();
}
