//! The task of a conduit that is served by one WebSocket connection, and lives as long as that.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::conduit::{Conduit, Takes};
use super::dialect::Dialect;
use super::drive::{STALL, at};
use super::framing::json;
use super::host::Tell;
use super::link::Link;
use super::pipe;
use super::unread::farewell;
use crate::websocket::draft76::Challenge;
use crate::websocket::packet::Event;
use crate::websocket::{CloseCode, send};

/// Bytes read at once.
const SCRATCH: usize = 8 * 1024;

/// Ends a handshake of the draft: waits for the nonce, and answers the challenge with it. What came behind the nonce is the
/// result; `early` is what has come already.
pub(super) async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    early: Vec<u8>,
    challenge: Challenge,
) -> io::Result<Vec<u8>> {
    let mut input = early;
    loop {
        if let Some((nonce, rest)) = input.split_first_chunk() {
            stream.write_all(&challenge.answer(*nonce)).await?;
            return Ok(rest.to_vec());
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// A conduit within a WebSocket connection.
pub(super) struct Socket<S> {
    stream: S,
    dialect: Dialect,
    conduit: Conduit,
    link: Link,
    max_packet_bytes: usize,
    /// A packet that is not whole yet.
    packet: Vec<u8>,
    /// To be told how much is kept of what the client sends, and what it was told last.
    tell: Tell,
    told: usize,
    outbound: Vec<u8>,
    written: usize,
    /// Whether nothing more is to be said or heard.
    ended: bool,
    /// Since when the client has taken nothing of `outbound`.
    blocked: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(
        stream: S,
        dialect: Dialect,
        conduit: Conduit,
        link: Link,
        tell: Tell,
        max_packet_bytes: usize,
    ) -> Socket<S> {
        Socket {
            stream,
            dialect,
            conduit,
            link,
            max_packet_bytes,
            packet: Vec::new(),
            tell,
            told: 0,
            outbound: Vec::new(),
            written: 0,
            ended: false,
            blocked: None,
        }
    }

    /// Serves the connection until either side ends it. `early` is what the client sent behind its handshake. The last bytes
    /// may take `patience` to go out, and so may the client then to close its side.
    pub(super) async fn run(mut self, mut early: Vec<u8>, patience: Duration) {
        // Invariant: a new conduit has no receiver, so this one is never sent away.
        let attached = self.conduit.attach(Instant::now(), Takes::Everything);
        debug_assert!(attached.is_ok());
        self.receive(&mut early);
        while !self.ended {
            let now = Instant::now();
            if let Some(ping) = self.link.deliver(now, &mut self.conduit) {
                if self.dialect.has_pings() {
                    send::write_ping(&mut self.outbound, &ping);
                } else {
                    self.link.write_pong(&ping);
                }
            }
            self.transmit(now);
            if self.ended {
                break;
            }
            if self.link.is_held_back() && self.conduit.wants_messages() {
                continue;
            }
            self.blocked = if self.outbound.is_empty() { None } else { self.blocked.or(Some(now)) };
            let due = match self.blocked {
                Some(since) if now.saturating_duration_since(since) >= STALL => return,
                Some(since) => Some(since + STALL),
                None => self.conduit.poll_timeout(),
            };
            let reads = self.conduit.wants_messages() && self.outbound.is_empty();
            let mut scratch = [0; SCRATCH];
            let accepts = self.link.is_idle() && self.outbound.is_empty();
            let mut count = 0;
            tokio::select! {
                () = self.link.step(reads) => {}
                read = step(&mut self.stream, &mut self.outbound, &mut self.written, accepts, &mut scratch) => {
                    match read {
                        Ok(read) => {
                            count = read;
                            self.blocked = None;
                        }
                        Err(Gone) => return,
                    }
                }
                () = at(due) => {}
            }
            self.receive(scratch.get_mut(..count).unwrap_or_default());
            self.tell_kept();
        }
        self.packet = Vec::new();
        self.tell_kept();
        let Socket { stream, mut link, outbound, written, .. } = self;
        // What the client said before its end takes effect.
        let effect = async {
            let _ = timeout(patience, link.flush()).await;
            link.end();
        };
        tokio::join!(effect, farewell(stream, outbound.get(written..).unwrap_or_default(), patience, u64::MAX));
    }

    /// Says how much is kept of what the client sends, if that has changed.
    fn tell_kept(&mut self) {
        if self.conduit.is_closed() {
            self.packet = Vec::new();
        }
        let kept = self.packet.capacity() + self.link.waiting_bytes();
        if kept != self.told {
            self.told = kept;
            (self.tell)(kept);
        }
    }

    /// Puts the conduit's frames in packets, unless some are waiting already.
    fn transmit(&mut self, now: Instant) {
        while self.outbound.is_empty() || self.conduit.is_closed() {
            let Some(frame) = self.conduit.poll_frame(now, |frame| frame) else { break };
            self.dialect.write_packet(&mut self.outbound, &frame);
        }
        if self.conduit.is_receiver_done() {
            let code = self.conduit.close_code().unwrap_or(1000);
            self.dialect.write_close(&mut self.outbound, CloseCode::from(code), "");
            self.ended = true;
        }
    }

    /// Takes what the client sent.
    fn receive(&mut self, mut input: &mut [u8]) {
        while !self.ended {
            match self.dialect.next(&mut input, self.max_packet_bytes) {
                // Nobody hears it any more.
                Ok(Some(Event::Data { .. })) if self.conduit.is_closed() => {}
                Ok(Some(Event::Data { payload, fin, .. })) => {
                    self.packet.extend_from_slice(payload);
                    if fin {
                        let packet = std::mem::take(&mut self.packet);
                        self.accept(&packet);
                    }
                }
                Ok(Some(Event::Ping(payload))) => send::write_pong(&mut self.outbound, payload),
                Ok(Some(Event::Pong(payload))) => self.link.write_pong(payload),
                Ok(Some(Event::Close(reason))) => {
                    let code = reason.map_or(CloseCode::Normal, |(code, _)| code);
                    self.dialect.write_close(&mut self.outbound, code, "");
                    self.ended = true;
                }
                Ok(None) => return,
                Err(violation) => {
                    self.dialect.write_close(&mut self.outbound, violation.close_code(), &violation.to_string());
                    self.ended = true;
                }
            }
        }
    }

    /// Takes a whole packet: messages, or nothing, which is how some clients show that they are there.
    fn accept(&mut self, packet: &[u8]) {
        if packet.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        match json::read_messages(packet, |message| pipe::write_message(&mut bytes, message)) {
            Ok(()) => self.link.write(&bytes),
            Err(broken) => {
                self.dialect.write_close(&mut self.outbound, CloseCode::Invalid, &broken.to_string());
                self.ended = true;
            }
        }
    }
}

/// The client is no longer there.
struct Gone;

/// Writes what is to be written, or else reads once if that is wanted; answers with how many bytes were read.
async fn step<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    outbound: &mut Vec<u8>,
    written: &mut usize,
    reads: bool,
    scratch: &mut [u8],
) -> Result<usize, Gone> {
    poll_fn(|context: &mut Context<'_>| {
        let unwritten = outbound.get(*written..).unwrap_or_default();
        if !unwritten.is_empty() {
            let Poll::Ready(result) = Pin::new(&mut *stream).poll_write(context, unwritten) else {
                return Poll::Pending;
            };
            *written += result.map_err(|_| Gone)?;
            if *written >= outbound.len() {
                *outbound = Vec::new();
                *written = 0;
            }
            return Poll::Ready(Ok(0));
        }
        if !reads {
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(scratch);
        let Poll::Ready(result) = Pin::new(&mut *stream).poll_read(context, &mut buffer) else { return Poll::Pending };
        result.map_err(|_| Gone)?;
        match buffer.filled().len() {
            0 => Poll::Ready(Err(Gone)),
            count => Poll::Ready(Ok(count)),
        }
    })
    .await
}
