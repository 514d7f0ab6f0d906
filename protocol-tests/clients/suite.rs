//! One suite: its client installed, its broker started, its lines read.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::launcher::{LaunchError, Launched, Start};
use crate::table::{Table, Verdict};
use crate::toolchain::{InstallError, Toolchain};

/// A script and how to run it.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) toolchain: &'static Toolchain,
    /// Where it lies, with the file that pins its packages.
    pub(crate) folder: PathBuf,
    pub(crate) script: &'static str,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The configuration of its broker, as a path from the top of the repository.
    pub(crate) config: Option<&'static str>,
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
    #[error("the script: {0}")]
    Script(#[from] std::io::Error),
    #[error("not done after {seconds} s; the broker said:\n{log}")]
    Late { seconds: u64, log: String },
    #[error("ended with {status}; it said:\n{said}")]
    Failed { status: ExitStatus, said: String },
}

/// No suite takes this long on a machine however busy, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the broker is told beside its ports: heart-beats often enough to see some, and no port that others may have.
const SETTINGS: &[&str] = &["heart_beat.send=300ms", "heart_beat.receive=300ms", "admin.enabled=false"];

/// Runs a suite and enters what came of it. An error of any kind is a failure with its text.
pub(crate) fn run(suite: &Suite, table: &mut Table) {
    let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    match attempt(suite, table) {
        Ok(()) => {}
        Err(SuiteError::Install(error @ InstallError::Missing { .. })) if !is_ci => {
            crate::say(&format!("SKIPPED, NOT TESTED: {}: {error}", suite.name));
            table.enter(&suite.name, "run", Verdict::Skipped);
        }
        Err(error) => table.enter(&suite.name, "run", Verdict::Failed(error.to_string())),
    }
}

fn attempt(suite: &Suite, table: &mut Table) -> Result<(), SuiteError> {
    let folder = suite.toolchain.install(&suite.folder)?;
    let mut broker = start(suite, "127.0.0.1:0", "127.0.0.1:0")?;
    let websocket = broker.address("ws").ok_or(SuiteError::Address("ws"))?.to_owned();
    let tcp = broker.address("tcp").ok_or(SuiteError::Address("tcp"))?.to_owned();
    let mut script = spawn(suite, &folder, &websocket, port_of(&tcp))?;
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
        (true, true) => table.enter(&suite.name, "run", Verdict::Passed),
        // The failures of a suite are in the table already, unless it did not come to say any.
        (false, false) if said.contains("failed ") => {}
        (false, _) => return Err(SuiteError::Failed { status, said }),
        (true, false) => {}
    }
    Ok(())
}

/// A broker on these addresses, which serves when this returns.
fn start(suite: &Suite, websocket: &str, tcp: &str) -> Result<Launched, LaunchError> {
    let mut arguments = vec!["serve".to_owned()];
    if let Some(config) = suite.config {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(config);
        arguments.extend(["--config".to_owned(), path.display().to_string()]);
    }
    let binds = [format!("websocket.bind={websocket}"), format!("tcp.bind={tcp}")];
    for setting in binds.into_iter().chain(SETTINGS.iter().map(|setting| (*setting).to_owned())) {
        arguments.extend(["--set".to_owned(), setting]);
    }
    let program = env!("CARGO_BIN_EXE_gumboot").to_owned();
    Launched::start(&Start { program, arguments, config: String::new(), schemes: vec!["ws", "tcp"] })
}

/// `127.0.0.1:1234` of `ws://127.0.0.1:1234/ws`.
fn port_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(authority, _)| authority)
}

fn spawn(suite: &Suite, folder: &Path, url: &str, tcp: &str) -> std::io::Result<Child> {
    Command::new(suite.toolchain.program)
        .arg(suite.script)
        .current_dir(folder)
        .env("STOMP_URL", url)
        .env("STOMP_TCP", tcp)
        .envs(suite.toolchain.environment(folder))
        .envs(suite.environment.iter().map(|(name, value)| (*name, value.as_str())))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
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
