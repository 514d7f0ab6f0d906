//! What is said of one hook.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;

use super::signature::Secret;
use super::{backoff, breaker};
use crate::app::{Occasion, WhenLate};

/// One hook: which requests go where, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What it is called in logs, in metrics, and to the application. Key `app.hook.name`.
    pub name: String,
    /// Where requests are sent. Key `app.hook.url`.
    pub url: Endpoint,
    /// The application destinations it takes, as patterns. Default: none. Key `app.hook.destinations`.
    pub destinations: Vec<String>,
    /// What else it is told. Default: nothing. Key `app.hook.events`.
    pub events: Vec<Event>,
    /// How messages are told. Default: as JSON. Key `app.hook.mode`.
    pub mode: Mode,
    /// What requests are signed with. Default: nothing, so they are not signed. Keys `app.hook.secret`,
    /// `app.hook.secret_file` and `app.hook.secret_env`.
    pub secrets: Vec<SecretSource>,
    /// How long an answer may take, all tries together. Default: 5 s. Key `app.hook.timeout`.
    pub timeout: Duration,
    /// What becomes of a SUBSCRIBE that is not answered in time. Default: ERROR. Key `app.hook.when_late`.
    pub when_late: WhenLate,
    /// Tries after the first.
    pub backoff: backoff::Options,
    /// When no calls are made.
    pub breaker: breaker::Options,
    /// How many requests may be under way; more wait. Default: 64. Key `app.hook.concurrency`.
    pub concurrency: usize,
    /// How long a new connection may take, with look-up of the name and TLS. Default: 2 s. Key
    /// `app.hook.connect_timeout`.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept. Many servers close theirs after 5 s; a request that meets the end of its
    /// connection has failed. Default: 4 s. Key `app.hook.keep_idle`.
    pub keep_idle: Duration,
    /// How many unused connections are kept. Default: 16. Key `app.hook.max_idle`.
    pub max_idle: usize,
    /// How many bytes of an answer are read. Default: 1 MiB. Key `app.hook.max_answer_bytes`.
    pub max_answer_bytes: usize,
    /// How many bytes the `Gumboot-*` headers may have: servers refuse requests with more than 8 to 64 KiB of headers.
    /// Default: 8 KiB. Key `app.hook.max_header_bytes`.
    pub max_header_bytes: usize,
    /// The certificates, as PEM, of which one must vouch for a server; none: those that the system trusts. Key
    /// `app.hook.ca_file`.
    pub ca_file: Option<PathBuf>,
}

impl Options {
    /// A hook of this name to this place, with all else as by default: it is told nothing yet.
    pub fn new(name: impl Into<String>, url: Endpoint) -> Options {
        Options {
            name: name.into(),
            url,
            destinations: Vec::new(),
            events: Vec::new(),
            mode: Mode::default(),
            secrets: Vec::new(),
            timeout: Duration::from_secs(5),
            when_late: WhenLate::default(),
            backoff: backoff::Options::default(),
            breaker: breaker::Options::default(),
            concurrency: 64,
            connect_timeout: Duration::from_secs(2),
            keep_idle: Duration::from_secs(4),
            max_idle: 16,
            max_answer_bytes: 1 << 20,
            max_header_bytes: 8 << 10,
            ca_file: None,
        }
    }

    /// Whether it is told of this.
    pub(super) fn wants(&self, occasion: Occasion) -> bool {
        let event = match occasion {
            Occasion::Send | Occasion::Ask => return !self.destinations.is_empty(),
            Occasion::Connected => Event::Connected,
            Occasion::Disconnected { .. } => Event::Disconnected,
            Occasion::Subscribed => Event::Subscribed,
            Occasion::Unsubscribed => Event::Unsubscribed,
        };
        self.events.contains(&event)
    }
}

/// How a message is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// One JSON object with all there is to know.
    #[default]
    Json,
    /// The body as it came, and the rest in headers.
    Raw,
}

/// Something in the life of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It began.
    Connected,
    /// It ended.
    Disconnected,
    /// It subscribed to something that is no application destination.
    Subscribed,
    /// Such a subscription ended.
    Unsubscribed,
}

/// Where a secret is found when the broker starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// Here.
    Given(Secret),
    /// In this file, without the end of its last line.
    File(PathBuf),
    /// In this environment variable.
    Environment(String),
}

/// The URL of an application: `http` or `https`, with a host, without a user, a password and a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn parse(text: &str) -> Result<Endpoint, EndpointError> {
        if text.contains('#') {
            return Err(EndpointError::Fragment);
        }
        let uri: Uri = text.parse().map_err(|_| EndpointError::Unreadable)?;
        let authority = uri.authority().ok_or(EndpointError::NoHost)?;
        if uri.scheme() != Some(&Scheme::HTTP) && uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(EndpointError::Scheme);
        }
        if authority.host().is_empty() {
            return Err(EndpointError::NoHost);
        }
        if authority.as_str().contains('@') {
            return Err(EndpointError::User);
        }
        let has_odd_port = authority.as_str().rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'))
            && authority.port_u16().is_none_or(|port| port == 0);
        if has_odd_port {
            return Err(EndpointError::Unreadable);
        }
        Ok(Endpoint(uri))
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is none.
    #[error("it is no URL")]
    Unreadable,
    /// Something else than `http` and `https`.
    #[error("it begins with neither http:// nor https://")]
    Scheme,
    /// It names no machine.
    #[error("it names no host")]
    NoHost,
    /// A user or a password, which would show in logs.
    #[error("it has a user or a password in it")]
    User,
    /// What browsers keep to themselves.
    #[error("it has a fragment")]
    Fragment,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_http_to_a_host() {
        use EndpointError::{Fragment, NoHost, Scheme, Unreadable, User};
        for (text, outcome) in [
            ("http://localhost", Ok(())),
            ("https://app.example.com:8443/hooks/chat?key=1", Ok(())),
            ("http://[::1]:8080/", Ok(())),
            ("http://[::1]/", Ok(())),
            ("HTTP://localhost/", Ok(())),
            ("ftp://localhost/", Err(Scheme)),
            ("ws://localhost/", Err(Scheme)),
            ("/hooks", Err(NoHost)),
            ("localhost:8080", Err(Scheme)),
            ("http://", Err(Unreadable)),
            ("http://:80/", Err(NoHost)),
            ("http://bob:secret@localhost/", Err(User)),
            ("http://localhost/#here", Err(Fragment)),
            ("http://localhost:99999/", Err(Unreadable)),
            ("http://localhost:0/", Err(Unreadable)),
            ("http://local host/", Err(Unreadable)),
            ("", Err(Unreadable)),
        ] {
            assert_eq!(Endpoint::parse(text).map(|_| ()), outcome, "{text}");
        }
    }
}
