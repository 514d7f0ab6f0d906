//! The same bytes, handed over otherwise: a broker's verdict must not depend on where the network cuts.

use std::fmt;

use crate::harness::Piece;

/// How the frames of a run are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A frame a write.
    Plain,
    /// Heart-beats between the frames.
    Beats,
    /// An octet a write.
    Bytes,
    /// CR LF at the end of each line, where the version allows it.
    CrLf,
    /// Cut at random places.
    Cuts { seed: u64 },
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Plain => out.write_str("as written"),
            Mode::Beats => out.write_str("with heart-beats between the frames"),
            Mode::Bytes => out.write_str("octet by octet"),
            Mode::CrLf => out.write_str("with CR LF line ends"),
            Mode::Cuts { seed } => write!(out, "cut at random, --seed {seed}"),
        }
    }
}

/// A small generator that anyone can write down: SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % limit.max(1) as u64) as usize
    }
}

/// Frames longer than this are not sent octet by octet: it proves nothing more and takes long.
const DRIBBLED: usize = 2048;

/// Cuts an encoded frame as the mode says.
pub(crate) fn pieces(mode: Mode, frame: Vec<u8>, is_first: bool, random: &mut Random) -> Vec<Piece> {
    let cuts: Vec<usize> = match mode {
        Mode::Plain | Mode::CrLf => Vec::new(),
        Mode::Beats if is_first => Vec::new(),
        Mode::Beats => return vec![Piece::Plain(b"\n".to_vec()), Piece::Plain([b"\n\n", frame.as_slice()].concat())],
        Mode::Bytes if frame.len() <= DRIBBLED => (1..frame.len()).collect(),
        Mode::Bytes => (1..64).chain([frame.len() - 1]).collect(),
        Mode::Cuts { .. } => {
            let mut cuts: Vec<usize> = (0..4).map(|_| random.below(frame.len())).collect();
            cuts.sort_unstable();
            cuts
        }
    };
    cut(&frame, &cuts)
}

/// Cuts bytes; a cut inside a UTF-8 character makes the pieces binary, as text may not hold half a character.
fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<Piece> {
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let parts: Vec<&[u8]> =
        starts.zip(ends).filter_map(|(start, end)| bytes.get(start..end)).filter(|part| !part.is_empty()).collect();
    let text = parts.iter().all(|part| std::str::from_utf8(part).is_ok());
    parts
        .into_iter()
        .map(|part| match text {
            true => Piece::Plain(part.to_vec()),
            false => Piece::Binary(part.to_vec()),
        })
        .collect()
}
