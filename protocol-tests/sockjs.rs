//! SockJS as a browser's requests see it, against a broker with several workers (E1, H2, B2).
//!
//! Each request has a connection of its own, and so mostly a worker that is not the one its conduit lives on.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use gumboot::server::{Options, Server};

#[path = "sockjs/draft76.rs"]
mod draft76;
#[path = "sockjs/ends.rs"]
mod ends;
#[path = "sockjs/unfinished.rs"]
mod unfinished;
#[path = "sockjs/unread.rs"]
mod unread;
#[path = "sockjs/wire.rs"]
mod wire;

/// No answer takes this long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Broker {
    server: Server,
}

struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Broker {
    fn start(set: impl FnOnce(&mut Options)) -> Broker {
        let free = || vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let mut options =
            Options { websocket: free(), tcp: free(), admin: Vec::new(), workers: 3, ..Options::default() };
        set(&mut options);
        Broker { server: Server::start(options).unwrap() }
    }

    fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.websocket_addresses()[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn connections(&self) -> u64 {
        self.server.counters().iter().map(|counters| counters.connections.read()).sum()
    }

    /// The limits that were reached.
    fn limits(&self) -> Vec<&'static str> {
        self.server.counters().iter().flat_map(|counters| counters.limits().into_keys()).collect()
    }

    /// Sends a request, and leaves the answer to be read.
    fn begin(&self, method: &str, path: &str, headers: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = self.dial();
        let length = body.len();
        let request = format!(
            "{method} /ws{path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: {length}\r\n\
             {headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Response {
        let mut reader = self.begin(method, path, headers, body);
        let head = read_head(&mut reader);
        let mut body = String::new();
        reader.read_to_string(&mut body).unwrap();
        Response { status: head[9..12].parse().unwrap(), head, body }
    }

    fn post(&self, path: &str, body: &str) -> Response {
        self.ask("POST", path, "", body)
    }

    /// A poll that is answered.
    fn poll(&self, session: &str) -> String {
        let response = self.post(&format!("/0/{session}/xhr"), "");
        assert_eq!(response.status, 200);
        response.body.strip_suffix('\n').unwrap().to_owned()
    }

    fn send(&self, session: &str, frames: &[&str]) {
        let response = self.post(&format!("/0/{session}/xhr_send"), &serde_json::to_string(frames).unwrap());
        assert_eq!((response.status, response.body.as_str()), (204, ""));
    }

    /// A session that is through with CONNECT.
    fn connect(&self, session: &str) {
        assert_eq!(self.poll(session), "o");
        self.send(session, &["CONNECT\naccept-version:1.2\n\n\0"]);
        assert!(messages(&self.poll(session))[0].starts_with("CONNECTED\n"));
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    head
}

fn messages(frame: &str) -> Vec<String> {
    let array = frame.strip_prefix('a').unwrap_or_else(|| panic!("{frame}"));
    serde_json::from_str(array).unwrap()
}

#[test]
fn e1_answers_at_the_path_of_the_web_socket() {
    let broker = Broker::start(|_| {});
    let check = |method: &str, path: &str, status: u16, part: &str| {
        let response = broker.ask(method, path, "", "");
        assert_eq!(response.status, status, "{method} {path}");
        assert!(response.body.contains(part) || response.head.contains(part), "{}{}", response.head, response.body);
    };
    check("GET", "", 200, "Welcome to SockJS!\n");
    check("GET", "/", 200, "Welcome to SockJS!\n");
    check("GET", "/info", 200, "{\"websocket\":true,\"origins\":[\"*:*\"],\"cookie_needed\":false,\"entropy\":");
    check("GET", "/iframe-1.6.1.html", 200, "x-frame-options: SAMEORIGIN\r\n");
    check("GET", "/nothing", 404, "");
    check("GET", "x/info", 404, "");
    check("GET", "/0/a/xhr", 405, "allow: OPTIONS, POST\r\n");
    check("GET", "/0/a/websocket", 400, "Upgrade");
    check("POST", "/0/a/xhr_send", 404, "");
    check("GET", "/0/a/jsonp", 500, "\"callback\" parameter required");
}

#[test]
fn e1_it_can_be_switched_off() {
    let broker = Broker::start(|options| options.sockjs.enabled = false);
    assert_eq!(broker.ask("GET", "/info", "", "").status, 404);
    assert_eq!(broker.ask("GET", "", "", "").status, 426);
}

#[test]
fn e1_the_path_may_be_the_root() {
    let broker = Broker::start(|options| options.http.path = "/".to_owned());
    let mut stream = broker.dial();
    let handshake = "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).unwrap();
    assert!(read_head(&mut BufReader::new(stream)).starts_with("HTTP/1.1 101 "));
    let mut stream = broker.dial();
    stream.write_all(b"POST /0/s/xhr HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\n\r\n").unwrap();
    assert!(read_head(&mut BufReader::new(stream)).starts_with("HTTP/1.1 200 "));
}

#[test]
fn h2_pages_from_elsewhere_are_refused() {
    let broker = Broker::start(|_| {});
    for (method, path) in [("GET", "/info"), ("POST", "/0/a/xhr"), ("OPTIONS", "/0/a/xhr"), ("POST", "/0/a/xhr_send")] {
        let refused = broker.ask(method, path, "origin: https://elsewhere.example\r\n", "");
        assert_eq!(refused.status, 403, "{method} {path}");
        assert!(!refused.head.contains("access-control"), "{}", refused.head);
    }
    let allowed = broker.ask("GET", "/info", "origin: http://localhost:3000\r\n", "");
    assert!(allowed.head.contains("access-control-allow-origin: http://localhost:3000\r\n"), "{}", allowed.head);
}

#[test]
fn stomp_comes_through_whole_and_in_order_past_a_small_cache() {
    let broker = Broker::start(|options| options.sockjs.cache_bytes = 1024);
    broker.connect("s");
    let subscribe = "SUBSCRIBE\nid:0\ndestination:/topic/t\nreceipt:r\n\n\0";
    // A frame in pieces is a frame all the same.
    broker.send("s", &[&subscribe[..10], &subscribe[10..]]);
    assert_eq!(messages(&broker.poll("s")), ["RECEIPT\nreceipt-id:r\n\n\0"]);
    let sends: Vec<String> = (0..300).map(|number| format!("SEND\ndestination:/topic/t\n\n{number:0500}\0")).collect();
    broker.send("s", &sends.iter().map(String::as_str).collect::<Vec<&str>>());
    let mut number = 0;
    while number < 300 {
        for message in messages(&broker.poll("s")) {
            assert!(message.starts_with("MESSAGE\n") && message.ends_with(&format!("\n{number:0500}\0")), "{message}");
            number += 1;
        }
    }
}

#[test]
fn what_closes_a_connection_closes_a_conduit() {
    let broker = Broker::start(|_| {});
    broker.connect("s");
    broker.send("s", &["NONSENSE\n\n\0"]);
    assert!(messages(&broker.poll("s"))[0].starts_with("ERROR\n"));
    for _ in 0..2 {
        let closed = broker.poll("s");
        assert!(closed.starts_with("c[1002,"), "{closed}");
    }
    assert_eq!(broker.post("/0/s/xhr_send", "[\"\\n\"]").status, 404);
}

/// Reads up to the first line with this in it.
fn read_to(stream: &mut BufReader<TcpStream>, part: &str) {
    let mut line = String::new();
    while !line.contains(part) {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "{part} did not come");
    }
}

#[test]
fn one_receiver_at_a_time_and_none_that_breaks_off() {
    let broker = Broker::start(|_| {});
    let mut stream = broker.begin("POST", "/0/s/xhr_streaming", "", "");
    read_to(&mut stream, "o\n");
    assert_eq!(broker.poll("s"), "c[2010,\"Another connection still open\"]");
    drop(stream);
    // The broker takes note in its own time.
    let answer = loop {
        let answer = broker.poll("s");
        if !answer.starts_with("c[2010,") {
            break answer;
        }
    };
    assert_eq!(answer, "c[1002,\"Connection interrupted\"]");
}

#[test]
fn b2_silence_is_filled() {
    let broker = Broker::start(|options| options.sockjs.heartbeat = Some(Duration::from_millis(50)));
    assert_eq!(broker.poll("s"), "o");
    assert_eq!(broker.poll("s"), "h");
}

#[test]
fn a_client_that_stays_away_is_gone() {
    let broker = Broker::start(|options| options.sockjs.disconnect_delay = Duration::from_millis(100));
    broker.connect("s");
    while broker.post("/0/s/xhr_send", "[]").status != 404 {}
    while broker.connections() > 0 {}
    assert_eq!(broker.poll("s"), "o");
}

#[test]
fn one_conduit_too_many_is_told_so() {
    let broker = Broker::start(|options| options.sockjs.max_conduits = 1);
    assert_eq!(broker.poll("a"), "o");
    let refused = broker.post("/0/b/xhr", "");
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("there may be 1 (sockjs.max_conduits)"), "{}", refused.body);
    assert_eq!(broker.limits(), ["too-many-conduits"]);
    broker.send("a", &["\n"]);
}

#[test]
fn a_body_too_large_is_refused() {
    let broker = Broker::start(|options| options.worker.websocket.max_packet_bytes = 1024);
    assert_eq!(broker.poll("s"), "o");
    let refused = broker.post("/0/s/xhr_send", &format!("[\"{}\"]", "\\n".repeat(1024)));
    assert_eq!(refused.status, 413);
    assert!(refused.body.contains("1024 bytes (websocket.max_packet)"), "{}", refused.body);
    assert_eq!(broker.limits(), ["request-too-long"]);
    broker.send("s", &["\n"]);
}

/// Were it answered before, the rest of the body would come to a connection that nobody reads any more, which resets it.
#[test]
fn a_receiver_is_answered_when_all_of_its_body_has_come() {
    let broker = Broker::start(|_| {});
    let mut stream = broker.dial();
    let head = "POST /ws/0/s/xhr HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(stream.peek(&mut [0]).is_err(), "an answer to half a request");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"0\r\n\r\nGET /ws/info HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    assert!(read_head(&mut reader).starts_with("HTTP/1.1 200 "));
    let mut frame = [0; 2];
    reader.read_exact(&mut frame).unwrap();
    assert_eq!(&frame, b"o\n");
    assert!(read_head(&mut reader).starts_with("HTTP/1.1 200 "), "the connection goes on");
}

#[test]
fn the_cookie_of_load_balancers() {
    let broker = Broker::start(|options| options.sockjs.session_cookie = Some("node-1".to_owned()));
    assert!(broker.ask("GET", "/info", "", "").body.contains("\"cookie_needed\":true"));
    let fresh = broker.post("/0/a/xhr", "");
    assert!(fresh.head.contains("set-cookie: JSESSIONID=node-1; path=/\r\n"), "{}", fresh.head);
    let known = broker.ask("POST", "/0/b/xhr", "cookie: a=b; JSESSIONID=node-2\r\n", "");
    assert!(known.head.contains("set-cookie: JSESSIONID=node-2; path=/\r\n"), "{}", known.head);
}

#[test]
fn going_away_is_said() {
    let broker = Broker::start(|_| {});
    let mut stream = broker.begin("POST", "/0/s/xhr_streaming", "", "");
    read_to(&mut stream, "o\n");
    broker.send("s", &["CONNECT\naccept-version:1.2\n\n\0"]);
    read_to(&mut stream, "CONNECTED");
    broker.server.shut_down();
    read_to(&mut stream, "c[1001,\"going-away\"]");
}
