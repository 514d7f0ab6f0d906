//! Any bytes into the STOMP decoder: no panic, the same frames however the bytes are cut, and what was understood
//! survives being written and read again.

use gumboot::stomp::{DecodeError, Decoded, Decoder, Frame, Limits, Request, Version, encode};

/// The first byte chooses version and limits, the second how the rest is cut; the rest is what the peer sends.
pub fn target(data: &[u8]) {
    let [choice, cut, input @ ..] = data else { return };
    let version = match choice % 4 {
        0 => None,
        1 => Some(Version::V1_0),
        2 => Some(Version::V1_1),
        _ => Some(Version::V1_2),
    };
    let limits = if choice & 4 == 0 {
        Limits::default()
    } else {
        Limits { header_count: 4, header_bytes: 64, line_bytes: 32, body_bytes: 48, frame_bytes: 128 }
    };
    let whole = decode(input.chunks(input.len().max(1)), version, &limits);
    let pieces = decode(input.chunks(usize::from(*cut).max(1)), version, &limits);
    assert_eq!(whole, pieces, "in pieces of {cut}");
    let spoken = version.unwrap_or(Version::V1_0);
    for frame in whole.0 {
        let mut bytes = Vec::new();
        encode(&frame, spoken, &mut bytes);
        let (again, error) = decode([&bytes[..]].into_iter(), version, &Limits::default());
        assert_eq!(error, None);
        assert_eq!(again.len(), 1);
        let same = again[0].command == frame.command && again[0].body == frame.body;
        assert!(same, "{frame:?} became {again:?}");
        let _ = Request::parse(frame, spoken);
    }
}

fn decode<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    version: Option<Version>,
    limits: &Limits,
) -> (Vec<Frame>, Option<DecodeError>) {
    let mut decoder = Decoder::new(limits);
    if let Some(version) = version {
        decoder.set_version(version);
    }
    let mut frames = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(Decoded::Frame(frame))) => frames.push(frame),
                Ok(Some(Decoded::Heartbeat)) => {}
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(piece.is_empty());
    }
    (frames, None)
}
