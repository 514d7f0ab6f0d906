//! Frames and messages to the bytes of a connection's framing.

use bytes::Bytes;

use crate::digits::Digits;
use crate::message::Message;
use crate::session::AckId;
use crate::stomp::{self, Frame, Version};
use crate::websocket::deflate::{self, Agreement, Codec};
use crate::websocket::packet::Kind;
use crate::websocket::{CloseCode, send};

/// Bodies from this size on are shared by all receivers instead of being copied into each encoding.
const SHARED_BODY: usize = 16 * 1024;

/// Packets above this size go out uncompressed: their encoding could not share the body, and compressing them would
/// hold up everybody else on the worker for milliseconds.
const LARGEST_DEFLATED: usize = 1024 * 1024;

/// How STOMP bytes travel on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// As they are: TCP.
    Stream,
    /// In WebSocket packets, compressed where that was agreed on.
    Packets(Option<Agreement>),
}

/// Where the parts of one encoded message lie.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// The message up to its body, or all of it, as a range of the buffer it was written to.
    pub(super) head: (usize, usize),
    /// A body that is shared instead of copied, and the range of what follows it.
    pub(super) shared: Option<(Bytes, (usize, usize))>,
}

impl Shape {
    /// Bytes on the wire.
    pub(super) fn len(&self) -> usize {
        let shared = self.shared.as_ref().map_or(0, |(body, tail)| body.len() + tail.1 - tail.0);
        self.head.1 - self.head.0 + shared
    }
}

/// What a MESSAGE says to one subscription beyond the message itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<'a> {
    pub(super) subscription: &'a str,
    pub(super) ack: Option<AckId>,
    pub(super) redeliveries: u32,
}

/// The encoders of one worker, with their scratch space.
#[derive(Debug)]
pub(super) struct Encoder {
    codec: Codec,
    deflate: deflate::Options,
    /// The STOMP bytes of what is being put into a packet.
    plain: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(deflate: deflate::Options) -> Encoder {
        Encoder { codec: Codec::new(deflate.level), deflate, plain: Vec::new() }
    }

    /// Appends a MESSAGE to `out`.
    pub(super) fn message(
        &mut self,
        out: &mut Vec<u8>,
        framing: Framing,
        version: Version,
        envelope: Envelope<'_>,
        message: &Message,
    ) -> Shape {
        let content = &message.content;
        let (message_id, ack) = (message.id.text(), envelope.ack.map(AckId::text));
        let head = stomp::Message {
            subscription: envelope.subscription,
            message_id: message_id.as_str(),
            destination: content.destination.as_str(),
            ack: ack.as_ref().map(Digits::as_str),
            redelivery_count: envelope.redeliveries,
            headers: &content.headers,
        };
        let start = out.len();
        let Framing::Packets(agreement) = framing else {
            stomp::encode_message_head(&head, content.body.len(), version, out);
            return finish(out, start, &content.body);
        };
        let kind = if content.is_text { Kind::Text } else { Kind::Binary };
        self.plain.clear();
        stomp::encode_message_head(&head, content.body.len(), version, &mut self.plain);
        let length = self.plain.len() + content.body.len() + 1;
        if agreement.is_some() && (self.deflate.threshold_bytes..=LARGEST_DEFLATED).contains(&length) {
            self.plain.extend_from_slice(&content.body);
            self.plain.push(0);
            self.packet(out, agreement, kind);
            return Shape { head: (start, out.len()), shared: None };
        }
        send::write_header(out, kind, false, length);
        out.extend_from_slice(&self.plain);
        finish(out, start, &content.body)
    }

    /// Appends a frame of the broker's own, such as a RECEIPT.
    pub(super) fn frame(&mut self, out: &mut Vec<u8>, framing: Framing, version: Version, frame: &Frame) {
        match framing {
            Framing::Stream => stomp::encode(frame, version, out),
            Framing::Packets(agreement) => {
                self.plain.clear();
                stomp::encode(frame, version, &mut self.plain);
                self.packet(out, agreement, Kind::Text);
            }
        }
    }

    /// Appends a heart-beat (B2).
    pub(super) fn heart_beat(out: &mut Vec<u8>, framing: Framing) {
        if let Framing::Packets(_) = framing {
            send::write_header(out, Kind::Text, false, 1);
        }
        out.push(b'\n');
    }

    /// Appends a ping, where the framing has such a thing.
    pub(super) fn ping(out: &mut Vec<u8>, framing: Framing) {
        if let Framing::Packets(_) = framing {
            send::write_ping(out, b"");
        }
    }

    /// Appends the answer to a ping.
    pub(super) fn pong(out: &mut Vec<u8>, payload: &[u8]) {
        send::write_pong(out, payload);
    }

    /// Appends a close frame, where the framing has such a thing.
    pub(super) fn close(out: &mut Vec<u8>, framing: Framing, code: CloseCode, reason: &str) {
        if let Framing::Packets(_) = framing {
            send::write_close(out, code, reason);
        }
    }

    /// Appends `self.plain` as a packet.
    fn packet(&mut self, out: &mut Vec<u8>, agreement: Option<Agreement>, kind: Kind) {
        let compression = agreement.map(|agreement| (agreement, &mut self.codec));
        send::write_packet(out, kind, &self.plain, compression, self.deflate.threshold_bytes);
    }
}

/// Ends a message whose head was written from `start` on.
fn finish(out: &mut Vec<u8>, start: usize, body: &Bytes) -> Shape {
    if body.len() < SHARED_BODY {
        out.extend_from_slice(body);
        out.push(0);
        return Shape { head: (start, out.len()), shared: None };
    }
    let end = out.len();
    out.push(0);
    Shape { head: (start, end), shared: Some((body.clone(), (end, out.len()))) }
}
