//! One worker: a thread with its connections, their sessions and one shard of the broker.
//!
//! [`Hub`] is the worker without its sockets: bytes in, bytes out. `connection` is the driver, which alone joins a hub
//! to sockets, clock and other workers.

mod answers;
mod applications;
mod connection;
mod counters;
mod encoder;
mod flow;
mod hub;
mod inbox;
mod labels;
mod options;
mod outbox;
mod peers;
mod port;
mod post;
mod storage;
mod timers;
mod unfinished;

#[cfg(test)]
mod tests;

pub(crate) use connection::Worker;
pub use counters::{Counter, Counters, Gauge};
pub use encoder::Framing;
pub use hub::{Event, Hub};
pub(crate) use inbox::{Batch, Outward, Traffic, inboxes};
pub use options::Options;
pub use peers::{ConnectionKey, Peer, Submission};
pub(crate) use port::Port;
pub use post::Post;
pub(crate) use storage::{Storage, answers, found};
pub use storage::{operation, restored};
pub use unfinished::Unfinished;
