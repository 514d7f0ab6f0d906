//! One suite: its client installed, its broker started, its lines read.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::install::{self, InstallError};
use crate::launcher::{LaunchError, Launched, Start};
use crate::table::{Table, Verdict, WHOLE};
use crate::toolchain::{self, Toolchain};

/// A script and what runs it.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) toolchain: &'static Toolchain,
    /// Where it lies, with the file that pins its packages.
    pub(crate) folder: PathBuf,
    pub(crate) script: &'static str,
}

/// A program that tries things, and what it needs around it.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// What the broker is told beside [`SETTINGS`].
    pub(crate) settings: Vec<&'static str>,
    /// The broker's file.
    pub(crate) config: Option<PathBuf>,
    /// Programs that run as long as the suite does.
    pub(crate) companions: Vec<Program>,
    /// An example says nothing of features: it is right if it ends well.
    pub(crate) example: bool,
}

#[derive(Debug, Error)]
enum SuiteError {
    #[error(transparent)]
    Broker(#[from] LaunchError),
    #[error("the broker announced no {0} address")]
    Address(&'static str),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error("around the script: {0}")]
    Script(#[from] std::io::Error),
    #[error("not done after {seconds} s; the broker said:\n{log}")]
    Late { seconds: u64, log: String },
    #[error("ended with {status}; it said:\n{said}")]
    Failed { status: ExitStatus, said: String },
}

/// No suite takes this long on a machine however busy, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the broker is told beside its ports: heart-beats often enough to see some, shorter waits, and no port that others
/// may have.
const SETTINGS: &[&str] = &[
    "heart_beat.send=300ms",
    "heart_beat.receive=300ms",
    "queues.redelivery_delay=100ms",
    "sockjs.disconnect_delay=2s",
    "admin.enabled=false",
];

/// Runs a suite; answers with what came of it. An error of any kind is a failure with its text.
pub(crate) fn run(suite: &Suite) -> Table {
    let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let mut table = Table::default();
    match attempt(suite, &mut table) {
        Ok(()) => {}
        Err(SuiteError::Install(error @ InstallError::Missing { .. })) if !is_ci => {
            crate::say(&format!("SKIPPED, NOT TESTED: {}: {error}", suite.name));
            table.enter(&suite.name, WHOLE, Verdict::Skipped);
        }
        Err(error) => table.enter(&suite.name, WHOLE, Verdict::Failed(error.to_string())),
    }
    table
}

fn attempt(suite: &Suite, table: &mut Table) -> Result<(), SuiteError> {
    for program in suite.companions.iter().chain([&suite.program]) {
        program.toolchain.install(&program.folder)?;
    }
    let mut broker = start(suite, "127.0.0.1:0", "127.0.0.1:0")?;
    let websocket = broker.address("ws").ok_or(SuiteError::Address("ws"))?.to_owned();
    let tcp = broker.address("tcp").ok_or(SuiteError::Address("tcp"))?.to_owned();
    let addresses = [("STOMP_URL", websocket.as_str()), ("STOMP_TCP", port_of(&tcp))];
    let mut companions = Vec::new();
    for program in &suite.companions {
        companions.push(Companion(command(program, addresses)?.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?));
    }
    let environment = suite.environment.iter().map(|(name, value)| (*name, value.as_str()));
    let mut command = command(&suite.program, addresses)?;
    let mut script = command.envs(environment).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let lines = read_lines(&mut script);
    let deadline = Instant::now() + PATIENCE;
    let mut said = String::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line == "@restart" => {
                drop(broker);
                broker = start(suite, port_of(&websocket), port_of(&tcp))?;
                if let Some(input) = script.stdin.as_mut() {
                    input.write_all(b"restarted\n")?;
                }
            }
            Ok(line) => {
                if let Some((feature, verdict)) = parse(&line) {
                    table.enter(&suite.name, feature, verdict);
                }
                said.push_str(&line);
                said.push('\n');
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                script.kill()?;
                script.wait()?;
                return Err(SuiteError::Late { seconds: PATIENCE.as_secs(), log: broker.log() });
            }
        }
    }
    let status = script.wait()?;
    match (status.success(), suite.example) {
        (true, true) => table.enter(&suite.name, WHOLE, Verdict::Passed),
        // The failures of a suite are in the table already, unless it did not come to say any.
        (false, false) if said.contains("failed ") => {
            crate::say(&format!("{} failed; its broker said:\n{}", suite.name, broker.log()));
        }
        (false, _) => return Err(SuiteError::Failed { status, said }),
        (true, false) => {}
    }
    Ok(())
}

/// A broker on these addresses, which serves when this returns.
fn start(suite: &Suite, websocket: &str, tcp: &str) -> Result<Launched, SuiteError> {
    let mut arguments = ["serve", "--config", "{config}"].map(str::to_owned).to_vec();
    let binds = [format!("websocket.bind={websocket}"), format!("tcp.bind={tcp}")];
    let settings = SETTINGS.iter().chain(&suite.settings).map(|setting| (*setting).to_owned());
    for setting in binds.into_iter().chain(settings) {
        arguments.extend(["--set".to_owned(), setting]);
    }
    let config = suite.config.as_ref().map(std::fs::read_to_string).transpose()?;
    let program = install::BROKER.to_owned();
    let config = config.unwrap_or_default();
    Ok(Launched::start(&Start { program, arguments, config, schemes: vec!["ws", "tcp"] })?)
}

/// `127.0.0.1:1234` of `ws://127.0.0.1:1234/ws`.
fn port_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(authority, _)| authority)
}

/// A program that stands ready in its folder and knows where the broker is.
fn command(program: &Program, addresses: [(&str, &str); 2]) -> Result<Command, SuiteError> {
    let folder = program.toolchain.install(&program.folder)?;
    let mut command = Command::new(program.toolchain.program);
    command.args(program.toolchain.before).arg(program.script).current_dir(&folder);
    command.envs(addresses).envs(program.toolchain.environment(&folder));
    command.env("PATH", toolchain::path()).env("REPOSITORY", install::top()).env("INSTALLED", install::copies());
    command.env("BROKER", install::BROKER).stderr(Stdio::inherit());
    Ok(command)
}

/// Ends with the suite.
struct Companion(Child);

impl Drop for Companion {
    fn drop(&mut self) {
        // Both fail when it has ended by itself, which the suite will have noticed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines the script says, by a thread, so that waiting for them can end. The thread ends with the script.
fn read_lines(script: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(64);
    if let Some(output) = script.stdout.take() {
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.map(|line| sender.send(line)).all(|sent| sent.is_ok())
        });
    }
    receiver
}

/// `ok FEATURE`, `- FEATURE`, `failed FEATURE: why`.
fn parse(line: &str) -> Option<(&str, Verdict)> {
    let (word, rest) = line.split_once(' ')?;
    match word {
        "ok" => Some((rest, Verdict::Passed)),
        "-" => Some((rest, Verdict::NotThere)),
        "failed" => {
            let (feature, why) = rest.split_once(": ").unwrap_or((rest, ""));
            Some((feature, Verdict::Failed(why.to_owned())))
        }
        _ => None,
    }
}
