//! What an operator's tools ask a running broker: is it well, and what has it counted.
//!
//! `GET /health` answers `200` while the broker serves, `GET /metrics` with every count in the text format that
//! Prometheus reads. A port of its own, because what is fit for clients is seldom fit for strangers.

mod hosts;
mod metrics;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use self::hosts::Hosts;
use crate::app::hook::Monitor;
use crate::worker::Counters;

/// How long a request may take to come, and how long a connection may idle between requests.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the admin port tells.
#[derive(Clone, Debug)]
pub struct Admin {
    counters: Vec<Arc<Counters>>,
    hooks: Vec<Monitor>,
    hosts: Arc<Hosts>,
}

impl Admin {
    /// Tells of workers with these counts, and of these hooks, to those who ask for one of `hosts`, for this machine or for an
    /// address; where no host is named and the port `is_local`, reached by this machine alone, is not so, to all.
    pub fn new(counters: Vec<Arc<Counters>>, hooks: Vec<Monitor>, hosts: &[String], is_local: bool) -> Admin {
        Admin { counters, hooks, hosts: Arc::new(Hosts::new(hosts, is_local)) }
    }

    /// Answers one connection's requests.
    pub async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        let service = service_fn(|request| {
            let response = self.respond(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "an admin connection failed");
        }
    }

    fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD have a meaning here\n".to_owned());
        }
        match request.uri().path() {
            "/health" => answer(StatusCode::OK, "ok\n".to_owned()),
            _ if !self.hosts.has(asked(request)) => {
                let text = "this host is not one of ours: put its name into admin.hosts, or ask by address\n";
                answer(StatusCode::MISDIRECTED_REQUEST, text.to_owned())
            }
            "/metrics" => answer(StatusCode::OK, metrics::render(&self.counters, &self.hooks, Instant::now())),
            _ => answer(StatusCode::NOT_FOUND, "there are /health and /metrics\n".to_owned()),
        }
    }
}

/// The host that is asked for; none in HTTP/1.0.
fn asked(request: &Request<Incoming>) -> Option<&str> {
    let said = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    request.uri().authority().map(|authority| authority.as_str()).or(said)
}

fn answer(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
