//! Real clients against the real broker: each suite is a folder of its own with its client's package pinned, installed
//! by this program below `target`, and run with the client's own runtime.
//!
//! What a suite does is said by the suite. What this program does for it: a broker of its own on free ports, restarted
//! when the suite asks, and a table of all answers in the end. Without the runtime a suite is skipped with a loud word at
//! home, and fails where `CI=true`.

#[path = "../launcher.rs"]
mod launcher;
mod suite;
mod table;
mod toolchain;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use suite::Suite;
use table::Table;
use toolchain::{CHROMIUM, JAVA, NODE, PYTHON, Toolchain};

/// Where examples lie, from the top of the repository.
const EXAMPLES: &str = "examples/node";

fn main() -> ExitCode {
    let asked = match Asked::parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(wrong) => {
            say(&format!("error: {wrong}"));
            return ExitCode::from(2);
        }
    };
    let suites: Vec<Suite> = suites().into_iter().filter(|suite| asked.wants(&suite.name)).collect();
    if asked.list {
        suites.iter().for_each(|suite| say(&format!("{}: test", suite.name)));
        return ExitCode::SUCCESS;
    }
    let mut table = Table::default();
    for suite in &suites {
        say(&format!("running {}", suite.name));
        suite::run(suite, &mut table);
    }
    say(&table.to_string());
    if table.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every suite there is: the client, what runs it, folder and script, and what the script is told.
fn suites() -> Vec<Suite> {
    let stompjs = ["1.2", "1.1", "1.0"].map(|version| {
        let name = format!("Stomp.js 7, STOMP {version}");
        client(name, &NODE, "stompjs", "suite.mjs", &[("STOMP_VERSION", version)])
    });
    let name = "Stomp.js 7 in Chromium, STOMP 1.2".to_owned();
    let browser = client(name, &CHROMIUM, "stompjs", "browser.mjs", &[("STOMP_VERSION", "1.2")]);
    let older = [("stompjs", "1.1"), ("webstomp-client", "1.2"), ("webstomp-client", "1.0")].map(|(name, version)| {
        let environment = [("CLIENT", name), ("STOMP_VERSION", version)];
        client(format!("{name}, STOMP {version}"), &NODE, "stompjs", "older.mjs", &environment)
    });
    let rx_stomp = client("RxStomp".to_owned(), &NODE, "stompjs", "rx.mjs", &[]);
    let stomp_py =
        [("1.2", "TCP"), ("1.1", "TCP"), ("1.0", "TCP"), ("1.2", "WebSocket")].map(|(version, transport)| {
            let name = format!("stomp.py, STOMP {version}, {transport}");
            let environment = [("STOMP_VERSION", version), ("STOMP_TRANSPORT", transport)];
            client(name, &PYTHON, "stomp-py", "suite.py", &environment)
        });
    let sockjs = ["websocket", "xhr-streaming", "xhr-polling", "eventsource"].map(|transport| {
        let environment = [("STOMP_VERSION", "1.2"), ("SOCKJS_TRANSPORT", transport)];
        client(format!("Stomp.js 7, SockJS {transport}"), &NODE, "stompjs", "suite.mjs", &environment)
    });
    let spring = [
        ("Spring 6, WebSocketStompClient", "gumboot.Direct", "websocket"),
        ("Spring 6, ReactorNettyTcpStompClient", "gumboot.Direct", "tcp"),
        ("Spring 6, broker relay", "gumboot.Relay", "tcp"),
    ]
    .map(|(name, class, transport)| client(name.to_owned(), &JAVA, "spring", class, &[("TRANSPORT", transport)]));
    let examples = [
        ("first-message.mjs", None),
        ("topics.mjs", None),
        ("work-queue.mjs", None),
        ("request-reply.mjs", Some("examples/node/request-reply.toml")),
    ];
    let examples = examples.map(|(script, config)| Suite {
        name: format!("{EXAMPLES}/{script}"),
        toolchain: &NODE,
        folder: Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLES),
        script,
        environment: Vec::new(),
        config,
        example: true,
    });
    let examples_folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let chat = client(
        "the chat page in Chromium".to_owned(),
        &CHROMIUM,
        "stompjs",
        "chat.mjs",
        &[("EXAMPLES", examples_folder)],
    );
    let chat = Suite { config: Some("examples/browser/chat/chat.toml"), ..chat };
    stompjs
        .into_iter()
        .chain([browser, chat])
        .chain(older)
        .chain([rx_stomp])
        .chain(sockjs)
        .chain(stomp_py)
        .chain(spring)
        .chain(examples)
        .collect()
}

/// A suite in a folder beside this file.
fn client(
    name: String,
    toolchain: &'static Toolchain,
    folder: &str,
    script: &'static str,
    environment: &[(&'static str, &str)],
) -> Suite {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-tests/clients").join(folder);
    let environment = environment.iter().map(|(variable, value)| (*variable, (*value).to_owned())).collect();
    Suite { name, toolchain, folder, script, environment, config: None, example: false }
}

/// What the command line asks for.
#[derive(Debug, Default)]
struct Asked {
    filters: Vec<String>,
    skips: Vec<String>,
    list: bool,
}

impl Asked {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
        let mut asked = Asked::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => asked.list = true,
                "--skip" => asked.skips.extend(arguments.next()),
                // What `cargo test` passes on to every test target means nothing here.
                "--nocapture" | "--no-capture" | "-q" | "--quiet" | "--exact" => {}
                "--test-threads" | "--format" | "--color" => drop(arguments.next()),
                flag if flag.starts_with("--test-threads=") => {}
                flag if flag.starts_with('-') => return Err(format!("unknown option `{flag}`")),
                filter => asked.filters.push(filter.to_owned()),
            }
        }
        Ok(asked)
    }

    fn wants(&self, name: &str) -> bool {
        let is_in = |texts: &[String]| texts.iter().any(|text| name.contains(text.as_str()));
        !is_in(&self.skips) && (self.filters.is_empty() || is_in(&self.filters))
    }
}

/// A reader that has gone away, as `| head` does, ends nothing.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
