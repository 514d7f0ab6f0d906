//! Sending: what the server writes. Server frames are never masked.

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use super::{
    CloseCode,
    deflate::{Agreement, Codec},
    packet::Kind,
};

/// The most bytes that [`write_header`] writes.
pub const MAX_HEADER_BYTES: usize = 10;

/// The most bytes that a ping, a pong or a close frame carries.
pub const MAX_CONTROL_BYTES: usize = 125;

/// Writes the header of a packet of one frame, to be followed by `length` bytes of payload. `compressed` says that
/// the payload is what [`Codec::deflate`] made, which only a connection that agreed on it may be sent.
pub fn write_header(out: &mut Vec<u8>, kind: Kind, compressed: bool, length: usize) {
    let opcode = match kind {
        Kind::Text => OpCode::Data(Data::Text),
        Kind::Binary => OpCode::Data(Data::Binary),
    };
    write_frame_header(out, FrameHeader { opcode, rsv1: compressed, ..FrameHeader::default() }, length);
}

/// Writes a whole packet, compressed where that was agreed on, is worth it and makes it smaller. `threshold_bytes` is
/// that of [`super::deflate::Options`]. The result is the same for all connections with the same agreement.
pub fn write_packet(
    out: &mut Vec<u8>,
    kind: Kind,
    payload: &[u8],
    compression: Option<(Agreement, &mut Codec)>,
    threshold_bytes: usize,
) {
    let window = compression.and_then(|(agreement, codec)| Some((agreement.window_bits()?, codec)));
    if let Some((window_bits, codec)) = window
        && payload.len() >= threshold_bytes
        && let Some(deflated) = codec.deflate(payload, window_bits)
    {
        write_header(out, kind, true, deflated.len());
        out.extend_from_slice(deflated);
        return;
    }
    write_header(out, kind, false, payload.len());
    out.extend_from_slice(payload);
}

/// Writes a ping. Only the first 125 bytes of `payload` are sent: a control frame carries no more.
pub fn write_ping(out: &mut Vec<u8>, payload: &[u8]) {
    write_control(out, Control::Ping, payload);
}

/// Writes the answer to a ping, which carries the ping's payload.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write_control(out, Control::Pong, payload);
}

/// Writes a close frame. A reason that is too long is cut at the end of a character; a code that must not be sent
/// (such as 1005, "none given") leaves the frame empty. To answer a client's close, send its code back.
pub fn write_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let number = u16::from(code);
    if !may_be_sent(number) {
        return write_control(out, Control::Close, &[]);
    }
    let room = MAX_CONTROL_BYTES - 2;
    let cut = (0..=room.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
    let reason = reason.get(..cut).unwrap_or_default();
    let header = FrameHeader { opcode: OpCode::Control(Control::Close), ..FrameHeader::default() };
    write_frame_header(out, header, 2 + reason.len());
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Whether a close frame may carry this code: those of RFC 6455 section 7.4 and the ones registered since. All others
/// are for use inside a program only.
pub(super) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

fn write_control(out: &mut Vec<u8>, control: Control, payload: &[u8]) {
    let payload = payload.get(..MAX_CONTROL_BYTES).unwrap_or(payload);
    write_frame_header(out, FrameHeader { opcode: OpCode::Control(control), ..FrameHeader::default() }, payload.len());
    out.extend_from_slice(payload);
}

fn write_frame_header(out: &mut Vec<u8>, header: FrameHeader, length: usize) {
    // Invariant: writing to a `Vec` cannot fail, and formatting has no other way to.
    let written = header.format(length as u64, out);
    debug_assert!(written.is_ok());
}
