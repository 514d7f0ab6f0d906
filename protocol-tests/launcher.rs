//! Starts a broker for the time of a run, on ports of its own choice.
//!
//! The contract: the program prints a line with the word `listening` and its address (`ws://HOST:PORT/PATH`,
//! `tcp://HOST:PORT`) for each transport once it accepts connections there, on stdout or stderr, and ends on SIGTERM.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// A path, or a name to be looked up in `PATH`.
    pub(crate) program: String,
    /// `{config}` in an argument stands for a file that holds `config`.
    pub(crate) arguments: Vec<String>,
    pub(crate) config: String,
    /// The schemes whose addresses must be announced: `ws`, `tcp`.
    pub(crate) schemes: Vec<&'static str>,
}

/// A running broker; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Launched {
    start: Start,
    child: Child,
    folder: PathBuf,
    log: PathBuf,
    addresses: Vec<(&'static str, String)>,
}

#[derive(Debug, Error)]
pub(crate) enum LaunchError {
    #[error("cannot start {program}: {cause}")]
    Start { program: String, cause: io::Error },
    #[error("the broker ended while starting ({status}); it said:\n{log}")]
    Ended { status: ExitStatus, log: String },
    #[error("the broker did not announce its addresses in time; it said:\n{log}")]
    Silent { log: String },
}

/// A loaded machine may take long to start a program; a working one never waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

impl Launched {
    /// Starts the broker and waits until it listens.
    pub(crate) fn start(start: &Start) -> Result<Launched, LaunchError> {
        let failed = |cause| LaunchError::Start { program: start.program.clone(), cause };
        let folder = scratch().map_err(failed)?;
        let log = folder.join("broker.log");
        let child = spawn(start, &folder, &log).map_err(failed)?;
        let mut launched = Launched { start: start.clone(), child, folder, log, addresses: Vec::new() };
        launched.wait()?;
        Ok(launched)
    }

    /// Kills the broker where it stands, and starts it again in the same folder.
    #[allow(dead_code, reason = "shared by tests of which each uses its own part")]
    pub(crate) fn restart(&mut self) -> Result<(), LaunchError> {
        let failed = |cause| LaunchError::Start { program: self.start.program.clone(), cause };
        self.child.kill().and_then(|()| self.child.wait()).map_err(failed)?;
        self.child = spawn(&self.start, &self.folder, &self.log).map_err(failed)?;
        self.wait()
    }

    /// Waits until it listens.
    fn wait(&mut self) -> Result<(), LaunchError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let found = |scheme: &&'static str| announced(&log, scheme).map(|address| (*scheme, address));
            self.addresses = self.start.schemes.iter().filter_map(found).collect();
            if self.addresses.len() == self.start.schemes.len() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(LaunchError::Ended { status, log: self.log() });
            }
            if Instant::now() > deadline {
                return Err(LaunchError::Silent { log: self.log() });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The announced address of a scheme, scheme included.
    pub(crate) fn address(&self, scheme: &str) -> Option<&str> {
        self.addresses.iter().find(|(known, _)| *known == scheme).map(|(_, address)| address.as_str())
    }

    /// All that the broker has said so far.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the broker is still there.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks the broker to end, and sees to it that it does.
    fn stop(&mut self) {
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while asked.is_ok() && self.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Both fail when the broker has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        self.stop();
        // A folder that cannot be removed is left to the system's own tidying of temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn scratch() -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("stomp-kit-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn spawn(start: &Start, folder: &Path, log: &Path) -> io::Result<Child> {
    let config = folder.join("config.toml");
    std::fs::write(&config, &start.config)?;
    let output = File::create(log)?;
    let config = config.display().to_string();
    Command::new(&start.program)
        .args(start.arguments.iter().map(|argument| argument.replace("{config}", &config)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
}

/// The address of a scheme in the whole lines that say `listening`, whatever stands around it there.
fn announced(log: &str, scheme: &str) -> Option<String> {
    let prefix = format!("{scheme}://");
    let ends = |letter: char| letter.is_whitespace() || letter.is_control() || "\"'`,;)]}".contains(letter);
    log.split_inclusive('\n')
        .filter(|line| line.ends_with('\n') && line.contains("listening"))
        .find_map(|line| line.split_once(&prefix))
        .and_then(|(_, rest)| rest.split(ends).next())
        .map(|address| format!("{prefix}{address}"))
}
