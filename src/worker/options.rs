//! What an operator can choose about workers.

use std::sync::Arc;
use std::time::Duration;

use crate::{app, broker, session, stomp, websocket};

/// How workers treat their connections. The defaults are those of the modules, and the ones said at each field.
#[derive(Clone, Debug)]
pub struct Options {
    /// Application destinations.
    pub app: Arc<app::Options>,
    /// Routing and queues.
    pub broker: Arc<broker::Options>,
    /// Sessions over WebSocket.
    pub session: Arc<session::Options>,
    /// Sessions over TCP, where an application may ask to live on after a refusal (X4).
    pub tcp_session: Arc<session::Options>,
    /// Frames before login. Key `limits.frame_before_login`.
    pub limits_before_login: stomp::Limits,
    /// Frames after login. Keys `limits.*`.
    pub limits: stomp::Limits,
    /// WebSocket packets and handshakes. Keys `websocket.*`.
    pub websocket: websocket::Options,
    /// Bytes that may wait for one connection, each counted in full even if others share it. At the limit the
    /// destination's slow-consumer policy acts. A larger message still goes out, alone. A peer that
    /// leaves more than this of answers to its own frames unread is not read either. Default: 1 MiB. Key
    /// `limits.outbox_bytes`.
    pub outbox_bytes: usize,
    /// Bytes that may be kept of input that is not whole, of all connections of all workers together: frames, packets,
    /// what waits because its session does not want input, and bodies of requests of SockJS, which may be half of it. At the
    /// limit the connection ends that kept most for longest. Default: 256 MiB. Key `limits.unfinished_bytes`.
    pub unfinished_bytes: usize,
    /// Batches of posts that may wait for one worker; a worker that cannot post stops reading its publishers. Default:
    /// 128. Key `limits.inbox`.
    pub inbox_batches: usize,
    /// Bytes encoded in one turn before they are written. Default: 256 KiB.
    pub turn_bytes: usize,
    /// After how much silence a WebSocket peer is pinged; none: never. Default: 25 s. Key `websocket.ping_interval`.
    pub ping_interval: Option<Duration>,
    /// How long it may take to answer. Default: 20 s. Key `websocket.ping_timeout`.
    pub ping_timeout: Duration,
    /// How long the last bytes may take to go out, and then the peer to close its side. Default: 5 s. Key
    /// `close_timeout`.
    pub close_timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            app: Arc::default(),
            broker: Arc::default(),
            session: Arc::default(),
            tcp_session: Arc::default(),
            limits_before_login: stomp::Limits::before_login(),
            limits: stomp::Limits::default(),
            websocket: websocket::Options::default(),
            outbox_bytes: 1024 * 1024,
            unfinished_bytes: 256 * 1024 * 1024,
            inbox_batches: 128,
            turn_bytes: 256 * 1024,
            ping_interval: Some(Duration::from_secs(25)),
            ping_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
        }
    }
}
