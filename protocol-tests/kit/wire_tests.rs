//! The client codec: what it writes, and how strict it is with what servers write.

use crate::harness::Piece;
use crate::harness::deflate::Inflater;
use crate::harness::packet::{self, Packet};
use crate::replay::{self, Mode, Random};
use crate::transcript::Version;
use crate::wire::{Decoder, Frame, Item, LineEnd, encode};

fn frame(command: &str, headers: &[(&str, &str)], body: &[u8]) -> Frame {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Frame { command: command.to_owned(), headers, body: body.to_vec() }
}

/// Decodes the bytes whole and octet by octet, with the same outcome.
#[track_caller]
fn check(version: Version, bytes: &[u8], expected: Result<&[Item], &str>) {
    let mut outcomes = Vec::new();
    for size in [bytes.len(), 1] {
        let mut decoder = Decoder::default();
        decoder.speak(version);
        let mut items = Vec::new();
        let mut outcome = Ok(());
        'bytes: for chunk in bytes.chunks(size) {
            decoder.push(chunk);
            loop {
                match decoder.item() {
                    Ok(Some(item)) => items.push(item),
                    Ok(None) => break,
                    Err(wrong) => {
                        outcome = Err(wrong);
                        break 'bytes;
                    }
                }
            }
        }
        outcomes.push(outcome.map(|()| items));
    }
    for outcome in outcomes {
        match (&outcome, expected) {
            (Ok(items), Ok(expected)) => assert_eq!(items, expected),
            (Err(wrong), Err(part)) => assert!(wrong.contains(part), "{wrong}"),
            (outcome, expected) => panic!("{outcome:?} and not {expected:?}"),
        }
    }
}

#[test]
fn what_servers_may_send() {
    let body = frame("MESSAGE", &[("content-length", "3"), ("a:b", "c\nd")], b"x\0y");
    check(
        Version::V1_2,
        b"\nMESSAGE\r\ncontent-length:3\r\na\\cb:c\\nd\r\n\r\nx\0y\0\n",
        Ok(&[Item::EndOfLine, Item::Frame(body), Item::EndOfLine]),
    );
    check(Version::V1_1, b"RECEIPT\nr:a\n\n\0", Ok(&[Item::Frame(frame("RECEIPT", &[("r", "a")], b""))]));
    check(Version::V1_0, b"ERROR\nr:a\\b:c\n\nno\0", Ok(&[Item::Frame(frame("ERROR", &[("r", "a\\b:c")], b"no"))]));
    check(Version::V1_2, b"CONNECTED\na:b\\c:d\n\n\0", Ok(&[Item::Frame(frame("CONNECTED", &[("a", "b\\c:d")], b""))]));
    check(Version::V1_1, b"RECEIPT\nr:a\rb\r\n\n\0", Ok(&[Item::Frame(frame("RECEIPT", &[("r", "a\rb\r")], b""))]));
    check(Version::V1_2, b"MESSAGE\ncontent-length:9\n\nabc\0", Ok(&[]));
}

#[test]
fn what_servers_may_not_send() {
    check(Version::V1_2, b"SEND\n\n\0", Err("no frame a server may send"));
    check(Version::V1_2, b"MESSAGE\nno colon\n\n\0", Err("without a colon"));
    check(Version::V1_2, b"MESSAGE\n:x\n\n\0", Err("without a name"));
    check(Version::V1_2, b"MESSAGE\na:b:c\n\n\0", Err("unescaped colon"));
    check(Version::V1_2, b"MESSAGE\na:b\\t\n\n\0", Err("undefined escape"));
    check(Version::V1_1, b"MESSAGE\na:b\\r\n\n\0", Err("undefined escape"));
    check(Version::V1_2, b"MESSAGE\na:b\rc\n\n\0", Err("bare carriage return"));
    check(Version::V1_2, b"MESSAGE\na:\xff\n\n\0", Err("not UTF-8"));
    check(Version::V1_2, b"MESSAGE\ncontent-length:2\n\nabc\0", Err("where the NUL must stand"));
    check(Version::V1_2, b"MESSAGE\ncontent-length:-2\n\nabc\0", Err("no octet count"));
    check(Version::V1_2, b"RECEIPT\nreceipt-id:1\n\nbody\0", Err("RECEIPT has a body"));
    check(Version::V1_2, b"RECEIPT\nreceipt-id:1\0", Err("a NUL before the headers end"));
    check(Version::V1_2, b"\rMESSAGE\n\n\0", Err("carriage return between frames"));
}

#[test]
fn what_we_send() {
    let send = frame("SEND", &[("a:b", "c\\d\n")], b"x");
    assert_eq!(encode(&send, Version::V1_2, LineEnd::Lf), b"SEND\na\\cb:c\\\\d\\n\n\nx\0");
    assert_eq!(encode(&send, Version::V1_0, LineEnd::Lf), b"SEND\na:b:c\\d\n\n\nx\0");
    assert_eq!(encode(&send, Version::V1_2, LineEnd::CrLf), b"SEND\r\na\\cb:c\\\\d\\n\r\n\r\nx\0");
    let connect = frame("CONNECT", &[("a", "b:c\\d")], b"");
    assert_eq!(encode(&connect, Version::V1_2, LineEnd::Lf), b"CONNECT\na:b:c\\d\n\n\0");
}

#[test]
fn replays_keep_the_bytes() {
    let text = "SEND\na:b\n\ngrüße 🥾\0".as_bytes().to_vec();
    for mode in [Mode::Plain, Mode::Bytes, Mode::Cuts { seed: 7 }] {
        let pieces = replay::pieces(mode, text.clone(), false, &mut Random::new(7));
        let join = |piece: &Piece| match piece {
            Piece::Plain(bytes) | Piece::Binary(bytes) => bytes.clone(),
            Piece::Packet(_) => Vec::new(),
        };
        assert_eq!(pieces.iter().flat_map(join).collect::<Vec<u8>>(), text, "{mode}");
        assert_eq!(pieces.len() > 1, mode != Mode::Plain, "{mode}");
    }
}

#[test]
fn packets_of_every_length() {
    for length in [0, 1, 125, 126, 127, 65535, 65536] {
        let sent = Packet { masked: false, ..Packet::new(packet::BINARY, vec![7; length]) };
        let bytes = sent.encode();
        assert_eq!(Packet::parse(&bytes, false), Ok(Some((bytes.len(), sent.clone()))));
        assert_eq!(Packet::parse(&bytes[..bytes.len() - 1], false), Ok(None));
    }
    let masked = Packet::new(packet::TEXT, b"x".to_vec()).encode();
    assert_eq!(masked.len(), 7);
    assert!(Packet::parse(&masked, false).is_err());
}

#[test]
fn compressed_messages_there_and_back() {
    let text = "SEND\ndestination:/topic/a\n\nx\0".as_bytes().repeat(50);
    for answer in ["permessage-deflate", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"] {
        let mut inflater = Inflater::agreed(Some(answer)).unwrap().unwrap();
        for payload in [&text[..], b"", b"x", &[0; 100_000]] {
            let sent = Packet::new(packet::TEXT, payload.to_vec()).deflated();
            assert_eq!(sent.rsv, packet::COMPRESSED);
            assert!(sent.payload.len() < payload.len().max(12), "{}", sent.payload.len());
            assert_eq!(inflater.inflate(&sent.payload).as_deref(), Ok(payload), "{answer}");
        }
        assert!(inflater.inflate(b"\xff\xff\xff").is_err(), "{answer}");
    }
}

#[test]
fn compression_only_where_agreed() {
    assert!(Inflater::agreed(None).unwrap().is_none());
    for answer in ["x-webkit-deflate-frame", "permessage-deflate; client_max_window_bits=9", "permessage-deflate; x"] {
        assert!(Inflater::agreed(Some(answer)).is_err(), "{answer}");
    }
    let sent = Packet { masked: false, ..Packet::new(packet::TEXT, b"x".to_vec()).deflated() };
    let bytes = sent.encode();
    assert!(Packet::parse(&bytes, false).is_err());
    assert_eq!(Packet::parse(&bytes, true), Ok(Some((bytes.len(), sent.clone()))));
    let ping = Packet { opcode: packet::PING, ..sent };
    assert!(Packet::parse(&ping.encode(), true).is_err());
}
