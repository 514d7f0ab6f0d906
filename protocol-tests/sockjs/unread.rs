//! Answers that do not wait for the body of their request: neither they nor the connection are lost by that.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::{Broker, read_head};

/// Requests whose answers are known from their heads, to be followed by what tells of the body.
const EARLY: [(&str, &str); 5] = [
    ("POST /ws/0/none/xhr_send HTTP/1.1\r\nhost: 127.0.0.1\r\n", "HTTP/1.1 404 "),
    ("POST /ws/0/s/xhr_send HTTP/1.1\r\nhost: 127.0.0.1\r\norigin: http://elsewhere.example\r\n", "HTTP/1.1 403 "),
    ("POST /ws/0/s/eventsource HTTP/1.1\r\nhost: 127.0.0.1\r\n", "HTTP/1.1 405 "),
    ("POST /ws/nothing HTTP/1.1\r\nhost: 127.0.0.1\r\n", "HTTP/1.1 404 "),
    ("POST /elsewhere HTTP/1.1\r\nhost: 127.0.0.1\r\n", "HTTP/1.1 404 "),
];

const NEXT: &[u8] = b"GET /ws/info HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";

/// Sends the head of a request in one piece.
fn begin(reader: &mut BufReader<TcpStream>, head: &str) {
    reader.get_mut().write_all(head.as_bytes()).unwrap();
}

/// Reads an answer up to its end.
fn answer(reader: &mut BufReader<TcpStream>) -> String {
    let head = read_head(reader);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    reader.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
    head
}

#[test]
fn a_connection_goes_on_behind_a_body_that_nobody_wanted() {
    let broker = Broker::start(|_| {});
    for (request, status) in EARLY {
        for (tells, body) in [
            ("content-length: 6\r\n", &b"[\"\\n\"]"[..]),
            ("transfer-encoding: chunked\r\n", b"6\r\n[\"\\n\"]\r\n0\r\n\r\n"),
        ] {
            let mut reader = BufReader::new(broker.dial());
            begin(&mut reader, &format!("{request}{tells}\r\n"));
            let head = answer(&mut reader);
            assert!(head.starts_with(status) && !head.contains("connection: close"), "{request}{head}");
            reader.get_mut().write_all(body).unwrap();
            reader.get_mut().write_all(NEXT).unwrap();
            assert!(answer(&mut reader).starts_with("HTTP/1.1 200 "), "{request}");
        }
    }
}

/// A client that first sends all of its body and then reads finds the answer: the connection was not reset.
#[test]
fn an_answer_is_not_lost_to_a_body_that_nobody_wanted() {
    let broker = Broker::start(|_| {});
    let body = vec![b'x'; 4 * 1024 * 1024];
    for (request, status) in EARLY {
        let mut reader = BufReader::new(broker.dial());
        begin(&mut reader, &format!("{request}content-length: {}\r\n\r\n", body.len()));
        reader.get_mut().write_all(&body).unwrap();
        assert!(answer(&mut reader).starts_with(status), "{request}");
    }
}

#[test]
fn a_connection_ends_where_the_body_is_larger_than_any_may_be() {
    let broker = Broker::start(|options| options.worker.websocket.max_packet_bytes = 1024);
    for (request, status) in EARLY {
        let mut reader = BufReader::new(broker.dial());
        begin(&mut reader, &format!("{request}content-length: 100000\r\n\r\n"));
        let head = answer(&mut reader);
        assert!(head.starts_with(status) && head.contains("connection: close\r\n"), "{request}{head}");
        // As much as is read in any case: the answer was there before.
        reader.get_mut().write_all(&[b'x'; 1025]).unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "{request}");
    }
}

#[test]
fn a_body_is_not_waited_for_longer_than_any() {
    let broker = Broker::start(|options| options.http.request_timeout = Duration::from_millis(200));
    for (request, status) in EARLY {
        let mut reader = BufReader::new(broker.dial());
        begin(&mut reader, &format!("{request}content-length: 6\r\n\r\n["));
        assert!(answer(&mut reader).starts_with(status), "{request}");
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "{request}");
    }
}

#[test]
fn who_asks_first_is_told_no_and_not_to_go_on() {
    let broker = Broker::start(|_| {});
    for (request, status) in EARLY {
        let mut reader = BufReader::new(broker.dial());
        begin(&mut reader, &format!("{request}content-length: 6\r\nexpect: 100-continue\r\n\r\n"));
        let head = answer(&mut reader);
        assert!(head.starts_with(status) && head.contains("connection: close\r\n"), "{request}{head}");
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "{request}");
    }
}
