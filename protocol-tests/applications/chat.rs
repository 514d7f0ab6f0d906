//! The chat of Spring's tutorial on the real program, with the very configuration of `examples/browser/chat`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::client::Client;

/// The program, on ports of its own choice.
struct Broker {
    program: Child,
    tcp: String,
}

impl Broker {
    fn start(config: &str) -> Broker {
        let ports = [
            "websocket.bind=127.0.0.1:0",
            "tcp.bind=127.0.0.1:0",
            "admin.enabled=false",
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
        let tcp = said.find_map(|line| Some(line.split_once("listening on tcp://")?.1.to_owned())).unwrap();
        Broker { program, tcp: tcp.split(' ').next().unwrap_or_default().to_owned() }
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
}
