//! How far one frame is understood, line by line, and where its parts lie.

use bytes::Bytes;
use bytestring::ByteString;
use nom::Err;

use super::error::DecodeError;
use super::frame::{Command, Frame};
use super::grammar;
use super::limits::Limits;
use super::version::Version;
use crate::headers::{Headers, Span, Spans};

/// The length of the longest command, `UNSUBSCRIBE`.
const LONGEST_COMMAND: usize = 11;

/// What holds for one frame.
pub(super) struct Rules {
    pub(super) limits: Limits,
    pub(super) version: Option<Version>,
}

/// Where the parts of a complete frame lie, as offsets from its first byte.
pub(super) struct Places {
    block_start: usize,
    block_end: usize,
    body_start: usize,
    body_end: usize,
    pub(super) end: usize,
}

impl Places {
    /// What is kept of the frame: the header block, and the body if there is one.
    pub(super) fn kept(&self) -> std::ops::Range<usize> {
        let end = if self.body_start == self.body_end { self.block_end } else { self.body_end };
        self.block_start..end
    }
}

/// How far a frame is understood. All offsets count from the frame's first byte.
#[derive(Debug, Default)]
pub(super) struct Progress {
    command: Option<Command>,
    /// Whether each line's CR before the LF belongs to the line end.
    cr_lf: bool,
    spans: Spans,
    content_length: Option<usize>,
    /// Where the header block starts: after the command's line.
    block_start: usize,
    /// Where the line starts whose end has not been seen, or the body.
    line_start: usize,
    /// Everything before was searched.
    searched: usize,
    /// Where the blank line starts, once it has come.
    block_end: Option<usize>,
}

impl Progress {
    /// Goes on with the frame's bytes so far, of which those after `searched` are new. Answers when all have come.
    pub(super) fn advance(&mut self, bytes: &[u8], rules: &Rules) -> Result<Option<Places>, DecodeError> {
        while self.block_end.is_none() {
            if !self.next_line(bytes, rules)? {
                return Ok(None);
            }
        }
        self.body(bytes, rules)
    }

    /// Reads one line of the head; false if its end has not come.
    fn next_line(&mut self, bytes: &[u8], rules: &Rules) -> Result<bool, DecodeError> {
        let fresh = bytes.get(self.searched..).unwrap_or_default();
        let (end, after) = match grammar::text(fresh) {
            Ok((rest, text)) => (self.searched + text.len(), rest.first()),
            Err(_) => (bytes.len(), None),
        };
        self.searched = end;
        let line = bytes.get(self.line_start..end).unwrap_or_default();
        // A last CR may be half of a line end even while the LF is missing.
        let may_end_in_cr = self.command.is_none() || self.cr_lf;
        let text = line.strip_suffix(b"\r").filter(|_| may_end_in_cr).unwrap_or(line);
        self.check_length(text, rules)?;
        match after {
            None => return Ok(false),
            Some(0) if self.command.is_some() || Command::parse(text).is_some() => {
                return Err(DecodeError::NulInHeader);
            }
            Some(_) => {}
        }
        let line_start = self.line_start;
        self.line_start = end + 1;
        self.searched = end + 1;
        if self.command.is_none() {
            self.command = Some(Command::parse(text).ok_or_else(|| unknown_command(text))?);
            // No command ends in CR. So a frame that starts with CR LF has such line ends, in the versions too where
            // a CR could be data: its sender did not mean them as data.
            self.cr_lf = rules.version.is_none_or(Version::allows_cr_lf) || text.len() < line.len();
            self.block_start = self.line_start;
        } else if text.is_empty() {
            self.block_end = Some(line_start);
        } else {
            self.header(line_start, text)?;
        }
        Ok(true)
    }

    /// Fails as soon as a line is too long for any limit, be it complete or not.
    fn check_length(&self, text: &[u8], rules: &Rules) -> Result<(), DecodeError> {
        if self.command.is_none() {
            return if text.len() > LONGEST_COMMAND { Err(unknown_command(text)) } else { Ok(()) };
        }
        if text.is_empty() {
            return Ok(());
        }
        let limits = &rules.limits;
        if self.spans.len() >= limits.header_count {
            return Err(DecodeError::TooManyHeaders { limit: limits.header_count });
        }
        if text.len() > self.line_room(limits) {
            return Err(self.line_error(limits));
        }
        Ok(())
    }

    /// Memory for headers beyond those that have room in here.
    pub(super) fn spilled_bytes(&self) -> usize {
        if self.spans.spilled() { self.spans.capacity() * size_of::<Span>() } else { 0 }
    }

    /// How long the line at `line_start` may become.
    fn line_room(&self, limits: &Limits) -> usize {
        let in_frame = limits.frame_bytes.saturating_sub(self.line_start);
        limits.line_bytes.min(self.room_in_block(limits)).min(in_frame)
    }

    fn room_in_block(&self, limits: &Limits) -> usize {
        limits.header_bytes.saturating_sub(self.line_start - self.block_start)
    }

    /// What is wrong with a line that is longer than [`Progress::line_room`]: the limit that it reaches first.
    #[cold]
    fn line_error(&self, limits: &Limits) -> DecodeError {
        let room = self.line_room(limits);
        if room == limits.line_bytes {
            let limit = limits.line_bytes;
            DecodeError::LineTooLong { limit }
        } else if room == self.room_in_block(limits) {
            let limit = limits.header_bytes;
            DecodeError::HeaderBlockTooLong { limit }
        } else {
            let limit = limits.frame_bytes;
            DecodeError::FrameTooLong { limit }
        }
    }

    fn header(&mut self, line_start: usize, line: &[u8]) -> Result<(), DecodeError> {
        let (value, name) = grammar::header(line).map_err(|_: Err<_>| DecodeError::HeaderWithoutColon)?;
        if name.is_empty() {
            return Err(DecodeError::EmptyHeaderName);
        }
        // The first of a repeated header counts.
        if name == b"content-length" && self.content_length.is_none() {
            let length = grammar::content_length(value).ok_or(DecodeError::BadContentLength)?;
            self.content_length = Some(length);
        }
        let start = line_start - self.block_start;
        let offset = |at: usize| u32::try_from(at);
        let (Ok(start), Ok(colon), Ok(end)) = (offset(start), offset(start + name.len()), offset(start + line.len()))
        else {
            return Err(DecodeError::HeaderBlockTooLong { limit: u32::MAX as usize });
        };
        self.spans.push(Span { start, colon, end });
        Ok(())
    }

    /// How long the body may become; none if not even its NUL has room.
    fn body_room(&self, limits: &Limits) -> Option<usize> {
        let in_frame = limits.frame_bytes.checked_sub(self.line_start + 1)?;
        Some(limits.body_bytes.min(in_frame))
    }

    /// What is wrong with a body that is longer than [`Progress::body_room`].
    #[cold]
    fn body_error(&self, limits: &Limits) -> DecodeError {
        if self.body_room(limits) == Some(limits.body_bytes) {
            let limit = limits.body_bytes;
            DecodeError::BodyTooLong { limit }
        } else {
            let limit = limits.frame_bytes;
            DecodeError::FrameTooLong { limit }
        }
    }

    fn body(&mut self, bytes: &[u8], rules: &Rules) -> Result<Option<Places>, DecodeError> {
        let body_start = self.line_start;
        let limits = &rules.limits;
        let Some(room) = self.body_room(limits) else {
            return Err(self.body_error(limits));
        };
        let body_end = if let Some(length) = self.content_length {
            if length > room {
                return Err(self.body_error(limits));
            }
            match grammar::counted_body(bytes.get(body_start..).unwrap_or_default(), length) {
                Ok(_) => body_start + length,
                Err(Err::Incomplete(_)) => return Ok(None),
                Err(_) => return Err(DecodeError::MissingNul),
            }
        } else {
            let from = self.searched.max(body_start);
            let found = grammar::open_body(bytes.get(from..).unwrap_or_default());
            let end = found.as_ref().map_or(bytes.len(), |(_, body)| from + body.len());
            self.searched = end;
            if end - body_start > room {
                return Err(self.body_error(limits));
            }
            if found.is_err() {
                return Ok(None);
            }
            end
        };
        let block_end = self.block_end.unwrap_or(body_start);
        Ok(Some(Places { block_start: self.block_start, block_end, body_start, body_end, end: body_end + 1 }))
    }

    /// How many bytes of `input` to take for a frame of which `held` bytes are there: those that surely belong to it,
    /// and one beyond a limit at most, by which the excess is seen.
    pub(super) fn wanted(&self, held: usize, input: &[u8], rules: &Rules) -> usize {
        if let Some(total) = self.total() {
            return total.saturating_sub(held).max(1);
        }
        if self.block_end.is_some() {
            let room = self.body_room(&rules.limits).unwrap_or_default().saturating_sub(held - self.line_start);
            let piece = input.get(..room.saturating_add(1)).unwrap_or(input);
            return memchr::memchr(0, piece).map_or(piece.len(), |at| at + 1);
        }
        let room = if self.command.is_none() { LONGEST_COMMAND } else { self.line_room(&rules.limits) };
        // Two more for a line end, of which the CR may be held.
        let room = room.saturating_add(2).saturating_sub(held - self.line_start).max(1);
        let piece = input.get(..room).unwrap_or(input);
        memchr::memchr2(b'\n', 0, piece).map_or(piece.len(), |at| at + 1)
    }

    /// The frame's length, once it is known.
    pub(super) fn total(&self) -> Option<usize> {
        self.block_end?;
        self.content_length.map(|length| self.line_start.saturating_add(length).saturating_add(1))
    }

    /// Makes the frame from its `kept` bytes, the header block first.
    pub(super) fn finish(self, mut kept: Bytes, places: &Places, rules: &Rules) -> Result<Frame, DecodeError> {
        // Invariant: a frame is finished only after its blank line, which comes after its command.
        let Some(command) = self.command else {
            return Err(unknown_command(&[]));
        };
        let body = if places.body_start == places.body_end {
            Bytes::new()
        } else {
            let mut body = kept.split_off((places.body_start - places.block_start).min(kept.len()));
            body.truncate(places.body_end - places.body_start);
            body
        };
        kept.truncate(places.block_end - places.block_start);
        let headers = headers(kept, self.spans, command, rules.version)?;
        Ok(Frame { command, headers, body })
    }
}

/// The headers at `spans` of `block`. Only a block that holds an escape is copied.
fn headers(block: Bytes, spans: Spans, command: Command, version: Option<Version>) -> Result<Headers, DecodeError> {
    let Some(version) = version.filter(|version| version.has_escapes() && command.is_escaped()) else {
        return Ok(Headers::of_spans(text(block)?, spans));
    };
    if version.allows_cr_lf() && has_stray_cr(&block, &spans) {
        return Err(DecodeError::CarriageReturn);
    }
    match memchr::memchr(b'\\', &block) {
        None => Ok(Headers::of_spans(text(block)?, spans)),
        Some(_) => unescaped(&block, spans, version),
    }
}

/// Whether a CR stands in a header, where the CRs of line ends are not.
fn has_stray_cr(block: &[u8], spans: &Spans) -> bool {
    let within = |span: &Span| block.get(span.start as usize..span.end as usize);
    memchr::memchr(b'\r', block).is_some()
        && spans.iter().filter_map(within).any(|header| memchr::memchr(b'\r', header).is_some())
}

fn unescaped(block: &[u8], mut spans: Spans, version: Version) -> Result<Headers, DecodeError> {
    let mut plain = Vec::with_capacity(block.len());
    // Invariant: the copy is never longer than the block, whose offsets fit.
    let offset = |out: &Vec<u8>| u32::try_from(out.len()).unwrap_or(u32::MAX);
    for span in &mut spans {
        let name = block.get(span.start as usize..span.colon as usize).unwrap_or_default();
        let value = block.get(span.colon as usize + 1..span.end as usize).unwrap_or_default();
        span.start = offset(&plain);
        grammar::unescape(name, version, &mut plain)?;
        span.colon = offset(&plain);
        plain.push(b':');
        grammar::unescape(value, version, &mut plain)?;
        span.end = offset(&plain);
    }
    Ok(Headers::of_spans(text(Bytes::from(plain))?, spans))
}

fn text(block: Bytes) -> Result<ByteString, DecodeError> {
    ByteString::try_from(block).map_err(|_| DecodeError::NotUtf8)
}

/// The error for a first line that is no command, with as much of it as a line of a log can bear.
fn unknown_command(line: &[u8]) -> DecodeError {
    let start = line.get(..=LONGEST_COMMAND).unwrap_or(line);
    DecodeError::UnknownCommand(start.escape_ascii().to_string().into_boxed_str())
}
