//! Bytes to frames, in whatever pieces they come.

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use nom::Err;

use super::error::DecodeError;
use super::frame::{Command, Frame};
use super::grammar;
use super::version::Version;
use crate::headers::{Headers, Span, Spans};

/// The length of the longest command, `UNSUBSCRIBE`.
const LONGEST_COMMAND: usize = 11;

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

/// What a peer has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A complete frame.
    Frame(Frame),
    /// One or more line ends between frames: the peer is alive.
    Heartbeat,
}

/// Finds the frames in what one peer sends, one decoder per connection and direction.
///
/// A frame that lies whole in the input is copied once, into a buffer of its own size. What has come of an incomplete
/// frame is kept in a buffer that grows with it, never by a length that the peer announces, and is gone when the frame
/// is complete: an idle decoder holds no memory. Each byte is searched once, however small the pieces.
///
/// Until [`Decoder::set_version`] the decoder expects the frames that agree on a version: CR LF is taken for a line
/// end, and a backslash is a backslash.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    version: Option<Version>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before a frame; `after_cr` when the last octet was a CR that still wants its LF.
    Between { after_cr: bool },
    /// Within a frame.
    Within(Box<Partial>),
    /// After an error, which is answered from now on: where the next frame starts cannot be known.
    Failed(DecodeError),
}

/// What has come of an incomplete frame.
#[derive(Debug)]
struct Partial {
    bytes: Vec<u8>,
    progress: Progress,
}

impl Decoder {
    /// A decoder before the first frame of a connection.
    pub fn new(limits: &Limits) -> Decoder {
        Decoder { limits: *limits, version: None, state: State::Between { after_cr: false } }
    }

    /// From the next frame on the rules of `version` hold. Call it when the version is agreed upon.
    pub fn set_version(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// The version set so far.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// From now on `limits` hold. Call it after login, between two frames.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.limits = *limits;
    }

    /// Bytes held of an incomplete frame.
    pub fn buffered(&self) -> usize {
        match &self.state {
            State::Within(partial) => partial.bytes.len(),
            State::Between { .. } | State::Failed(_) => 0,
        }
    }

    /// Takes bytes from the front of `input` up to the end of the next frame or run of line ends. Call it until it
    /// answers `None`: then all of `input` is taken. After an error it answers that error for ever.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Decoded>, DecodeError> {
        let rules = Rules { limits: self.limits, version: self.version };
        let state = std::mem::replace(&mut self.state, State::Between { after_cr: false });
        let outcome = match state {
            State::Between { after_cr } => self.between(after_cr, input, &rules),
            State::Within(partial) => self.within(partial, input, &rules),
            State::Failed(error) => Err(error),
        };
        if let Err(error) = &outcome {
            self.state = State::Failed(error.clone());
        }
        outcome
    }

    fn between(&mut self, after_cr: bool, input: &mut &[u8], rules: &Rules) -> Result<Option<Decoded>, DecodeError> {
        let (rest, (taken, after_cr)) = grammar::line_ends(input, after_cr).map_err(|_| DecodeError::CarriageReturn)?;
        if taken > 0 {
            let beats = input.iter().take(taken).any(|octet| *octet == b'\n');
            *input = rest;
            self.state = State::Between { after_cr };
            return Ok(beats.then_some(Decoded::Heartbeat));
        }
        if input.is_empty() {
            self.state = State::Between { after_cr };
            return Ok(None);
        }
        let mut progress = Progress::default();
        match progress.advance(input, rules)? {
            Some(places) => {
                let (bytes, rest) = input.split_at_checked(places.end).unwrap_or((input, &[]));
                *input = rest;
                let kept = bytes.get(places.kept()).unwrap_or_default();
                progress.finish(Bytes::copy_from_slice(kept), &places, rules).map(Some)
            }
            None => {
                self.state = State::Within(Box::new(Partial { bytes: input.to_vec(), progress }));
                *input = &[];
                Ok(None)
            }
        }
    }

    fn within(
        &mut self,
        mut partial: Box<Partial>,
        input: &mut &[u8],
        rules: &Rules,
    ) -> Result<Option<Decoded>, DecodeError> {
        while !input.is_empty() {
            let wanted = partial.progress.wanted(partial.bytes.len(), input, rules);
            let (piece, rest) = input.split_at_checked(wanted).unwrap_or((input, &[]));
            *input = rest;
            append(&mut partial.bytes, piece, partial.progress.total());
            if let Some(places) = partial.progress.advance(&partial.bytes, rules)? {
                let Partial { mut bytes, progress } = *partial;
                let kept = places.kept();
                bytes.truncate(kept.end);
                let mut bytes = Bytes::from(bytes.into_boxed_slice());
                bytes.advance(kept.start.min(bytes.len()));
                return progress.finish(bytes, &places, rules).map(Some);
            }
        }
        self.state = State::Within(partial);
        Ok(None)
    }
}

/// Appends `piece`; the capacity doubles when it must grow, but stops at the frame's `total` length where it is known.
fn append(bytes: &mut Vec<u8>, piece: &[u8], total: Option<usize>) {
    let needed = bytes.len().saturating_add(piece.len());
    if needed > bytes.capacity() {
        let doubled = bytes.capacity().saturating_mul(2).min(total.unwrap_or(usize::MAX));
        bytes.reserve_exact(doubled.max(needed) - bytes.len());
    }
    bytes.extend_from_slice(piece);
}

/// What holds for one frame.
struct Rules {
    limits: Limits,
    version: Option<Version>,
}

/// Where the parts of a complete frame lie, as offsets from its first byte.
struct Places {
    block_start: usize,
    block_end: usize,
    body_start: usize,
    body_end: usize,
    end: usize,
}

impl Places {
    /// What is kept of the frame: the header block, and the body if there is one.
    fn kept(&self) -> std::ops::Range<usize> {
        let end = if self.body_start == self.body_end { self.block_end } else { self.body_end };
        self.block_start..end
    }
}

/// How far a frame is understood. All offsets count from the frame's first byte.
#[derive(Debug, Default)]
struct Progress {
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
    fn advance(&mut self, bytes: &[u8], rules: &Rules) -> Result<Option<Places>, DecodeError> {
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
            Some(0) => return Err(DecodeError::NulInHeader),
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
        let (room, error) = self.line_room(limits);
        if text.len() > room { Err(error) } else { Ok(()) }
    }

    /// How long the line at `line_start` may become, and what is wrong if it is longer.
    fn line_room(&self, limits: &Limits) -> (usize, DecodeError) {
        let in_block = limits.header_bytes.saturating_sub(self.line_start - self.block_start);
        let in_frame = limits.frame_bytes.saturating_sub(self.line_start);
        if limits.line_bytes <= in_block && limits.line_bytes <= in_frame {
            (limits.line_bytes, DecodeError::LineTooLong { limit: limits.line_bytes })
        } else if in_block <= in_frame {
            (in_block, DecodeError::HeaderBlockTooLong { limit: limits.header_bytes })
        } else {
            (in_frame, DecodeError::FrameTooLong { limit: limits.frame_bytes })
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

    /// How long the body may become, and what is wrong if it is longer.
    fn body_room(&self, limits: &Limits) -> (usize, DecodeError) {
        let in_frame = limits.frame_bytes.saturating_sub(self.line_start + 1);
        if limits.body_bytes <= in_frame {
            (limits.body_bytes, DecodeError::BodyTooLong { limit: limits.body_bytes })
        } else {
            (in_frame, DecodeError::FrameTooLong { limit: limits.frame_bytes })
        }
    }

    fn body(&mut self, bytes: &[u8], rules: &Rules) -> Result<Option<Places>, DecodeError> {
        let (room, too_long) = self.body_room(&rules.limits);
        let body_start = self.line_start;
        let body_end = if let Some(length) = self.content_length {
            if length > room {
                return Err(too_long);
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
                return Err(too_long);
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
    fn wanted(&self, held: usize, input: &[u8], rules: &Rules) -> usize {
        if let Some(total) = self.total() {
            return total.saturating_sub(held).max(1);
        }
        if self.block_end.is_some() {
            let room = self.body_room(&rules.limits).0.saturating_sub(held - self.line_start);
            let piece = input.get(..room.saturating_add(1)).unwrap_or(input);
            return memchr::memchr(0, piece).map_or(piece.len(), |at| at + 1);
        }
        let room = if self.command.is_none() { LONGEST_COMMAND } else { self.line_room(&rules.limits).0 };
        // Two more for a line end, of which the CR may be held.
        let room = room.saturating_add(2).saturating_sub(held - self.line_start).max(1);
        let piece = input.get(..room).unwrap_or(input);
        memchr::memchr2(b'\n', 0, piece).map_or(piece.len(), |at| at + 1)
    }

    /// The frame's length, once it is known.
    fn total(&self) -> Option<usize> {
        self.block_end?;
        self.content_length.map(|length| self.line_start.saturating_add(length).saturating_add(1))
    }

    /// Makes the frame from its `kept` bytes, the header block first.
    fn finish(self, mut kept: Bytes, places: &Places, rules: &Rules) -> Result<Decoded, DecodeError> {
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
        Ok(Decoded::Frame(Frame { command, headers, body }))
    }
}

/// The headers at `spans` of `block`. Only a block that holds an escape is copied.
fn headers(block: Bytes, spans: Spans, command: Command, version: Option<Version>) -> Result<Headers, DecodeError> {
    let Some(version) = version.filter(|version| version.has_escapes() && command.is_escaped()) else {
        return Ok(Headers::of_spans(text(block)?, spans));
    };
    match memchr::memchr2(b'\\', b'\r', &block) {
        None => Ok(Headers::of_spans(text(block)?, spans)),
        Some(_) => unescaped(&block, spans, version),
    }
}

fn unescaped(block: &[u8], mut spans: Spans, version: Version) -> Result<Headers, DecodeError> {
    let mut plain = Vec::with_capacity(block.len());
    // Invariant: the copy is never longer than the block, whose offsets fit.
    let offset = |out: &Vec<u8>| u32::try_from(out.len()).unwrap_or(u32::MAX);
    for span in &mut spans {
        let name = block.get(span.start as usize..span.colon as usize).unwrap_or_default();
        let value = block.get(span.colon as usize + 1..span.end as usize).unwrap_or_default();
        if version.allows_cr_lf() && [name, value].iter().any(|text| text.contains(&b'\r')) {
            return Err(DecodeError::CarriageReturn);
        }
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

#[cfg(test)]
mod tests;
