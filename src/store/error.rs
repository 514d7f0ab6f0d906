//! What goes wrong with a store: when it is opened, and later.

use std::io;
use std::path::PathBuf;

use super::options::Engine;
use super::record::RecordError;

/// The version of the layout and of the records that this program writes. Counts up with every change that an older program
/// would misread.
///
/// 2: there is a journal. 1 had none, and is made into 2 when it is opened.
pub(super) const FORMAT_VERSION: u32 = 2;

/// The oldest version that is still read.
pub(super) const OLDEST_VERSION: u32 = 1;

/// Why a store was not opened. Each says what happened and what to do; nothing was deleted or overwritten, except that sled
/// trims a log that ends in damage while it opens it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the store {} is in use by another process: stop that one, or set store.path to a directory of its own for each broker",
        path.display()
    )]
    Locked {
        /// The store.
        path: PathBuf,
    },
    /// Another engine made it.
    #[error(
        "the store {} was made by the engine `{found}`, and store.engine is `{wanted}`: set store.engine to `{found}`, or \
         export the store with `{found}` and import it with `{wanted}` into another directory",
        path.display()
    )]
    OtherEngine {
        /// The store.
        path: PathBuf,
        /// The engine that made it.
        found: Engine,
        /// The one that the options name.
        wanted: Engine,
    },
    /// A later program made it.
    #[error(
        "the store {} has format version {found}, and this program knows {FORMAT_VERSION} at most: use the newer program that \
         wrote it, or export the store with that one",
        path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// An earlier program made it, in a form that is no longer read.
    #[error(
        "the store {} has format version {found}, which is too old for this program: export it with the program that wrote it, \
         and import it into another directory",
        path.display()
    )]
    Older {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The directory is not empty, and what is there is no store.
    #[error(
        "{} is not empty and is no store of this program: set store.path to a directory that is empty or does not exist",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// There is no store yet, and none was to be made.
    #[error("there is no store at {}: check store.path; a broker makes one there when it starts", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is a store already, and it is in use: nothing may take its place.
    #[error(
        "the store {} holds {messages} messages, which nothing may take the place of: import into an empty store, or into \
         another directory",
        path.display()
    )]
    NotEmpty {
        /// The store.
        path: PathBuf,
        /// How many messages it has.
        messages: u64,
    },
    /// The options name the engine that keeps nothing.
    #[error("the engine `memory` keeps nothing on disk: set store.engine to `sled` or `redb`")]
    NotOnDisk,
    /// What is there cannot be read back.
    #[error(
        "the store {} is damaged: {damage}. Nothing was deleted. Restore a copy of it, or move the directory away and start \
         with an empty one; keep it, since much of it may still be readable",
        path.display()
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What was found.
        damage: Damage,
    },
    /// The operating system refused.
    #[error("the store {} cannot be opened: {source}; check the path, its owner, and the space on its disk", path.display())]
    Io {
        /// The store, or the file within.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

/// Why a store that is open did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space, or no quota, is left.
    #[error("the disk of the store is full")]
    DiskFull,
    /// The disk or the operating system failed.
    #[error("the disk of the store failed: {0}")]
    Io(#[source] io::Error),
    /// What is there cannot be read back.
    #[error("the store is damaged: {0}")]
    Damaged(Damage),
    /// Its directory was removed while it was open: whatever is written now is gone when the process ends.
    #[error(
        "the files of the store were removed while it was open: let clients take what waits, since it ends with this broker; \
         started again, that makes a new store"
    )]
    Removed,
    /// The batch may have taken effect all the same, or may do so when the store is next opened.
    #[error("{0}; whether the last changes were stored is not known")]
    InDoubt(#[source] Box<StoreError>),
}

/// What is wrong with what was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A message or its state.
    #[error("message {sequence}: {error}")]
    Record {
        /// Its sequence.
        sequence: u64,
        /// What is wrong with it.
        error: RecordError,
    },
    /// A part of a message that is stored in pieces.
    #[error("message {0}: a piece of it is missing")]
    Missing(u64),
    /// Several messages that are stored together.
    #[error("chunk {chunk}: {error}")]
    Chunk {
        /// Its number.
        chunk: u64,
        /// What is wrong with it.
        error: RecordError,
    },
    /// Messages are gone that nobody deleted, or back that somebody did.
    #[error("{found} messages are there instead of {expected}")]
    Count {
        /// As the last batch left it.
        expected: u64,
        /// As they are now.
        found: u64,
    },
    /// The newest changes are gone, which were safe.
    #[error("batch {found} is the last one that is there, and batch {expected} was safe")]
    Behind {
        /// The last batch that is known to have been safe.
        expected: u64,
        /// The last one that is there.
        found: u64,
    },
    /// An entry that no store has.
    #[error("an entry that is no part of a store")]
    Stray,
    /// The file that says what made the store.
    #[error("its FORMAT file cannot be read")]
    Format,
    /// A file that every store has.
    #[error("its file {0} is missing")]
    Lost(&'static str),
    /// The journal, which holds the newest changes.
    #[error("the journal: {0}")]
    Journal(JournalDamage),
    /// The engine's own files, in the engine's words.
    #[error("the engine says: {0}")]
    Engine(String),
}

/// What is wrong with the journal of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalDamage {
    /// One of its files is not there.
    #[error("a file of it is missing")]
    Missing,
    /// The beginning of a file cannot be read.
    #[error("a file of it does not begin as it should")]
    Title,
    /// Changes are gone that were safe.
    #[error("batch {missing} is not there, and up to batch {safe} all were safe")]
    Hole {
        /// The first that is not there.
        missing: u64,
        /// The last that is known to have been safe.
        safe: u64,
    },
    /// A batch whose checksum is right cannot be read.
    #[error("batch {batch}: {error}")]
    Entry {
        /// Its number.
        batch: u64,
        /// What is wrong with it.
        error: RecordError,
    },
}

impl StoreError {
    /// Whether the batch may have taken effect all the same. See [`Store::commit`](super::Store::commit).
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, StoreError::InDoubt(_))
    }

    /// The same, in doubt.
    pub(super) fn in_doubt(self) -> StoreError {
        if self.is_in_doubt() { self } else { StoreError::InDoubt(Box::new(self)) }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull,
            _ => StoreError::Io(error),
        }
    }
}
