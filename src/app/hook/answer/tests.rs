#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;

fn incoming(status: u16, content_type: &str, body: &[u8]) -> Incoming {
    Incoming {
        status: StatusCode::from_u16(status).unwrap(),
        content_type: Some(content_type.to_owned()).filter(|kind| !kind.is_empty()),
        body: Bytes::copy_from_slice(body),
    }
}

#[test]
fn statuses_have_meanings() {
    let busy = |seconds: Option<u64>| Verdict::Missed(Miss::Busy(seconds.map(Duration::from_secs)));
    for (status, retry_after, verdict) in [
        (200, None, Verdict::Done),
        (202, Some(1), Verdict::Done),
        (204, None, Verdict::Done),
        (301, None, Verdict::Odd),
        (307, None, Verdict::Odd),
        (400, None, Verdict::Refused),
        (404, None, Verdict::Refused),
        (429, None, busy(None)),
        (429, Some(3), busy(Some(3))),
        (500, Some(3), Verdict::Missed(Miss::Unknown)),
        (502, None, Verdict::Missed(Miss::Unknown)),
        (503, Some(0), busy(Some(0))),
        (700, None, Verdict::Odd),
    ] {
        let found = Verdict::of(StatusCode::from_u16(status).unwrap(), retry_after.map(Duration::from_secs));
        assert_eq!(found, verdict, "{status}");
    }
}

/// A reply: where to, headers, body.
type Plain<'p> = (To, &'p [(&'p str, &'p str)], &'p [u8]);

fn plain(reply: &Reply) -> String {
    format!("{:?} {:?} {:?}", reply.to, reply.headers.iter().collect::<Vec<_>>(), reply.body.as_ref())
}

#[track_caller]
fn check(occasion: Occasion, incoming: &Incoming, replies: &[Plain<'_>]) {
    let done = read(incoming, occasion).unwrap();
    let found: Vec<String> = done.replies.iter().map(plain).collect();
    let expected: Vec<String> =
        replies.iter().map(|(to, headers, body)| format!("{to:?} {headers:?} {body:?}")).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_body_is_one_reply_and_nothing_is_none() {
    let json = [("content-type", "application/json; charset=utf-8")];
    check(Occasion::Send, &incoming(200, json[0].1, b"{}"), &[(To::Default, &json, b"{}")]);
    check(Occasion::Ask, &incoming(201, "", b"\0\xff"), &[(To::Default, &[], b"\0\xff")]);
    check(Occasion::Send, &incoming(200, "text/plain", b""), &[]);
    check(Occasion::Send, &incoming(204, "", b""), &[]);
    check(Occasion::Send, &incoming(200, REPLIES, b""), &[]);
    check(Occasion::Connected, &incoming(200, "text/plain", b"OK"), &[]);
    check(Occasion::Disconnected { reason: "disconnect" }, &incoming(200, "text/html", b"OK"), &[]);
}

#[test]
fn our_type_says_more() {
    const TEXT: (&str, &str) = ("content-type", "text/plain;charset=utf-8");
    const JSON: (&str, &str) = ("content-type", "application/json");
    let user = || To::User(ByteString::from("bob:7"));
    let topic = || To::Destination(Destination::new("/topic/x"));
    let cases: &[(&str, Plain<'_>)] = &[
        ("{}", (To::Default, &[], b"")),
        (r#"{"body": "hi"}"#, (To::Default, &[TEXT], b"hi")),
        (r#"{"to": "default", "body": {"a": 1.50}}"#, (To::Default, &[JSON], br#"{"a": 1.50}"#)),
        (r#"{"to": "sender", "body": null}"#, (To::Sender, &[], b"")),
        (r#"{"to": "user:bob:7", "body": 1}"#, (user(), &[JSON], b"1")),
        (r#"{"to": "/topic/x", "body": "\u00e4"}"#, (topic(), &[TEXT], "ä".as_bytes())),
        (r#"{"body": "a\"", "encoding": "json"}"#, (To::Default, &[JSON], br#""a\"""#)),
        (r#"{"body": "AP8=", "encoding": "base64"}"#, (To::Default, &[], b"\0\xff")),
        (
            r#"{"headers": {"content-type": "image/png", "b": 4, "c": true}, "body": "x"}"#,
            (To::Default, &[("b", "4"), ("c", "true"), ("content-type", "image/png")], b"x"),
        ),
    ];
    for occasion in [Occasion::Send, Occasion::Subscribed] {
        for (text, reply) in cases {
            let body = format!(r#"{{"replies": [{text}]}}"#);
            check(occasion, &incoming(200, REPLIES, body.as_bytes()), std::slice::from_ref(reply));
        }
    }
    let all: Vec<&str> = cases.iter().map(|(text, _)| *text).collect();
    let body = format!(r#"{{"replies": [{}]}}"#, all.join(", "));
    let replies: Vec<Plain<'_>> = cases.iter().map(|(_, reply)| reply.clone()).collect();
    let kind = format!("{}; charset=utf-8", REPLIES.to_uppercase());
    check(Occasion::Send, &incoming(200, &kind, body.as_bytes()), &replies);
    check(Occasion::Send, &incoming(200, REPLIES, b"{}"), &[]);
}

#[test]
fn attributes_are_set_and_taken_away() {
    let body = br#"{"attributes": {"name": "Bob", "age": 42, "gone": null}}"#;
    let done = read(&incoming(200, REPLIES, body), Occasion::Connected).unwrap();
    let change = |name: &'static str, value: Option<&'static str>| Change {
        name: ByteString::from_static(name),
        value: value.map(ByteString::from_static),
    };
    assert_eq!(done.changes, [change("age", Some("42")), change("gone", None), change("name", Some("Bob"))]);
}

#[test]
fn what_our_type_does_not_say_is_not_guessed() {
    for (body, message) in [
        ("{", "the answer is not what"),
        ("[{}]", "the answer is not what"),
        (r#"{"replys": []}"#, "unknown field `replys`"),
        (r#"{"replies": [{"too": "x"}]}"#, "unknown field `too`"),
        (r#"{"replies": [{"headers": {"a": {}}}]}"#, "the answer is not what"),
        (r#"{"replies": [{"headers": {"": "x"}}]}"#, "a header without a name"),
        (r#"{"replies": [{"body": "!", "encoding": "base64"}]}"#, "not base64"),
        (r#"{"replies": [{"body": 1, "encoding": "text"}]}"#, "no text"),
        (r#"{"replies": [{"encoding": "text"}]}"#, "no body"),
        (r#"{"replies": [{"body": "x", "encoding": "hex"}]}"#, "unknown variant `hex`"),
    ] {
        let error = read(&incoming(200, REPLIES, body.as_bytes()), Occasion::Send).unwrap_err().to_string();
        assert!(error.contains(message), "{body}: {error}");
    }
}

#[test]
fn refusals_are_told_in_short_and_plain_words() {
    let long = "x".repeat(10_000);
    let other = "the application refused it with status 422";
    for (content_type, body, words) in [
        ("application/json", r#"{"message": "no such room", "code": 7}"#, "no such room"),
        ("application/problem+json", r#"{"title": "No", "detail": "no such room"}"#, "no such room"),
        ("application/problem+json", r#"{"title": "No"}"#, "No"),
        ("text/plain; charset=utf-8", " no\r\nsuch room\n", "no  such room"),
        ("text/plain", &long, long.get(..500).unwrap()),
        ("text/html", "<h1>Not found</h1>", other),
        ("application/json", r#"{"message": 1}"#, other),
        ("application/json", r#""no""#, other),
        ("application/json", "{", other),
        ("text/plain", " \n", other),
        ("", "no", other),
    ] {
        let failure = read_refusal(&incoming(422, content_type, body.as_bytes()));
        assert_eq!(failure.to_string(), words, "{content_type} {body}");
        assert_eq!(failure.code(), "app-refused");
    }
    assert_eq!(read_refusal(&incoming(422, "text/plain", b"\xff")).to_string(), other);
}

proptest::proptest! {
    /// An application may say anything, and what it says then ends neither the program nor a line of a header.
    #[test]
    fn no_answer_does_harm(body in ".{0,60}|\\{\"replies\":\\[.{0,40}\\]\\}") {
        let answer = incoming(200, REPLIES, body.as_bytes());
        let replies = read(&answer, Occasion::Send).map(|done| done.replies).unwrap_or_default();
        assert!(replies.iter().flat_map(|reply| reply.headers.iter()).all(|(name, _)| !name.is_empty()));
        for kind in ["text/plain", "application/json"] {
            let words = read_refusal(&incoming(400, kind, body.as_bytes())).to_string();
            assert!(!words.chars().any(char::is_control), "{words:?}");
        }
    }
}
