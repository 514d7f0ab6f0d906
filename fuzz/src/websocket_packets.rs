//! What a WebSocket client can send: nothing makes the receiver panic, keep more than it may, or depend on how the
//! network cut the bytes.

use gumboot::websocket::{
    Violation,
    deflate::Codec,
    packet::{Event, Kind, Receiver},
};

/// What a receiver heard, with the pieces of each packet put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A whole packet.
    Packet(Kind, Vec<u8>),
    /// A ping and its payload.
    Ping(Vec<u8>),
    /// A pong and its payload.
    Pong(Vec<u8>),
    /// A close frame.
    Close(Option<(u16, String)>),
    /// The receiver gave up. Pieces of an unfinished packet are forgotten: how many came depends on the cuts.
    Broke(Violation),
}

/// How a receiver is set up, and how it is fed.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Whether compression was agreed on.
    pub deflate: bool,
    /// The limit of a packet.
    pub limit: usize,
    /// How many bytes come at a time, at least one.
    pub cut: usize,
}

/// The first byte chooses the setting, the second the size of the pieces; the rest is what the client sends.
pub fn target(data: &[u8]) {
    let [choice, cut, sent @ ..] = data else { return };
    let deflate = choice & 1 != 0;
    let limit = 1 << (4 + (choice >> 1 & 7));
    let whole = hear(sent, Setting { deflate, limit, cut: sent.len().max(1) });
    let cut = usize::from(*cut).max(1);
    assert_eq!(hear(sent, Setting { deflate, limit, cut }), whole, "cut every {cut} bytes");
}

/// Feeds a fresh receiver.
pub fn hear(sent: &[u8], setting: Setting) -> Vec<Heard> {
    let mut codec = Codec::new(1);
    let mut receiver = Receiver::new(setting.deflate);
    let mut heard = Vec::new();
    let mut packet = Vec::new();
    for piece in sent.chunks(setting.cut) {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        loop {
            let event = match receiver.next(&mut input, setting.limit, &mut codec) {
                Ok(None) => break,
                Ok(Some(event)) => event,
                Err(violation) => {
                    heard.push(Heard::Broke(violation));
                    return heard;
                }
            };
            match event {
                Event::Data { kind, payload, fin } => {
                    packet.extend_from_slice(payload);
                    assert!(packet.len() <= setting.limit, "a packet within its limit");
                    if fin {
                        let packet = std::mem::take(&mut packet);
                        assert!(kind == Kind::Binary || std::str::from_utf8(&packet).is_ok(), "text is UTF-8");
                        heard.push(Heard::Packet(kind, packet));
                    }
                }
                Event::Ping(payload) => heard.push(Heard::Ping(payload.to_vec())),
                Event::Pong(payload) => heard.push(Heard::Pong(payload.to_vec())),
                Event::Close(reason) => {
                    heard.push(Heard::Close(reason.map(|(code, reason)| (code.into(), reason.to_owned()))));
                }
            }
        }
        // Twice the limit, because a growing buffer doubles; the rest is a control frame and the bookkeeping.
        assert!(receiver.held_bytes() <= 2 * setting.limit + 512, "holds {} bytes", receiver.held_bytes());
    }
    heard
}
