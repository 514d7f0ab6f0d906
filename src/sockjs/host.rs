//! What a service needs of the program that it is a part of.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::DuplexStream;

/// A conduit's application is to take this connection, on which it is the server of WebSocket, without compression. There are
/// never more of them than there may be connections and conduits.
#[derive(Debug)]
pub struct Opened {
    /// Carries WebSocket packets.
    pub stream: DuplexStream,
    /// From where the first request came.
    pub peer: SocketAddr,
}

/// To be told how many bytes of a client's unfinished input are kept before its application's connection, whenever that
/// changes.
pub type Tell = Box<dyn Fn(usize)>;

/// To be told that so many bytes of a request's body are kept no longer, on whatever thread that is.
pub type Release = Arc<dyn Fn(usize) + Send + Sync>;

/// The program, on the thread of one service.
pub trait Host {
    /// Takes the connection of a new conduit on.
    fn open(&self, opened: Opened) -> Tell;

    /// Asks whether so many more bytes of a request's body may be kept, until [`Host::release`] is told otherwise.
    ///
    /// # Errors
    /// They may not: the bodies of all requests together would be too large.
    fn admit_body(&self, bytes: usize) -> Result<(), TooMuch>;

    /// What is to be told when bytes that were admitted are gone.
    fn release(&self) -> Release;

    /// A request has met a limit, which has this stable code.
    fn limit_reached(&self, code: &'static str);
}

/// Bodies of requests would be too large together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("The bodies of all requests together may have {limit} bytes, half of {key}. Try again later.")]
pub struct TooMuch {
    /// The most that they may be.
    pub limit: usize,
    /// The config key that says so.
    pub key: &'static str,
}

/// How long a service waits for its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a request to come.
    pub request: Duration,
    /// For the last bytes of a connection to go out, and then for the client to close its side.
    pub farewell: Duration,
}

/// Bytes of a body that count for as long as this lives. It goes with them from thread to thread.
pub(super) struct Share {
    release: Release,
    bytes: usize,
}

impl Share {
    pub(super) fn new(host: &dyn Host) -> Share {
        Share { release: host.release(), bytes: 0 }
    }

    /// Keeps more.
    pub(super) fn add(&mut self, bytes: usize, host: &dyn Host) -> Result<(), TooMuch> {
        host.admit_body(bytes)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        (self.release)(self.bytes);
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Share({})", self.bytes)
    }
}
