//! Power cuts, of a process with real files: only what it synced is left, and some of the rest.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use gumboot::store::{Engine, open};

use crate::child::Committing;
use crate::support::{Chance, Scratch, copy, options, rounds};
use crate::workload::{Content, check};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/protocol-tests/store/powercut.c");

/// The exit code of a process that lost its power.
const CUT: i32 = 77;

/// The library that cuts the power; `None` where there is no C compiler.
fn library() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("powercut-{}.so", std::process::id()));
            let mut compiler = Command::new("cc");
            compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&built).arg(SOURCE).arg("-ldl");
            match compiler.output() {
                Ok(output) if output.status.success() => Some(built),
                Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
                Err(_) => None,
            }
        })
        .as_deref()
}

fn survives(engine: Engine) {
    let Some(library) = library() else {
        let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!is_ci, "no C compiler `cc`, which the power cuts need");
        eprintln!("SKIPPED: no power was cut, since there is no C compiler `cc`");
        return;
    };
    for round in 0..rounds(4) {
        let scratch = Scratch::new("power");
        let mut chance = Chance(round);
        let mut before = Content::new();
        let mut path = scratch.path.join("0");
        std::fs::create_dir(&path).expect("a directory");
        for life in 1..=3 {
            let seed = round * 10 + life;
            let image = scratch.path.join(life.to_string());
            std::fs::create_dir(&image).expect("a new directory");
            copy(&path, &image);
            let most = [60, 600, 3_000][chance.below(3) as usize];
            let after = 1 + chance.below(most);
            let odds = [0, 50, 90][chance.below(3) as usize];
            // Then the journal fails as well, and the engine takes its place.
            let faults = [0, 0, 5][chance.below(3) as usize];
            let mut child = Committing::start(engine, &path, seed, |command| {
                command.env("LD_PRELOAD", library).env("POWERCUT_LIVE", &path).env("POWERCUT_IMAGE", &image);
                command.env("POWERCUT_AFTER", after.to_string()).env("POWERCUT_ODDS", odds.to_string());
                command.env("POWERCUT_SEED", seed.to_string()).env("POWERCUT_FAULTS", faults.to_string());
            });
            let mut confirmed = 0;
            while child.confirms() {
                confirmed += 1;
            }
            let (code, said) = child.end();
            assert_eq!(code, Some(CUT), "round {round}, life {life}: {said}");
            path = image;
            let what = format!(
                "round {round}, life {life}, cut after {after}, {odds} of 100 unsynced pieces, {faults} faults"
            );
            let store = open(&options(engine, &path)).unwrap_or_else(|error| panic!("{what}: {error}"));
            println!("{engine}: {what}: {confirmed} batches");
            before = check(&*store, seed, before, confirmed);
        }
    }
}

#[test]
fn sled_loses_nothing_when_the_power_fails() {
    survives(Engine::Sled);
}

#[test]
fn redb_files_lose_nothing_when_the_power_fails() {
    survives(Engine::Redb);
}
