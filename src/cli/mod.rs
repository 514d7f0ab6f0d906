//! The command line: one subcommand a file.
//!
//! Exit codes: 0, all is well; 1, it could not be done, or damage was found; 2, the command line or the configuration is wrong.

mod check;
mod config;
mod serve;
mod store;
mod version;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gumboot::config::{Errors, Loaded, Source, Sources};

/// Serves STOMP over WebSocket and TCP.
#[derive(Debug, Parser)]
#[command(name = "gumboot", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Check(check::Arguments),
    Config(config::Arguments),
    Store(store::Arguments),
    Version(version::Arguments),
}

/// Does what the command line of this process says.
pub(crate) fn run() -> ExitCode {
    let CommandLine { command, serve } = CommandLine::parse();
    let outcome = match command {
        None => serve.run(),
        Some(Command::Serve(arguments)) => arguments.run(),
        Some(Command::Check(arguments)) => arguments.run(),
        Some(Command::Config(arguments)) => arguments.run(),
        Some(Command::Store(arguments)) => arguments.run(),
        Some(Command::Version(arguments)) => arguments.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where even this stream is closed there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "{failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Why a subcommand did not do what it should.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("error: cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{errors}\ngumboot: {}", count(errors.len()))]
    Misconfigured { errors: Errors },
    #[error("error: cannot write: {0}")]
    Output(#[from] std::io::Error),
    #[error("error: {0}")]
    Start(#[from] gumboot::server::StartError),
    #[error("error: cannot wait for signals: {0}")]
    Signals(std::io::Error),
    #[error("error: a worker failed; please report what it said")]
    Worker,
    #[error("error: {0}")]
    Open(#[from] gumboot::store::OpenError),
    #[error("error: {0}")]
    Read(#[from] gumboot::store::StoreError),
    #[error("error: {0}")]
    Transfer(#[from] gumboot::store::TransferError),
    #[error("error: {}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error("error: {} exists and is not written over: choose another name, or remove it", path.display())]
    Present { path: PathBuf },
    #[error("error: another process is writing {}: wait for it, or choose another name", path.display())]
    Writing { path: PathBuf },
    #[error("error: an export is not for a terminal: use --out FILE, or send standard output to a file or a program")]
    Terminal,
    #[error(
        "error: the store {} is damaged: {count} things in it cannot be read. Nothing was deleted. Keep it as it is, and \
         restore a copy of it, or start with an empty one in another directory",
        path.display()
    )]
    Damaged { count: u64, path: PathBuf },
    #[error("error: {0}")]
    Log(#[from] tracing_subscriber::util::TryInitError),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Failure::Unreadable { .. } | Failure::Misconfigured { .. } | Failure::Terminal => 2,
            Failure::Output(_) | Failure::Start(_) | Failure::Signals(_) | Failure::Worker | Failure::Log(_) => 1,
            Failure::Open(_) | Failure::Read(_) | Failure::Transfer(_) | Failure::Damaged { .. } => 1,
            Failure::File { .. } | Failure::Present { .. } | Failure::Writing { .. } => 1,
        }
    }
}

fn count(errors: usize) -> String {
    match errors {
        1 => "1 error in the configuration".to_owned(),
        more => format!("{more} errors in the configuration"),
    }
}

/// Options of every subcommand that needs the configuration.
#[derive(Debug, Args)]
struct Configuration {
    /// The configuration file; else the one that GUMBOOT_CONFIG names, else ./config.toml if there is one
    #[arg(long = "config", value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
}

/// Options that change single values of the configuration.
#[derive(Debug, Args)]
struct Changes {
    /// Sets one value over the file's and the environment's, such as --set limits.body_bytes="1 MiB"
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    arguments: Vec<String>,
}

impl Configuration {
    fn load(self) -> Result<(Found, Loaded), Failure> {
        self.changes.load(self.file)
    }
}

impl Changes {
    fn load(self, file: Option<PathBuf>) -> Result<(Found, Loaded), Failure> {
        let found = Found::search(file);
        let file = match &found {
            Found::Nothing => None,
            Found::Chosen(path) | Found::Usual(path) => {
                Some(Source::read(path).map_err(|error| Failure::Unreadable { path: path.clone(), error })?)
            }
        };
        let sources = Sources { file, environment: std::env::vars_os().collect(), arguments: self.arguments };
        let loaded = gumboot::config::load(sources).map_err(|errors| Failure::Misconfigured { errors })?;
        Ok((found, loaded))
    }
}

/// Which file the configuration was read from.
#[derive(Debug)]
enum Found {
    /// The one that was asked for.
    Chosen(PathBuf),
    /// The one that lies where we were started.
    Usual(PathBuf),
    /// None: the defaults hold.
    Nothing,
}

impl Found {
    fn search(asked: Option<PathBuf>) -> Found {
        let named = || std::env::var_os("GUMBOOT_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from);
        match asked.or_else(named) {
            Some(path) => Found::Chosen(path),
            None if Path::new("config.toml").exists() => Found::Usual(PathBuf::from("config.toml")),
            None => Found::Nothing,
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Found::Chosen(path) | Found::Usual(path) => path.display().fmt(f),
            Found::Nothing => f.write_str("defaults"),
        }
    }
}
