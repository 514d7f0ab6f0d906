//! Snippets that must be complained about, and their neighbours that must not.

use crate::complaint::Law;

/// What is said about one file: each law with its line.
#[track_caller]
fn check(path: &str, text: &str, expected: &[(Law, usize)]) {
    // A file of its own is complained about for being no module of anything; that has its own cases.
    let manifest = ("Cargo.toml".to_owned(), format!("path = \"{path}\""));
    let complaints = crate::check(&[(path.to_owned(), text.to_owned()), manifest]);
    let found: Vec<(Law, usize)> = complaints.iter().map(|complaint| (complaint.law, complaint.line)).collect();
    assert_eq!(found, expected, "{text}\n{complaints:#?}");
}

#[test]
fn law_1_pure_rooms() {
    use Law::PureRooms;
    check("src/session/mod.rs", "use tokio::time::sleep;", &[(PureRooms, 1), (Law::Packages, 1)]);
    check("src/stomp/decode.rs", "use std::{io, net::TcpStream};", &[(PureRooms, 1)]);
    check("src/broker/shard.rs", "\nfn f() { std::fs::read(p); }", &[(PureRooms, 2)]);
    check("src/broker/shard.rs", "let now = Instant::now();", &[(PureRooms, 1)]);
    check("src/broker/shard.rs", "f(std::time::SystemTime::now)", &[(PureRooms, 1)]);
    check("src/message.rs", "use std::fs;", &[(PureRooms, 1)]);
    check("src/worker/hub.rs", "use tokio::sync::Notify;", &[(PureRooms, 1)]);
    check("src/worker/connection.rs", "use tokio::sync::Notify;\nlet t = Instant::now();", &[]);
    check("src/worker/peers.rs", "use std::net::SocketAddr;", &[]);
    check("src/stomp/decode.rs", "// Instant::now, tokio::spawn\nlet a = \"std::fs::read\";", &[]);
    check("src/stomp/decode.rs", "#[cfg(test)]\nmod tests {\n    fn f() { Instant::now(); }\n}", &[]);
    check("src/stomp/decode.rs", "#[cfg(test)]\nmod tests {\n}\nfn f() { Instant::now(); }", &[(PureRooms, 4)]);
    check("src/stomp/decode/tests.rs", "let now = Instant::now();", &[]);
}

#[test]
fn law_2_transport() {
    check("src/transport/quic.rs", "use crate::stomp::Frame;", &[(Law::Transport, 1)]);
    check("src/transport/mod.rs", "use super::session;", &[(Law::Transport, 1)]);
    check("src/transport/tcp.rs", "use crate::{websocket, broker::Shard};", &[(Law::Transport, 1)]);
    check("src/transport/tcp.rs", "let session = 1; let a = session::f();", &[]);
}

#[test]
fn room_table() {
    use Law::Rooms;
    check("src/stomp/decode.rs", "use crate::message::Message;", &[(Rooms, 1)]);
    check("src/session/mod.rs", "use crate::broker::Shard;", &[(Rooms, 1)]);
    check("src/broker/queue/mod.rs", "fn f(a: super::super::session::Session) {}", &[(Rooms, 1)]);
    check("src/websocket/packet.rs", "use crate::{\n    hash::Keyed,\n    worker,\n};", &[(Rooms, 2), (Rooms, 3)]);
    check("src/lounge/mod.rs", "", &[(Rooms, 0)]);
    check("src/worker/hub.rs", "use crate::{broker, session};\nuse super::Options;\npub(crate) fn f() {}", &[]);
    check("src/stomp/frame.rs", "use super::error::Error;\nuse self::inner::A;\nuse crate::stomp::Frame;", &[]);
    check("src/session/mod.rs", "use http::Request;", &[(Law::Packages, 1)]);
    check("src/server/mod.rs", "use crate::transport::http;\nuse http::Options;", &[]);
    check("src/transport/http.rs", "use hyper::body::Incoming;\nuse http::Request;", &[]);
}

#[test]
fn laws_3_and_4_config_and_serde() {
    check("src/broker/options.rs", "use crate::config::Options;", &[(Law::Config, 1)]);
    check("src/server/mod.rs", "fn f(a: &crate::config::Options) {}", &[(Law::Config, 1)]);
    check("src/broker/options.rs", "use serde::Deserialize;", &[(Law::Serde, 1)]);
    check("src/session/mod.rs", "#[derive(serde::Serialize)]\nstruct A;", &[(Law::Serde, 1)]);
    check("src/cli/serve.rs", "use crate::config::load;", &[]);
    check("src/config/file.rs", "use serde::Deserialize;\nuse toml::Value;\nuse crate::session;", &[]);
}

#[test]
fn law_5_panics() {
    use Law::Invariant;
    check("src/hash.rs", "fn f() { a.unwrap(); }", &[(Invariant, 1)]);
    check("src/hash.rs", "a.b()\n    .expect(\"c\");", &[(Invariant, 2)]);
    check(
        "src/hash.rs",
        "match a { _ => unreachable!() }\npanic!(\"b\")\ntodo!()",
        &[(Invariant, 1), (Invariant, 2), (Invariant, 3)],
    );
    check("src/hash.rs", "// Invariant: a was set above.\na.unwrap();", &[]);
    check("src/hash.rs", "// Invariant: a was\n// set above.\nlet b = a\n    .c()\n    .unwrap();", &[]);
    check("src/hash.rs", "a.unwrap(); // Invariant: a was set.", &[]);
    check("src/hash.rs", "// Invariant: a was set.\nlet a = b;\na.unwrap();", &[(Invariant, 3)]);
    check("src/hash.rs", "// Because.\na.unwrap();", &[(Invariant, 2)]);
    check("src/hash.rs", "a.unwrap_or(1); a.unwrap_or_default(); my_panic!();\n/// `a.unwrap()`\nfn f() {}", &[]);
    check("src/hash.rs", "#[test]\nfn f() { a.unwrap(); }\nfn g() { b.unwrap(); }", &[(Invariant, 3)]);
    check("src/hash.rs", "let a = r#\"x \" .unwrap() \"#; let b = '\"'; c.unwrap()", &[(Invariant, 1)]);
    check("src/hash.rs", "fn f<'a>(b: &'a str) { /* c.unwrap() /* d */ e.unwrap() */ }", &[]);
    check("examples/a.rs", "fn main() { a.unwrap(); }", &[(Invariant, 1)]);
    check("protocol-tests/a.rs", "fn main() { a.unwrap(); }", &[]);
}

#[test]
fn law_5_limits_and_globs() {
    use Law::{Bounded, Glob};
    check("src/server/mod.rs", "let (a, b) = tokio::sync::mpsc::unbounded_channel();", &[(Bounded, 1)]);
    check("src/server/mod.rs", "use tokio::sync::mpsc::{self, UnboundedSender};", &[(Bounded, 1)]);
    check("src/server/mod.rs", "use std::sync::{Arc, mpsc};", &[(Bounded, 1)]);
    check("src/server/mod.rs", "use std::ops::Bound;\nlet a = Bound::Unbounded;", &[]);
    check("src/hash.rs", "pub use self::inner::*;", &[(Glob, 1)]);
    check("src/hash.rs", "use std::{io::{self, prelude::*}, fmt};", &[(Glob, 1)]);
    check("src/hash.rs", "use super::*;", &[(Glob, 1)]);
    check("src/hash.rs", "#[cfg(test)]\nmod tests {\n    use super::*;\n    use std::io::*;\n}", &[(Glob, 4)]);
    check("benches/a.rs", "use criterion::*;", &[(Glob, 1)]);
}

#[test]
fn law_5_shape() {
    use Law::{DeadCode, Size};
    let lines = |count: usize| "\n".repeat(count);
    check("src/hash.rs", &lines(600), &[]);
    check("src/hash.rs", &lines(601), &[(Size, 0)]);
    check("src/hash.rs", &format!("fn f(a: [u8; 4]) {{{}}}", lines(69)), &[]);
    check("src/hash.rs", &format!("\nfn f(a: [u8; 4]) {{{}}}", lines(70)), &[(Size, 2)]);
    check("src/hash.rs", &format!("fn f() {{ \"}}\"; '}}'; // a }}{}}}", lines(70)), &[(Size, 1)]);
    check("src/hash.rs", &format!("type A = fn(u8);\nfn f();{}fn g() {{}}", lines(90)), &[]);
    check("src/hash.rs", "// let a = 1;", &[(DeadCode, 1)]);
    check(
        "src/hash.rs",
        "fn f() {\n    // self.g(1);\n    // if a {\n    // }\n}",
        &[(DeadCode, 2), (DeadCode, 3), (DeadCode, 4)],
    );
    check("src/hash.rs", "// It is read once (Q1);\n// then it goes.\n/// let a = 1;\nfn f() {}", &[]);
}

#[test]
fn unread_files() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let unread = |files: &[(String, String)]| -> Vec<String> {
        let complaints = crate::check(files).into_iter();
        complaints.filter(|complaint| complaint.law == Law::DeadCode).map(|complaint| complaint.path).collect()
    };
    let library = file("src/lib.rs", "pub mod hash;\nmod stomp;");
    let stomp = file("src/stomp/mod.rs", "#[cfg(test)]\nmod tests;\nmod frame;");
    let tests = file("src/stomp/tests.rs", "");
    let frame = file("src/stomp/frame.rs", "mod inner;");
    let inner = file("src/stomp/frame/inner.rs", "");
    let hash = file("src/hash.rs", "");
    let forgotten = file("src/stomp/old.rs", "");
    assert_eq!(unread(&[library, stomp, tests, frame, inner, hash, forgotten]), ["src/stomp/old.rs"]);

    let manifest = file("Cargo.toml", "[[test]]\nname = \"a\"\npath = \"protocol-tests/a/main.rs\"\n");
    let main = file("protocol-tests/a/main.rs", "mod b;\n#[path = \"../c.rs\"]\nmod c;");
    let rest = ["protocol-tests/a/b.rs", "protocol-tests/c.rs", "protocol-tests/d.rs"].map(|path| file(path, ""));
    assert_eq!(unread(&[&[manifest, main], &rest[..]].concat()), ["protocol-tests/d.rs"]);
}

#[test]
fn words() {
    use Law::Words;
    check("README.md", concat!("a\nTO", "DO: b"), &[(Words, 2)]);
    check("src/hash.rs", concat!("// FIX", "ME"), &[(Words, 1)]);
    check("src/hash.rs", concat!("<<<<", "<<< HEAD"), &[(Words, 1)]);
    check("fuzz/Cargo.toml", concat!("any", "how = 1"), &[(Words, 1)]);
    check("package-lock.json", concat!("\"https://reg", "istry.example.org/a\""), &[(Words, 1)]);
    check("README.md", concat!("see crates", ".io"), &[(Words, 1)]);
    check("Cargo.lock", concat!("https://github.com/rust-lang/crates", ".io-index"), &[]);
    check(".ci/run", concat!("cd /ro", "ot/gumboot"), &[(Words, 1)]);
    check("docs/a.md", concat!("in `/t", "mp/a`"), &[(Words, 1)]);
    check("protocol-tests/a.rs", concat!("// in /t", "mp/a"), &[]);
    check("README.md", concat!("/queue/wo", "rk/a and target/t", "mp/b, METHODOLOGY"), &[]);
}
