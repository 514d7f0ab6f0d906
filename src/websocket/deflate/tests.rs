use super::*;

#[test]
fn inflates_what_it_deflated() {
    let mut codec = Codec::new(1);
    let payload = b"SEND\ndestination:/topic/a\n\n{}".repeat(50);
    for bits in WINDOW_BITS {
        let deflated = codec.deflate(&payload, bits).expect("smaller").to_vec();
        assert_eq!(codec.inflate(&deflated, payload.len()), Ok(&payload[..]));
    }
}
