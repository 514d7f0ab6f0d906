//! Sending: what the server writes. Server frames are never masked; the two functions `..as_client` are for connections
//! that stay within the program.

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

/// Writes a packet as a client would, for a connection within this program: the mask is all zeros.
pub fn write_as_client(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    let opcode = match kind {
        Kind::Text => OpCode::Data(Data::Text),
        Kind::Binary => OpCode::Data(Data::Binary),
    };
    let header = FrameHeader { opcode, mask: Some([0; 4]), ..FrameHeader::default() };
    write_frame_header(out, header, payload.len());
    out.extend_from_slice(payload);
}

/// Writes the answer to a ping as a client would; see [`write_as_client`].
pub fn write_pong_as_client(out: &mut Vec<u8>, payload: &[u8]) {
    let payload = payload.get(..MAX_CONTROL_BYTES).unwrap_or(payload);
    let opcode = OpCode::Control(Control::Pong);
    let header = FrameHeader { opcode, mask: Some([0; 4]), ..FrameHeader::default() };
    write_frame_header(out, header, payload.len());
    out.extend_from_slice(payload);
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

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;
    use crate::websocket::deflate;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn writes_the_shortest_header() {
        let check = |kind, compressed, length, expected: &[u8]| {
            let header = written(|out| write_header(out, kind, compressed, length));
            assert_eq!(header, expected, "{length} bytes");
            assert!(header.len() <= MAX_HEADER_BYTES);
        };
        check(Kind::Text, false, 0, &[0x81, 0]);
        check(Kind::Binary, false, 125, &[0x82, 125]);
        check(Kind::Text, true, 126, &[0xc1, 126, 0, 126]);
        check(Kind::Binary, true, 65535, &[0xc2, 126, 0xff, 0xff]);
        check(Kind::Text, false, 65536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn writes_control_frames_that_fit() {
        assert_eq!(written(|out| write_ping(out, b"")), [0x89, 0]);
        assert_eq!(written(|out| write_pong(out, b"ab")), [0x8a, 2, b'a', b'b']);
        assert_eq!(written(|out| write_pong(out, &[1; 125])).len(), 127);
        assert_eq!(written(|out| write_ping(out, &[1; 126])), written(|out| write_ping(out, &[1; 125])));
    }

    #[test]
    fn x2_writes_close_frames() {
        let check = |code: u16, reason: &str, expected: &[u8]| {
            assert_eq!(written(|out| write_close(out, CloseCode::from(code), reason)), expected, "{code} {reason}");
        };
        check(1000, "", &[0x88, 2, 3, 232]);
        check(1014, "", &[0x88, 2, 3, 246]);
        check(4500, "slow", &[0x88, 6, 17, 148, b's', b'l', b'o', b'w']);
        for code in [0, 1004, 1005, 1006, 1015, 2999, 5000] {
            check(code, "not sent", &[0x88, 0]);
        }
        let full = [&[0x88, 125, 3, 233][..], &[b'r'; 123]].concat();
        check(1001, &"r".repeat(123), &full);
        check(1001, &"r".repeat(124), &full);
        let cut = [&[0x88, 124, 3, 233][..], &[b'r'; 122]].concat();
        check(1001, &format!("{}é", "r".repeat(122)), &cut);
    }

    #[test]
    fn compresses_where_agreed_and_worth_it() {
        let options = deflate::Options::default();
        let agreed = |offer: &str| deflate::negotiate([offer], &options).expect("agreed").0;
        let mut codec = Codec::new(1);
        let mut first_byte = |agreement: Option<Agreement>, payload: &[u8], threshold| {
            let compression = agreement.map(|agreement| (agreement, &mut codec));
            written(|out| write_packet(out, Kind::Text, payload, compression, threshold))[0]
        };
        let (plain, compressed) = (0x81, 0xc1);
        let any = agreed("permessage-deflate");
        assert_eq!(first_byte(None, &[b'a'; 2000], 1024), plain);
        assert_eq!(first_byte(Some(any), &[b'a'; 2000], 1024), compressed);
        assert_eq!(first_byte(Some(any), &[b'a'; 1024], 1024), compressed);
        assert_eq!(first_byte(Some(any), &[b'a'; 1023], 1024), plain);
        assert_eq!(first_byte(Some(any), b"abc", 0), plain);
        let small = agreed("permessage-deflate; server_max_window_bits=8");
        assert_eq!(first_byte(Some(small), &[b'a'; 2000], 1024), plain);
    }
}
