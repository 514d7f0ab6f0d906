//! The seeded simulation: sessions, shards and workers on a virtual clock, stalls and drops, posts that come late, policies of
//! all kinds, a disk that is slow, full or fails, crashes and restarts, checked against a simple model of what clients may
//! rely on.
//!
//! ```text
//! cargo test --test sim                      # a fixed list of seeds, and the proof that the model can fail
//! cargo test --test sim -- --seed 7          # one seed; with --steps 40 only its first steps, and then the end;
//!                                            # with --tell-all the transcripts of all clients
//! cargo test --test sim -- --from 1000 --seeds 5000
//! cargo test --test sim -- --faults          # only the proof that the model can fail
//! ```

#[path = "sim/applications.rs"]
mod applications;
#[path = "sim/arrivals.rs"]
mod arrivals;
#[path = "sim/attach.rs"]
mod attach;
#[path = "sim/browse.rs"]
mod browse;
#[path = "sim/copies.rs"]
mod copies;
#[path = "sim/disk.rs"]
mod disk;
#[path = "sim/durable.rs"]
mod durable;
#[path = "sim/failures.rs"]
mod failures;
#[path = "sim/lasting.rs"]
mod lasting;
#[path = "sim/laws.rs"]
mod laws;
#[path = "sim/letters.rs"]
mod letters;
#[path = "sim/message.rs"]
mod message;
#[path = "sim/model.rs"]
mod model;
#[path = "sim/observe.rs"]
mod observe;
#[path = "sim/order.rs"]
mod order;
#[path = "sim/places.rs"]
mod places;
#[path = "sim/policy.rs"]
mod policy;
#[path = "sim/random.rs"]
mod random;
#[path = "sim/run.rs"]
mod run;
#[path = "sim/sends.rs"]
mod sends;
#[path = "sim/setup.rs"]
mod setup;
#[path = "sim/steps.rs"]
mod steps;
#[path = "sim/taps.rs"]
mod taps;
#[path = "sim/users.rs"]
mod users;
#[path = "sim/verdict.rs"]
mod verdict;
#[path = "virtual_broker.rs"]
mod virtual_broker;
#[path = "sim/wire.rs"]
mod wire;
#[path = "sim/world.rs"]
mod world;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use run::{Outcomes, run};
use taps::{Fault, Tap};

/// Seeds that once found something.
const REGRESSIONS: [u64; 6] = [1, 219, 770, 2541, 2927, 22567];

/// Where the seeds of the default run begin, how many there are, and how many steps each has.
const FROM: u64 = 1;
const SEEDS: u64 = 600;
const STEPS: usize = 300;

/// How many seeds are run in another process too, whose hash keys are others, to prove that nothing depends on them.
const REPEATED: u64 = 20;

/// How many runs a fault may take to show.
const PATIENCE: u64 = 300;

/// How many failures are told in full.
const TOLD: usize = 3;

/// What the command line asks for.
struct Request {
    seeds: Vec<u64>,
    steps: usize,
    tells_all: bool,
    shows_digest: bool,
    proves_itself: bool,
}

fn main() -> ExitCode {
    let request = match Request::parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(problem) => {
            eprintln!(
                "{problem}\noptions: --seed N | --from N --seeds COUNT, --steps COUNT, --tell-all, --faults, --digest"
            );
            return ExitCode::from(2);
        }
    };
    let mut passed = 0;
    let mut failed = 0;
    if request.proves_itself {
        match repeats_itself() {
            Ok(()) => passed += 1,
            Err(problem) => {
                println!("FAILED to repeat a run: {problem}");
                failed += 1;
            }
        }
        let problems = unnoticed();
        problems.iter().for_each(|(fault, problem)| println!("FAILED fault {fault:?}: {problem}"));
        passed += Fault::ALL.len() - problems.len();
        failed += problems.len();
    }
    if request.shows_digest {
        println!("{:016x}", digest(&request.seeds, request.steps));
        return ExitCode::SUCCESS;
    }
    let failures = run_all(&request);
    passed += request.seeds.len() - failures.len();
    failed += failures.len();
    for (place, (seed, outcomes)) in failures.iter().enumerate() {
        let story = if place < TOLD { &*outcomes.story } else { outcomes.story.lines().next().unwrap_or_default() };
        println!(
            "FAILED seed {seed}: {story}repeat it: cargo test --test sim -- --seed {seed} --steps {}",
            request.steps
        );
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Request {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
        let (mut seed, mut from, mut seeds, mut steps, mut tells_all) = (None, None, None, STEPS, false);
        let (mut shows_digest, mut has_faults) = (false, false);
        while let Some(name) = arguments.next() {
            let mut number = || {
                let text = arguments.next().ok_or_else(|| format!("{name} needs a number"))?;
                text.parse::<u64>().map_err(|_| format!("{name} needs a number, not {text}"))
            };
            match &*name {
                "--seed" => seed = Some(number()?),
                "--from" => from = Some(number()?),
                "--seeds" => seeds = Some(number()?),
                "--steps" => steps = number()? as usize,
                "--digest" => shows_digest = true,
                "--tell-all" => tells_all = true,
                "--faults" => has_faults = true,
                // What cargo hands to every test.
                "--nocapture" | "--quiet" | "-q" => {}
                other => return Err(format!("unknown option {other}")),
            }
        }
        let proves_itself = !shows_digest && seed.is_none() && from.is_none() && seeds.is_none();
        let range = from.unwrap_or(FROM)..from.unwrap_or(FROM) + seeds.unwrap_or(SEEDS);
        let seeds = match seed {
            None if has_faults => Vec::new(),
            Some(seed) => vec![seed],
            None if proves_itself => REGRESSIONS.into_iter().chain(range).collect(),
            None => range.collect(),
        };
        Ok(Request { seeds, steps, tells_all, shows_digest, proves_itself })
    }
}

/// Runs all seeds, and answers with those that failed, in their order.
fn run_all(request: &Request) -> Vec<(u64, Outcomes)> {
    let Request { seeds, steps, tells_all, .. } = request;
    on_all_cores(seeds, |seed| {
        let outcomes = run(*seed, *steps, Tap::default(), *tells_all);
        outcomes.violation.is_some().then_some((*seed, outcomes))
    })
}

/// The faults that the model does not notice, and why.
fn unnoticed() -> Vec<(Fault, String)> {
    on_all_cores(&Fault::ALL, |(fault, expected)| notices(*fault, expected).err().map(|problem| (*fault, problem)))
}

/// What `examine` finds, in order.
fn on_all_cores<T: Sync, F: Send>(all: &[T], examine: impl Fn(&T) -> Option<F> + Sync) -> Vec<F> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(all.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(each) = all.get(place) else { return };
                    if let Some(own) = examine(each) {
                        found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((place, own));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, own)| own).collect()
}

/// A hash of all that happened in the runs of these seeds.
fn digest(seeds: &[u64], steps: usize) -> u64 {
    let digests = seeds.iter().map(|seed| run(*seed, steps, Tap::default(), false).digest);
    digests.fold(0, |sum, digest| sum.rotate_left(7) ^ digest)
}

/// Whether another process comes to the same.
fn repeats_itself() -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let arguments = ["--digest".into(), "--from".into(), FROM.to_string(), "--seeds".into(), REPEATED.to_string()];
    let output = std::process::Command::new(own).args(arguments).output().map_err(|error| error.to_string())?;
    let there = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let here = format!("{:016x}", digest(&(FROM..FROM + REPEATED).collect::<Vec<_>>(), STEPS));
    if here == there { Ok(()) } else { Err(format!("{here} here, {there} in another process")) }
}

/// Whether the model notices a fault, and for what it is.
fn notices(fault: Fault, expected: &[laws::Law]) -> Result<(), String> {
    let mut tapped = 0;
    for seed in FROM..FROM + PATIENCE {
        let outcomes = run(seed, STEPS, Tap::new(fault), false);
        tapped += usize::from(outcomes.tapped);
        match outcomes.violation {
            Some(violation) if outcomes.tapped && expected.contains(&violation.law) => return Ok(()),
            Some(violation) if outcomes.tapped => {
                return Err(format!("seed {seed} takes it for {:?}: {}", violation.law, violation.text));
            }
            _ => {}
        }
    }
    Err(format!("not noticed in {tapped} runs"))
}
