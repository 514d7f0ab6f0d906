//! Properties of the WebSocket room: what any client may send, in any cuts, and any payload there and back.
//!
//! The fuzz targets of the room run here too, over what such a client may say and over arbitrary bytes.

#![allow(clippy::expect_used)]

#[path = "../fuzz/src/deflate.rs"]
pub mod deflate;
#[path = "../fuzz/src/websocket_packets.rs"]
pub mod packets;

use gumboot::websocket::{deflate::Codec, packet::Kind, send};
use packets::{Heard, Setting, hear};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

const LIMIT: usize = 8192;

/// One thing a client says, and how it is put into frames.
#[derive(Clone, Debug)]
enum Step {
    /// A packet, compressed or not, in fragments that end at these positions.
    Packet {
        kind: Kind,
        payload: Vec<u8>,
        compressed: bool,
        cuts: Vec<prop::sample::Index>,
        key: [u8; 4],
    },
    Ping(Vec<u8>, [u8; 4]),
    Pong(Vec<u8>, [u8; 4]),
}

fn step() -> impl Strategy<Value = Step> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000).prop_map(|bytes| (Kind::Binary, bytes)),
        "\\PC{0,600}".prop_map(|text| (Kind::Text, text.into_bytes())),
        ("[a-z]{1,8}", 1..300_usize).prop_map(|(text, times)| (Kind::Text, text.repeat(times).into_bytes())),
    ];
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    let control = || prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        4 => (payload, any::<bool>(), cuts, any::<[u8; 4]>()).prop_map(|((kind, payload), compressed, cuts, key)| {
            Step::Packet { kind, payload, compressed, cuts, key }
        }),
        1 => (control(), any::<[u8; 4]>()).prop_map(|(payload, key)| Step::Ping(payload, key)),
        1 => (control(), any::<[u8; 4]>()).prop_map(|(payload, key)| Step::Pong(payload, key)),
    ]
}

/// A client's frame. `first` is the frame's first byte.
fn write_frame(out: &mut Vec<u8>, first: u8, payload: &[u8], key: [u8; 4]) {
    out.push(first);
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(length).expect("a short payload").to_be_bytes());
        }
    }
    out.extend(key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Writes a step as a client would; answers with what the server must hear.
fn write_step(out: &mut Vec<u8>, codec: &mut Codec, step: &Step) -> Heard {
    match step {
        Step::Packet { kind, payload, compressed, cuts, key } => {
            let deflated = Some(&mut *codec).filter(|_| *compressed).and_then(|codec| codec.deflate(payload, 15));
            let bytes = deflated.unwrap_or(payload);
            let opcode = if *kind == Kind::Text { 1 } else { 2 };
            let mut first = if deflated.is_some() { 0x40 | opcode } else { opcode };
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            ends.sort_unstable();
            let mut from = 0;
            for end in ends {
                write_frame(out, first, &bytes[from..end], *key);
                first = 0;
                from = end;
            }
            write_frame(out, 0x80 | first, &bytes[from..], *key);
            Heard::Packet(*kind, payload.clone())
        }
        Step::Ping(payload, key) => {
            write_frame(out, 0x89, payload, *key);
            Heard::Ping(payload.clone())
        }
        Step::Pong(payload, key) => {
            write_frame(out, 0x8a, payload, *key);
            Heard::Pong(payload.clone())
        }
    }
}

proptest! {
    #[test]
    fn hears_what_a_client_says_in_any_cuts(steps in prop::collection::vec(step(), 0..6), cut in 1..3000_usize) {
        let mut codec = Codec::new(1);
        let mut sent = Vec::new();
        let expected: Vec<Heard> = steps.iter().map(|step| write_step(&mut sent, &mut codec, step)).collect();
        for cut in [cut, 1, 7, sent.len().max(1)] {
            prop_assert_eq!(&hear(&sent, Setting { deflate: true, limit: LIMIT, cut }), &expected, "cut {}", cut);
        }
    }

    #[test]
    fn one_wrong_byte_is_judged_alike_in_any_cuts(
        steps in prop::collection::vec(step(), 1..4),
        at in any::<prop::sample::Index>(),
        wrong in any::<u8>(),
        cut in 1..300_usize,
    ) {
        let mut codec = Codec::new(1);
        let mut sent = Vec::new();
        for step in &steps {
            write_step(&mut sent, &mut codec, step);
        }
        let at = at.index(sent.len());
        sent[at] = wrong;
        let setting = Setting { deflate: true, limit: LIMIT, cut: sent.len() };
        let whole = hear(&sent, setting);
        prop_assert_eq!(hear(&sent, Setting { cut, ..setting }), whole);
    }

    #[test]
    fn nothing_a_client_sends_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        packets::target(&bytes);
    }

    #[test]
    fn nothing_a_client_compresses_does_harm(
        choice in prop_oneof![Just(0_u8), Just(1), Just(2)],
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        deflate::target(&[&[choice][..], &bytes].concat());
    }

    #[test]
    fn offers_made_of_known_words_do_no_harm(words in prop::collection::vec(prop::sample::select(vec![
        "permessage-deflate", "server_max_window_bits", "client_max_window_bits", "server_no_context_takeover",
        "client_no_context_takeover", ";", ",", "=", "\"", "\\", " ", "\n", "8", "9", "10", "15", "16", "x",
    ]), 0..20)) {
        deflate::target(&[b"\0\0".as_slice(), words.concat().as_bytes()].concat());
    }

    #[test]
    fn payloads_survive_compression(text in "[a-f]{0,30}", times in 0..2000_usize, window in 9..=15_u8) {
        deflate::target(&[&[2, window][..], text.repeat(times).as_bytes()].concat());
    }

    #[test]
    fn sent_packets_are_well_formed(payload in prop::collection::vec(any::<u8>(), 0..70_000)) {
        let mut out = Vec::new();
        send::write_packet(&mut out, Kind::Binary, &payload, None, 0);
        let header = out.len() - payload.len();
        assert!(header <= send::MAX_HEADER_BYTES);
        assert_eq!(&out[header..], payload);
        // Masked with zeros it is a client's frame, so the receiver can be the judge.
        out[1] |= 0x80;
        out.splice(header..header, [0; 4]);
        let heard = hear(&out, Setting { deflate: false, limit: 70_000, cut: 4096 });
        assert_eq!(heard, [Heard::Packet(Kind::Binary, payload)]);
    }
}
