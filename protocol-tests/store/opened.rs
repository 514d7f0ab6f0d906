//! Opening what is there: each reason not to has its own error, says what to do, and changes nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use gumboot::store::{Batch, Damage, Durability, Engine, OpenError, Options, StoreError, Sync, open, verify};

use crate::support::{Chance, Scratch, append, commit, copy, files, options, sequences};
use crate::workload::{Content, Workload, content};

/// The files of the journal.
const JOURNAL: [&str; 2] = ["data/journal-0", "data/journal-1"];

const ON_DISK: [Engine; 2] = [Engine::Sled, Engine::Redb];

/// Makes a store of three messages, harms its directory with `harm`, and answers with the error of opening it.
#[track_caller]
fn refused(engine: Engine, harm: impl FnOnce(&Path)) -> OpenError {
    let scratch = Scratch::new("opened");
    let options = options(engine, &scratch.path);
    commit(&*open(&options).expect("a new store"), (1..=3).map(|sequence| append(sequence, 5_000)));
    drop(open(&options).expect("a store"));
    harm(&scratch.path);
    let before = files(&scratch.path);
    let error = open(&options).expect_err("a store that is harmed");
    assert!(files(&scratch.path) == before, "{engine}: files were changed: {error}");
    let says = error.to_string();
    assert!(says.contains(&scratch.path.display().to_string()), "{says}");
    error
}

fn write_format(path: &Path, text: &str) {
    fs::write(path.join("data/FORMAT"), text).expect("the file");
}

#[test]
fn versions_are_told_apart() {
    for engine in ON_DISK {
        let error =
            refused(engine, |path| write_format(path, &format!("gumboot store\nversion = 3\nengine = {engine}\n")));
        assert!(matches!(error, OpenError::Newer { found: 3, .. }), "{error}");
        let error =
            refused(engine, |path| write_format(path, &format!("gumboot store\nversion = 0\nengine = {engine}\n")));
        assert!(matches!(error, OpenError::Older { found: 0, .. }), "{error}");
        for damaged in
            ["", "gumboot store\n", "gumboot store\nversion = x\n", "gumboot store\nversion = 1\nengine = z\n"]
        {
            let error = refused(engine, |path| write_format(path, damaged));
            assert!(matches!(error, OpenError::Damaged { damage: Damage::Format, .. }), "{error}");
        }
        let error = refused(engine, |path| fs::remove_file(path.join("data/FORMAT")).expect("the file"));
        assert!(matches!(error, OpenError::Damaged { damage: Damage::Format, .. }), "{error}");
    }
}

/// Version 1 had no journal.
#[test]
fn a_store_without_a_journal_gets_one() {
    for engine in ON_DISK {
        let scratch = Scratch::new("opened");
        let options = options(engine, &scratch.path);
        commit(&*open(&options).expect("a new store"), [append(1, 5_000)]);
        write_format(&scratch.path, &format!("gumboot store\nversion = 1\nengine = {engine}\n"));
        for name in JOURNAL {
            fs::remove_file(scratch.path.join(name)).expect("the file");
        }
        commit(&*open(&options).expect("an old store"), [append(2, 10)]);
        let format = fs::read_to_string(scratch.path.join("data/FORMAT")).expect("the file");
        assert_eq!(format, format!("gumboot store\nversion = 2\nengine = {engine}\n"));
        assert_eq!(sequences(&*open(&options).expect("a store")), [1, 2]);
        for name in JOURNAL {
            let error = refused(engine, |path| fs::remove_file(path.join(name)).expect("the file"));
            assert!(error.to_string().contains("the journal: a file of it is missing"), "{error}");
        }
    }
}

/// A store that was not closed: what is in its journal is not in its engine.
fn unclosed(engine: Engine, scratch: &Scratch) -> Options {
    let options = options(engine, &scratch.path.join("copy"));
    let store = open(&self::options(engine, &scratch.path.join("store"))).expect("a new store");
    (1..=9).for_each(|sequence| commit(&*store, [append(sequence, 5_000)]));
    store.note_safe();
    fs::create_dir(&options.path).expect("a directory");
    copy(&scratch.path.join("store"), &options.path);
    options
}

#[test]
fn damage_of_the_journal_is_told() {
    for engine in ON_DISK {
        let scratch = Scratch::new("opened");
        let options = unclosed(engine, &scratch);
        let name = options.path.join(JOURNAL[0]);
        let whole = fs::read(&name).expect("its bytes");
        // In the title, in an entry with others after it, and in the last one, which MARK says was safe.
        for (at, expected) in
            [(20, "does not begin as it should"), (9_000, "batch 1 is not there"), (47_000, "batch 9 was safe")]
        {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&name, bytes).expect("the file");
            let error = open(&options).expect_err("a store with a damaged journal");
            assert!(error.to_string().contains(expected), "{engine}, {at}: {error}");
        }
        fs::write(&name, whole).expect("the file");
        assert_eq!(sequences(&*open(&options).expect("a store")), (1..=9).collect::<Vec<u64>>());
    }
}

#[test]
fn the_store_of_another_engine_is_left_alone() {
    for (made, wanted) in [(Engine::Sled, Engine::Redb), (Engine::Redb, Engine::Sled)] {
        let scratch = Scratch::new("opened");
        drop(open(&options(made, &scratch.path)).expect("a new store"));
        let error = open(&options(wanted, &scratch.path)).expect_err("another engine");
        assert!(matches!(error, OpenError::OtherEngine { found, .. } if found == made), "{error}");
        assert!(error.to_string().contains("export"), "{error}");
        open(&options(made, &scratch.path)).expect("still a store");
    }
}

#[test]
fn a_store_in_use_is_locked() {
    for engine in ON_DISK {
        let scratch = Scratch::new("opened");
        let options = options(engine, &scratch.path);
        let store = open(&options).expect("a new store");
        let error = open(&options).expect_err("in use");
        assert!(matches!(error, OpenError::Locked { .. }), "{error}");
        commit(&*store, [append(1, 1)]);
        drop(store);
        assert_eq!(sequences(&*open(&options).expect("free again")), [1]);
    }
}

#[test]
fn a_directory_of_somebody_else_is_not_taken() {
    let scratch = Scratch::new("opened");
    fs::write(scratch.path.join("photo.jpeg"), "x").expect("a file");
    let error = open(&options(Engine::Redb, &scratch.path)).expect_err("not ours");
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    let error = open(&options(Engine::Sled, &scratch.path.join("photo.jpeg"))).expect_err("a file");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn what_an_interrupted_creation_left_is_no_store() {
    for engine in ON_DISK {
        let scratch = Scratch::new("opened");
        let path = scratch.path.join("not/there/yet");
        fs::create_dir_all(path.join("new/blobs")).expect("a directory");
        fs::write(path.join("new/conf"), "half").expect("a file");
        commit(&*open(&options(engine, &path)).expect("a new store"), [append(1, 1)]);
        assert_eq!(sequences(&*open(&options(engine, &path)).expect("a store")), [1]);
    }
}

#[test]
fn missing_and_damaged_files_are_noticed() {
    for engine in ON_DISK {
        let name = if engine == Engine::Sled { "data/db" } else { "data/data.redb" };
        for name in [name, "data/MARK"] {
            let error = refused(engine, |path| fs::remove_file(path.join(name)).expect("the file"));
            let expected = format!("is damaged: its file {} is missing", name.trim_start_matches("data/"));
            assert!(error.to_string().contains(&expected), "{engine}: {error}");
        }
        let error = refused(engine, |path| fs::write(path.join(name), vec![0x5a; 300_000]).expect("the file"));
        assert!(matches!(error, OpenError::Damaged { .. }), "{engine}: {error}");
        // The file by which sled knows its own format.
        if engine == Engine::Sled {
            let error = refused(engine, |path| fs::write(path.join("data/conf"), [0xa5; 100]).expect("the file"));
            assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        }
    }
}

#[test]
fn nothing_is_promised_when_the_directory_was_removed() {
    for engine in ON_DISK {
        for sync in [Sync::Always, Sync::Interval(Duration::from_secs(9))] {
            let scratch = Scratch::new("opened");
            let options = Options { sync, ..options(engine, &scratch.path.join("store")) };
            let store = open(&options).expect("a new store");
            commit(&*store, [append(1, 5_000)]);
            fs::remove_dir_all(&options.path).expect("gone");
            let batch = Batch { operations: vec![append(2, 10)] };
            for durability in [Durability::Later, Durability::Now] {
                let error = store.commit(&batch, durability).expect_err("a store that is gone");
                assert!(matches!(error, StoreError::Removed), "{engine}: {error}");
            }
            // What was stored can still be handed out.
            assert_eq!(store.read(1).expect("its files").map(|message| message.sequence), Some(1));
        }
    }
}

/// Bytes that changed on the disk: either nothing is missing and nothing is different, or somebody is told. This needs more
/// than the engines have: to sled, damage looks like a log whose end was not yet written, and it drops all that comes after.
#[test]
fn damage_does_not_pass_for_messages() {
    for engine in ON_DISK {
        let original = Scratch::new("damage");
        let mut workload = Workload::new(1, Content::new());
        let store = open(&options(engine, &original.path)).expect("a new store");
        for _ in 0..80 {
            store.commit(&workload.batch(), Durability::Now).expect("a commit");
        }
        drop(store);
        let name = if engine == Engine::Sled { "data/db" } else { "data/data.redb" };
        let whole = fs::read(original.path.join(name)).expect("its bytes");
        let mut chance = Chance(7);
        let mut told = 0;
        for round in 0..30 {
            let scratch = Scratch::new("damage");
            copy(&original.path, &scratch.path);
            let mut bytes = whole.clone();
            let at = chance.below(bytes.len() as u64) as usize;
            let length = [1, 16, 4096][round % 3].min(bytes.len() - at);
            bytes[at..at + length].iter_mut().for_each(|byte| *byte ^= 0x81);
            fs::write(scratch.path.join(name), bytes).expect("the file");
            match open(&options(engine, &scratch.path)) {
                Err(OpenError::Damaged { .. } | OpenError::Io { .. }) => told += 1,
                Err(error) => panic!("{engine}, {length} bytes at {at}: {error}"),
                Ok(store) => match verify(&*store, |_| ()) {
                    Err(StoreError::Damaged(_) | StoreError::Io(_)) => told += 1,
                    Err(error) => panic!("{engine}, {length} bytes at {at}: {error}"),
                    Ok(survey) if survey.damaged > 0 => told += 1,
                    Ok(_) => assert!(content(&*store) == workload.content, "{engine}, {length} bytes at {at}"),
                },
            }
        }
        assert!(told > 0, "{engine}: no damage was ever noticed");
    }
}
