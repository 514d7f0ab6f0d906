//! What a client of the WebSocket draft of 2010 can send: neither its keys nor its frames make anything panic, no packet is
//! larger than it may be or other than UTF-8, and nothing depends on how the network cut the bytes.

use gumboot::websocket::{
    Options, draft76,
    origin::Listener,
    packet::{Event, Kind},
};
use http::{HeaderValue, Request};

use super::websocket_packets::Heard;

/// The input is read as two keys, a line each, and as what a client sends: there, the first byte chooses the limit, and the
/// second the size of the pieces.
pub fn target(data: &[u8]) {
    shake_hands(data);
    let [choice, cut, sent @ ..] = data else { return };
    let limit = 1 << (4 + (choice >> 1 & 7));
    let whole = hear(sent, limit, sent.len().max(1));
    let cut = usize::from(*cut).max(1);
    assert_eq!(hear(sent, limit, cut), whole, "cut every {cut} bytes");
}

fn shake_hands(data: &[u8]) {
    let mut keys = data.splitn(2, |byte| *byte == b'\n').map(HeaderValue::from_bytes);
    let (Some(Ok(first)), Some(Ok(second))) = (keys.next(), keys.next()) else { return };
    let mut request = Request::new(());
    let headers = request.headers_mut();
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("WebSocket"));
    headers.insert("host", HeaderValue::from_static("localhost"));
    headers.insert("sec-websocket-key1", first);
    headers.insert("sec-websocket-key2", second);
    assert!(draft76::is_offered(request.headers()));
    let listener = Listener { loopback: true, tls: false };
    if let Err(rejection) = draft76::accept(&request, &Options::default(), listener) {
        assert_eq!(rejection.status(), 400);
    }
}

/// Feeds a fresh receiver. Pieces of an unfinished packet are forgotten when it breaks: how many came depends on the cuts.
fn hear(sent: &[u8], limit: usize, cut: usize) -> Vec<Heard> {
    let mut receiver = draft76::Receiver::default();
    let (mut heard, mut packet) = (Vec::new(), Vec::new());
    for piece in sent.chunks(cut) {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        loop {
            match receiver.next(&mut input, limit) {
                Ok(None) => break,
                Ok(Some(Event::Data { kind, payload, fin })) => {
                    assert_eq!(kind, Kind::Text);
                    packet.extend_from_slice(payload);
                    assert!(packet.len() <= limit, "a packet within its limit");
                    if fin {
                        let packet = std::mem::take(&mut packet);
                        assert!(std::str::from_utf8(&packet).is_ok(), "text is UTF-8");
                        heard.push(Heard::Packet(kind, packet));
                    }
                }
                Ok(Some(Event::Close(None))) => heard.push(Heard::Close(None)),
                Ok(Some(other)) => panic!("the draft has no {other:?}"),
                Err(violation) => {
                    heard.push(Heard::Broke(violation));
                    return heard;
                }
            }
        }
        assert!(input.is_empty(), "all that came is taken");
    }
    heard
}
