//! The command line of the suite.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::coverage;
use crate::harness::{self, Harness, Opening};
use crate::launcher::{Launched, Start};
use crate::profile::{Launch, Profile};
use crate::report::Report;
use crate::suite::{self, Options};
use crate::transcript::{self, Case};

const HELP: &str = "\
usage: cargo test --test protocol -- [OPTIONS] [FILTER]...

FILTER                keep the tests whose name contains one of these
--broker FILE         the broker's profile (default: the broker built here)
--over NAME           only this way of reaching it: tcp, websocket, sockjs
--cases DIR           other cases than the suite's own
-j, --test-threads N  tests at the same time (default 4)
--no-replay           hand each frame over as written only
--seed N              the seed of the random cuts (default 1)
--json FILE           write everything known about the run
--expect FILE         compare the verdicts with these; a difference fails the run
--bless               with --expect: write the file instead
--list                name the tests
--coverage            print what COVERAGE.md must say
-v, --verbose         every test, and the transcripts of known deviations
";

/// What the command line asks for.
#[derive(Debug)]
struct Asked {
    filters: Vec<String>,
    broker: PathBuf,
    over: Option<String>,
    cases: PathBuf,
    options: Options,
    json: Option<PathBuf>,
    expect: Option<PathBuf>,
    bless: bool,
    verbose: bool,
    task: Task,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Coverage,
    Help,
    List,
    Run,
}

/// Runs the suite as the arguments say.
pub(crate) fn main(arguments: impl Iterator<Item = String>, out: &mut dyn Write) -> ExitCode {
    match parse(arguments).and_then(|asked| perform(&asked, out)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(wrong) => {
            say(out, &format!("error: {wrong}"));
            ExitCode::from(2)
        }
    }
}

/// A reader that has gone away, as `| head` does, ends nothing.
fn say(out: &mut dyn Write, text: &str) {
    let _ = writeln!(out, "{text}");
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-tests");
    let mut asked = Asked {
        filters: Vec::new(),
        broker: home.join("brokers/ours.toml"),
        over: None,
        cases: home.join("cases"),
        options: Options { jobs: 4, replay: true, seed: 1 },
        json: None,
        expect: None,
        bless: false,
        verbose: false,
        task: Task::Run,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("`{text}` is no number"));
        match argument.as_str() {
            "--broker" => asked.broker = value()?.into(),
            "--over" => asked.over = Some(value()?),
            "--cases" => asked.cases = value()?.into(),
            "-j" | "--test-threads" => asked.options.jobs = number(value()?)? as usize,
            "--seed" => asked.options.seed = number(value()?)?,
            "--no-replay" => asked.options.replay = false,
            "--json" => asked.json = Some(value()?.into()),
            "--expect" => asked.expect = Some(value()?.into()),
            "--bless" => asked.bless = true,
            "--list" => asked.task = Task::List,
            "--coverage" => asked.task = Task::Coverage,
            "-v" | "--verbose" => asked.verbose = true,
            "-h" | "--help" => asked.task = Task::Help,
            // What `cargo test` passes on to every test target means nothing here.
            "--nocapture" | "--no-capture" | "-q" | "--quiet" | "--exact" => {}
            flag if flag.starts_with('-') => return Err(format!("unknown option `{flag}`; --help lists them")),
            filter => asked.filters.push(filter.to_owned()),
        }
    }
    Ok(asked)
}

fn perform(asked: &Asked, out: &mut dyn Write) -> Result<bool, String> {
    if asked.task == Task::Help {
        say(out, HELP);
        return Ok(true);
    }
    let cases = transcript::load(&asked.cases).map_err(|error| error.to_string())?;
    if asked.task == Task::Coverage {
        say(out, coverage::page(&cases)?.trim_end());
        return Ok(true);
    }
    let mut profile = Profile::load(&asked.broker).map_err(|error| error.to_string())?;
    check_deviations(&profile, &cases)?;
    let launched = match profile.launch.clone().filter(|_| asked.task == Task::Run) {
        Some(launch) => Some(start(&launch, &mut profile)?),
        None => None,
    };
    let harnesses = harness::all(&profile, asked.over.as_deref());
    if harnesses.is_empty() {
        return Err(format!("{} has no such way to reach it", profile.name));
    }
    if asked.task == Task::List {
        for test in suite::tests(&cases, &harnesses).iter().filter(|test| keeps(asked, &test.name())) {
            say(out, &format!("{}: test", test.name()));
        }
        return Ok(true);
    }
    let good = run(asked, &cases, &harnesses, &profile, out);
    if let (Some(mut launched), Ok(false) | Err(_)) = (launched, &good) {
        let log = launched.log();
        let state = if launched.is_alive() { "is still running" } else { "has ended" };
        let tail: Vec<&str> = log.lines().rev().take(40).collect();
        say(out, &format!("the broker {state}; the last it said:"));
        tail.into_iter().rev().for_each(|line| say(out, line));
    }
    good
}

fn keeps(asked: &Asked, name: &str) -> bool {
    asked.filters.is_empty() || asked.filters.iter().any(|filter| name.contains(filter))
}

fn run(
    asked: &Asked,
    cases: &[Case],
    harnesses: &[Box<dyn Harness>],
    profile: &Profile,
    out: &mut dyn Write,
) -> Result<bool, String> {
    for harness in harnesses {
        let reached = harness.world().and_then(|mut world| world.connect(&Opening::default()));
        reached.map_err(|error| format!("over {}: {error}", harness.name()))?;
    }
    let mut tests = suite::tests(cases, harnesses);
    let all = tests.len();
    tests.retain(|test| keeps(asked, &test.name()));
    let filtered = all - tests.len();
    let judgements = suite::play(&tests, profile, &asked.options);
    let report = Report::new(tests, judgements, profile);
    say(out, &report.details(asked.verbose));
    say(out, &report.table());
    let mut good = report.is_good();
    if let Some(file) = &asked.json {
        write(file, &report.json())?;
    }
    if let Some(file) = &asked.expect {
        good &= compare(&report, profile, file, asked.bless, out)?;
    }
    let counts: Vec<String> = report.counts().iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    say(out, &format!("\n{}", counts.join(", ")));
    say(out, &report.closing_line(filtered));
    Ok(good)
}

/// A listed deviation must name a case, or its line says nothing.
fn check_deviations(profile: &Profile, cases: &[Case]) -> Result<(), String> {
    let is_known = |key: &&String| {
        let id = key.split_whitespace().next().unwrap_or_default();
        cases.iter().any(|case| case.front.id == id)
    };
    match profile.deviations.keys().find(|key| !is_known(key)) {
        Some(key) => Err(format!("{}: the deviation `{key}` names no case", profile.name)),
        None => Ok(()),
    }
}

fn start(launch: &Launch, profile: &mut Profile) -> Result<Launched, String> {
    let program = match launch.program.as_str() {
        "gumboot" => env!("CARGO_BIN_EXE_gumboot"),
        other => other,
    };
    let mut schemes = Vec::new();
    schemes.extend(profile.over.tcp.as_ref().map(|_| "tcp"));
    schemes.extend(profile.over.websocket.as_ref().or(profile.over.sockjs.as_ref()).map(|_| "ws"));
    let start = Start {
        program: program.to_owned(),
        arguments: launch.arguments.clone(),
        config: launch.config.clone(),
        schemes,
    };
    let launched = Launched::start(&start).map_err(|error| error.to_string())?;
    let address = |scheme| launched.address(scheme).unwrap_or_default().to_owned();
    if let Some(reach) = &mut profile.over.tcp {
        reach.address = address("tcp");
    }
    for reach in [&mut profile.over.websocket, &mut profile.over.sockjs].into_iter().flatten() {
        reach.address = address("ws");
    }
    Ok(launched)
}

fn write(file: &Path, value: &serde_json::Value) -> Result<(), String> {
    let failed = |wrong: &dyn std::fmt::Display| format!("{}: {wrong}", file.display());
    let text = serde_json::to_string_pretty(value).map_err(|wrong| failed(&wrong))?;
    std::fs::write(file, text + "\n").map_err(|wrong| failed(&wrong))
}

/// Compares with committed verdicts, or replaces them.
fn compare(
    report: &Report<'_>,
    profile: &Profile,
    file: &Path,
    bless: bool,
    out: &mut dyn Write,
) -> Result<bool, String> {
    if bless {
        let page = serde_json::json!({ "broker": profile.name, "verdicts": report.verdicts() });
        write(file, &page)?;
        return Ok(true);
    }
    #[derive(serde::Deserialize)]
    struct Page {
        verdicts: BTreeMap<String, String>,
    }
    let failed = |wrong: &dyn std::fmt::Display| format!("{}: {wrong}", file.display());
    let text = std::fs::read_to_string(file).map_err(|wrong| failed(&wrong))?;
    let page: Page = serde_json::from_str(&text).map_err(|wrong| failed(&wrong))?;
    let differences = report.differences(&page.verdicts);
    if !differences.is_empty() {
        say(out, &format!("\nverdicts that differ from {}:\n  {}", file.display(), differences.join("\n  ")));
    }
    Ok(differences.is_empty())
}
