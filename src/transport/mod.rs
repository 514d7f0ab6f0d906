//! Bytes to and from sockets.
//!
//! Architecture invariant: nothing here knows STOMP, sessions or the broker. A new transport is one file.

pub mod http;
pub mod tcp;

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection's bytes, whatever carries them.
pub trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}
