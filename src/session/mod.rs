//! One STOMP connection's protocol state: frames and deliveries in, actions out.
//!
//! Architecture invariant: no socket, no clock, no lock, no await. The driver calls one `handle_*`, then drains
//! [`Session::poll_action`] to `None`, and asks [`Session::poll_timeout`] when to come back.

mod action;
mod options;

pub use action::{Action, Close, CloseCode, Outgoing, Subscribe, Target};
pub use options::Options;
