//! Accepting: one thread takes every new socket and hands it to the worker with the fewest connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, watch};

use super::refuse::{Refusal, Refuser};
use super::thread::{Arrival, Entrance, Speaks, run_local};
use super::{Options, Stage, is_loopback};
use crate::admin::Admin;
use crate::transport::tcp;
use crate::websocket::origin::Listener;
use crate::worker::Counters;

/// How long to wait after the system refused a socket, which it does for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

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
    admin_permits: Arc<Semaphore>,
    limits: Limits,
    refuser: Refuser,
    keepalive: Option<Duration>,
}

/// How many connections there may be.
struct Limits {
    open: usize,
    /// On their way to one worker.
    new: usize,
    admin: usize,
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
        let limits =
            Limits { open: options.connections, new: options.new_connections, admin: options.admin_connections };
        let permits = |limit: usize| Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Acceptor {
            entrances,
            counters,
            admin,
            permits: permits(limits.open),
            admin_permits: permits(limits.admin),
            limits,
            refuser: Refuser::new(),
            keepalive: options.keepalive,
        }
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
                        Purpose::Admin => {
                            self.answer(stream, peer);
                            Ok(())
                        }
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
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let refusal = Refusal::TooMany { limit: self.limits.open, key: "limits.connections" };
            self.refuser.refuse(stream, peer, speaks, refusal, self.counters.first());
            return Ok(());
        };
        let stream = stream.into_std()?;
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
        let refusal = Refusal::Busy { limit: self.limits.new };
        let stream = tokio::net::TcpStream::from_std(arrival.stream)?;
        self.refuser.refuse(stream, peer, speaks, refusal, self.counters.first());
        Ok(())
    }

    /// Serves an admin connection on this thread, whose only other work is accepting.
    fn answer(&self, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let Ok(permit) = Arc::clone(&self.admin_permits).try_acquire_owned() else {
            let refusal = Refusal::TooMany { limit: self.limits.admin, key: "admin.connections" };
            let speaks = Speaks::Http(Listener { loopback: true, tls: false });
            return self.refuser.refuse(stream, peer, speaks, refusal, self.counters.first());
        };
        let admin = self.admin.clone();
        tokio::task::spawn_local(async move {
            admin.serve(stream, peer).await;
            drop(permit);
        });
    }

    /// Connections of a worker, those on their way to it included.
    fn load(&self, index: usize) -> u64 {
        let open = self.counters.get(index).map_or(0, |counters| counters.connections.read());
        let waiting = self.entrances.get(index).map_or(0, |entrance| entrance.max_capacity() - entrance.capacity());
        open + waiting as u64
    }
}
