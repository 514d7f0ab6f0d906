//! What clients are written for, and how their pinned packages come below `target` instead of into the tree.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

/// A runtime and how a suite's packages are installed for it.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// What runs a suite's script.
    pub(crate) program: &'static str,
    /// All that must be on the machine, the program included; each answers to `--version`.
    tools: &'static [&'static str],
    /// How a machine gets them.
    advice: &'static str,
    /// The file that pins the packages. As long as it stays the same, so do they. None: they are built anew each time,
    /// because the suite itself is compiled with them.
    lock: Option<&'static str>,
    /// Installs the packages in a folder that holds the suite.
    install: fn(&Path) -> Result<(), InstallError>,
    /// Tells the program, if it does not look there by itself, where in that folder they are.
    packages: Option<(&'static str, &'static str)>,
}

pub(crate) static NODE: Toolchain = Toolchain {
    program: "node",
    tools: &["node", "npm"],
    advice: "install Node.js 18 or later",
    lock: Some("package-lock.json"),
    install: npm_ci,
    packages: None,
};

/// Node.js drives the browser, and shares the packages with [`NODE`].
pub(crate) static CHROMIUM: Toolchain = Toolchain {
    program: "node",
    tools: &["node", "npm", "chromium"],
    advice: "install Node.js 18 or later, and Chromium",
    lock: Some("package-lock.json"),
    install: npm_ci,
    packages: None,
};

pub(crate) static PYTHON: Toolchain = Toolchain {
    program: "python3",
    tools: &["python3"],
    advice: "install Python 3.9 or later, with venv or pip",
    lock: Some("requirements.txt"),
    install: pip_install,
    packages: Some(("PYTHONPATH", "packages")),
};

pub(crate) static JAVA: Toolchain = Toolchain {
    program: "java",
    tools: &["java", "javac", "mvn"],
    advice: "install Maven and a JDK, 17 or later",
    lock: None,
    install: maven,
    // The second half is found from the folder, in which the suite runs.
    packages: Some(("CLASSPATH", "target/classes:target/lib/*")),
};

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

impl Toolchain {
    /// Copies a suite's folder below `target` and installs its packages there; answers with the copy.
    pub(crate) fn install(&self, folder: &Path) -> Result<PathBuf, InstallError> {
        let missing = self.tools.iter().find(|tool| !is_there(tool));
        if let Some(tool) = missing {
            return Err(InstallError::Missing { tool, advice: self.advice });
        }
        let name = folder.file_name().unwrap_or_default();
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name);
        let stamp = copy.join("installed");
        copy_files(folder, &copy)?;
        let lock = self.lock.and_then(|lock| std::fs::read(copy.join(lock)).ok());
        if lock.is_some() && lock == std::fs::read(&stamp).ok() {
            return Ok(copy);
        }
        (self.install)(&copy)?;
        std::fs::write(&stamp, lock.unwrap_or_default()).map_err(|cause| InstallError::Copy { path: stamp, cause })?;
        Ok(copy)
    }

    /// What the program needs in its environment to find the packages of a suite installed in `folder`.
    pub(crate) fn environment(&self, folder: &Path) -> Option<(&'static str, OsString)> {
        self.packages.map(|(variable, packages)| (variable, folder.join(packages).into_os_string()))
    }
}

fn is_there(tool: &str) -> bool {
    let answer = Command::new(tool).arg("--version").stdin(Stdio::null()).output();
    answer.is_ok_and(|output| output.status.success())
}

/// Without the packages that others call optional: they are for speed, and some are compiled.
fn npm_ci(folder: &Path) -> Result<(), InstallError> {
    let options = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"];
    run(Command::new("npm").arg("ci").args(options), folder)
}

/// With the pip of a virtual environment, or where Python came without the means for one, with the machine's.
fn pip_install(folder: &Path) -> Result<(), InstallError> {
    let own = run(Command::new("python3").args(["-m", "venv", "venv"]), folder);
    let python = if own.is_ok() { folder.join("venv/bin/python") } else { PathBuf::from("python3") };
    let options = ["--quiet", "--disable-pip-version-check", "--no-cache-dir", "--only-binary=:all:", "--upgrade"];
    let what = ["--target=packages", "--require-hashes", "--requirement=requirements.txt"];
    run(Command::new(python).args(["-m", "pip", "install"]).args(options).args(what), folder)
}

/// Compiles the suite and puts its libraries beside it. Maven is asked to do without the network first, which is enough for
/// all but the first run on a machine.
fn maven(folder: &Path) -> Result<(), InstallError> {
    let build = |more: &[&str]| {
        let goals = ["--quiet", "--batch-mode", "compile", "dependency:copy-dependencies"];
        let options = ["-DincludeScope=runtime", "-DoutputDirectory=target/lib"];
        run(Command::new("mvn").args(goals).args(options).args(more), folder)
    };
    build(&["--offline"]).or_else(|_| build(&[]))
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
