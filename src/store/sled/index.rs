//! Where each message lies, in memory: rebuilt at every opening, since it is small beside the messages.

use std::collections::{HashMap, HashSet};

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

/// What a batch changes about the index.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// No longer there, or about to get another home.
    pub(super) forgotten: Vec<u64>,
    /// How many of the homes are those of messages that the batch brings.
    pub(super) appended: u64,
    /// The new homes, also of messages that only move.
    pub(super) homes: Vec<(u64, Home)>,
    /// Chunks that are new, have changed, or are gone.
    pub(super) chunks: Vec<(u64, Option<Chunk>)>,
}

/// All messages of the tree.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By sequence: zero when alone, or else the number of the chunk and the position in 16 bits.
    homes: HashMap<u64, u64>,
    chunks: HashMap<u64, Chunk>,
    states: HashSet<u64>,
    highest: u64,
    highest_chunk: u64,
}

impl Chunk {
    pub(super) fn is_dead(&self, position: u16) -> bool {
        self.dead.get(usize::from(position / 8)).is_some_and(|byte| byte & (1 << (position % 8)) != 0)
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

impl Index {
    /// Reads the tree.
    pub(super) fn of(tree: &sled::Tree) -> Result<Index, StoreError> {
        let mut index = Index::default();
        let mut dead = HashMap::new();
        for entry in tree.scan_prefix([keys::DEAD]) {
            let (key, value) = entry.map_err(failed)?;
            dead.insert(keys::number(&key)?, value.to_vec());
        }
        for entry in tree.scan_prefix([keys::CHUNK]) {
            let (key, value) = entry.map_err(failed)?;
            let number = keys::number(&key)?;
            let entries = pack::entries(number, &value)?;
            let chunk = Chunk { total: entries.len() as u16, dead: dead.remove(&number).unwrap_or_default() };
            for (position, entry) in (0..chunk.total).zip(&entries) {
                if !chunk.is_dead(position) {
                    index.put(entry.sequence, Home::Chunk { number, position });
                }
            }
            touch(tree, &key)?;
            index.highest_chunk = index.highest_chunk.max(number);
            index.chunks.insert(number, chunk);
        }
        for entry in tree.scan_prefix([keys::MESSAGE]).keys() {
            let key = entry.map_err(failed)?;
            index.put(keys::number(&key)?, Home::Alone);
            touch(tree, &key)?;
        }
        for entry in tree.scan_prefix([keys::STATE]).keys() {
            index.states.insert(keys::number(&entry.map_err(failed)?)?);
        }
        Ok(index)
    }

    pub(super) fn home(&self, sequence: u64) -> Option<Home> {
        let packed = *self.homes.get(&sequence)?;
        let in_chunk = Home::Chunk { number: packed >> 16, position: packed as u16 };
        Some(if packed == 0 { Home::Alone } else { in_chunk })
    }

    pub(super) fn chunk(&self, number: u64) -> Option<&Chunk> {
        self.chunks.get(&number)
    }

    pub(super) fn has_state(&self, sequence: u64) -> bool {
        self.states.contains(&sequence)
    }

    /// All sequences, in no order.
    pub(super) fn sequences(&self) -> Vec<u64> {
        self.homes.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.homes.len()
    }

    /// How many messages there will be after a batch.
    pub(super) fn len_after(&self, changes: &Changes) -> u64 {
        self.homes.len().saturating_sub(changes.forgotten.len()) as u64 + changes.appended
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
        for sequence in changes.forgotten {
            self.homes.remove(&sequence);
            self.states.remove(&sequence);
        }
        for (sequence, home) in changes.homes {
            self.put(sequence, home);
        }
        for (number, chunk) in changes.chunks {
            self.highest_chunk = self.highest_chunk.max(number);
            match chunk {
                Some(chunk) => self.chunks.insert(number, chunk),
                None => self.chunks.remove(&number),
            };
        }
        self.states.extend(states);
        // Maps do not shrink by themselves, and a backlog that is gone is no reason to keep its memory.
        if self.homes.capacity() / 8 > self.homes.len().max(1024) {
            self.homes.shrink_to_fit();
            self.chunks.shrink_to_fit();
        }
    }

    fn put(&mut self, sequence: u64, home: Home) {
        let packed = match home {
            Home::Alone => 0,
            Home::Chunk { number, position } => number << 16 | u64::from(position),
        };
        self.homes.insert(sequence, packed);
        self.highest = self.highest.max(sequence);
    }
}
