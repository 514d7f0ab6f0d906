//! A file of entries that is written in whole blocks, past the page cache, where the file system can do that: what is synced at
//! once gains nothing from a copy in memory, and takes a tenth longer with one.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Writes begin and end at multiples of this; no disk has larger sectors.
pub(super) const BLOCK: usize = 4096;

/// What is written at a time at most.
const WINDOW: usize = 256 * BLOCK;

/// How a file is opened that is to be written past the page cache.
#[cfg(target_os = "linux")]
const DIRECT: Option<i32> = Some(libc::O_DIRECT);
#[cfg(not(target_os = "linux"))]
const DIRECT: Option<i32> = None;

/// The file, and where it is written next.
#[derive(Debug)]
pub(super) struct Blocks {
    path: PathBuf,
    file: File,
    at: u64,
    /// Whether the page cache is passed by.
    is_direct: bool,
}

/// The memory that blocks are written from. The one file that is being written has in it the begin of its last block, as far as
/// that is not full.
pub(super) struct Window {
    memory: Vec<u8>,
    /// Where memory is aligned as disks want it.
    start: usize,
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what is in it.
        f.debug_struct("Window").finish_non_exhaustive()
    }
}

impl Window {
    pub(super) fn new() -> Window {
        let memory = vec![0; WINDOW + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        Window { memory, start }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // Invariant: the start is within the first block, and the memory is one block longer than the window.
        &mut self.memory[self.start..][..WINDOW]
    }
}

impl Blocks {
    /// Opens a file that is there and is long enough for all that it will get, up to the end of its last block.
    pub(super) fn open(path: &Path, is_direct: bool) -> io::Result<Blocks> {
        let direct = DIRECT.filter(|_| is_direct).and_then(|flag| open(path, flag).ok());
        let is_direct = direct.is_some();
        let file = direct.map_or_else(|| open(path, 0), Ok)?;
        Ok(Blocks { path: path.to_owned(), file, at: 0, is_direct })
    }

    /// Where the next bytes go.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Goes to where a block begins.
    pub(super) fn go_to(&mut self, at: u64) {
        debug_assert!(at.is_multiple_of(BLOCK as u64), "not the begin of a block");
        self.at = at;
    }

    /// Writes these bytes. What comes behind them, up to the end of their last block, is lost.
    pub(super) fn write(&mut self, bytes: &[u8], window: &mut Window) -> io::Result<()> {
        if self.is_direct {
            let begin = self.at;
            match self.write_blocks(bytes, window.bytes()) {
                // The file system does not do it for this file or this memory, whatever it said when it was opened.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    (self.file, self.is_direct, self.at) = (open(&self.path, 0)?, false, begin);
                }
                written => return written,
            }
        }
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Makes all that was written safe.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write_blocks(&mut self, mut bytes: &[u8], window: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let filled = (self.at % BLOCK as u64) as usize;
            let (now, rest) = bytes.split_at(bytes.len().min(WINDOW - filled));
            let end = filled + now.len();
            // Invariant: what is filled is less than a block, and the end at most that of the window, a whole number of blocks.
            let (blocks, _) = window.split_at_mut(end.next_multiple_of(BLOCK));
            blocks[filled..end].copy_from_slice(now);
            blocks[end..].fill(0);
            self.file.write_all_at(blocks, self.at - filled as u64)?;
            blocks.copy_within(end / BLOCK * BLOCK..end, 0);
            self.at += now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }
}

fn open(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(flags).open(path)
}
