//! Every suite there is: the client, what runs it, its script, and what the script and the broker are told.

use std::path::{Path, PathBuf};

use crate::install;
use crate::suite::{Program, Suite};
use crate::toolchain::{CHROMIUM, GO, HAPROXY, JAVA, NGINX, NODE, PYTHON, RUBY, Toolchain};

const STOMPJS: &str = "protocol-tests/clients/stompjs";
const STOMP_PY: &str = "protocol-tests/clients/stomp-py";
const SPRING: &str = "examples/spring-boot-relay";

pub(crate) fn suites() -> Vec<Suite> {
    [javascript(), sockjs(), sockjs_in_chromium(), proxies(), python(), spring(), others(), examples()].concat()
}

fn javascript() -> Vec<Suite> {
    let stompjs = ["1.2", "1.1", "1.0"].map(|version| {
        let name = format!("Stomp.js 7, STOMP {version}");
        suite(&name, program(&NODE, STOMPJS, "suite.mjs")).told("STOMP_VERSION", version)
    });
    let browser = suite("Stomp.js 7 in Chromium", program(&CHROMIUM, STOMPJS, "browser.mjs"));
    let older =
        [("stompjs", "1.1"), ("webstomp-client", "1.2"), ("webstomp-client", "1.0")].map(|(client, version)| {
            let script = program(&NODE, STOMPJS, "older.mjs");
            suite(&format!("{client}, STOMP {version}"), script).told("CLIENT", client).told("STOMP_VERSION", version)
        });
    let rx_stomp = suite("RxStomp", program(&NODE, STOMPJS, "rx.mjs"));
    stompjs.into_iter().chain([browser]).chain(older).chain([rx_stomp]).collect()
}

fn sockjs() -> Vec<Suite> {
    let transports = ["websocket", "xhr-streaming", "xhr-polling", "eventsource"];
    let over = |transport: &str| {
        let script = program(&NODE, STOMPJS, "suite.mjs");
        suite(&format!("Stomp.js 7, SockJS {transport}"), script).told("SOCKJS_TRANSPORT", transport)
    };
    transports.map(over).to_vec()
}

/// A page from elsewhere that the broker lets in; one that may have the broker's page in a frame; and one of the broker's
/// own origin.
fn sockjs_in_chromium() -> Vec<Suite> {
    let page = |from: &str, transport: &str, origins: &[&'static str]| {
        let name = format!("Stomp.js 7 in Chromium, SockJS {transport}, {from} origin");
        let script = program(&CHROMIUM, STOMPJS, "browser.mjs");
        let told = suite(&name, script).told("SOCKJS_TRANSPORT", transport).told("PAGE", from);
        Suite { settings: origins.to_vec(), ..told }
    };
    // A browser has six connections to a server, and lets go of one that waits for a script when the answer has come.
    let soon = "sockjs.heartbeat=500ms";
    let listed = ["websocket.allowed_origins=[\"http://pages.test\"]", soon];
    let all = [
        "websocket.allowed_origins=[\"*\"]",
        "sockjs.client_library_url=http://pages.test/node_modules/sockjs-client/dist/sockjs.min.js",
    ];
    let plain = ["websocket", "xhr-streaming", "xhr-polling", "eventsource", "jsonp-polling"];
    let framed = ["iframe-eventsource", "iframe-htmlfile", "iframe-xhr-polling"];
    let same = ["xhr-streaming", "htmlfile"];
    plain
        .map(|transport| page("other", transport, &listed))
        .into_iter()
        .chain(framed.map(|transport| page("other", transport, &all)))
        .chain(same.map(|transport| page("same", transport, &[soon])))
        .collect()
}

/// Stomp.js through the configurations of `examples/proxies`.
fn proxies() -> Vec<Suite> {
    let through = |toolchain: &'static Toolchain, name: &str, transport: Option<&str>| {
        let over = transport.map_or("wss".to_owned(), |transport| format!("SockJS {transport}"));
        let script = program(toolchain, STOMPJS, "proxy.mjs");
        let told = suite(&format!("Stomp.js 7, {over} through {name}"), script).told("PROXY", name);
        transport.into_iter().fold(told, |suite, transport| suite.told("SOCKJS_TRANSPORT", transport))
    };
    let proxies: [(&'static Toolchain, &str); 2] = [(&NGINX, "nginx"), (&HAPROXY, "HAProxy")];
    let transports = [None, Some("xhr-streaming"), Some("xhr-polling")];
    proxies.iter().flat_map(|(tools, name)| transports.map(|transport| through(tools, name, transport))).collect()
}

fn python() -> Vec<Suite> {
    let versions = [("1.2", "TCP"), ("1.1", "TCP"), ("1.0", "TCP"), ("1.2", "WebSocket")];
    let over = |(version, transport)| {
        let script = program(&PYTHON, STOMP_PY, "suite.py");
        let told = suite(&format!("stomp.py, STOMP {version}, {transport}"), script);
        told.told("STOMP_VERSION", version).told("STOMP_TRANSPORT", transport)
    };
    versions.map(over).to_vec()
}

fn spring() -> Vec<Suite> {
    let direct = [
        ("WebSocketStompClient", "websocket"),
        ("SockJsClient, websocket", "sockjs-websocket"),
        ("SockJsClient, xhr-streaming", "sockjs-xhr-streaming"),
        ("SockJsClient, xhr-polling", "sockjs-xhr-polling"),
        ("ReactorNettyTcpStompClient", "tcp"),
    ];
    let direct = direct.map(|(client, transport)| {
        suite(&format!("Spring 6, {client}"), program(&JAVA, SPRING, "gumboot.Direct")).told("TRANSPORT", transport)
    });
    direct.into_iter().chain([suite("Spring 6, broker relay", program(&JAVA, SPRING, "gumboot.Relay"))]).collect()
}

fn others() -> Vec<Suite> {
    let go = ["1.2", "1.1", "1.0"].map(|version| {
        let script = program(&GO, "protocol-tests/clients/go", ".");
        suite(&format!("go-stomp, STOMP {version}"), script).told("STOMP_VERSION", version)
    });
    let ruby = ["1.2", "1.1", "1.0"].map(|version| {
        let script = program(&RUBY, "protocol-tests/clients/ruby", "suite.rb");
        suite(&format!("stomp for Ruby, STOMP {version}"), script).told("STOMP_VERSION", version)
    });
    go.into_iter().chain(ruby).collect()
}

/// The programs that people are shown, as they are.
fn examples() -> Vec<Suite> {
    let (node, python) = ("examples/node", "examples/python");
    let alone = ["first-message.mjs", "topics.mjs", "work-queue.mjs", "missed.mjs"]
        .map(|script| example(&format!("{node}/{script}"), program(&NODE, node, script), &[]));
    let (worker, answer) = (program(&PYTHON, python, "worker.py"), program(&PYTHON, python, "answer.py"));
    let slow_reader = example("examples/node/slow-reader.mjs", program(&NODE, node, "slow-reader.mjs"), &[]);
    let request_reply = example("examples/node/request-reply.mjs", program(&NODE, node, "request-reply.mjs"), &[]);
    let together = [
        example("examples/python/producer.py", program(&PYTHON, python, "producer.py"), &[worker.clone(), worker]),
        example("examples/node/ask.mjs", program(&NODE, node, "ask.mjs"), &[answer]),
        Suite { config: Some(install::top().join("examples/browser/ticker/ticker.toml")), ..slow_reader },
        Suite { config: Some(install::top().join("examples/node/request-reply.toml")), ..request_reply },
    ];
    alone.into_iter().chain(together).chain(pages().into_iter().map(page)).collect()
}

/// The pages, from `examples/browser`: those beside one another, and one in each folder.
fn pages() -> Vec<PathBuf> {
    let top = install::top().join("examples/browser");
    let mut pages = files(&top, "html");
    pages.extend(files(&top, "").iter().flat_map(|folder| files(folder, "html")));
    pages.sort();
    pages
}

/// What lies in a folder and has this extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().unwrap_or_default() == extension).collect()
}

/// In a browser, with what feeds the page, and the configuration that lies in its folder or has its name.
fn page(path: PathBuf) -> Suite {
    let top = install::top().join("examples/browser");
    let name = path.strip_prefix(&top).unwrap_or(&path).display().to_string();
    let feed = match name.as_str() {
        "dashboard.html" => Some("dashboard-feed.mjs"),
        "ticker/index.html" => Some("ticker-feed.mjs"),
        _ => None,
    };
    // Pages take Stomp.js from where the examples for Node.js have it.
    let feed = program(&NODE, "examples/node", feed.unwrap_or("first-message.mjs"));
    let own = Some(path.with_extension("toml")).filter(|config| config.exists());
    let beside = path.parent().filter(|folder| *folder != top).and_then(|folder| files(folder, "toml").pop());
    let script = program(&CHROMIUM, STOMPJS, "pages.mjs");
    let suite = example(&format!("examples/browser/{name}"), script, &[feed]).told("PAGE", &name);
    Suite { config: own.or(beside), ..suite }
}

fn program(toolchain: &'static Toolchain, folder: &str, script: &'static str) -> Program {
    Program { toolchain, folder: install::top().join(folder), script }
}

fn suite(name: &str, program: Program) -> Suite {
    Suite {
        name: name.to_owned(),
        program,
        environment: Vec::new(),
        settings: Vec::new(),
        config: None,
        companions: Vec::new(),
        example: false,
    }
}

fn example(name: &str, program: Program, companions: &[Program]) -> Suite {
    Suite { companions: companions.to_vec(), example: true, ..suite(name, program) }
}

impl Suite {
    /// One more thing in the environment of the script.
    fn told(mut self, name: &'static str, value: &str) -> Suite {
        self.environment.push((name, value.to_owned()));
        self
    }
}
