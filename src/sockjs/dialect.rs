//! Which WebSocket the client of a conduit speaks.

use crate::websocket::deflate::Codec;
use crate::websocket::packet::{Event, Kind, Receiver};
use crate::websocket::{CloseCode, Violation, draft76, send};

/// Both directions of a connection, behind its handshake.
#[derive(Debug)]
pub(super) enum Dialect {
    /// RFC 6455, without compression.
    Standard(Receiver, Codec),
    /// The draft of 2010.
    Draft76(draft76::Receiver),
}

impl Dialect {
    pub(super) fn standard() -> Dialect {
        Dialect::Standard(Receiver::new(false), Codec::new(1))
    }

    pub(super) fn draft76() -> Dialect {
        Dialect::Draft76(draft76::Receiver::default())
    }

    /// See [`Receiver::next`].
    pub(super) fn next<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i mut [u8],
        max_packet_bytes: usize,
    ) -> Result<Option<Event<'e>>, Violation> {
        match self {
            Dialect::Standard(receiver, codec) => receiver.next(input, max_packet_bytes, codec),
            Dialect::Draft76(receiver) => receiver.next(input, max_packet_bytes),
        }
    }

    pub(super) fn write_packet(&self, out: &mut Vec<u8>, text: &str) {
        match self {
            Dialect::Standard(..) => send::write_packet(out, Kind::Text, text.as_bytes(), None, 0),
            Dialect::Draft76(_) => draft76::write_packet(out, text),
        }
    }

    /// Whether a client can be asked if it is there: [`send::write_ping`] and [`send::write_pong`] are for those only.
    pub(super) fn has_pings(&self) -> bool {
        matches!(self, Dialect::Standard(..))
    }

    /// The draft has no way to say why: its clients have the code and the reason from the SockJS frame before, if there is one.
    pub(super) fn write_close(&self, out: &mut Vec<u8>, code: CloseCode, reason: &str) {
        match self {
            Dialect::Standard(..) => send::write_close(out, code, reason),
            Dialect::Draft76(_) => draft76::write_close(out),
        }
    }
}
