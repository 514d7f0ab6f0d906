//! What clients still send when all is said: bodies of requests that were answered without them, and whatever comes on a
//! connection that is being closed.
//!
//! The system resets a connection that is closed with bytes unread, and the client can lose with it what it was told last.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Incoming};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink, split};
use tokio::time::timeout;

use super::Body;

/// Reads on what has not come of a body, beside the answer, and forgets it.
///
/// At most `limit` bytes are read in at most `time`. A connection whose client has not sent all of the body by then is closed; where
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
        let _ = timeout(time, reading).await;
    });
}

/// Writes the last bytes of a connection and closes our side; and then waits for the peer to close its own, unless that sends
/// more than `most` bytes before. What it sends meanwhile is forgotten, from the beginning: a peer that first says all it has to say
/// and then reads would never come to that. Each of the two may take `time`.
pub(crate) async fn farewell<S: AsyncRead + AsyncWrite>(stream: S, last: &[u8], time: Duration, most: u64) {
    let (reading, mut writing) = split(stream);
    let mut reading = reading.take(most);
    let mut nowhere = sink();
    let mut heard = pin!(copy(&mut reading, &mut nowhere));
    let mut said = pin!(timeout(time, async {
        writing.write_all(last).await?;
        writing.shutdown().await
    }));
    tokio::select! {
        said = &mut said => {
            if let Ok(Ok(())) = said {
                let _ = timeout(time, heard).await;
            }
        }
        heard = &mut heard => {
            if heard.is_ok() {
                let _ = said.await;
            }
        }
    }
}
