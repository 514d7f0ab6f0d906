//! The codec's cost per frame: decoding a SEND as browsers send it, one with a large body, and encoding a MESSAGE.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gumboot::headers::Headers;
use gumboot::stomp::{Command, Decoder, Frame, Limits, Message, Version, encode, encode_message};

fn send(body: usize) -> Vec<u8> {
    let headers = [
        ("destination", "/topic/prices.stocks.example"),
        ("content-type", "application/json"),
        ("receipt", "message-12345"),
        ("priority", "4"),
    ];
    let mut out = Vec::new();
    encode(&Frame::new(Command::Send, headers, vec![b'x'; body]), Version::V1_2, &mut out);
    out
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    let small = send(262 - send(100).len() + 100);
    assert_eq!(small.len(), 262);
    for (name, frame) in [("SEND of 262 bytes", small), ("SEND of 16 KiB", send(16 * 1024))] {
        let mut decoder = Decoder::new(&Limits::default());
        decoder.set_version(Version::V1_2);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| decoder.decode(&mut black_box(&frame[..])));
        });
    }
    group.finish();
}

fn message(criterion: &mut Criterion) {
    let headers =
        Headers::from_iter([("content-type", "application/json"), ("priority", "4"), ("x-trace", "0af7651916cd")]);
    let message = Message {
        subscription: "sub-0",
        message_id: "1f-2048",
        destination: "/topic/prices.stocks.example",
        ack: None,
        redelivery_count: 0,
        headers: &headers,
    };
    let mut out = Vec::new();
    criterion.bench_function("encode MESSAGE with 128 bytes of body", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode_message(black_box(&message), black_box(&[b'x'; 128]), Version::V1_2, &mut out);
            out.len()
        });
    });
}

criterion_group!(benches, decode, message);
criterion_main!(benches);
