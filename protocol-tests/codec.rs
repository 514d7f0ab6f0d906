//! Properties of the STOMP codec: what must hold for any frame, any bytes and any way to cut them.

use bytes::Bytes;
use gumboot::headers::Headers;
use gumboot::stomp::{
    Command, DecodeError, Decoded, Decoder, Frame, Limits, Message, Request, Version, encode, encode_message,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// All that the decoder makes of the pieces, up to the first error. Heart-beats are left out: how many there are
/// depends on the pieces.
fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    version: Version,
    limits: &Limits,
) -> (Vec<Frame>, Option<DecodeError>) {
    let mut decoder = Decoder::new(limits);
    decoder.set_version(version);
    let mut frames = Vec::new();
    for mut piece in pieces {
        loop {
            let before = piece.len();
            match decoder.decode(&mut piece) {
                Ok(Some(Decoded::Frame(frame))) => frames.push(frame),
                Ok(Some(Decoded::Heartbeat)) => assert!(piece.len() < before, "a heart-beat of no bytes"),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(piece.is_empty(), "input left behind");
        assert!(decoder.buffered() <= most(limits), "{} bytes held", decoder.buffered());
    }
    (frames, None)
}

/// The longest frame within the limits: command line, headers, blank line, body, NUL.
fn most(limits: &Limits) -> usize {
    16 + limits.header_bytes + 4 + limits.body_bytes + 1
}

fn wire(frames: &[Frame], version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        encode(frame, version, &mut out);
    }
    out
}

/// The frame without `content-length`, which the encoder adds.
fn without_length(mut frame: Frame) -> Frame {
    frame.headers.retain(|name, _| name != "content-length");
    frame
}

fn versions() -> impl Strategy<Value = Version> {
    select(&Version::ALL[..])
}

/// Text that the version can carry in a header of the command; in both, the octets with escapes are frequent.
fn text(version: Version, escaped: bool, is_name: bool) -> BoxedStrategy<String> {
    let least = usize::from(is_name);
    let letters = prop_oneof![4 => any::<char>(), 2 => proptest::char::range('a', 'e'), 2 => select(&['\\', ':', '\r', '\n'][..])];
    vec(letters, least..12)
        .prop_map(move |letters| {
            let fits = |letter: char| match letter {
                '\0' => false,
                '\r' => escaped && version == Version::V1_2,
                '\n' => escaped && version >= Version::V1_1,
                ':' => !is_name || (escaped && version >= Version::V1_1),
                _ => true,
            };
            let text: String = letters.into_iter().map(|letter| if fits(letter) { letter } else { 'x' }).collect();
            if text == "content-length" { "x".to_owned() } else { text }
        })
        .boxed()
}

fn frames(version: Version) -> impl Strategy<Value = Frame> {
    select(&Command::ALL[..]).prop_flat_map(move |command| {
        let escaped = command.is_escaped();
        let header = (text(version, escaped, true), text(version, escaped, false));
        (vec(header, 0..12), vec(any::<u8>(), 0..200)).prop_map(move |(headers, body)| {
            let body = if command.may_have_body() { Bytes::from(body) } else { Bytes::new() };
            Frame::new(command, headers, body)
        })
    })
}

fn versioned_frames(count: std::ops::Range<usize>) -> impl Strategy<Value = (Version, Vec<Frame>)> {
    versions().prop_flat_map(move |version| (Just(version), vec(frames(version), count.clone())))
}

/// Pieces of frames, good ones and bad ones.
const SYNTAX: &[&[u8]] = &[
    b"SEND\n",
    b"SEND\r\n",
    b"MESSAGE\n",
    b"CONNECT\n",
    b"STOMP\n",
    b"ACK\n",
    b"a:b\n",
    b"a\\cb:\\n\n",
    b"a:\\r\r\n",
    b"content-length:3\n",
    b"content-length:0\n",
    b"content-length:-1\n",
    b"content-length:99999999999\n",
    b"\n",
    b"\r\n",
    b"\r",
    b":",
    b"\0",
    b"abc",
    b"abc\0",
    b"\n\0",
    b"\xff",
    "ä".as_bytes(),
];

/// Bytes that look like frames, often broken ones: pieces of syntax in any order, with any bytes among them.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let bits = select(SYNTAX).prop_map(<[u8]>::to_vec);
    let piece = prop_oneof![8 => bits, 1 => vec(any::<u8>(), 0..8)];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Cuts `bytes` at places that are given as shares of its length.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

const TIGHT: Limits = Limits { header_count: 4, header_bytes: 60, line_bytes: 30, body_bytes: 20, frame_bytes: 90 };

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoding_undoes_encoding((version, frames) in versioned_frames(0..5)) {
        let bytes = wire(&frames, version);
        let (decoded, error) = decode([&bytes[..]], version, &Limits::default());
        prop_assert_eq!(error, None);
        let decoded: Vec<Frame> = decoded.into_iter().map(without_length).collect();
        prop_assert_eq!(decoded, frames);
    }

    #[test]
    fn decoded_frames_encode_to_the_same_bytes((version, frames) in versioned_frames(1..4)) {
        let bytes = wire(&frames, version);
        let (decoded, _) = decode([&bytes[..]], version, &Limits::default());
        prop_assert_eq!(wire(&decoded, version), bytes);
    }

    #[test]
    fn any_cuts_give_the_same_frames(
        (version, frames) in versioned_frames(0..5),
        places in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let bytes = wire(&frames, version);
        let whole = decode([&bytes[..]], version, &Limits::default());
        prop_assert_eq!(&decode(cut(&bytes, &places), version, &Limits::default()), &whole);
        prop_assert_eq!(&decode(bytes.chunks(1), version, &Limits::default()), &whole);
    }

    #[test]
    fn any_cuts_give_the_same_frames_and_error_of_bad_bytes(
        version in versions(),
        bytes in soup(),
        places in vec(any::<prop::sample::Index>(), 0..20),
        tight in any::<bool>(),
    ) {
        let limits = if tight { TIGHT } else { Limits::default() };
        let whole = decode([&bytes[..]], version, &limits);
        prop_assert_eq!(&decode(cut(&bytes, &places), version, &limits), &whole);
        prop_assert_eq!(&decode(bytes.chunks(1), version, &limits), &whole);
    }

    #[test]
    fn no_bytes_make_a_panic(version in versions(), bytes in vec(any::<u8>(), 0..300)) {
        let (frames, _) = decode([&bytes[..]], version, &Limits::before_login());
        for frame in frames {
            let _ = Request::parse(frame, version);
        }
    }

    #[test]
    fn line_ends_between_frames_change_nothing(
        (version, frames) in versioned_frames(1..5),
        ends in vec(select(&["", "\n", "\r\n", "\n\n\r\n"][..]), 5),
    ) {
        let plain = decode([&wire(&frames, version)[..]], version, &Limits::default());
        let mut bytes = Vec::new();
        for (frame, end) in frames.iter().zip(&ends) {
            bytes.extend_from_slice(end.as_bytes());
            encode(frame, version, &mut bytes);
        }
        prop_assert_eq!(decode([&bytes[..]], version, &Limits::default()), plain);
    }

    #[test]
    fn headers_are_counted_up_to_the_limit(count in 0usize..12, limit in 0usize..12) {
        let headers = (0..count).map(|number| (format!("h{number}"), "v"));
        let bytes = wire(&[Frame::new(Command::Receipt, headers, "")], Version::V1_2);
        let (frames, error) = decode([&bytes[..]], Version::V1_2, &Limits { header_count: limit, ..Limits::default() });
        let wanted = (count > limit).then_some(DecodeError::TooManyHeaders { limit });
        prop_assert_eq!(frames.len(), usize::from(wanted.is_none()));
        prop_assert_eq!(error, wanted);
    }

    #[test]
    fn the_first_of_a_repeated_header_counts(values in vec("[a-z]{0,5}", 1..6)) {
        let headers = values.iter().map(|value| ("twice", value));
        let bytes = wire(&[Frame::new(Command::Send, headers, "")], Version::V1_2);
        let (frames, _) = decode([&bytes[..]], Version::V1_2, &Limits::default());
        prop_assert_eq!(frames[0].headers.find("twice"), Some(&*values[0]));
        let all: Vec<&str> = frames[0].headers.iter().filter(|pair| pair.0 == "twice").map(|pair| pair.1).collect();
        prop_assert_eq!(all, values);
    }

    #[test]
    fn a_negative_content_length_is_refused(length in i64::MIN..0) {
        let bytes = format!("SEND\ncontent-length:{length}\n\nbody\0");
        let (frames, error) = decode([bytes.as_bytes()], Version::V1_2, &Limits::default());
        prop_assert_eq!((frames, error), (Vec::new(), Some(DecodeError::BadContentLength)));
    }

    #[test]
    fn bodies_are_taken_up_to_the_limit(body in vec(1u8.., 0..30), limit in 0usize..30, counted in any::<bool>()) {
        let head = if counted { format!("SEND\ncontent-length:{}\n\n", body.len()) } else { "SEND\n\n".to_owned() };
        let bytes = [head.as_bytes(), &body, b"\0"].concat();
        let limits = Limits { body_bytes: limit, ..Limits::default() };
        let (frames, error) = decode([&bytes[..]], Version::V1_2, &limits);
        let wanted = (body.len() > limit).then_some(DecodeError::BodyTooLong { limit });
        prop_assert_eq!(frames.first().map(|frame| frame.body.to_vec()), wanted.is_none().then_some(body));
        prop_assert_eq!(error, wanted);
    }

    /// One version's headers never become another version's lines.
    #[test]
    fn no_header_of_one_version_breaks_a_frame_of_another(
        (_, frames) in versioned_frames(1..4),
        version in versions(),
    ) {
        let bytes = wire(&frames, version);
        let (decoded, error) = decode([&bytes[..]], version, &Limits::default());
        prop_assert_eq!(error, None);
        prop_assert_eq!(decoded.len(), frames.len());
        for (decoded, frame) in decoded.into_iter().map(without_length).zip(&frames) {
            prop_assert_eq!(decoded.headers.len(), frame.headers.len());
            prop_assert_eq!(&decoded.body, &frame.body);
        }
    }

    #[test]
    fn a_message_reads_back(
        (version, sent) in versions().prop_flat_map(|version| (Just(version), frames(version))),
        ack in proptest::option::of("[a-z0-9]{1,8}"),
        redelivery_count in 0u32..3,
    ) {
        let headers: Headers = sent.headers.iter().filter(|pair| pair.0.len() < 6).collect();
        let message = Message {
            subscription: "sub-0",
            message_id: "m-7",
            destination: "/topic/a",
            ack: ack.as_deref(),
            redelivery_count,
            headers: &headers,
        };
        let mut bytes = Vec::new();
        encode_message(&message, &sent.body, version, &mut bytes);
        let (frames, error) = decode([&bytes[..]], version, &Limits::default());
        prop_assert_eq!(error, None);
        let frame = &frames[0];
        prop_assert_eq!(frame.command, Command::Message);
        prop_assert_eq!(&frame.body, &sent.body);
        prop_assert_eq!(frame.headers.find("destination"), Some("/topic/a"));
        prop_assert_eq!(frame.headers.find("ack"), ack.as_deref());
        prop_assert_eq!(frame.headers.find("redelivered"), (redelivery_count > 0).then_some("true"));
        let length = sent.body.len().to_string();
        prop_assert_eq!(frame.headers.find("content-length"), Some(&*length));
    }
}

/// STOMP.js cuts large frames into 8 KiB pieces; a small one must not keep the buffer of a large one alive.
#[test]
fn a_frame_holds_no_more_than_itself() {
    let frame = Frame::new(Command::Send, [("destination", "/topic/a")], vec![7; 100_000]);
    let bytes = wire(std::slice::from_ref(&frame), Version::V1_2);
    let (frames, error) = decode(bytes.chunks(8192), Version::V1_2, &Limits::default());
    assert_eq!(error, None);
    assert_eq!(frames.into_iter().map(without_length).collect::<Vec<_>>(), [frame]);
}
