//! The `gumboot` binary as its users meet it: what it prints, and how it ends.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A directory of its own for one test, gone when the test is over.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("gumboot-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn write(&self, name: &str, text: &str) -> &Place {
        fs::write(self.0.join(name), text).unwrap();
        self
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gumboot"));
        command.current_dir(&self.0).env_clear().envs(variables.iter().copied());
        command.args(arguments).output().unwrap()
    }

    /// Runs it, and checks the exit code, the standard output, and what the error stream contains.
    fn check(&self, arguments: &[&str], variables: &[(&str, &str)], code: i32, stdout: &str, stderr: &[&str]) {
        let output = self.run(arguments, variables);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), stdout, "{arguments:?}");
        for part in stderr {
            assert!(errors.contains(part), "{arguments:?}: no {part:?} in:\n{errors}");
        }
        assert!(!stderr.is_empty() || errors.is_empty(), "{arguments:?}: {errors}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A directory that stays behind does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running broker on ports of its own choice.
struct Broker {
    program: Child,
    log: Box<dyn Iterator<Item = String>>,
    websocket: String,
    tcp: String,
    admin: String,
}

impl Broker {
    fn start(place: &Place, settings: &[&str]) -> Broker {
        let ports = ["websocket.bind=127.0.0.1:0", "tcp.bind=127.0.0.1:0", "admin.bind=127.0.0.1:0"];
        let mut program = Command::new(env!("CARGO_BIN_EXE_gumboot"))
            .current_dir(&place.0)
            .env_clear()
            .args(ports.iter().chain(settings).flat_map(|setting| ["--set", setting]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(program.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut said = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut address = |before: &str, after: &str| {
            let line = said.next().unwrap();
            let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {line:?}"));
            rest.split(after).next().unwrap_or_default().to_owned()
        };
        let websocket = address("listening on ws://", "/ws");
        let tcp = address("listening on tcp://", " ");
        let admin = address("health and metrics on http://", "/health");
        address("to try it: ", " ");
        Broker { program, log: Box::new(log), websocket, tcp, admin }
    }

    /// A client over TCP that has logged in.
    fn connected(&self) -> TcpStream {
        let mut client = TcpStream::connect(&self.tcp).unwrap();
        client.write_all(b"CONNECT\n\n\0").unwrap();
        let mut answer = [0; 9];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"CONNECTED");
        client
    }

    /// A client whose WebSocket handshake is done.
    fn upgraded(&self) -> TcpStream {
        let mut client = TcpStream::connect(&self.websocket).unwrap();
        let request = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        client
    }

    fn tell_to_stop(&self) {
        let killed = Command::new("kill").args(["-TERM", &self.program.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// The first bytes that a new client over TCP is answered.
fn greet(address: &str) -> [u8; 9] {
    let mut client = TcpStream::connect(address).unwrap();
    let mut answer = [0; 9];
    // A refused client may be gone before it has said anything.
    if client.write_all(b"CONNECT\n\n\0").is_ok() {
        let _ = client.read_exact(&mut answer);
    }
    answer
}

/// A short text packet, masked with zeros.
fn write_packet(client: &mut TcpStream, payload: &[u8]) {
    let header = [0x81, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    client.write_all(&[&header, payload].concat()).unwrap();
}

/// The opcode and the payload of the next packet.
fn read_packet(client: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 2];
    client.read_exact(&mut header).unwrap();
    let mut length = usize::from(header[1]);
    if length == 126 {
        let mut long = [0; 2];
        client.read_exact(&mut long).unwrap();
        length = usize::from(u16::from_be_bytes(long));
    }
    let mut payload = vec![0; length];
    client.read_exact(&mut payload).unwrap();
    (header[0] & 15, payload)
}

const WRONG: &str = "[limits]\nbody_byte = 1\nheaders = \"many\"\n[tcp]\nenabled = 1\n";

#[test]
fn check_says_ok_or_everything_that_is_wrong() {
    let place = Place::new("check");
    place.write("right.toml", "[limits]\nheaders = 20\n").write("wrong.toml", WRONG);
    place.check(&["check", "right.toml"], &[], 0, "right.toml: ok\n", &[]);
    let all = [
        "error: unknown key `limits.body_byte`\n --> wrong.toml:2:1\n",
        "did you mean `body_bytes`?",
        " --> wrong.toml:3:11\n",
        " --> wrong.toml:5:11\n",
        "gumboot: 3 errors in the configuration\n",
    ];
    place.check(&["check", "wrong.toml"], &[], 2, "", &all);
    place.check(&["check", "nowhere.toml"], &[], 2, "", &["error: cannot read nowhere.toml: "]);
    place.check(&["check"], &[], 0, "defaults: ok\n", &[]);
}

#[test]
fn the_file_is_searched_in_order() {
    let place = Place::new("search");
    place.write("config.toml", "queues.prefetch = 1\n").write("named.toml", "queues.prefetch = 2\n");
    place.write("asked.toml", "queues.prefetch = 3\n");
    let named: &[(&str, &str)] = &[("GUMBOOT_CONFIG", "named.toml")];
    place.check(&["check"], &[], 0, "config.toml: ok\n", &[]);
    place.check(&["check"], named, 0, "named.toml: ok\n", &[]);
    place.check(&["check", "asked.toml"], named, 0, "asked.toml: ok\n", &[]);
    for (arguments, variables, expected) in [
        (&["config"][..], &[][..], "prefetch = 1 # config.toml:1"),
        (&["config"], named, "prefetch = 2 # named.toml:1"),
        (&["config", "--config", "asked.toml"], named, "prefetch = 3 # asked.toml:1"),
        (&["config", "--set", "queues.prefetch=4"], named, "prefetch = 4 # --set"),
        (&["config"], &[("GUMBOOT__QUEUES__PREFETCH", "5")], "prefetch = 5 # environment GUMBOOT__QUEUES__PREFETCH"),
    ] {
        let output = String::from_utf8(place.run(arguments, variables).stdout).unwrap();
        let line = output.lines().find(|line| line.starts_with("prefetch = ")).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<&str>>().join(" "), expected, "{arguments:?}");
    }
}

#[test]
fn what_config_prints_is_a_configuration() {
    let place = Place::new("print");
    let printed = place.run(&["config", "--set", "profile=spring"], &[]);
    assert!(printed.status.success());
    place.write("printed.toml", &String::from_utf8(printed.stdout).unwrap());
    place.check(&["check", "printed.toml"], &[], 0, "printed.toml: ok\n", &[]);
}

#[test]
fn nothing_is_served_with_a_wrong_configuration() {
    let place = Place::new("refuse");
    place.write("config.toml", WRONG);
    for arguments in [&[][..], &["serve"], &["config"]] {
        place.check(arguments, &[], 2, "", &["gumboot: 3 errors in the configuration\n"]);
    }
    let variables = [("GUMBOOT__TCP__BIND", "0.0.0.0:0"), ("GUMBOOT_CONFIG", "/dev/null")];
    // E4: open to other machines without a login.
    place.check(&[], &variables, 2, "", &["GUMBOOT__TCP__BIND=0.0.0.0:0\n", "access.anonymous = \"anywhere\""]);
}

#[test]
fn serves_until_it_is_told_to_stop() {
    let place = Place::new("serve");
    let mut broker = Broker::start(&place, &["server.workers=1"]);
    let first = broker.log.next().unwrap();
    assert!(first.ends_with("configuration: defaults, as there is no ./config.toml"), "{first}");
    let client = broker.connected();

    let ask_for = |host: &str, path: &str| {
        let mut http = TcpStream::connect(&broker.admin).unwrap();
        write!(http, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        http.read_to_string(&mut answer).unwrap();
        answer
    };
    let ask = |path: &str| ask_for("localhost:15672", path);
    assert!(ask("/health").starts_with("HTTP/1.1 200 OK"));
    assert!(ask("/metrics").contains("gumboot_connections{worker=\"0\"} 1\n"));
    assert!(ask("/").starts_with("HTTP/1.1 404"));
    // A page that had its own name resolved to this machine learns nothing; a health check by name does.
    assert!(ask_for("rebound.example", "/metrics").starts_with("HTTP/1.1 421"));
    assert!(ask_for("rebound.example", "/health").starts_with("HTTP/1.1 200"));

    broker.tell_to_stop();
    assert!(broker.log.any(|line| line.contains("SIGTERM: draining")));
    drop(client);
    assert_eq!(broker.program.wait().unwrap().code(), Some(0));
    let rest: Vec<String> = broker.log.by_ref().collect();
    assert!(rest.last().is_some_and(|line| line.ends_with("stopped")), "{rest:?}");
}

#[test]
fn clients_are_told_that_it_goes_away() {
    let place = Place::new("away");
    let mut broker = Broker::start(&place, &["server.workers=2"]);
    let mut tcp = broker.connected();
    let mut websocket = broker.upgraded();
    write_packet(&mut websocket, b"CONNECT\naccept-version:1.2\n\n\0");
    let (opcode, payload) = read_packet(&mut websocket);
    assert_eq!(opcode, 1);
    assert!(payload.starts_with(b"CONNECTED\n"));

    broker.tell_to_stop();
    // X2: 1001, and the reason says why.
    assert_eq!(read_packet(&mut websocket), (8, b"\x03\xe9going-away".to_vec()));
    let mut rest = Vec::new();
    tcp.read_to_end(&mut rest).unwrap();
    assert!(!rest.windows(5).any(|window| window == b"ERROR"));
    drop((tcp, websocket));
    assert_eq!(broker.program.wait().unwrap().code(), Some(0));
}

#[test]
fn one_connection_too_many_is_told_so() {
    let place = Place::new("crowd");
    let broker = Broker::start(&place, &["limits.connections=2"]);
    let first = broker.connected();
    let _second = broker.upgraded();

    let mut refused = String::new();
    TcpStream::connect(&broker.tcp).unwrap().read_to_string(&mut refused).unwrap();
    let expected = ["ERROR\n", "\ncode:too-many-connections\n", "limit of 2 connections (limits.connections)", "\0"];
    assert!(expected.iter().all(|part| refused.contains(part)), "{refused}");
    let mut refused = String::new();
    TcpStream::connect(&broker.websocket).unwrap().read_to_string(&mut refused).unwrap();
    let expected = ["HTTP/1.1 503 ", "\r\nretry-after: ", "limit of 2 connections (limits.connections)"];
    assert!(expected.iter().all(|part| refused.contains(part)), "{refused}");

    // What the client said already does not cost it the reason.
    let mut talkative = TcpStream::connect(&broker.tcp).unwrap();
    let mut heard = String::new();
    talkative.write_all(b"CONNECT\naccept-version:1.2\n\n\0").unwrap();
    talkative.read_to_string(&mut heard).unwrap();
    assert!(heard.contains("\ncode:too-many-connections\n"), "{heard}");

    // Once one has gone there is room again; the broker learns of it in its own time.
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(20);
    while greet(&broker.tcp) != *b"CONNECTED" {
        assert!(Instant::now() < deadline, "still refused");
    }
}

#[test]
fn a_store_that_is_none_is_left_alone() {
    let place = Place::new("foreign");
    fs::create_dir_all(place.0.join("data")).unwrap();
    place.write("data/thesis.txt", "precious");
    let sets = ["websocket.bind=127.0.0.1:0", "tcp.bind=127.0.0.1:0", "admin.bind=127.0.0.1:0", "store.path=data"];
    let arguments = sets.map(|set| ["--set", set]).concat();
    for engine in ["store.engine=sled", "store.engine=redb"] {
        let output = place.run(&[&arguments[..], &["--set", engine]].concat(), &[]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.contains("error: data is not empty and is no store of this program: set store.path"),
            "{errors}"
        );
        assert_eq!(fs::read_to_string(place.0.join("data/thesis.txt")).unwrap(), "precious");
        assert_eq!(output.stdout, b"", "nobody could connect");
    }
}

/// Sends a message that is to be stored; answers with all that the client gets before its frame's NUL.
fn store(client: &mut TcpStream, queue: &str) -> String {
    let mut heard = Vec::new();
    // The rest of the answer to CONNECT comes first.
    let mut next = |client: &mut TcpStream| {
        heard.clear();
        while heard.last() != Some(&0) {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            heard.extend(byte);
        }
        String::from_utf8(heard.clone()).unwrap()
    };
    next(client);
    client.write_all(format!("SEND\ndestination:{queue}\npersistent:true\nreceipt:1\n\nx\0").as_bytes()).unwrap();
    next(client)
}

#[test]
fn what_is_stored_is_not_lost_from_sight() {
    let place = Place::new("stranded");
    place.write(
        "topics.toml",
        "[[destinations]]\nprefix = \"/queue\"\nkind = \"topic\"\n[queues]\ndead_letter = \"\"\n",
    );
    let mut broker = Broker::start(&place, &["store.engine=redb", "store.path=data"]);
    let answer = store(&mut broker.connected(), "/queue/a");
    assert!(answer.contains("RECEIPT"), "{answer}");
    broker.tell_to_stop();
    assert!(broker.program.wait().unwrap().success());

    // Nobody can name its queue any more.
    fs::rename(place.0.join("topics.toml"), place.0.join("config.toml")).unwrap();
    let mut broker = Broker::start(&place, &["store.engine=redb", "store.path=data"]);
    let warning = broker.log.find(|line| line.contains("WARN") && line.contains("/queue/a")).unwrap();
    assert!(warning.contains("messages=1") && warning.contains("[[destinations]]"), "{warning}");
}

#[test]
fn a_store_that_was_removed_takes_nothing_more() {
    let place = Place::new("removed");
    let mut broker = Broker::start(&place, &["store.engine=redb", "store.path=data"]);
    fs::remove_dir_all(place.0.join("data")).unwrap();
    let answer = store(&mut broker.connected(), "/queue/a");
    assert!(answer.starts_with("ERROR\n") && answer.contains("\ncode:store-failed\n"), "{answer}");
    assert!(broker.log.any(|line| line.contains("ERROR") && line.contains("the files of the store were removed")));
}

#[test]
fn a_wrong_command_line_ends_with_two() {
    let place = Place::new("usage");
    place.check(&["serv"], &[], 2, "", &["unrecognized subcommand 'serv'"]);
    // Options before a subcommand would be those of another one.
    place.check(&["--set", "queues.prefetch=1", "check"], &[], 2, "", &["cannot be used with"]);
    let version = format!("gumboot {}\n", env!("CARGO_PKG_VERSION"));
    place.check(&["version"], &[], 0, &version, &[]);
    place.check(&["--version"], &[], 0, &version, &[]);
}
