//! Where each message lies, in memory: rebuilt at every opening.
//!
//! Small beside the messages, of which there may be millions: those that came one after the other lie so in their chunk too,
//! and are one run here. Which of them are settled is known by the chunk.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::super::error::StoreError;
use super::{failed, keys, pack, touch};

/// Where a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// Under a key of its own.
    Alone,
    /// In a chunk with others.
    Chunk {
        /// Its number; never zero.
        number: u64,
        /// Counted from zero.
        position: u16,
    },
}

/// A chunk that is in the tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    /// Messages that it was made of.
    pub(super) total: u16,
    /// A bit for each that is settled, lowest first; bytes without one may be missing.
    pub(super) dead: Vec<u8>,
}

/// Messages whose sequences follow each other, and that lie so in a chunk. Some may be settled, or have come again since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) chunk: u64,
    /// Of the first message.
    pub(super) position: u16,
    pub(super) length: u16,
}

/// What a batch changes about the index.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// No longer there, or about to come again.
    pub(super) forgotten: Vec<u64>,
    /// Leave their chunk to lie alone.
    pub(super) moved: Vec<u64>,
    /// New messages that lie alone.
    pub(super) alone: Vec<u64>,
    /// New messages in chunks, each run with its first sequence.
    pub(super) runs: Vec<(u64, Run)>,
    /// Chunks that are new, have changed, or are gone.
    pub(super) chunks: Vec<(u64, Option<Chunk>)>,
}

/// All messages of the tree.
#[derive(Debug, Default)]
pub(super) struct Index {
    alone: BTreeSet<u64>,
    /// By the first sequence; no two have one in common.
    runs: BTreeMap<u64, Held>,
    /// How many messages each chunk was made of.
    totals: BTreeMap<u64, u16>,
    /// Of the chunks that have settled messages, which; as in [`Chunk::dead`].
    dead: BTreeMap<u64, Vec<u8>>,
    states: HashSet<u64>,
    messages: u64,
    highest: u64,
    highest_chunk: u64,
}

/// A run, and how many of its messages still lie there.
#[derive(Clone, Copy, Debug)]
struct Held {
    run: Run,
    live: u16,
}

impl Chunk {
    pub(super) fn is_dead(&self, position: u16) -> bool {
        is_set(&self.dead, position)
    }

    pub(super) fn kill(&mut self, position: u16) {
        let at = usize::from(position / 8);
        if self.dead.len() <= at {
            self.dead.resize(at + 1, 0);
        }
        if let Some(byte) = self.dead.get_mut(at) {
            *byte |= 1 << (position % 8);
        }
    }

    pub(super) fn live(&self) -> u16 {
        (0..self.total).filter(|position| !self.is_dead(*position)).count() as u16
    }
}

fn is_set(bits: &[u8], position: u16) -> bool {
    bits.get(usize::from(position / 8)).is_some_and(|byte| byte & (1 << (position % 8)) != 0)
}

impl Run {
    /// The runs of a chunk that has messages of these sequences, each with its first one.
    pub(super) fn of(chunk: u64, sequences: impl Iterator<Item = u64>) -> Vec<(u64, Run)> {
        let mut runs: Vec<(u64, Run)> = Vec::new();
        for (position, sequence) in (0..u16::MAX).zip(sequences) {
            match runs.last_mut() {
                Some((first, run)) if run.end(*first) == sequence => run.length += 1,
                _ => runs.push((sequence, Run { chunk, position, length: 1 })),
            }
        }
        runs
    }

    /// The sequence after its last, if it begins with `first`.
    fn end(&self, first: u64) -> u64 {
        first.saturating_add(self.length.into())
    }

    /// Where that message lies which comes so many after the first.
    fn position(&self, after: u64) -> u16 {
        // Invariant: it is within the run, and positions fit.
        self.position.saturating_add(u16::try_from(after).unwrap_or(u16::MAX))
    }

    /// The part from one sequence to another, if it begins with `first`.
    fn part(&self, first: u64, from: u64, to: u64) -> Run {
        let length = u16::try_from(to.saturating_sub(from)).unwrap_or(self.length);
        Run { chunk: self.chunk, position: self.position(from.saturating_sub(first)), length }
    }
}

impl Index {
    /// Reads the tree.
    pub(super) fn of(tree: &sled::Tree) -> Result<Index, StoreError> {
        let mut index = Index::default();
        for entry in tree.scan_prefix([keys::DEAD]) {
            let (key, value) = entry.map_err(failed)?;
            index.dead.insert(keys::number(&key)?, value.to_vec());
        }
        // Where two have a message of one sequence, the later chunk has the newer.
        for entry in tree.scan_prefix([keys::CHUNK]) {
            let (key, value) = entry.map_err(failed)?;
            let number = keys::number(&key)?;
            let entries = pack::entries(number, &value)?;
            index.totals.insert(number, entries.len() as u16);
            index.messages += index.chunk(number).map_or(0, |chunk| u64::from(chunk.live()));
            touch(tree, &key)?;
            index.highest_chunk = index.highest_chunk.max(number);
            for (first, run) in Run::of(number, entries.iter().map(|entry| entry.sequence)) {
                index.put(first, run);
            }
        }
        for entry in tree.scan_prefix([keys::MESSAGE]).keys() {
            let key = entry.map_err(failed)?;
            let sequence = keys::number(&key)?;
            index.messages += u64::from(index.alone.insert(sequence));
            index.highest = index.highest.max(sequence);
            touch(tree, &key)?;
        }
        for entry in tree.scan_prefix([keys::STATE]).keys() {
            index.states.insert(keys::number(&entry.map_err(failed)?)?);
        }
        Ok(index)
    }

    pub(super) fn home(&self, sequence: u64) -> Option<Home> {
        if self.alone.contains(&sequence) {
            return Some(Home::Alone);
        }
        let (first, Held { run, .. }) = self.run_with(sequence)?;
        let position = run.position(sequence - first);
        self.is_live(run.chunk, position).then_some(Home::Chunk { number: run.chunk, position })
    }

    /// The next messages from this sequence on, in order: one that lies alone, or several of one chunk. None at the end.
    pub(super) fn next(&self, mut from: u64) -> Vec<(u64, Home)> {
        let alone = self.alone.range(from..).next().copied();
        loop {
            let within = self.run_with(from);
            let next = within.or_else(|| self.runs.range(from..).next().map(|(first, held)| (*first, *held)));
            let found = next.map(|(first, Held { run, .. })| (first, first.max(from), run));
            let Some((first, start, run)) = found.filter(|(_, start, _)| alone.is_none_or(|alone| *start < alone))
            else {
                return alone.map(|alone| (alone, Home::Alone)).into_iter().collect();
            };
            let end = alone.map_or(run.end(first), |alone| run.end(first).min(alone));
            let places = (start..end).map(|sequence| (sequence, run.position(sequence - first)));
            let live = places.filter(|(_, position)| self.is_live(run.chunk, *position));
            let home = |position| Home::Chunk { number: run.chunk, position };
            let messages: Vec<_> = live.map(|(sequence, position)| (sequence, home(position))).collect();
            if !messages.is_empty() {
                return messages;
            }
            from = end;
        }
    }

    pub(super) fn chunk(&self, number: u64) -> Option<Chunk> {
        let total = *self.totals.get(&number)?;
        Some(Chunk { total, dead: self.dead.get(&number).cloned().unwrap_or_default() })
    }

    pub(super) fn has_state(&self, sequence: u64) -> bool {
        self.states.contains(&sequence)
    }

    pub(super) fn len(&self) -> u64 {
        self.messages
    }

    /// How many messages there will be after a batch.
    pub(super) fn len_after(&self, changes: &Changes) -> u64 {
        let in_runs: u64 = changes.runs.iter().map(|(_, run)| u64::from(run.length)).sum();
        self.messages.saturating_sub(changes.forgotten.len() as u64) + changes.alone.len() as u64 + in_runs
    }

    /// No message has a higher sequence.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// No chunk has a higher number.
    pub(super) fn highest_chunk(&self) -> u64 {
        self.highest_chunk
    }

    /// Follows a batch that is in the tree now. `states` are those that it stored.
    pub(super) fn apply(&mut self, changes: Changes, states: &[u64]) {
        self.messages = self.len_after(&changes);
        for sequence in changes.forgotten {
            self.states.remove(&sequence);
            if !self.alone.remove(&sequence) {
                self.leave(sequence);
            }
        }
        for sequence in changes.moved {
            self.leave(sequence);
            self.alone.insert(sequence);
        }
        for sequence in changes.alone {
            self.alone.insert(sequence);
            self.highest = self.highest.max(sequence);
        }
        for (number, chunk) in changes.chunks {
            self.highest_chunk = self.highest_chunk.max(number);
            self.dead.remove(&number);
            self.totals.remove(&number);
            if let Some(Chunk { total, dead }) = chunk {
                self.totals.insert(number, total);
                if !dead.is_empty() {
                    self.dead.insert(number, dead);
                }
            }
        }
        for (first, run) in changes.runs {
            self.put(first, run);
        }
        self.states.extend(states);
    }

    /// Whether the message at this position of a chunk is there.
    fn is_live(&self, chunk: u64, position: u16) -> bool {
        !self.dead.get(&chunk).is_some_and(|dead| is_set(dead, position))
    }

    /// The run that a sequence is in, whether the message still lies there or not.
    fn run_with(&self, sequence: u64) -> Option<(u64, Held)> {
        let (first, held) = self.runs.range(..=sequence).next_back()?;
        (sequence < held.run.end(*first)).then_some((*first, *held))
    }

    /// A message is no longer in the run that it was in. With the last one, that is gone.
    fn leave(&mut self, sequence: u64) {
        let Some((first, held)) = self.runs.range_mut(..=sequence).next_back() else { return };
        held.live = held.live.saturating_sub(1);
        if held.live == 0 {
            let first = *first;
            self.runs.remove(&first);
        }
    }

    /// Adds a run of a chunk that is known.
    fn put(&mut self, first: u64, run: Run) {
        let end = run.end(first);
        // One that has a message of this run has it no more: it comes again.
        while let Some((other, held)) = self.runs.range(..end).next_back().map(|(other, held)| (*other, *held))
            && held.run.end(other) > first
        {
            self.runs.remove(&other);
            if other < first {
                self.insert(other, held.run.part(other, other, first));
            }
            if held.run.end(other) > end {
                self.insert(end, held.run.part(other, end, held.run.end(other)));
            }
        }
        self.insert(first, run);
        self.highest = self.highest.max(end.saturating_sub(1));
    }

    fn insert(&mut self, first: u64, run: Run) {
        let positions = (0..u64::from(run.length)).map(|after| run.position(after));
        let live = positions.filter(|position| self.is_live(run.chunk, *position)).count() as u16;
        if live > 0 {
            self.runs.insert(first, Held { run, live });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// What the index says in its own ways is what a plain map says.
    #[track_caller]
    fn check(index: &Index, model: &BTreeMap<u64, Home>) {
        assert_eq!(index.len(), model.len() as u64);
        let highest = model.keys().last().map_or(10, |last| last + 10);
        for sequence in 0..highest {
            assert_eq!(index.home(sequence), model.get(&sequence).copied(), "{sequence}");
        }
        let mut listed = Vec::new();
        while let next = index.next(listed.last().map_or(0, |(last, _)| last + 1))
            && !next.is_empty()
        {
            listed.extend(next);
        }
        assert!(listed.into_iter().eq(model.iter().map(|(sequence, home)| (*sequence, *home))));
        let held: usize = index.runs.values().map(|held| usize::from(held.live)).sum();
        let in_chunks = model.values().filter(|home| **home != Home::Alone).count();
        assert_eq!(held, in_chunks, "how many are in runs");
    }

    #[test]
    fn messages_are_found_whatever_came_and_went() {
        let mut random = 7_u64;
        let mut below = |limit: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % limit
        };
        let (mut index, mut model) = (Index::default(), BTreeMap::new());
        let mut dead: HashMap<u64, Chunk> = HashMap::new();
        for number in 1..400_u64 {
            let mut changes = Changes::default();
            let mut killed = Vec::new();
            let sequences: BTreeSet<u64> = (0..1 + below(12)).map(|_| below(300)).collect();
            let others: Vec<u64> = (0..below(9)).map(|_| below(300)).collect();
            for sequence in others.into_iter().chain(sequences.iter().copied()) {
                let Some(home) = model.remove(&sequence) else { continue };
                changes.forgotten.push(sequence);
                killed.push(home);
            }
            if let Some((sequence, home)) =
                model.iter_mut().nth(below(30) as usize).filter(|(_, home)| **home != Home::Alone)
            {
                changes.moved.push(*sequence);
                killed.push(std::mem::replace(home, Home::Alone));
            }
            let mut touched = BTreeSet::new();
            for home in killed {
                if let Home::Chunk { number, position } = home {
                    dead.entry(number).or_default().kill(position);
                    touched.insert(number);
                }
            }
            if below(4) == 0 {
                model.extend(sequences.iter().map(|sequence| (*sequence, Home::Alone)));
                changes.alone.extend(sequences);
            } else {
                let homes = (0..).map(|position| Home::Chunk { number, position });
                model.extend(sequences.iter().copied().zip(homes));
                dead.entry(number).or_default().total = sequences.len() as u16;
                touched.insert(number);
                changes.runs = Run::of(number, sequences.into_iter());
            }
            for number in touched {
                let chunk = dead.get(&number).cloned().filter(|chunk| chunk.live() > 0);
                changes.chunks.push((number, chunk));
            }
            let expected = index.len_after(&changes);
            index.apply(changes, &[]);
            assert_eq!(index.len(), expected);
            check(&index, &model);
        }
        let left: Vec<u64> = model.keys().copied().collect();
        index.apply(Changes { forgotten: left, ..Changes::default() }, &[]);
        check(&index, &BTreeMap::new());
        assert!(index.runs.is_empty() && index.alone.is_empty());
    }

    #[test]
    fn what_follows_each_other_costs_next_to_nothing() {
        let mut index = Index::default();
        for number in 1..=100 {
            let first = number * 100;
            let runs = Run::of(number, (first..first + 100).filter(|sequence| sequence % 50 != 7));
            let chunks = vec![(number, Some(Chunk { total: 98, dead: Vec::new() }))];
            index.apply(Changes { runs, chunks, ..Changes::default() }, &[]);
        }
        assert_eq!((index.len(), index.runs.len()), (9_800, 300));
        assert!(size_of::<(u64, Held)>() <= 32, "{}", size_of::<(u64, Held)>());
    }
}
