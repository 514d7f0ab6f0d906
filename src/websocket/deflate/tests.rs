use super::*;

/// A payload as STOMP packets have them.
fn sample() -> Vec<u8> {
    (0..200)
        .flat_map(|n| format!("SEND\ndestination:/topic/{n}\n\n{{\"price\":{}}}\0", n * 7919 % 1000).into_bytes())
        .collect()
}

#[test]
fn inflates_what_it_deflated_at_every_window_and_level() {
    let payload = sample();
    for level in [0, 1, 6, 9, 255] {
        let mut codec = Codec::new(level);
        for bits in WINDOW_BITS {
            let deflated = codec.deflate(&payload, bits).expect("smaller").to_vec();
            assert!(!deflated.ends_with(&TAIL), "the tail is left off");
            assert_eq!(codec.inflate(&deflated, payload.len()), Ok(&payload[..]), "level {level}, window {bits}");
        }
    }
}

/// Bytes without any pattern, the same each time.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn keeps_within_the_window() {
    let mut codec = Codec::new(1);
    for bits in WINDOW_BITS {
        // Nothing but the repetition can be compressed, and that lies one byte beyond the window.
        let payload = noise((1 << bits) + 1).repeat(3);
        assert_eq!(codec.deflate(&payload, bits), None, "window {bits}");
        let wider = codec.deflate(&payload, bits + 1);
        assert_eq!(wider.is_some(), bits < 15, "window {bits} and the next");
    }
}

#[test]
fn packets_do_not_depend_on_one_another() {
    let payload = sample();
    let mut codec = Codec::new(1);
    let first = codec.deflate(&payload, 15).expect("smaller").to_vec();
    assert_eq!(codec.inflate(b"\xff", 10), Err(InflateError::Damaged));
    assert_eq!(codec.inflate(&first, 100), Err(InflateError::TooBig { limit: 100 }));
    assert_eq!(codec.deflate(&payload, 15), Some(&first[..]));
    assert_eq!(codec.inflate(&first, payload.len()), Ok(&payload[..]));
    assert_eq!(codec.inflate(&first, payload.len()), Ok(&payload[..]));
}

#[test]
fn gives_up_where_compression_gains_nothing() {
    let mut codec = Codec::new(1);
    assert_eq!(codec.deflate(b"", 15), None);
    assert_eq!(codec.deflate(b"abc", 15), None);
    assert_eq!(codec.deflate(&noise(100_000), 15), None);
    for bits in [0, 8, 16, 255] {
        assert_eq!(codec.deflate(&sample(), bits), None, "window {bits}");
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let mut codec = Codec::new(9);
    let bomb = codec.deflate(&vec![0; 10_000_000], 15).expect("smaller").to_vec();
    assert!(bomb.len() < 20_000);
    for limit in [0, 1, 4095, 4096, 4097, 100_000, 9_999_999] {
        assert_eq!(codec.inflate(&bomb, limit), Err(InflateError::TooBig { limit }));
        assert_eq!(codec.inflated.capacity(), 0, "what came out is dropped");
    }
    assert_eq!(codec.inflate(&bomb, 10_000_000).map(<[u8]>::len), Ok(10_000_000));
    // An unusually large buffer is not kept for the next packet.
    assert_eq!(codec.inflate(b"\x00", 10), Ok(&b""[..]));
    assert!(codec.inflated.capacity() <= KEEP);
}

#[test]
fn notices_data_that_breaks_off() {
    let payload = sample();
    let mut codec = Codec::new(1);
    let deflated = codec.deflate(&payload, 15).expect("smaller").to_vec();
    for cut in 1..deflated.len() {
        let result = codec.inflate(&deflated[..cut], payload.len()).map(<[u8]>::to_vec);
        assert_ne!(result.as_ref(), Ok(&payload), "cut at {cut}");
        assert_eq!(result, Err(InflateError::Damaged), "cut at {cut}");
    }
}
