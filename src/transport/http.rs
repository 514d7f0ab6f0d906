//! The HTTP port: requests that become WebSocket connections, those of SockJS, and a word for all others.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::sockjs::{self, Answer, Body, Endpoints, Spoken, Upgrade};
use crate::websocket;
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
    /// What is spoken on it.
    pub spoken: Spoken,
}

/// Serves an HTTP connection until it becomes a WebSocket connection, or ends. Without `sockjs` there is none.
pub async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    options: &Options,
    websocket: &websocket::Options,
    listener: Listener,
    sockjs: Option<&Endpoints>,
) -> Option<Upgraded> {
    let pending: Rc<RefCell<Option<Upgrade>>> = Rc::default();
    let service = service_fn(|request: Request<Incoming>| {
        let pending = Rc::clone(&pending);
        async move {
            let Answer { response, upgrade } = match sockjs.filter(|sockjs| sockjs.serves(&request)) {
                Some(sockjs) => sockjs.answer(request, peer, listener).await,
                None => respond(request, peer, options, websocket, listener),
            };
            pending.replace(upgrade);
            Ok::<_, Infallible>(response)
        }
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
    let upgrade = pending.take()?;
    let upgraded = upgrade.pending.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    let stream = parts.io.into_inner();
    Some(Upgraded { stream, early: parts.read_buf, spoken: upgrade.spoken })
}

fn respond(
    request: Request<Incoming>,
    peer: SocketAddr,
    options: &Options,
    websocket: &websocket::Options,
    listener: Listener,
) -> Answer {
    let (parts, body) = request.into_parts();
    let mut request = Request::from_parts(parts, ());
    let mut answer = answer_to(&mut request, peer, options, websocket, listener);
    if answer.upgrade.is_none() {
        let (limit, time) = (websocket.max_packet_bytes, options.request_timeout);
        sockjs::drain(body, request.headers(), limit, time, &mut answer.response);
    }
    answer
}

fn answer_to(
    request: &mut Request<()>,
    peer: SocketAddr,
    options: &Options,
    websocket: &websocket::Options,
    listener: Listener,
) -> Answer {
    if request.uri().path() != options.path {
        let text = format!("Gumboot speaks STOMP over WebSocket at {}\n", options.path);
        return Answer { response: plain(StatusCode::NOT_FOUND, text), upgrade: None };
    }
    match handshake::accept(request, websocket, listener) {
        Ok(accepted) => {
            if accepted.subprotocol == Subprotocol::AllUnknown {
                let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
                tracing::info!(%peer, ?offered, "served a client that offered only unknown sub-protocols");
            }
            let pending = hyper::upgrade::on(request);
            let upgrade = Some(Upgrade { pending, spoken: Spoken::WebSocket(accepted.deflate) });
            Answer { response: accepted.response.map(|()| Body::from(Bytes::new())), upgrade }
        }
        Err(rejection) => {
            let status = rejection.status().as_u16();
            tracing::info!(%peer, status, reason = %rejection, "handshake refused");
            Answer { response: rejection.response().map(Body::from), upgrade: None }
        }
    }
}

/// The whole answer for a connection that cannot be served now, as bytes: it is not worth an HTTP server.
pub fn unavailable(text: &str) -> Vec<u8> {
    let length = text.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 5\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n{text}"
    )
    .into_bytes()
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
