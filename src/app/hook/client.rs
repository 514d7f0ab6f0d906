//! The connections to one application: kept open between requests, made anew where there is none free.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use super::answer::Incoming;
use super::backoff::{Miss, parse_retry_after};
use super::options::Options;
use super::setup::SetupError;

/// The head of an answer may be this long; its body has a limit of its own.
const LONGEST_HEAD: usize = 64 * 1024;

/// Sends requests to one application.
#[derive(Debug)]
pub(super) struct Client {
    pool: legacy::Client<Patient<HttpsConnector<HttpConnector>>, Full<Bytes>>,
    url: Uri,
    max_answer_bytes: usize,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) incoming: Incoming,
    /// What it says about when to come again.
    pub(super) retry_after: Option<Duration>,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("there is no connection: {}", causes(.0))]
    NotSent(legacy::Error),
    #[error("the connection broke: {}", causes(.0.as_ref()))]
    Lost(Box<dyn Error + Send + Sync>),
    #[error("the answer is longer than {limit} bytes (app.hook.max_answer_bytes)")]
    TooLong { limit: usize },
}

impl PostError {
    /// What it means for another try; none if another one would end in the same way.
    pub(super) fn miss(&self) -> Option<Miss> {
        match self {
            PostError::NotSent(_) => Some(Miss::NotSent),
            PostError::Lost(_) => Some(Miss::Unknown),
            PostError::TooLong { .. } => None,
        }
    }
}

impl Client {
    /// A client without connections yet.
    pub(super) fn new(options: &Options) -> Result<Client, SetupError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(options)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        // A request that a closing connection did not begin to send is sent on another one by the pool itself.
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.keep_idle)
            .pool_max_idle_per_host(options.max_idle)
            .http1_max_buf_size(LONGEST_HEAD)
            .build(Patient { inner: connector, limit: options.connect_timeout });
        Ok(Client { pool, url: options.url.uri().clone(), max_answer_bytes: options.max_answer_bytes })
    }

    /// Sends one request and reads the whole answer. Redirections are answers like others: a request is for one place.
    pub(super) async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Received, PostError> {
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = headers;
        let response = self.pool.request(request).await.map_err(|error| match error.is_connect() {
            true => PostError::NotSent(error),
            false => PostError::Lost(error.into()),
        })?;
        let (head, body) = response.into_parts();
        let text = |name| head.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let content_type = text(CONTENT_TYPE).map(str::to_owned);
        let retry_after = text(RETRY_AFTER).and_then(parse_retry_after);
        let body = self.read(head.status, Limited::new(body, self.max_answer_bytes)).await?;
        Ok(Received { incoming: Incoming { status: head.status, content_type, body }, retry_after })
    }

    async fn read(&self, status: StatusCode, body: Limited<hyper::body::Incoming>) -> Result<Bytes, PostError> {
        match body.collect().await {
            Ok(body) => Ok(body.to_bytes()),
            // A long page that explains an error says no more than its status.
            Err(error) if error.is::<LengthLimitError>() && !status.is_success() => Ok(Bytes::new()),
            Err(error) if error.is::<LengthLimitError>() => Err(PostError::TooLong { limit: self.max_answer_bytes }),
            Err(error) => Err(PostError::Lost(error)),
        }
    }
}

fn tls_config(options: &Options) -> Result<ClientConfig, SetupError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Tls { hook: options.name.clone(), error })?;
    let config = match &options.ca_file {
        // No certificate is looked at without TLS.
        _ if !options.url.is_https() => builder.with_root_certificates(RootCertStore::empty()),
        Some(path) => {
            let unreadable =
                |error: String| SetupError::Certificates { hook: options.name.clone(), path: path.clone(), error };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
            let mut roots = RootCertStore::empty();
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unreadable("there is no certificate in it".to_owned()));
            }
            builder.with_root_certificates(roots)
        }
        None => builder
            .with_native_roots()
            .map_err(|error| SetupError::SystemCertificates { hook: options.name.clone(), error })?,
    };
    Ok(config.with_no_client_auth())
}

/// A connector that gives up: on the look-up of a name, on TCP and on TLS together.
#[derive(Clone, Debug)]
struct Patient<C> {
    inner: C,
    limit: Duration,
}

/// The connection to come.
type Connecting<S> = Pin<Box<dyn Future<Output = Result<S, Box<dyn Error + Send + Sync>>> + Send>>;

impl<C> Service<Uri> for Patient<C>
where
    C: Service<Uri, Error = Box<dyn Error + Send + Sync>>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Connecting<C::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (connecting, limit) = (self.inner.call(to), self.limit);
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(TooSlow { limit }.into()),
            }
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it took longer than {} ms (app.hook.connect_timeout)", limit.as_millis())]
struct TooSlow {
    limit: Duration,
}

/// An error with what caused it: of a failed connection the outer errors say little.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
