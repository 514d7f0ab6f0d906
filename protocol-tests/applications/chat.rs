//! The chat of Spring's tutorial on the real program, with the very configuration of `examples/browser/chat`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::client::Client;

/// The program, on ports of its own choice.
struct Broker {
    program: Child,
    tcp: String,
    admin: String,
}

impl Broker {
    fn start(config: &str) -> Broker {
        let ports = [
            "websocket.bind=127.0.0.1:0",
            "tcp.bind=127.0.0.1:0",
            "admin.bind=127.0.0.1:0",
            "store.engine=memory",
            "server.workers=2",
        ];
        let mut program = Command::new(env!("CARGO_BIN_EXE_gumboot"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_clear()
            .args(["--config", config])
            .args(ports.iter().flat_map(|setting| ["--set", setting]))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut address_after = |words: &str| {
            let rest = said.find_map(|line| Some(line.split_once(words)?.1.to_owned())).unwrap();
            rest.split([' ', '/']).next().unwrap_or_default().to_owned()
        };
        let (tcp, admin) = (address_after("listening on tcp://"), address_after("health and metrics on http://"));
        Broker { program, tcp, admin }
    }

    /// The sum of a metric over the workers.
    fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let counts = answer.lines().filter_map(|line| line.strip_prefix(name)?.split_once("} "));
        counts.map(|(_, count)| count.parse::<u64>().unwrap()).sum()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn a4_the_chat_needs_no_code() {
    let broker = Broker::start("examples/browser/chat/chat.toml");
    let mut ann = Client::connect(&broker.tcp, &[]);
    assert!(ann.subscribe("sub-0", "/topic/public").is_empty());
    let join = r#"{"sender":"Ann","type":"JOIN"}"#;
    let joined = ann.request("SEND", &[("destination", "/app/chat.addUser"), JSON], join);
    assert_eq!(joined.len(), 1);
    assert_eq!((joined[0].body.as_str(), joined[0].header("destination")), (join, "/topic/public"));
    assert_eq!(joined[0].header("content-type"), "application/json");

    let mut bob = Client::connect(&broker.tcp, &[]);
    bob.subscribe("sub-0", "/topic/public");
    let join = r#"{"sender":"B \"the builder\" \\ ob","type":"JOIN"}"#;
    bob.write("SEND", &[("destination", "/app/chat.addUser"), JSON], join);
    assert_eq!((ann.body(), bob.body()), (join.to_owned(), join.to_owned()));
    let hello = r#"{"sender":"Ann","content":"Hello","type":"CHAT"}"#;
    ann.write("SEND", &[("destination", "/app/chat.sendMessage"), JSON], hello);
    assert_eq!((ann.body(), bob.body()), (hello.to_owned(), hello.to_owned()));

    // Whoever never joined does not leave, and whoever did leaves however the end comes.
    drop(Client::connect(&broker.tcp, &[]));
    drop(bob);
    assert_eq!(ann.body(), r#"{"type":"LEAVE","sender":"B \"the builder\" \\ ob"}"#);
    let mut cas = Client::connect(&broker.tcp, &[]);
    let join = r#"{"sender":"Cas","type":"JOIN"}"#;
    cas.write("SEND", &[("destination", "/app/chat.addUser")], join);
    assert_eq!(ann.body(), join);
    assert!(cas.request("DISCONNECT", &[], "").is_empty());
    assert_eq!(ann.body(), r#"{"type":"LEAVE","sender":"Cas"}"#);
    assert_eq!(broker.metric("gumboot_application_routed_total{"), 4, "three that joined, and a hello");
}
