//! What clients have begun to send and not ended, on every transport together (G5).

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::Instant;

use gumboot::server::Options;

use crate::wire::{Client, TEXT, WAYS, Way, header};
use crate::{Broker, PATIENCE, read_head};

const LIMIT: usize = 1024 * 1024;

fn start() -> Broker {
    Broker::start(|options: &mut Options| {
        options.worker.unfinished_bytes = LIMIT;
        options.worker.websocket.max_packet_bytes = LIMIT;
    })
}

/// How much is kept now.
fn kept(broker: &Broker) -> usize {
    broker.server.counters().iter().map(|counters| counters.unfinished.read() as usize).sum()
}

/// Waits for what the broker does in its own time.
fn wait_until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        std::thread::yield_now();
    }
}

fn refusals(broker: &Broker) -> u64 {
    let of = |counters: &std::sync::Arc<gumboot::worker::Counters>| counters.limits().remove("too-much-unfinished");
    broker.server.counters().iter().filter_map(of).sum()
}

/// The first part of a message, and the rest of it, as this client writes them.
fn parts(client: &Client, way: Way, bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let body = "x".repeat(bytes);
    let text = format!("SEND\ndestination:/topic/a\nreceipt:r\n\n{body}\0");
    let whole = client.written(&text);
    let at = if way == Way::Tcp { whole.len() - 1 } else { whole.len() - 9 };
    (whole[..at].to_vec(), whole[at..].to_vec())
}

/// Sends so much of a message, waits until the broker has it, and answers with the rest.
fn begin(broker: &Broker, client: &mut Client, way: Way, bytes: usize) -> Vec<u8> {
    let before = kept(broker);
    let (part, rest) = parts(client, way, bytes);
    client.write(&part);
    wait_until(|| kept(broker) >= before + bytes || refusals(broker) > 0);
    rest
}

#[test]
fn g5_who_keeps_most_for_longest_goes_and_the_others_go_on() {
    for way in WAYS {
        let broker = start();
        let mut greedy = Client::connect(&broker, way);
        // Memory grows in steps, so that it may be up to twice of what it is for: still less than all of it.
        begin(&broker, &mut greedy, way, LIMIT / 4);
        let mut others: Vec<(Client, Vec<u8>)> = Vec::new();
        for way in WAYS.iter().cycle() {
            let mut other = Client::connect(&broker, *way);
            let rest = begin(&broker, &mut other, *way, LIMIT / 32);
            others.push((other, rest));
            if refusals(&broker) > 0 {
                break;
            }
        }
        assert!(others.len() > 8, "{way:?}: {} had room beside it", others.len());
        let heard = greedy.hear();
        assert!(heard.starts_with("ERROR\n") && heard.contains("code:too-much-unfinished\n"), "{way:?}: {heard}");
        assert!(heard.contains("more than 1048576 bytes unfinished (limits.unfinished_bytes)"), "{way:?}: {heard}");
        if way == Way::SockJs {
            assert_eq!(greedy.packet(), (1, b"c[1013,\"too-much-unfinished\"]".to_vec()));
        }
        greedy.expect_end(1013);
        for (mut other, rest) in others {
            other.write(&rest);
            assert_eq!(other.hear().lines().next(), Some("RECEIPT"));
        }
        assert_eq!(refusals(&broker), 1);
        // The last of the memory goes with the last of the answers.
        wait_until(|| kept(&broker) == 0);
    }
}

/// A message of WebSocket in pieces is as unfinished as a frame of STOMP in pieces, and what was read of it is counted once.
#[test]
fn g5_a_packet_in_pieces_counts() {
    let broker = start();
    let mut client = Client::connect(&broker, Way::SockJs);
    client.write(&header(TEXT, LIMIT / 2));
    client.write(&vec![b' '; LIMIT / 4]);
    wait_until(|| kept(&broker) >= LIMIT / 4);
    assert!(kept(&broker) < LIMIT);
    drop(client);
    wait_until(|| kept(&broker) == 0);
}

/// A request whose body does not come to its end.
fn post(broker: &Broker, session: &str, length: usize, body: &[u8]) -> BufReader<TcpStream> {
    let mut reader = BufReader::new(broker.dial());
    let head = format!("POST /ws/0/{session}/xhr_send HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {length}\r\n\r\n");
    reader.get_mut().write_all(head.as_bytes()).unwrap();
    reader.get_mut().write_all(body).unwrap();
    reader
}

#[test]
fn g5_the_bodies_of_requests_have_half() {
    let broker = start();
    for session in ["a", "b"] {
        assert_eq!(broker.poll(session), "o");
    }
    let whole = format!("[\"{}\"]", "\\n".repeat(LIMIT / 5));
    let (part, rest) = whole.split_at(LIMIT / 3);
    let mut first = post(&broker, "a", whole.len(), part.as_bytes());
    wait_until(|| kept(&broker) >= part.len());
    let mut second = post(&broker, "b", whole.len(), whole.as_bytes());
    assert!(read_head(&mut second).starts_with("HTTP/1.1 503 "));
    let mut words = String::new();
    std::io::BufRead::read_line(&mut second, &mut words).unwrap();
    assert!(words.contains("524288 bytes, half of limits.unfinished_bytes"), "{words}");
    assert_eq!(refusals(&broker), 1);
    first.get_mut().write_all(rest.as_bytes()).unwrap();
    assert!(read_head(&mut first).starts_with("HTTP/1.1 204 "));
    wait_until(|| kept(&broker) == 0);
    broker.send("b", &["\n"]);
}
