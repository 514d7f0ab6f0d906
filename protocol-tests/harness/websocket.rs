//! STOMP over WebSocket, with a client of its own: compression is offered when asked for, pings are answered.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::deflate::{self, Inflater};
use super::packet::{self, Packet};
use super::tcp::{Reading, dial, read};
use super::{Carrier, Close, Handshake, HarnessError, Link, Opening, Piece, Received};
use crate::profile::Timing;

struct Target<'a> {
    authority: &'a str,
    path: String,
}

/// `address` is `ws://host:port/path`.
pub(super) fn connect(address: &str, timing: &Timing, opening: &Opening) -> Result<Box<dyn Link>, HarnessError> {
    let rest = address.strip_prefix("ws://").unwrap_or(address);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let target = Target { authority, path: format!("/{path}") };
    let mut stream = dial(target.authority, timing.frame)?;
    stream
        .write_all(request(&target, opening).as_bytes())
        .map_err(|cause| HarnessError::Unreachable { address: target.authority.to_owned(), cause })?;
    let (handshake, held) = response(&mut stream, timing.frame)?;
    let closed = (handshake.status != 101).then(Close::default);
    let answer = handshake.header("sec-websocket-extensions");
    if !opening.deflate && answer.is_some() && !opening.headers.iter().any(|(name, _)| is_extension(name)) {
        return Err(HarnessError::Handshake("agreed to an extension that was not offered".to_owned()));
    }
    let answer = answer.filter(|_| opening.deflate);
    let inflater = Inflater::agreed(answer).map_err(HarnessError::Handshake)?;
    Ok(Box::new(WebSocketLink { stream, held, handshake, inflater, message: None, closed }))
}

// The key and the answer that RFC 6455 section 1.3 works out: a constant nonce proves the handshake well enough.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn request(target: &Target<'_>, opening: &Opening) -> String {
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n",
        target.path, target.authority
    );
    if let Some(protocols) = &opening.protocols {
        request.push_str(&format!("Sec-WebSocket-Protocol: {protocols}\r\n"));
    }
    if opening.deflate {
        request.push_str(&format!("Sec-WebSocket-Extensions: {}\r\n", deflate::OFFER));
    }
    for (name, value) in &opening.headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request
}

fn is_extension(name: &str) -> bool {
    name.eq_ignore_ascii_case("sec-websocket-extensions")
}

/// The answer to the handshake, and the bytes that came after it.
fn response(stream: &mut TcpStream, patience: Duration) -> Result<(Handshake, Vec<u8>), HarnessError> {
    let mut held = Vec::new();
    let end = loop {
        if let Some(at) = held.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        match read(stream, patience) {
            Reading::Bytes(bytes) => held.extend_from_slice(&bytes),
            Reading::Ended => return Err(HarnessError::Handshake("closed before an answer".to_owned())),
            Reading::Silence => return Err(HarnessError::Handshake("no answer in time".to_owned())),
        }
    };
    let rest = held.split_off(end + 4);
    let head = String::from_utf8_lossy(&held).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let Some(status) = status else { return Err(HarnessError::Handshake(format!("no HTTP answer: {head}"))) };
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let handshake = Handshake { status, headers };
    if status == 101 && handshake.header("sec-websocket-accept") != Some(ACCEPT) {
        return Err(HarnessError::Handshake("a wrong Sec-WebSocket-Accept".to_owned()));
    }
    Ok((handshake, rest))
}

struct WebSocketLink {
    stream: TcpStream,
    held: Vec<u8>,
    handshake: Handshake,
    /// There when compression was asked for and agreed on.
    inflater: Option<Inflater>,
    /// The fragments of an unfinished message and what they began as.
    message: Option<(Carrier, Vec<u8>)>,
    closed: Option<Close>,
}

impl Link for WebSocketLink {
    fn send(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            let packet = match piece {
                Piece::Plain(bytes) if std::str::from_utf8(bytes).is_ok() => self.message(packet::TEXT, bytes),
                Piece::Plain(bytes) | Piece::Binary(bytes) => self.message(packet::BINARY, bytes),
                Piece::Packet(packet) => packet.clone(),
            };
            if self.stream.write_all(&packet.encode()).is_err() {
                return;
            }
        }
    }

    fn receive(&mut self, patience: Duration) -> Received {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(close) = &self.closed {
                return Received::Closed(close.clone());
            }
            match Packet::parse(&self.held, self.inflater.is_some()) {
                Err(wrong) => return Received::Malformed(wrong),
                Ok(Some((used, packet))) => {
                    self.held.drain(..used);
                    if let Some(received) = self.take(packet) {
                        return received;
                    }
                    continue;
                }
                Ok(None) => {}
            }
            match read(&mut self.stream, deadline.saturating_duration_since(Instant::now())) {
                Reading::Bytes(bytes) => self.held.extend_from_slice(&bytes),
                Reading::Ended => self.closed = Some(Close::default()),
                Reading::Silence if Instant::now() >= deadline => return Received::Silence,
                Reading::Silence => {}
            }
        }
    }

    fn close(&mut self, code: Option<u16>) {
        self.send(&[Piece::Packet(Packet::close(code))]);
    }

    fn handshake(&self) -> Option<&Handshake> {
        Some(&self.handshake)
    }

    fn tells_close_codes(&self) -> bool {
        true
    }
}

impl WebSocketLink {
    /// A message of STOMP bytes, compressed where that was agreed on.
    fn message(&self, opcode: u8, payload: &[u8]) -> Packet {
        let packet = Packet::new(opcode, payload.to_vec());
        if self.inflater.is_some() { packet.deflated() } else { packet }
    }

    /// What a packet means to the case; `None` for a fragment that needs more.
    fn take(&mut self, packet: Packet) -> Option<Received> {
        match (packet.opcode, self.message.take()) {
            (packet::CLOSE, _) => Some(self.take_close(&packet.payload)),
            (packet::PING, message) => {
                self.message = message;
                self.send(&[Piece::Packet(Packet::new(packet::PONG, packet.payload.clone()))]);
                Some(Received::Ping(packet.payload))
            }
            (packet::PONG, message) => {
                self.message = message;
                Some(Received::Pong(packet.payload))
            }
            (packet::CONTINUATION, Some((carrier, mut bytes))) => {
                bytes.extend_from_slice(&packet.payload);
                self.finish(packet.fin, carrier, bytes)
            }
            (packet::TEXT, None) => self.finish(packet.fin, Carrier::text(packet.rsv), packet.payload),
            (packet::BINARY, None) => self.finish(packet.fin, Carrier::binary(packet.rsv), packet.payload),
            (opcode, _) => Some(Received::Malformed(format!("opcode {opcode} out of place between fragments"))),
        }
    }

    fn finish(&mut self, fin: bool, carrier: Carrier, bytes: Vec<u8>) -> Option<Received> {
        if !fin {
            self.message = Some((carrier, bytes));
            return None;
        }
        let bytes = match (carrier, &mut self.inflater) {
            (Carrier::DeflatedText | Carrier::DeflatedBinary, Some(inflater)) => match inflater.inflate(&bytes) {
                Ok(inflated) => inflated,
                Err(wrong) => return Some(Received::Malformed(wrong)),
            },
            _ => bytes,
        };
        let is_text = matches!(carrier, Carrier::Text | Carrier::DeflatedText);
        match is_text && std::str::from_utf8(&bytes).is_err() {
            true => Some(Received::Malformed("a text message that is not UTF-8".to_owned())),
            false => Some(Received::Bytes(bytes, carrier)),
        }
    }

    /// Answers the close, ends our side, and keeps the code for every later look.
    fn take_close(&mut self, payload: &[u8]) -> Received {
        let (code, reason) = match payload {
            [] => (None, String::new()),
            [high, low, reason @ ..] => match std::str::from_utf8(reason) {
                Ok(reason) => (Some(u16::from_be_bytes([*high, *low])), reason.to_owned()),
                Err(_) => return Received::Malformed("a close reason that is not UTF-8".to_owned()),
            },
            [_] => return Received::Malformed("a close packet of one octet".to_owned()),
        };
        let close = Close { code, reason };
        self.send(&[Piece::Packet(Packet::close(code))]);
        // The peer may have gone already, and then there is nothing left to end.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.closed = Some(close.clone());
        Received::Closed(close)
    }
}

impl Carrier {
    fn text(rsv: u8) -> Self {
        if rsv == packet::COMPRESSED { Carrier::DeflatedText } else { Carrier::Text }
    }

    fn binary(rsv: u8) -> Self {
        if rsv == packet::COMPRESSED { Carrier::DeflatedBinary } else { Carrier::Binary }
    }
}
