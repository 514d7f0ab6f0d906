//! What a client can do wrong once the handshake is done, and what it is told.

use thiserror::Error;

use super::CloseCode;

/// A client broke the rules of RFC 6455 or RFC 7692, or of the draft that it speaks. The connection is beyond repair: send a close frame with
/// [`Violation::close_code`] and the violation's text as the reason, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// A frame without a mask, see RFC 6455 section 5.1.
    #[error("a client's frame must be masked")]
    Unmasked,
    /// RSV2 or RSV3 is set, or RSV1 where compression gives it no meaning, see RFC 6455 section 5.2.
    #[error("a reserved bit is set without an extension that defines it")]
    ReservedBit,
    /// An opcode that RFC 6455 reserves.
    #[error("opcode {0} is reserved")]
    ReservedOpcode(u8),
    /// A length of 2^63 or more.
    #[error("the top bit of a frame's length must be 0")]
    LengthTopBit,
    /// A length written in more bytes than it needs.
    #[error("a frame's length must be written in as few bytes as possible")]
    LengthNotMinimal,
    /// A close, ping or pong that is not its own last fragment.
    #[error("a control frame must not be fragmented")]
    ControlFragmented,
    /// A close, ping or pong with more than 125 bytes.
    #[error("a control frame carries at most 125 bytes")]
    ControlTooLong,
    /// A continuation frame while there is nothing to continue.
    #[error("a continuation frame continues nothing")]
    NothingToContinue,
    /// A text or binary frame within an unfinished packet.
    #[error("a packet begins before the last one is finished")]
    PacketUnfinished,
    /// A close frame with one byte, which is half a code.
    #[error("a close frame with one byte has no whole code")]
    CloseTooShort,
    /// A close code that must not be sent.
    #[error("close code {0} must not be sent")]
    CloseCodeForbidden(u16),
    /// In the draft of 2010, a frame that is neither text nor the end.
    #[error("a frame of type {0:#04x} means nothing in this draft")]
    FrameType(u8),
    /// Text, or the reason of a close frame, is not UTF-8.
    #[error("text is not valid UTF-8")]
    InvalidUtf8,
    /// Compressed data cannot be inflated, or breaks off.
    #[error("compressed data is damaged")]
    DamagedDeflate,
    /// A packet is larger than allowed.
    #[error("a packet is larger than the limit of {limit} bytes")]
    PacketTooBig {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl Violation {
    /// The code for the close frame that answers this violation.
    pub fn close_code(self) -> CloseCode {
        match self {
            Violation::PacketTooBig { .. } => CloseCode::Size,
            Violation::InvalidUtf8 | Violation::DamagedDeflate => CloseCode::Invalid,
            _ => CloseCode::Protocol,
        }
    }
}
