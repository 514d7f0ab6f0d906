//! The WebSocket that browsers spoke in 2010: draft-ietf-hybi-thewebsocketprotocol-00, also known as Hixie-76.
//!
//! No browser in use speaks it. It is here for test suites that ask for it and for very old programs, and does what they
//! need and no more: text, and an end without code or reason. The draft has no pings, no fragments and no compression.
//!
//! - [`is_offered`] knows requests of the draft, and [`accept`] judges one.
//! - The client's last eight bytes, the nonce, come behind the head of the request. Proxies hold them back until they have
//!   seen the `101` response, so that goes out first, and then what [`Challenge::answer`] makes of the nonce.
//! - [`Receiver`] reads frames, [`write_packet`] and [`write_close`] write them.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use md5::{Digest, Md5};

use super::{
    Options, Violation,
    frame::take,
    handshake::{Rejection, Subprotocol, choose_subprotocol, insert},
    origin::{self, Listener},
    packet::{Event, Kind},
    utf8::Utf8Check,
};

const KEY_1: HeaderName = HeaderName::from_static("sec-websocket-key1");
const KEY_2: HeaderName = HeaderName::from_static("sec-websocket-key2");
const LOCATION: HeaderName = HeaderName::from_static("sec-websocket-location");
const ORIGIN_ANSWER: HeaderName = HeaderName::from_static("sec-websocket-origin");

/// What a proxy that ends TLS says about the client's side of it.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const TEXT: u8 = 0x00;
/// Ends a text frame, since no UTF-8 has it; and begins the frame that ends the connection.
const END: u8 = 0xff;

/// A request of the draft that becomes a connection once its nonce has come.
#[derive(Debug)]
pub struct Accepted {
    /// The `101` response, complete.
    pub response: Response<()>,
    /// What is still to be proven.
    pub challenge: Challenge,
}

/// The part of a client's challenge that is in the head of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    first: u32,
    second: u32,
}

impl Challenge {
    /// The bytes that prove to the client that its request was read: they go out before any frame.
    pub fn answer(&self, nonce: [u8; 8]) -> [u8; 16] {
        let hash = Md5::new().chain_update(self.first.to_be_bytes()).chain_update(self.second.to_be_bytes());
        hash.chain_update(nonce).finalize().into()
    }
}

/// Whether a request is one of this draft rather than of RFC 6455.
pub fn is_offered(headers: &HeaderMap) -> bool {
    let is_later = headers.contains_key(SEC_WEBSOCKET_VERSION) || headers.contains_key(SEC_WEBSOCKET_KEY);
    !is_later && (headers.contains_key(KEY_1) || headers.contains_key(KEY_2))
}

/// Judges a request for a connection. Of `options`, the origins and sub-protocols apply.
///
/// # Errors
/// See [`Rejection`]; [`Rejection::response`] makes the answer.
pub fn accept<B>(request: &Request<B>, options: &Options, listener: Listener) -> Result<Accepted, Rejection> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Rejection::Method);
    }
    if request.version() < Version::HTTP_11 {
        return Err(Rejection::HttpVersion);
    }
    if !has_token(headers, CONNECTION, "upgrade") || !has_token(headers, UPGRADE, "websocket") {
        return Err(Rejection::NotAnUpgrade);
    }
    let number = |name| only(headers, name).and_then(number).ok_or(Rejection::DraftKeys);
    let challenge = Challenge { first: number(KEY_1)?, second: number(KEY_2)? };
    let location = location(request, listener).ok_or(Rejection::Host)?;
    origin::check(headers, &options.allowed_origins, listener)?;

    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    // Clients of the draft compare the first of these to the letter.
    answer.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(LOCATION, location);
    if let Some(origin) = headers.get(ORIGIN) {
        answer.insert(ORIGIN_ANSWER, origin.clone());
    }
    if let Subprotocol::Agreed(name) = choose_subprotocol(headers, &options.subprotocols) {
        insert(&mut response, SEC_WEBSOCKET_PROTOCOL, &name);
    }
    Ok(Accepted { response, challenge })
}

/// The receiving half of one connection, behind the nonce. It holds no heap memory.
#[derive(Debug, Default)]
pub struct Receiver {
    phase: Phase,
    text: Utf8Check,
}

/// Where in the stream of frames we are.
#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Between,
    /// In a text frame of which so many bytes have come.
    Text(usize),
    /// The first byte of the frame that ends the connection has come.
    Ending,
    Closed,
    /// The client broke a rule; it is told the same again if the caller asks again.
    Failed(Violation),
}

impl Receiver {
    /// Takes bytes from the front of `input` up to the end of the next event, which is data of kind text or a close without
    /// reason. As with [`super::packet::Receiver::next`], a packet comes in as many pieces as the network made of it, and
    /// the call is to be repeated until it answers `None`: then all of `input` has been taken.
    ///
    /// # Errors
    /// The client broke a rule, or its packet has more than `max_packet_bytes`. Every later call fails likewise. Frame types
    /// that the draft keeps for later versions are refused as well: nobody has ever sent one, and none will come.
    pub fn next<'i>(
        &mut self,
        input: &mut &'i mut [u8],
        max_packet_bytes: usize,
    ) -> Result<Option<Event<'i>>, Violation> {
        let next = self.step(input, max_packet_bytes);
        if let Err(violation) = next {
            self.phase = Phase::Failed(violation);
        }
        next
    }

    fn step<'i>(&mut self, input: &mut &'i mut [u8], max_packet_bytes: usize) -> Result<Option<Event<'i>>, Violation> {
        loop {
            match self.phase {
                Phase::Between => match take_byte(input) {
                    Some(TEXT) => self.phase = Phase::Text(0),
                    Some(END) => self.phase = Phase::Ending,
                    Some(other) => return Err(Violation::FrameType(other)),
                    None => return Ok(None),
                },
                Phase::Text(before) => return self.text_piece(input, before, max_packet_bytes),
                Phase::Ending => match take_byte(input) {
                    Some(0) => {
                        self.phase = Phase::Closed;
                        return Ok(Some(Event::Close(None)));
                    }
                    Some(_) => return Err(Violation::FrameType(END)),
                    None => return Ok(None),
                },
                Phase::Closed => {
                    *input = &mut [];
                    return Ok(None);
                }
                Phase::Failed(violation) => return Err(violation),
            }
        }
    }

    fn text_piece<'i>(
        &mut self,
        input: &mut &'i mut [u8],
        before: usize,
        max_packet_bytes: usize,
    ) -> Result<Option<Event<'i>>, Violation> {
        let end = input.iter().position(|byte| *byte == END);
        let payload = &*take(input, end.unwrap_or(usize::MAX));
        let room = max_packet_bytes.saturating_sub(before);
        self.text.feed(payload.get(..room).unwrap_or(payload))?;
        if payload.len() > room {
            return Err(Violation::PacketTooBig { limit: max_packet_bytes });
        }
        self.phase = match end {
            Some(_) => {
                take(input, 1);
                self.text.finish()?;
                Phase::Between
            }
            None => Phase::Text(before + payload.len()),
        };
        let fin = end.is_some();
        Ok((fin || !payload.is_empty()).then_some(Event::Data { kind: Kind::Text, payload, fin }))
    }
}

/// Writes a packet.
pub fn write_packet(out: &mut Vec<u8>, text: &str) {
    out.push(TEXT);
    out.extend_from_slice(text.as_bytes());
    out.push(END);
}

/// Writes the frame that ends the connection, or answers that of the client.
pub fn write_close(out: &mut Vec<u8>) {
    out.extend_from_slice(&[END, 0]);
}

/// The number that a key hides: its digits, divided by how many spaces it has. None: there is no such number, which a
/// browser that was talked into sending the request cannot help.
fn number(key: &str) -> Option<u32> {
    let (mut digits, mut spaces) = (None, 0_u32);
    for byte in key.bytes() {
        match byte {
            b'0'..=b'9' => {
                let before: u32 = digits.unwrap_or_default();
                digits = Some(before.checked_mul(10)?.checked_add(u32::from(byte - b'0'))?);
            }
            b' ' => spaces = spaces.checked_add(1)?,
            _ => {}
        }
    }
    let digits = digits?;
    digits.checked_div(spaces).filter(|number| number * spaces == digits)
}

/// The address of the connection as its client spells it.
fn location<B>(request: &Request<B>, listener: Listener) -> Option<HeaderValue> {
    let headers = request.headers();
    let is_forwarded =
        headers.get(FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let scheme = if listener.tls || is_forwarded { "wss" } else { "ws" };
    let host = only(headers, HOST).filter(|host| !host.is_empty())?;
    let resource = request.uri().path_and_query().map_or("/", |resource| resource.as_str());
    HeaderValue::try_from(format!("{scheme}://{host}{resource}")).ok()
}

/// The header of this name, of which there must be one.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|list| list.split(',')).any(|each| each.trim().eq_ignore_ascii_case(token))
}

fn take_byte(input: &mut &mut [u8]) -> Option<u8> {
    take(input, 1).first().copied()
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests;
