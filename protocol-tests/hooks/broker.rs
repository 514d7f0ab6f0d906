//! Hooks within the real program: what a client sends and gets, and what the application sees of it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::authority::Authority;
use crate::client::{Client, Frame};
use crate::server::{Act, Application};

/// The program with a configuration of its own, on ports of its own choice.
pub(crate) struct Broker {
    program: Child,
    config: PathBuf,
    pub(crate) tcp: String,
    admin: String,
}

const SECRET: &str = "a secret for tests";

impl Broker {
    pub(crate) fn start(config: &str) -> Broker {
        let (mut command, file) = prepared(config);
        let mut program = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut address = |before: &str, after: &str| {
            let line = said.find(|line| line.contains(before)).unwrap();
            line.split_once(before).unwrap().1.split(after).next().unwrap_or_default().to_owned()
        };
        let tcp = address("listening on tcp://", " ");
        let admin = address("health and metrics on http://", "/health");
        Broker { program, config: file, tcp, admin }
    }

    /// A client whose refused requests leave it alive.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.tcp, &[("on-error", "continue")])
    }

    /// The value of a metric, given with its labels.
    fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // All of them fail where there is nothing left to do.
        let _ = self.program.kill();
        let _ = self.program.wait();
        let _ = fs::remove_file(&self.config);
    }
}

fn prepared(config: &str) -> (Command, PathBuf) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("gumboot-hooks-{}-{number}.toml", std::process::id()));
    fs::write(&file, config).unwrap();
    let ports = ["websocket.bind=127.0.0.1:0", "tcp.bind=127.0.0.1:0", "admin.bind=127.0.0.1:0"];
    let others = ["server.workers=2", "store.engine=memory"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_gumboot"));
    command.env_clear().env("CHAT_SECRET", SECRET).arg("--config").arg(&file);
    command.args(ports.iter().chain(&others).flat_map(|setting| ["--set", setting]));
    (command, file)
}

/// A hook for `/app/chat/{room}` and `/app/rooms`, with more lines of configuration.
fn hook(app: &Application, more: &str) -> String {
    format!(
        "[[app.hook]]\nname = \"chat\"\nurl = \"{}\"\ndestinations = [\"/app/chat/{{room}}\", \"/app/rooms\"]\n\
         retry_delay = \"1ms\"\n{more}\n",
        app.url()
    )
}

const JSON: (&str, &str) = ("content-type", "application/json");
const TO_TEA: (&str, &str) = ("destination", "/app/chat/tea");

/// What a client is told of a request that came to nothing.
#[track_caller]
fn refused(client: &mut Client, command: &str, headers: &[(&str, &str)], code: &str) -> Frame {
    client.write(command, &[headers, &[("receipt", "refused")]].concat(), "");
    let error = client.expect("ERROR");
    assert_eq!((error.header("code"), error.header("receipt-id")), (code, "refused"), "{error:?}");
    error
}

#[test]
fn a1_a_message_is_posted_and_its_answer_goes_round() {
    let app = Application::start(|_, number| match number {
        0 => Act::answer("application/json; charset=utf-8", r#"{"said":1}"#),
        1 => Act::replies(
            r#"{"replies": [{"body": "default"}, {"to": "/topic/log", "headers": {"n": 7}, "body": [1]}]}"#,
        ),
        _ => Act::status(204),
    });
    let broker = Broker::start(&hook(&app, "secret_env = \"CHAT_SECRET\""));
    let (mut ann, mut bob) = (broker.connect(), broker.connect());
    ann.subscribe("tea", "/topic/chat/tea");
    ann.subscribe("log", "/topic/log");
    bob.request("SEND", &[TO_TEA, JSON, ("mood", "good")], r#"{"text":"hello"}"#);
    let message = ann.expect("MESSAGE");
    assert_eq!((message.header("destination"), message.body.as_str()), ("/topic/chat/tea", r#"{"said":1}"#));
    assert_eq!(message.header("content-type"), "application/json; charset=utf-8");
    bob.request("SEND", &[TO_TEA], "again");
    let (first, second) = (ann.expect("MESSAGE"), ann.expect("MESSAGE"));
    assert_eq!((first.header("destination"), first.body.as_str()), ("/topic/chat/tea", "default"));
    assert_eq!((second.header("destination"), second.body.as_str()), ("/topic/log", "[1]"));
    assert_eq!((second.header("content-type"), second.header("n")), ("application/json", "7"));
    assert!(bob.request("SEND", &[TO_TEA], "nothing comes of it").is_empty());

    let got = app.got();
    assert!(got.iter().all(|got| got.is_signed_with(SECRET)));
    let told = got[0].json();
    assert_eq!(told["event"], "send");
    assert_eq!(told["destination"], "/app/chat/tea");
    assert_eq!(told["captures"], json!({"room": "tea"}));
    assert_eq!(told["headers"], json!({"content-type": "application/json", "mood": "good"}));
    assert_eq!((&told["encoding"], &told["body"]), (&json!("json"), &json!({"text": "hello"})));
    assert_eq!(told["session"]["id"], json!(bob.session));
    assert_eq!((&told["session"]["user"], &told["session"]["transport"]), (&json!(null), &json!("tcp")));
    assert_eq!(broker.metric("gumboot_hook_calls_total{hook=\"chat\",end=\"done\"}"), 3);
}

#[test]
fn a1_answers_reach_the_sender_and_users_alone() {
    let app = Application::start(|got, _| {
        let other = String::from_utf8(got.body.clone()).unwrap();
        let to = |to: &str| json!({"to": to, "body": to});
        Act::replies(&json!({"replies": [to("sender"), to(&format!("user:{other}"))]}).to_string())
    });
    let broker = Broker::start(&hook(&app, "mode = \"raw\""));
    let (mut ann, mut bob) = (broker.connect(), broker.connect());
    for client in [&mut ann, &mut bob] {
        client.subscribe("mine", "/user/queue/chat/tea");
    }
    // Without logins, a session's name is its user's (P3).
    let told = bob.request("SEND", &[TO_TEA], &ann.session);
    assert_eq!(told.iter().map(|frame| frame.body.as_str()).collect::<Vec<_>>(), ["sender"]);
    assert_eq!(told[0].header("destination"), "/user/queue/chat/tea");
    assert_eq!(ann.body(), format!("user:{}", ann.session));
}

#[test]
fn a3_whoever_listens_for_errors_hears_of_them_there() {
    let app =
        Application::start(|_, _| Act::Answer(403, vec![("content-type", "text/plain".into())], b"not you".into()));
    let broker = Broker::start(&hook(&app, ""));
    let mut client = Client::connect(&broker.tcp, &[]);
    client.subscribe("errors", "/user/queue/errors");
    let told = client.request("SEND", &[TO_TEA], "x");
    assert_eq!((told[0].header("code"), told[0].body.contains("not you")), ("app-refused", true), "{told:?}");
}

#[test]
fn a2_a_subscribe_asks_once() {
    let app = Application::start(|got, _| match got.header("gumboot-event") {
        "ask" => Act::answer("application/json", r#"["tea"]"#),
        _ => Act::status(204),
    });
    let broker = Broker::start(&hook(&app, ""));
    let mut client = broker.connect();
    let before = client.subscribe("q", "/app/rooms");
    let [message] = before.as_slice() else { panic!("{before:?}") };
    assert_eq!((message.header("destination"), message.header("subscription")), ("/app/rooms", "q"));
    assert_eq!((message.header("content-type"), message.body.as_str()), ("application/json", r#"["tea"]"#));
    // Nothing stays behind.
    assert!(client.request("SEND", &[("destination", "/app/rooms")], "x").is_empty());
    assert!(client.request("UNSUBSCRIBE", &[("id", "q")], "").is_empty());
    assert_eq!(app.got().len(), 2);
}

#[test]
fn a3_refusals_and_failures_are_told_to_the_sender() {
    let app = Application::start(|_, number| match number {
        0 => {
            Act::Answer(422, vec![("content-type", "application/json".into())], br#"{"message":"no such room"}"#.into())
        }
        1 => Act::status(500),
        2 => Act::replies("not JSON"),
        _ => Act::status(204),
    });
    let broker = Broker::start(&hook(&app, ""));
    let mut client = broker.connect();
    let error = refused(&mut client, "SEND", &[TO_TEA], "app-refused");
    assert!(error.body.contains("no such room"), "{error:?}");
    refused(&mut client, "SEND", &[TO_TEA], "app-failed");
    refused(&mut client, "SEND", &[TO_TEA], "app-failed");
    assert!(client.request("SEND", &[TO_TEA], "x").is_empty());
    for (end, count) in [("refused", 1), ("failed", 2), ("done", 1)] {
        assert_eq!(broker.metric(&format!("gumboot_hook_calls_total{{hook=\"chat\",end=\"{end}\"}}")), count, "{end}");
    }
}

#[test]
fn a2_no_answer_in_time_is_an_error_or_nothing() {
    let app = Application::start(|_, _| Act::Stall);
    let broker = Broker::start(&hook(&app, "timeout = \"200ms\"\nbreaker.failures = 0"));
    let mut client = broker.connect();
    refused(&mut client, "SEND", &[TO_TEA], "app-timeout");
    refused(&mut client, "SUBSCRIBE", &[("id", "q"), ("destination", "/app/rooms")], "app-timeout");

    let patient = hook(&app, "timeout = \"200ms\"\nbreaker.failures = 0\nwhen_late = \"ignore\"");
    let broker = Broker::start(&patient);
    assert!(broker.connect().subscribe("q", "/app/rooms").is_empty());
}

#[test]
fn tries_are_made_again_where_that_is_safe() {
    let app = Application::start(|_, number| Act::status(if number < 2 { 503 } else { 204 }));
    let broker = Broker::start(&hook(&app, ""));
    broker.connect().request("SEND", &[TO_TEA], "x");
    let got = app.got();
    let tries: Vec<&str> = got.iter().map(|got| got.header("gumboot-try")).collect();
    assert_eq!(tries, ["1", "2", "3"]);
    assert!(got.iter().all(|each| each.header("idempotency-key") == got[0].header("gumboot-id")));
    assert_eq!(broker.metric("gumboot_hook_retries_total{hook=\"chat\"}"), 2);
}

#[test]
fn a_hook_whose_application_is_down_rests_and_comes_back() {
    let app = Application::start(|_, number| Act::status(if number < 2 { 500 } else { 204 }));
    let broker = Broker::start(&hook(&app, "breaker = { failures = 2, pause = \"1h\" }"));
    let mut client = broker.connect();
    for code in ["app-failed", "app-failed", "app-unavailable", "app-unavailable"] {
        refused(&mut client, "SEND", &[TO_TEA], code);
    }
    assert_eq!(app.got().len(), 2);
    assert_eq!(broker.metric("gumboot_hook_breaker{hook=\"chat\",state=\"open\"}"), 1);

    let app = Application::start(|_, number| Act::status(if number < 2 { 500 } else { 204 }));
    let broker = Broker::start(&hook(&app, "breaker = { failures = 2, pause = \"100ms\" }"));
    let mut client = broker.connect();
    refused(&mut client, "SEND", &[TO_TEA], "app-failed");
    refused(&mut client, "SEND", &[TO_TEA], "app-failed");
    loop {
        client.write("SEND", &[TO_TEA, ("receipt", "r")], "x");
        let frame = client.read();
        if frame.command == "RECEIPT" {
            break;
        }
        assert_eq!(frame.header("code"), "app-unavailable");
    }
    assert_eq!(broker.metric("gumboot_hook_breaker{hook=\"chat\",state=\"closed\"}"), 1);
}

#[test]
fn a4_the_application_hears_of_sessions_and_keeps_notes_with_them() {
    let app = Application::start(|got, _| match got.header("gumboot-event") {
        "connected" => Act::replies(r#"{"attributes": {"mood": "good", "draft": "x"}}"#),
        "send" => Act::replies(r#"{"attributes": {"draft": null, "room": "tea"}}"#),
        "disconnected" => Act::replies(r#"{"replies": [{"to": "/topic/gone", "body": "bye"}]}"#),
        _ => Act::answer("text/plain", "OK"),
    });
    let events = r#"events = ["connected", "disconnected", "subscribed", "unsubscribed"]"#;
    let route = "[[app.route]]\nfrom = \"/app/elsewhere\"\nto = \"/topic/elsewhere\"\n";
    let broker = Broker::start(&format!("{route}{}", hook(&app, events)));
    let mut watcher = broker.connect();
    watcher.subscribe("gone", "/topic/gone");
    app.wait_for(2);

    let private = [("login", "bob"), ("passcode", "s3cret"), ("Authorization", "Bearer s3cret"), ("color", "red")];
    let mut client = Client::connect(&broker.tcp, &private);
    client.subscribe("t", "/topic/x");
    client.request("SEND", &[TO_TEA, ("Authorization", "s3cret")], "x");
    client.request("SEND", &[TO_TEA], "x");
    client.request("UNSUBSCRIBE", &[("id", "t")], "");
    client.request("DISCONNECT", &[], "");
    assert_eq!(watcher.body(), "bye");

    let told: Vec<_> = app.wait_for(8).iter().skip(2).map(|got| got.json()).collect();
    let events: Vec<_> =
        told.iter().map(|told| (told["event"].clone(), told["session"]["attributes"].clone())).collect();
    let (early, late) = (json!({"mood": "good", "draft": "x"}), json!({"mood": "good", "room": "tea"}));
    assert_eq!(
        events,
        [
            (json!("connected"), json!({})),
            (json!("subscribed"), early.clone()),
            (json!("send"), early),
            (json!("send"), late.clone()),
            (json!("unsubscribed"), late.clone()),
            (json!("disconnected"), late),
        ]
    );
    assert_eq!((&told[1]["destination"], &told[5]["reason"]), (&json!("/topic/x"), &json!("disconnect")));
    assert_eq!(told[0]["session"]["headers"], json!({"accept-version": "1.2", "color": "red"}));
    assert!(app.got().iter().all(|got| !String::from_utf8_lossy(&got.body).contains("s3cret")));
}

#[test]
fn order_and_connections_are_kept() {
    let app = Application::start(|_, _| Act::status(204));
    let broker = Broker::start(&hook(&app, "mode = \"raw\""));
    let mut client = broker.connect();
    for number in 0..50 {
        client.write("SEND", &[TO_TEA], &number.to_string());
    }
    let big = "ä😀".repeat(500_000);
    client.request("SEND", &[TO_TEA, ("content-type", "text/plain; charset=utf-8")], &big);
    let got = app.got();
    let bodies: Vec<&[u8]> = got.iter().map(|got| got.body.as_slice()).collect();
    let numbers: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    let expected: Vec<&[u8]> = numbers.iter().map(String::as_bytes).chain([big.as_bytes()]).collect();
    assert!(bodies == expected, "{} bodies", bodies.len());
    assert_eq!(got[50].header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(got[50].header("gumboot-captures"), r#"{"room":"tea"}"#);
    assert_eq!(app.connections(), 1);
}

#[test]
fn https_is_by_a_file_of_certificates() {
    let authority = Authority::new("broker");
    let app = Application::start_tls(authority.vouch_for("localhost"), |_, _| Act::answer("text/plain", "hello"));
    let port = app.address.port();
    let config = format!(
        "[[app.hook]]\nname = \"a\"\nurl = \"https://localhost:{port}/\"\ndestinations = \"/app/a\"\nca_file = {:?}\n",
        authority.file()
    );
    let broker = Broker::start(&config);
    assert_eq!(broker.connect().subscribe("q", "/app/a")[0].body, "hello");
}

#[test]
fn what_cannot_work_ends_the_start() {
    let ends = |config: &str, code: i32, says: &str| {
        let (mut command, file) = prepared(config);
        let Output { status, stderr, .. } = command.output().unwrap();
        fs::remove_file(file).unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(status.code() == Some(code) && stderr.contains(says), "{status}: {stderr}");
    };
    let app = Application::start(|_, _| Act::status(204));
    let with = |more: &str| hook(&app, more);
    ends(&with("secret_env = \"NOT_SET\""), 1, "the environment variable NOT_SET is not set (app.hook.secret_env)");
    ends(&with("secret_file = \"no-such-file\""), 1, "cannot read no-such-file (app.hook.secret_file)");
    ends(&with("").replace("http://", "gopher://"), 2, "`app.hook[0].url`: expected a URL");
    ends(&with("").replace("/app/rooms", "/topic/rooms"), 2, "expected a pattern under a prefix of kind");
}
