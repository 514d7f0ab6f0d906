//! Compression: what a client offers and what it sends, and that our own survives the way there and back.

use gumboot::websocket::deflate::{self, Codec, InflateError, Options};

/// The first byte chooses what the rest is: an offer, a compressed packet, or a payload to compress. The second
/// chooses the limit or the window.
pub fn target(data: &[u8]) {
    match data {
        [0, _, offer @ ..] => negotiate(&String::from_utf8_lossy(offer)),
        [1, limit, compressed @ ..] => inflate(compressed, usize::from(*limit) * 256),
        [_, window, payload @ ..] => there_and_back(payload, window % 17),
        _ => {}
    }
}

/// Each line is the value of one header.
fn negotiate(offers: &str) {
    let Some((agreement, response)) = deflate::negotiate(offers.lines(), &Options::default()) else { return };
    assert!(agreement.window_bits().is_none_or(|bits| (9..=15).contains(&bits)));
    let fixed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert!(response.starts_with(fixed), "{response}");
    // What we answer is itself a good offer, and is answered in the same way.
    assert_eq!(deflate::negotiate([response.as_str()], &Options::default()), Some((agreement, response.clone())));
}

fn inflate(compressed: &[u8], limit: usize) {
    let mut codec = Codec::new(1);
    let first = codec.inflate(compressed, limit).map(<[u8]>::to_vec);
    match &first {
        Ok(payload) => assert!(payload.len() <= limit),
        Err(error) => assert!(matches!(error, InflateError::Damaged | InflateError::TooBig { .. })),
    }
    let again = codec.inflate(compressed, limit).map(<[u8]>::to_vec);
    assert_eq!(again, first, "a packet does not depend on the one before");
}

fn there_and_back(payload: &[u8], window_bits: u8) {
    let mut codec = Codec::new(1);
    let Some(deflated) = codec.deflate(payload, window_bits).map(<[u8]>::to_vec) else { return };
    assert!(deflated.len() < payload.len());
    assert_eq!(codec.inflate(&deflated, payload.len()), Ok(payload));
    let limit = payload.len() - 1;
    assert_eq!(codec.inflate(&deflated, limit), Err(InflateError::TooBig { limit }));
}
