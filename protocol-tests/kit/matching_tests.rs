//! What a line accepts and what it refuses.

use std::path::Path;

use crate::expect;
use crate::harness::Carrier;
use crate::names::Names;
use crate::profile::Profile;
use crate::script::{self, Act, Expect, Step};
use crate::transcript::Version;
use crate::wire::Frame;

/// Whether the line accepts this frame, and a second time when the first has bound its variables.
#[track_caller]
fn check(line: &str, frame: &Frame, expected: Result<(), &str>) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-tests/brokers/rabbitmq.toml");
    let profile = Profile::load(&home).unwrap();
    let mut names = Names::new(&profile, Version::V1_2);
    let lines = script::parse([(1, line)].into_iter()).unwrap();
    let Step::Actor(_, Act::Expect(Expect::Frame(pattern))) = &lines.first().unwrap().step else { panic!("{line}") };
    for _ in 0..2 {
        let came = expect::frame(pattern, frame, Carrier::Text, &mut names);
        assert_eq!(came.as_ref().map(|_| ()).map_err(String::as_str), expected, "{line}");
    }
}

fn message(headers: &[(&str, &str)], body: &[u8]) -> Frame {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Frame { command: "MESSAGE".to_owned(), headers, body: body.to_vec() }
}

#[test]
fn headers_in_any_order_and_more_of_them() {
    let frame = message(&[("b", "2"), ("a", "1"), ("c", "3")], b"x");
    check("A < MESSAGE a:1 b:2", &frame, Ok(()));
    check("A < MESSAGE a:1 b:3", &frame, Err("header `b` is \"2\" and not \"3\""));
    check("A < MESSAGE d:1", &frame, Err("header `d` is missing"));
    check("A < RECEIPT a:1", &frame, Err("MESSAGE instead of RECEIPT"));
}

#[test]
fn the_first_of_repeated_headers_counts() {
    let frame = message(&[("a", "1"), ("a", "2")], b"");
    check("A < MESSAGE a:1", &frame, Ok(()));
    check("A < MESSAGE a:2", &frame, Err("header `a` is \"1\" and not \"2\""));
}

#[test]
fn absent_other_and_empty() {
    let frame = message(&[("a", "1"), ("empty", "")], b"");
    check("A < MESSAGE -b", &frame, Ok(()));
    check("A < MESSAGE -a", &frame, Err("header `a` must be absent and is \"1\""));
    check("A < MESSAGE a:!2 -b empty:", &frame, Ok(()));
    check("A < MESSAGE a:!1", &frame, Err("header `a` is \"1\", which it must not be"));
    check("A < MESSAGE b:!1", &frame, Err("header `b` is missing"));
}

#[test]
fn expressions_match_the_whole_value() {
    let frame = message(&[("a", "12ab")], b"line\nline");
    check(r"A < MESSAGE a:/\d{2}[a-z]+/ /.*/", &frame, Ok(()));
    check(r"A < MESSAGE a:/\d+/", &frame, Err(r#"header `a` is "12ab" and does not match /^(?s:\d+)$/"#));
}

#[test]
fn variables_bind_once() {
    let frame = message(&[("a", "1"), ("b", "2"), ("c", "1")], b"1");
    check("A < MESSAGE a:$x c:$x $x", &frame, Ok(()));
    check("A < MESSAGE a:$x b:$x", &frame, Err("header `b` is \"2\" and not \"1\""));
}

#[test]
fn bodies_are_octets() {
    let frame = message(&[], b"a\0b\xff\xff\xff");
    check(r#"A < MESSAGE "a^@b\xff\xff\xff""#, &frame, Ok(()));
    check("A < MESSAGE", &frame, Ok(()));
    check("A < MESSAGE @carrier:text", &frame, Ok(()));
    check(r#"A < MESSAGE "x"*3"#, &message(&[], b"xxx"), Ok(()));
    check(r#"A < MESSAGE "xx""#, &message(&[], b"xxx"), Err("the body is \"xxx\" and not \"xx\""));
}
