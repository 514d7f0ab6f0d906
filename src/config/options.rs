//! The options as used: what the modules take, checked and complete.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::{broker, log, session, stomp, websocket};

/// Everything that can be set. [`Default`] is what an empty configuration gives.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The set of defaults that the rest builds on.
    pub profile: Profile,
    /// The process as a whole.
    pub server: Server,
    /// Who may connect.
    pub access: Access,
    /// The WebSocket listener.
    pub websocket: WebSocket,
    /// The TCP listener.
    pub tcp: Tcp,
    /// What one worker keeps for its connections.
    pub worker: Worker,
    /// The sizes of frames.
    pub frames: Frames,
    /// Sessions over WebSocket.
    pub session: session::Options,
    /// Sessions over TCP.
    pub tcp_session: session::Options,
    /// Routing and queues.
    pub broker: broker::Options,
    /// What is logged, and how.
    pub log: log::Options,
}

/// A named set of defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The broker's own.
    #[default]
    Default,
    /// As Spring's SimpleBroker behaves (U8).
    Spring,
}

/// The process as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `server.workers`; zero is one for each core.
    pub workers: usize,
    /// `server.drain_timeout`: how long sessions have to end by themselves once the server was told to stop.
    pub drain_timeout: Duration,
    /// `limits.connections`: how many connections there may be on all listeners.
    pub max_connections: usize,
}

impl Default for Server {
    fn default() -> Server {
        Server { workers: 0, drain_timeout: Duration::from_secs(10), max_connections: 100_000 }
    }
}

/// From where clients may come that do not say who they are (E4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// From this machine. A listener that others can reach is then refused.
    #[default]
    Loopback,
    /// From wherever they reach a listener.
    Anywhere,
}

/// The WebSocket listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// `websocket.enabled`.
    pub enabled: bool,
    /// `websocket.bind`: where it listens.
    pub bind: Vec<SocketAddr>,
    /// `websocket.path`: the path of the handshake's request.
    pub path: String,
    /// `websocket.ping_interval`: after how long without a byte from the client it is pinged (B3); zero is never.
    pub ping_interval: Duration,
    /// `websocket.ping_timeout`: how long the answer to a ping may take.
    pub ping_timeout: Duration,
    /// The protocol.
    pub protocol: websocket::Options,
}

impl Default for WebSocket {
    fn default() -> WebSocket {
        WebSocket {
            enabled: true,
            bind: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 15674))],
            path: "/ws".to_owned(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            protocol: websocket::Options::default(),
        }
    }
}

/// The TCP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// `tcp.enabled`.
    pub enabled: bool,
    /// `tcp.bind`: where it listens.
    pub bind: Vec<SocketAddr>,
    /// `tcp.keepalive`: after how long without a byte the system asks whether the client is there; zero is never.
    pub keepalive: Duration,
}

impl Default for Tcp {
    fn default() -> Tcp {
        Tcp {
            enabled: true,
            bind: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 61613))],
            keepalive: Duration::from_secs(60),
        }
    }
}

/// What one worker keeps for its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// `limits.outbox`: bytes that wait for one connection to take them.
    pub outbox_bytes: usize,
    /// `limits.inbox`: commands of other workers that wait for one worker.
    pub inbox: usize,
}

impl Default for Worker {
    fn default() -> Worker {
        Worker { outbox_bytes: 1024 * 1024, inbox: 16_384 }
    }
}

/// The sizes of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames {
    /// Before CONNECTED.
    pub before_login: stomp::Limits,
    /// From then on.
    pub after_login: stomp::Limits,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames { before_login: stomp::Limits::before_login(), after_login: stomp::Limits::default() }
    }
}
