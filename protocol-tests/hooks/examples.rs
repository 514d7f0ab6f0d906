//! The applications of `examples/hooks` behind the configuration of `examples/hooks`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::broker::Broker;

/// An application of the examples, on a port of its own choice.
struct Example {
    program: Child,
    port: String,
}

impl Example {
    /// Starts it; nothing where this machine has no such interpreter.
    fn start(interpreter: &str, file: &str) -> Option<Example> {
        let found = Command::new(interpreter).arg("--version").stdout(Stdio::null()).status();
        if found.is_err() {
            println!("skipped: there is no {interpreter}");
            return None;
        }
        let mut program = Command::new(interpreter)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hooks"))
            .args([file, "0"])
            .env("CHAT_SECRET", "a secret for tests")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let line = BufReader::new(program.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let port = line.rsplit(' ').next().unwrap().to_owned();
        Some(Example { program, port })
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Chats a little. What the applications do is written in each of them, and is the same.
fn chat(interpreter: &str, file: &str) {
    let Some(example) = Example::start(interpreter, file) else { return };
    let config = include_str!("../../examples/hooks/hooks.toml").replace(":8090/", &format!(":{}/", example.port));
    let broker = Broker::start(&config);
    let (mut ann, mut bob) = (broker.connect(), broker.connect());
    assert_eq!(ann.subscribe("rooms", "/app/rooms")[0].body, "{}");
    ann.subscribe("tea", "/topic/chat/tea");
    let json = |text: &str| text.replace([' ', '\n'], "");
    bob.subscribe("heard", "/user/queue/chat/tea");
    let say = [("destination", "/app/chat/tea"), ("content-type", "application/json")];
    let heard = bob.request("SEND", &say, r#"{"text": "hällo"}"#);
    assert_eq!(heard[0].body, "you are heard in tea");
    let message = ann.expect("MESSAGE");
    let name = bob.session.clone();
    let said: serde_json::Value = serde_json::from_str(&message.body).unwrap();
    assert_eq!(said, serde_json::json!({"from": name, "text": "hällo"}));
    assert_eq!(json(&ann.subscribe("again", "/app/rooms")[0].body), r#"{"tea":1}"#);

    bob.write("SEND", &[("destination", "/app/chat/tea"), ("receipt", "r")], "no JSON");
    let error = bob.expect("ERROR");
    assert_eq!(error.header("code"), "app-refused");
    assert!(error.body.contains("send a JSON object with a text"), "{error:?}");

    drop(bob);
    assert_eq!(json(&ann.body()), format!(r#"{{"from":"{name}","left":true}}"#));
}

#[test]
fn the_chat_in_python() {
    chat("python3", "application.py");
}

#[test]
fn the_chat_in_node() {
    chat("node", "application.mjs");
}
