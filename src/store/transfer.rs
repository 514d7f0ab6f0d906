//! Stores as plain files: export and import.
//!
//! An export is this text and these numbers, big-endian, whatever the engine:
//!
//! ```text
//! gumboot export 1\n
//! for each record:  length u32, the record's stored form (which ends with its CRC-32)
//! at the end:       0 u32, count of records u64, CRC-32 u32 of all bytes before this one, from the first on
//! ```
//!
//! The marks of queues come first, and then the messages in the order of their sequences, each followed by its state where it
//! has one.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::engine::Kept;
use super::error::{OpenError, StoreError};
use super::options::{Engine, Options};
use super::record::{Record, RecordError};
use super::{Batch, Durability, Store, StoreOp, redb, sled};

const TITLE: &[u8] = b"gumboot export 1\n";

/// A record that is longer is taken for damage before memory is asked for. STOMP bodies are far smaller.
const MAX_RECORD_BYTES: u32 = 1 << 30;

/// Changes in one batch of an import.
const BATCH_OPERATIONS: usize = 1024;

/// Bytes in one batch of an import.
const BATCH_BYTES: usize = 4 << 20;

/// How far an export, an import or a check is, or was at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Messages so far.
    pub messages: u64,
    /// States so far.
    pub states: u64,
    /// Marks so far.
    pub marks: u64,
    /// Bytes of records so far.
    pub bytes: u64,
}

/// Why an export or import stopped.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store that the import is for could not be opened, or made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file could not be read or written.
    #[error("the file of the export failed: {0}")]
    File(#[source] io::Error),
    /// The file does not begin as an export does.
    #[error(
        "this is no export of a version that this program reads: give a file that `gumboot store export` has written, and where \
         a newer program wrote it, use that one"
    )]
    NoExport,
    /// The file ends before the export does.
    #[error("the export is cut short after {0} records: copy it again, or export again")]
    CutShort(u64),
    /// A record of the file cannot be read.
    #[error("record {number} of the export is damaged: {error}. Copy the file again, or export again")]
    Record {
        /// Counted from one.
        number: u64,
        /// What is wrong with it.
        error: RecordError,
    },
    /// All records can be read, but they are not those that were written.
    #[error("the export is damaged: its checksum does not match. Copy the file again, or export again")]
    Checksum,
    /// There is something behind the end of the export, which nobody would miss if it were passed over.
    #[error("more follows behind the end of the export: import each export by itself, into a store of its own")]
    More,
    /// An import is for empty stores only: it would overwrite what is there.
    #[error("the store holds {0} messages; import into an empty one")]
    NotEmpty(u64),
}

impl Moved {
    pub(super) fn count(&mut self, record: &Record, bytes: usize) {
        match record {
            Record::Message(_) => self.messages += 1,
            Record::State(_) => self.states += 1,
            Record::Mark(_) => self.marks += 1,
        }
        self.bytes += bytes as u64;
    }
}

/// Writes all that the store holds. `progress` is told after each record.
pub fn export(store: &dyn Store, to: impl Write, mut progress: impl FnMut(Moved)) -> Result<Moved, TransferError> {
    let mut to = Summed::new(to);
    to.write(TITLE)?;
    let mut moved = Moved::default();
    let mut failed = None;
    store.scan(&mut |record| {
        let bytes = record.encode();
        // Records that long are not made: frames are limited to far less.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        match to.write(&length.to_be_bytes()).and_then(|()| to.write(&bytes)) {
            Ok(()) => {
                moved.count(&record, bytes.len());
                progress(moved);
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    to.write(&0_u32.to_be_bytes())?;
    to.write(&(moved.messages + moved.states + moved.marks).to_be_bytes())?;
    let checksum = to.sum.clone().finalize();
    to.write(&checksum.to_be_bytes())?;
    to.inner.flush().map_err(TransferError::File)?;
    Ok(moved)
}

/// Stores all that an export holds, in a store that is empty. `progress` is told after each batch, which is then durable.
///
/// When it fails, what came before stays in the store: begin again with an empty one.
pub fn import(store: &dyn Store, from: impl Read, mut progress: impl FnMut(Moved)) -> Result<Moved, TransferError> {
    let present = store.usage().messages;
    if present > 0 {
        return Err(TransferError::NotEmpty(present));
    }
    let mut records = Records::open(from)?;
    let mut batch = Batch::default();
    let mut moved = Moved::default();
    let mut bytes = 0;
    while let Some((record, length)) = records.next()? {
        moved.count(&record, length);
        bytes += length;
        batch.operations.push(match record {
            Record::Message(message) => StoreOp::Append(Arc::new(message)),
            Record::State(state) => StoreOp::State(state),
            Record::Mark(mark) => StoreOp::Mark(mark),
        });
        if batch.operations.len() >= BATCH_OPERATIONS || bytes >= BATCH_BYTES {
            store.commit(&batch, Durability::Now)?;
            progress(moved);
            batch.operations.clear();
            bytes = 0;
        }
    }
    store.commit(&batch, Durability::Now)?;
    progress(moved);
    Ok(moved)
}

/// Makes the store that the options describe out of an export. It is there when the whole export is in it, and not before: when
/// this fails, or the process ends meanwhile, there is no store, or the empty one that was there before.
pub fn import_as(options: &Options, from: impl Read, progress: impl FnMut(Moved)) -> Result<Moved, TransferError> {
    let fill = |store: &dyn Store| import(store, from, progress);
    match options.engine {
        Engine::Memory => Err(OpenError::NotOnDisk.into()),
        Engine::Sled => Kept::<sled::Sled>::filled(options, (), fill),
        Engine::Redb => Kept::<redb::Redb>::filled(options, redb::Place::File, fill),
    }
}

/// A file, and the checksum of what passed.
struct Summed<T> {
    inner: T,
    sum: crc32fast::Hasher,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Summed<T> {
        Summed { inner, sum: crc32fast::Hasher::new() }
    }
}

impl<W: Write> Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        self.sum.update(bytes);
        self.inner.write_all(bytes).map_err(TransferError::File)
    }
}

/// The records of an export, one by one.
struct Records<R> {
    from: Summed<R>,
    count: u64,
}

impl<R: Read> Records<R> {
    fn open(from: R) -> Result<Records<R>, TransferError> {
        let mut records = Records { from: Summed::new(from), count: 0 };
        match records.array::<{ TITLE.len() }>() {
            Ok(title) if title == *TITLE => Ok(records),
            Ok(_) | Err(TransferError::CutShort(_)) => Err(TransferError::NoExport),
            Err(error) => Err(error),
        }
    }

    /// The next record and its length; `None` after the last, when all of them were right.
    fn next(&mut self) -> Result<Option<(Record, usize)>, TransferError> {
        let length = u32::from_be_bytes(self.array()?);
        if length == 0 {
            let count = u64::from_be_bytes(self.array()?);
            let checksum = self.from.sum.clone().finalize();
            let is_right = u32::from_be_bytes(self.array()?) == checksum && count == self.count;
            if !is_right {
                return Err(TransferError::Checksum);
            }
            return match self.array::<1>() {
                Err(TransferError::CutShort(_)) => Ok(None),
                Ok(_) => Err(TransferError::More),
                Err(error) => Err(error),
            };
        }
        let number = self.count + 1;
        if length > MAX_RECORD_BYTES {
            return Err(TransferError::Record { number, error: RecordError::Length });
        }
        let mut bytes = Vec::new();
        let read = (&mut self.from.inner).take(u64::from(length)).read_to_end(&mut bytes);
        if read.map_err(TransferError::File)? < length as usize {
            return Err(TransferError::CutShort(self.count));
        }
        self.from.sum.update(&bytes);
        let record = Record::decode(&bytes).map_err(|error| TransferError::Record { number, error })?;
        self.count = number;
        Ok(Some((record, bytes.len())))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TransferError> {
        let mut bytes = [0; N];
        match self.from.inner.read_exact(&mut bytes) {
            Ok(()) => {
                self.from.sum.update(&bytes);
                Ok(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(TransferError::CutShort(self.count)),
            Err(error) => Err(TransferError::File(error)),
        }
    }
}
