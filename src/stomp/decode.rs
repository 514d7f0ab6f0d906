//! Bytes to frames, in whatever pieces they come.

use bytes::{Buf, Bytes};

use super::error::DecodeError;
use super::frame::Frame;
use super::grammar;
use super::limits::Limits;
use super::progress::{Progress, Rules};
use super::version::Version;

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

    /// Memory held for an incomplete frame, for accounting.
    pub fn held_bytes(&self) -> usize {
        match &self.state {
            State::Within(partial) => {
                size_of::<Partial>() + partial.bytes.capacity() + partial.progress.spilled_bytes()
            }
            State::Between { .. } | State::Failed(_) => 0,
        }
    }

    /// Forgets an incomplete frame. To be called when nothing more will be decoded.
    pub fn forget(&mut self) {
        self.state = State::Between { after_cr: false };
    }

    /// Takes bytes from the front of `input` up to the end of the next frame or run of line ends. Call it until it
    /// answers `None`: then all of `input` is taken. After an error it answers that error for ever.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Decoded>, DecodeError> {
        if input.is_empty() && !matches!(self.state, State::Failed(_)) {
            return Ok(None);
        }
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
        let mut progress = Progress::default();
        match progress.advance(input, rules)? {
            Some(places) => {
                let (bytes, rest) = input.split_at_checked(places.end).unwrap_or((input, &[]));
                *input = rest;
                let kept = bytes.get(places.kept()).unwrap_or_default();
                progress.finish(Bytes::copy_from_slice(kept), &places, rules).map(|frame| Some(Decoded::Frame(frame)))
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
                return progress.finish(bytes, &places, rules).map(|frame| Some(Decoded::Frame(frame)));
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
