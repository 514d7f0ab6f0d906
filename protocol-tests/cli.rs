//! The command line of the suite.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::coverage;
use crate::harness::{self, Harness, Opening, Scope};
use crate::launcher::Launched;
use crate::profile::{Launch, Profile};
use crate::report::Report;
use crate::suite::{self, Options};
use crate::transcript::{self, Case};

const HELP: &str = "\
usage: cargo test --test protocol -- [OPTIONS] [FILTER]...

FILTER                keep the tests whose name contains one of these
--broker FILE         the broker's profile (default: every brokers/ours*.toml, the broker built here)
--over NAME           only this way of reaching it: memory, tcp, websocket, sockjs
--cases DIR           other cases than the suite's own
-j, --test-threads N  tests at the same time (default 16)
--no-replay           hand each frame over as written only
--seed N              the seed of the random cuts (default 1)
--json FILE           with --broker: write everything known about the run
--expect FILE         with --broker: compare the verdicts with these; a difference fails the run
--bless               write the expected verdicts instead of comparing
--list                name the tests
--coverage            print what COVERAGE.md must say
-v, --verbose         every test, and the transcripts of known deviations
";

/// What the command line asks for.
#[derive(Debug)]
struct Asked {
    filters: Vec<String>,
    broker: Option<PathBuf>,
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
        broker: None,
        over: None,
        cases: home.join("cases"),
        options: Options { jobs: 16, replay: true, seed: 1 },
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
            "--broker" => asked.broker = Some(value()?.into()),
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
    check_options(&asked)?;
    Ok(asked)
}

fn check_options(asked: &Asked) -> Result<(), String> {
    if asked.broker.is_none() && (asked.json.is_some() || asked.expect.is_some()) {
        return Err("--json and --expect speak of one broker: name its profile with --broker".to_owned());
    }
    if asked.bless && (asked.over.is_some() || !asked.filters.is_empty()) {
        return Err("--bless writes the verdicts of all tests: leave out --over and names".to_owned());
    }
    if asked.bless && asked.broker.is_some() && asked.expect.is_none() {
        return Err("--bless needs --expect FILE".to_owned());
    }
    Ok(())
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
    let mut good = true;
    let mut counts = 0;
    for Subject { profile, expected } in &subjects(asked)? {
        let Some(count) = perform_with(asked, &cases, profile, expected.as_deref(), out)? else { continue };
        counts += 1;
        good &= count;
    }
    if counts == 0 {
        say(out, "no test has such a name");
    }
    Ok(good && counts > 0)
}

/// A profile, and the file of the verdicts that are expected of it.
struct Subject {
    profile: PathBuf,
    expected: Option<PathBuf>,
}

/// The profile asked for, or all of the broker built here.
fn subjects(asked: &Asked) -> Result<Vec<Subject>, String> {
    if let Some(profile) = &asked.broker {
        return Ok(vec![Subject { profile: profile.clone(), expected: asked.expect.clone() }]);
    }
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-tests");
    let folder = home.join("brokers");
    let failed = |wrong: std::io::Error| format!("{}: {wrong}", folder.display());
    let mut subjects = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let profile = entry.map_err(failed)?.path();
        let name = profile.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("ours") {
            let expected = Some(home.join("expected").join(format!("{name}.json")));
            subjects.push(Subject { profile, expected });
        }
    }
    subjects.sort_by(|one, other| one.profile.cmp(&other.profile));
    Ok(subjects)
}

/// Lists or runs the tests of one profile; none if no test is kept.
fn perform_with(
    asked: &Asked,
    cases: &[Case],
    broker: &Path,
    expected: Option<&Path>,
    out: &mut dyn Write,
) -> Result<Option<bool>, String> {
    let mut profile = Profile::load(broker).map_err(|error| error.to_string())?;
    check_profile(&profile, cases)?;
    let harnesses = |profile: &Profile| {
        harness::all(profile, asked.over.as_deref()).map_err(|error| format!("{}: {error}", profile.name))
    };
    let unstarted = harnesses(&profile)?;
    if unstarted.is_empty() {
        return Err(format!("{} has no such way to reach it", profile.name));
    }
    let names: Vec<String> = suite::tests(cases, &unstarted, &profile).iter().map(suite::Test::name).collect();
    if !names.iter().any(|name| keeps(asked, name)) {
        return Ok(None);
    }
    if asked.task == Task::List {
        names.iter().filter(|name| keeps(asked, name)).for_each(|name| say(out, &format!("{name}: test")));
        return Ok(Some(true));
    }
    let is_reached = profile.over.tcp.is_some() || profile.over.websocket.is_some();
    let launched = match profile.launch.clone().filter(|_| is_reached) {
        Some(launch) => Some(start(&launch, &mut profile)?),
        None => None,
    };
    let good = run(asked, cases, &harnesses(&profile)?, &profile, expected, out);
    if let (Some(mut launched), Ok(false) | Err(_)) = (launched, &good) {
        let log = launched.log();
        let state = if launched.is_alive() { "is still running" } else { "has ended" };
        let tail: Vec<&str> = log.lines().rev().take(40).collect();
        say(out, &format!("the broker {state}; the last it said:"));
        tail.into_iter().rev().for_each(|line| say(out, line));
    }
    good.map(Some)
}

fn keeps(asked: &Asked, name: &str) -> bool {
    asked.filters.is_empty() || asked.filters.iter().any(|filter| name.contains(filter))
}

fn run(
    asked: &Asked,
    cases: &[Case],
    harnesses: &[Box<dyn Harness>],
    profile: &Profile,
    expected: Option<&Path>,
    out: &mut dyn Write,
) -> Result<bool, String> {
    for harness in harnesses {
        let reached = harness.world(Scope::Shared).and_then(|mut world| world.connect(&Opening::default()));
        reached.map_err(|error| format!("over {}: {error}", harness.name()))?;
    }
    let mut tests = suite::tests(cases, harnesses, profile);
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
    if let Some(file) = expected {
        good &= compare(&report, profile, file, asked, out)?;
    }
    let counts: Vec<String> = report.counts().iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    say(out, &format!("\n{}", counts.join(", ")));
    say(out, &report.closing_line(filtered));
    Ok(good)
}

/// A listed deviation must name a case, or its line says nothing; so must an ability that the profile is about.
fn check_profile(profile: &Profile, cases: &[Case]) -> Result<(), String> {
    let is_needed = |ability: &&String| cases.iter().any(|case| case.front.needs.contains(ability));
    if let Some(ability) = profile.focus.iter().chain(&profile.elsewhere).find(|ability| !is_needed(ability)) {
        return Err(format!("{}: no case needs the ability `{ability}`", profile.name));
    }
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
    let mut schemes = Vec::new();
    schemes.extend(profile.over.tcp.as_ref().map(|_| "tcp"));
    schemes.extend(profile.over.websocket.as_ref().or(profile.over.sockjs.as_ref()).map(|_| "ws"));
    let launched = Launched::start(&launch.start(schemes)).map_err(|error| error.to_string())?;
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
    asked: &Asked,
    out: &mut dyn Write,
) -> Result<bool, String> {
    if asked.bless {
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
    let differences = report.differences(&page.verdicts, asked.filters.is_empty() && asked.over.is_none());
    if !differences.is_empty() {
        say(out, &format!("\nverdicts that differ from {}:\n  {}", file.display(), differences.join("\n  ")));
    }
    Ok(differences.is_empty())
}
