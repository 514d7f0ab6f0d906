//! Which web pages may connect.
//!
//! A browser lets any page open a WebSocket to any server and sends the visitor's cookies along, but it tells the
//! server which page it was, in `Origin`. Programs that are not browsers send no `Origin` and are not concerned.

use http::{
    HeaderMap,
    header::{HOST, ORIGIN},
};
use thiserror::Error;

/// What the rules need to know of the listener that a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Whether it is bound to a loopback address.
    pub loopback: bool,
    /// Whether it speaks TLS itself.
    pub tls: bool,
}

/// An origin, or a set of them, as an operator writes it.
///
/// - `https://example.com`, `http://localhost:8080`: one origin. Without a port, the scheme's own.
/// - `https://*.example.com`: all names below `example.com`, at any depth, but not `example.com` itself.
/// - `http://example.com:*`: any port.
/// - `*`: every origin. `null`: pages without an origin, such as local files and sandboxed frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Shape);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Any,
    Null,
    Origin { scheme: String, host: HostPattern, port: PortPattern },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Exactly(String),
    /// The suffix, with its leading dot.
    Below(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortPattern {
    Any,
    /// `None` is the port of a scheme that has none.
    Exactly(Option<u16>),
}

/// Why a pattern cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// There is no `://`.
    #[error("an origin begins with a scheme, such as https://example.com")]
    NoScheme,
    /// A path, a query or a user name is no part of an origin.
    #[error("an origin is a scheme, a host and perhaps a port, with nothing behind it")]
    NotAnOrigin,
    /// A `*` that is not the whole first label of the host.
    #[error("a * stands for whole labels at the beginning of a host, as in https://*.example.com")]
    Star,
    /// Not a number from 0 to 65535 and not `*`.
    #[error("a port is a number up to 65535, or *")]
    Port,
}

/// A request's origin is not allowed. Holds what to tell the client and the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("origin {0:?} may not connect here; an operator can add it to the allowed origins")]
pub struct Refused(pub String);

/// Judges the `Origin` of a request.
///
/// Allowed are: a request without one; the same origin as the request's `Host`; on a loopback listener any loopback
/// origin; and what `allowed` lists. A listener without TLS may stand behind a proxy that ends TLS, so it takes both
/// schemes for its own; one with TLS takes only `https`.
///
/// # Errors
/// The origin is not allowed, or there is more than one: answer with 403.
pub fn check(headers: &HeaderMap, allowed: &[Pattern], listener: Listener) -> Result<(), Refused> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(origin.as_bytes());
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if origins.next().is_none() && is_allowed(&text, host, allowed, listener) {
        Ok(())
    } else {
        Err(Refused(text.into_owned()))
    }
}

/// Whether every page may connect, whatever its origin.
pub fn is_open_to_all(allowed: &[Pattern]) -> bool {
    allowed.contains(&Pattern(Shape::Any))
}

fn is_allowed(text: &str, host: Option<&str>, allowed: &[Pattern], listener: Listener) -> bool {
    let origin = Origin::parse(text);
    if allowed.iter().any(|pattern| pattern.covers(text, origin.as_ref())) {
        return true;
    }
    origin.is_some_and(|origin| {
        (listener.loopback && is_loopback(&origin.host)) || host.is_some_and(|host| origin.is_same(host, listener))
    })
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The text is none of the forms that [`Pattern`] lists.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        match text {
            "*" => return Ok(Pattern(Shape::Any)),
            "null" => return Ok(Pattern(Shape::Null)),
            _ => {}
        }
        let (scheme, authority) = text.split_once("://").ok_or(PatternError::NoScheme)?;
        let (host, port) = split_authority(authority).ok_or(PatternError::NotAnOrigin)?;
        let scheme = scheme.to_ascii_lowercase();
        let host = host.to_ascii_lowercase();
        let (below, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host.as_str()),
        };
        if name.contains('*') {
            return Err(PatternError::Star);
        }
        if !is_scheme(&scheme) || !is_host(name) || (below && name.starts_with('[')) {
            return Err(PatternError::NotAnOrigin);
        }
        let port = match port {
            Some("*") => PortPattern::Any,
            Some(digits) => PortPattern::Exactly(Some(port_number(digits).ok_or(PatternError::Port)?)),
            None => PortPattern::Exactly(default_port(&scheme)),
        };
        let host = if below { HostPattern::Below(format!(".{name}")) } else { HostPattern::Exactly(host) };
        Ok(Pattern(Shape::Origin { scheme, host, port }))
    }

    fn covers(&self, text: &str, origin: Option<&Origin>) -> bool {
        match (&self.0, origin) {
            (Shape::Any, _) => true,
            (Shape::Null, _) => text == "null",
            (Shape::Origin { scheme, host, port }, Some(origin)) => {
                let host_fits = match host {
                    HostPattern::Exactly(name) => origin.host == *name,
                    HostPattern::Below(suffix) => {
                        origin.host.len() > suffix.len() && origin.host.ends_with(suffix.as_str())
                    }
                };
                let port_fits = match port {
                    PortPattern::Any => true,
                    PortPattern::Exactly(port) => origin.port == *port,
                };
                origin.scheme == *scheme && host_fits && port_fits
            }
            (Shape::Origin { .. }, None) => false,
        }
    }
}

/// An origin as a browser sends it, in lower case, with the scheme's port filled in.
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    fn parse(text: &str) -> Option<Origin> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_authority(authority)?;
        if !is_scheme(&scheme) || !is_host(host) {
            return None;
        }
        let port = match port {
            Some(digits) => Some(port_number(digits)?),
            None => default_port(&scheme),
        };
        Some(Origin { scheme, host: host.to_ascii_lowercase(), port })
    }

    /// Whether a page of this origin talks to where it came from, given the request's `Host`.
    fn is_same(&self, host: &str, listener: Listener) -> bool {
        let scheme_fits = self.scheme == "https" || (self.scheme == "http" && !listener.tls);
        let Some((name, port)) = split_authority(host) else {
            return false;
        };
        let port = match port {
            Some(digits) => port_number(digits),
            None => default_port(&self.scheme),
        };
        scheme_fits && name.eq_ignore_ascii_case(&self.host) && port == self.port
    }
}

/// `host [ ":" port ]`, where a host in brackets holds colons of its own.
fn split_authority(authority: &str) -> Option<(&str, Option<&str>)> {
    let host_end = match authority.strip_prefix('[') {
        Some(_) => authority.find(']')? + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at_checked(host_end)?;
    match rest.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None => rest.is_empty().then_some((host, None)),
    }
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// A name, an IPv4 address, or an IPv6 address in brackets. Other scripts come in their ASCII form.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => {
            !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
        }
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    }
}

fn port_number(digits: &str) -> Option<u16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// `localhost`, `127.0.0.0/8` and `[::1]`.
fn is_loopback(host: &str) -> bool {
    if matches!(host, "localhost" | "[::1]") {
        return true;
    }
    let mut parts = host.split('.');
    parts.next() == Some("127") && parts.clone().count() == 3 && parts.all(|part| part.parse::<u8>().is_ok())
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests;
