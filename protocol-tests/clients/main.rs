//! Real clients against the real broker: each suite is a folder of its own with its client's package pinned, installed
//! by this program below `target`, and run with the client's own runtime.
//!
//! What a suite does is said by the suite. What this program does for it: a broker of its own on free ports, restarted
//! when the suite asks, and a table of all answers in the end. Without the runtime a suite is skipped with a loud word at
//! home, and fails where `CI=true`.

mod install;
#[path = "../launcher.rs"]
mod launcher;
mod list;
mod suite;
mod table;
mod toolchain;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use suite::Suite;
use table::Table;

fn main() -> ExitCode {
    let asked = match Asked::parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(wrong) => {
            say(&format!("error: {wrong}"));
            return ExitCode::from(2);
        }
    };
    let suites: Vec<Suite> = list::suites().into_iter().filter(|suite| asked.wants(&suite.name)).collect();
    if asked.list {
        suites.iter().for_each(|suite| say(&format!("{}: test", suite.name)));
        return ExitCode::SUCCESS;
    }
    let table = run(&suites);
    say(&table.to_string());
    if table.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the suites, nearly as many at a time as there are cores: most of their time is spent on waiting.
fn run(suites: &[Suite]) -> Table {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let tables = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..(cores - 1).max(1) {
            scope.spawn(|| {
                while let Some((number, suite)) = take(suites, &next) {
                    say(&format!("running {}", suite.name));
                    let began = Instant::now();
                    let table = suite::run(suite);
                    say(&format!("done {} in {:.1} s", suite.name, began.elapsed().as_secs_f32()));
                    tables.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((number, table));
                }
            });
        }
    });
    let mut tables = tables.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    tables.sort_by_key(|(number, _)| *number);
    tables.into_iter().map(|(_, table)| table).collect()
}

/// The next suite that nobody has begun.
fn take<'a>(suites: &'a [Suite], next: &AtomicUsize) -> Option<(usize, &'a Suite)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    suites.get(number).map(|suite| (number, suite))
}

/// What the command line asks for.
#[derive(Debug, Default)]
struct Asked {
    filters: Vec<String>,
    skips: Vec<String>,
    list: bool,
}

impl Asked {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
        let mut asked = Asked::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => asked.list = true,
                "--skip" => asked.skips.extend(arguments.next()),
                // What `cargo test` passes on to every test target means nothing here.
                "--nocapture" | "--no-capture" | "-q" | "--quiet" | "--exact" => {}
                "--test-threads" | "--format" | "--color" => drop(arguments.next()),
                flag if flag.starts_with("--test-threads=") => {}
                flag if flag.starts_with('-') => return Err(format!("unknown option `{flag}`")),
                filter => asked.filters.push(filter.to_owned()),
            }
        }
        Ok(asked)
    }

    fn wants(&self, name: &str) -> bool {
        let is_in = |texts: &[String]| texts.iter().any(|text| name.contains(text.as_str()));
        !is_in(&self.skips) && (self.filters.is_empty() || is_in(&self.filters))
    }
}

/// A reader that has gone away, as `| head` does, ends nothing.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
