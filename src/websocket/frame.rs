//! Frame headers as they come from a client, and what each may say.

use std::io::Cursor;

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use super::{Violation, mask::Mask};

/// The longest header: two bytes, eight of length, four of mask.
const MAX_HEADER: usize = 14;

/// The longest payload of a control frame.
pub(super) const MAX_CONTROL_PAYLOAD: u64 = 125;

/// A header of which not all bytes have come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PartialHeader {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

/// A frame whose header has been checked on its own: what it means within the packet is the receiver's to judge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Bytes of payload that have not come yet.
    pub(super) remaining: u64,
    pub(super) purpose: Purpose,
    pub(super) fin: bool,
    /// RSV1: the packet that begins here is compressed.
    pub(super) compressed: bool,
    mask: Mask,
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Text,
    Binary,
    Continue,
    Ping,
    Pong,
    Close,
}

impl PartialHeader {
    /// Takes a header from the front of `input`, or all of `input` when the header does not end in it.
    pub(super) fn take_from(&mut self, input: &mut &mut [u8]) -> Result<Option<Frame>, Violation> {
        if self.len == 0
            && let Some((frame, size)) = parse(input)?
        {
            take(input, size);
            return Ok(Some(frame));
        }
        let before = usize::from(self.len);
        let free = self.bytes.get_mut(before..).unwrap_or_default();
        let copied = free.len().min(input.len());
        for (slot, byte) in free.iter_mut().zip(input.iter()) {
            *slot = *byte;
        }
        let seen = self.bytes.get(..before + copied).unwrap_or_default();
        match parse(seen)? {
            Some((frame, size)) => {
                self.len = 0;
                take(input, size - before);
                Ok(Some(frame))
            }
            None => {
                // Invariant: no header is longer than the buffer, so an incomplete one leaves room and took all input.
                debug_assert_eq!(copied, input.len());
                self.len += copied as u8;
                take(input, copied);
                Ok(None)
            }
        }
    }
}

impl Frame {
    /// Takes and unmasks what is there of the frame's payload.
    pub(super) fn take_payload<'i>(&mut self, input: &mut &'i mut [u8]) -> &'i [u8] {
        let available = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(input.len());
        let piece = take(input, available);
        self.mask.apply(piece);
        self.remaining -= piece.len() as u64;
        piece
    }

    pub(super) fn is_control(&self) -> bool {
        matches!(self.purpose, Purpose::Ping | Purpose::Pong | Purpose::Close)
    }
}

/// Reads a header with all rules that need no knowledge of earlier frames; answers with the header's size too.
fn parse(bytes: &[u8]) -> Result<Option<(Frame, usize)>, Violation> {
    let mut cursor = Cursor::new(bytes);
    // The parser's only complaint is about opcodes: a slice has no other way to fail than to end early.
    let opcode = bytes.first().copied().unwrap_or_default() & 0x0f;
    let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| Violation::ReservedOpcode(opcode))? else {
        return Ok(None);
    };
    let size = usize::try_from(cursor.position()).unwrap_or(MAX_HEADER);
    let key = header.mask.ok_or(Violation::Unmasked)?;
    let purpose = match header.opcode {
        OpCode::Data(Data::Text) => Purpose::Text,
        OpCode::Data(Data::Binary) => Purpose::Binary,
        OpCode::Data(Data::Continue) => Purpose::Continue,
        OpCode::Control(Control::Ping) => Purpose::Ping,
        OpCode::Control(Control::Pong) => Purpose::Pong,
        OpCode::Control(Control::Close) => Purpose::Close,
        OpCode::Data(Data::Reserved(code)) | OpCode::Control(Control::Reserved(code)) => {
            return Err(Violation::ReservedOpcode(code));
        }
    };
    let frame =
        Frame { remaining: length, purpose, fin: header.is_final, compressed: header.rsv1, mask: Mask::new(key) };
    if header.rsv2 || header.rsv3 || (header.rsv1 && !matches!(purpose, Purpose::Text | Purpose::Binary)) {
        return Err(Violation::ReservedBit);
    }
    if length > i64::MAX as u64 {
        return Err(Violation::LengthTopBit);
    }
    if size != header.len(length) {
        return Err(Violation::LengthNotMinimal);
    }
    if frame.is_control() {
        if !frame.fin {
            return Err(Violation::ControlFragmented);
        }
        if length > MAX_CONTROL_PAYLOAD {
            return Err(Violation::ControlTooLong);
        }
    }
    Ok(Some((frame, size)))
}

/// Cuts up to `count` bytes off the front of `input`.
pub(super) fn take<'i>(input: &mut &'i mut [u8], count: usize) -> &'i mut [u8] {
    let all = std::mem::take(input);
    let count = count.min(all.len());
    let (front, back) = all.split_at_mut(count);
    *input = back;
    front
}
