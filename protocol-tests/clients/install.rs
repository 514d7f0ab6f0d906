//! How a suite's pinned packages come below `target` instead of into the tree.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use thiserror::Error;

use crate::toolchain::{self, Toolchain};

#[derive(Debug, Error)]
pub(crate) enum InstallError {
    /// The runtime is not here: whoever runs the tests decides what that means.
    #[error("no `{tool}` on this machine: {advice}")]
    Missing { tool: &'static str, advice: &'static str },
    #[error("{program} in {folder} failed; it said:\n{said}")]
    Install { program: String, folder: PathBuf, said: String },
    #[error("{path}: {cause}")]
    Copy { path: PathBuf, cause: io::Error },
}

/// The program that all this is for.
pub(crate) const BROKER: &str = env!("CARGO_BIN_EXE_gumboot");

/// The repository.
pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the copies lie, as their folders lie in the repository.
pub(crate) fn copies() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients")
}

/// The folders that were installed by this run.
static DONE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

impl Toolchain {
    /// Copies a suite's folder below `target` and installs its packages there, unless this run has done so; answers with
    /// the copy. One at a time, because suites share folders, and installers what they have downloaded.
    pub(crate) fn install(&self, folder: &Path) -> Result<PathBuf, InstallError> {
        let missing = self.tools.iter().find(|tool| !toolchain::is_there(tool));
        if let Some(tool) = missing {
            return Err(InstallError::Missing { tool, advice: self.advice });
        }
        let copy = copies().join(folder.strip_prefix(top()).unwrap_or(folder));
        let mut done = DONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !done.contains(&copy) {
            self.install_anew(folder, &copy)?;
            done.insert(copy.clone());
        }
        Ok(copy)
    }

    fn install_anew(&self, folder: &Path, copy: &Path) -> Result<(), InstallError> {
        let stamp = copy.join("installed");
        copy_files(folder, copy)?;
        let lock = self.lock.and_then(|lock| std::fs::read(copy.join(lock)).ok());
        if lock.is_some() && lock == std::fs::read(&stamp).ok() {
            return Ok(());
        }
        (self.install)(copy)?;
        std::fs::write(&stamp, lock.unwrap_or_default()).map_err(|cause| InstallError::Copy { path: stamp, cause })
    }

    /// What the program needs in its environment to find the packages of a suite installed in `folder`.
    pub(crate) fn environment(&self, folder: &Path) -> Option<(&'static str, OsString)> {
        let absolute = |packages: &str| packages.split(':').map(|path| folder.join(path)).collect::<Vec<_>>();
        let join = |packages| std::env::join_paths(absolute(packages)).unwrap_or_default();
        self.packages.map(|(variable, packages)| (variable, join(packages)))
    }
}

/// Without the packages that others call optional: they are for speed, and some are compiled.
pub(crate) fn npm_ci(folder: &Path) -> Result<(), InstallError> {
    let options = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"];
    run(Command::new("npm").arg("ci").args(options), folder)
}

/// With the pip of a virtual environment, or where Python came without the means for one, with the machine's.
pub(crate) fn pip_install(folder: &Path) -> Result<(), InstallError> {
    let own = run(Command::new("python3").args(["-m", "venv", "venv"]), folder);
    let python = if own.is_ok() { folder.join("venv/bin/python") } else { PathBuf::from("python3") };
    let options = ["--quiet", "--disable-pip-version-check", "--no-cache-dir", "--only-binary=:all:", "--upgrade"];
    let what = ["--target=packages", "--require-hashes", "--requirement=requirements.txt"];
    run(Command::new(python).args(["-m", "pip", "install"]).args(options).args(what), folder)
}

/// Compiles the application in the folder and puts its libraries beside it; then the suites that run it from within, which
/// are no part of it. Maven is asked to do without the network first, which is enough for all but the first run on a
/// machine.
pub(crate) fn maven(folder: &Path) -> Result<(), InstallError> {
    let build = |more: &[&str]| {
        let goals = ["--quiet", "--batch-mode", "compile", "dependency:copy-dependencies"];
        let options = ["-DincludeScope=runtime", "-DoutputDirectory=target/lib"];
        run(Command::new("mvn").args(goals).args(options).args(more), folder)
    };
    build(&["--offline"]).or_else(|_| build(&[]))?;
    let suites = top().join("protocol-tests/clients/spring");
    let failed = |cause| InstallError::Copy { path: suites.clone(), cause };
    let files = std::fs::read_dir(&suites).map_err(failed)?;
    let paths = files.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let options = ["-parameters", "-d", "target/suite", "-cp", "target/classes:target/lib/*"];
    run(Command::new("javac").args(options).args(paths), folder)
}

/// Compiles the suite, which puts its modules where the compiler keeps them; with the compiler that is here.
pub(crate) fn go_build(folder: &Path) -> Result<(), InstallError> {
    run(Command::new("go").args(["vet", "."]).env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=readonly"), folder)
}

/// There is nothing to install, but it must be there.
pub(crate) fn ruby_stomp(folder: &Path) -> Result<(), InstallError> {
    let missing = |_| InstallError::Missing { tool: "ruby-stomp", advice: toolchain::RUBY.advice };
    run(Command::new("ruby").args(["-e", "require 'stomp'"]), folder).map_err(missing)
}

fn run(command: &mut Command, folder: &Path) -> Result<(), InstallError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |said| InstallError::Install { program, folder: folder.to_owned(), said };
    match command.current_dir(folder).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())),
        Err(cause) => Err(failed(cause.to_string())),
    }
}

/// What packages that were installed by hand lie in.
const BY_HAND: [&str; 4] = ["node_modules", "packages", "target", "venv"];

/// A folder and what is in it, but for packages that were installed by hand.
fn copy_files(from: &Path, to: &Path) -> Result<(), InstallError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| InstallError::Copy { path, cause }
    };
    std::fs::create_dir_all(to).map_err(failed(to))?;
    for entry in std::fs::read_dir(from).map_err(failed(from))? {
        let entry = entry.map_err(failed(from))?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_file() {
            std::fs::copy(&path, &copy).map_err(failed(&path))?;
        } else if !BY_HAND.iter().any(|name| entry.file_name() == *name) {
            copy_files(&path, &copy)?;
        }
    }
    Ok(())
}
