//! Workers and events across the workers of a real broker: STOMP sessions that answer what others ask.

use gumboot::config::{self, Source, Sources};
use gumboot::server::Server;

use crate::client::Client;

const CONFIG: &str = r#"
server.workers = 3
websocket.enabled = false
tcp.bind = "127.0.0.1:0"
store.engine = "memory"
admin.enabled = false

[app]
events = "/topic/gumboot.events"
ask_timeout = "20s"

[[app.worker]]
destinations = ["/app/jobs/**", "/app/prices/{good}"]
login = "worker"
passcode = "secret"
"#;

const BY_TRANSPORT: &str = "[[app.worker]]\ndestinations = \"/app/inside\"\ntcp_only = true\n";

const LOGIN: [(&str, &str); 2] = [("login", "worker"), ("passcode", "secret")];

fn start(more: &str) -> (Server, String) {
    let file = Source::new("the test's configuration", format!("{CONFIG}{more}"));
    let loaded = config::load(Sources { file: Some(file), ..Sources::default() }).unwrap();
    let server = Server::start(loaded.options.server).unwrap();
    let address = server.tcp_addresses()[0].to_string();
    (server, address)
}

/// A session that takes the messages of a destination one by one.
fn worker(address: &str, destination: &str) -> Client {
    let mut worker = Client::connect(address, &LOGIN);
    let subscribe = [("id", "w"), ("destination", destination), ("ack", "client-individual"), ("prefetch-count", "1")];
    assert!(worker.request("SUBSCRIBE", &subscribe, "").is_empty());
    worker
}

#[test]
fn workers_share_what_comes_and_answer_it() {
    let (_server, address) = start("");
    // So many that they are on different workers of the broker.
    let mut workers: Vec<Client> = (0..3).map(|_| worker(&address, "/app/jobs/**")).collect();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&address, &[])).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.subscribe("own", "/user/queue/jobs/**");
        client.request("SEND", &[("destination", &format!("/app/jobs/{index}"))], &format!("job {index}"));
    }
    for worker in &mut workers {
        let job = worker.expect("MESSAGE");
        let name = job.header("destination").to_owned();
        assert!(name.starts_with("/app/jobs/"), "{job:?}");
        worker.write("SEND", &[("destination", job.header("reply-to"))], &format!("{name} is done"));
        worker.request("ACK", &[("id", job.header("ack"))], "");
    }
    for (index, client) in clients.iter_mut().enumerate() {
        let answer = client.expect("MESSAGE");
        assert_eq!(answer.body, format!("/app/jobs/{index} is done"));
        assert_eq!(answer.header("destination"), format!("/user/queue/jobs/{index}"));
    }
    // What a worker has not acknowledged when it goes, another one gets.
    let mut last = workers.remove(0);
    drop(workers);
    let mut other = worker(&address, "/app/jobs/**");
    clients[0].request("SEND", &[("destination", "/app/jobs/3")], "3");
    clients[0].request("SEND", &[("destination", "/app/jobs/4")], "4");
    let (one, two) = (last.expect("MESSAGE"), other.expect("MESSAGE"));
    assert_ne!(one.body, two.body);
    drop(last);
    // The message and the RECEIPT of the ACK come in any order.
    other.write("ACK", &[("id", two.header("ack"))], "");
    let again = other.expect("MESSAGE");
    assert_eq!((again.header("redelivered"), &again.body), ("true", &one.body));
}

#[test]
fn a_question_is_answered_across_workers() {
    let (_server, address) = start("");
    let mut oracle = worker(&address, "/app/prices/{good}");
    for turn in 0..6 {
        let mut client = Client::connect(&address, &[("on-error", "continue")]);
        client.write("SUBSCRIBE", &[("id", "q"), ("destination", "/app/prices/tea"), ("receipt", "r")], "");
        let question = oracle.expect("MESSAGE");
        assert_eq!((question.header("destination"), &*question.body), ("/app/prices/tea", ""));
        assert_eq!(question.header("app-session"), client.session);
        let to = ("destination", question.header("reply-to"));
        // An answer is for workers to give.
        client.write("SEND", &[to], "forged");
        assert_eq!(client.expect("ERROR").header("code"), "not-allowed");
        let headers: &[(&str, &str)] = if turn % 2 == 0 { &[to] } else { &[to, ("app-error", "sold: out")] };
        oracle.write("SEND", headers, "42");
        oracle.request("ACK", &[("id", question.header("ack"))], "");
        if turn % 2 == 0 {
            let answer = client.expect("MESSAGE");
            assert_eq!((answer.header("subscription"), &*answer.body), ("q", "42"));
            assert_eq!(client.expect("RECEIPT").header("receipt-id"), "r");
        } else {
            let error = client.expect("ERROR");
            assert_eq!((error.header("code"), error.header("receipt-id")), ("app-refused", "r"));
            assert!(error.body.contains("sold: out"), "{}", error.body);
        }
    }
}

#[test]
fn the_right_may_come_with_the_transport() {
    let (_server, address) = start(BY_TRANSPORT);
    let mut inside = Client::connect(&address, &[]);
    inside.subscribe("w", "/app/inside");
    let mut client = Client::connect(&address, &[]);
    client.request("SEND", &[("destination", "/app/inside")], "x");
    assert_eq!(inside.body(), "x");
}

#[test]
fn a4_events_come_from_all_workers() {
    let (_server, address) = start("");
    let mut listener = Client::connect(&address, &LOGIN);
    listener.subscribe("e", "/topic/gumboot.events");
    let mut next = |event: &str, session: &str| {
        // Its own subscription is told too, and whatever else happens; the one that is looked for must come.
        loop {
            let body = listener.body();
            if body.contains(&format!(r#""event":"{event}""#)) && body.contains(session) {
                return body;
            }
        }
    };
    for _ in 0..3 {
        let mut client = Client::connect(&address, &[]);
        let session = client.session.clone();
        next("connected", &session);
        client.subscribe("0", "/user/queue/x");
        assert!(next("subscribed", &session).contains(r#""destination":"/user/queue/x""#));
        client.request("DISCONNECT", &[], "");
        next("unsubscribed", &session);
        assert!(next("disconnected", &session).contains(r#""reason":"disconnect""#));
    }
}
