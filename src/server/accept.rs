//! Accepting: one thread takes every new socket and hands it to the worker with the fewest connections.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, watch};

use super::thread::{Arrival, Entrance, Speaks, run_local};
use super::{Options, Stage, is_loopback};
use crate::admin::Admin;
use crate::transport::{http, tcp};
use crate::websocket::origin::Listener;
use crate::worker::Counters;

/// How long to wait after the system refused a socket, which it does for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Admin connections at a time: a few tools that ask now and then.
const ADMIN_CONNECTIONS: usize = 64;

/// What a client gets over TCP when it is one too many; a WebSocket client gets HTTP 503.
const TOO_MANY: &str = "too-many-connections";

/// The listening sockets.
pub(super) struct Listeners {
    pub(super) websocket: Vec<std::net::TcpListener>,
    pub(super) tcp: Vec<std::net::TcpListener>,
    pub(super) admin: Vec<std::net::TcpListener>,
}

/// Hands sockets out.
pub(super) struct Acceptor {
    entrances: Vec<Entrance>,
    counters: Vec<Arc<Counters>>,
    admin: Admin,
    permits: Arc<Semaphore>,
    limit: usize,
    admin_permits: Arc<Semaphore>,
    keepalive: Option<Duration>,
}

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    WebSocket,
    Tcp,
    Admin,
}

impl Acceptor {
    pub(super) fn new(
        entrances: Vec<Entrance>,
        counters: Vec<Arc<Counters>>,
        admin: Admin,
        options: &Options,
    ) -> Acceptor {
        let limit = options.connections.min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(limit));
        let admin_permits = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
        Acceptor { entrances, counters, admin, permits, limit, admin_permits, keepalive: options.keepalive }
    }

    /// Accepts until the broker goes away.
    pub(super) fn run(self, listeners: Listeners, mut stage: watch::Receiver<Stage>) {
        run_local(async move {
            let acceptor = std::rc::Rc::new(self);
            let websocket = listeners.websocket.into_iter().map(|listener| (listener, Purpose::WebSocket));
            let tcp = listeners.tcp.into_iter().map(|listener| (listener, Purpose::Tcp));
            let admin = listeners.admin.into_iter().map(|listener| (listener, Purpose::Admin));
            for (listener, purpose) in websocket.chain(tcp).chain(admin) {
                let acceptor = std::rc::Rc::clone(&acceptor);
                tokio::task::spawn_local(async move {
                    if let Err(error) = acceptor.accept_from(listener, purpose).await {
                        tracing::error!(%error, "a listener failed");
                    }
                });
            }
            let _ = stage.wait_for(|stage| *stage != Stage::Serving).await;
        });
    }

    async fn accept_from(&self, listener: std::net::TcpListener, purpose: Purpose) -> io::Result<()> {
        let loopback = is_loopback(listener.local_addr()?.ip());
        let listener = TcpListener::from_std(listener)?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let taken = match purpose {
                        Purpose::WebSocket => {
                            self.hand_out(stream, peer, Speaks::Http(Listener { loopback, tls: false }))
                        }
                        Purpose::Tcp => self.hand_out(stream, peer, Speaks::Stomp),
                        Purpose::Admin => self.answer(stream, peer),
                    };
                    if let Err(error) = taken {
                        tracing::debug!(%peer, %error, "a new connection broke");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; the open-file limit may be too low");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn hand_out(&self, stream: tokio::net::TcpStream, peer: SocketAddr, speaks: Speaks) -> io::Result<()> {
        let stream = stream.into_std()?;
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            tracing::warn!(%peer, limit = self.limit, key = "limits.connections", code = TOO_MANY, "connection refused");
            return refuse(stream, speaks, self.limit);
        };
        tcp::prepare(&stream, self.keepalive)?;
        let mut arrival = Arrival { stream, peer, speaks, permit };
        // The least loaded first; the next one where that one's entrance is full.
        let mut order: Vec<usize> = (0..self.entrances.len()).collect();
        order.sort_by_key(|index| self.load(*index));
        for entrance in order.into_iter().filter_map(|index| self.entrances.get(index)) {
            match entrance.try_send(arrival) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(back) | TrySendError::Closed(back)) => arrival = back,
            }
        }
        tracing::warn!(%peer, "connection refused: every worker has too many new connections waiting");
        refuse(arrival.stream, speaks, self.limit)
    }

    /// Serves an admin connection on this thread, whose only other work is accepting.
    fn answer(&self, stream: tokio::net::TcpStream, peer: SocketAddr) -> io::Result<()> {
        let Ok(permit) = Arc::clone(&self.admin_permits).try_acquire_owned() else {
            return refuse(
                stream.into_std()?,
                Speaks::Http(Listener { loopback: true, tls: false }),
                ADMIN_CONNECTIONS,
            );
        };
        let admin = self.admin.clone();
        tokio::task::spawn_local(async move {
            admin.serve(stream, peer).await;
            drop(permit);
        });
        Ok(())
    }

    /// Connections of a worker, those on their way to it included.
    fn load(&self, index: usize) -> u64 {
        let open = self.counters.get(index).map_or(0, |counters| counters.connections.read());
        let waiting = self.entrances.get(index).map_or(0, |entrance| entrance.max_capacity() - entrance.capacity());
        open + waiting as u64
    }
}

/// Says why, as far as the socket takes it at once, and closes.
fn refuse(mut stream: std::net::TcpStream, speaks: Speaks, limit: usize) -> io::Result<()> {
    let answer = match speaks {
        Speaks::Http(_) => http::too_many_connections(limit),
        Speaks::Stomp => format!(
            "ERROR\nmessage:too many connections\ncode:{TOO_MANY}\ncontent-type:text/plain\n\n\
             The broker has reached its limit of {limit} connections (limits.connections). Try again later.\n\0"
        )
        .into_bytes(),
    };
    stream.write_all(&answer)?;
    stream.shutdown(std::net::Shutdown::Write)
}
