use super::*;
use crate::websocket::handshake::tests::request_with;

const LISTENER: Listener = Listener { loopback: true, tls: false };

/// The request of the draft's own section 1.2, with these changes.
fn request(changes: &[(&str, &str)]) -> Request<()> {
    let own = [
        ("host", "example.com"),
        ("connection", "Upgrade"),
        ("sec-websocket-key2", "12998 5 Y3 1  .P00"),
        ("sec-websocket-protocol", "v12.stomp"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-key1", "4 @1  46546xW%0l 1 5"),
        ("origin", "http://example.com"),
    ];
    let mut request = request_with(&own, changes);
    *request.uri_mut() = "/demo?a=b".parse().expect("a path");
    request
}

fn headers(response: &Response<()>) -> Vec<(&str, &str)> {
    let mut headers: Vec<(&str, &str)> =
        response.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
    headers.sort_unstable();
    headers
}

#[test]
fn reads_the_numbers_that_keys_hide() {
    let check = |key: &str, expected: Option<u32>| assert_eq!(number(key), expected, "{key:?}");
    check("4 @1  46546xW%0l 1 5", Some(829_309_203));
    check("12998 5 Y3 1  .P00", Some(259_970_620));
    check("18x 6]8vM;54 *(5:  {   U1]8  z [  8", Some(155_712_099));
    check("1_ tx7X d  <  nw  334J702) 7]o}` 0", Some(173_347_027));
    check("4294967295 ", Some(u32::MAX));
    check(" 4294967294 x", Some(u32::MAX / 2));
    check("0 ", Some(0));
    // More than 32 bits, no digits, no spaces, and a number that the spaces do not divide.
    check("4294967296 ", None);
    check("99999999999999999999999999 ", None);
    check("abc def", None);
    check("", None);
    check("   ", None);
    check("12345", None);
    check("1 2 3", None);
}

#[test]
fn answers_as_the_draft_does() {
    let check = |first: &str, second: &str, nonce: &[u8; 8], expected: &[u8; 16]| {
        let challenge = accept(
            &request(&[("sec-websocket-key1", first), ("sec-websocket-key2", second)]),
            &Options::default(),
            LISTENER,
        )
        .expect("accepted")
        .challenge;
        assert_eq!(challenge.answer(*nonce), *expected, "{first:?} {second:?}");
    };
    let (first, second) = ("4 @1  46546xW%0l 1 5", "12998 5 Y3 1  .P00");
    check(first, second, b"^n:ds[4U", b"8jKS'y:G*Co,Wxa-");
    check(first, second, b"aaaaaaaa", b"\xca4\x00\xd8\xa5\x08G\x97,\xd5qZ\xba\xbfC{");
    let (first, second) = ("18x 6]8vM;54 *(5:  {   U1]8  z [  8", "1_ tx7X d  <  nw  334J702) 7]o}` 0");
    check(first, second, b"Tm[K T2u", b"fQJ,fN/4F4!~K~MH");
}

#[test]
fn the_response_says_where_the_client_has_come() {
    #[track_caller]
    fn check(changes: &[(&str, &str)], tls: bool, location: &str, others: &[(&str, &str)]) {
        let listener = Listener { tls, ..LISTENER };
        let accepted = accept(&request(changes), &Options::default(), listener).expect("accepted");
        assert_eq!(accepted.response.status(), 101);
        let mut expected =
            vec![("connection", "Upgrade"), ("sec-websocket-location", location), ("upgrade", "WebSocket")];
        expected.extend(others);
        expected.sort_unstable();
        assert_eq!(headers(&accepted.response), expected);
    }
    let origin = ("sec-websocket-origin", "http://example.com");
    let protocol = ("sec-websocket-protocol", "v12.stomp");
    check(&[], false, "ws://example.com/demo?a=b", &[origin, protocol]);
    check(&[("sec-websocket-protocol", "sample")], false, "ws://example.com/demo?a=b", &[origin]);
    check(&[("host", "127.0.0.1:15674"), ("origin", "")], false, "ws://127.0.0.1:15674/demo?a=b", &[protocol]);
    let secure = ("sec-websocket-origin", "https://example.com");
    check(&[("origin", "https://example.com")], true, "wss://example.com/demo?a=b", &[secure, protocol]);
    let forwarded = [("origin", "https://example.com"), ("x-forwarded-proto", "https")];
    check(&forwarded, false, "wss://example.com/demo?a=b", &[secure, protocol]);
}

#[test]
fn knows_its_requests() {
    let check = |changes: &[(&str, &str)], expected: bool| {
        assert_eq!(is_offered(request(changes).headers()), expected, "{changes:?}");
    };
    check(&[], true);
    check(&[("sec-websocket-key1", "")], true);
    check(&[("sec-websocket-key1", ""), ("sec-websocket-key2", "")], false);
    check(&[("sec-websocket-version", "13")], false);
    check(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")], false);
}

#[test]
fn refuses_with_a_status() {
    #[track_caller]
    fn check(request: Request<()>, expected: Rejection, status: u16) {
        let rejection = accept(&request, &Options::default(), LISTENER).expect_err("refused");
        assert_eq!(rejection, expected);
        assert_eq!(rejection.response().status(), status);
    }
    let mut post = request(&[]);
    *post.method_mut() = Method::POST;
    check(post, Rejection::Method, 405);
    let mut old = request(&[]);
    *old.version_mut() = Version::HTTP_10;
    check(old, Rejection::HttpVersion, 505);
    check(request(&[("connection", "close")]), Rejection::NotAnUpgrade, 426);
    check(request(&[("upgrade", "h2c")]), Rejection::NotAnUpgrade, 426);
    check(request(&[("sec-websocket-key1", "")]), Rejection::DraftKeys, 400);
    check(request(&[("sec-websocket-key2", "12345")]), Rejection::DraftKeys, 400);
    let mut twice = request(&[]);
    twice.headers_mut().append(KEY_1, HeaderValue::from_static("1 2"));
    check(twice, Rejection::DraftKeys, 400);
    check(request(&[("host", "")]), Rejection::Host, 400);
    let refused = Rejection::Origin(origin::Refused("http://evil.example".into()));
    check(request(&[("origin", "http://evil.example")]), refused, 403);
}

/// What a receiver hears, with the pieces of each packet put together.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Packet(String),
    Close,
    Broke(Violation),
}

fn hear(sent: &[u8], cut: usize) -> Vec<Heard> {
    let (mut receiver, mut heard, mut packet) = (Receiver::default(), Vec::new(), Vec::new());
    for piece in sent.chunks(cut) {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        loop {
            match receiver.next(&mut input, 8) {
                Ok(None) => break,
                Ok(Some(Event::Data { payload, fin, .. })) => {
                    packet.extend_from_slice(payload);
                    if fin {
                        let packet = std::mem::take(&mut packet);
                        heard.push(Heard::Packet(String::from_utf8(packet).expect("text is UTF-8")));
                    }
                }
                Ok(Some(Event::Close(None))) => heard.push(Heard::Close),
                Ok(Some(other)) => panic!("{other:?}"),
                Err(violation) => {
                    assert_eq!(receiver.next(&mut input, 8), Err(violation), "it is told the same again");
                    heard.push(Heard::Broke(violation));
                    return heard;
                }
            }
        }
        assert!(input.is_empty(), "all of the input is taken");
    }
    heard
}

#[test]
fn reads_frames_however_they_are_cut() {
    let check = |sent: &[u8], expected: &[Heard]| {
        for cut in 1..=sent.len() {
            assert_eq!(hear(sent, cut), expected, "{} cut every {cut}", sent.escape_ascii());
        }
    };
    let packet = |text: &str| Heard::Packet(text.to_owned());
    check(b"\x00one\xff\x00\xff\x00\xc3\xbc\xe2\x82\xac\xff", &[packet("one"), packet(""), packet("ü€")]);
    check(b"\x00a\x00b\xff\x00begun", &[packet("a\0b")]);
    check(b"\x00a\xff\xff\x00\x00ignored\xff", &[packet("a"), Heard::Close]);
    check(b"\x0012345678\xff", &[packet("12345678")]);
    check(b"\x00123456789\xff", &[Heard::Broke(Violation::PacketTooBig { limit: 8 })]);
    check(b"\x00a\x80bcdefghijk\xff", &[Heard::Broke(Violation::InvalidUtf8)]);
    check(b"\x00a\x80\xff", &[Heard::Broke(Violation::InvalidUtf8)]);
    check(b"\x00\xe2\x82\xff", &[Heard::Broke(Violation::InvalidUtf8)]);
    for kind in [0x01, 0x7f, 0x80, 0xfe] {
        check(&[kind, 0, 0xff], &[Heard::Broke(Violation::FrameType(kind))]);
    }
    check(b"\xff\x01a", &[Heard::Broke(Violation::FrameType(0xff))]);
}

#[test]
fn writes_what_the_other_side_reads() {
    let mut out = Vec::new();
    write_packet(&mut out, "Grüße");
    write_packet(&mut out, "");
    write_close(&mut out);
    assert_eq!(out, b"\x00Gr\xc3\xbc\xc3\x9fe\xff\x00\xff\xff\x00");
    assert_eq!(hear(&out, 3), [Heard::Packet("Grüße".to_owned()), Heard::Packet(String::new()), Heard::Close]);
}
