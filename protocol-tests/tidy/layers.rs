//! Laws 1 to 4: who may name whom.

use crate::complaint::{Complaint, Law};
use crate::paths::{Named, named};
use crate::source::Source;

/// Every room of the crate, and the rooms it may name. A room that is not here may not exist.
const ROOMS: &[(&str, &[&str])] = &[
    ("app", &["destination", "hash", "headers", "message"]),
    ("clock", &[]),
    ("digits", &[]),
    ("hash", &[]),
    ("headers", &[]),
    ("destination", &[]),
    ("message", &["destination", "digits", "headers"]),
    ("stomp", &["digits", "headers"]),
    ("session", &["destination", "digits", "hash", "headers", "message", "stomp"]),
    ("broker", &["clock", "destination", "hash", "headers", "message"]),
    ("store", &["destination", "headers", "message"]),
    ("websocket", &[]),
    ("sockjs", &["hash", "websocket"]),
    ("transport", &["sockjs", "websocket"]),
    (
        "worker",
        &[
            "app",
            "broker",
            "clock",
            "destination",
            "digits",
            "hash",
            "headers",
            "message",
            "session",
            "stomp",
            "store",
            "transport",
            "websocket",
        ],
    ),
    ("admin", &["app", "worker"]),
    (
        "server",
        &[
            "admin",
            "app",
            "broker",
            "clock",
            "destination",
            "hash",
            "headers",
            "message",
            "session",
            "sockjs",
            "stomp",
            "store",
            "transport",
            "websocket",
            "worker",
        ],
    ),
    ("log", &[]),
    (
        "config",
        &[
            "app",
            "broker",
            "destination",
            "log",
            "message",
            "server",
            "session",
            "sockjs",
            "stomp",
            "store",
            "transport",
            "websocket",
            "worker",
        ],
    ),
    (
        "cli",
        &[
            "broker",
            "config",
            "destination",
            "log",
            "message",
            "server",
            "session",
            "sockjs",
            "stomp",
            "store",
            "transport",
            "websocket",
            "worker",
        ],
    ),
];

/// Packages that are the business of few rooms.
const PACKAGES: &[(&str, &[&str])] = &[
    ("clap", &["cli"]),
    ("crc32fast", &["store"]),
    ("data_encoding", &["app"]),
    ("flate2", &["websocket"]),
    ("hmac", &["app"]),
    ("http", &["admin", "app", "sockjs", "transport", "websocket"]),
    ("http_body_util", &["admin", "app", "sockjs", "transport"]),
    ("hyper", &["admin", "app", "sockjs", "transport"]),
    ("hyper_util", &["admin", "app", "transport"]),
    ("hyper_rustls", &["app"]),
    ("md5", &["websocket"]),
    ("memchr", &["stomp"]),
    ("nom", &["stomp"]),
    ("redb", &["store"]),
    ("rlimit", &["cli"]),
    ("rustls", &["app"]),
    ("sha2", &["app"]),
    ("sled", &["store"]),
    ("socket2", &["transport"]),
    ("tokio", &["admin", "app", "cli", "server", "sockjs", "transport", "worker"]),
    ("tracing_subscriber", &["cli", "log"]),
    ("tungstenite", &["websocket"]),
];

/// Rooms that know no socket, no clock, no runtime and no disk.
const PURE_ROOMS: &[&str] =
    &["broker", "clock", "destination", "digits", "hash", "headers", "message", "session", "stomp", "websocket"];

/// The part of a worker that is as pure, but for the address of a peer, which it hands on to the log.
const PURE_WORKER_FILES: &[&str] = &[
    "answers",
    "applications",
    "counters",
    "encoder",
    "flow",
    "hub",
    "labels",
    "options",
    "outbox",
    "peers",
    "post",
    "timers",
    "unfinished",
];

/// The part of SockJS that is bytes and state; the rest joins it to requests and sockets.
const PURE_SOCKJS_FILES: &[&str] = &["conduit", "dialect", "framing", "pipe"];

/// The part of HTTP hooks that is values and decisions.
const PURE_HOOK_FILES: &[&str] = &["answer", "backoff", "breaker", "options", "request", "signature"];

/// The part of applications that is not a way to call somebody.
const PURE_APP_FILES: &[&str] = &[
    "address", "answer", "calls", "dispatch", "event", "function", "handler", "json", "options", "request", "route",
    "template",
];

/// What no pure file names, by where the path begins.
const IMPURE: &[&str] = &["tokio", "sled", "redb", "std::fs", "std::thread"];

/// What no pure file names, wherever it stands in a path.
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now"];

/// Rooms that read and write files of settings.
const WITH_SERDE: &[&str] = &["app", "config", "store", "admin"];

/// Checks one file of `src`.
pub(crate) fn check(source: &Source) -> Vec<Complaint> {
    let Some(room) = source.room() else { return Vec::new() };
    let mut complaints = Vec::new();
    let mut complain = |line: usize, law: Law, wrong: String| {
        complaints.push(Complaint { path: source.path.clone(), line, law, wrong });
    };
    let known = ROOMS.iter().find(|(name, _)| *name == room);
    if known.is_none() {
        complain(0, Law::Rooms, format!("the room `{room}` is not in the table"));
    }
    let module = source.module();
    let is_lasting = |path: &Named| source.for_tests.get(path.line.wrapping_sub(1)) == Some(&false);
    let paths: Vec<Named> = named(source).into_iter().filter(is_lasting).collect();
    // A module of ours may be called as a package is: `http` is `transport::http` where that was imported.
    let is_ours =
        |package: &str| paths.iter().any(|path| path.begins("crate") && path.segments.ends_with(&[package.into()]));
    for path in &paths {
        if let Some(impure) = impurity(source, path) {
            complain(path.line, Law::PureRooms, format!("a pure file names {impure}"));
        }
        if ["serde", "serde_json", "toml"].iter().any(|package| path.begins(package)) && !WITH_SERDE.contains(&room) {
            complain(path.line, Law::Serde, format!("`{room}` names {}", path.segments.join("::")));
        }
        let package =
            PACKAGES.iter().find(|(package, _)| path.begins(package) && path.segments.len() > 1 && !is_ours(package));
        if let Some((package, rooms)) = package.filter(|(_, rooms)| !rooms.contains(&room)) {
            complain(path.line, Law::Packages, format!("`{room}` names {package}, which is for {}", rooms.join(", ")));
        }
        let inner = path.within_crate(&module).unwrap_or_default();
        let Some(target) = inner.first().copied().filter(|target| *target != room) else { continue };
        let allowed = known.is_some_and(|(_, allowed)| allowed.contains(&target));
        match target {
            "config" if !allowed => complain(path.line, Law::Config, format!("`{room}` names the configuration")),
            "stomp" | "session" | "broker" if room == "transport" => {
                complain(path.line, Law::Transport, format!("a transport names `{target}`"));
            }
            _ if !allowed && is_room(target) => {
                complain(path.line, Law::Rooms, format!("`{room}` may not name `{target}`"));
            }
            _ => {}
        }
    }
    complaints
}

fn is_room(name: &str) -> bool {
    ROOMS.iter().any(|(room, _)| *room == name)
}

/// What a path of a pure file may not name.
fn impurity(source: &Source, path: &Named) -> Option<&'static str> {
    let (room, file) = match source.module().as_slice() {
        ["sockjs", file, ..] => (PURE_SOCKJS_FILES.contains(file), false),
        ["app", "hook", file, ..] => (PURE_HOOK_FILES.contains(file), false),
        ["app", file, ..] => (PURE_APP_FILES.contains(file), false),
        ["worker", file, ..] => (false, PURE_WORKER_FILES.contains(file)),
        [room, ..] => (PURE_ROOMS.contains(room), false),
        [] => (false, false),
    };
    if room && path.begins("std::net") {
        return Some("std::net");
    }
    let found = IMPURE.iter().find(|impure| path.begins(impure));
    let found = found.or_else(|| CLOCKS.iter().find(|clock| path.has(clock)));
    found.copied().filter(|_| room || file)
}
