//! STOMP straight over TCP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::{Carrier, Close, HarnessError, Link, Opening, Piece, Received};
use crate::profile::Timing;

/// `address` is `host:port`, with or without `tcp://` before it.
pub(super) fn connect(address: &str, timing: &Timing, _: &Opening) -> Result<Box<dyn Link>, HarnessError> {
    let address = address.strip_prefix("tcp://").unwrap_or(address);
    Ok(Box::new(TcpLink { stream: dial(address, timing.frame)? }))
}

/// A connected stream that sends small writes at once and never blocks a write for good.
pub(super) fn dial(address: &str, patience: Duration) -> Result<TcpStream, HarnessError> {
    let attempt = || {
        let mut last = std::io::Error::new(ErrorKind::NotFound, "the address has no meaning");
        for candidate in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&candidate, patience) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_write_timeout(Some(patience))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    attempt().map_err(|cause| HarnessError::Unreachable { address: address.to_owned(), cause })
}

/// What one bounded read of a socket gave.
pub(super) enum Reading {
    Bytes(Vec<u8>),
    Ended,
    Silence,
}

/// Reads what is there, waiting at most `patience`.
pub(super) fn read(stream: &mut TcpStream, patience: Duration) -> Reading {
    let mut scratch = vec![0; 64 * 1024];
    // A zero timeout would mean "wait for ever".
    if stream.set_read_timeout(Some(patience.max(Duration::from_millis(1)))).is_err() {
        return Reading::Ended;
    }
    match stream.read(&mut scratch) {
        Ok(0) => Reading::Ended,
        Ok(count) => {
            scratch.truncate(count);
            Reading::Bytes(scratch)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
            Reading::Silence
        }
        Err(_) => Reading::Ended,
    }
}

struct TcpLink {
    stream: TcpStream,
}

impl Link for TcpLink {
    fn send(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            let written = match piece {
                Piece::Plain(bytes) | Piece::Binary(bytes) => self.stream.write_all(bytes),
                Piece::Packet(_) => Ok(()),
            };
            if written.is_err() {
                return;
            }
        }
    }

    fn receive(&mut self, patience: Duration) -> Received {
        match read(&mut self.stream, patience) {
            Reading::Bytes(bytes) => Received::Bytes(bytes, Carrier::Stream),
            Reading::Ended => Received::Closed(Close::default()),
            Reading::Silence => Received::Silence,
        }
    }

    fn close(&mut self, _: Option<u16>) {
        // A peer that closed first makes this fail, and then it is done already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
