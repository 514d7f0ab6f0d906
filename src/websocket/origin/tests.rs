use http::HeaderValue;

use super::*;

const PUBLIC: Listener = Listener { loopback: false, tls: false };
const PUBLIC_TLS: Listener = Listener { loopback: false, tls: true };
const LOCAL: Listener = Listener { loopback: true, tls: false };

/// Judges a request with this `Origin` and `Host`, with these patterns allowed.
#[track_caller]
fn check(listener: Listener, host: &str, allowed: &[&str], origin: &str, expected: bool) {
    let allowed: Vec<_> = allowed.iter().map(|text| Pattern::parse(text).expect("a pattern")).collect();
    let mut headers = HeaderMap::new();
    headers.insert(ORIGIN, HeaderValue::from_bytes(origin.as_bytes()).expect("a header value"));
    headers.insert(HOST, HeaderValue::from_str(host).expect("a header value"));
    let verdict = super::check(&headers, &allowed, listener);
    let refused = Err(Refused(origin.to_owned()));
    assert_eq!(verdict, if expected { Ok(()) } else { refused }, "{origin} at {host}");
}

#[test]
fn h2_accepts_a_request_without_an_origin() {
    assert_eq!(super::check(&HeaderMap::new(), &[], PUBLIC), Ok(()));
}

#[test]
fn h2_refuses_a_request_with_several_origins() {
    let mut headers = HeaderMap::new();
    headers.append(ORIGIN, HeaderValue::from_static("http://a.example"));
    headers.append(ORIGIN, HeaderValue::from_static("http://b.example"));
    assert!(super::check(&headers, &[Pattern(Shape::Any)], PUBLIC).is_err());
}

#[test]
fn h2_accepts_the_same_origin() {
    check(PUBLIC, "example.com", &[], "http://example.com", true);
    check(PUBLIC, "example.com:80", &[], "http://example.com", true);
    check(PUBLIC, "example.com", &[], "http://example.com:80", true);
    check(PUBLIC, "Example.COM:15674", &[], "http://example.com:15674", true);
    check(PUBLIC, "[2001:db8::1]:15674", &[], "http://[2001:db8::1]:15674", true);
    // TLS ends at a proxy in front of us.
    check(PUBLIC, "example.com", &[], "https://example.com", true);
    check(PUBLIC, "example.com:443", &[], "https://example.com", true);
    check(PUBLIC_TLS, "example.com", &[], "https://example.com", true);

    check(PUBLIC_TLS, "example.com", &[], "http://example.com", false);
    check(PUBLIC, "example.com:443", &[], "http://example.com", false);
    check(PUBLIC, "example.com", &[], "http://example.com:8080", false);
    check(PUBLIC, "example.com", &[], "http://www.example.com", false);
    check(PUBLIC, "example.com", &[], "http://example.com.evil.example", false);
    check(PUBLIC, "example.com", &[], "ftp://example.com", false);
    check(PUBLIC, "", &[], "http://example.com", false);
    check(PUBLIC, "example.com:x", &[], "http://example.com:x", false);
}

#[test]
fn h2_accepts_loopback_origins_on_a_loopback_listener() {
    for origin in [
        "http://localhost",
        "http://localhost:4200",
        "https://LOCALHOST:8443",
        "http://127.0.0.1:3000",
        "http://127.8.9.255",
        "http://[::1]:5173",
        "capacitor://localhost",
    ] {
        check(LOCAL, "127.0.0.1:15674", &[], origin, true);
        check(PUBLIC, "127.0.0.1:15674", &[], origin, false);
    }
    for origin in [
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.256",
        "http://127.0.0",
        "http://127.0.0.0.1",
        "http://128.0.0.1",
        "http://[::2]",
        "http://example.com",
        "null",
        "",
    ] {
        check(LOCAL, "127.0.0.1:15674", &[], origin, false);
    }
}

#[test]
fn h2_accepts_listed_origins() {
    let one = |pattern, origin, expected| check(PUBLIC, "broker.internal", &[pattern], origin, expected);
    one("https://example.com", "https://example.com", true);
    one("https://example.com", "https://example.com:443", true);
    one("HTTPS://Example.com:443", "https://example.com", true);
    one("https://example.com", "http://example.com", false);
    one("https://example.com", "https://example.com:8443", false);
    one("https://example.com", "https://www.example.com", false);
    one("https://example.com:*", "https://example.com:8443", true);
    one("https://*.example.com", "https://www.example.com", true);
    one("https://*.example.com", "https://a.b.example.com", true);
    one("https://*.example.com", "https://example.com", false);
    one("https://*.example.com", "https://badexample.com", false);
    one("https://*.example.com", "https://.example.com", false);
    one("https://*.example.com", "https://www.example.com:8443", false);
    one("http://[::1]:3000", "http://[::1]:3000", true);
    one("ionic://localhost", "ionic://localhost", true);
    one("ionic://localhost", "ionic://localhost:80", false);
    one("*", "https://anything.example", true);
    one("*", "null", true);
    one("*", "not an origin", true);
    one("null", "null", true);
    one("https://example.com", "null", false);
    one("null", "https://example.com", false);
    check(PUBLIC, "broker.internal", &["https://a.example", "https://b.example"], "https://b.example", true);
    check(PUBLIC, "broker.internal", &[], "https://b.example", false);
}

#[test]
fn refuses_patterns_that_are_no_origins() {
    for (text, error) in [
        ("", PatternError::NoScheme),
        ("example.com", PatternError::NoScheme),
        ("https:example.com", PatternError::NoScheme),
        ("https://", PatternError::NotAnOrigin),
        ("://example.com", PatternError::NotAnOrigin),
        ("1http://example.com", PatternError::NotAnOrigin),
        ("https://example.com/", PatternError::NotAnOrigin),
        ("https://example.com/chat", PatternError::NotAnOrigin),
        ("https://user@example.com", PatternError::NotAnOrigin),
        ("https://exämple.com", PatternError::NotAnOrigin),
        ("https://[::1", PatternError::NotAnOrigin),
        ("https://[::1]x", PatternError::NotAnOrigin),
        ("https://*.[::1]", PatternError::NotAnOrigin),
        ("https://*", PatternError::Star),
        ("https://www*.example.com", PatternError::Star),
        ("https://*.*.example.com", PatternError::Star),
        ("https://www.*.com", PatternError::Star),
        ("https://example.com:", PatternError::Port),
        ("https://example.com:+1", PatternError::Port),
        ("https://example.com:65536", PatternError::Port),
        ("https://example.com:80:80", PatternError::Port),
    ] {
        assert_eq!(Pattern::parse(text), Err(error), "{text}");
    }
}
