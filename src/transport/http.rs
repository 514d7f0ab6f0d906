//! The HTTP port: requests that become WebSocket connections, and a word for those that don't.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::websocket;
use crate::websocket::deflate::Agreement;
use crate::websocket::handshake::{self, Subprotocol};
use crate::websocket::origin::Listener;

/// Bytes of request that hyper may hold; a request line with headers larger than this is answered 431.
const REQUEST_BUFFER: usize = 16 * 1024;

/// What an HTTP connection is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path of the WebSocket endpoint. Default: `/ws`. Key `websocket.path`.
    pub path: String,
    /// How long the request may take to come, and how long a connection may idle between requests. Default: 10 s. Key
    /// `connect_timeout`.
    pub request_timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { path: "/ws".to_owned(), request_timeout: Duration::from_secs(10) }
    }
}

/// A connection after its upgrade to WebSocket.
#[derive(Debug)]
pub struct Upgraded {
    /// The socket.
    pub stream: TcpStream,
    /// What the client sent behind its request.
    pub early: Bytes,
    /// What compression was agreed on.
    pub deflate: Option<Agreement>,
}

/// A handshake whose answer is on its way.
struct Pending {
    upgrade: OnUpgrade,
    deflate: Option<Agreement>,
}

/// Serves an HTTP connection until it becomes a WebSocket connection, or ends.
pub async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    options: &Options,
    websocket: &websocket::Options,
    listener: Listener,
) -> Option<Upgraded> {
    let pending: Rc<RefCell<Option<Pending>>> = Rc::default();
    let service = service_fn(|request| {
        let response = respond(request, peer, options, websocket, listener, &pending);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.request_timeout)
        .max_buf_size(REQUEST_BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "an HTTP connection failed");
        return None;
    }
    let Pending { upgrade, deflate } = pending.take()?;
    let upgraded = upgrade.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    Some(Upgraded { stream: parts.io.into_inner(), early: parts.read_buf, deflate })
}

fn respond(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    options: &Options,
    websocket: &websocket::Options,
    listener: Listener,
    pending: &RefCell<Option<Pending>>,
) -> Response<Full<Bytes>> {
    if request.uri().path() != options.path {
        return plain(StatusCode::NOT_FOUND, format!("Gumboot speaks STOMP over WebSocket at {}\n", options.path));
    }
    match handshake::accept(&request, websocket, listener) {
        Ok(accepted) => {
            if accepted.subprotocol == Subprotocol::AllUnknown {
                let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
                tracing::info!(%peer, ?offered, "served a client that offered only unknown sub-protocols");
            }
            let upgrade = hyper::upgrade::on(&mut request);
            pending.replace(Some(Pending { upgrade, deflate: accepted.deflate }));
            accepted.response.map(|()| Full::default())
        }
        Err(rejection) => {
            let status = rejection.status().as_u16();
            tracing::info!(%peer, status, reason = %rejection, "handshake refused");
            rejection.response().map(|text| Full::from(Bytes::from(text)))
        }
    }
}

/// The whole answer for a connection that is one too many, as bytes: it is not worth a task.
pub fn too_many_connections(limit: usize) -> Vec<u8> {
    let text =
        format!("The broker has reached its limit of {limit} connections (limits.connections). Try again later.\n");
    let length = text.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 5\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n{text}"
    )
    .into_bytes()
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
