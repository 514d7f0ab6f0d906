//! How large what a peer sends may become.

/// How large a frame may become. All are inclusive: the most that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Header lines, repeated ones counted each. Key `limits.headers`.
    pub header_count: usize,
    /// Bytes from the first header's first to the last header's last. Key `limits.header_bytes`.
    pub header_bytes: usize,
    /// Bytes of one header line, its end not counted. Key `limits.line_bytes`.
    pub line_bytes: usize,
    /// Bytes of a body. Key `limits.body_bytes`.
    pub body_bytes: usize,
    /// Bytes of the whole frame, from its command to its NUL. Key `limits.frame_before_login`: after login there is
    /// no such limit, which is `usize::MAX`.
    pub frame_bytes: usize,
}

/// 64 headers, 32 KiB of headers, 8 KiB a line, 16 MiB of body: the limits after login.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_count: 64,
            header_bytes: 32 * 1024,
            line_bytes: 8 * 1024,
            body_bytes: 16 * 1024 * 1024,
            frame_bytes: usize::MAX,
        }
    }
}

impl Limits {
    /// The limits before login: a frame is at most 8 KiB in all.
    pub fn before_login() -> Limits {
        Limits { frame_bytes: 8 * 1024, ..Limits::default() }
    }
}
