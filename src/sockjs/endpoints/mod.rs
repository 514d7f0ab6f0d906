//! From HTTP requests to conduits and back.

mod answers;
mod limit;
mod reading;
mod route;

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use super::Options;
use super::body::Body;
use super::conduit::{Conduit, Takes};
use super::dialect::Dialect;
use super::drive::Drive;
use super::framing::{Callback, Wrapping, json};
use super::host::{Host, Opened, Patience, Share};
use super::link::Link;
use super::pipe;
use super::registry::{Arrival, Found, Handle, Post, Registry};
use super::socket::{self, Socket};
use super::unread::drain;
use crate::websocket;
use crate::websocket::deflate::Agreement;
use crate::websocket::draft76::{self, Challenge};
use crate::websocket::handshake::{self, Rejection};
use crate::websocket::origin::{self, Listener};
use limit::{Limit, Unread};
use reading::Whole;
use route::{Route, Transport};

/// Pieces of a response that may wait for its connection: the first bytes of a stream, and a frame or two.
const PIECES: usize = 3;

/// How often a request looks for a conduit that ends while it looks.
const ATTEMPTS: usize = 3;

const SCRIPT: &str = "application/javascript; charset=UTF-8";

/// What became of a request.
#[derive(Debug)]
pub struct Answer {
    /// What to answer.
    pub response: Response<Body>,
    /// Present where the connection speaks WebSocket after the response.
    pub upgrade: Option<Upgrade>,
}

/// A connection that is about to speak WebSocket.
#[derive(Debug)]
pub struct Upgrade {
    /// Gives the connection when the response is written.
    pub pending: OnUpgrade,
    /// What is spoken then.
    pub spoken: Spoken,
}

/// What a connection speaks behind its `101` response.
#[derive(Clone, Copy, Debug)]
pub enum Spoken {
    /// WebSocket, with the compression that was agreed on.
    WebSocket(Option<Agreement>),
    /// WebSocket with SockJS in it, for [`Endpoints::serve_socket`]. In the draft of 2010 there is a challenge left to answer.
    SockJs(Option<Challenge>),
}

/// One SockJS service, as one worker serves it.
pub struct Endpoints {
    path: String,
    options: Options,
    raw: websocket::Options,
    /// As `raw`, but for packets that we read ourselves.
    framed: websocket::Options,
    patience: Patience,
    registry: Arc<Registry>,
    host: Rc<dyn Host>,
}

impl Endpoints {
    /// Serves below `path`. Services that share a registry find each other's conduits. `host` is told of each new one, on the
    /// thread that serves the request.
    pub fn new(
        path: &str,
        options: &Options,
        websocket: &websocket::Options,
        patience: Patience,
        registry: Arc<Registry>,
        host: Rc<dyn Host>,
    ) -> Endpoints {
        let mut framed = websocket.clone();
        framed.deflate.enabled = false;
        Endpoints {
            path: path.trim_end_matches('/').to_owned(),
            options: options.clone(),
            raw: websocket.clone(),
            framed,
            patience,
            registry,
            host,
        }
    }

    /// Whether a request is for this service. A WebSocket handshake at the very path is not.
    pub fn serves(&self, request: &Request<Incoming>) -> bool {
        let Some(rest) = request.uri().path().strip_prefix(&self.path) else { return false };
        match rest {
            // The handshake's own path may end with a slash, or be nothing else.
            "" | "/" => !request.headers().contains_key(header::UPGRADE) && request.method() == Method::GET,
            _ => rest.starts_with('/'),
        }
    }

    /// Answers a request. What receives is answered when there is something, so this may take long.
    pub async fn answer(&self, request: Request<Incoming>, peer: SocketAddr, listener: Listener) -> Answer {
        let (parts, mut body) = request.into_parts();
        let mut request = Request::from_parts(parts, ());
        let mut answer = self.answer_to(&mut request, &mut body, peer, listener).await;
        if answer.upgrade.is_none() {
            let (limit, time) = (self.framed.max_packet_bytes, self.patience.request);
            drain(body, request.headers(), limit, time, &mut answer.response);
        }
        answer
    }

    /// As [`Endpoints::answer`]. What is not read of the body plays no part in the answer.
    async fn answer_to(
        &self,
        request: &mut Request<()>,
        body: &mut Incoming,
        peer: SocketAddr,
        listener: Listener,
    ) -> Answer {
        let path = request.uri().path().to_owned();
        let rest = path.strip_prefix(&self.path).unwrap_or_default();
        let route = route::route(rest);
        let response = match route {
            None => answers::not_found(),
            Some(Route::Greeting) => get_only(request, || answers::text(StatusCode::OK, "Welcome to SockJS!\n")),
            Some(Route::Iframe) => get_only(request, || {
                let framed_by_all = origin::is_open_to_all(&self.raw.allowed_origins);
                answers::iframe(request.headers(), &self.options.client_library_url, framed_by_all)
            }),
            Some(Route::Info) => self.info(request, listener),
            Some(Route::RawWebSocket) if self.options.websocket => return self.shake_hands(request, listener, false),
            Some(Route::Session { transport: Transport::WebSocket, .. }) if self.options.websocket => {
                return self.shake_hands(request, listener, true);
            }
            Some(Route::RawWebSocket | Route::Session { transport: Transport::WebSocket, .. }) => answers::not_found(),
            Some(Route::Session { session, transport }) => {
                self.serve_session(request, body, peer, listener, session, transport).await
            }
        };
        Answer { response, upgrade: None }
    }

    /// Serves a connection that speaks WebSocket with SockJS in it, until its end. `early` is what came behind the
    /// `101` response, and `challenge` that of [`Spoken::SockJs`]; `permit` is held until the connection is closed.
    pub fn serve_socket<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        challenge: Option<Challenge>,
        early: &[u8],
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + use<S> {
        let conduit = Conduit::new(Instant::now(), &self.options);
        let (limit, patience) = (self.framed.max_packet_bytes, self.patience);
        let (host, mut early) = (Rc::clone(&self.host), early.to_vec());
        async move {
            let _permit = permit;
            let mut stream = stream;
            let mut dialect = Dialect::standard();
            if let Some(challenge) = challenge {
                let proof = timeout(patience.request, socket::prove(&mut stream, early, challenge)).await;
                let Ok(Ok(rest)) = proof else {
                    tracing::debug!(%peer, "a handshake in a draft of WebSocket was not ended");
                    return;
                };
                (dialect, early) = (Dialect::draft76(), rest);
            }
            let (link, far) = Link::new();
            let tell = host.open(Opened { stream: far, peer });
            Socket::new(stream, dialect, conduit, link, tell, limit).run(early, patience.farewell).await;
        }
    }

    fn info(&self, request: &Request<()>, listener: Listener) -> Response<Body> {
        if let Some(refusal) = self.refusal(request.headers(), listener) {
            return refusal;
        }
        let mut response = match *request.method() {
            Method::OPTIONS => answers::preflight(request.headers(), "OPTIONS, GET"),
            Method::GET => {
                // Seeded anew by the system for each: browsers draw their session names from this.
                let entropy = RandomState::new().hash_one(0) as u32;
                let (websocket, cookie) = (self.options.websocket, self.options.session_cookie.is_some());
                let info = format!(
                    "{{\"websocket\":{websocket},\"origins\":[\"*:*\"],\"cookie_needed\":{cookie},\"entropy\":{entropy}}}"
                );
                let mut response = answers::body(StatusCode::OK, "application/json; charset=UTF-8", info);
                answers::uncached(&mut response);
                response
            }
            _ => return answers::method_not_allowed("OPTIONS, GET"),
        };
        answers::allow_origin(request.headers(), &mut response);
        response
    }

    fn shake_hands(&self, request: &mut Request<()>, listener: Listener, framed: bool) -> Answer {
        if framed && request.method() != Method::GET {
            return Answer { response: answers::method_not_allowed("GET"), upgrade: None };
        }
        let response = match self.agree(request, listener, framed) {
            Ok((response, spoken)) => {
                let upgrade = Some(Upgrade { pending: hyper::upgrade::on(request), spoken });
                return Answer { response: response.map(|()| Body::Whole(Full::default())), upgrade };
            }
            Err(Rejection::NotAnUpgrade) if framed => {
                answers::text(StatusCode::BAD_REQUEST, "Can \"Upgrade\" only to \"WebSocket\".\n")
            }
            Err(rejection) => {
                tracing::info!(reason = %rejection, "handshake refused");
                rejection.response().map(Body::from)
            }
        };
        Answer { response, upgrade: None }
    }

    /// Finds what to speak.
    fn agree(
        &self,
        request: &Request<()>,
        listener: Listener,
        framed: bool,
    ) -> Result<(Response<()>, Spoken), Rejection> {
        if !framed {
            let accepted = handshake::accept(request, &self.raw, listener)?;
            return Ok((accepted.response, Spoken::WebSocket(accepted.deflate)));
        }
        if self.options.websocket_draft_76 && draft76::is_offered(request.headers()) {
            let accepted = draft76::accept(request, &self.framed, listener)?;
            return Ok((accepted.response, Spoken::SockJs(Some(accepted.challenge))));
        }
        let accepted = handshake::accept(request, &self.framed, listener)?;
        Ok((accepted.response, Spoken::SockJs(None)))
    }

    async fn serve_session(
        &self,
        request: &Request<()>,
        body: &mut Incoming,
        peer: SocketAddr,
        listener: Listener,
        session: &str,
        transport: Transport,
    ) -> Response<Body> {
        if !route::takes(transport.methods(), request.method()) {
            return answers::method_not_allowed(transport.methods());
        }
        if let Some(refusal) = self.refusal(request.headers(), listener) {
            return refusal;
        }
        let headers = request.headers();
        let mut response = match (request.method(), transport) {
            (&Method::OPTIONS, _) => answers::preflight(headers, transport.methods()),
            (_, Transport::XhrSend | Transport::JsonpSend) => {
                let mut response = self.send(headers, body, session, transport).await;
                answers::uncached(&mut response);
                response
            }
            _ => {
                let callback = callback(request.uri().query());
                // A body means nothing here, but whatever of it was not read when the response ends would make the system
                // reset the connection, and the client would lose what it has not read of the response.
                let mut response = match self.read(body).await.map(drop) {
                    Ok(()) => self.receive(callback, peer, session, transport).await,
                    Err(unread) => self.refuse_unread(unread),
                };
                answers::uncached(&mut response);
                response
            }
        };
        if let Some(fresh) = &self.options.session_cookie {
            answers::set_cookie(headers, &mut response, fresh);
        }
        answers::allow_origin(headers, &mut response);
        response
    }

    async fn receive(
        &self,
        callback: Result<Callback, &'static str>,
        peer: SocketAddr,
        session: &str,
        transport: Transport,
    ) -> Response<Body> {
        let streaming = Takes::Bytes(self.options.stream_bytes);
        let (kind, takes, wrapping) = match (transport, callback) {
            (Transport::HtmlFile, Ok(callback)) => ("text/html; charset=UTF-8", streaming, Wrapping::Scripts(callback)),
            (Transport::Jsonp, Ok(callback)) => (SCRIPT, Takes::OneFrame, Wrapping::Call(callback)),
            (Transport::HtmlFile | Transport::Jsonp, Err(wrong)) => {
                return answers::text(StatusCode::INTERNAL_SERVER_ERROR, wrong);
            }
            (Transport::EventSource, _) => ("text/event-stream", streaming, Wrapping::Events),
            (Transport::XhrStreaming, _) => (SCRIPT, streaming, Wrapping::Lines),
            _ => (SCRIPT, Takes::OneFrame, Wrapping::Lines),
        };
        let (frames, mut pieces) = mpsc::channel(PIECES);
        if takes != Takes::OneFrame {
            // A channel that is new has room.
            let _ = frames.try_send(Bytes::from(wrapping.prelude()));
        }
        if !self.attach(session, peer, Arrival { takes, wrapping, frames }).await {
            return self.refuse(Limit::Conduits(self.options.max_conduits));
        }
        if takes == Takes::OneFrame {
            let frame = pieces.recv().await.unwrap_or_default();
            return answers::body(StatusCode::OK, kind, frame);
        }
        let mut response = answers::body(StatusCode::OK, kind, Body::Frames(pieces));
        answers::unbuffered(&mut response);
        response
    }

    /// Brings a receiver to the session's conduit, or to a new one. False: there can be none.
    async fn attach(&self, session: &str, peer: SocketAddr, mut arrival: Arrival) -> bool {
        for _ in 0..ATTEMPTS {
            let handle = match self.registry.find_or_list(session) {
                Found::Full => return false,
                Found::Known(handle) => handle,
                Found::New(handle, listing, permit) => {
                    let (link, stream) = Link::new();
                    // What its client sends is whole when it comes here, and counted as what it was before.
                    drop(self.host.open(Opened { stream, peer }));
                    let conduit = Conduit::new(Instant::now(), &self.options);
                    tokio::task::spawn_local(async move {
                        let _permit = permit;
                        Drive::new(conduit, link, listing).run().await;
                    });
                    handle
                }
            };
            match handle.arrivals.send(arrival).await {
                Ok(()) => return true,
                // It ended in this moment, and the next one of its name can begin.
                Err(back) => arrival = back.0,
            }
        }
        false
    }

    async fn send(
        &self,
        headers: &HeaderMap,
        body: &mut Incoming,
        session: &str,
        transport: Transport,
    ) -> Response<Body> {
        let Some(handle) = self.registry.find(session) else { return answers::not_found() };
        let form = transport == Transport::JsonpSend && is_form(headers);
        let Whole { bytes, share } = match self.read(body).await {
            Ok(body) => body,
            Err(unread) => return self.refuse_unread(unread),
        };
        let payload = if form { form_value(&bytes).unwrap_or_default() } else { bytes };
        if payload.is_empty() {
            return answers::text(StatusCode::INTERNAL_SERVER_ERROR, "Payload expected.");
        }
        let mut bytes = Vec::new();
        if let Err(broken) = json::read_messages(&payload, |message| pipe::write_message(&mut bytes, message)) {
            return answers::text(StatusCode::INTERNAL_SERVER_ERROR, &broken.to_string());
        }
        if !post(&handle, bytes, share).await {
            return answers::not_found();
        }
        match transport {
            Transport::JsonpSend => answers::text(StatusCode::OK, "ok"),
            _ => {
                let mut response = answers::text(StatusCode::NO_CONTENT, "");
                *response.body_mut() = Body::Whole(Full::default());
                response
            }
        }
    }

    async fn read(&self, body: &mut Incoming) -> Result<Whole, Unread> {
        reading::read(body, self.framed.max_packet_bytes, self.patience.request, &*self.host).await
    }

    fn refuse_unread(&self, why: Unread) -> Response<Body> {
        match why {
            Unread::Limit(limit) => self.refuse(limit),
            Unread::Broken => answers::text(StatusCode::BAD_REQUEST, "The request broke off\n"),
        }
    }

    /// Says so to the client, the log and the metrics (G5).
    fn refuse(&self, limit: Limit) -> Response<Body> {
        tracing::warn!(code = limit.code(), "SockJS request refused: {limit}");
        self.host.limit_reached(limit.code());
        limit.answer()
    }

    /// The answer to a page from elsewhere (H2).
    fn refusal(&self, headers: &HeaderMap, listener: Listener) -> Option<Response<Body>> {
        let refused = origin::check(headers, &self.raw.allowed_origins, listener).err()?;
        tracing::info!(reason = %refused, "SockJS request refused");
        Some(answers::text(StatusCode::FORBIDDEN, &format!("{refused}\n")))
    }
}

/// Hands messages to a conduit, and waits until its application has them. False: it has ended.
async fn post(handle: &Handle, bytes: Vec<u8>, share: Share) -> bool {
    let (taken, answer) = oneshot::channel();
    handle.posts.send(Post { bytes, share, taken }).await.is_ok() && answer.await.is_ok()
}

fn get_only(request: &Request<()>, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
    if request.method() == Method::GET { answer() } else { answers::method_not_allowed("GET") }
}

/// The callback that a request names; or what is wrong about it.
fn callback(query: Option<&str>) -> Result<Callback, &'static str> {
    let value = query.and_then(|query| value_of(query.as_bytes(), "c")).filter(|value| !value.is_empty());
    let value = value.ok_or("\"callback\" parameter required\n")?;
    let name = std::str::from_utf8(&value).unwrap_or_default();
    Callback::parse(name).ok_or("invalid \"callback\" parameter\n")
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// What a form sends as `d`.
fn form_value(body: &[u8]) -> Option<Vec<u8>> {
    value_of(body, "d")
}

/// The value of a field in a query or a form, decoded.
fn value_of(fields: &[u8], name: &str) -> Option<Vec<u8>> {
    fields.split(|byte| *byte == b'&').find_map(|field| {
        let value = field.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(decoded(value))
    })
}

/// `%41` and `+` as what they stand for; a `%` without digits stands for itself.
fn decoded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let digits = behind.split_first_chunk::<2>().filter(|_| *first == b'%');
        let byte = digits.and_then(|(digits, _)| {
            let text = std::str::from_utf8(digits).ok()?;
            text.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u8::from_str_radix(text, 16).ok())?
        });
        match (byte, digits, first) {
            (Some(byte), Some((_, behind)), _) => {
                rest = behind;
                out.push(byte);
            }
            (_, _, b'+') => out.push(b' '),
            _ => out.push(*first),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_callbacks() {
        let check = |query: Option<&str>, expected: Result<&str, &str>| {
            let read = callback(query).map(|callback| callback.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{query:?}");
        };
        check(Some("c=%63allback"), Ok("callback"));
        check(Some("t=1&c=_jp.a&x"), Ok("_jp.a"));
        for query in [None, Some(""), Some("c"), Some("c="), Some("cc=a")] {
            check(query, Err("\"callback\" parameter required\n"));
        }
        for query in ["c=%20", "c=*", "c=abc(", "c=abc%28", "c=%ff"] {
            check(Some(query), Err("invalid \"callback\" parameter\n"));
        }
    }

    #[test]
    fn reads_forms() {
        let check = |body: &str, expected: Option<&str>| {
            let value = form_value(body.as_bytes());
            assert_eq!(value.as_deref(), expected.map(str::as_bytes), "{body}");
        };
        check("d=%5B%22x%22%5D", Some("[\"x\"]"));
        check("a=b&d=x+y%2B%c3%A9", Some("x y+é"));
        check("d=%&x", Some("%"));
        check("d=%4", Some("%4"));
        check("d=%+1a", Some("% 1a"));
        check("d=", Some(""));
        check("p=p", None);
    }
}
