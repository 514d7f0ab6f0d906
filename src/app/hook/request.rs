//! What the application is sent: one POST for each thing that it is told.
//!
//! In both modes, headers say what happened and to whom. In the mode `json` the body is one object that has all of it,
//! and in the mode `raw` the body is the message's own and further headers have the rest.

use std::fmt::Write;

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::options::{Mode, Options};
use crate::app::{Occasion, Request};

/// A request without its signature, which is made anew for each try.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why a message cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Untold {
    #[error("its headers would take {bytes} bytes, more than {limit} (app.hook.max_header_bytes)")]
    HeadersTooLong { bytes: usize, limit: usize },
}

/// Makes the request. `id` names it in all of its tries, and `time_ms` is the time of day, in milliseconds since 1970.
pub(super) fn compose(options: &Options, request: &Request, id: &str, time_ms: u64) -> Result<Outgoing, Untold> {
    let mut headers = Facts::default();
    let session = &request.session;
    headers.push("gumboot-hook", &options.name);
    headers.push("gumboot-event", request.occasion.name());
    headers.push("gumboot-id", id);
    headers.push("gumboot-destination", request.destination.as_str());
    headers.push("gumboot-session", &session.name);
    headers.push("gumboot-user", session.user.as_deref().unwrap_or_default());
    headers.push("gumboot-transport", session.transport);
    headers.push("gumboot-peer", session.peer.as_deref().unwrap_or_default());
    headers.push("gumboot-reason", reason_of(request).unwrap_or_default());
    let (content_type, body) = match options.mode {
        Mode::Json => (Some("application/json"), Bytes::from(write_json(&envelope(options, request, id, time_ms)))),
        Mode::Raw => {
            headers.push_pairs("gumboot-captures", request.captures.iter());
            headers.push_pairs("gumboot-headers", request.headers.iter());
            headers.push_pairs("gumboot-attributes", request.attributes.iter());
            headers.push_pairs("gumboot-connect-headers", session.headers.iter());
            (request.headers.find("content-type"), request.body.clone())
        }
    };
    if headers.bytes > options.max_header_bytes {
        return Err(Untold::HeadersTooLong { bytes: headers.bytes, limit: options.max_header_bytes });
    }
    let mut headers = headers.map;
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("gumboot/", env!("CARGO_PKG_VERSION"))));
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert("idempotency-key", value);
    }
    // A type that no HTTP header can hold is found among the message's headers.
    if let Some(Ok(value)) = content_type.map(HeaderValue::from_str) {
        headers.insert(CONTENT_TYPE, value);
    }
    Ok(Outgoing { headers, body })
}

fn reason_of(request: &Request) -> Option<&'static str> {
    match request.occasion {
        Occasion::Disconnected { reason } => Some(reason),
        _ => None,
    }
}

/// Headers that are ours, with their size as sent. What is empty is left out.
#[derive(Default)]
struct Facts {
    map: HeaderMap,
    bytes: usize,
}

impl Facts {
    /// A text, percent-encoded where a header could not hold it as it is.
    fn push(&mut self, name: &'static str, text: &str) {
        if !text.is_empty() {
            self.insert(name, &percent_encode(text));
        }
    }

    /// Names and values as a JSON object.
    fn push_pairs<'t>(&mut self, name: &'static str, pairs: impl Iterator<Item = (&'t str, &'t str)>) {
        let pairs = Pairs::new(pairs);
        if !pairs.0.is_empty() {
            self.insert(name, &escape_beyond_ascii(&String::from_utf8_lossy(&write_json(&pairs))));
        }
    }

    fn insert(&mut self, name: &'static str, value: &str) {
        // Name, colon, space, value, end of line.
        self.bytes += name.len() + value.len() + 4;
        // Both encodings leave only visible letters and spaces of ASCII, so no value is refused.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.map.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Visible ASCII but for `%` stands for itself: destinations and most names stay as they are, and nothing can end the
/// header. `decodeURIComponent` and its like read it.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Invariant: writing to a `String` cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// JSON means the same with its letters beyond ASCII escaped; below, JSON has no control characters.
fn escape_beyond_ascii(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii_graphic() || letter == ' ' {
            escaped.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Invariant: writing to a `String` cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// The body of the mode `json`.
#[derive(Serialize)]
struct Envelope<'r> {
    event: &'static str,
    id: &'r str,
    hook: &'r str,
    time: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    destination: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    captures: Pairs<'r>,
    headers: Pairs<'r>,
    #[serde(flatten)]
    content: Option<Content<'r>>,
    session: Session<'r>,
}

#[derive(Serialize)]
struct Session<'r> {
    id: &'r str,
    user: Option<&'r str>,
    transport: &'static str,
    peer: Option<&'r str>,
    attributes: Pairs<'r>,
    headers: Pairs<'r>,
}

fn envelope<'r>(options: &'r Options, request: &'r Request, id: &'r str, time_ms: u64) -> Envelope<'r> {
    let session = &request.session;
    Envelope {
        event: request.occasion.name(),
        id,
        hook: &options.name,
        time: time_ms,
        destination: request.destination.as_str(),
        reason: reason_of(request),
        captures: Pairs::new(request.captures.iter()),
        headers: Pairs::new(request.headers.iter()),
        content: (request.occasion == Occasion::Send).then(|| Content::of(request)),
        session: Session {
            id: &session.name,
            user: session.user.as_deref(),
            transport: session.transport,
            peer: session.peer.as_deref(),
            attributes: Pairs::new(request.attributes.iter()),
            headers: Pairs::new(session.headers.iter()),
        },
    }
}

/// A message's body, and what it is written as.
#[derive(Serialize)]
#[serde(tag = "encoding", content = "body", rename_all = "lowercase")]
enum Content<'r> {
    /// As it came: numbers keep their digits, and objects their order.
    Json(&'r RawValue),
    Text(&'r str),
    Base64(String),
}

impl<'r> Content<'r> {
    fn of(request: &'r Request) -> Content<'r> {
        let is_json = request.headers.find("content-type").is_some_and(is_json);
        if let Some(Ok(value)) = is_json.then(|| serde_json::from_slice(&request.body)) {
            return Content::Json(value);
        }
        match std::str::from_utf8(&request.body) {
            Ok(text) => Content::Text(text),
            Err(_) => Content::Base64(BASE64.encode(&request.body)),
        }
    }
}

/// Whether a type says JSON: `application/json`, `application/problem+json`, with any parameters.
pub(super) fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.strip_prefix("application/").is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// Names and values as one object: the first of each name, in their order.
struct Pairs<'t>(Vec<(&'t str, &'t str)>);

impl<'t> Pairs<'t> {
    fn new(pairs: impl Iterator<Item = (&'t str, &'t str)>) -> Pairs<'t> {
        let mut first: Vec<(&str, &str)> = Vec::new();
        for (name, value) in pairs {
            if !first.iter().any(|(earlier, _)| *earlier == name) {
                first.push((name, value));
            }
        }
        Pairs(first)
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

fn write_json(value: &impl Serialize) -> Vec<u8> {
    // Invariant: the values of this file have text for keys and do not fail, and a `Vec` takes everything.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
