//! The journal: batches are safe here first, with one write and one sync each, and reach the engine later, many at once.
//!
//! Two files of a fixed size that is written in full before the first use, so that a sync has nothing to do but the bytes
//! themselves. While one takes entries, the batches of the other go to the engine; when they are safe there, that file is used
//! again from its start. What each entry looks like stands in [`entry`], how they are read back in [`recovery`].
//!
//! ```text
//! 0     "gumboot journal 1\n", salt u64, CRC-32 of both u32: written once, before the file gets its name
//! 4096  entries
//! ```

mod blocks;
mod entry;
mod recovery;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use self::blocks::{BLOCK, Blocks, Window};
use self::entry::Head;
use self::recovery::Recovered;
use super::error::{Damage, JournalDamage, StoreError};
use super::format::sync_directory;
use super::{Batch, Durability};

const NAMES: [&str; 2] = ["journal-0", "journal-1"];
const TITLE: &[u8] = b"gumboot journal 1\n";

/// Where the entries begin: beyond what a disk may write together with the title.
const START: usize = BLOCK;

/// The share of a file that is kept for settles, which also make room.
const RESERVE: u64 = 8;

/// How much a file is written at a time when it is made.
const STEP: usize = 1 << 20;

/// The files, open.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    /// The one that takes entries, and the other one.
    active: Half,
    other: Half,
    form: Form,
    /// Bytes of each.
    size: u64,
    window: Window,
    /// The number of the next batch.
    next: u64,
    /// All batches up to this one are safe.
    safe: u64,
    /// The entry that is being written.
    buffer: Vec<u8>,
    /// Whether a write or a sync failed: what is in the files is not known any more, and nothing may be added.
    is_broken: bool,
}

/// How a journal is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Bytes of both files.
    pub(super) bytes: u64,
    /// Whether each batch is made safe at once. The files are then written past the page cache where that can be done.
    pub(super) is_synced: bool,
}

#[derive(Debug)]
struct Half {
    name: &'static str,
    file: Blocks,
    salt: u64,
}

/// What stands in the files before they are opened.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    contents: [Vec<u8>; 2],
}

impl Files {
    /// Reads the journal in a directory. Nothing is changed, nor is it yet checked whether anything is missing.
    pub(super) fn read(directory: &Path) -> Result<Files, StoreError> {
        let read = |name: &str| match fs::read(directory.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(damaged(JournalDamage::Missing)),
            Ok(bytes) if salt_of(&bytes).is_none() => Err(damaged(JournalDamage::Title)),
            read => Ok(read?),
        };
        let [first, second] = NAMES;
        Ok(Files { directory: directory.to_owned(), contents: [read(first)?, read(second)?] })
    }
}

impl Journal {
    /// Makes an empty journal in a directory. What has its name there is replaced.
    pub(super) fn create(directory: &Path, bytes: u64) -> io::Result<()> {
        NAMES.iter().try_for_each(|name| create(directory, name, bytes / 2).map(drop))
    }

    /// Opens the journal that was read, for an engine whose last batch is `last`; answers with the batches that come after.
    ///
    /// They have to be safe in the engine, under the number [`Recovered::highest`], before the first [`Journal::write`].
    pub(super) fn open(files: Files, form: Form, last: u64) -> Result<(Journal, Recovered), StoreError> {
        let Files { directory, contents } = files;
        let recovered = recovery::recover(&contents, last).map_err(damaged)?;
        let size = contents.iter().map(Vec::len).min().unwrap_or_default() as u64;
        let half = |name: &'static str, content: &Vec<u8>| -> Result<Half, StoreError> {
            let salt = salt_of(content).ok_or_else(|| damaged(JournalDamage::Title))?;
            Ok(Half::open(&directory, name, salt, form)?)
        };
        let ([active, other], [first, second]) = (NAMES, &contents);
        let (active, other) = (half(active, first)?, half(other, second)?);
        let mut journal = Journal {
            directory,
            active,
            other,
            form,
            size,
            window: Window::new(),
            next: recovered.highest.saturating_add(1),
            safe: recovered.highest,
            buffer: Vec::new(),
            is_broken: false,
        };
        // Another size was set since. Nothing is lost where that cannot be had.
        if size != form.bytes / 2
            && recovered.batches.is_empty()
            && let Err(error) = journal.renew()
        {
            tracing::warn!(%error, "the journal keeps its size");
        }
        contents.into_iter().for_each(release);
        Ok((journal, recovered))
    }

    /// The number of the last batch.
    pub(super) fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// All batches up to this number are safe, here or in the engine.
    pub(super) fn safe(&self) -> u64 {
        self.safe
    }

    /// Takes the number of the next batch for one that is not written here.
    pub(super) fn skip(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether there are batches that a power cut may take.
    pub(super) fn is_unsafe(&self) -> bool {
        self.safe + 1 < self.next
    }

    /// Encodes a batch, to be written next.
    pub(super) fn prepare(&mut self, batch: &Batch) {
        entry::prepare(&mut self.buffer, batch);
    }

    /// Whether the file that is in use has room for it; what stores new messages leaves some for what settles.
    pub(super) fn has_room(&self, stores_new: bool) -> bool {
        let reserve = if stores_new { self.size / RESERVE } else { 0 };
        self.active.file.position() + self.needs() + reserve <= self.room()
    }

    /// Whether any file ever has.
    pub(super) fn could_hold(&self) -> bool {
        START as u64 + self.needs() + self.size / RESERVE <= self.room()
    }

    /// What is not a whole block is of no use.
    fn room(&self) -> u64 {
        self.size - self.size % BLOCK as u64
    }

    fn needs(&self) -> u64 {
        self.buffer.len().next_multiple_of(entry::ALIGNMENT) as u64
    }

    /// Writes the batch that was prepared, and makes it safe where it is to be so now. Answers with its number.
    ///
    /// After an error it may be there or not, and the journal is broken.
    pub(super) fn write(&mut self, durability: Durability) -> io::Result<u64> {
        let number = self.skip();
        let head = Head { salt: self.active.salt, number, safe: self.safe };
        let sealed = entry::seal(&mut self.buffer, head).ok_or(io::ErrorKind::FileTooLarge.into());
        let written = sealed.and_then(|()| self.active.file.write(&self.buffer, &mut self.window));
        self.is_broken |= written.is_err();
        written?;
        if durability == Durability::Now {
            self.sync()?;
        }
        Ok(number)
    }

    /// Makes all that was written safe.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = self.active.file.sync();
        self.is_broken |= synced.is_err();
        synced?;
        self.safe = self.last();
        Ok(())
    }

    /// Goes on with the other file, whose batches the engine has.
    pub(super) fn turn(&mut self) -> io::Result<()> {
        if self.is_unsafe() {
            self.sync()?;
        }
        std::mem::swap(&mut self.active, &mut self.other);
        self.active.file.go_to(START as u64);
        Ok(())
    }

    /// The engine has all batches, and they are safe there: the file in use begins again.
    pub(super) fn restart(&mut self) {
        self.active.file.go_to(START as u64);
        self.safe = self.last();
    }

    /// Makes new files in place of those that cannot be trusted any more, or are of another size. The engine has all batches.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        self.is_broken = true;
        let size = self.form.bytes / 2;
        for half in [&mut self.active, &mut self.other] {
            let salt = create(&self.directory, half.name, size)?;
            *half = Half::open(&self.directory, half.name, salt, self.form)?;
        }
        self.size = size;
        self.restart();
        self.is_broken = false;
        Ok(())
    }
}

impl Half {
    fn open(directory: &Path, name: &'static str, salt: u64, form: Form) -> io::Result<Half> {
        let mut file = Blocks::open(&directory.join(name), form.is_synced)?;
        file.go_to(START as u64);
        Ok(Half { name, file, salt })
    }
}

/// Makes one of the files, which has its name when it is whole and on disk. Answers with its salt.
fn create(directory: &Path, name: &str, size: u64) -> io::Result<u64> {
    let making = directory.join(format!("{name}.new"));
    let mut file = File::create(&making)?;
    // What peers send must not be able to look like an entry, so this is nothing that can be guessed.
    let salt = RandomState::new().hash_one(name);
    let mut title = [TITLE, &salt.to_be_bytes()].concat();
    title.extend_from_slice(&crc32fast::hash(&title).to_be_bytes());
    title.resize(STEP, 0);
    let zeros = vec![0; STEP];
    let mut left = usize::try_from(size).unwrap_or(usize::MAX).max(START);
    for bytes in std::iter::once(&title).chain(std::iter::repeat(&zeros)) {
        let (now, _) = bytes.split_at(left.min(STEP));
        file.write_all(now)?;
        left -= now.len();
        if left == 0 {
            break;
        }
    }
    file.sync_all()?;
    fs::rename(&making, directory.join(name))?;
    sync_directory(directory)?;
    Ok(salt)
}

fn damaged(damage: JournalDamage) -> StoreError {
    StoreError::Damaged(Damage::Journal(damage))
}

/// Frees what was read, a small block at last: one that frees a large block is taken by the allocator of glibc for one that will
/// want more of them, and those then lie among the small ones, also those of an engine, and leave holes there.
fn release(mut bytes: Vec<u8>) {
    bytes.clear();
    bytes.shrink_to(1);
}

/// Reads the title of a file.
fn salt_of(bytes: &[u8]) -> Option<u64> {
    let (salt, rest) = bytes.strip_prefix(TITLE)?.split_first_chunk::<8>()?;
    let (sum, _) = rest.split_first_chunk::<4>()?;
    let summed = bytes.get(..TITLE.len() + salt.len())?;
    (crc32fast::hash(summed).to_be_bytes() == *sum).then_some(u64::from_be_bytes(*salt))
}
