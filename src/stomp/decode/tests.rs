use super::*;
use crate::stomp::grammar::tests::EXAMINED;

const SMALL: Limits = Limits { header_count: 3, header_bytes: 30, line_bytes: 20, body_bytes: 10, frame_bytes: 70 };

/// Decodes all of `input` in pieces of `step` bytes; heart-beats are written as `beat`, frames as
/// `COMMAND name=value .. "body"`, an error as its code.
fn decode(input: &[u8], version: Option<Version>, limits: &Limits, step: usize) -> Vec<String> {
    let mut decoder = Decoder::new(limits);
    if let Some(version) = version {
        decoder.set_version(version);
    }
    let mut seen = Vec::new();
    for mut piece in input.chunks(step) {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(Decoded::Heartbeat)) => seen.push("beat".to_owned()),
                Ok(Some(Decoded::Frame(frame))) => seen.push(show(&frame)),
                Ok(None) => break,
                Err(error) => {
                    seen.push(error.code().to_owned());
                    let again = decoder.decode(&mut &b"SEND\n\n\0"[..]);
                    assert_eq!(again, Err(error), "errors last");
                    assert_eq!(decoder.buffered(), 0);
                    return seen;
                }
            }
        }
        assert!(piece.is_empty(), "None means that all input was taken");
    }
    if decoder.buffered() > 0 {
        seen.push(format!("{} held", decoder.buffered()));
    }
    seen
}

fn show(frame: &Frame) -> String {
    let mut text = frame.command.to_string();
    for (name, value) in frame.headers.iter() {
        text += &format!(" {name:?}={value:?}");
    }
    text.replace('"', "") + " " + &format!("{:?}", frame.body)[1..]
}

/// Whole and byte by byte, where each heart-beat octet of a run is seen on its own.
fn check_all(input: &[u8], version: Option<Version>, limits: &Limits, wanted: &[&str]) {
    let shown = input.escape_ascii();
    assert_eq!(decode(input, version, limits, input.len().max(1)), wanted, "whole: {shown}");
    let frames = |seen: Vec<String>| -> Vec<String> { seen.into_iter().filter(|each| each != "beat").collect() };
    let wanted: Vec<&str> = wanted.iter().copied().filter(|each| *each != "beat").collect();
    for step in [1, 2, 3, 7] {
        assert_eq!(frames(decode(input, version, limits, step)), wanted, "by {step}: {shown}");
    }
}

fn check(input: &str, version: Version, wanted: &[&str]) {
    check_all(input.as_bytes(), Some(version), &Limits::default(), wanted);
}

fn check_before(input: &str, wanted: &[&str]) {
    check_all(input.as_bytes(), None, &Limits::before_login(), wanted);
}

#[test]
fn frames_and_what_lies_between() {
    let every = |input: &str, wanted: &[&str]| {
        for version in Version::ALL {
            check(input, version, wanted);
        }
    };
    every("", &[]);
    every("SEND\ndestination:/a\n\nhi\0", &["SEND destination=/a \"hi\""]);
    every("DISCONNECT\n\n\0", &["DISCONNECT \"\""]);
    every("BEGIN\na:1\n\n\0COMMIT\na:1\n\n\0", &["BEGIN a=1 \"\"", "COMMIT a=1 \"\""]);
    every("\n\n\nABORT\n\n\0\n\r\n", &["beat", "ABORT \"\"", "beat"]);
    every("\r\n", &["beat"]);
    every("ABORT\n\n\0\n\nABORT\n\n\0", &["ABORT \"\"", "beat", "ABORT \"\""]);
    every("SEND\ncontent-length:3\n\na\0b\0", &["SEND content-length=3 \"a\\0b\""]);
    every("SEND\ncontent-length:0\n\n\0", &["SEND content-length=0 \"\""]);
}

#[test]
fn headers_are_kept_as_sent() {
    check("SEND\na:1\nb:2\na:3\n\n\0", Version::V1_2, &["SEND a=1 b=2 a=3 \"\""]);
    check("SEND\n a : 1 \n\n\0", Version::V1_2, &["SEND  a = 1  \"\""]);
    check("SEND\na:b:c\n\n\0", Version::V1_2, &["SEND a=b:c \"\""]);
    check("SEND\na:\n\n\0", Version::V1_2, &["SEND a= \"\""]);
    check("SEND\nä:ö€\n\n\0", Version::V1_2, &["SEND ä=ö€ \"\""]);
    // The first content-length counts.
    let repeated = "SEND\ncontent-length:1\ncontent-length:x\n\na\0";
    check(repeated, Version::V1_2, &["SEND content-length=1 content-length=x \"a\""]);
}

/// M4
#[test]
fn escapes_are_those_of_the_version() {
    let line = "SEND\na\\c:\\n\\c\\\\x\n\n\0";
    check(line, Version::V1_2, &["SEND a:=\\n:\\\\x \"\""]);
    check(line, Version::V1_1, &["SEND a:=\\n:\\\\x \"\""]);
    check(line, Version::V1_0, &["SEND a\\\\c=\\\\n\\\\c\\\\\\\\x \"\""]);
    check("SEND\na:\\r\n\n\0", Version::V1_2, &["SEND a=\\r \"\""]);
    check("SEND\na:\\r\n\n\0", Version::V1_1, &["bad-escape"]);
    check("SEND\na:\\t\n\n\0", Version::V1_2, &["bad-escape"]);
    check("SEND\na:x\\\n\n\0", Version::V1_2, &["bad-escape"]);
    check("SEND\na\\:x\n\n\0", Version::V1_2, &["bad-escape"]);
    check("SEND\na:1\n\nbo\\ty\0", Version::V1_2, &["SEND a=1 \"bo\\\\ty\""]);
}

/// C2
#[test]
fn frames_that_agree_on_a_version_have_no_escapes() {
    check_before("CONNECT\npasscode:a\\tb\n\n\0", &["CONNECT passcode=a\\\\tb \"\""]);
    check_before("STOMP\r\npasscode:a:b\r\n\r\n\0", &["STOMP passcode=a:b \"\""]);
    check_before("CONNECT\na:b\\\r\n\n\0", &["CONNECT a=b\\\\ \"\""]);
    check("CONNECT\na:\\t\n\n\0", Version::V1_2, &["CONNECT a=\\\\t \"\""]);
    check("CONNECTED\na:\\t\n\n\0", Version::V1_2, &["CONNECTED a=\\\\t \"\""]);
}

#[test]
fn carriage_returns_end_lines_where_the_version_or_the_frame_says_so() {
    check("SEND\r\na:1\r\nb:2\n\r\nx\r\n\0\r\n", Version::V1_2, &["SEND a=1 b=2 \"x\\r\\n\"", "beat"]);
    check("SEND\na:1\r\n\r\n\0", Version::V1_2, &["SEND a=1 \"\""]);
    check("SEND\na:1\r\n\n\0", Version::V1_1, &["SEND a=1\\r \"\""]);
    check("SEND\na:1\r\n\n\0", Version::V1_0, &["SEND a=1\\r \"\""]);
    check("SEND\r\na:1\r\n\r\n\0", Version::V1_1, &["SEND a=1 \"\""]);
    check("SEND\na:1\n\r\n\0", Version::V1_1, &["header-without-colon"]);
    check("SEND\na:1\r2\n\n\0", Version::V1_1, &["SEND a=1\\r2 \"\""]);
    check("SEND\na:1\r2\n\n\0", Version::V1_2, &["carriage-return"]);
    check("SEND\r\na:1\r\r\n\r\n\0", Version::V1_2, &["carriage-return"]);
    check("SEND\r\r\n\n\0", Version::V1_2, &["unknown-command"]);
    check("\rSEND\n\n\0", Version::V1_2, &["carriage-return"]);
    check("\r\r\n", Version::V1_2, &["carriage-return"]);
}

#[test]
fn malformed_frames_are_named() {
    let every = |input: &[u8], wanted: &str| {
        for version in Version::ALL {
            check_all(input, Some(version), &Limits::default(), &[wanted]);
        }
    };
    every(b"send\n\n\0", "unknown-command");
    every(b" SEND\n\n\0", "unknown-command");
    every(b"SEND \n\n\0", "unknown-command");
    every(b"GET / HTTP/1.1\r\n", "unknown-command");
    every(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03ab", "unknown-command");
    every(b"SEND\nab\n\n\0", "header-without-colon");
    every(b"SEND\n:b\n\n\0", "empty-header-name");
    every(b"SEND\na:\xff\n\n\0", "headers-not-utf8");
    every(b"SEND\n\xff:a\n\n\0", "headers-not-utf8");
    every(b"SEND\na:b\0", "nul-in-header");
    every(b"SEND\0", "nul-in-header");
    every(b"SEND\n\0", "nul-in-header");
    every(b"\0", "unknown-command");
    every(b"SEND\ncontent-length:1\n\nab\0", "missing-nul");
    every(b"SEND\ncontent-length:0\n\na\0", "missing-nul");
    for length in ["", "-1", "+1", " 1", "1 ", "0x1", "1.0", "1,0", "a"] {
        every(format!("SEND\ncontent-length:{length}\n\na\0").as_bytes(), "bad-content-length");
    }
    every(b"SEND\ncontent-length:18446744073709551617\n\na\0", "body-too-long");
}

#[test]
fn an_unknown_command_is_shown_short_and_printable() {
    let mut decoder = Decoder::new(&Limits::default());
    let error = decoder.decode(&mut &b"\x16\x03GET /index.html\n"[..]);
    let text = error.map_err(|error| error.to_string());
    assert_eq!(text, Err("unknown command \"\\x16\\x03GET /index\"".to_owned()));
}

/// G5: inclusive, and seen as soon as the first byte too many is there.
#[test]
fn limits_hold_to_the_byte() {
    let small = |input: &str, wanted: &str| {
        check_all(input.as_bytes(), Some(Version::V1_2), &SMALL, &[wanted]);
    };
    small("SEND\na:1\nb:2\nc:3\n\n\0", "SEND a=1 b=2 c=3 \"\"");
    small("SEND\na:1\nb:2\nc:3\nd", "too-many-headers");
    small("SEND\na:1\nb:2\nc:3\r\n\r\n\0", "SEND a=1 b=2 c=3 \"\"");
    small("SEND\na:345678901234567890\n\n\0", "SEND a=345678901234567890 \"\"");
    small("SEND\na:345678901234567890\r\n\r\n\0", "SEND a=345678901234567890 \"\"");
    small("SEND\na:3456789012345678901", "header-line-too-long");
    small("SEND\na:3456789012345678901\n", "header-line-too-long");
    small("SEND\na:34567890123456\nb:34567890123\n\n\0", "SEND a=34567890123456 b=34567890123 \"\"");
    small("SEND\na:34567890123456\nb:34567890123", "35 held");
    small("SEND\na:34567890123456\nb:345678901234", "headers-too-long");
    small("SEND\n\n1234567890\0", "SEND \"1234567890\"");
    small("SEND\n\n12345678901", "body-too-long");
    small("SEND\n\n12345678901\0", "body-too-long");
    small("SEND\ncontent-length:10\n\n1234567890\0", "SEND content-length=10 \"1234567890\"");
    small("SEND\ncontent-length:11\n\n", "body-too-long");
    small("UNSUBSCRIBE1", "unknown-command");
    small("UNSUBSCRIBE\r\n\r\n\0", "UNSUBSCRIBE \"\"");
}

/// H4
#[test]
fn the_whole_frame_is_limited_before_login() {
    let check_at = |frame_bytes: usize, input: &str, wanted: &str| {
        let limits = Limits { frame_bytes, ..Limits::default() };
        check_all(input.as_bytes(), None, &limits, &[wanted]);
    };
    let frame = "SEND\na:1\n\nbody\0";
    check_at(15, frame, "SEND a=1 \"body\"");
    check_at(14, frame, "frame-too-long-before-login");
    let frame = "SEND\ncontent-length:4\n\nbody\0";
    check_at(28, frame, "SEND content-length=4 \"body\"");
    check_at(27, frame, "frame-too-long-before-login");
    check_at(11, "ABORT\na:1\n\n\0", "frame-too-long-before-login");
    check_at(12, "ABORT\na:1\n\n\0", "ABORT a=1 \"\"");
    check_at(20, "ABORT\na:345678901234567890", "frame-too-long-before-login");
    assert_eq!(Limits::before_login().frame_bytes, 8192);
}

#[test]
fn errors_name_the_limit_and_its_key() {
    let error = DecodeError::BodyTooLong { limit: 10 };
    assert_eq!(error.to_string(), "a body longer than 10 bytes (limits.body_bytes)");
    assert_eq!(error.config_key(), Some("limits.body_bytes"));
    assert_eq!(DecodeError::BadEscape.config_key(), None);
}

#[test]
fn an_announced_length_reserves_nothing() {
    let mut decoder = Decoder::new(&Limits::default());
    let head = b"SEND\ncontent-length:16000000\n\nabc";
    assert_eq!(decoder.decode(&mut &head[..]), Ok(None));
    assert_eq!(decoder.buffered(), head.len());
    assert_eq!(decoder.decode(&mut &b"def"[..]), Ok(None));
    let State::Within(partial) = &decoder.state else { panic!("no partial frame") };
    assert!(partial.bytes.capacity() <= 2 * (head.len() + 3), "{}", partial.bytes.capacity());
}

#[test]
fn an_idle_decoder_is_small() {
    assert!(size_of::<Decoder>() < 100, "{} bytes", size_of::<Decoder>());
    let mut decoder = Decoder::new(&Limits::default());
    for mut piece in [&b"SEND\n\nab"[..], &b"c\0"[..]] {
        while decoder.decode(&mut piece).unwrap().is_some() {}
    }
    assert!(matches!(decoder.state, State::Between { .. }));
}

/// The work of searching is counted, not timed: twice the input's length at most, however it is cut (once to know
/// what belongs to the frame, once to find where its lines end).
#[test]
fn dribbled_input_costs_linear_work() {
    let mut input = b"SEND\n".to_vec();
    for number in 0..60 {
        input.extend_from_slice(format!("header-{number}:{}\n", "x".repeat(400)).as_bytes());
    }
    let head = input.len();
    let open = [&input[..], b"\n", &[b'y'; 100_000], b"\0"].concat();
    let counted = [&input[..], b"content-length:100000\n\n", &[0; 100_000], b"\0"].concat();
    let one_line = [b"SEND\nname:".to_vec(), vec![b'z'; 8000], b"\n\n\0".to_vec()].concat();
    for (input, searched) in [(&open, open.len()), (&counted, head + 100), (&one_line, one_line.len())] {
        for step in [1, 2, 13, 1000, input.len()] {
            EXAMINED.set(0);
            let seen = decode(input, Some(Version::V1_2), &Limits::default(), step);
            assert_eq!(seen.len(), 1);
            assert!(seen[0].starts_with("SEND"), "{}", seen[0]);
            assert!(EXAMINED.get() <= 2 * searched, "{} of {searched} by {step}", EXAMINED.get());
        }
    }
}

#[test]
fn limits_and_version_can_change_between_frames() {
    let mut decoder = Decoder::new(&Limits { body_bytes: 1, ..Limits::before_login() });
    let mut input = &b"CONNECT\na:\\n\n\n\0SEND\na:\\n\n\nlong\0"[..];
    let mut next = |decoder: &mut Decoder| match decoder.decode(&mut input) {
        Ok(Some(Decoded::Frame(frame))) => show(&frame),
        other => panic!("{other:?}"),
    };
    assert_eq!(next(&mut decoder), "CONNECT a=\\\\n \"\"");
    decoder.set_version(Version::V1_1);
    decoder.set_limits(&Limits::default());
    assert_eq!(next(&mut decoder), "SEND a=\\n \"long\"");
}

/// What is held is what the memory is, and not only what has come; and it can be forgotten.
#[test]
fn memory_for_an_incomplete_frame_is_counted() {
    let mut decoder = Decoder::new(&Limits::default());
    assert_eq!(decoder.held_bytes(), 0);
    let headers: String = (0..20).map(|number| format!("h{number}:v\n")).collect();
    decoder.decode(&mut format!("SEND\n{headers}").as_bytes()).unwrap();
    let many_headers = decoder.held_bytes();
    assert!(many_headers > headers.len() + 20 * size_of::<crate::headers::Span>(), "{many_headers}");
    decoder.decode(&mut &[b"\n".as_slice(), &[b'x'; 1000]].concat()[..]).unwrap();
    assert!(decoder.held_bytes() >= many_headers + 1000);
    decoder.forget();
    assert_eq!((decoder.held_bytes(), decoder.buffered()), (0, 0));
}
