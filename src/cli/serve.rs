//! `gumboot serve`: the broker.

use clap::Args;
use tracing::info;

use super::{Configuration, Failure, Found};

/// Serves until it is told to stop; what gumboot does without a subcommand
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (found, loaded) = self.configuration.load()?;
        gumboot::log::start(&loaded.options.log)?;
        match found {
            Found::Chosen(path) => info!("configuration: {}", path.display()),
            Found::Usual(path) => info!("configuration: {}, found in the working directory", path.display()),
            Found::Nothing => info!("configuration: defaults, as there is no ./config.toml"),
        }
        Ok(())
    }
}
