//! What waits to be written to one connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::message::{SubscriptionKey, Tag, Tags};

/// Capacity that an empty outbox may keep; more is given back, or idle connections would remember their busiest moment.
const KEPT_CAPACITY: usize = 4;

/// Pieces up to this size are copied when their connection stops taking bytes; larger ones are worth sharing.
const DETACHED_SIZE: usize = 1024;

/// Where bytes of the current turn lie until the turn's end seals them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In the open buffer of this label, shared by its subscribers.
    Label(u32),
    /// In the worker's buffer for what only one connection gets.
    Private,
}

/// A range of an open buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) source: Source,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug)]
enum Piece {
    /// Written during this turn; the buffer may still grow.
    Open(Run),
    /// Final bytes, shared with whoever else gets them.
    Sealed(Bytes),
}

impl Piece {
    fn detach(&mut self) {
        if let Piece::Sealed(bytes) = self
            && bytes.len() <= DETACHED_SIZE
        {
            *bytes = Bytes::copy_from_slice(bytes);
        }
    }
}

/// The bytes waiting for one connection, in order, and the queue deliveries among them that count as consumed once
/// written (Q2).
///
/// Runs that lie next to each other in one open buffer become one piece, so a subscriber who gets a whole burst of a
/// topic holds one piece of it, and writing it is one slice.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pieces: VecDeque<Piece>,
    /// How many pieces at the front are known to be sealed, so that a long outbox is not searched every turn.
    sealed: usize,
    /// Bytes in `pieces`.
    queued: usize,
    /// Bytes written in the connection's life: with `queued`, the scale on which `marks` lie.
    written: u64,
    /// Only consumers of queues in ack mode `auto` have any.
    marks: VecDeque<Mark>,
}

/// The end of a MESSAGE whose writing settles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    end: u64,
    subscription: SubscriptionKey,
    tag: Tag,
}

impl Outbox {
    /// Bytes not yet written.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// In how many pieces they are.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Whether a message of this size may be added. One that is larger than the limit can still be sent, alone.
    pub(super) fn has_room(&self, size: usize, limit: usize) -> bool {
        self.queued == 0 || self.queued + size <= limit
    }

    /// Appends bytes of an open buffer.
    pub(super) fn push_run(&mut self, run: Run) {
        // An empty piece would never be written, and so never leave.
        if run.start == run.end {
            return;
        }
        self.queued += run.end - run.start;
        if let Some(Piece::Open(last)) = self.pieces.back_mut()
            && last.source == run.source
            && last.end == run.start
        {
            last.end = run.end;
            return;
        }
        self.pieces.push_back(Piece::Open(run));
    }

    /// Appends final bytes.
    pub(super) fn push_bytes(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queued += bytes.len();
            self.pieces.push_back(Piece::Sealed(bytes));
        }
    }

    /// Says that once everything up to here is written, `tag` is consumed.
    pub(super) fn mark(&mut self, subscription: SubscriptionKey, tag: Tag) {
        let end = self.written + self.queued as u64;
        self.marks.push_back(Mark { end, subscription, tag });
    }

    /// Replaces this turn's runs by final bytes: `buffer` answers with the whole buffer that a run lies in.
    ///
    /// With `detach`, small runs are copied: a connection that is not being written to would otherwise keep a whole
    /// turn's buffer alive for the sake of a few bytes.
    pub(super) fn seal(&mut self, buffer: impl Fn(Source) -> Bytes, detach: bool) {
        for piece in self.pieces.range_mut(self.sealed..) {
            if let Piece::Open(run) = piece {
                *piece = Piece::Sealed(cut(&buffer(run.source), *run));
                if detach {
                    piece.detach();
                }
            }
        }
        self.sealed = self.pieces.len();
    }

    /// Copies small pieces out of shared buffers: to be called when the connection stops taking bytes.
    pub(super) fn detach(&mut self) {
        self.pieces.iter_mut().for_each(Piece::detach);
    }

    /// Fills `slices` with the front of the outbox and answers how many were filled.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, piece) in slices.iter_mut().zip(&self.pieces) {
            let Piece::Sealed(bytes) = piece else { break };
            *slot = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    /// The first `count` bytes went out. Answers with the deliveries that are now consumed.
    pub(super) fn wrote(&mut self, count: usize) -> Tags {
        let mut left = count.min(self.queued);
        self.queued -= left;
        self.written += left as u64;
        while left > 0 {
            let Some(Piece::Sealed(bytes)) = self.pieces.front_mut() else { break };
            if bytes.len() > left {
                bytes::Buf::advance(bytes, left);
                break;
            }
            left -= bytes.len();
            self.pieces.pop_front();
            self.sealed = self.sealed.saturating_sub(1);
        }
        if self.pieces.is_empty() && self.pieces.capacity() > KEPT_CAPACITY {
            self.pieces = VecDeque::new();
        }
        self.take_marks()
    }

    /// The deliveries of a subscription that are not written.
    pub(super) fn marks_of(&self, subscription: SubscriptionKey) -> Tags {
        let own = self.marks.iter().filter(|mark| mark.subscription == subscription);
        own.map(|mark| mark.tag).collect()
    }

    /// Takes all deliveries that are not written, since it does not matter any more whether they will be.
    pub(super) fn give_up_marks(&mut self) -> Tags {
        std::mem::take(&mut self.marks).into_iter().map(|mark| mark.tag).collect()
    }

    fn take_marks(&mut self) -> Tags {
        let mut tags = Tags::new();
        while self.marks.front().is_some_and(|mark| mark.end <= self.written) {
            tags.extend(self.marks.pop_front().map(|mark| mark.tag));
        }
        if self.marks.is_empty() && self.marks.capacity() > KEPT_CAPACITY {
            self.marks = VecDeque::new();
        }
        tags
    }
}

/// The bytes of `run`; nothing where the buffer is shorter than the run says.
fn cut(buffer: &Bytes, run: Run) -> Bytes {
    let end = run.end.min(buffer.len());
    buffer.slice(run.start.min(end)..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::WorkerId;

    const LABEL: Source = Source::Label(3);

    fn run(source: Source, start: usize, end: usize) -> Run {
        Run { source, start, end }
    }

    fn sealed(source: Source) -> Bytes {
        match source {
            Source::Label(_) => Bytes::from_static(b"abcdefghij"),
            Source::Private => Bytes::from_static(b"0123456789"),
        }
    }

    /// Writes the outbox in steps of at most `step` bytes and answers with all that came out.
    fn drain(outbox: &mut Outbox, step: usize) -> String {
        let mut text = String::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); 2];
            let filled = outbox.slices(&mut slices);
            let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).take(step).collect();
            outbox.wrote(bytes.len());
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        text
    }

    #[test]
    fn neighbouring_runs_become_one_piece() {
        let mut outbox = Outbox::default();
        outbox.push_run(run(LABEL, 0, 2));
        outbox.push_run(run(LABEL, 2, 5));
        outbox.push_run(run(Source::Private, 5, 6));
        assert_eq!(outbox.pieces.len(), 2);
        outbox.seal(sealed, false);
        assert_eq!(drain(&mut outbox, 100), "abcde5");
    }

    #[test]
    fn bytes_come_out_in_order_however_they_are_written() {
        for step in 1..8 {
            let mut outbox = Outbox::default();
            outbox.push_run(run(Source::Private, 0, 3));
            outbox.push_bytes(Bytes::from_static(b"BODY"));
            outbox.push_run(run(LABEL, 7, 10));
            outbox.seal(sealed, false);
            outbox.push_run(run(LABEL, 0, 1));
            outbox.seal(sealed, true);
            outbox.detach();
            assert_eq!(drain(&mut outbox, step), "012BODYhija", "step {step}");
            assert_eq!(outbox.queued(), 0);
        }
    }

    #[test]
    fn nothing_leaves_no_piece() {
        let mut outbox = Outbox::default();
        outbox.push_run(run(LABEL, 4, 4));
        outbox.push_bytes(Bytes::new());
        assert!(outbox.pieces.is_empty() && outbox.is_empty());
    }

    #[test]
    fn q2_a_mark_is_reached_when_its_last_byte_is_written() {
        let tag = |sequence| Tag { home: WorkerId(0), queue: 1, sequence };
        let mut outbox = Outbox::default();
        outbox.push_run(run(LABEL, 0, 4));
        outbox.mark(SubscriptionKey(1), tag(1));
        outbox.push_run(run(LABEL, 4, 8));
        outbox.mark(SubscriptionKey(2), tag(2));
        outbox.seal(sealed, false);
        assert_eq!(outbox.wrote(3).as_slice(), []);
        assert_eq!(outbox.wrote(1).as_slice(), [tag(1)]);
        assert_eq!(outbox.wrote(4).as_slice(), [tag(2)]);
        outbox.push_bytes(Bytes::from_static(b"x"));
        outbox.mark(SubscriptionKey(1), tag(3));
        assert_eq!(outbox.marks_of(SubscriptionKey(2)).as_slice(), []);
        assert_eq!(outbox.marks_of(SubscriptionKey(1)).as_slice(), [tag(3)]);
        assert_eq!(outbox.give_up_marks().as_slice(), [tag(3)]);
        assert_eq!(outbox.wrote(1).as_slice(), []);
    }
}
