//! Keys about application destinations: who handles what is sent to `/app/**`.

use std::time::Duration;

use bytestring::ByteString;

use super::hooks;
use super::section::Section;
use crate::app::{
    Address, Announcement, CallId, Options, Place, RESERVED_HEADERS, Route, Template, ToError, WorkerQueue, parse_to,
    read_address,
};
use crate::destination::{Destination, Kind, Spaces};
use crate::session::{self, Secret, WorkRight};

/// The most of anything that waits: more than any machine holds.
const MANY: u64 = 1_000_000_000;

const FROM: &str = r#"a pattern under a prefix of kind "application", such as "/app/chat/{room}""#;
const TO: &str = r#"a destination under one of the other prefixes, such as "/topic/{room}", with known {names}"#;
const TEXT: &str = "a text with known {names}";

/// Reads the section, and answers with the rights that sessions over TCP alone have.
pub(super) fn read(section: &mut Section<'_>, app: &mut Options, session: &mut session::Options) -> Vec<WorkRight> {
    let spaces = session.spaces.clone();
    // The default stands even where there are no such topics, and so it may be written there too.
    let default = app.reply_prefix.clone();
    let prefix = |text: &str| {
        if *text == *default {
            return Some(default.clone());
        }
        let space = spaces.resolve(text).filter(|space| space.kind == Kind::Topic);
        space.filter(|_| !text.ends_with('/')).map(|_| ByteString::from(text))
    };
    let expected = r#"the beginning of topics, such as "/topic""#;
    section.text("reply_prefix", &mut app.reply_prefix, expected, prefix, ByteString::to_string);
    let topic = |text: &str| match text {
        "" => Some(None),
        text => spaces.resolve(text).filter(|it| it.kind == Kind::Topic).map(|_| Some(Destination::new(text))),
    };
    let write = |topic: &Option<Destination>| topic.as_ref().map_or("", Destination::as_str).to_owned();
    section.text("events", &mut app.events, r#"a topic, or "" for none"#, topic, write);
    session.protected = app.events.clone();
    section.duration("ask_timeout", &mut app.ask_timeout, Duration::from_millis(10)..=Duration::from_secs(3600));
    section.duration("send_timeout", &mut app.send_timeout, Duration::from_millis(10)..=Duration::from_secs(3600));
    section.count("max_calls", &mut app.max_calls, 1..=MANY);
    section.count("max_waiting", &mut app.max_waiting, 1..=MANY);
    section.count("max_replies", &mut app.max_replies, 1..=CallId::MAX_MESSAGES as u64);
    section.count("max_attributes", &mut app.max_attributes, 0..=MANY);
    section.size("attribute_bytes", &mut app.max_attribute_bytes, 0..=1 << 30);
    section.rows("route", &mut app.routes, |_| Vec::new(), |row| read_route(row, &spaces));
    let told =
        [("on_connect", &mut app.on_connect, Place::Beginning), ("on_disconnect", &mut app.on_disconnect, Place::End)];
    for (name, announcements, place) in told {
        section.rows(name, announcements, |_| Vec::new(), |row| read_announcement(row, place, &spaces));
    }
    hooks::read(section, &mut app.hooks, &spaces);
    let mut workers = Vec::new();
    section.rows("worker", &mut workers, |_| Vec::new(), |row| read_worker(row, &spaces));
    let (mut everywhere, mut over_tcp) = (Vec::new(), Vec::new());
    for Worker { queues, right, tcp_only } in workers {
        app.workers.extend(queues);
        if tcp_only { over_tcp.push(right) } else { everywhere.push(right) }
    }
    session.work_rights = everywhere;
    over_tcp
}

fn read_route(row: &mut Section<'_>, spaces: &Spaces) -> Option<Route> {
    let complete = row.requires("from") & row.requires("to");
    let mut from: Option<Address> = None;
    let parse = |text: &str| read_address(text, spaces).ok().map(Some);
    row.text("from", &mut from, FROM, parse, |from| from.as_ref().map_or("", Address::as_str).to_owned());
    let names: Vec<ByteString> = from.iter().flat_map(Address::names).cloned().collect();
    let place = Place::Message;
    let to = read_to(row, &names, place, spaces);
    let headers = read_headers(row, &names, place);
    let set = row.entries("set", |_, text| read_template(text, &names, place));
    let (from, to) = (from?, to?);
    complete.then_some(Route { from, to, headers, set })
}

fn read_announcement(row: &mut Section<'_>, place: Place, spaces: &Spaces) -> Option<Announcement> {
    let complete = row.requires("to") & row.requires("body");
    let to = read_to(row, &[], place, spaces);
    let headers = read_headers(row, &[], place);
    let mut content_type = Some(ByteString::from_static("application/json"));
    let parse = |text: &str| Some((!text.is_empty()).then(|| ByteString::from(text)));
    let write = |kind: &Option<ByteString>| kind.as_deref().unwrap_or_default().to_owned();
    row.text("content_type", &mut content_type, "a content-type, or \"\" for none", parse, write);
    let mut body: Option<Template> = None;
    let parse = |text: &str| read_template(text, &[], place).map(Some);
    row.text_or("body", &mut body, TEXT, parse, |body| body.as_ref().map_or("", Template::as_str).to_owned());
    let (to, body) = (to?, body?);
    complete.then_some(Announcement { to, headers, content_type, body })
}

fn read_to(row: &mut Section<'_>, names: &[ByteString], place: Place, spaces: &Spaces) -> Option<Template> {
    let mut to: Option<Template> = None;
    let parse = |text: &str| {
        let read = parse_to(text, names.iter(), spaces).and_then(|to| Ok(to.fit_for(place)?));
        read.map(Some).map_err(|error| match error {
            ToError::Template(error) => format!("{TO}; {error}"),
            ToError::NoPrefix(_) | ToError::Circle(_) => TO.to_owned(),
        })
    };
    row.text_or("to", &mut to, TO, parse, |to| to.as_ref().map_or("", Template::as_str).to_owned());
    to
}

fn read_headers(row: &mut Section<'_>, names: &[ByteString], place: Place) -> Vec<(ByteString, Template)> {
    row.entries("headers", |name, text| {
        if RESERVED_HEADERS.contains(&name) || name.is_empty() || name.contains([':', '\n', '\r', '\0']) {
            return Err("the name of a header that the broker does not write itself".to_owned());
        }
        read_template(text, names, place)
    })
}

fn read_template(text: &str, names: &[ByteString], place: Place) -> Result<Template, String> {
    let template = Template::parse(text, names.iter()).and_then(|template| template.fit_for(place));
    template.map_err(|error| format!("{TEXT}; {error}"))
}

/// One `[[app.worker]]` entry.
struct Worker {
    queues: Vec<WorkerQueue>,
    right: WorkRight,
    tcp_only: bool,
}

/// Whoever takes messages of the application must say who it is, or come over TCP.
fn read_worker(row: &mut Section<'_>, spaces: &Spaces) -> Option<Worker> {
    let complete = row.requires("destinations");
    let mut addresses: Vec<Address> = Vec::new();
    let parse = |text: &str| read_address(text, spaces).ok();
    row.texts("destinations", &mut addresses, FROM, parse, |address| address.as_str().to_owned());
    let complete = complete && row.requires_some("destinations", &addresses);
    let mut tcp_only = false;
    row.flag("tcp_only", &mut tcp_only);
    // Without a login only TCP is left, which browsers do not speak.
    let mut complete = complete & (tcp_only || row.requires("login"));
    let mut login = String::new();
    row.text("login", &mut login, "a name", |text| (!text.is_empty()).then(|| text.to_owned()), String::clone);
    let mut passcode = Secret::default();
    let has_login = !tcp_only || !login.is_empty();
    if has_login {
        complete &= row.requires("passcode");
        row.secret("passcode", &mut passcode, Secret::new);
    }
    let login = has_login.then_some((login, passcode));
    let destinations = addresses.iter().map(|address| ByteString::from(address.as_str().to_owned())).collect();
    let queue = |address: Address| {
        let queue = Destination::new(address.as_str().to_owned());
        WorkerQueue { address, queue }
    };
    let queues = addresses.into_iter().map(queue).collect();
    complete.then_some(Worker { queues, right: WorkRight { destinations, login }, tcp_only })
}
