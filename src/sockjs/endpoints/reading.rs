//! Reading the body of a request, within what it may take.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::timeout;

use super::answers;
use crate::sockjs::Body;
use crate::sockjs::host::{Host, Share, TooMuch};

/// The body of a request.
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    /// Counts it, and is to go with what is made of it.
    pub(super) share: Share,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Unread {
    #[error("The request did not come in time")]
    Late,
    #[error("The request is larger than {0} bytes (websocket.max_packet)")]
    TooLarge(usize),
    #[error("The request broke off")]
    Broken,
    #[error(transparent)]
    TooMuch(TooMuch),
}

impl Unread {
    pub(super) fn response(self) -> Response<Body> {
        let status = match self {
            Unread::Late => StatusCode::REQUEST_TIMEOUT,
            Unread::TooLarge(_) | Unread::Broken => StatusCode::PAYLOAD_TOO_LARGE,
            Unread::TooMuch(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        answers::text(status, &format!("{self}\n"))
    }
}

/// Reads all of a body, of at most `limit` bytes, in at most `time`.
pub(super) async fn read(body: &mut Incoming, limit: usize, time: Duration, host: &dyn Host) -> Result<Whole, Unread> {
    let mut whole = Whole { bytes: Vec::new(), share: Share::new(host) };
    let reading = async {
        while let Some(frame) = body.frame().await {
            let piece = frame.map_err(|_| Unread::Broken)?.into_data().unwrap_or_else(|_| Bytes::new());
            if piece.len() > limit - whole.bytes.len() {
                return Err(Unread::TooLarge(limit));
            }
            if !piece.is_empty() {
                whole.share.add(piece.len(), host).map_err(Unread::TooMuch)?;
                whole.bytes.extend_from_slice(&piece);
            }
        }
        Ok(())
    };
    match timeout(time, reading).await {
        Ok(Ok(())) => Ok(whole),
        Ok(Err(unread)) => Err(unread),
        Err(_) => Err(Unread::Late),
    }
}
