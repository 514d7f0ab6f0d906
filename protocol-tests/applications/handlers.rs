//! Rust handlers in a broker inside of the test, and the example that shows them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gumboot::app::{self, Accepts, Attributes, Entry, Failure, Function, Kind, Occasion, Reply, WhenLate};
use gumboot::server::{Builder, Options, Server, StartError};
use gumboot::worker::Counters;

use crate::client::Client;

#[allow(dead_code, reason = "the example's own main is not called here")]
#[path = "../../examples/embed_handlers.rs"]
mod example;

/// A broker of two workers with these handlers.
struct Broker {
    server: Server,
}

impl Broker {
    fn start(handlers: impl FnOnce(Builder) -> Builder) -> Broker {
        Broker::with(|_| {}, handlers)
    }

    fn with(change: impl FnOnce(&mut app::Options), handlers: impl FnOnce(Builder) -> Builder) -> Broker {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut options =
            Options { websocket: Vec::new(), tcp: vec![anywhere], admin: Vec::new(), workers: 2, ..Options::default() };
        change(Arc::make_mut(&mut options.worker.app));
        Broker { server: handlers(Server::builder(options)).start().unwrap() }
    }

    fn client(&self) -> Client {
        self.client_with(&[])
    }

    fn client_with(&self, headers: &[(&str, &str)]) -> Client {
        Client::connect(&self.server.tcp_addresses()[0].to_string(), headers)
    }
}

fn send<'h>(destination: &'h str, more: &[(&'h str, &'h str)]) -> Vec<(&'h str, &'h str)> {
    [&[("destination", destination)], more].concat()
}

#[test]
fn the_example_works() {
    let broker = Broker::start(example::with_handlers);
    let (mut ann, mut bob) = (broker.client(), broker.client());
    for client in [&mut ann, &mut bob] {
        client.subscribe("room", "/topic/chat/red");
        client.subscribe("own", "/user/queue/name");
        client.subscribe("slow", "/topic/slow");
    }
    // A1: to the sender only, and then to the default destination.
    let before = ann.request("SEND", &send("/app/name", &[]), "Ann");
    assert_eq!(before.len(), 1, "the RECEIPT says that the reply is routed");
    assert_eq!((before[0].header("destination"), &*before[0].body), ("/user/queue/name", "Welcome, Ann!"));
    ann.write("SEND", &send("/app/chat/red", &[]), r#"{"text":"hello"}"#);
    for client in [&mut ann, &mut bob] {
        let message = client.expect("MESSAGE");
        assert_eq!(message.header("content-type"), "application/json");
        assert_eq!(message.body, r#"{"room":"red","sender":"Ann","text":"hello"}"#);
    }
    // A2: one MESSAGE, and then the RECEIPT.
    let answer = bob.subscribe("ask", "/app/rooms");
    assert_eq!(answer.len(), 1);
    assert_eq!((answer[0].header("subscription"), answer[0].header("destination")), ("ask", "/app/rooms"));
    assert_eq!(answer[0].body, r#"["red","blue"]"#);
    bob.write("SEND", &send("/app/slow", &[]), "slowly");
    assert_eq!((ann.body(), bob.body()), ("slowly".to_owned(), "slowly".to_owned()));
}

#[test]
fn a3_a_failure_reaches_its_sender() {
    let broker = Broker::start(|builder| {
        builder
            .handle("/app/no", |_, _| async { Err::<(), _>(Failure::application("not today")) })
            .handle("/app/panic", |context, message| async move {
                assert_eq!(message.body, "fine");
                // Of an answer that cannot be carried out nothing takes effect.
                assert_eq!(context.attribute("strayed"), None);
                Ok(())
            })
            .handle("/app/astray", |context, _| async move {
                context.set_attribute("strayed", "yes");
                Ok(Reply::new("x").to("/app/no"))
            })
            .handle("/app/when", |_, _| async { Ok(Reply::new("x").header("delay", "soon").to("/queue/x")) })
            .handle("/app/json", |_, message| async move { message.json::<u32>().map(|_| ()) })
    });
    let codes = [
        ("/app/no", "app-refused", "not today"),
        ("/app/panic", "app-failed", "the handler failed"),
        ("/app/astray", "app-failed", "where none can go"),
        ("/app/when", "app-failed", "the header delay is not a number"),
        ("/app/json", "app-refused", "not the JSON that is wanted"),
        ("/app/none", "no-handler", "Nobody handles /app/none"),
    ];
    for (destination, code, words) in codes {
        let mut client = broker.client();
        client.write("SEND", &send(destination, &[("receipt", "r")]), "x");
        let error = client.expect("ERROR");
        assert_eq!((error.header("code"), error.header("receipt-id")), (code, "r"), "{destination}");
        assert!(error.body.contains(words), "{destination}: {}", error.body);
    }
    // On /user/queue/errors the session lives on, and the RECEIPT says that the SEND is dealt with.
    let mut client = broker.client();
    client.subscribe("errors", "/user/queue/errors");
    for (destination, code, words) in &codes[..5] {
        let told = client.request("SEND", &send(destination, &[]), "x");
        assert_eq!(told.len(), 1, "{destination}");
        assert_eq!((told[0].header("code"), told[0].header("app-destination")), (*code, *destination));
        assert_eq!(told[0].header("destination"), "/user/queue/errors");
        assert!(told[0].body.contains(words), "{destination}: {}", told[0].body);
    }
    assert!(client.request("SEND", &send("/app/panic", &[]), "fine").is_empty());
    let count = |of: fn(&Counters) -> u64| broker.server.counters().iter().map(|counters| of(counters)).sum::<u64>();
    let counted = (count(|counters| counters.calls.read()), count(|counters| counters.call_failures.read()));
    assert_eq!(counted, (11, 10), "calls, and those of them that failed");
}

#[test]
fn a_receipt_waits_for_every_reply_on_every_worker() {
    let broker = Broker::start(|builder| {
        builder.handle("/app/many", |_, _| async {
            Ok(["/topic/a", "/topic/b", "/topic/c", "/queue/d"].map(|to| Reply::new("x").to(to)).to_vec())
        })
    });
    // On both workers of the broker.
    let mut listeners: Vec<Client> = (0..4).map(|_| broker.client()).collect();
    for listener in &mut listeners {
        for destination in ["/topic/a", "/topic/b", "/topic/c"] {
            listener.subscribe(destination, destination);
        }
    }
    for client in &mut listeners {
        client.write("SEND", &send("/app/many", &[("receipt", "r")]), "");
        let receipt = std::iter::from_fn(|| Some(client.read())).find(|frame| frame.command == "RECEIPT").unwrap();
        assert_eq!((receipt.header("receipt-id"), receipt.header("matched")), ("r", "13"));
    }
}

#[test]
fn a4_handlers_see_the_session_and_keep_attributes() {
    let broker = Broker::with(
        |options| options.max_attributes = 2,
        |builder| {
            builder
                .handle("/app/set/{name}", |context, message| async move {
                    context.set_attribute(message.capture("name").to_owned(), message.text()?.to_owned());
                    context.send(Reply::new("noted").to("/topic/noted"));
                    Ok(context.attribute(message.capture("name")).map(Reply::new))
                })
                .answer("/app/facts", |context, _| async move {
                    let facts = context.session();
                    let secret = facts.headers.find("passcode").is_some();
                    let said = facts.headers.find("x").unwrap_or("-");
                    let a = context.attribute("a").unwrap_or_default();
                    Ok(Reply::new(format!("{} {} {secret} {said} {a}", facts.name, facts.transport)))
                })
        },
    );
    let mut client =
        broker.client_with(&[("x", "y"), ("login", "me"), ("passcode", "secret"), ("on-error", "continue")]);
    client.subscribe("set", "/topic/set/a");
    client.subscribe("noted", "/topic/noted");
    client.write("SEND", &send("/app/set/a", &[]), "1");
    assert_eq!((client.body(), client.body()), ("noted".to_owned(), "1".to_owned()));
    client.request("SEND", &send("/app/set/b", &[]), "2");
    let expected = format!("{} tcp false y 1", client.session);
    assert_eq!(client.subscribe("facts", "/app/facts")[0].body, expected);
    client.write("SEND", &send("/app/set/c", &[]), "3");
    let error = client.expect("ERROR");
    assert_eq!(error.header("code"), "too-many-attributes");
    assert!(error.body.contains("limit of 2 (app.max_attributes)"), "{}", error.body);
}

#[test]
fn requests_of_a_session_keep_their_order_and_time_ends_them() {
    let slow = |when_late| {
        move |builder: Builder| {
            builder.entry(Entry {
                kind: Kind::Rust,
                pattern: "/app/never".to_owned(),
                accepts: Accepts { sends: true, asks: true, ..Accepts::default() },
                time_limit: Some(Duration::from_millis(20)),
                when_late,
                handler: Arc::new(Function::new(|_, _| std::future::pending::<Result<(), Failure>>())),
            })
        }
    };
    let late = |when_late| Broker::start(slow(when_late));
    let broker = late(WhenLate::Refuse);
    let mut client = broker.client_with(&[("on-error", "continue")]);
    client.write("SUBSCRIBE", &[("id", "1"), ("destination", "/app/never"), ("receipt", "r1")], "");
    let error = client.expect("ERROR");
    assert_eq!((error.header("code"), error.header("receipt-id")), ("app-timeout", "r1"));
    client.write("SEND", &send("/app/never", &[]), "");
    assert_eq!(client.expect("ERROR").header("code"), "app-timeout");
    // Nothing, if the handler says so: only the RECEIPT.
    let broker = late(WhenLate::Ignore);
    assert!(broker.client().subscribe("1", "/app/never").is_empty());

    // Each waits for less than the one before it; they come out as they went in.
    let broker = Broker::start(|builder| {
        builder.handle("/app/wait", |_, message| async move {
            let span = message.text()?.parse().unwrap();
            tokio::time::sleep(Duration::from_millis(span)).await;
            Ok(Reply::new(message.body))
        })
    });
    let mut client = broker.client();
    client.subscribe("0", "/topic/wait");
    let spans: Vec<String> = (0..40).rev().map(|span| span.to_string()).collect();
    for span in &spans {
        client.write("SEND", &send("/app/wait", &[]), span);
    }
    let came: Vec<String> = spans.iter().map(|_| client.body()).collect();
    assert_eq!(came, spans);
}

#[test]
fn a_transaction_calls_handlers_when_it_is_committed() {
    let broker = Broker::start(|builder| {
        builder
            .handle("/app/echo", |_, message| async move { Ok(Reply::new(message.body)) })
            .handle("/app/no", |_, _| async { Err::<(), _>(Failure::application("no")) })
    });
    let mut client = broker.client();
    client.subscribe("0", "/topic/**");
    let in_t = [("transaction", "t")];
    client.write("BEGIN", &in_t, "");
    client.write("SEND", &send("/app/echo", &in_t), "1");
    client.write("SEND", &send("/topic/x", &in_t), "2");
    client.write("SEND", &send("/app/echo", &in_t), "3");
    assert!(client.request("SEND", &send("/topic/x", &[]), "0").iter().all(|frame| frame.body == "0"));
    let done = client.request("COMMIT", &in_t, "");
    let bodies: Vec<&str> = done.iter().map(|frame| &*frame.body).collect();
    // What is no handler's comes first, and the RECEIPT when all is done.
    assert_eq!(bodies, ["2", "1", "3"]);
    client.write("BEGIN", &in_t, "");
    client.write("SEND", &send("/app/no", &in_t), "4");
    client.write("COMMIT", &[in_t[0], ("receipt", "r")], "");
    let error = client.expect("ERROR");
    assert_eq!((error.header("code"), error.header("receipt-id")), ("app-refused", "r"));
}

#[test]
fn events_come_in_order_and_say_why() {
    let (told, heard) = std::sync::mpsc::sync_channel(100);
    let broker = Broker::start(move |builder| {
        builder
            .handle("/app/name", |context, message| async move {
                context.set_attribute("name", message.text()?.to_owned());
                Ok(())
            })
            .on_event(move |context, message| {
                let told = told.clone();
                async move {
                    let why = match message.occasion {
                        Occasion::Disconnected { reason } => reason,
                        _ => message.destination.as_str(),
                    };
                    let name = context.attribute("name").unwrap_or_default();
                    told.send(format!("{} {why} {name}", message.occasion.name())).unwrap();
                    Ok(())
                }
            })
    });
    let mut client = broker.client();
    client.subscribe("0", "/topic/a");
    client.write("SEND", &send("/app/name", &[]), "Ann");
    client.request("UNSUBSCRIBE", &[("id", "0")], "");
    client.request("DISCONNECT", &[], "");
    let expected = ["connected  ", "subscribed /topic/a ", "unsubscribed /topic/a Ann", "disconnected disconnect Ann"];
    for line in expected {
        assert_eq!(heard.recv_timeout(Duration::from_secs(20)).unwrap(), line);
    }
}

#[test]
fn a_handler_that_cannot_be_is_refused_at_the_start() {
    for pattern in ["/topic/x", "/app/chat.{room}", "/app/{a}/{a}"] {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let options =
            Options { websocket: Vec::new(), tcp: vec![anywhere], admin: Vec::new(), workers: 1, ..Options::default() };
        let started = Server::builder(options).handle(pattern, |_, _| async { Ok(()) }).start();
        assert!(matches!(started, Err(StartError::Handler(_))), "{pattern}");
    }
    assert!(Attributes::default().is_empty());
}
