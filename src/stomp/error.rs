//! What can be wrong with the bytes of a frame.

use thiserror::Error;

/// Why bytes are not a frame that we take. The peer is at fault; nothing after the error can be read.
///
/// The text is one short line for the peer's developer. Limits are inclusive: `limit` is the most that is taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// More header lines than `limits.headers`.
    #[error("more than {limit} headers (limits.headers)")]
    TooManyHeaders {
        /// The number of headers that is taken.
        limit: usize,
    },
    /// The header lines together are longer than `limits.header_bytes`.
    #[error("headers longer than {limit} bytes in all (limits.header_bytes)")]
    HeaderBlockTooLong {
        /// The length that is taken.
        limit: usize,
    },
    /// One header line is longer than `limits.line_bytes`.
    #[error("a header line longer than {limit} bytes (limits.line_bytes)")]
    LineTooLong {
        /// The length that is taken.
        limit: usize,
    },
    /// The body is longer, or said to become longer, than `limits.body_bytes`.
    #[error("a body longer than {limit} bytes (limits.body_bytes)")]
    BodyTooLong {
        /// The length that is taken.
        limit: usize,
    },
    /// The whole frame is longer than `limits.frame_before_login`.
    #[error("a frame longer than {limit} bytes before login (limits.frame_before_login)")]
    FrameTooLong {
        /// The length that is taken.
        limit: usize,
    },
    /// The first line is no command; the text is its beginning, made printable.
    #[error("unknown command \"{0}\"")]
    UnknownCommand(Box<str>),
    /// A backslash in a header is followed by something that this version has no meaning for.
    #[error("a backslash in a header starts no escape that this version knows")]
    BadEscape,
    /// A line between the command and the blank line has no colon.
    #[error("a header line without a colon")]
    HeaderWithoutColon,
    /// A header line starts with its colon.
    #[error("a header without a name")]
    EmptyHeaderName,
    /// The headers are not UTF-8.
    #[error("headers that are not UTF-8")]
    NotUtf8,
    /// A NUL stands before the blank line: most likely the blank line was forgotten.
    #[error("a NUL before the blank line that ends the headers")]
    NulInHeader,
    /// `content-length` is not a plain decimal number.
    #[error("content-length is not a decimal number")]
    BadContentLength,
    /// The octet after the `content-length` bytes of the body is not NUL.
    #[error("no NUL after the content-length bytes of the body")]
    MissingNul,
    /// A carriage return that does not belong to a line end.
    #[error("a carriage return that is no part of a line end")]
    CarriageReturn,
}

impl DecodeError {
    /// The stable name of the error, for the ERROR frame's `code`, for logs and for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            DecodeError::TooManyHeaders { .. } => "too-many-headers",
            DecodeError::HeaderBlockTooLong { .. } => "headers-too-long",
            DecodeError::LineTooLong { .. } => "header-line-too-long",
            DecodeError::BodyTooLong { .. } => "body-too-long",
            DecodeError::FrameTooLong { .. } => "frame-too-long-before-login",
            DecodeError::UnknownCommand(_) => "unknown-command",
            DecodeError::BadEscape => "bad-escape",
            DecodeError::HeaderWithoutColon => "header-without-colon",
            DecodeError::EmptyHeaderName => "empty-header-name",
            DecodeError::NotUtf8 => "headers-not-utf8",
            DecodeError::NulInHeader => "nul-in-header",
            DecodeError::BadContentLength => "bad-content-length",
            DecodeError::MissingNul => "missing-nul",
            DecodeError::CarriageReturn => "carriage-return",
        }
    }

    /// The configuration key of the limit that was reached; none if the bytes are wrong whatever the limits.
    pub fn config_key(&self) -> Option<&'static str> {
        match self {
            DecodeError::TooManyHeaders { .. } => Some("limits.headers"),
            DecodeError::HeaderBlockTooLong { .. } => Some("limits.header_bytes"),
            DecodeError::LineTooLong { .. } => Some("limits.line_bytes"),
            DecodeError::BodyTooLong { .. } => Some("limits.body_bytes"),
            DecodeError::FrameTooLong { .. } => Some("limits.frame_before_login"),
            _ => None,
        }
    }
}
