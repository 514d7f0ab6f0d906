//! Limits that requests meet, and what is said of it.

use std::time::Duration;

use http::{Response, StatusCode};

use super::answers;
use crate::sockjs::body::Body;
use crate::sockjs::host::TooMuch;

/// What a request asks too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Limit {
    #[error("Too many SockJS sessions: there may be {0} (sockjs.max_conduits)")]
    Conduits(usize),
    #[error("The request is too large: its body may have {0} bytes (websocket.max_packet)")]
    Body(usize),
    #[error("The request took too long: its body must come within {} ms (connect_timeout)", .0.as_millis())]
    Time(Duration),
    #[error(transparent)]
    Bodies(TooMuch),
}

/// Why the body of a request was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Limit(Limit),
    /// The client went away, or does not speak HTTP.
    Broken,
}

impl Limit {
    /// Stable, for metrics.
    pub(super) fn code(self) -> &'static str {
        match self {
            Limit::Conduits(_) => "too-many-conduits",
            Limit::Body(_) => "request-too-long",
            Limit::Time(_) => "request-timeout",
            Limit::Bodies(_) => "too-much-unfinished",
        }
    }

    pub(super) fn answer(self) -> Response<Body> {
        let status = match self {
            Limit::Conduits(_) | Limit::Bodies(_) => StatusCode::SERVICE_UNAVAILABLE,
            Limit::Body(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Limit::Time(_) => StatusCode::REQUEST_TIMEOUT,
        };
        answers::text(status, &format!("{self}\n"))
    }
}
