//! Application destinations: what is sent to `/app/**` goes to a handler instead of to subscribers.
//!
//! There are four kinds of handlers, and the first that takes a destination has it: a *route* of the configuration, a
//! *Rust handler* of the program that has the broker inside, an *HTTP hook*, and a *worker*, which is a STOMP session with
//! the right to take the messages of an application destination.
//!
//! What is known of a message and of its session reaches a handler as a [`Request`]; what it wants done comes back as an
//! [`Answer`]. Both own what they hold, so that a handler may take its time on another thread.

mod answer;
mod handler;
pub mod hook;
mod request;

pub use answer::{Answer, Change, Done, Failure, Reply, To};
pub use handler::{Accepts, Entry, Handler, Kind, Reaction, WhenLate};
pub use request::{Attributes, Captures, Occasion, Request, SessionFacts};
