//! All tests of a run: one per case, version and harness, played in parallel, each with its verdict.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::harness::{self, Harness};
use crate::profile::Profile;
use crate::replay::Mode;
use crate::runner::{self, Failure, Outcome};
use crate::transcript::{Case, Level, Version};

/// Autobahn's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Ok,
    /// A SHOULD is missed.
    NonStrict,
    Failed,
    /// The broker, or the way to reach it, lacks what the case needs.
    Unimplemented,
    /// The specification leaves it to the broker; the report says what it does.
    Informational,
}

impl Verdict {
    pub(crate) const ALL: [Verdict; 5] =
        [Verdict::Ok, Verdict::NonStrict, Verdict::Failed, Verdict::Unimplemented, Verdict::Informational];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "OK",
            Verdict::NonStrict => "NON-STRICT",
            Verdict::Failed => "FAILED",
            Verdict::Unimplemented => "UNIMPLEMENTED",
            Verdict::Informational => "INFORMATIONAL",
        }
    }
}

/// One case in one version over one harness.
#[derive(Clone, Copy)]
pub(crate) struct Test<'a> {
    pub(crate) case: &'a Case,
    pub(crate) version: Version,
    pub(crate) harness: &'a dyn Harness,
}

impl Test<'_> {
    /// `1.2/ack/client-is-cumulative [1.2 tcp]`
    pub(crate) fn name(&self) -> String {
        format!("{} [{} {}]", self.case.front.id, self.version, self.harness.name())
    }
}

/// What came of a test.
#[derive(Clone, Debug)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) failure: Option<Failure>,
    /// What was missing, of an unimplemented one.
    pub(crate) lacks: Option<String>,
}

impl Judgement {
    fn lacking(what: String) -> Self {
        Judgement { verdict: Verdict::Unimplemented, failure: None, lacks: Some(what) }
    }
}

/// How a run is made.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) jobs: usize,
    pub(crate) replay: bool,
    pub(crate) seed: u64,
}

/// Every test of `cases` over `harnesses`, in the order of ids. A case that needs a harness by its name is no test
/// over the others, and one that the profile is not about is none at all.
pub(crate) fn tests<'a>(cases: &'a [Case], harnesses: &'a [Box<dyn Harness>], profile: &Profile) -> Vec<Test<'a>> {
    let mut tests = Vec::new();
    for case in cases.iter().filter(|case| profile.takes(&case.front.needs)) {
        for &version in &case.front.over {
            for harness in harnesses {
                let is_other = |need: &String| harness::NAMES.contains(&need.as_str()) && need != harness.name();
                if !case.front.needs.iter().any(is_other) {
                    tests.push(Test { case, version, harness: harness.as_ref() });
                }
            }
        }
    }
    tests
}

/// Plays all tests; the judgements stand in the order of the tests.
pub(crate) fn play(tests: &[Test<'_>], profile: &Profile, options: &Options) -> Vec<Judgement> {
    let next = AtomicUsize::new(0);
    let judged = Mutex::new(Vec::with_capacity(tests.len()));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some((index, test)) = take(&next, tests) {
                    let judgement = judge(test, profile, options);
                    judged.lock().unwrap_or_else(PoisonError::into_inner).push((index, judgement));
                }
            });
        }
    });
    let mut judged = judged.into_inner().unwrap_or_else(PoisonError::into_inner);
    judged.sort_by_key(|&(index, _)| index);
    judged.into_iter().map(|(_, judgement)| judgement).collect()
}

fn take<'a, 'b>(next: &AtomicUsize, tests: &'b [Test<'a>]) -> Option<(usize, &'b Test<'a>)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    tests.get(index).map(|test| (index, test))
}

fn judge(test: &Test<'_>, profile: &Profile, options: &Options) -> Judgement {
    if !profile.versions.contains(&test.version) {
        return Judgement::lacking(format!("version {}", test.version));
    }
    let has = |need: &&String| profile.abilities.contains(need) || test.harness.name() == need.as_str();
    if let Some(need) = test.case.front.needs.iter().find(|need| !has(need)) {
        return Judgement::lacking(need.clone());
    }
    for mode in modes(test, options) {
        match runner::run(test.case, test.version, mode, test.harness, profile) {
            Outcome::Passed => {}
            Outcome::Impossible(what) => return Judgement::lacking(what),
            Outcome::Failed(failure) => {
                let verdict = match test.case.front.level {
                    Level::Must | Level::Extension => Verdict::Failed,
                    Level::Should => Verdict::NonStrict,
                    Level::May => Verdict::Informational,
                };
                return Judgement { verdict, failure: Some(failure), lacks: None };
            }
        }
    }
    let verdict = match test.case.front.level {
        Level::May => Verdict::Informational,
        Level::Must | Level::Should | Level::Extension => Verdict::Ok,
    };
    Judgement { verdict, failure: None, lacks: None }
}

/// As written first, then in other cuts of the same bytes.
fn modes(test: &Test<'_>, options: &Options) -> Vec<Mode> {
    let mut modes = vec![Mode::Plain];
    if options.replay && test.case.front.replay {
        modes.extend([Mode::Bytes, Mode::Cuts { seed: options.seed }, Mode::Beats]);
        if test.version == Version::V1_2 {
            modes.push(Mode::CrLf);
        }
    }
    modes
}
