use super::*;

/// What a client said, with the pieces of each packet put together.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    /// The receiver gave up. Pieces of an unfinished packet are forgotten: how many came depends on the network.
    Broke(Violation),
}

const LIMIT: usize = 1000;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// FIN, RSV1 to RSV3 and the opcodes of a frame's first byte.
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;
const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A client's frame as it goes over the wire.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut bytes = match length {
        0..=125 => vec![first, 0x80 | length as u8],
        126..=0xffff => [&[first, 0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, 0x80 | 127][..], &(length as u64).to_be_bytes()].concat(),
    };
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A header alone, its length written in the given number of bytes.
fn header(first: u8, length_bytes: usize, length: u64) -> Vec<u8> {
    let mark = if length_bytes == 2 { 126 } else { 127 };
    [&[first, 0x80 | mark][..], &length.to_be_bytes()[8 - length_bytes..], &KEY].concat()
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    Codec::new(1).deflate(payload, 15).expect("a compressible payload").to_vec()
}

fn text(text: &str) -> Said {
    Said::Text(text.into())
}

/// Feeds the pieces to a fresh receiver.
fn hear<'p>(pieces: impl Iterator<Item = &'p [u8]>, deflate: bool) -> Vec<Said> {
    let mut codec = Codec::new(1);
    let mut receiver = Receiver::new(deflate);
    let mut said = Vec::new();
    let mut packet = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        loop {
            match receiver.next(&mut input, LIMIT, &mut codec) {
                Ok(None) => break,
                Ok(Some(Event::Data { kind, payload, fin })) => {
                    packet.extend_from_slice(payload);
                    if fin {
                        let packet = std::mem::take(&mut packet);
                        said.push(if kind == Kind::Text { Said::Text(packet) } else { Said::Binary(packet) });
                    }
                }
                Ok(Some(Event::Ping(payload))) => said.push(Said::Ping(payload.to_vec())),
                Ok(Some(Event::Pong(payload))) => said.push(Said::Pong(payload.to_vec())),
                Ok(Some(Event::Close(reason))) => {
                    said.push(Said::Close(reason.map(|(code, text)| (code.into(), text.to_owned()))));
                }
                Err(violation) => {
                    said.push(Said::Broke(violation));
                    assert_eq!(receiver.held_bytes(), 0, "nothing is kept for a connection that is beyond repair");
                    let again = receiver.next(&mut input, LIMIT, &mut codec).map(drop);
                    assert_eq!(again, Err(violation), "a violation stays");
                    return said;
                }
            }
        }
        assert!(input.is_empty(), "all input is taken");
    }
    said
}

/// Sends the frames in one go, cut once at every position, and byte by byte.
#[track_caller]
fn check_with(deflate: bool, frames: &[Vec<u8>], expected: &[Said]) {
    let bytes = frames.concat();
    assert_eq!(hear([&bytes[..]].into_iter(), deflate), expected, "in one go");
    assert_eq!(hear(bytes.chunks(1), deflate), expected, "byte by byte");
    for cut in 0..bytes.len().min(300) {
        let (front, back) = bytes.split_at(cut);
        assert_eq!(hear([front, back].into_iter(), deflate), expected, "cut at {cut}");
    }
}

#[track_caller]
fn check(frames: &[Vec<u8>], expected: &[Said]) {
    check_with(false, frames, expected);
    check_with(true, frames, expected);
}

#[track_caller]
fn breaks(frames: &[Vec<u8>], violation: Violation) {
    check(frames, &[Said::Broke(violation)]);
}

#[test]
fn an_idle_receiver_is_small() {
    assert!(size_of::<Receiver>() <= 64, "{} bytes", size_of::<Receiver>());
    assert_eq!(Receiver::new(true).held_bytes(), 0);
}

#[test]
fn takes_packets_of_one_frame() {
    check(&[], &[]);
    check(&[frame(FIN | TEXT, b"")], &[text("")]);
    check(&[frame(FIN | TEXT, b"Hello")], &[text("Hello")]);
    check(&[frame(FIN | BINARY, b"\x00\xff\xfe")], &[Said::Binary(vec![0x00, 0xff, 0xfe])]);
    for length in [125, 126, 127, LIMIT] {
        check(&[frame(FIN | TEXT, &vec![b'x'; length])], &[text(&"x".repeat(length))]);
    }
    check(
        &[frame(FIN | TEXT, b"one"), frame(FIN | BINARY, b"2"), frame(FIN | TEXT, b"\n")],
        &[text("one"), Said::Binary(b"2".to_vec()), text("\n")],
    );
}

#[test]
fn h5_takes_packets_of_many_fragments_with_control_frames_between() {
    check(&[frame(TEXT, b"Hel"), frame(FIN | CONTINUE, b"lo")], &[text("Hello")]);
    check(&[frame(TEXT, b""), frame(CONTINUE, b""), frame(FIN | CONTINUE, b"")], &[text("")]);
    check(
        &[frame(TEXT, b"a"), frame(FIN | PING, b"p"), frame(CONTINUE, b"b"), frame(FIN | CONTINUE, b"c")],
        &[Said::Ping(b"p".to_vec()), text("abc")],
    );
    check(
        &[frame(BINARY, b"a"), frame(FIN | CONTINUE, b"b"), frame(FIN | TEXT, b"c")],
        &[Said::Binary(b"ab".to_vec()), text("c")],
    );
}

#[test]
fn hands_out_pieces_of_an_incomplete_frame() {
    let mut codec = Codec::new(1);
    let mut receiver = Receiver::new(false);
    let mut bytes = frame(FIN | TEXT, b"SEND\n");
    let (front, back) = bytes.split_at_mut(8);
    let mut hear = |mut input: &mut [u8]| match receiver.next(&mut input, LIMIT, &mut codec) {
        Ok(Some(Event::Data { payload, fin, .. })) => Some((payload.to_vec(), fin, receiver.held_bytes())),
        _ => None,
    };
    assert_eq!(hear(front), Some((b"SE".to_vec(), false, 0)));
    assert_eq!(hear(&mut []), None);
    assert_eq!(hear(back), Some((b"ND\n".to_vec(), true, 0)));
}

#[test]
fn b3_takes_pings_and_pongs() {
    check(&[frame(FIN | PING, b"")], &[Said::Ping(vec![])]);
    check(&[frame(FIN | PING, &[7; 125])], &[Said::Ping(vec![7; 125])]);
    check(&[frame(FIN | PONG, b"\xff\x00")], &[Said::Pong(vec![0xff, 0x00])]);
    check(
        &[frame(FIN | PING, b"1"), frame(FIN | PONG, b""), frame(FIN | PING, b"2")],
        &[Said::Ping(b"1".to_vec()), Said::Pong(vec![]), Said::Ping(b"2".to_vec())],
    );
}

#[test]
fn refuses_ill_formed_control_frames() {
    breaks(&[frame(PING, b"")], Violation::ControlFragmented);
    breaks(&[frame(CLOSE, b"")], Violation::ControlFragmented);
    breaks(&[frame(FIN | PING, &[0; 126])], Violation::ControlTooLong);
    breaks(&[frame(FIN | CLOSE, &[0; 200])], Violation::ControlTooLong);
    breaks(&[header(FIN | PONG, 8, 1 << 40)], Violation::ControlTooLong);
}

#[test]
fn x2_takes_close_frames_and_drops_what_follows() {
    check(&[frame(FIN | CLOSE, b"")], &[Said::Close(None)]);
    check(&[frame(FIN | CLOSE, b""), frame(FIN | TEXT, b"late"), vec![0xff; 40]], &[Said::Close(None)]);
    check(&[frame(TEXT, b"a"), close(1001, b"")], &[Said::Close(Some((1001, String::new())))]);
    check(&[close(1000, "bye – κ".as_bytes())], &[Said::Close(Some((1000, "bye – κ".into())))]);
    check(&[close(4999, &[b'r'; 123])], &[Said::Close(Some((4999, "r".repeat(123))))]);
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4500]) {
        check(&[close(code, b"")], &[Said::Close(Some((code, String::new())))]);
    }
}

#[test]
fn refuses_ill_formed_close_frames() {
    breaks(&[frame(FIN | CLOSE, b"\x03")], Violation::CloseTooShort);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        breaks(&[close(code, b"")], Violation::CloseCodeForbidden(code));
    }
    breaks(&[close(1000, b"\xce\xba\xed\xa0\x80")], Violation::InvalidUtf8);
    breaks(&[close(1000, b"\xce")], Violation::InvalidUtf8);
}

#[test]
fn refuses_frames_without_a_mask() {
    breaks(&[vec![FIN | TEXT, 2, b'H', b'i']], Violation::Unmasked);
    breaks(&[vec![FIN | PING, 0]], Violation::Unmasked);
    breaks(&[vec![FIN | BINARY, 126, 1, 0]], Violation::Unmasked);
}

#[test]
fn refuses_reserved_bits_and_opcodes() {
    for first in [RSV2 | TEXT, RSV3 | BINARY, RSV2 | RSV3 | PING, RSV1 | PING, RSV1 | CLOSE] {
        breaks(&[frame(FIN | first, b"")], Violation::ReservedBit);
    }
    check_with(false, &[frame(FIN | RSV1 | TEXT, b"")], &[Said::Broke(Violation::ReservedBit)]);
    check_with(
        true,
        &[frame(RSV1 | TEXT, b""), frame(FIN | RSV1 | CONTINUE, b"")],
        &[Said::Broke(Violation::ReservedBit)],
    );
    for opcode in (3..=7).chain(11..=15) {
        breaks(&[frame(FIN | opcode, b"")], Violation::ReservedOpcode(opcode));
    }
}

#[test]
fn refuses_fragments_out_of_place() {
    breaks(&[frame(FIN | CONTINUE, b"a")], Violation::NothingToContinue);
    breaks(&[frame(CONTINUE, b"a")], Violation::NothingToContinue);
    check(
        &[frame(FIN | TEXT, b"a"), frame(FIN | CONTINUE, b"b")],
        &[text("a"), Said::Broke(Violation::NothingToContinue)],
    );
    breaks(&[frame(TEXT, b"a"), frame(FIN | TEXT, b"b")], Violation::PacketUnfinished);
    breaks(&[frame(BINARY, b"a"), frame(TEXT, b"b")], Violation::PacketUnfinished);
}

#[test]
fn refuses_ill_formed_lengths() {
    breaks(&[header(FIN | BINARY, 8, 1 << 63)], Violation::LengthTopBit);
    breaks(&[header(FIN | BINARY, 8, u64::MAX)], Violation::LengthTopBit);
    breaks(&[header(FIN | BINARY, 2, 125)], Violation::LengthNotMinimal);
    breaks(&[header(FIN | BINARY, 2, 0)], Violation::LengthNotMinimal);
    breaks(&[header(FIN | BINARY, 8, 65535)], Violation::LengthNotMinimal);
    breaks(&[header(FIN | PING, 2, 1)], Violation::LengthNotMinimal);
}

#[test]
fn refuses_packets_over_the_limit_when_they_are_announced() {
    let too_big = Violation::PacketTooBig { limit: LIMIT };
    breaks(&[header(FIN | TEXT, 2, 1001)], too_big);
    breaks(&[header(BINARY, 8, i64::MAX as u64)], too_big);
    breaks(&[frame(BINARY, &[0; 600]), header(CONTINUE, 2, 401)], too_big);
    check(&[frame(BINARY, &[1; 600]), frame(FIN | CONTINUE, &[1; 400])], &[Said::Binary(vec![1; LIMIT])]);
    check_with(true, &[header(FIN | RSV1 | TEXT, 2, 1001)], &[Said::Broke(too_big)]);
    check_with(true, &[frame(RSV1 | TEXT, &[0; 600]), header(CONTINUE, 2, 401)], &[Said::Broke(too_big)]);
}

#[test]
fn refuses_text_that_is_not_utf8_at_the_first_bad_byte() {
    check(&[frame(FIN | TEXT, "κόσμε 😀".as_bytes())], &[text("κόσμε 😀")]);
    check(&[frame(TEXT, b"\xf0\x9f"), frame(CONTINUE, b""), frame(FIN | CONTINUE, b"\x98\x80")], &[text("😀")]);
    check(
        &[frame(TEXT, b"\xf0\x9f"), frame(FIN | PING, b"\xff"), frame(FIN | CONTINUE, b"\x98\x80")],
        &[Said::Ping(vec![0xff]), text("😀")],
    );
    breaks(&[frame(FIN | TEXT, b"a\xff")], Violation::InvalidUtf8);
    breaks(&[frame(FIN | TEXT, b"\xf0\x9f\x98")], Violation::InvalidUtf8);
    breaks(&[frame(TEXT, b"\xe2\x82"), frame(FIN | CONTINUE, b"")], Violation::InvalidUtf8);
    // The packet is unfinished in each of these, and in the last two even the frame.
    breaks(&[frame(TEXT, b"\xed\xa0\x80")], Violation::InvalidUtf8);
    breaks(&[frame(TEXT, b"\xce"), frame(CONTINUE, b"\xce")], Violation::InvalidUtf8);
    breaks(&[frame(FIN | TEXT, b"ab\xf4\x90rest")[..10].to_vec()], Violation::InvalidUtf8);
    breaks(&[frame(FIN | TEXT, b"\xc0rest")[..7].to_vec()], Violation::InvalidUtf8);
}

#[test]
fn takes_compressed_packets() {
    let line = "destination:/topic/prices\n".repeat(20);
    let bytes = deflated(line.as_bytes());
    check_with(true, &[frame(FIN | RSV1 | TEXT, &bytes)], &[text(&line)]);
    check_with(true, &[frame(FIN | RSV1 | BINARY, &bytes)], &[Said::Binary(line.clone().into())]);
    let (front, back) = bytes.split_at(7);
    check_with(
        true,
        &[frame(RSV1 | TEXT, front), frame(FIN | PING, b"!"), frame(CONTINUE, b""), frame(FIN | CONTINUE, back)],
        &[Said::Ping(b"!".to_vec()), text(&line)],
    );
    check_with(
        true,
        &[frame(RSV1 | TEXT, &bytes), frame(FIN | CONTINUE, b""), frame(FIN | TEXT, b"plain")],
        &[text(&line), text("plain")],
    );
    check_with(
        true,
        &[frame(RSV1 | TEXT, front), frame(FIN | PING, b"one"), frame(FIN | PONG, b"two"), frame(FIN | CONTINUE, back)],
        &[Said::Ping(b"one".to_vec()), Said::Pong(b"two".to_vec()), text(&line)],
    );
    // The examples of RFC 7692 section 7.2.3 that need no context.
    for hello in [
        &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    ] {
        check_with(true, &[frame(FIN | RSV1 | TEXT, hello)], &[text("Hello")]);
    }
    let two_streams = b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00";
    check_with(true, &[frame(FIN | RSV1 | TEXT, two_streams)], &[text("HelloHello")]);
    check_with(true, &[frame(FIN | RSV1 | TEXT, b"\x00")], &[text("")]);
    check_with(true, &[frame(FIN | RSV1 | TEXT, b"")], &[text("")]);
}

#[test]
fn refuses_bad_compressed_packets() {
    let broke = |violation| [Said::Broke(violation)];
    let bytes = deflated(&b"{\"price\":1}".repeat(20));
    let cut = &bytes[..bytes.len() - 3];
    check_with(true, &[frame(FIN | RSV1 | TEXT, cut)], &broke(Violation::DamagedDeflate));
    check_with(true, &[frame(FIN | RSV1 | BINARY, b"\xff\xff\xff")], &broke(Violation::DamagedDeflate));
    let latin = deflated(&b"caf\xe9 ".repeat(20));
    check_with(true, &[frame(FIN | RSV1 | TEXT, &latin)], &broke(Violation::InvalidUtf8));
    let half = deflated(&[&b"a".repeat(99)[..], b"\xe2\x82"].concat());
    check_with(true, &[frame(FIN | RSV1 | TEXT, &half)], &broke(Violation::InvalidUtf8));
    let bomb = deflated(&[b'a'; LIMIT + 1]);
    check_with(true, &[frame(FIN | RSV1 | TEXT, &bomb)], &broke(Violation::PacketTooBig { limit: LIMIT }));
    let full = deflated(&[b'a'; LIMIT]);
    check_with(true, &[frame(FIN | RSV1 | TEXT, &full)], &[text(&"a".repeat(LIMIT))]);
}

#[test]
fn keeps_bytes_only_while_something_is_incomplete() {
    let mut codec = Codec::new(1);
    let mut receiver = Receiver::new(true);
    let packet = deflated(&[b'a'; 500]);
    let mut bytes = [frame(RSV1 | TEXT, &packet), frame(FIN | PING, b"ping"), frame(FIN | CONTINUE, b"")].concat();
    let mut held = Vec::new();
    for byte in bytes.chunks_mut(1) {
        let mut input = byte;
        while receiver.next(&mut input, LIMIT, &mut codec).expect("no violation").is_some() {}
        held.push(receiver.held_bytes());
    }
    assert!(held.iter().any(|bytes| *bytes > 0));
    assert_eq!(held.last(), Some(&0));
}

#[test]
fn x2_names_a_close_code_and_a_reason_that_fits_for_each_violation() {
    for (violation, code) in [
        (Violation::Unmasked, 1002),
        (Violation::ReservedBit, 1002),
        (Violation::ReservedOpcode(15), 1002),
        (Violation::LengthTopBit, 1002),
        (Violation::LengthNotMinimal, 1002),
        (Violation::ControlFragmented, 1002),
        (Violation::ControlTooLong, 1002),
        (Violation::NothingToContinue, 1002),
        (Violation::PacketUnfinished, 1002),
        (Violation::CloseTooShort, 1002),
        (Violation::CloseCodeForbidden(u16::MAX), 1002),
        (Violation::InvalidUtf8, 1007),
        (Violation::DamagedDeflate, 1007),
        (Violation::PacketTooBig { limit: usize::MAX }, 1009),
    ] {
        assert_eq!(u16::from(violation.close_code()), code, "{violation}");
        assert!(violation.to_string().len() <= send::MAX_CONTROL_BYTES - 2, "{violation}");
    }
}

/// Who is being closed is read on, for its own close frame; what it had begun to send and what it sends is not kept.
#[test]
fn a_receiver_may_be_told_to_keep_no_packets() {
    let mut receiver = Receiver::new(true);
    let mut codec = Codec::new(1);
    let mut hear = |receiver: &mut Receiver, mut bytes: Vec<u8>| {
        let mut input = &mut bytes[..];
        let event = receiver.next(&mut input, LIMIT, &mut codec);
        event.map(|event| event.map(|event| format!("{event:?}")))
    };
    let packed = deflated(&[b'x'; 500]);
    let (begin, end) = packed.split_at(4);
    assert_eq!(hear(&mut receiver, frame(RSV1 | TEXT, begin)), Ok(None));
    assert!(receiver.held_bytes() > begin.len());
    receiver.discard_packets();
    for bytes in [frame(FIN | CONTINUE, end), frame(RSV1 | TEXT, &[b'x'; 900]), frame(FIN | CONTINUE, b"no deflate")] {
        assert_eq!(hear(&mut receiver, bytes), Ok(None));
    }
    assert_eq!(receiver.held_bytes(), 0);
    assert_eq!(hear(&mut receiver, frame(FIN | BINARY, b"plain")), Ok(None));
    let closed = hear(&mut receiver, close(1000, b"")).expect("a close frame");
    assert!(closed.is_some_and(|event| event.starts_with("Close(Some")));
}
