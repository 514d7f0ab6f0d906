//! `gumboot store`: what is stored, as a file, from a file, and whether it can be read.

mod export;
mod import;
mod progress;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use gumboot::store::{Engine, Options};

use super::{Configuration, Failure};

/// Exports, imports or checks the store, while no broker uses it
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Export(export::Arguments),
    Import(import::Arguments),
    Verify(verify::Arguments),
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Export(arguments) => arguments.run(),
            Command::Import(arguments) => arguments.run(),
            Command::Verify(arguments) => arguments.run(),
        }
    }
}

/// Which store is meant: the one of the configuration, where nothing else is said.
#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    configuration: Configuration,
    /// The store's directory, instead of store.path
    #[arg(long, value_name = "DIRECTORY")]
    path: Option<PathBuf>,
    /// The store's engine, sled or redb, instead of store.engine
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    engine: Option<Engine>,
}

impl Which {
    fn options(self) -> Result<Options, Failure> {
        let (_, loaded) = self.configuration.load()?;
        let usual = loaded.options.server.store;
        Ok(Options { engine: self.engine.unwrap_or(usual.engine), path: self.path.unwrap_or(usual.path), ..usual })
    }
}

fn engine(name: &str) -> Result<Engine, &'static str> {
    match Engine::parse(name) {
        Some(Engine::Memory) => Err("it keeps nothing on disk; there are sled and redb"),
        Some(engine) => Ok(engine),
        None => Err("there are sled and redb"),
    }
}
