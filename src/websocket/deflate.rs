//! Compression of packets: the `permessage-deflate` extension of RFC 7692, always without context takeover.
//!
//! A compressor of its own for each connection would cost more than 300 KiB. Without context takeover nothing is
//! carried from packet to packet, so one [`Codec`] serves all connections of a thread, and a packet compressed once
//! serves all connections with the same [`Agreement`].

mod offer;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use thiserror::Error;

pub use offer::negotiate;

/// What the sender of a compressed packet leaves off its end, see RFC 7692 section 7.2.1.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The tail, and behind it an empty last block: the stream ends properly then, if and only if the packet was whole.
const TAIL_AND_END: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

/// By how much a buffer grows at least; small enough that a bomb is noticed early.
const GROWTH: usize = 4096;

/// A buffer larger than this is not kept for the next packet.
const KEEP: usize = 256 * 1024;

/// Compression windows that can be asked for. The smallest of RFC 7692, 8, is beyond what compressors produce.
const WINDOW_BITS: std::ops::RangeInclusive<u8> = 9..=15;

/// What an operator can choose about compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether compression is agreed to when a client offers it. Default: true.
    pub enabled: bool,
    /// Packets with less payload than this many bytes are sent uncompressed. Default: 1024.
    pub threshold_bytes: usize,
    /// How hard to compress: 1 is fastest, 9 smallest. Default: 1, which costs a third of level 6 and leaves little to
    /// be saved.
    pub level: u8,
}

impl Default for Options {
    fn default() -> Options {
        Options { enabled: true, threshold_bytes: 1024, level: 1 }
    }
}

/// What client and server agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Agreement {
    server_window_bits: u8,
}

impl Agreement {
    /// The window that packets for this client may be compressed with. Connections with the same window can share a
    /// compressed packet. `None`: the client's window is too small, so it is sent uncompressed packets only.
    pub fn window_bits(self) -> Option<u8> {
        Some(self.server_window_bits).filter(|bits| WINDOW_BITS.contains(bits))
    }
}

/// Why a compressed packet cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InflateError {
    /// Not a deflate stream, or one that breaks off.
    #[error("compressed data is damaged")]
    Damaged,
    /// More than the limit would come out. What was inflated up to there is dropped.
    #[error("inflated data is larger than the limit of {limit} bytes")]
    TooBig {
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Compressors and a decompressor for all connections of a thread. Each is made when first needed.
#[derive(Debug)]
pub struct Codec {
    level: Compression,
    /// One for each window size that a client asked for.
    compressors: [Option<Box<Compress>>; WINDOW_COUNT],
    decompressor: Option<Box<Decompress>>,
    deflated: Vec<u8>,
    inflated: Vec<u8>,
}

const WINDOW_COUNT: usize = 7;

impl Codec {
    /// A codec that compresses at `level`; levels beyond 1 to 9 are taken for the nearest.
    pub fn new(level: u8) -> Codec {
        Codec {
            level: Compression::new(u32::from(level.clamp(1, 9))),
            compressors: Default::default(),
            decompressor: None,
            deflated: Vec::new(),
            inflated: Vec::new(),
        }
    }

    /// Compresses a packet's payload. `None` when that does not make it smaller, or there is no such window: send it
    /// as it is.
    pub fn deflate(&mut self, payload: &[u8], window_bits: u8) -> Option<&[u8]> {
        let index = usize::from(window_bits.checked_sub(*WINDOW_BITS.start())?);
        let level = self.level;
        let compressor = self
            .compressors
            .get_mut(index)?
            .get_or_insert_with(|| Box::new(Compress::new_with_window_bits(level, false, window_bits)));
        compressor.reset();
        clear(&mut self.deflated);
        let out = &mut self.deflated;
        // What is as large as the payload is of no use, so the output never needs more room than that and the tail.
        let bound = payload.len() + TAIL.len();
        loop {
            let rest = payload.get(usize::try_from(compressor.total_in()).ok()?..)?;
            out.reserve(GROWTH.max(rest.len() / 2));
            compressor.compress_vec(rest, out, FlushCompress::Sync).ok()?;
            // The flush is complete once the compressor leaves room.
            if out.len() < out.capacity() {
                break;
            }
            if out.len() > bound {
                return None;
            }
        }
        let deflated = out.strip_suffix(&TAIL)?;
        (deflated.len() < payload.len()).then_some(deflated)
    }

    /// Inflates a compressed packet's payload to at most `limit` bytes.
    ///
    /// # Errors
    /// The data is damaged, or more than `limit` bytes would come out: then inflating stops there.
    pub fn inflate(&mut self, compressed: &[u8], limit: usize) -> Result<&[u8], InflateError> {
        clear(&mut self.inflated);
        if compressed.is_empty() {
            return Ok(&self.inflated);
        }
        let decompressor = self.decompressor.get_or_insert_with(|| Box::new(Decompress::new(false)));
        decompressor.reset(false);
        let verdict = inflate_packet(decompressor, compressed, limit, &mut self.inflated);
        if verdict.is_err() {
            self.inflated = Vec::new();
        }
        verdict.map(|()| self.inflated.as_slice())
    }

    /// What the last call of [`Codec::inflate`] gave.
    pub(super) fn inflated(&self) -> &[u8] {
        &self.inflated
    }
}

fn inflate_packet(
    decompressor: &mut Decompress,
    compressed: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), InflateError> {
    for (part, is_data) in [(compressed, true), (&TAIL_AND_END[..], false)] {
        let mut rest = part;
        while !rest.is_empty() {
            let (consumed, status) = inflate_some(decompressor, rest, limit, out)?;
            rest = rest.get(consumed..).unwrap_or_default();
            match status {
                // A sender may end a stream within a packet, see RFC 7692 section 7.2.3.4: what follows is a new one.
                Status::StreamEnd if is_data && rest.is_empty() => return Ok(()),
                Status::StreamEnd if is_data => decompressor.reset(false),
                Status::StreamEnd if rest.is_empty() => return Ok(()),
                Status::StreamEnd => return Err(InflateError::Damaged),
                Status::Ok | Status::BufError => {}
            }
        }
    }
    Err(InflateError::Damaged)
}

/// Inflates until input or room is used up; grows the room step by step up to the limit.
fn inflate_some(
    decompressor: &mut Decompress,
    input: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(usize, Status), InflateError> {
    if out.len() == out.capacity() {
        // One byte beyond the limit tells "exactly full" from "too big".
        let allowed = limit.saturating_add(1).saturating_sub(out.len());
        out.reserve_exact(GROWTH.max(out.len()).min(allowed));
    }
    let consumed_before = decompressor.total_in();
    let produced_before = out.len();
    let status = decompressor.decompress_vec(input, out, FlushDecompress::None);
    let consumed = usize::try_from(decompressor.total_in() - consumed_before).unwrap_or(usize::MAX);
    let status = status.map_err(|_| InflateError::Damaged)?;
    if out.len() > limit {
        return Err(InflateError::TooBig { limit });
    }
    if consumed == 0 && out.len() == produced_before && status != Status::StreamEnd {
        return Err(InflateError::Damaged);
    }
    Ok((consumed, status))
}

/// Empties a buffer for the next packet, and frees it if the last packet was unusually large.
fn clear(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEEP {
        *buffer = Vec::new();
    }
    buffer.clear();
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests;
