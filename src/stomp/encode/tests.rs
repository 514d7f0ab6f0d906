use super::*;

fn check(frame: &Frame, version: Version, wanted: &str) {
    let mut out = Vec::new();
    encode(frame, version, &mut out);
    assert_eq!(String::from_utf8_lossy(&out), wanted, "{version} {frame:?}");
}

fn frame(command: Command, headers: &[(&str, &str)], body: &'static str) -> Frame {
    Frame::new(command, headers.iter().copied(), body)
}

#[test]
fn content_length_is_that_of_the_body() {
    let every = |frame: &Frame, wanted: &str| {
        for version in Version::ALL {
            check(frame, version, wanted);
        }
    };
    every(&frame(Command::Receipt, &[("receipt-id", "1")], ""), "RECEIPT\nreceipt-id:1\n\n\0");
    every(&frame(Command::Send, &[("a", "1")], ""), "SEND\na:1\ncontent-length:0\n\n\0");
    every(&frame(Command::Error, &[], "ab"), "ERROR\ncontent-length:2\n\nab\0");
    let wrong = frame(Command::Message, &[("content-length", "7"), ("a", "1"), ("content-length", "8")], "b");
    every(&wrong, "MESSAGE\na:1\ncontent-length:1\n\nb\0");
}

/// M4
#[test]
fn escapes_are_those_of_the_version() {
    let escaped = frame(Command::Receipt, &[("a:b", "c\\d\ne:f\rg")], "");
    check(&escaped, Version::V1_2, "RECEIPT\na\\cb:c\\\\d\\ne\\cf\\rg\n\n\0");
    check(&escaped, Version::V1_1, "RECEIPT\na\\cb:c\\\\d\\ne\\cf\rg\n\n\0");
    check(&escaped, Version::V1_0, "RECEIPT\na b:c\\d e:f\rg\n\n\0");
}

/// C2
#[test]
fn frames_that_agree_on_a_version_are_not_escaped() {
    for command in [Command::Connect, Command::Stomp, Command::Connected] {
        let frame = frame(command, &[("server", "a:b\\c")], "");
        check(&frame, Version::V1_2, &format!("{command}\nserver:a:b\\c\n\n\0"));
    }
    // What cannot be said without an escape must not become a header of its own.
    check(&frame(Command::Connected, &[("a", "b\nc:d\re\0f")], ""), Version::V1_2, "CONNECTED\na:b c:d e f\n\n\0");
    check(&frame(Command::Receipt, &[("a", "\0")], ""), Version::V1_2, "RECEIPT\na: \n\n\0");
}

/// M2
#[test]
fn a_message_has_our_headers_first() {
    let headers = Headers::from_iter([("content-type", "text/plain"), ("x", "a:b")]);
    let plain = Message {
        subscription: "sub-0",
        message_id: "m-1",
        destination: "/topic/a",
        ack: None,
        redelivery_count: 0,
        headers: &headers,
    };
    let written = |message: &Message<'_>, version: Version| {
        let mut out = b"before".to_vec();
        encode_message(message, b"hi", version, &mut out);
        let mut parts = b"before".to_vec();
        encode_message_head(message, 2, version, &mut parts);
        parts.extend_from_slice(b"hi\0");
        assert_eq!(out, parts);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        written(&plain, Version::V1_2),
        "beforeMESSAGE\nsubscription:sub-0\nmessage-id:m-1\ndestination:/topic/a\ncontent-length:2\n\
         content-type:text/plain\nx:a\\cb\n\nhi\0"
    );
    let again = Message { ack: Some("a-1"), redelivery_count: 12, ..plain };
    assert_eq!(
        written(&again, Version::V1_0),
        "beforeMESSAGE\nsubscription:sub-0\nmessage-id:m-1\ndestination:/topic/a\nack:a-1\n\
         redelivered:true\nredelivery-count:12\ncontent-length:2\ncontent-type:text/plain\nx:a:b\n\nhi\0"
    );
}

#[test]
fn the_head_is_written_into_one_allocation() {
    let headers = Headers::from_iter((0..40).map(|number| (format!("h{number}"), "v")));
    let message = Message {
        subscription: "sub-0",
        message_id: "m-1",
        destination: "/topic/a",
        ack: Some("a"),
        redelivery_count: u32::MAX,
        headers: &headers,
    };
    let mut out = Vec::new();
    encode_message_head(&message, usize::MAX, Version::V1_2, &mut out);
    assert!(out.len() <= message.length_hint(), "{} > {}", out.len(), message.length_hint());
}

#[test]
fn own_headers_are_what_is_written() {
    let headers = Headers::default();
    let message = Message {
        subscription: "s",
        message_id: "m",
        destination: "d",
        ack: Some("a"),
        redelivery_count: 1,
        headers: &headers,
    };
    let mut out = Vec::new();
    encode_message(&message, b"", Version::V1_2, &mut out);
    let text = String::from_utf8(out).unwrap();
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.split_once(':')).map(|pair| pair.0).collect();
    let mut own = OWN_HEADERS.to_vec();
    names.sort_unstable();
    own.sort_unstable();
    assert_eq!(names, own);
}
