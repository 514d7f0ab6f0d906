//! SockJS: for browsers behind networks that do not let WebSocket through.
//!
//! A SockJS session, here a *conduit*, is a two-way channel of text messages made of ordinary HTTP requests.
//!
//! - [`framing`] is how messages are written on each transport, and [`conduit`] the state of one session: both are pure.
//! - [`pipe`] is the connection between a conduit and its application, which sees a WebSocket connection like any other.
//! - [`Endpoints`] answers HTTP requests. A conduit is a task of the thread that its first request came to; all later
//!   requests find it through the [`Registry`], whatever thread they come to.

mod body;
pub mod conduit;
mod dialect;
mod drive;
mod endpoints;
pub mod framing;
mod host;
mod link;
pub mod pipe;
mod registry;
mod socket;
mod unread;

pub use body::Body;
pub use endpoints::{Answer, Endpoints, Spoken, Upgrade};
pub use host::{Host, Opened, Patience, Release, Tell, TooMuch};
pub use registry::Registry;
pub(crate) use unread::{drain, farewell};

use std::time::Duration;

/// What an operator can choose about SockJS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether SockJS is served, below the path of the WebSocket endpoint. Default: true. Key `sockjs.enabled`.
    pub enabled: bool,
    /// Whether clients may use WebSocket before they try other transports. Default: true. Key `sockjs.websocket`.
    pub websocket: bool,
    /// Whether they may use the draft of WebSocket from 2010, see [`crate::websocket::draft76`]. Default: false. Key
    /// `sockjs.websocket_draft_76`.
    pub websocket_draft_76: bool,
    /// How long a conduit waits for its client's next request. Default: 5 s. Key `sockjs.disconnect_delay`.
    pub disconnect_delay: Duration,
    /// After how much silence a waiting client gets a heart-beat; none: never. Default: 25 s. Key `sockjs.heartbeat`.
    pub heartbeat: Option<Duration>,
    /// After how many bytes a streaming response ends, for the browser to free its memory. Default: 128 KiB. Key
    /// `sockjs.stream_bytes`.
    pub stream_bytes: usize,
    /// How many bytes of messages wait in a conduit between two requests, beyond which they wait in the outbox of its
    /// connection; a larger message still passes, alone. Default: 128 KiB. Key `sockjs.cache_bytes`.
    pub cache_bytes: usize,
    /// Conduits at a time; a request for one more is answered with 503. Default: 10 000. Key `sockjs.max_conduits`.
    pub max_conduits: usize,
    /// Where the page for cross-domain frames gets the client's library from. Default: version 1 from jsDelivr. Key
    /// `sockjs.client_library_url`.
    pub client_library_url: String,
    /// The cookie `JSESSIONID` that clients without one get, for load balancers that keep a client on a node by it; none:
    /// no cookie. Default: none. Key `sockjs.session_cookie`.
    pub session_cookie: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            enabled: true,
            websocket: true,
            websocket_draft_76: false,
            disconnect_delay: Duration::from_secs(5),
            heartbeat: Some(Duration::from_secs(25)),
            stream_bytes: 128 * 1024,
            cache_bytes: 128 * 1024,
            max_conduits: 10_000,
            client_library_url: "https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js".to_owned(),
            session_cookie: None,
        }
    }
}
