//! Frames to bytes.
//!
//! A header may hold what a version has no escape for, because its sender spoke another version. Such an octet is
//! written as a space: it must never become a line end, and with it a header of the sender's choice.

use super::frame::{Command, Frame};
use super::version::Version;
use crate::digits::Digits;
use crate::headers::Headers;

/// The headers that [`encode_message`] writes from its own arguments. Take them out of a SEND's headers before these
/// are passed on, or the subscriber gets them twice, ours first.
pub const OWN_HEADERS: [&str; 7] =
    ["subscription", "message-id", "destination", "ack", "redelivered", "redelivery-count", "content-length"];

/// Appends `frame` to `out`.
///
/// `content-length` is written for the body as it is, after the other headers, with SEND, MESSAGE, ERROR and every
/// frame that has a body; one among the frame's headers is left out.
pub fn encode(frame: &Frame, version: Version, out: &mut Vec<u8>) {
    let escapes = Escapes { version, apply: frame.command.is_escaped() };
    out.extend_from_slice(frame.command.as_str().as_bytes());
    out.push(b'\n');
    for (name, value) in frame.headers.iter().filter(|(name, _)| *name != "content-length") {
        escapes.header(name, value, out);
    }
    if frame.command.may_have_body() || !frame.body.is_empty() {
        number_header("content-length", frame.body.len(), out);
    }
    out.push(b'\n');
    out.extend_from_slice(&frame.body);
    out.push(0);
}

/// What a MESSAGE says besides its body.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The id of the subscription it is delivered to.
    pub subscription: &'a str,
    /// Unique in the broker's life.
    pub message_id: &'a str,
    /// The concrete destination.
    pub destination: &'a str,
    /// What an ACK in 1.2 has to name; none where the subscription settles by itself.
    pub ack: Option<&'a str>,
    /// How often it was delivered before; zero writes neither `redelivered` nor `redelivery-count`.
    pub redelivery_count: u32,
    /// The sender's headers, passed on in their order, without [`OWN_HEADERS`].
    pub headers: &'a Headers,
}

/// Appends a MESSAGE to `out`, which is the only thing that may allocate.
pub fn encode_message(message: &Message<'_>, body: &[u8], version: Version, out: &mut Vec<u8>) {
    out.reserve(message.length_hint() + body.len() + 1);
    encode_message_head(message, body.len(), version, out);
    out.extend_from_slice(body);
    out.push(0);
}

/// Appends a MESSAGE up to and including its blank line. A body of `body_len` bytes and a NUL must follow: so a large
/// body is shared by all who get it instead of being copied for each.
pub fn encode_message_head(message: &Message<'_>, body_len: usize, version: Version, out: &mut Vec<u8>) {
    let escapes = Escapes { version, apply: Command::Message.is_escaped() };
    out.reserve(message.length_hint());
    out.extend_from_slice(b"MESSAGE\n");
    escapes.own_header("subscription", message.subscription, out);
    escapes.own_header("message-id", message.message_id, out);
    escapes.own_header("destination", message.destination, out);
    if let Some(ack) = message.ack {
        escapes.own_header("ack", ack, out);
    }
    if message.redelivery_count > 0 {
        out.extend_from_slice(b"redelivered:true\n");
        number_header("redelivery-count", message.redelivery_count as usize, out);
    }
    number_header("content-length", body_len, out);
    for (name, value) in message.headers.iter() {
        escapes.header(name, value, out);
    }
    out.push(b'\n');
}

impl Message<'_> {
    /// About the length of the head, so that it is written into one allocation unless much needs escapes.
    fn length_hint(&self) -> usize {
        // The fixed names, numbers and line ends.
        const FIXED: usize = 128;
        let own = self.subscription.len() + self.message_id.len() + self.destination.len();
        FIXED + own + self.ack.map_or(0, str::len) + self.headers.footprint()
    }
}

/// How header text is written in one frame.
#[derive(Clone, Copy)]
struct Escapes {
    version: Version,
    /// Whether the frame's command has escapes in versions that have them.
    apply: bool,
}

impl Escapes {
    fn header(self, name: &str, value: &str, out: &mut Vec<u8>) {
        self.text(name.as_bytes(), true, out);
        out.push(b':');
        self.text(value.as_bytes(), false, out);
        out.push(b'\n');
    }

    /// A header of ours, whose name needs no escapes.
    fn own_header(self, name: &'static str, value: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        self.text(value.as_bytes(), false, out);
        out.push(b'\n');
    }

    fn text(self, text: &[u8], is_name: bool, out: &mut Vec<u8>) {
        // Almost no header has one.
        // Invariant: the table has a place for each octet.
        if !text.iter().any(|octet| SPECIAL[usize::from(*octet)]) {
            return out.extend_from_slice(text);
        }
        for octet in text {
            match self.version.escape(*octet).filter(|_| self.apply) {
                Some(letter) => out.extend_from_slice(&[b'\\', letter]),
                None if self.would_end(*octet, is_name) => out.push(b' '),
                None => out.push(*octet),
            }
        }
    }

    /// Whether the octet, written as it is, would end the name, the line or the frame.
    fn would_end(self, octet: u8, is_name: bool) -> bool {
        match octet {
            b'\n' | 0 => true,
            b':' => is_name,
            // The peer takes CR LF for a line end, or may: a CONNECT is read before its version is known.
            b'\r' => self.version.allows_cr_lf() || !self.apply,
            _ => false,
        }
    }
}

/// The octets that some header or version must not have as they are. Header text is short: to look each up is quicker than
/// to compare it with five others, many at a time.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    // Invariant: the table has a place for each octet.
    (table[0], table[b'\n' as usize], table[b'\r' as usize]) = (true, true, true);
    (table[b':' as usize], table[b'\\' as usize]) = (true, true);
    table
};

fn number_header(name: &str, number: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    // No platform counts its memory in more than 64 bits.
    out.extend_from_slice(Digits::<20>::new().decimal(number as u64).as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
