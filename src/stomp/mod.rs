//! STOMP 1.0, 1.1 and 1.2 as bytes, frames and requests, from the client's and from the server's side.
//!
//! Three steps, each of which removes doubt for good: a [`Decoder`] finds the boundaries of a frame within its
//! [`Limits`] and gives a [`Frame`]; [`Request::parse`] gives it a meaning; [`encode`] and [`encode_message`] go the
//! other way. What differs between the versions is said once, in [`Version`]. Nothing here waits, reads a clock or
//! knows a socket.

mod decode;
mod encode;
mod error;
mod frame;
mod grammar;
mod limits;
mod progress;
mod request;
mod version;

pub use decode::{Decoded, Decoder};
pub use encode::{Message, OWN_HEADERS, encode, encode_message, encode_message_head};
pub use error::DecodeError;
pub use frame::{Command, Frame};
pub use limits::Limits;
pub use request::{
    AckMode, AckName, Connect, Disconnect, HeartBeat, Refusal, Request, RequestError, Send, Settle, Subscribe,
    Transaction, Unsubscribe,
};
pub use version::{AckBy, Version};
