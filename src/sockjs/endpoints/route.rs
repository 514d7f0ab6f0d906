//! Which address means what.

use http::Method;

/// The longest name of a session, or of a server. Clients draw names of eight characters, or three digits.
const NAME_BYTES: usize = 128;

/// What an address below that of the endpoint stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    Greeting,
    Info,
    /// The page for cross-domain frames.
    Iframe,
    /// WebSocket without SockJS in it.
    RawWebSocket,
    Session {
        session: &'p str,
        transport: Transport,
    },
}

/// What a session's address ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Xhr,
    XhrStreaming,
    XhrSend,
    EventSource,
    HtmlFile,
    Jsonp,
    JsonpSend,
    WebSocket,
}

impl Transport {
    /// The methods that its address takes, besides OPTIONS where that is one of them.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Transport::Xhr | Transport::XhrStreaming | Transport::XhrSend => "OPTIONS, POST",
            Transport::EventSource => "OPTIONS, GET",
            Transport::JsonpSend => "POST",
            Transport::HtmlFile | Transport::Jsonp | Transport::WebSocket => "GET",
        }
    }
}

/// Reads what is behind the endpoint's own path. None: there is nothing there.
///
/// The name of the server is for load balancers, and of no meaning here.
pub(super) fn route(rest: &str) -> Option<Route<'_>> {
    match rest {
        "" | "/" => return Some(Route::Greeting),
        "/info" => return Some(Route::Info),
        "/websocket" => return Some(Route::RawWebSocket),
        _ => {}
    }
    let mut segments = rest.strip_prefix('/')?.split('/');
    match (segments.next(), segments.next(), segments.next(), segments.next()) {
        (Some(page), None, None, None) => is_iframe(page).then_some(Route::Iframe),
        (Some(server), Some(session), Some(transport), None) if is_name(server) && is_name(session) => {
            Some(Route::Session { session, transport: transport_of(transport)? })
        }
        _ => None,
    }
}

/// Whether `method` is one of `methods`.
pub(super) fn takes(methods: &str, method: &Method) -> bool {
    methods.split(", ").any(|each| each == method.as_str())
}

fn transport_of(name: &str) -> Option<Transport> {
    Some(match name {
        "xhr" => Transport::Xhr,
        "xhr_streaming" => Transport::XhrStreaming,
        "xhr_send" => Transport::XhrSend,
        "eventsource" => Transport::EventSource,
        "htmlfile" => Transport::HtmlFile,
        "jsonp" => Transport::Jsonp,
        "jsonp_send" => Transport::JsonpSend,
        "websocket" => Transport::WebSocket,
        _ => return None,
    })
}

fn is_name(segment: &str) -> bool {
    !segment.is_empty() && segment.len() <= NAME_BYTES && !segment.contains('.')
}

/// `iframe.html`, or with a version in between, by which clients get past what is cached.
fn is_iframe(page: &str) -> bool {
    page.strip_prefix("iframe").and_then(|rest| rest.strip_suffix(".html")).is_some_and(|version| {
        version.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_addresses() {
        let check = |rest: &str, expected: Option<Route<'_>>| assert_eq!(route(rest), expected, "{rest}");
        check("", Some(Route::Greeting));
        check("/", Some(Route::Greeting));
        check("/info", Some(Route::Info));
        check("/websocket", Some(Route::RawWebSocket));
        for page in ["/iframe.html", "/iframe-.html", "/iframe-0.1.2abc-dirty.2144.html"] {
            check(page, Some(Route::Iframe));
        }
        let of = |session, transport| Some(Route::Session { session, transport });
        check("/000/abc/xhr", of("abc", Transport::Xhr));
        check("/_/i-j%20/websocket", of("i-j%20", Transport::WebSocket));
        check(&format!("/1/{}/jsonp_send", "a".repeat(128)), of(&"a".repeat(128), Transport::JsonpSend));
    }

    #[test]
    fn knows_no_others() {
        let others = [
            "//",
            "///",
            "/a",
            "/a.html",
            "/a/a",
            "/a/a/",
            "/iframe.htm",
            "/iframe",
            "/IFRAME.HTML",
            "/iframe.HTML",
            "/iframe-/.html",
            "///xhr",
            "/a./a/xhr",
            "/a/a./xhr",
            "/./././xhr",
            "/a//xhr",
            "/a/b/xhr/",
            "/a/b/c/xhr",
            "/a/b/XHR",
            "info",
        ];
        for rest in others {
            assert_eq!(route(rest), None, "{rest}");
        }
        assert_eq!(route(&format!("/1/{}/xhr", "a".repeat(129))), None);
    }
}
