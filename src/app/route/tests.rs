use super::*;
use crate::app::dispatch::read_address;
use crate::app::request::{Captures, SessionFacts};
use crate::message::{SessionId, WorkerId};

fn facts() -> SessionFacts {
    SessionFacts {
        id: SessionId { worker: WorkerId(0), key: 1 },
        name: "s-1".into(),
        user: Some("ann".into()),
        transport: "tcp",
        peer: None,
        headers: Headers::default(),
    }
}

fn templates(pairs: &[(&'static str, &str)], names: &Address) -> Vec<(ByteString, Template)> {
    let parse = |(name, text): &(&'static str, &str)| {
        (ByteString::from_static(name), Template::parse(text, names.names()).expect("a template"))
    };
    pairs.iter().map(parse).collect()
}

fn route(from: &str, to: &str, headers: &[(&'static str, &str)], set: &[(&'static str, &str)]) -> Route {
    let spaces = Spaces::default();
    let from = read_address(from, &spaces).expect("an address");
    let to = parse_to(to, from.names(), &spaces).expect("a destination");
    let (headers, set) = (templates(headers, &from), templates(set, &from));
    Route { from, to, headers, set }
}

/// What becomes of a message: where it goes with which headers, and the attributes after it.
fn sent(route: &Route, to: &str, headers: &[(&str, &str)], body: &'static str) -> Result<(String, Headers), Detour> {
    let destination = Destination::new(to.to_owned());
    let captures: Captures = route.from.take(&destination).expect("the route takes it");
    let headers = Headers::from_iter(headers.iter().copied());
    let body = Bytes::from_static(body.as_bytes());
    let (session, before) = (facts(), Attributes::default());
    let scene = Scene {
        captures: &captures,
        session: &session,
        attributes: &before,
        headers: &headers,
        body: &body,
        destination: to,
        reason: None,
        epoch_ms: 0,
    };
    let attributes = route.note(&scene);
    let scene = Scene { attributes: &attributes, ..scene };
    let content = plain_content(destination.clone(), headers.clone(), body.clone());
    let content = route.send_on(&scene, content, &Spaces::default())?;
    assert_eq!(content.body, body, "the body is untouched");
    Ok((content.destination.to_string(), content.headers))
}

#[test]
fn stamps_win_over_what_the_client_says() {
    let stamps = [("sender", "{user}"), ("room", "{room}"), ("who", "{attribute.name}"), ("absent", "{header.none}")];
    let route = route("/app/{room}/send", "/topic/{room}", &stamps, &[("name", "{body.sender}")]);
    let said = [("sender", "somebody else"), ("absent", "forged"), ("x", "y")];
    let (to, headers) = sent(&route, "/app/red/send", &said, r#"{"sender":"Ann"}"#).expect("it goes on");
    assert_eq!(to, "/topic/red");
    let expected = [("x", "y"), ("sender", "ann"), ("room", "red"), ("who", "Ann")];
    assert_eq!(headers, Headers::from_iter(expected));
    let (_, headers) = sent(&route, "/app/red/send", &[], "no JSON").expect("it goes on");
    assert_eq!(headers.find("who"), None);
}

#[test]
fn values_stay_in_their_segment() {
    let unfit = |name: &'static str| Err(Detour::Missing(Missing::Unfit(name.into())));
    let by_header = route("/app/x", "/topic/{header.to}", &[], &[]);
    for (value, outcome) in [
        ("a", Ok("/topic/a")),
        ("*", Ok("/topic/*")),
        ("..", Ok("/topic/..")),
        ("a/b", unfit("header.to")),
        ("", unfit("header.to")),
        ("a\nb", unfit("header.to")),
    ] {
        let sent = sent(&by_header, "/app/x", &[("to", value)], "").map(|(to, _)| to);
        assert_eq!(sent.as_deref(), outcome.as_deref(), "{value:?}");
    }
    let missing = sent(&by_header, "/app/x", &[], "");
    assert_eq!(missing, Err(Detour::Missing(Missing::None("header.to".into()))));
}

/// What the message asks of where it goes, as a client or the route says it.
#[test]
fn a_route_may_ask_what_a_send_may() {
    let spaces = Spaces::default();
    let stamps = [("persistent", "true"), ("delay", "{header.wait}")];
    for (to, stamps, said, asked) in [
        ("/queue/x", &stamps[..], "5", Ok((true, true))),
        ("/queue/x", &stamps[..], "soon", Err(Detour::Millis(BadMillis("delay")))),
        ("/queue/x", &[("wait", "{time.ms}")][..], "5", Ok((false, false))),
        ("/topic/x", &stamps[..], "soon", Ok((true, false))),
        ("/user/x/queue/y", &stamps[..], "soon", Ok((false, false))),
    ] {
        let route = route("/app/x", to, stamps, &[]);
        let (captures, session, attributes) = (Captures::default(), facts(), Attributes::default());
        let (headers, body) = (Headers::from_iter([("wait", said)]), Bytes::new());
        let scene = Scene {
            captures: &captures,
            session: &session,
            attributes: &attributes,
            headers: &headers,
            body: &body,
            destination: "/app/x",
            reason: None,
            epoch_ms: 0,
        };
        let content = plain_content(Destination::new("/app/x"), headers.clone(), body.clone());
        let terms = route.send_on(&scene, content, &spaces).map(|content| content.terms.unwrap_or_default());
        let found = terms.map(|terms| (terms.persistent, terms.due.is_some()));
        assert_eq!(found, asked, "{to} {said}");
    }
}

#[test]
fn values_cannot_complete_another_prefix() {
    let space = |prefix: &'static str, kind| crate::destination::Space {
        prefix: ByteString::from_static(prefix),
        kind,
        style: crate::destination::Style::Ant,
        separator: '/',
    };
    let list = vec![space("/topic", Kind::Topic), space("/topic/jobs", Kind::Queue), space("/app", Kind::Application)];
    let spaces = Spaces::new(list, crate::destination::Unknown::Refuse).expect("fine");
    let from = read_address("/app/{x}", &spaces).expect("an address");
    let to = parse_to("/topic/{x}/y", from.names(), &spaces).expect("a destination");
    let (session, attributes) = (facts(), Attributes::default());
    for (value, fits) in [("news", true), ("jobs", false)] {
        let captures = Captures::new(vec![("x".into(), value.into())]);
        let scene = Scene {
            captures: &captures,
            session: &session,
            attributes: &attributes,
            headers: &Headers::default(),
            body: &Bytes::new(),
            destination: "",
            reason: None,
            epoch_ms: 0,
        };
        assert_eq!(render_to(&to, &scene, &spaces).is_ok(), fits, "{value}");
    }
}

#[test]
fn refuses_to_lead_nowhere() {
    let spaces = Spaces::default();
    let names: [ByteString; 1] = ["x".into()];
    for (to, reads) in [
        ("/topic/a", true),
        ("/topic", true),
        ("/topic/{x}", true),
        ("/topic/a{x}", true),
        ("/topic{x}", false),
        ("{x}", false),
        ("/{x}/a", false),
        ("/elsewhere/a", false),
        ("/app/a", false),
        ("/temp-queue/a", false),
        ("/topic/{y}", false),
    ] {
        assert_eq!(parse_to(to, names.iter(), &spaces).is_ok(), reads, "{to}");
    }
}

#[test]
fn an_announcement_needs_all_its_values() {
    let names: [ByteString; 0] = [];
    let spaces = Spaces::default();
    let announcement = Announcement {
        to: parse_to("/topic/public", names.iter(), &spaces).expect("a destination"),
        headers: Vec::new(),
        content_type: Some("application/json".into()),
        body: Template::parse(r#"{"type":"LEAVE","sender":"{attribute.username}"}"#, names.iter()).expect("a template"),
    };
    let session = facts();
    let mut attributes = Attributes::default();
    for (name, body) in [(None, None), (Some("A\"b"), Some(r#"{"type":"LEAVE","sender":"A\"b"}"#))] {
        attributes.set("username", name);
        let scene = Scene {
            captures: &Captures::default(),
            session: &session,
            attributes: &attributes,
            headers: &Headers::default(),
            body: &Bytes::new(),
            destination: "",
            reason: Some("disconnect"),
            epoch_ms: 0,
        };
        let content = announcement.content(&scene, &spaces);
        assert_eq!(content.as_ref().map(|content| &content.body[..]), body.map(str::as_bytes));
        assert_eq!(content.and_then(|content| content.headers.find_shared("content-type")).is_some(), body.is_some());
    }
}
