//! Reading the body of a request, within what it may take.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::limit::{Limit, Unread};
use crate::sockjs::host::{Host, Share};

/// The body of a request.
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    /// Counts it, and is to go with what is made of it.
    pub(super) share: Share,
}

/// Reads all of a body, of at most `limit` bytes, in at most `time`.
pub(super) async fn read(body: &mut Incoming, limit: usize, time: Duration, host: &dyn Host) -> Result<Whole, Unread> {
    let mut whole = Whole { bytes: Vec::new(), share: Share::new(host) };
    let reading = async {
        while let Some(frame) = body.frame().await {
            let piece = frame.map_err(|_| Unread::Broken)?.into_data().unwrap_or_else(|_| Bytes::new());
            if piece.len() > limit - whole.bytes.len() {
                return Err(Unread::Limit(Limit::Body(limit)));
            }
            if !piece.is_empty() {
                whole.share.add(piece.len(), host).map_err(|much| Unread::Limit(Limit::Bodies(much)))?;
                whole.bytes.extend_from_slice(&piece);
            }
        }
        Ok(())
    };
    match timeout(time, reading).await {
        Ok(Ok(())) => Ok(whole),
        Ok(Err(unread)) => Err(unread),
        Err(_) => Err(Unread::Limit(Limit::Time(time))),
    }
}
