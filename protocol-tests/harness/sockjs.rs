//! STOMP over SockJS, whose frames travel in WebSocket packets here. The other transports of SockJS have tests of their own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Carrier, Close, HarnessError, Link, Opening, Piece, Received, websocket};
use crate::profile::Timing;

/// `address` is `ws://host:port/path`, which the service is below of.
pub(super) fn connect(address: &str, timing: &Timing, opening: &Opening) -> Result<Box<dyn Link>, HarnessError> {
    static SESSIONS: AtomicU64 = AtomicU64::new(0);
    let session = SESSIONS.fetch_add(1, Ordering::Relaxed);
    let address = format!("{address}/000/{session}/websocket");
    let mut inner = websocket::connect(&address, timing, opening)?;
    match inner.receive(timing.frame) {
        Received::Bytes(frame, Carrier::Text) if frame == b"o" => {}
        other => return Err(HarnessError::Handshake(format!("no open frame, but {other:?}"))),
    }
    Ok(Box::new(SockJsLink { inner, messages: VecDeque::new(), begun: Vec::new(), closed: None }))
}

struct SockJsLink {
    inner: Box<dyn Link>,
    /// Messages that came in one frame with one that was asked for.
    messages: VecDeque<String>,
    /// The beginning of a character that a cut went through: a SockJS message cannot end within one.
    begun: Vec<u8>,
    closed: Option<Close>,
}

impl Link for SockJsLink {
    fn send(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            let (Piece::Plain(bytes) | Piece::Binary(bytes)) = piece else { continue };
            self.begun.extend_from_slice(bytes);
            let whole = match std::str::from_utf8(&self.begun) {
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                _ => self.begun.len(),
            };
            let rest = self.begun.split_off(whole);
            let message = std::mem::replace(&mut self.begun, rest);
            // What is not text at all has no way to travel, so the broker gets to see something else.
            let array = serde_json::json!([String::from_utf8_lossy(&message)]).to_string();
            self.inner.send(&[Piece::Plain(array.into_bytes())]);
        }
    }

    fn receive(&mut self, patience: Duration) -> Received {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Received::Bytes(message.into_bytes(), Carrier::Text);
            }
            if let Some(close) = &self.closed {
                return Received::Closed(close.clone());
            }
            let frame = match self.inner.receive(deadline.saturating_duration_since(Instant::now())) {
                Received::Bytes(frame, Carrier::Text) => frame,
                other => return other,
            };
            if self.take(&frame).is_none() {
                return Received::Malformed(format!("no SockJS frame: {}", frame.escape_ascii()));
            }
        }
    }

    fn close(&mut self, code: Option<u16>) {
        self.inner.close(code);
    }

    fn tells_close_codes(&self) -> bool {
        true
    }
}

impl SockJsLink {
    /// Takes a frame; `None`: it is none.
    fn take(&mut self, frame: &[u8]) -> Option<()> {
        let (kind, rest) = frame.split_first()?;
        match kind {
            b'a' => self.messages.extend(serde_json::from_slice::<Vec<String>>(rest).ok()?),
            b'c' => {
                let (code, reason) = serde_json::from_slice(rest).ok()?;
                self.closed = Some(Close { code: Some(code), reason });
            }
            b'h' if rest.is_empty() => {}
            _ => return None,
        }
        Some(())
    }
}
