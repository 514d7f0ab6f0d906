//! Responses, and the headers that browsers and proxies need on them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::sockjs::body::Body;

const TEXT: &str = "text/plain; charset=UTF-8";

/// For what never changes: a year, and for old caches the last moment that all of them can count to.
const CACHE_FOR_EVER: &str = "public, max-age=31536000";
const EXPIRES_NEVER: &str = "Thu, 31 Dec 2037 23:55:55 GMT";

const NO_CACHE: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";

/// A response with a body.
pub(super) fn body(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = empty(status);
    *response.body_mut() = body.into();
    set(&mut response, header::CONTENT_TYPE, kind);
    response
}

/// A response with a word in it.
pub(super) fn text(status: StatusCode, words: &str) -> Response<Body> {
    body(status, TEXT, words.to_owned())
}

/// A response without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// There is nothing at this address.
pub(super) fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "Not found\n")
}

/// The address takes other methods than that of the request.
pub(super) fn method_not_allowed(methods: &'static str) -> Response<Body> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    set(&mut response, header::ALLOW, methods);
    response
}

/// What a browser asks before it lets a page of another origin send a request.
pub(super) fn preflight(request: &HeaderMap, methods: &'static str) -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    set(&mut response, header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    set(&mut response, header::ACCESS_CONTROL_MAX_AGE, "31536000");
    if let Some(wanted) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|wanted| !wanted.is_empty()) {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    cacheable(&mut response);
    response
}

/// The page of cross-domain frames, which is the same for everybody.
pub(super) fn iframe(request: &HeaderMap, library: &str, framed_by_all: bool) -> Response<Body> {
    let page = iframe_page(library);
    let tag = format!("\"{:08x}\"", checksum(page.as_bytes()));
    let known = request.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = match known {
        true => empty(StatusCode::NOT_MODIFIED),
        false => body(StatusCode::OK, "text/html; charset=UTF-8", page),
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    if !framed_by_all {
        // The page speaks for whoever has it in a frame, with our own origin: so only we may have it there.
        set(&mut response, header::X_FRAME_OPTIONS, "SAMEORIGIN");
        set(&mut response, header::CONTENT_SECURITY_POLICY, "frame-ancestors 'self'");
    }
    cacheable(&mut response);
    response
}

/// Lets the page of the request read the response, and send its cookies along.
pub(super) fn allow_origin(request: &HeaderMap, response: &mut Response<Body>) {
    match request.get(header::ORIGIN) {
        Some(origin) => {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            set(response, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
            set(response, header::VARY, "Origin");
        }
        None => set(response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    }
}

/// Keeps caches away: what is answered is for one client at one time.
pub(super) fn uncached(response: &mut Response<Body>) {
    set(response, header::CACHE_CONTROL, NO_CACHE);
}

/// Keeps proxies from gathering a stream before they hand it on.
pub(super) fn unbuffered(response: &mut Response<Body>) {
    set(response, HeaderName::from_static("x-accel-buffering"), "no");
}

/// Sets the cookie of load balancers: the client's own again, or `fresh`.
pub(super) fn set_cookie(request: &HeaderMap, response: &mut Response<Body>, fresh: &str) {
    let cookies = request.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut each = cookies.flat_map(|value| value.split(';'));
    let own = each.find_map(|cookie| cookie.trim().strip_prefix("JSESSIONID="));
    if let Ok(cookie) = HeaderValue::try_from(format!("JSESSIONID={}; path=/", own.unwrap_or(fresh))) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

fn cacheable(response: &mut Response<Body>) {
    set(response, header::CACHE_CONTROL, CACHE_FOR_EVER);
    set(response, header::EXPIRES, EXPIRES_NEVER);
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

fn iframe_page(library: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n  \
         <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n  <script src=\"{library}\"></script>\n  \
         <script>\n    document.domain = document.domain;\n    SockJS.bootstrap_iframe();\n  </script>\n</head>\n<body>\n  \
         <h2>Don't panic!</h2>\n  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>\n</body>\n\
         </html>"
    )
}

/// FNV-1a: tells pages apart, and is the same after a restart.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum: u32, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
