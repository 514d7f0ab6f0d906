//! The end of a pipe that a conduit holds, with the bytes that wait on either side.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::conduit::Conduit;
use super::framing::{GO_AWAY, NOT_TEXT};
use super::pipe::{self, Sent};

/// Bytes that lie in a pipe in each direction before its writer has to wait.
const PIPE_BYTES: usize = 64 * 1024;

/// Bytes read at once.
const SCRATCH: usize = 8 * 1024;

/// A connection to an application.
#[derive(Debug)]
pub(super) struct Link {
    /// Absent once either side has ended it.
    stream: Option<DuplexStream>,
    /// From the application, up to the first packet that is not whole or that the conduit has no room for.
    inbound: Vec<u8>,
    /// For the application.
    outbound: Vec<u8>,
    written: usize,
    /// Whether the conduit had no room for all that came.
    held_back: bool,
}

impl Link {
    /// A link, and the stream that its application gets.
    pub(super) fn new() -> (Link, DuplexStream) {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let link = Link { stream: Some(near), inbound: Vec::new(), outbound: Vec::new(), written: 0, held_back: false };
        (link, far)
    }

    /// Whether the application has taken all there was for it.
    pub(super) fn is_idle(&self) -> bool {
        self.outbound.is_empty()
    }

    /// Bytes for the application that do not go into the pipe at once, so that they may be here for long.
    pub(super) fn waiting_bytes(&self) -> usize {
        if self.outbound.len() > PIPE_BYTES { self.outbound.capacity() } else { 0 }
    }

    /// Whether [`Link::deliver`] has more once the conduit has room again.
    pub(super) fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// Whether the application can be reached.
    pub(super) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Has these bytes, made by [`pipe`], written by the next steps.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.is_open() {
            self.outbound.extend_from_slice(bytes);
        }
    }

    /// Answers a ping of the application.
    pub(super) fn write_pong(&mut self, payload: &[u8]) {
        if self.is_open() {
            pipe::write_pong(&mut self.outbound, payload);
        }
    }

    /// Ends the connection: the application reads its end.
    pub(super) fn end(&mut self) {
        self.stream = None;
        self.inbound = Vec::new();
        self.outbound = Vec::new();
        self.written = 0;
    }

    /// Reads or writes once. It waits for ever when there is nothing to do, and can be dropped at any time.
    pub(super) async fn step(&mut self, reads: bool) {
        poll_fn(|context| self.poll_step(reads, context)).await;
    }

    /// Writes all that there is for the application.
    pub(super) async fn flush(&mut self) {
        while self.is_open() && !self.is_idle() {
            self.step(false).await;
        }
    }

    fn poll_step(&mut self, reads: bool, context: &mut Context<'_>) -> Poll<()> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        let unwritten = self.outbound.get(self.written..).unwrap_or_default();
        if !unwritten.is_empty()
            && let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(context, unwritten)
        {
            match written {
                Ok(count) => self.written += count,
                Err(_) => self.end(),
            }
            if self.written >= self.outbound.len() {
                self.outbound = Vec::new();
                self.written = 0;
            }
            return Poll::Ready(());
        }
        if !reads {
            return Poll::Pending;
        }
        let mut scratch = [0; SCRATCH];
        let mut buffer = ReadBuf::new(&mut scratch);
        let Poll::Ready(read) = Pin::new(stream).poll_read(context, &mut buffer) else { return Poll::Pending };
        match read {
            Ok(()) if !buffer.filled().is_empty() => self.inbound.extend_from_slice(buffer.filled()),
            _ => {
                self.stream = None;
                self.outbound = Vec::new();
                self.written = 0;
            }
        }
        Poll::Ready(())
    }

    /// Hands what the application sent to the conduit, as far as that has room. Answers with a ping that wants an answer.
    pub(super) fn deliver(&mut self, now: Instant, conduit: &mut Conduit) -> Option<Vec<u8>> {
        let (mut taken, mut ping) = (0, None);
        self.held_back = false;
        while conduit.wants_messages() {
            let rest = self.inbound.get(taken..).unwrap_or_default();
            match pipe::read(rest) {
                Ok(Some((sent, size))) => {
                    taken += size;
                    match sent {
                        Sent::Message(message) => conduit.push(message),
                        Sent::NotText => {
                            tracing::warn!("a SockJS client was sent what is not UTF-8, and is disconnected");
                            conduit.close(now, NOT_TEXT.0, NOT_TEXT.1);
                        }
                        Sent::Ping(payload) => ping = Some(payload.to_vec()),
                        Sent::Close(reason) => {
                            let (code, reason) = reason.unwrap_or(GO_AWAY);
                            conduit.close(now, code, reason);
                        }
                        Sent::Other => {}
                    }
                }
                Ok(None) if self.is_open() => break,
                Ok(None) => conduit.close(now, GO_AWAY.0, GO_AWAY.1),
                Err(foreign) => {
                    tracing::error!(error = %foreign, "a SockJS session ends");
                    conduit.close(now, GO_AWAY.0, GO_AWAY.1);
                }
            }
        }
        if conduit.is_closed() {
            self.end();
            return ping;
        }
        self.held_back = !conduit.wants_messages();
        if taken == self.inbound.len() {
            self.inbound = Vec::new();
        } else {
            self.inbound.drain(..taken);
        }
        ping
    }
}
