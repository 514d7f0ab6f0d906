use super::*;

fn parse(text: &str, version: Version) -> Result<Request, Refusal> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let command = lines.next().and_then(|line| Command::parse(line.as_bytes())).unwrap();
    let headers = lines.filter_map(|line| line.split_once(':'));
    Request::parse(Frame::new(command, headers, Bytes::copy_from_slice(body.as_bytes())), version)
}

/// The error's code and text, or `ok`.
fn check(text: &str, version: Version, wanted: &str) {
    let found = match parse(text, version) {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => format!("{}: {refusal}", refusal.error.code()),
    };
    assert_eq!(found, wanted, "{version} {text:?}");
}

#[test]
fn each_version_wants_its_headers() {
    use Version::{V1_0, V1_1, V1_2};
    check("SEND\na:1", V1_2, "missing-header: SEND needs the header destination");
    check("SEND\ndestination:/a", V1_2, "ok");
    check("SUBSCRIBE\nid:1", V1_2, "missing-header: SUBSCRIBE needs the header destination");
    check("SUBSCRIBE\ndestination:/a", V1_2, "missing-header: SUBSCRIBE needs the header id");
    check("SUBSCRIBE\ndestination:/a", V1_1, "missing-header: SUBSCRIBE needs the header id");
    check("SUBSCRIBE\ndestination:/a", V1_0, "ok");
    check("UNSUBSCRIBE\ndestination:/a", V1_1, "missing-header: UNSUBSCRIBE needs the header id");
    check("UNSUBSCRIBE\ndestination:/a", V1_0, "ok");
    check("UNSUBSCRIBE\nx:1", V1_0, "missing-header: UNSUBSCRIBE needs the header id");
    check("ACK\nmessage-id:1\nsubscription:2", V1_2, "missing-header: ACK needs the header id");
    check("ACK\nid:1", V1_2, "ok");
    check("ACK\nid:1", V1_1, "missing-header: ACK needs the header message-id");
    check("ACK\nmessage-id:1", V1_1, "missing-header: ACK needs the header subscription");
    check("ACK\nmessage-id:1", V1_0, "ok");
    check("NACK\nmessage-id:1\nsubscription:2", V1_1, "ok");
    check("NACK\nmessage-id:1", V1_0, "command-not-in-version: NACK does not exist in STOMP 1.0");
    for command in ["BEGIN", "COMMIT", "ABORT"] {
        check(command, V1_2, &format!("missing-header: {command} needs the header transaction"));
        check(&format!("{command}\ntransaction:t"), V1_2, "ok");
    }
    check("DISCONNECT", V1_2, "ok");
}

#[test]
fn what_clients_must_not_send_is_refused() {
    use Version::{V1_0, V1_2};
    for command in ["CONNECTED", "MESSAGE", "RECEIPT", "ERROR"] {
        let wanted = format!("server-command: {command} is sent by servers, not by clients");
        check(command, V1_2, &wanted);
    }
    check("DISCONNECT\n\nbody", V1_2, "body-not-allowed: DISCONNECT must not have a body");
    check("CONNECT\n\nbody", V1_0, "body-not-allowed: CONNECT must not have a body");
    check("DISCONNECT\n\nbody", V1_0, "ok");
    check(
        "SUBSCRIBE\nid:1\ndestination:/a\nack:later",
        V1_2,
        "bad-header: SUBSCRIBE has a header ack that is not auto, client or client-individual",
    );
    check(
        "CONNECT\nheart-beat:1",
        V1_2,
        "bad-header: CONNECT has a header heart-beat that is not two numbers of milliseconds with a comma between",
    );
}

#[test]
fn a_subscription_in_1_0_may_be_named_by_its_destination() {
    let id = |text: &str| match parse(text, Version::V1_0) {
        Ok(Request::Subscribe(subscribe)) => subscribe.id,
        Ok(Request::Unsubscribe(unsubscribe)) => unsubscribe.id,
        other => panic!("{other:?}"),
    };
    assert_eq!(id("SUBSCRIBE\ndestination:/a"), "/a");
    assert_eq!(id("SUBSCRIBE\ndestination:/a\nid:1"), "1");
    assert_eq!(id("UNSUBSCRIBE\ndestination:/a"), "/a");
}

#[test]
fn fields_are_read() {
    let request = parse("SEND\ndestination:/a\ntransaction:t\nreceipt:r\ndestination:/b\n\nhi", Version::V1_2);
    let Ok(Request::Send(send)) = request else { panic!("{request:?}") };
    assert_eq!((&*send.destination, send.transaction.as_deref()), ("/a", Some("t")));
    assert_eq!((send.receipt.as_deref(), &send.body[..]), (Some("r"), &b"hi"[..]));
    assert_eq!(send.headers.len(), 4);

    let request = parse("ACK\nmessage-id:m\nsubscription:s\ntransaction:t", Version::V1_1);
    let Ok(Request::Ack(settle)) = request else { panic!("{request:?}") };
    let name = AckName::MessageId { message_id: "m", subscription: Some("s") };
    assert_eq!((settle.name(), settle.transaction.as_deref()), (name, Some("t")));

    let text = "STOMP\naccept-version:1.0,1.1\nlogin:me\npasscode:\nheart-beat:10000,5000";
    let request = parse(text, Version::V1_2);
    let Ok(Request::Connect(connect)) = request else { panic!("{request:?}") };
    assert_eq!((connect.version, connect.host), (Some(Version::V1_1), None));
    assert_eq!((connect.login.as_deref(), connect.passcode.as_deref()), (Some("me"), Some("")));
    assert_eq!(connect.heart_beat, HeartBeat { can_send: 10000, wants: 5000 });
}

/// X1
#[test]
fn the_receipt_can_be_named_in_an_error_too() {
    let refusal = parse("SUBSCRIBE\nreceipt:r-1", Version::V1_2).unwrap_err();
    assert_eq!(refusal.receipt.as_deref(), Some("r-1"));
    let request = parse("BEGIN\ntransaction:t\nreceipt:r-2", Version::V1_2).unwrap();
    assert_eq!(request.receipt().map(|receipt| &**receipt), Some("r-2"));
}

#[test]
fn heart_beats_are_two_numbers() {
    let check = |text: &str, wanted: Option<(u32, u32)>| {
        let found = HeartBeat::parse(text).map(|beat| (beat.can_send, beat.wants));
        assert_eq!(found, wanted, "{text:?}");
    };
    check("0,0", Some((0, 0)));
    check("10000, 5000", Some((10000, 5000)));
    check("99999999999,1", Some((u32::MAX, 1)));
    check("1", None);
    check("1,", None);
    check("1,2,3", None);
    check("-1,2", None);
    check("+1,2", None);
    check("a,b", None);
}
