use super::*;
use crate::app::plain_content;
use crate::headers::Headers;
use crate::message::WorkerId;

const SESSION: SessionId = SessionId { worker: WorkerId(0), key: 1 };

fn opened() -> Calls {
    let mut calls = Calls::default();
    calls.open(SessionFacts {
        id: SESSION,
        name: "s-1".into(),
        user: None,
        transport: "tcp",
        peer: None,
        headers: Headers::default(),
    });
    calls
}

fn content(destination: &'static str) -> Content {
    plain_content(Destination::new(destination), Headers::default(), bytes::Bytes::new())
}

fn send(destination: &'static str) -> Work {
    Work::Send { content: content(destination), ticket: None }
}

/// Where the session's next request goes.
fn next(calls: &mut Calls) -> Option<String> {
    match calls.next_of(SESSION)? {
        Work::Send { content, .. } => Some(content.destination.to_string()),
        other => Some(format!("{other:?}")),
    }
}

fn run(calls: &mut Calls, now: Instant, seconds: u64) -> CallId {
    let call = calls.name();
    let limit = (Duration::from_secs(seconds), WhenLate::Refuse);
    calls.run(now, call, SESSION, Purpose::Send(Some(Ticket(7))), Destination::new("/app/x"), limit);
    call
}

#[test]
fn one_request_of_a_session_at_a_time() {
    let (mut calls, now) = (opened(), Instant::now());
    assert!(!calls.is_busy(SESSION));
    let call = run(&mut calls, now, 1);
    calls.wait(SESSION, send("/app/1"));
    calls.wait(SESSION, send("/app/2"));
    assert_eq!((calls.is_busy(SESSION), calls.waiting_of(SESSION), calls.len()), (true, 2, 3));
    assert_eq!(next(&mut calls), None);
    let finished = calls.finish(call).map(|call| (call.session, call.ticket()));
    assert_eq!(finished, Some((SESSION, Some(Ticket(7)))));
    assert!(calls.finish(call).is_none(), "it is finished once");
    // What waits still comes first.
    assert!(calls.is_busy(SESSION));
    assert_eq!(next(&mut calls).as_deref(), Some("/app/1"));
    assert_eq!(next(&mut calls).as_deref(), Some("/app/2"));
    assert_eq!(next(&mut calls), None);
    assert!(calls.is_empty() && calls.is_open(SESSION));
}

#[test]
fn an_ended_session_is_forgotten_when_nothing_of_it_is_left() {
    let (mut calls, now) = (opened(), Instant::now());
    let call = run(&mut calls, now, 1);
    calls.wait(SESSION, send("/app/1"));
    calls.close(SESSION);
    assert!(!calls.is_open(SESSION));
    assert_eq!(next(&mut calls), None);
    calls.finish(call);
    assert_eq!(next(&mut calls).as_deref(), Some("/app/1"));
    assert!(calls.presence(SESSION).is_some());
    assert_eq!(next(&mut calls), None);
    assert!(calls.presence(SESSION).is_none());
}

#[test]
fn a_transaction_that_may_yet_want_something_keeps_its_session() {
    let mut calls = opened();
    let commit = calls.name();
    calls.route(commit, SESSION, Some(Ticket(1)), Then::Handle(vec![content("/app/1")]), 1);
    calls.close(SESSION);
    assert_eq!(next(&mut calls), None);
    assert!(calls.presence(SESSION).is_some());
    let (routing, outcome) = calls.routed(commit, Ok(3)).unwrap();
    assert!(matches!(routing.then, Then::Handle(contents) if contents.len() == 1));
    assert_eq!((routing.ticket, outcome), (Some(Ticket(1)), Ok(3)));
    assert_eq!(next(&mut calls), None);
    assert!(calls.presence(SESSION).is_none());
}

#[test]
fn deadlines_come_in_their_order() {
    let (mut calls, now) = (opened(), Instant::now());
    let (late, soon) = (run(&mut calls, now, 2), run(&mut calls, now, 1));
    let after = |seconds| now + Duration::from_secs(seconds);
    assert_eq!((calls.deadline(), calls.due(now)), (Some(after(1)), None));
    assert_eq!(calls.due(after(2)), Some(soon));
    assert_eq!(calls.limit_of(soon), Some(Duration::from_secs(1)));
    calls.finish(soon);
    assert_eq!((calls.due(after(1)), calls.due(after(2))), (None, Some(late)));
    calls.finish(late);
    assert_eq!(calls.deadline(), None);
}

#[test]
fn the_answer_is_that_of_all_messages() {
    let mut calls = opened();
    let refused = || Refusal::NoHandler("/app/x".into());
    for (verdicts, expected) in [
        (vec![Ok(1), Ok(0), Ok(2)], Ok(3)),
        (vec![Ok(1), Err(refused()), Ok(2)], Err(refused())),
        (vec![Err(refused()), Err(Refusal::Exclusive("/queue/x".into()))], Err(refused())),
    ] {
        let call = calls.name();
        calls.route(call, SESSION, None, Then::Log(Destination::new("/app/x")), verdicts.len());
        let mut outcomes: Vec<_> = verdicts.into_iter().map(|verdict| calls.routed(call, verdict)).collect();
        let last = outcomes.pop().flatten().map(|(_, outcome)| outcome);
        assert_eq!(last, Some(expected));
        assert!(outcomes.iter().all(Option::is_none));
        assert!(calls.routed(call, Ok(1)).is_none(), "nothing is answered twice");
    }
    assert!(calls.is_empty());
}
