//! Bodies of requests that were answered without them.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Incoming};

use super::Body;

/// Reads on what has not come of a body, beside the answer, and forgets it.
///
/// The system resets a connection that is closed with bytes unread, and the client can lose the answer with it. At most
/// `limit` bytes are read in at most `time`. A connection whose client has not sent all of the body by then is closed; where
/// that is known at once, the response says so.
pub(crate) fn drain(
    mut body: Incoming,
    request: &HeaderMap,
    limit: usize,
    time: Duration,
    response: &mut Response<Body>,
) {
    if body.is_end_stream() {
        return;
    }
    // Who waits to be told to go on will send nothing after this answer.
    let waits = request.contains_key(header::EXPECT);
    if waits || body.size_hint().lower() > limit as u64 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if waits {
        return;
    }
    tokio::task::spawn_local(async move {
        let reading = async {
            let mut read = 0;
            while read <= limit
                && let Some(Ok(frame)) = body.frame().await
            {
                read += frame.data_ref().map_or(0, Bytes::len);
            }
        };
        // Whatever it came to, the body is dropped, and with it the connection unless it was whole.
        let _ = tokio::time::timeout(time, reading).await;
    });
}
