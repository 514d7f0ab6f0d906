//! The opening handshake: from an HTTP request to the `101` response, or to a clear refusal.

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{
        ALLOW, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
        UPGRADE,
    },
};
use thiserror::Error;
use tungstenite::{
    error::{Error, ProtocolError},
    handshake::server::create_response_with_body,
};

use super::{
    Options,
    deflate::{self, Agreement},
    origin::{self, Listener},
};

/// A request that becomes a WebSocket connection.
#[derive(Debug)]
pub struct Accepted {
    /// The `101` response, complete.
    pub response: Response<()>,
    /// What came of the client's list of sub-protocols.
    pub subprotocol: Subprotocol,
    /// What compression was agreed on, if any.
    pub deflate: Option<Agreement>,
}

/// What came of the sub-protocols that a client offered. It is served in each case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subprotocol {
    /// The first of the client's list that we speak; the response names it.
    Agreed(String),
    /// The client offered none.
    NotOffered,
    /// The client offered only ones we do not know, which is worth a line in the log.
    AllUnknown,
}

/// A request that is not, or must not become, a WebSocket connection. Its text tells the client what to change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// Not a GET: 405.
    #[error("a WebSocket connection begins with a GET request")]
    Method,
    /// HTTP before 1.1: 505.
    #[error("a WebSocket connection needs HTTP/1.1")]
    HttpVersion,
    /// An ordinary request: 426.
    #[error(
        "this address speaks WebSocket: a request needs the headers \"Connection: Upgrade\" and \"Upgrade: websocket\""
    )]
    NotAnUpgrade,
    /// Another version of the protocol than 13: 426.
    #[error("this server speaks version 13 of WebSocket: a request needs the header \"Sec-WebSocket-Version: 13\"")]
    Version,
    /// No `Sec-WebSocket-Key`, or not 16 bytes in base64: 400.
    #[error("a request needs the header \"Sec-WebSocket-Key\" with 16 random bytes in base64")]
    Key,
    /// In the draft of 2010, keys that are no such numbers as it wants: 400.
    #[error(
        "a request of this draft needs the headers \"Sec-WebSocket-Key1\" and \"Sec-WebSocket-Key2\", each with a number of \
         32 bits that the count of its spaces divides"
    )]
    DraftKeys,
    /// In the draft of 2010, whose answer has the address in it, a request without one: 400.
    #[error("a request of this draft needs the header \"Host\"")]
    Host,
    /// A page from elsewhere: 403.
    #[error(transparent)]
    Origin(#[from] origin::Refused),
}

/// Judges a request for a WebSocket connection.
///
/// # Errors
/// See [`Rejection`]; [`Rejection::response`] makes the answer.
pub fn accept<B>(request: &Request<B>, options: &Options, listener: Listener) -> Result<Accepted, Rejection> {
    let mut response = create_response_with_body(request, || ()).map_err(|error| match error {
        Error::Protocol(ProtocolError::WrongHttpMethod) => Rejection::Method,
        Error::Protocol(ProtocolError::WrongHttpVersion) => Rejection::HttpVersion,
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => Rejection::Version,
        Error::Protocol(ProtocolError::MissingSecWebSocketKey | ProtocolError::InvalidSecWebSocketKey) => {
            Rejection::Key
        }
        _ => Rejection::NotAnUpgrade,
    })?;
    let headers = request.headers();
    origin::check(headers, &options.allowed_origins, listener)?;

    let subprotocol = choose_subprotocol(headers, &options.subprotocols);
    if let Subprotocol::Agreed(name) = &subprotocol {
        insert(&mut response, SEC_WEBSOCKET_PROTOCOL, name);
    }
    let offers = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|value| value.to_str().ok());
    let agreed = deflate::negotiate(offers, &options.deflate);
    if let Some((_, value)) = &agreed {
        insert(&mut response, SEC_WEBSOCKET_EXTENSIONS, value);
    }
    Ok(Accepted { response, subprotocol, deflate: agreed.map(|(agreement, _)| agreement) })
}

impl Rejection {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Rejection::Method => StatusCode::METHOD_NOT_ALLOWED,
            Rejection::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Rejection::NotAnUpgrade | Rejection::Version => StatusCode::UPGRADE_REQUIRED,
            Rejection::Key | Rejection::DraftKeys | Rejection::Host => StatusCode::BAD_REQUEST,
            Rejection::Origin(_) => StatusCode::FORBIDDEN,
        }
    }

    /// The answer: the status, the headers that go with it, and the text as body.
    pub fn response(&self) -> Response<String> {
        let mut response = Response::new(format!("{self}\n"));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self {
            Rejection::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("GET"));
            }
            Rejection::NotAnUpgrade | Rejection::Version => {
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            Rejection::HttpVersion | Rejection::Key | Rejection::DraftKeys | Rejection::Host | Rejection::Origin(_) => {
            }
        }
        response
    }
}

/// Chooses among what the client offers.
pub(super) fn choose_subprotocol(headers: &HeaderMap, spoken: &[String]) -> Subprotocol {
    let mut offered = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(|name| name.trim_matches([' ', '\t']))
        .filter(|name| !name.is_empty())
        .peekable();
    if offered.peek().is_none() {
        return Subprotocol::NotOffered;
    }
    match offered.find(|name| spoken.iter().any(|each| each == name)) {
        Some(name) => Subprotocol::Agreed(name.to_owned()),
        None => Subprotocol::AllUnknown,
    }
}

/// Adds a header whose value is made of text that came in headers or is our own.
pub(super) fn insert(response: &mut Response<()>, name: http::HeaderName, value: &str) {
    // Invariant: text taken from a header value, and digits and tokens of our own, are fit for a header value.
    let value = HeaderValue::from_str(value);
    debug_assert!(value.is_ok());
    if let Ok(value) = value {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
pub(super) mod tests;
