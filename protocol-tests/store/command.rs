//! `gumboot store`: the command as its users meet it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use gumboot::store::{Engine, StoreOp, open};
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::support::{Chance, Scratch, append, commit, everything, files, options, rounds, state};

const TWO: [Engine; 2] = [Engine::Sled, Engine::Redb];

fn command(place: &Scratch, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gumboot"));
    command.current_dir(&place.path).env_clear().arg("store").args(arguments);
    command
}

fn run(place: &Scratch, arguments: &[&str]) -> Output {
    command(place, arguments).output().expect("the program runs")
}

/// Runs it, and checks the exit code and what both streams contain.
#[track_caller]
fn check(place: &Scratch, arguments: &[&str], code: i32, stdout: &[&str], stderr: &[&str]) {
    let output = run(place, arguments);
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{errors}");
    for (parts, text) in [(stdout, &out), (stderr, &errors)] {
        for part in parts {
            assert!(text.contains(part), "{arguments:?}: no {part:?} in:\n{text}");
        }
        assert!(!parts.is_empty() || text.is_empty(), "{arguments:?}: {text}");
    }
}

/// Makes a store of 1 500 messages, the first one with a state, and closes it.
fn fill(engine: Engine, path: &Path) {
    let store = open(&options(engine, path)).expect("a new store");
    commit(&*store, (1..=1_500).map(|sequence| append(sequence, 400)).chain([StoreOp::State(state(1, 2))]));
}

fn content(engine: Engine, path: &Path) -> Vec<gumboot::store::Record> {
    everything(&*open(&options(engine, path)).expect("a store"))
}

#[test]
fn stores_move_between_engines() {
    for (from, to) in [(Engine::Sled, Engine::Redb), (Engine::Redb, Engine::Sled)] {
        let place = Scratch::new("command");
        fill(from, &place.path.join("one"));
        let (from_name, to_name) = (from.name(), to.name());
        let one = ["--path", "one", "--engine", from_name];
        // Which are kept as messages are, and are none.
        let subscriptions = "\ndurable subscriptions: 136\n";
        check(
            &place,
            &[&["verify"], &one[..]].concat(),
            0,
            &["\nqueue-3 ", "\nall          1364  ", subscriptions],
            &[],
        );
        check(&place, &[&["export", "--out", "x"], &one[..]].concat(), 0, &[], &["exported 1500 messages, "]);
        let said = format!("into the store deep/two ({to_name})\n");
        check(&place, &["import", "x", "--path", "deep/two", "--engine", to_name], 0, &["imported 1500 ", &said], &[]);
        assert!(content(to, &place.path.join("deep/two")) == content(from, &place.path.join("one")));
        // Through pipes, and into a store that is there and empty.
        let exported = run(&place, &["export", "--path", "deep/two", "--engine", to_name]).stdout;
        assert!(exported == fs::read(place.path.join("x")).expect("the file"));
        drop(open(&options(from, &place.path.join("three"))).expect("an empty store"));
        let mut importing = started(&place, &["import", "-", "--path", "three", "--engine", from_name]);
        importing.stdin.take().expect("its input").write_all(&exported).expect("it reads all");
        assert!(importing.wait().expect("it ends").success());
        assert!(content(from, &place.path.join("three")) == content(from, &place.path.join("one")));
        // The configuration says which store is meant, where nothing else does.
        fs::write(place.path.join("my.toml"), format!("store.engine = \"{from_name}\"\n")).expect("a file");
        check(&place, &["verify", "--config", "my.toml", "--set", "store.path=three"], 0, &["store three: "], &[]);
        assert!(!place.path.join("three/old").exists() && !place.path.join("x.part").exists());
    }
}

fn started(place: &Scratch, arguments: &[&str]) -> Child {
    let mut command = command(place, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program runs")
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    for engine in TWO {
        let place = Scratch::new("command");
        fill(engine, &place.path.join("full"));
        let name = engine.name();
        let of = |verb: &'static str, path: &'static str| [verb, "--path", path, "--engine", name];
        check(&place, &[&of("export", "full")[..], &["--out", "x"]].concat(), 0, &[], &["exported 1500 "]);
        let before = files(&place.path);
        // A store that is not there is not made.
        for verb in ["export", "verify"] {
            check(&place, &of(verb, "none"), 1, &[], &["error: there is no store at none: check store.path"]);
        }
        check(&place, &of("verify", "x"), 1, &[], &["error: the store x cannot be opened: "]);
        check(&place, &[&of("import", "full")[..], &["x"]].concat(), 1, &[], &["holds 1500 messages"]);
        check(&place, &[&of("import", "none")[..], &["y"]].concat(), 1, &[], &["error: y: No such file"]);
        check(
            &place,
            &[&of("export", "full")[..], &["--out", "x"]].concat(),
            1,
            &[],
            &["x exists and is not written over"],
        );
        check(&place, &["verify", "--engine", "memory"], 2, &[], &["keeps nothing on disk; there are sled and redb"]);
        check(&place, &["verify", "--engine", "mysql"], 2, &[], &["there are sled and redb"]);
        check(
            &place,
            &["verify", "--set", "store.engine=memory"],
            1,
            &[],
            &["keeps nothing on disk: set store.engine"],
        );
        check(&place, &["verify", "--set", "store.engin=redb"], 2, &[], &["did you mean `store.engine`?"]);
        let other = TWO.into_iter().find(|other| *other != engine).expect("another engine").name();
        let made = format!("was made by the engine `{name}`");
        check(&place, &["verify", "--path", "full", "--engine", other], 1, &[], &[&made]);
        check(&place, &["import", "x", "--path", "full", "--engine", other], 1, &[], &[&made]);
        let opened = open(&options(engine, &place.path.join("full"))).expect("the store");
        for verb in [&["export"][..], &["verify"], &["import", "x"]] {
            let arguments = [verb, &["--path", "full", "--engine", name]].concat();
            check(&place, &arguments, 1, &[], &["the store full is in use by another process: stop that one"]);
        }
        drop(opened);
        let format = place.path.join("full/data/FORMAT");
        let text = fs::read_to_string(&format).expect("the file");
        fs::write(&format, text.replace("version = 2", "version = 9")).expect("the file");
        check(&place, &of("export", "full"), 1, &[], &["has format version 9, and this program knows 2 at most"]);
        fs::write(&format, text).expect("the file");
        let after = files(&place.path);
        let same = |name: &String| after.get(name) == before.get(name);
        // Opening a store may tidy the engine's own files; the rest is as it was.
        assert!(before.keys().filter(|name| !name.starts_with("full/data/")).all(same));
        assert!(after.keys().all(|name| name.starts_with("full/data/") || before.contains_key(name)));
        assert_eq!(content(engine, &place.path.join("full")).len(), 1_501);
    }
}

#[test]
fn a_damaged_export_makes_no_store() {
    for engine in TWO {
        let place = Scratch::new("command");
        fill(engine, &place.path.join("full"));
        let name = engine.name();
        check(&place, &["export", "--path", "full", "--engine", name, "--out", "x"], 0, &[], &["exported"]);
        let whole = fs::read(place.path.join("x")).expect("the file");
        let mut changed = whole.clone();
        // A message that comes long after the first batch of the import was stored.
        let at = whole.len() * 9 / 10;
        changed[at] ^= 1;
        fs::write(place.path.join("changed"), &changed).expect("a file");
        fs::write(place.path.join("cut"), &whole[..whole.len() - 1]).expect("a file");
        fs::write(place.path.join("text"), "hello").expect("a file");
        for (file, says) in [
            ("changed", "of the export is damaged: "),
            ("cut", "is cut short after 1501 records"),
            ("text", "no export"),
        ] {
            check(&place, &["import", file, "--path", "new", "--engine", name], 1, &[], &[says]);
            check(&place, &["verify", "--path", "new", "--engine", name], 1, &[], &["there is no store at new"]);
        }
        check(&place, &["import", "x", "--path", "new", "--engine", name], 0, &["imported 1500 "], &[]);
    }
}

#[test]
fn verify_finds_every_damaged_record() {
    const MESSAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("messages");
    let place = Scratch::new("command");
    fill(Engine::Redb, &place.path);
    {
        let database = Database::open(place.path.join("data/data.redb")).expect("the file");
        let read = |sequence: u64| {
            let messages = database.begin_read().expect("reading").open_table(MESSAGES).expect("the table");
            messages.get(sequence).expect("the table").expect("the message").value().to_vec()
        };
        let writing = database.begin_write().expect("a transaction");
        for sequence in 31..=55 {
            let mut value = read(sequence);
            value[20] ^= 1;
            writing.open_table(MESSAGES).expect("the table").insert(sequence, value.as_slice()).expect("a change");
        }
        writing.commit().expect("a commit");
    }
    let path = place.path.display().to_string();
    let found = [
        "\nall          1342  ",
        "\ndamaged: message 31: the checksum does not match\n",
        "\ndamaged: message 50: the checksum does not match\ndamaged: 5 more\n",
    ];
    let says = "is damaged: 25 things in it cannot be read. Nothing was deleted.";
    check(&place, &["verify", "--path", &path, "--engine", "redb"], 1, &found, &[says]);
    let arguments = ["export", "--path", &path, "--engine", "redb", "--out", "x"];
    check(&place, &arguments, 1, &[], &["message 31: the checksum does not match"]);
    assert!(!place.path.join("x").exists() && !place.path.join("x.part").exists());
}

#[test]
fn a_killed_import_leaves_no_store() {
    for engine in TWO {
        let place = Scratch::new("command");
        fill(engine, &place.path.join("full"));
        let name = engine.name();
        let whole = run(&place, &["export", "--path", "full", "--engine", name]).stdout;
        drop(open(&options(engine, &place.path.join("new"))).expect("an empty store"));
        let mut chance = Chance(3);
        for _ in 0..rounds(3) {
            let mut importing = started(&place, &["import", "-", "--path", "new", "--engine", name]);
            let mut input = importing.stdin.take().expect("its input");
            // All but a part of what the program has to see before it is done.
            let part = &whole[..chance.below(whole.len() as u64 - 1) as usize];
            if let Err(error) = input.write_all(part) {
                let said = importing.wait_with_output().expect("its end").stderr;
                panic!("it reads no more: {error}; {}", String::from_utf8_lossy(&said));
            }
            importing.kill().expect("it runs");
            importing.wait().expect("it ends");
            assert!(content(engine, &place.path.join("new")).is_empty());
        }
        fs::write(place.path.join("x"), &whole).expect("a file");
        check(&place, &["import", "x", "--path", "new", "--engine", name], 0, &["imported 1500 "], &[]);
        assert!(content(engine, &place.path.join("new")) == content(engine, &place.path.join("full")));
    }
}

#[test]
fn a_killed_export_leaves_no_file_that_looks_whole() {
    for engine in TWO {
        let place = Scratch::new("command");
        fill(engine, &place.path.join("full"));
        let name = engine.name();
        let arguments = ["export", "--path", "full", "--engine", name, "--out", "x"];
        let whole = run(&place, &arguments[..5]).stdout;
        for _ in 0..rounds(3) {
            let mut exporting = started(&place, &arguments);
            while !place.path.join("x.part").exists() && exporting.try_wait().expect("its state").is_none() {
                thread::yield_now();
            }
            exporting.kill().expect("it was started");
            exporting.wait().expect("it ends");
            // It may have been quicker than the kill.
            if let Ok(bytes) = fs::read(place.path.join("x")) {
                assert!(bytes == whole);
                fs::remove_file(place.path.join("x")).expect("the file");
            }
        }
        check(&place, &arguments, 0, &[], &["exported 1500 "]);
        assert!(fs::read(place.path.join("x")).expect("the file") == whole);
    }
}
