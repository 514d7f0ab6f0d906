//! Exports: from any engine into any other, and what a damaged one is answered with.

use std::sync::Arc;

use gumboot::store::{Engine, Memory, Moved, RecordError, Store, StoreOp, TransferError, export, import, open, verify};

use crate::support::{Scratch, append, commit, everything, options, state};

fn exported(store: &dyn Store) -> Vec<u8> {
    let mut file = Vec::new();
    export(store, &mut file, |_| ()).expect("an export");
    file
}

fn filled() -> Memory {
    let store = Memory::default();
    commit(&store, (1..=1_500).map(|sequence| append(sequence * 3, 40)));
    commit(&store, [append(4_600, 100_000), StoreOp::State(state(3, 2)), StoreOp::State(state(4_600, 9))]);
    store
}

#[test]
fn every_engine_takes_what_every_other_gives() {
    let file = exported(&filled());
    for engine in Engine::ALL {
        let scratch = Scratch::new("transfer");
        let store: Arc<dyn Store> = open(&options(engine, &scratch.path)).expect("a store");
        let mut told = Vec::new();
        let moved = import(&*store, file.as_slice(), |moved| told.push(moved)).expect("an import");
        assert_eq!((moved.messages, moved.states), (1_501, 2));
        assert!(told.len() > 1 && told.is_sorted_by_key(|moved| moved.messages), "progress");
        assert_eq!(told.last(), Some(&moved));
        assert!(everything(&*store) == everything(&filled()), "{engine}");
        assert!(exported(&*store) == file, "{engine} gives what it took");
        let mut told = 0;
        let survey = verify(&*store, |_| told += 1).expect("a store that can be read");
        let found = survey.found;
        assert_eq!((found.messages, found.states, told), (1_501, 2, 1_503));
        assert!(matches!(import(&*store, file.as_slice(), |_| ()), Err(TransferError::NotEmpty(1_501))));
    }
}

#[test]
fn an_empty_store_is_an_export_too() {
    let file = exported(&Memory::default());
    assert_eq!(import(&Memory::default(), file.as_slice(), |_| ()).expect("an import"), Moved::default());
}

#[test]
fn every_cut_and_every_change_is_noticed() {
    let store = Memory::default();
    commit(&store, [append(1, 10), StoreOp::State(state(1, 1)), append(2, 30)]);
    let file = exported(&store);
    for at in 0..file.len() {
        let error = import(&Memory::default(), &file[..at], |_| ()).expect_err("a part of an export");
        assert!(matches!(error, TransferError::NoExport | TransferError::CutShort(_)), "cut at {at}: {error}");
        let mut changed = file.clone();
        changed[at] ^= 0x20;
        assert!(import(&Memory::default(), changed.as_slice(), |_| ()).is_err(), "changed at {at}");
    }
    // A second one behind it, as after `cat`, must not be passed over in silence.
    let error = import(&Memory::default(), [&*file, &*file].concat().as_slice(), |_| ()).expect_err("two exports");
    assert!(matches!(error, TransferError::More), "{error}");
    let mut huge = file[..17].to_vec();
    huge.extend_from_slice(&[0xff; 4]);
    let error = import(&Memory::default(), huge.as_slice(), |_| ()).expect_err("a length that is too large");
    assert!(matches!(error, TransferError::Record { number: 1, error: RecordError::Length }), "{error}");
}
