//! Turning a new connection away, with the reason.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::thread::Speaks;
use crate::sockjs::farewell;
use crate::transport::http;
use crate::worker::Counters;

/// Refused connections that are still listened to. Beyond that number they are closed at once.
const LINGERING: usize = 256;

/// For how long, and for how many bytes, a refused connection is listened to.
const PATIENCE: Duration = Duration::from_secs(1);
const HEARD_BYTES: u64 = 64 * 1024;

/// Why a connection is not taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// There are as many as there may be.
    #[error("The broker has reached its limit of {limit} connections ({key}). Try again later.")]
    TooMany { limit: usize, key: &'static str },
    /// Connections come faster than they can be taken on.
    #[error(
        "Each worker of the broker has its limit of {limit} new connections waiting (limits.new_connections). Try \
         again later."
    )]
    Busy { limit: usize },
}

impl Refusal {
    /// Stable and kebab-case.
    fn code(self) -> &'static str {
        match self {
            Refusal::TooMany { .. } => "too-many-connections",
            Refusal::Busy { .. } => "too-many-new-connections",
        }
    }

    /// The whole answer.
    fn answer(self, speaks: Speaks) -> Vec<u8> {
        match speaks {
            Speaks::Http(_) => http::unavailable(&format!("{self}\n")),
            Speaks::Stomp => {
                let (code, message) = (self.code(), self.code().replace('-', " "));
                format!("ERROR\nmessage:{message}\ncode:{code}\ncontent-type:text/plain\n\n{self}\n\0").into_bytes()
            }
        }
    }
}

/// Turns connections away.
#[derive(Clone, Debug)]
pub(super) struct Refuser {
    lingering: Arc<Semaphore>,
}

impl Refuser {
    pub(super) fn new() -> Refuser {
        Refuser { lingering: Arc::new(Semaphore::new(LINGERING)) }
    }

    /// Says why to the peer, the log and the metrics, and closes.
    pub(super) fn refuse(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        speaks: Speaks,
        refusal: Refusal,
        counters: Option<&Arc<Counters>>,
    ) {
        let code = refusal.code();
        tracing::warn!(%peer, code, "connection refused: {refusal}");
        if let Some(counters) = counters {
            counters.limit_reached(code);
        }
        let permit = Arc::clone(&self.lingering).try_acquire_owned().ok();
        tokio::task::spawn_local(async move {
            let most = if permit.is_some() { HEARD_BYTES } else { 0 };
            farewell(stream, &refusal.answer(speaks), PATIENCE, most).await;
        });
    }
}
