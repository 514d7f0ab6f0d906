use http::{HeaderName, Method, Version};

use super::*;

const LISTENER: Listener = Listener { loopback: true, tls: false };

/// A request with these headers, and then with the changes: set, or removed where the value is empty.
pub(in crate::websocket) fn request_with(headers: &[(&str, &str)], changes: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in headers.iter().chain(changes) {
        let name = HeaderName::try_from(*name).expect("a header name");
        if value.is_empty() {
            request.headers_mut().remove(name);
        } else {
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header value"));
        }
    }
    request
}

/// A good request, with these changes.
fn request(changes: &[(&str, &str)]) -> Request<()> {
    let good = [
        ("host", "127.0.0.1:15674"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    request_with(&good, changes)
}

fn accepted(changes: &[(&str, &str)]) -> Accepted {
    accept(&request(changes), &Options::default(), LISTENER).expect("accepted")
}

fn header<'r, B>(response: &'r Response<B>, name: &str) -> Option<&'r str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

#[test]
fn answers_with_the_key_of_the_specification() {
    let accepted = accepted(&[]);
    assert_eq!(accepted.response.status(), 101);
    assert_eq!(header(&accepted.response, "connection"), Some("Upgrade"));
    assert_eq!(header(&accepted.response, "upgrade"), Some("websocket"));
    assert_eq!(header(&accepted.response, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(header(&accepted.response, "sec-websocket-protocol"), None);
    assert_eq!(header(&accepted.response, "sec-websocket-extensions"), None);
    assert_eq!(accepted.deflate, None);
}

#[test]
fn h1_takes_the_first_subprotocol_that_we_speak() {
    let check = |offered: &str, expected: Subprotocol| {
        let accepted = accepted(&[("sec-websocket-protocol", offered)]);
        let named = match &expected {
            Subprotocol::Agreed(name) => Some(name.as_str()),
            Subprotocol::NotOffered | Subprotocol::AllUnknown => None,
        };
        assert_eq!(header(&accepted.response, "sec-websocket-protocol"), named, "{offered}");
        assert_eq!(accepted.subprotocol, expected, "{offered}");
    };
    let agreed = |name: &str| Subprotocol::Agreed(name.to_owned());
    check("v12.stomp, v11.stomp, v10.stomp", agreed("v12.stomp"));
    check("v10.stomp,v12.stomp", agreed("v10.stomp"));
    check("mqtt,\tv11.stomp", agreed("v11.stomp"));
    check("mqtt", Subprotocol::AllUnknown);
    check("V12.STOMP", Subprotocol::AllUnknown);
    check("", Subprotocol::NotOffered);
    check(" , ", Subprotocol::NotOffered);
}

#[test]
fn h1_reads_a_list_spread_over_several_headers() {
    let mut request = request(&[("sec-websocket-protocol", "mqtt")]);
    request.headers_mut().append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("v12.stomp"));
    let accepted = accept(&request, &Options::default(), LISTENER).expect("accepted");
    assert_eq!(accepted.subprotocol, Subprotocol::Agreed("v12.stomp".into()));
}

#[test]
fn agrees_on_compression() {
    let accepted = accepted(&[("sec-websocket-extensions", "permessage-deflate; server_max_window_bits=12")]);
    assert_eq!(accepted.deflate.and_then(Agreement::window_bits), Some(12));
    assert_eq!(
        header(&accepted.response, "sec-websocket-extensions"),
        Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12")
    );
}

#[test]
fn refuses_with_a_status_and_a_text() {
    #[track_caller]
    fn check(request: Request<()>, expected: Rejection, status: u16, extra: &[(&str, &str)]) {
        let rejection = accept(&request, &Options::default(), LISTENER).expect_err("refused");
        assert_eq!(rejection, expected);
        let response = rejection.response();
        assert_eq!(response.status(), status);
        assert_eq!(response.body().trim_end(), rejection.to_string());
        for (name, value) in [("content-type", "text/plain; charset=utf-8")].iter().chain(extra) {
            assert_eq!(header(&response, name), Some(*value), "{name}");
        }
    }
    let mut post = request(&[]);
    *post.method_mut() = Method::POST;
    check(post, Rejection::Method, 405, &[("allow", "GET")]);
    let mut old = request(&[]);
    *old.version_mut() = Version::HTTP_10;
    check(old, Rejection::HttpVersion, 505, &[]);
    let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")];
    check(request(&[("connection", "")]), Rejection::NotAnUpgrade, 426, &upgrade);
    check(request(&[("connection", "close")]), Rejection::NotAnUpgrade, 426, &upgrade);
    check(request(&[("upgrade", "")]), Rejection::NotAnUpgrade, 426, &upgrade);
    check(request(&[("upgrade", "h2c")]), Rejection::NotAnUpgrade, 426, &upgrade);
    check(request(&[("sec-websocket-version", "")]), Rejection::Version, 426, &upgrade);
    check(request(&[("sec-websocket-version", "8")]), Rejection::Version, 426, &upgrade);
    check(request(&[("sec-websocket-key", "")]), Rejection::Key, 400, &[]);
    check(request(&[("sec-websocket-key", "dG9vIHNob3J0")]), Rejection::Key, 400, &[]);
    let refused = Rejection::Origin(origin::Refused("https://evil.example".into()));
    check(request(&[("origin", "https://evil.example")]), refused, 403, &[]);
}

#[test]
fn h2_asks_the_listener_and_the_options_about_the_origin() {
    let page = request(&[("origin", "http://localhost:4200")]);
    let mut options = Options::default();
    assert!(accept(&page, &options, LISTENER).is_ok());
    let public = Listener { loopback: false, tls: false };
    assert!(accept(&page, &options, public).is_err());
    options.allowed_origins.push(origin::Pattern::parse("http://localhost:*").expect("a pattern"));
    assert!(accept(&page, &options, public).is_ok());
}
