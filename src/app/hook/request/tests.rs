#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytestring::ByteString;
use serde_json::{Value, json};

use super::*;
use crate::app::hook::Endpoint;
use crate::app::{Attributes, Captures, SessionFacts};
use crate::destination::Destination;
use crate::headers::Headers;
use crate::message::{SessionId, WorkerId};

fn options(mode: Mode) -> Options {
    Options { mode, ..Options::new("chat", Endpoint::parse("http://localhost/").unwrap()) }
}

fn request(occasion: Occasion, headers: &[(&str, &str)], body: &[u8]) -> Request {
    let mut attributes = Attributes::default();
    attributes.set("color", Some("grün"));
    Request {
        occasion,
        destination: Destination::new("/app/chat/ä b"),
        captures: Captures::new(vec![(ByteString::from("room"), ByteString::from("ä b"))]),
        headers: headers.iter().copied().collect(),
        body: Bytes::copy_from_slice(body),
        session: Arc::new(SessionFacts {
            id: SessionId { worker: WorkerId(0), key: 1 },
            name: ByteString::from("s-1"),
            user: Some(ByteString::from("bob\r\nevil: 100%")),
            transport: "websocket",
            peer: Some(ByteString::from("127.0.0.1:5000")),
            headers: Headers::from_iter([("host", "example")]),
        }),
        attributes,
    }
}

fn headers(outgoing: &Outgoing) -> Vec<(&str, &str)> {
    outgoing.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

const ALWAYS: [(&str, &str); 10] = [
    ("gumboot-hook", "chat"),
    ("gumboot-event", "send"),
    ("gumboot-id", "id-1"),
    ("gumboot-destination", "/app/chat/%C3%A4%20b"),
    ("gumboot-session", "s-1"),
    ("gumboot-user", "bob%0D%0Aevil:%20100%25"),
    ("gumboot-transport", "websocket"),
    ("gumboot-peer", "127.0.0.1:5000"),
    ("user-agent", concat!("gumboot/", env!("CARGO_PKG_VERSION"))),
    ("idempotency-key", "id-1"),
];

#[test]
fn json_has_everything_in_the_body() {
    let request = request(Occasion::Send, &[("content-type", "application/json"), ("x", "1"), ("x", "2")], b"[1.50]");
    let outgoing = compose(&options(Mode::Json), &request, "id-1", 17).unwrap();
    let mut expected = ALWAYS.to_vec();
    expected.push(("content-type", "application/json"));
    assert_eq!(headers(&outgoing), expected);
    let body: Value = serde_json::from_slice(&outgoing.body).unwrap();
    assert_eq!(
        body,
        json!({
            "event": "send",
            "id": "id-1",
            "hook": "chat",
            "time": 17,
            "destination": "/app/chat/ä b",
            "captures": {"room": "ä b"},
            "headers": {"content-type": "application/json", "x": "1"},
            "encoding": "json",
            "body": [1.5],
            "session": {
                "id": "s-1",
                "user": "bob\r\nevil: 100%",
                "transport": "websocket",
                "peer": "127.0.0.1:5000",
                "attributes": {"color": "grün"},
                "headers": {"host": "example"},
            },
        })
    );
    // As it was written.
    assert!(outgoing.body.windows(6).any(|part| part == b"[1.50]"));
}

#[test]
fn raw_has_the_body_as_it_came() {
    let request = request(Occasion::Send, &[("content-type", "image/png"), ("a\r\nb", "\u{7f}ä\"😀")], b"\0\xff");
    let outgoing = compose(&options(Mode::Raw), &request, "id-1", 17).unwrap();
    let mut expected = ALWAYS.to_vec();
    let (facts, rest) = expected.split_at(8);
    expected = [
        facts,
        &[
            ("gumboot-captures", r#"{"room":"\u00e4 b"}"#),
            ("gumboot-headers", r#"{"content-type":"image/png","a\r\nb":"\u007f\u00e4\"\ud83d\ude00"}"#),
            ("gumboot-attributes", r#"{"color":"gr\u00fcn"}"#),
            ("gumboot-connect-headers", r#"{"host":"example"}"#),
        ],
        rest,
        &[("content-type", "image/png")],
    ]
    .concat();
    assert_eq!(headers(&outgoing), expected);
    assert_eq!(outgoing.body, b"\0\xff".as_slice());
    let parsed: Value = serde_json::from_str(outgoing.headers["gumboot-headers"].to_str().unwrap()).unwrap();
    assert_eq!(parsed["a\r\nb"], "\u{7f}ä\"😀");
}

#[test]
fn bodies_are_written_as_what_they_are() {
    for (content_type, body, encoding, written) in [
        ("application/json", b"{}".as_slice(), "json", json!({})),
        ("Application/Vnd.x+JSON; charset=utf-8", b" 1 ", "json", json!(1)),
        ("application/json", b"{", "text", json!("{")),
        ("application/json", b"\xff", "base64", json!("/w==")),
        ("text/json", b"{}", "text", json!("{}")),
        ("text/plain", "\0ä".as_bytes(), "text", json!("\0ä")),
        ("", b"", "text", json!("")),
    ] {
        let request = request(Occasion::Send, &[("content-type", content_type)], body);
        let outgoing = compose(&options(Mode::Json), &request, "", 0).unwrap();
        let value: Value = serde_json::from_slice(&outgoing.body).unwrap();
        assert_eq!((&value["encoding"], &value["body"]), (&json!(encoding), &written), "{content_type} {body:?}");
    }
}

#[test]
fn what_is_no_message_has_no_body() {
    let occasion = Occasion::Disconnected { reason: "heart-beat-missed" };
    let gone = request(occasion, &[], b"");
    let outgoing = compose(&options(Mode::Json), &gone, "", 0).unwrap();
    let value: Value = serde_json::from_slice(&outgoing.body).unwrap();
    assert_eq!((&value["event"], &value["reason"]), (&json!("disconnected"), &json!("heart-beat-missed")));
    assert!(value.get("body").is_none() && value.get("encoding").is_none());
    assert_eq!(outgoing.headers["gumboot-reason"], "heart-beat-missed");
    let outgoing = compose(&options(Mode::Raw), &gone, "", 0).unwrap();
    assert!(outgoing.body.is_empty() && !outgoing.headers.contains_key(CONTENT_TYPE));
}

#[test]
fn headers_have_a_limit() {
    let long = "x".repeat(9000);
    let request = request(Occasion::Send, &[("a", &long)], b"");
    assert!(compose(&options(Mode::Json), &request, "", 0).is_ok());
    let refused = compose(&options(Mode::Raw), &request, "", 0).unwrap_err();
    assert!(matches!(refused, Untold::HeadersTooLong { bytes: 9001..9999, limit: 8192 }), "{refused}");
}

#[test]
fn a_type_that_no_header_can_hold_is_left_out() {
    let request = request(Occasion::Send, &[("content-type", "a\r\nevil: 1")], b"");
    let outgoing = compose(&options(Mode::Raw), &request, "", 0).unwrap();
    assert!(!outgoing.headers.contains_key(CONTENT_TYPE) && !outgoing.headers.contains_key("evil"));
    assert_eq!(outgoing.headers["gumboot-headers"], r#"{"content-type":"a\r\nevil: 1"}"#);
}

proptest::proptest! {
    /// Whatever clients say comes back as it was, and nothing of it becomes a header of its own.
    #[test]
    fn headers_hold_everything_and_let_nothing_out(name in ".{0,20}", value in ".{0,40}", user in "\\PC{0,20}|.{1,20}") {
        let mut request = request(Occasion::Send, &[("plain", "x")], b"");
        request.headers = Headers::from_iter([(name.as_str(), value.as_str())]);
        let mut session = SessionFacts::clone(&request.session);
        session.user = Some(ByteString::from(user.clone()));
        request.session = Arc::new(session);
        let outgoing = compose(&options(Mode::Raw), &request, "id-1", 0).unwrap();
        let known = ["gumboot-", "user-agent", "idempotency-key", "content-type"];
        for (header, value) in &outgoing.headers {
            assert!(known.iter().any(|known| header.as_str().starts_with(known)), "{header}");
            let is_plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
            assert!(header == CONTENT_TYPE || value.as_bytes().iter().all(is_plain), "{value:?}");
        }
        let text = |name: &str| outgoing.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let told: Value = serde_json::from_str(text("gumboot-headers")).unwrap();
        assert_eq!(told, json!({ name: value }));
        let decoded = percent_decode(text("gumboot-user"));
        assert_eq!(decoded, user);
    }
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        match (first, rest) {
            (b'%', [high, low, others @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                rest = others;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).unwrap()
}
