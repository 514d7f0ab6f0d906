//! One batch in the journal: its form, which says by itself whether it is whole.
//!
//! ```text
//! mark u32, length of the content u32, salt u64, number u64, last safe number u64, CRC-32 of all the rest u32
//! content: for each change its kind, then the length and the stored form of a record, or the sequence of a message
//! zeros up to a multiple of eight
//! ```

use std::sync::Arc;

use super::super::record::{Record, RecordError, encode_mark, encode_message, encode_state};
use super::super::wire::{Reader, push_length};
use super::super::{Batch, StoreOp};

/// Entries begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

/// Bytes before the content.
pub(super) const HEAD: usize = 36;

/// Bytes of them before the checksum.
const SUMMED: usize = 32;

/// The first bytes of every entry.
const MARK: u32 = 0x6755_4d31;

/// Kinds of changes.
const STORE: u8 = 1;
const DELETE: u8 = 2;

/// What an entry says before its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// That of the file, which nobody outside knows: what looks like an entry within a message is none.
    pub(super) salt: u64,
    /// Of the batch.
    pub(super) number: u64,
    /// The last batch that was safe when this was written. Without power, only later ones may be missing.
    pub(super) safe: u64,
}

/// An entry that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) head: Head,
    pub(super) content: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads what begins here; `None` where that is no entry, or not all of one.
    pub(super) fn read(bytes: &'a [u8], salt: u64) -> Option<Entry<'a>> {
        let mut reader = Reader::new(bytes);
        let mut half = || reader.array().map(u32::from_be_bytes).ok();
        let (mark, length) = (half()?, half()?);
        let head = Head { salt: reader.number().ok()?, number: reader.number().ok()?, safe: reader.number().ok()? };
        if mark != MARK || head.salt != salt {
            return None;
        }
        let checksum = reader.array().map(u32::from_be_bytes).ok()?;
        let content = reader.bytes(length as usize).ok()?;
        (checksum == sum(bytes.get(..SUMMED)?, content)).then_some(Entry { head, content })
    }

    /// Bytes that it takes in the file.
    pub(super) fn footprint(&self) -> usize {
        (HEAD + self.content.len()).next_multiple_of(ALIGNMENT)
    }

    /// The batch.
    pub(super) fn batch(&self) -> Result<Batch, RecordError> {
        let mut batch = Batch::default();
        let mut reader = Reader::new(self.content);
        while !reader.is_empty() {
            batch.operations.push(match reader.byte()? {
                STORE => {
                    let length = reader.length()?;
                    match Record::decode(reader.bytes(length)?)? {
                        Record::Message(message) => StoreOp::Append(Arc::new(message)),
                        Record::State(state) => StoreOp::State(state),
                        Record::Mark(mark) => StoreOp::Mark(mark),
                    }
                }
                DELETE => StoreOp::Delete(reader.number()?),
                kind => return Err(RecordError::UnknownKind(kind)),
            });
        }
        Ok(batch)
    }
}

/// Puts a batch into `bytes`, in place of what is there, with room for its head.
pub(super) fn prepare(bytes: &mut Vec<u8>, batch: &Batch) {
    bytes.clear();
    bytes.resize(HEAD, 0);
    for operation in &batch.operations {
        let record = match operation {
            StoreOp::Append(message) => encode_message(message),
            StoreOp::State(state) => encode_state(state),
            StoreOp::Mark(mark) => encode_mark(mark),
            StoreOp::Delete(sequence) => {
                bytes.push(DELETE);
                bytes.extend_from_slice(&sequence.to_be_bytes());
                continue;
            }
        };
        bytes.push(STORE);
        push_length(bytes, record.len());
        bytes.extend_from_slice(&record);
    }
}

/// Completes what was [prepared](prepare); `None` when it is longer than an entry can be.
pub(super) fn seal(bytes: &mut Vec<u8>, head: Head) -> Option<()> {
    let (front, content) = bytes.split_first_chunk_mut::<HEAD>()?;
    let length = u32::try_from(content.len()).ok()?;
    let fields = [MARK.to_be_bytes(), length.to_be_bytes()].concat();
    let numbers = [head.salt, head.number, head.safe].into_iter().flat_map(u64::to_be_bytes);
    let summed: Vec<u8> = fields.into_iter().chain(numbers).collect();
    let checksum = sum(&summed, content);
    front.iter_mut().zip(summed.into_iter().chain(checksum.to_be_bytes())).for_each(|(to, from)| *to = from);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    Some(())
}

fn sum(head: &[u8], content: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(head);
    sum.update(content);
    sum.finalize()
}
