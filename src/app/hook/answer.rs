//! What the application's answer means.

use std::collections::BTreeMap;

use bytes::Bytes;
use bytestring::ByteString;
use data_encoding::BASE64;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::backoff::Miss;
use super::request::is_json;
use crate::app::{Change, Done, Failure, Occasion, Reply, To};
use crate::destination::Destination;
use crate::headers::Headers;

/// The content type of answers that say more than one message to the usual place.
pub const REPLIES: &str = "application/vnd.gumboot.replies+json";

/// Letters of an application's words that a client gets to read.
const LONGEST_WORDS: usize = 500;

/// An answer as it came.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) status: StatusCode,
    pub(super) content_type: Option<String>,
    pub(super) body: Bytes,
}

/// What comes of a status by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The application has done its part.
    Done,
    /// It says no, and will say so again.
    Refused,
    /// It cannot, and may later.
    Missed(Miss),
    /// It answers in a way that a hook does not understand, such as with a redirection.
    Odd,
}

impl Verdict {
    /// Of a status; `retry_after` matters only where the application is busy.
    pub(super) fn of(status: StatusCode, retry_after: Option<std::time::Duration>) -> Verdict {
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Verdict::Missed(Miss::Busy(retry_after)),
            _ if status.is_success() => Verdict::Done,
            _ if status.is_client_error() => Verdict::Refused,
            _ if status.is_server_error() => Verdict::Missed(Miss::Unknown),
            _ => Verdict::Odd,
        }
    }
}

/// Why a good answer cannot be understood. For the log: the client is told only that the handler failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Misunderstood {
    #[error("the answer is not what {REPLIES} says: {0}")]
    Format(#[from] serde_json::Error),
    #[error("a reply has a header without a name")]
    NamelessHeader,
    #[error("a reply has a body that is not base64, though it says so")]
    NotBase64,
    #[error("a reply has no body, though it says how it is encoded")]
    NoBody,
    #[error("a reply has a JSON body that is no text, though it says it is")]
    NotText,
}

/// Reads the body of a good answer.
pub(super) fn read(incoming: &Incoming, occasion: Occasion) -> Result<Done, Misunderstood> {
    if incoming.status == StatusCode::NO_CONTENT || incoming.body.is_empty() {
        return Ok(Done::default());
    }
    let content_type = incoming.content_type.as_deref().unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(REPLIES) {
        return read_replies(&incoming.body);
    }
    // Many applications say "ok" to everything; what answers no message goes nowhere.
    if !matches!(occasion, Occasion::Send | Occasion::Ask) {
        return Ok(Done::default());
    }
    let headers = Some(("content-type", content_type)).filter(|(_, kind)| !kind.is_empty()).into_iter().collect();
    let reply = Reply { to: To::Default, headers, body: incoming.body.clone() };
    Ok(Done { replies: vec![reply], changes: Vec::new() })
}

/// What a refusal tells the client: the application's own words where they are short and plain.
pub(super) fn read_refusal(incoming: &Incoming) -> Failure {
    let content_type = incoming.content_type.as_deref().unwrap_or_default();
    let is_text = content_type.trim().to_ascii_lowercase().starts_with("text/plain");
    let words = match std::str::from_utf8(&incoming.body) {
        Ok(text) if is_text => Some(text.to_owned()),
        Ok(text) if is_json(content_type) => serde_json::from_str::<Words>(text).ok().and_then(Words::choose),
        _ => None,
    };
    let plain = words.map(|words| make_plain(&words)).filter(|words| !words.is_empty());
    let status = incoming.status.as_u16();
    Failure::Application(plain.unwrap_or_else(|| format!("the application refused it with status {status}")).into())
}

/// What a status of the fives, or "busy", comes to where there is no other try.
pub(super) fn failure_of(status: StatusCode) -> Failure {
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Failure::Unavailable,
        // It is there, but failed.
        _ => Failure::Broken,
    }
}

/// The body of a refusal, of which one is told: `message` if it is there, else as in `application/problem+json`.
#[derive(Deserialize)]
struct Words {
    message: Option<String>,
    detail: Option<String>,
    title: Option<String>,
}

impl Words {
    fn choose(self) -> Option<String> {
        self.message.or(self.detail).or(self.title)
    }
}

/// One line of limited length.
fn make_plain(words: &str) -> String {
    let letters = words.trim().chars().take(LONGEST_WORDS);
    letters.map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// What [`REPLIES`] holds. A name that is not here is a mistake that its author wants to know.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replies<'b> {
    #[serde(borrow, default)]
    replies: Vec<Written<'b>>,
    #[serde(default)]
    attributes: BTreeMap<String, Option<Scalar>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'b> {
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Scalar>,
    #[serde(borrow, default)]
    body: Option<&'b RawValue>,
    #[serde(default)]
    encoding: Option<Encoding>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Json,
    Text,
    Base64,
}

/// Numbers and truths stand for their text, since headers and attributes hold nothing else.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(serde_json::Number),
    Truth(bool),
}

impl Scalar {
    fn into_text(self) -> String {
        match self {
            Scalar::Text(text) => text,
            Scalar::Number(number) => number.to_string(),
            Scalar::Truth(truth) => truth.to_string(),
        }
    }
}

fn read_replies(body: &[u8]) -> Result<Done, Misunderstood> {
    let Replies { replies, attributes } = serde_json::from_slice(body)?;
    let replies = replies.into_iter().map(Written::into_reply).collect::<Result<Vec<Reply>, Misunderstood>>()?;
    let change = |(name, value): (String, Option<Scalar>)| Change {
        name: name.into(),
        value: value.map(|value| value.into_text().into()),
    };
    Ok(Done { replies, changes: attributes.into_iter().map(change).collect() })
}

impl Written<'_> {
    fn into_reply(self) -> Result<Reply, Misunderstood> {
        let (body, implied_type) = read_body(self.body, self.encoding)?;
        let mut headers: Vec<(String, String)> =
            self.headers.into_iter().map(|(name, value)| (name, value.into_text())).collect();
        if headers.iter().any(|(name, _)| name.is_empty()) {
            return Err(Misunderstood::NamelessHeader);
        }
        if let Some(implied) = implied_type.filter(|_| !headers.iter().any(|(name, _)| name == "content-type")) {
            headers.push(("content-type".to_owned(), implied.to_owned()));
        }
        Ok(Reply { to: read_to(self.to.as_deref()), headers: Headers::from_iter(headers), body })
    }
}

/// Without an encoding, a text is text and everything else is JSON. Answers also with the type that goes with it.
fn read_body(
    body: Option<&RawValue>,
    encoding: Option<Encoding>,
) -> Result<(Bytes, Option<&'static str>), Misunderstood> {
    const TEXT: &str = "text/plain;charset=utf-8";
    let Some(raw) = body.map(RawValue::get) else {
        return if encoding.is_none() { Ok((Bytes::new(), None)) } else { Err(Misunderstood::NoBody) };
    };
    let text = || serde_json::from_str::<String>(raw).map_err(|_| Misunderstood::NotText);
    let is_text = raw.starts_with('"');
    match encoding {
        None if is_text => Ok((text()?.into(), Some(TEXT))),
        Some(Encoding::Text) => Ok((text()?.into(), Some(TEXT))),
        Some(Encoding::Base64) => {
            let bytes = BASE64.decode(text()?.as_bytes()).map_err(|_| Misunderstood::NotBase64)?;
            Ok((bytes.into(), None))
        }
        None | Some(Encoding::Json) => Ok((Bytes::copy_from_slice(raw.as_bytes()), Some("application/json"))),
    }
}

fn read_to(to: Option<&str>) -> To {
    match to {
        None | Some("default") => To::Default,
        Some("sender") => To::Sender,
        Some(other) => match other.strip_prefix("user:") {
            Some(user) => To::User(ByteString::from(user)),
            None => To::Destination(Destination::new(other)),
        },
    }
}

#[cfg(test)]
mod tests;
