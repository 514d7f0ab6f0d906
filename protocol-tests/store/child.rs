//! The other process: this test program, run again, commits batches until something ends it.

use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use gumboot::store::{Durability, Engine, Options, open};

use crate::support::options;
use crate::workload::{Workload, content};

const ENGINE: &str = "STORE_CHILD_ENGINE";
const PATH: &str = "STORE_CHILD_PATH";
const SEED: &str = "STORE_CHILD_SEED";

/// Set when nothing is to be safe from a power cut.
pub(crate) const LATER: &str = "STORE_CHILD_LATER";

/// Begins each line of the child's that is for its parent.
const CONFIRMED: &str = "confirmed ";

/// A process that commits batches of a [`Workload`] and says so after each.
pub(crate) struct Committing {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Committing {
    /// Starts one; `prepare` may add to its environment.
    pub(crate) fn start(engine: Engine, path: &Path, seed: u64, prepare: impl FnOnce(&mut Command)) -> Committing {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["child::commits_until_it_ends", "--exact", "--nocapture", "--ignored"]);
        command.env(ENGINE, engine.name()).env(PATH, path).env(SEED, seed.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        prepare(&mut command);
        let mut process = command.spawn().expect("the process");
        let stdout = process.stdout.take().expect("its output");
        Committing { process, lines: BufReader::new(stdout).lines() }
    }

    /// Waits for the next batch to be confirmed; false when the process has ended.
    pub(crate) fn confirms(&mut self) -> bool {
        self.lines.by_ref().map_while(Result::ok).any(|line| line.contains(CONFIRMED))
    }

    /// Ends it at once, as `kill -9` does. Answers with how many more batches it confirmed before.
    pub(crate) fn kill(mut self) -> u64 {
        self.process.kill().expect("a process to kill");
        let mut confirmed = 0;
        while self.confirms() {
            confirmed += 1;
        }
        self.process.wait().expect("its end");
        confirmed
    }

    /// Waits for its end; answers with its exit code and what it had to say.
    pub(crate) fn end(self) -> (Option<i32>, String) {
        let output = self.process.wait_with_output().expect("its end");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Not a test: what [`Committing`] runs.
#[test]
#[ignore = "run by other tests, in a process of its own"]
fn commits_until_it_ends() {
    let variable = |name: &str| std::env::var(name).ok();
    let (Some(engine), Some(path), Some(seed)) = (variable(ENGINE), variable(PATH), variable(SEED)) else { return };
    let engine = Engine::parse(&engine).expect("an engine");
    let seed: u64 = seed.parse().expect("a seed");
    // From one that most batches do not fit into, to one that does not get full.
    let journal_bytes = [64 << 10, 256 << 10, 16 << 20][seed as usize % 3];
    let store = open(&Options { journal_bytes, ..options(engine, Path::new(&path)) }).expect("the store opens");
    let mut workload = Workload::new(seed, content(&*store));
    let durability = if variable(LATER).is_some() { Durability::Later } else { Durability::Now };
    for number in 1.. {
        store.commit(&workload.batch(), durability).expect("a commit");
        let mut output = stdout().lock();
        writeln!(output, "{CONFIRMED}{number}").and_then(|()| output.flush()).expect("a parent");
    }
}
