//! RFC 7692, the client's side: what is offered, and messages compressed and inflated.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What a client offers. The window of what it sends is its own affair: it never refers to an earlier message.
pub(crate) const OFFER: &str = "permessage-deflate; client_no_context_takeover";

/// What the sender of a compressed message leaves off its end.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A message from the broker must not be larger when inflated; a broken broker does not exhaust the machine.
const LIMIT: usize = 64 << 20;

/// A compressed message's payload.
pub(crate) fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut compressor = Compress::new(Compression::fast(), false);
    let mut out = Vec::with_capacity(64);
    loop {
        let rest = payload.get(compressor.total_in() as usize..).unwrap_or_default();
        // Writing to memory fails only for want of room, and then more is given.
        let status = compressor.compress_vec(rest, &mut out, FlushCompress::Sync);
        if status.is_err() || out.len() < out.capacity() {
            break;
        }
        out.reserve(out.capacity());
    }
    out.strip_suffix(&TAIL).unwrap_or(&out).to_vec()
}

/// The inflating half of a connection on which compression was agreed on.
pub(crate) struct Inflater {
    decompressor: Decompress,
    /// Whether the broker promised that no message refers to an earlier one.
    forgets: bool,
}

impl Inflater {
    /// `None` when the broker's answer to the offer agrees on nothing; an error when it is no answer to [`OFFER`].
    pub(crate) fn agreed(answer: Option<&str>) -> Result<Option<Self>, String> {
        let Some(answer) = answer else { return Ok(None) };
        let mut words = answer.split(';').map(str::trim);
        if words.next() != Some("permessage-deflate") {
            return Err(format!("agreed to an extension that was not offered: {answer}"));
        }
        let mut forgets = false;
        for word in words {
            match word.split('=').next().map(str::trim) {
                Some("server_no_context_takeover") => forgets = true,
                Some("client_no_context_takeover" | "server_max_window_bits") => {}
                _ => return Err(format!("agreed to what was not offered: {word}")),
            }
        }
        Ok(Some(Inflater { decompressor: Decompress::new(false), forgets }))
    }

    /// The payload of a whole message.
    pub(crate) fn inflate(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Vec::with_capacity(1024);
        for part in [payload, &TAIL] {
            let before = self.decompressor.total_in();
            loop {
                let used = (self.decompressor.total_in() - before) as usize;
                let rest = part.get(used..).unwrap_or_default();
                let (length, room) = (out.len(), out.capacity());
                if rest.is_empty() && length < room {
                    break;
                }
                let status = self.decompressor.decompress_vec(rest, &mut out, FlushDecompress::Sync);
                let is_stuck = out.len() == length && self.decompressor.total_in() - before == used as u64;
                match status {
                    Ok(Status::StreamEnd) => self.decompressor.reset(false),
                    Ok(_) if is_stuck && out.len() < out.capacity() => return Err("compressed data breaks off".into()),
                    Ok(_) => {}
                    Err(wrong) => return Err(format!("compressed data is damaged: {wrong}")),
                }
                if out.len() > LIMIT {
                    return Err("compressed data is larger than memory".to_owned());
                }
                if out.len() == out.capacity() {
                    out.reserve(out.capacity());
                }
            }
        }
        if self.forgets {
            self.decompressor.reset(false);
        }
        Ok(out)
    }
}
