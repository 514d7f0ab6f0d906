//! `kill -9`: whatever was confirmed is there afterwards, and nothing that was deleted.

use gumboot::store::{Engine, open};

use crate::child::{Committing, LATER};
use crate::support::{Chance, Scratch, options, rounds};
use crate::workload::{Content, check};

fn survives(engine: Engine) {
    for round in 0..rounds(2) {
        let directory = Scratch::new("kill");
        let mut chance = Chance(round);
        let mut before = Content::new();
        for life in 0..3 {
            let seed = round * 10 + life;
            let mut child = Committing::start(engine, &directory.path, seed, |command| {
                // What the operating system has needs no sync to survive the process.
                if life == 1 {
                    command.env(LATER, "");
                }
            });
            let mut confirmed = 0;
            for _ in 0..chance.below(120) {
                assert!(child.confirms(), "the child ended by itself: {}", child.end().1);
                confirmed += 1;
            }
            confirmed += child.kill();
            let store = open(&options(engine, &directory.path)).expect("the store opens");
            before = check(&*store, seed, before, confirmed);
        }
    }
}

#[test]
fn sled_survives_a_kill() {
    survives(Engine::Sled);
}

#[test]
fn redb_survives_a_kill() {
    survives(Engine::Redb);
}
