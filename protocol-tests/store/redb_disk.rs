//! redb on a disk whose power fails, or that fills up, within the process.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gumboot::store::{Batch, Durability, Store, StoreError, StoreOp, open_on_backend};
use redb::{Database, StorageBackend};

use crate::support::{Chance, append, commit, rounds, sequences};
use crate::workload::{Content, Workload, check};

/// The disk's unit: what was not synced survives, or does not, in pieces of this size.
const PIECE: usize = 4096;

/// A disk: what a program sees of it, and what would be left without power.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Writes, syncs and changes of length until the power fails; `None` for a disk that goes on.
    left: Option<u64>,
    /// Bytes that the disk has.
    space: Option<usize>,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A store on this disk.
    fn store(&self) -> Arc<dyn Store> {
        let disk = self.clone();
        let opener = move || Database::builder().set_cache_size(1 << 20).create_with_backend(disk.clone());
        open_on_backend(opener).expect("the store opens")
    }

    /// The disk after the power came back: what was synced, and each piece that was not with `odds` of a hundred.
    fn after_cut(&self, chance: &mut Chance, odds: u64) -> Disk {
        let state = self.state();
        let mut left = state.durable.clone();
        for (number, piece) in state.live.chunks(PIECE).enumerate() {
            let at = number * PIECE;
            let is_synced = left.get(at..at + piece.len()) == Some(piece);
            if !is_synced && chance.below(100) < odds {
                left.resize(left.len().max(at + piece.len()), 0);
                left[at..at + piece.len()].copy_from_slice(piece);
            }
        }
        Disk(Arc::new(Mutex::new(State { live: left.clone(), durable: left, ..State::default() })))
    }

    /// The state, unless there is no power.
    fn powered(&self, is_change: bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match &mut state.left {
            Some(0) => Err(io::Error::other("no power")),
            Some(left) => {
                *left -= u64::from(is_change);
                Ok(state)
            }
            None => Ok(state),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.powered(false)?.live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.powered(false)?;
        let from = state.live.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.powered(true)?;
        if state.space.is_some_and(|space| length as usize > space) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.live.resize(length as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.powered(true)?;
        state.durable = state.live.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.powered(true)?;
        let end = offset as usize + data.len();
        if state.live.len() < end {
            state.live.resize(end, 0);
        }
        state.live[offset as usize..end].copy_from_slice(data);
        Ok(())
    }
}

#[test]
fn redb_loses_nothing_when_the_power_fails() {
    for seed in 0..rounds(30) {
        let mut chance = Chance(seed);
        let mut disk = Disk::default();
        let mut before = Content::new();
        // The second and third life begin with what the first left.
        for life in 0..3 {
            let store = disk.store();
            let workload_seed = seed * 10 + life;
            let mut workload = Workload::new(workload_seed, before.clone());
            let mut confirmed = 0;
            disk.state().left = Some(chance.below(700));
            while store.commit(&workload.batch(), Durability::Now).is_ok() {
                confirmed += 1;
            }
            drop(store);
            let odds = [0, 50, 100][chance.below(3) as usize];
            disk = disk.after_cut(&mut chance, odds);
            before = check(&*disk.store(), workload_seed, before, confirmed);
        }
    }
}

#[test]
fn a_disk_that_was_full_is_used_again() {
    let disk = Disk::default();
    let store = disk.store();
    disk.state().space = Some(4 << 20);
    let mut stored = Vec::new();
    let refusal = (1..2_000).find_map(|sequence| {
        let batch = Batch { operations: vec![append(sequence, 8_000)] };
        match store.commit(&batch, Durability::Now) {
            Ok(()) => {
                stored.push(sequence);
                None
            }
            Err(error) => Some(error),
        }
    });
    assert!(matches!(refusal, Some(StoreError::DiskFull)), "{refusal:?}");
    assert_eq!(sequences(&*store), stored, "what was refused is not there, and the rest can be read");
    disk.state().space = None;
    commit(&*store, stored.iter().map(|sequence| StoreOp::Delete(*sequence)).chain([append(5_000, 8_000)]));
    assert_eq!(sequences(&*store), [5_000]);
    drop(store);
    assert_eq!(sequences(&*disk.store()), [5_000]);
}

#[test]
fn a_disk_that_failed_leaves_whole_batches() {
    for seed in 0..rounds(20) {
        let disk = Disk::default();
        let store = disk.store();
        let mut workload = Workload::new(seed, Content::new());
        disk.state().left = Some(40 + Chance(seed).below(300));
        let mut confirmed = 0;
        let error = loop {
            match store.commit(&workload.batch(), Durability::Now) {
                Ok(()) => confirmed += 1,
                Err(error) => break error,
            }
        };
        assert!(error.is_in_doubt(), "a disk without power tells nothing: {error}");
        disk.state().left = None;
        check(&*store, seed, Content::new(), confirmed);
    }
}
