//! Small messages of a batch lie together in chunks, large ones in pieces: sled pays for each value, and more for large ones.
//!
//! A chunk goes when all its messages are settled. Until then a bit for each tells which are; when only few are left they
//! move out, so that one message that waits for long does not hold the space of hundreds.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::super::error::{Damage, StoreError};
use super::super::record::{MessageRecord, RecordError, encode_message};
use super::super::wire::{Reader, push_length};
use super::index::{Changes, Chunk, Home, Index, Run};
use super::{VALUE_BYTES, damaged, failed, keys, touch};

/// Messages move out of a chunk when no more than one in so many is left.
const DISSOLVE: u16 = 8;

/// Bytes of a chunk, at most. The cache keeps one page for each of its 256 parts, however large: with larger chunks that would be
/// most of the memory that the store takes.
const CHUNK_BYTES: usize = 8 << 10;

/// Records above this lie alone: no two of them would fit into a chunk.
const SMALL_BYTES: usize = CHUNK_BYTES / 2;

/// Bytes of a chunk's entry beyond its record, at most.
const ENTRY_BYTES: usize = 13;

/// First byte of the value of a message that lies alone.
const WHOLE: u8 = 0;
const IN_PIECES: u8 = 1;

/// Chunks that a reader keeps at hand: sequences follow each other closely, but not exactly, from chunk to chunk.
const RECENT: usize = 16;

/// A message in a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) sequence: u64,
    /// Bytes before its record.
    head: usize,
    pub(super) record: &'a [u8],
}

/// The messages of a chunk, the settled ones included.
pub(super) fn entries(number: u64, value: &[u8]) -> Result<Vec<Entry<'_>>, StoreError> {
    let read = || -> Result<Vec<Entry<'_>>, RecordError> {
        let mut reader = Reader::new(value);
        let mut entries = Vec::new();
        while !reader.is_empty() {
            let before = reader.left();
            let sequence = reader.number()?;
            let length = reader.length()?;
            let left = reader.left();
            entries.push(Entry { sequence, head: before - left, record: reader.bytes(length)? });
        }
        if entries.is_empty() || entries.len() > usize::from(u16::MAX) { Err(RecordError::Length) } else { Ok(entries) }
    };
    read().map_err(|error| StoreError::Damaged(Damage::Chunk { chunk: number, error }))
}

/// The chunks that were read last.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Known>);

/// A chunk, and where in it each message is.
#[derive(Debug)]
struct Known {
    number: u64,
    value: sled::IVec,
    places: Vec<(u64, Range<usize>)>,
}

impl Recent {
    /// The chunk with this number, if there is one.
    fn chunk(&mut self, tree: &sled::Tree, number: u64) -> Result<Option<&Known>, StoreError> {
        if let Some(at) = self.0.iter().position(|known| known.number == number) {
            return Ok(self.0.get(at));
        }
        let key = keys::chunk(number);
        let Some(value) = tree.get(key).map_err(failed)? else { return Ok(None) };
        touch(tree, &key)?;
        let mut end = 0;
        let place = |entry: Entry<'_>| {
            let start = end + entry.head;
            end = start + entry.record.len();
            (entry.sequence, start..end)
        };
        let places = entries(number, &value)?.into_iter().map(place).collect();
        self.0.truncate(RECENT - 1);
        self.0.push_front(Known { number, value, places });
        Ok(self.0.front())
    }
}

/// Hands the stored form of a message that lies at `home` to `read`.
pub(super) fn fetch<T>(
    tree: &sled::Tree,
    (sequence, home): (u64, Home),
    recent: &mut Recent,
    read: impl FnOnce(&[u8]) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let missing = || StoreError::Damaged(Damage::Missing(sequence));
    match home {
        Home::Chunk { number, position } => {
            let Known { value, places, .. } = recent.chunk(tree, number)?.ok_or_else(missing)?;
            let place = places.get(usize::from(position)).filter(|(of, _)| *of == sequence);
            read(place.and_then(|(_, place)| value.get(place.clone())).ok_or_else(missing)?)
        }
        Home::Alone => {
            let value = tree.get(keys::message(sequence)).map_err(failed)?.ok_or_else(missing)?;
            let Some(pieces) = pieces(sequence, &value)? else {
                return read(value.get(1..).unwrap_or_default());
            };
            let mut bytes = Vec::new();
            for piece in 0..pieces {
                let value = tree.get(keys::piece(sequence, piece)).map_err(failed)?;
                bytes.extend_from_slice(&value.ok_or_else(missing)?);
            }
            read(&bytes)
        }
    }
}

/// How many pieces a message has that lies alone; `None` when it is whole.
fn pieces(sequence: u64, value: &[u8]) -> Result<Option<u32>, StoreError> {
    match value.split_first() {
        Some((&WHOLE, _)) => Ok(None),
        Some((&IN_PIECES, count)) => {
            let count = count.try_into().map(u32::from_be_bytes);
            count.map(Some).map_err(|_| damaged(sequence, RecordError::Length))
        }
        Some((kind, _)) => Err(damaged(sequence, RecordError::UnknownKind(*kind))),
        None => Err(damaged(sequence, RecordError::Truncated)),
    }
}

/// Builds what a batch does to the tree, and to the index after it.
pub(super) struct Packed<'a> {
    tree: &'a sled::Tree,
    index: &'a Index,
    batch: &'a mut sled::Batch,
    changes: Changes,
    /// Chunks that lose messages, as they will be.
    touched: BTreeMap<u64, Chunk>,
    /// The chunk that is being filled: its messages, and their stored forms.
    filling: Vec<(u64, Vec<u8>)>,
    filling_bytes: usize,
    next_chunk: u64,
}

impl<'a> Packed<'a> {
    pub(super) fn new(tree: &'a sled::Tree, index: &'a Index, batch: &'a mut sled::Batch) -> Packed<'a> {
        Packed {
            tree,
            index,
            batch,
            changes: Changes::default(),
            touched: BTreeMap::new(),
            filling: Vec::new(),
            filling_bytes: 0,
            next_chunk: index.highest_chunk() + 1,
        }
    }

    /// Removes a message where it is there, but not its state.
    pub(super) fn forget(&mut self, sequence: u64) -> Result<(), StoreError> {
        match self.index.home(sequence) {
            None => return Ok(()),
            Some(Home::Chunk { number, position }) => {
                let known = || self.index.chunk(number).unwrap_or_default();
                self.touched.entry(number).or_insert_with(known).kill(position);
            }
            Some(Home::Alone) => {
                let key = keys::message(sequence);
                let value = self.tree.get(key).map_err(failed)?.unwrap_or_default();
                for piece in 0..pieces(sequence, &value)?.unwrap_or(0) {
                    self.batch.remove(&keys::piece(sequence, piece));
                }
                self.batch.remove(&key);
            }
        }
        self.changes.forgotten.push(sequence);
        Ok(())
    }

    /// Adds a message; what was there with its sequence is forgotten already.
    pub(super) fn append(&mut self, message: &MessageRecord) {
        let record = encode_message(message);
        if record.len() > SMALL_BYTES {
            self.put_alone(message.sequence, &record);
            return self.changes.alone.push(message.sequence);
        }
        if self.filling_bytes + record.len() + ENTRY_BYTES > CHUNK_BYTES {
            self.close_chunk();
        }
        self.filling_bytes += record.len() + ENTRY_BYTES;
        self.filling.push((message.sequence, record));
    }

    /// Ends the batch: the last chunk, and those that lost messages.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        self.close_chunk();
        for (number, chunk) in std::mem::take(&mut self.touched) {
            let live = chunk.live();
            if live > chunk.total / DISSOLVE {
                self.batch.insert(&keys::dead(number), chunk.dead.as_slice());
                self.changes.chunks.push((number, Some(chunk)));
                continue;
            }
            if live > 0 {
                let value = self.tree.get(keys::chunk(number)).map_err(failed)?.unwrap_or_default();
                let survivors = (0..chunk.total).zip(entries(number, &value)?);
                for (_, entry) in survivors.filter(|(position, _)| !chunk.is_dead(*position)) {
                    self.put_alone(entry.sequence, entry.record);
                    self.changes.moved.push(entry.sequence);
                }
            }
            self.batch.remove(&keys::chunk(number));
            self.batch.remove(&keys::dead(number));
            self.changes.chunks.push((number, None));
        }
        Ok(())
    }

    /// What to tell the index once the batch is in the tree.
    pub(super) fn into_changes(self) -> Changes {
        self.changes
    }

    fn put_alone(&mut self, sequence: u64, record: &[u8]) {
        let key = keys::message(sequence);
        if record.len() < VALUE_BYTES {
            self.batch.insert(&key, [&[WHOLE], record].concat());
        } else {
            let mut count = 0_u32;
            for piece in record.chunks(VALUE_BYTES) {
                self.batch.insert(&keys::piece(sequence, count), piece);
                count += 1;
            }
            self.batch.insert(&key, [&[IN_PIECES], count.to_be_bytes().as_slice()].concat());
        }
    }

    fn close_chunk(&mut self) {
        let filling = std::mem::take(&mut self.filling);
        self.filling_bytes = 0;
        if let [(sequence, record)] = filling.as_slice() {
            self.put_alone(*sequence, record);
            return self.changes.alone.push(*sequence);
        }
        if filling.is_empty() {
            return;
        }
        let number = self.next_chunk;
        self.next_chunk += 1;
        let mut value = Vec::with_capacity(CHUNK_BYTES);
        for (sequence, record) in &filling {
            value.extend_from_slice(&sequence.to_be_bytes());
            push_length(&mut value, record.len());
            value.extend_from_slice(record);
        }
        self.changes.runs.extend(Run::of(number, filling.iter().map(|(sequence, _)| *sequence)));
        self.batch.insert(&keys::chunk(number), value);
        let chunk = Chunk { total: filling.len() as u16, dead: Vec::new() };
        self.changes.chunks.push((number, Some(chunk)));
    }
}
