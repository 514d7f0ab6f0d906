//! Gumboot, a STOMP broker over WebSocket and TCP.
//!
//! The program `gumboot` is a thin command line over this library: [`server::Server::start`] is a whole broker, and the
//! parts below are usable without each other.
//!
//! # A tour
//!
//! Three parts are pure: they take bytes, values and the time as arguments, and give values back.
//!
//! - [`stomp`] turns bytes into frames and frames into requests, and back.
//! - [`session`] is one STOMP connection's protocol: requests and deliveries in, actions out.
//! - [`broker`] routes: commands in, effects out. A [`broker::Shard`] has the topic subscriptions and the queues of one
//!   worker.
//!
//! Beside them [`app`] decides who handles what is sent to application destinations; all of it but the handlers themselves
//! is as pure.
//!
//! They do not call each other. [`worker::Hub`] carries what one gives to the next, with [`websocket`] in front for those who
//! come that way, and is itself pure: a whole broker runs in one thread, from one seed, on a clock that a test turns.
//! Around a hub, the worker's driver brings sockets and time, [`transport`] brings bytes, [`sockjs`] makes connections of
//! HTTP requests, and [`server`] starts a worker for each core and hands out the sockets.
//!
//! A SEND so travels: bytes, packet, frame, request, action, command; then, perhaps by a post to another worker: effect,
//! delivery, one encoding for all subscribers that are alike, the outbox of each connection, and one write at the end of the
//! turn. `docs/architecture.md` follows it step by step.
//!
//! # Architecture Invariants
//!
//! The test `tidy` checks the first five on the source, as far as a program can.
//!
//! 1. **Pure rooms stay pure.** [`stomp`], [`session`], [`broker`], [`destination`], [`message`], [`headers`], [`clock`],
//!    [`websocket`], the state and the framing of [`sockjs`], and all of a worker but its driver and its inboxes name no
//!    runtime, no socket, no disk and no clock.
//! 2. **Transports carry bytes.** [`transport`] does not name `stomp`, `session` or `broker`: a new transport is one file.
//! 3. **Options are plain.** Each module has its own `Options`, whose `Default` is what the documentation says. No module
//!    knows of the configuration, which depends on them: the library needs no file.
//! 4. **Formats have one place.** Only the configuration names serde, and [`app`], whose handlers and routes read the JSON of
//!    applications.
//! 5. **Nothing from outside ends the program.** No panic without an `// Invariant:` line that says why it cannot happen; no
//!    channel or buffer without a limit; no globs; no file over 600 lines, no function over 70.
//! 6. **Everything has a limit.** Each queue, buffer, wait, and map that a peer can fill has a limit in some `Options`,
//!    smaller before login where that makes sense, and an outcome with a name that the peer is told.
//! 7. **A receipt is a fact.** It leaves when what it answers has taken effect, not before.
//! 8. **A slow consumer costs only itself.** Nobody waits for it; its outbox is bounded, and then a policy acts.
//! 9. **Order holds.** What one session sends to one destination reaches every subscriber in that order, always.
//!
//! Words that are not shared: a *connection* is the transport's and a *session* is STOMP's; a *queue* is a destination, and
//! what waits for a connection is its *outbox*; a *message* is STOMP's and a WebSocket one is a *packet*; to *settle* is to ACK
//! or to NACK.

pub mod admin;
pub mod app;
pub mod broker;
pub mod clock;
pub mod config;
pub mod destination;
mod digits;
pub mod hash;
pub mod headers;
pub mod log;
pub mod message;
pub mod server;
pub mod session;
pub mod sockjs;
pub mod stomp;
pub mod store;
pub mod transport;
pub mod websocket;
pub mod worker;
