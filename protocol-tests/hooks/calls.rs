//! Hooks by themselves, without a broker: what comes of a call.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use gumboot::app::hook::signature::Secret;
use gumboot::app::hook::{Endpoint, Event, Hooks, Mode, Monitor, Options, SecretSource, backoff, breaker};
use gumboot::app::{Answer, Attributes, Captures, Failure, Handler, Occasion, Request, SessionFacts, To};
use gumboot::destination::Destination;
use gumboot::headers::Headers;
use gumboot::message::{SessionId, WorkerId};
use tokio::runtime::{Builder, Runtime};

use crate::authority::Authority;
use crate::server::{Act, Application};

/// A hook for `/app/chat` that is quick in all it does, with the runtime that its calls run on.
struct Caller {
    handler: Arc<dyn Handler>,
    monitor: Monitor,
    runtime: Runtime,
}

impl Caller {
    fn new(url: &str, change: impl FnOnce(&mut Options)) -> Caller {
        let mut options = Options::new("chat", Endpoint::parse(url).unwrap());
        options.destinations = vec!["/app/chat".to_owned()];
        options.timeout = Duration::from_secs(20);
        options.backoff = quick();
        change(&mut options);
        let hooks = Hooks::new(&[options]).unwrap();
        Caller {
            handler: Arc::clone(&hooks.entries[0].handler),
            monitor: hooks.monitors[0].clone(),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    fn call(&self, request: Request) -> Answer {
        self.runtime.block_on(self.handler.call(request))
    }

    fn send(&self, body: &[u8]) -> Answer {
        self.call(request(Occasion::Send, body))
    }

    /// How many calls ended so, by the hook's own count.
    fn ended(&self, name: &str) -> u64 {
        self.monitor.ends().find(|(end, _)| end.name() == name).unwrap().1
    }
}

fn quick() -> backoff::Options {
    let (delay, delay_max) = (Duration::from_millis(1), Duration::from_millis(10));
    backoff::Options { delay, delay_max, ..backoff::Options::default() }
}

fn request(occasion: Occasion, body: &[u8]) -> Request {
    Request {
        occasion,
        destination: Destination::new("/app/chat"),
        captures: Captures::default(),
        headers: Headers::from_iter([("content-type", "text/plain"), ("evil", "a\r\nGumboot-User: eve")]),
        body: Bytes::copy_from_slice(body),
        session: Arc::new(SessionFacts {
            id: SessionId { worker: WorkerId(0), key: 1 },
            name: ByteString::from("s-1"),
            user: Some(ByteString::from("bob\r\nX-Evil: 1")),
            transport: "tcp",
            peer: None,
            headers: Headers::default(),
        }),
        attributes: Attributes::default(),
    }
}

#[test]
fn requests_are_signed_by_every_secret() {
    for mode in [Mode::Json, Mode::Raw] {
        let app = Application::start(|_, _| Act::status(204));
        let caller = Caller::new(&app.url(), |options| {
            options.mode = mode;
            options.secrets = ["new", "old"].map(|secret| SecretSource::Given(Secret::new(secret))).into();
        });
        assert_eq!(caller.send(b"hello").unwrap().replies, []);
        let got = app.got().remove(0);
        assert_eq!(got.line, "POST /hook HTTP/1.1");
        assert!(got.is_signed_with("new") && got.is_signed_with("old") && !got.is_signed_with("other"));
        assert_eq!((got.header("gumboot-user"), got.header("x-evil")), ("bob%0D%0AX-Evil:%201", ""));
        let mut other = got;
        other.headers.iter_mut().filter(|(name, _)| name == "gumboot-user").for_each(|(_, user)| *user = "eve".into());
        assert!(!other.is_signed_with("new"), "who sent a message is signed too");
    }
}

#[test]
fn big_and_binary_bodies_arrive_as_they_are() {
    let body: Vec<u8> = (0..5_000_000u32).map(|index| ((index * 7) >> 3) as u8).collect();
    for mode in [Mode::Json, Mode::Raw] {
        let echo = body.clone();
        let app = Application::start(move |_, _| Act::answer("application/octet-stream", echo.clone()));
        let caller = Caller::new(&app.url(), |options| {
            options.mode = mode;
            options.max_answer_bytes = 5_000_000;
        });
        let done = caller.send(&body).unwrap();
        assert_eq!(done.replies[0].to, To::Default);
        assert!(done.replies[0].body == body, "the answer differs");
        let got = app.got().remove(0);
        match mode {
            Mode::Raw => assert!(got.body == body, "the request differs"),
            Mode::Json => {
                assert_eq!(got.json()["encoding"], "base64");
                let encoded = got.json()["body"].as_str().unwrap().to_owned();
                assert!(data_encoding::BASE64.decode(encoded.as_bytes()).unwrap() == body, "the request differs");
            }
        }
    }
}

#[test]
fn an_answer_has_a_limit() {
    for (bytes, status, outcome) in [
        (1000, 200, Ok(())),
        (1001, 200, Err(Failure::Broken)),
        (1001, 404, Err(Failure::Application("the application refused it with status 404".into()))),
    ] {
        let app = Application::start(move |_, _| Act::Answer(status, Vec::new(), vec![b'x'; bytes]));
        let caller = Caller::new(&app.url(), |options| options.max_answer_bytes = 1000);
        assert_eq!(caller.send(b"").map(|_| ()), outcome, "{bytes} bytes with status {status}");
        assert_eq!(app.got().len(), 1);
    }
}

/// What the application does with each try, which tries it sees, and what comes of the call.
#[track_caller]
fn check_tries(idempotent: bool, acts: &[Act], tries: usize, outcome: Result<(), Failure>) {
    let script = acts.to_vec();
    let app = Application::start(move |_, number| script.get(number).cloned().unwrap_or(Act::status(204)));
    let caller = Caller::new(&app.url(), |options| {
        options.backoff.idempotent = idempotent;
        options.secrets = vec![SecretSource::Given(Secret::new("s"))];
    });
    assert_eq!(caller.send(b"x").map(|_| ()), outcome, "{acts:?}");
    let got = app.got();
    let numbers: Vec<String> = (1..=tries).map(|number| number.to_string()).collect();
    assert_eq!(got.iter().map(|got| got.header("gumboot-try")).collect::<Vec<_>>(), numbers, "{acts:?}");
    let id = got[0].header("gumboot-id");
    assert!(!id.is_empty() && got.iter().all(|got| got.header("idempotency-key") == id), "{acts:?}");
    assert!(got.iter().all(|got| got.is_signed_with("s")), "{acts:?}");
    assert_eq!(caller.monitor.retries(), tries as u64 - 1);
}

#[test]
fn tries_again_only_where_that_is_safe() {
    let busy = |after: &str| Act::Answer(503, vec![("retry-after", after.to_owned())], Vec::new());
    let (failed, away) = (Err(Failure::Broken), Err(Failure::Unavailable));
    for (idempotent, acts, tries, outcome) in [
        (false, vec![Act::status(503)], 2, Ok(())),
        (false, vec![Act::status(429), busy("0")], 3, Ok(())),
        (false, vec![Act::status(503), Act::status(503), Act::status(503)], 3, away.clone()),
        (false, vec![busy("100")], 1, away.clone()),
        (false, vec![Act::status(500)], 1, failed.clone()),
        (false, vec![Act::status(502)], 1, away.clone()),
        (false, vec![Act::Close], 1, away.clone()),
        (true, vec![Act::status(500), Act::Close], 3, Ok(())),
        (true, vec![Act::status(500), Act::status(500), Act::status(500)], 3, failed.clone()),
        (
            true,
            vec![Act::status(404)],
            1,
            Err(Failure::Application("the application refused it with status 404".into())),
        ),
        (true, vec![Act::Answer(307, vec![("location", "/elsewhere".to_owned())], Vec::new())], 1, failed.clone()),
        (true, vec![Act::replies("{\"replys\": []}")], 1, failed),
    ] {
        check_tries(idempotent, &acts, tries, outcome);
    }
}

#[test]
fn what_never_left_is_tried_again() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let caller = Caller::new(&format!("http://{free}/"), |_| {});
    assert_eq!(caller.send(b"").map(|_| ()), Err(Failure::Unavailable));
    assert_eq!((caller.monitor.retries(), caller.ended("unavailable")), (2, 1));
}

#[test]
fn a_connection_that_takes_too_long_was_not_made() {
    // Connections are taken by the system, and then nobody speaks.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = Authority::new("silent");
    let caller = Caller::new(&format!("https://{}/", silent.local_addr().unwrap()), |options| {
        options.ca_file = Some(authority.file().to_owned());
        options.connect_timeout = Duration::from_millis(50);
    });
    assert_eq!(caller.send(b"").map(|_| ()), Err(Failure::Unavailable));
    assert_eq!((caller.monitor.retries(), caller.ended("unavailable")), (2, 1));
}

#[test]
fn a_time_limit_is_for_all_tries_together() {
    let limit = Duration::from_secs(1);
    let app = Application::start(|_, number| if number == 0 { Act::status(503) } else { Act::Stall });
    let caller = Caller::new(&app.url(), |options| options.timeout = limit);
    assert_eq!(caller.send(b"").map(|_| ()), Err(Failure::Late(limit)));
    assert_eq!((app.got().len(), caller.ended("late")), (2, 1));
}

#[test]
fn a_call_that_nobody_waits_for_any_more_was_late() {
    let app = Arc::new(Application::start(|_, _| Act::Stall));
    let caller = Caller::new(&app.url(), |options| options.breaker.failures = 1);
    let watching = Arc::clone(&app);
    caller.runtime.block_on(async {
        tokio::select! {
            answer = caller.handler.call(request(Occasion::Send, b"")) => panic!("{answer:?}"),
            _ = tokio::task::spawn_blocking(move || watching.wait_for(1)) => {}
        }
    });
    assert_eq!(caller.send(b"").map(|_| ()), Err(Failure::Unavailable));
    assert_eq!((caller.ended("late"), caller.ended("not-called"), app.got().len()), (1, 1, 1));
}

#[test]
fn the_breaker_opens_and_heals() {
    let app = Application::start(|_, number| Act::status(if number < 3 { 500 } else { 204 }));
    let caller = Caller::new(&app.url(), |options| {
        options.breaker = breaker::Options { failures: 2, pause: Duration::from_millis(50), probes: 1 };
    });
    assert_eq!(caller.send(b"").map(|_| ()), Err(Failure::Broken));
    assert_eq!(caller.send(b"").map(|_| ()), Err(Failure::Broken));
    // Nobody comes through until the pause is over; then one does, and fails, so that there is another pause.
    let mut outcomes = Vec::new();
    while outcomes.last() != Some(&Ok(())) {
        let outcome = caller.send(b"").map(|_| ());
        if outcomes.last() != Some(&outcome) {
            outcomes.push(outcome);
        }
    }
    outcomes.retain(|outcome| *outcome != Err(Failure::Unavailable));
    assert_eq!(outcomes, [Err(Failure::Broken), Ok(())]);
    assert_eq!(app.got().len(), 4);
    assert_eq!((caller.ended("failed"), caller.ended("done")), (3, 1));
    assert!(caller.ended("not-called") > 0);
}

#[test]
fn refusals_do_not_open_the_breaker() {
    let app = Application::start(|_, _| Act::status(403));
    let caller = Caller::new(&app.url(), |options| options.breaker.failures = 1);
    for _ in 0..5 {
        assert!(matches!(caller.send(b""), Err(Failure::Application(_))));
    }
    assert_eq!((app.got().len(), caller.ended("refused")), (5, 5));
}

#[test]
fn connections_are_used_again() {
    let app = Application::start(|_, _| Act::status(204));
    let caller = Caller::new(&app.url(), |_| {});
    for _ in 0..20 {
        caller.send(b"x").unwrap();
    }
    assert_eq!((app.got().len(), app.connections()), (20, 1));
}

#[test]
fn connections_that_the_server_closed_do_no_harm() {
    let app = Application::start(|_, _| Act::AnswerAndClose(204));
    // Whether the end of a connection is noticed before or after a request went into it is a matter of luck.
    let caller = Caller::new(&app.url(), |options| options.backoff.idempotent = true);
    for _ in 0..20 {
        caller.send(b"x").unwrap();
    }
    assert_eq!((app.got().len(), app.connections()), (20, 20));
}

#[test]
fn so_many_requests_are_under_way_and_no_more() {
    let app = Application::start(|_, _| Act::WaitForCompany(3));
    let caller = Caller::new(&app.url(), |options| options.concurrency = 3);
    caller.runtime.block_on(async {
        let calls: Vec<_> = (0..12).map(|_| tokio::spawn(caller.handler.call(request(Occasion::Send, b"")))).collect();
        for call in calls {
            assert!(call.await.unwrap().is_ok());
        }
    });
    assert_eq!((app.got().len(), app.most_under_way()), (12, 3));
}

#[test]
fn events_come_to_those_who_asked_for_them() {
    let app = Application::start(|_, _| Act::answer("text/plain", "OK"));
    let caller = Caller::new(&app.url(), |options| options.events = vec![Event::Disconnected]);
    for occasion in [Occasion::Connected, Occasion::Disconnected { reason: "disconnect" }, Occasion::Subscribed] {
        assert_eq!(caller.call(request(occasion, b"")), Ok(gumboot::app::Done::default()));
    }
    let told: Vec<String> = app.got().iter().map(|got| got.header("gumboot-event").to_owned()).collect();
    assert_eq!(told, ["disconnected"]);
}

#[test]
fn https_needs_a_certificate_of_the_authority() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    for (authority, name, outcome) in [
        (&ours, "localhost", Ok(())),
        (&ours, "example.com", Err(Failure::Unavailable)),
        (&other, "localhost", Err(Failure::Unavailable)),
    ] {
        let app = Application::start_tls(authority.vouch_for(name), |_, _| Act::status(204));
        let url = format!("https://localhost:{}/", app.address.port());
        let caller = Caller::new(&url, |options| options.ca_file = Some(ours.file().to_owned()));
        assert_eq!(caller.send(b"x").map(|_| ()), outcome, "{name}");
        assert_eq!(app.got().len(), usize::from(outcome.is_ok()));
    }
}
