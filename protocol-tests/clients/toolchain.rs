//! What clients are written for: the runtimes, and what each needs on the machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::install::{self, InstallError};

/// A runtime and how a suite's packages are installed for it.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// What runs a suite's script.
    pub(crate) program: &'static str,
    /// What stands before the script's name.
    pub(crate) before: &'static [&'static str],
    /// All that must be on the machine, the program included.
    pub(crate) tools: &'static [&'static str],
    /// How a machine gets them.
    pub(crate) advice: &'static str,
    /// The file that pins the packages. As long as it stays the same, so do they. None: they are built anew each time,
    /// because the suite itself is compiled with them.
    pub(crate) lock: Option<&'static str>,
    /// Installs the packages in a folder that holds the suite.
    pub(crate) install: fn(&Path) -> Result<(), InstallError>,
    /// Tells the program, if it does not look there by itself, where they are; paths begin in the suite's folder.
    pub(crate) packages: Option<(&'static str, &'static str)>,
}

pub(crate) static NODE: Toolchain = Toolchain {
    program: "node",
    before: &[],
    tools: &["node", "npm"],
    advice: "install Node.js 18 or later",
    lock: Some("package-lock.json"),
    install: install::npm_ci,
    packages: None,
};

/// Node.js drives the browser, and shares the packages with [`NODE`].
pub(crate) static CHROMIUM: Toolchain =
    Toolchain { tools: &["node", "npm", "chromium"], advice: "install Node.js 18 or later, and Chromium", ..NODE };

/// Node.js starts the proxy, and shares the packages with [`NODE`].
pub(crate) static NGINX: Toolchain = Toolchain {
    tools: &["node", "npm", "nginx", "openssl"],
    advice: "install Node.js 18 or later, nginx, and OpenSSL",
    ..NODE
};

/// As [`NGINX`].
pub(crate) static HAPROXY: Toolchain = Toolchain {
    tools: &["node", "npm", "haproxy", "openssl"],
    advice: "install Node.js 18 or later, HAProxy, and OpenSSL",
    ..NODE
};

pub(crate) static PYTHON: Toolchain = Toolchain {
    program: "python3",
    before: &[],
    tools: &["python3"],
    advice: "install Python 3.9 or later, with venv or pip",
    lock: Some("requirements.txt"),
    install: install::pip_install,
    packages: Some(("PYTHONPATH", "packages")),
};

pub(crate) static JAVA: Toolchain = Toolchain {
    program: "java",
    before: &[],
    tools: &["java", "javac", "mvn"],
    advice: "install Maven and a JDK, 17 or later",
    lock: None,
    install: install::maven,
    packages: Some(("CLASSPATH", "target/suite:target/classes:target/lib/*")),
};

pub(crate) static GO: Toolchain = Toolchain {
    program: "go",
    before: &["run"],
    tools: &["go"],
    advice: "install Go 1.19 or later",
    lock: None,
    install: install::go_build,
    packages: None,
};

/// Debian pins the library: there is no other place that it could come from.
pub(crate) static RUBY: Toolchain = Toolchain {
    program: "ruby",
    before: &[],
    tools: &["ruby"],
    advice: "install Ruby and its library stomp, which Debian calls ruby-stomp",
    lock: None,
    install: install::ruby_stomp,
    packages: None,
};

/// Where distributions put servers, which is not where everybody's programs are looked for.
const MORE_PLACES: &str = "/usr/local/sbin:/usr/sbin";

/// The `PATH` of everything that runs here.
pub(crate) fn path() -> String {
    std::env::var("PATH").map_or(MORE_PLACES.to_owned(), |path| format!("{path}:{MORE_PLACES}"))
}

/// What is known of tools already.
static KNOWN: Mutex<BTreeMap<&str, bool>> = Mutex::new(BTreeMap::new());

/// Whether a tool answers to any of the ways in which tools are asked for their version.
pub(crate) fn is_there(tool: &'static str) -> bool {
    let mut known = KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    *known.entry(tool).or_insert_with(|| ["--version", "version", "-v"].iter().any(|question| answers(tool, question)))
}

fn answers(tool: &str, question: &str) -> bool {
    let answer = Command::new(tool).arg(question).env("PATH", path()).stdin(Stdio::null()).output();
    answer.is_ok_and(|output| output.status.success())
}
