//! What the two files of a journal say when they are opened: the batches that the engine may not have.
//!
//! Entries follow each other with numbers that count up by one; what comes after the last one is of earlier uses of the file,
//! or was never whole. An entry that was not written to its end is not damage, since it was never confirmed; but one that is
//! missing although a later one says that it was safe has been lost since.

use super::super::error::JournalDamage;
use super::entry::{ALIGNMENT, Entry, Head};
use super::{START, salt_of};
use crate::store::Batch;

/// What is in a journal and not in the engine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// The batches, with numbers that count up by one from that after the engine's last.
    pub(crate) batches: Vec<(u64, Batch)>,
    /// No entry has a higher number, be it of use or not. New ones have to be above.
    pub(crate) highest: u64,
}

/// Reads the bytes of the files of a journal. `last` is the engine's last batch.
pub(crate) fn recover(files: &[Vec<u8>], last: u64) -> Result<Recovered, JournalDamage> {
    let mut chains = Vec::new();
    let mut strays = Vec::new();
    for bytes in files {
        let salt = salt_of(bytes).ok_or(JournalDamage::Title)?;
        let (chain, end) = chain(bytes, salt);
        strays.extend(beyond(bytes, salt, end));
        chains.push(chain);
    }
    chains.sort_by_key(|chain| chain.first().map(|entry| entry.head.number));
    let mut recovered = Recovered { batches: Vec::new(), highest: last };
    let mut expected = last + 1;
    for entry in chains.into_iter().flatten() {
        if entry.head.number == expected {
            let damaged = |error| JournalDamage::Entry { batch: expected, error };
            recovered.batches.push((expected, entry.batch().map_err(damaged)?));
            expected = expected.saturating_add(1);
        } else if entry.head.number > expected {
            strays.push(entry.head);
        }
    }
    let later = strays.iter().filter(|head| head.number >= expected);
    if let Some(safe) = later.map(|head| head.safe).max().filter(|safe| *safe >= expected) {
        return Err(JournalDamage::Hole { missing: expected, safe });
    }
    let highest = strays.iter().map(|head| head.number).max().unwrap_or(0);
    recovered.highest = highest.max(expected.saturating_sub(1));
    Ok(recovered)
}

/// The entries from the start of a file on, and where they end.
fn chain(bytes: &[u8], salt: u64) -> (Vec<Entry<'_>>, usize) {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut at = START;
    while let Some(entry) = bytes.get(at..).and_then(|rest| Entry::read(rest, salt)) {
        if entries.last().is_some_and(|last| last.head.number.checked_add(1) != Some(entry.head.number)) {
            break;
        }
        at += entry.footprint();
        entries.push(entry);
    }
    (entries, at)
}

/// What is whole beyond the end of the chain.
fn beyond(bytes: &[u8], salt: u64, end: usize) -> Vec<Head> {
    let mut heads = Vec::new();
    let mut at = end;
    while at < bytes.len() {
        match bytes.get(at..).and_then(|rest| Entry::read(rest, salt)) {
            Some(entry) => {
                heads.push(entry.head);
                at += entry.footprint();
            }
            None => at += ALIGNMENT,
        }
    }
    heads
}
