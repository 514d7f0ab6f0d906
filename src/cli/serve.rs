//! `gumboot serve`: the broker.

use std::io::{self, Write};

use clap::Args;
use gumboot::server::{self, Server};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

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
        let mut options = loaded.options.server;
        fit_connections(&mut options);
        serve(options)
    }
}

/// Files that a broker has open besides its connections, with room to spare.
const OTHER_FILES: usize = 64;

/// Raises the open-file limit as far as the system lets us, and lowers the limit of connections to what that allows: a
/// client beyond it is then refused with a reason, instead of hanging because it cannot be accepted.
fn fit_connections(options: &mut server::Options) {
    let files = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => usize::try_from(files).unwrap_or(usize::MAX),
        Err(error) => return warn!(%error, "cannot raise the open-file limit"),
    };
    let possible = files.saturating_sub(OTHER_FILES).max(1);
    if options.connections > possible {
        info!(
            "the open-file limit of {files} allows {possible} connections at a time, \
             less than limits.connections = {}",
            options.connections
        );
        options.connections = possible;
    }
}

/// Serves until SIGTERM or SIGINT, then drains. A second signal ends the draining.
fn serve(options: server::Options) -> Result<(), Failure> {
    // Signals are caught before anybody can connect, so that there is no moment at which one cuts off clients.
    let runtime = Builder::new_current_thread().enable_io().build().map_err(Failure::Signals)?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::catch().map_err(Failure::Signals)?
    };
    let path = options.http.path.clone();
    let server = Server::start(options)?;
    if let Err(error) = announce(&server, &path) {
        // Nobody reads it, which is no reason not to serve.
        info!(%error, "cannot write to standard output");
    }
    runtime.block_on(async {
        let name = tokio::select! {
            name = signals.next() => name,
            () = server.failed() => return Err(Failure::Worker),
        };
        info!("{name}: draining; a second signal ends it at once");
        let drained = tokio::task::spawn_blocking(move || server.shut_down());
        tokio::select! {
            _ = drained => info!("stopped"),
            name = signals.next() => info!("{name}: stopped without waiting"),
        }
        Ok(())
    })?;
    runtime.shutdown_background();
    Ok(())
}

/// Says where clients find the broker, and how to try it from another terminal. On standard output, whatever is logged:
/// whoever starts a broker by hand or from a script wants to know.
fn announce(server: &Server, path: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for address in server.websocket_addresses() {
        writeln!(out, "listening on ws://{address}{path}")?;
    }
    for address in server.tcp_addresses() {
        writeln!(out, "listening on tcp://{address}")?;
    }
    for address in server.admin_addresses() {
        writeln!(out, "health and metrics on http://{address}/health and http://{address}/metrics")?;
    }
    if let Some(address) = server.tcp_addresses().first() {
        writeln!(out, r"to try it: printf 'CONNECT\n\n\0' | nc {} {}", address.ip(), address.port())?;
    }
    out.flush()
}

/// The signals that ask for an orderly end.
#[derive(Debug)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn catch() -> io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
