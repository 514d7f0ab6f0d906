//! What the committer answers, and when: mostly over a store that fails on purpose.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gumboot::message::WorkerId;
use gumboot::store::{
    Answer, Busy, Committer, CommitterOptions, Durability, Engine, Failure, MarkRecord, Record, Store, StoreOp,
    Submission, Submitter, Sync, open,
};

use crate::failing::{Failing, Fault};
use crate::support::{PATIENCE, Scratch, append, commit, options, sequences, state};

type Outcome = Result<(), Failure>;

const BROKEN: Outcome = Err(Failure::Io(io::ErrorKind::TimedOut));
const FULL: Outcome = Err(Failure::DiskFull);

/// A committer over a store, and what it answered.
struct Bench<S> {
    store: Arc<S>,
    committer: Committer,
    submitter: Submitter,
    answers: Receiver<(WorkerId, Answer)>,
}

impl Bench<Failing> {
    fn new() -> Bench<Failing> {
        Bench::with(CommitterOptions { retry_pause: Duration::from_millis(1), ..CommitterOptions::default() })
    }

    fn with(options: CommitterOptions) -> Bench<Failing> {
        let store = Arc::new(Failing::default());
        let (committer, answers) = start(Arc::clone(&store) as Arc<dyn Store>, options);
        Bench { submitter: committer.submitter(), store, committer, answers }
    }

    /// Holds the committer in a commit of nothing but this ticket, so that what is submitted next is one batch.
    fn hold(&self) {
        let before = self.store.asked().len();
        self.store.hold();
        self.submit(0, [StoreOp::Delete(999)]);
        self.store.wait_for_commits(before + 1);
    }

    fn submit(&self, ticket: u64, operations: impl IntoIterator<Item = StoreOp>) {
        self.submitter.submit(submission(ticket, operations)).expect("room");
    }

    /// The next answers by ticket, as many as are expected, and no more than those before the committer ends.
    #[track_caller]
    fn answers(&self, expected: &[(u64, Outcome)]) {
        let next = || self.answers.recv_timeout(PATIENCE).expect("an answer").1;
        let answers: Vec<(u64, Outcome)> =
            expected.iter().map(|_| next()).map(|answer| (answer.ticket, answer.outcome)).collect();
        assert_eq!(answers, expected);
    }

    /// Ends it; answers with what is stored.
    #[track_caller]
    fn end(self) -> Vec<u64> {
        self.committer.stop();
        assert_eq!(self.answers.try_iter().collect::<Vec<_>>(), [], "answers that nobody asked for");
        sequences(&*self.store)
    }
}

fn start(store: Arc<dyn Store>, options: CommitterOptions) -> (Committer, Receiver<(WorkerId, Answer)>) {
    let (sender, answers) = channel();
    let sink = move |worker: WorkerId, answers: Vec<Answer>| {
        // Nobody listens any more when a test has failed.
        answers.into_iter().for_each(|answer| drop(sender.send((worker, answer))));
    };
    (Committer::start(store, options, Box::new(sink)).expect("a thread"), answers)
}

fn submission(ticket: u64, operations: impl IntoIterator<Item = StoreOp>) -> Submission {
    let operations = operations.into_iter().collect();
    Submission { from: WorkerId(ticket as u16 % 4), ticket, operations, is_awaited: true }
}

/// One that nobody waits for.
fn unawaited(ticket: u64, operations: impl IntoIterator<Item = StoreOp>) -> Submission {
    Submission { is_awaited: false, ..submission(ticket, operations) }
}

#[test]
fn what_waits_is_committed_at_once_and_answered_after() {
    let bench = Bench::new();
    bench.hold();
    (1..=100).for_each(|ticket| bench.submit(ticket, [append(ticket, 10)]));
    assert!(bench.answers.try_recv().is_err(), "answered before the commit was over");
    bench.store.release();
    let answered: Vec<(WorkerId, Answer)> =
        (0..=100).map(|_| bench.answers.recv_timeout(PATIENCE).expect("an answer")).collect();
    let mut tickets: Vec<u64> = answered.iter().map(|(_, answer)| answer.ticket).collect();
    assert!(answered.iter().all(|(worker, answer)| u64::from(worker.0) == answer.ticket % 4));
    assert!(answered.iter().all(|(_, answer)| answer.outcome == Ok(())));
    for worker in 0..4 {
        assert!(tickets.iter().filter(|ticket| *ticket % 4 == worker).is_sorted(), "{tickets:?}");
    }
    tickets.sort_unstable();
    assert_eq!(tickets, (0..=100).collect::<Vec<u64>>());
    let asked = bench.store.asked();
    assert_eq!(asked.len(), 2, "one batch for all that waited");
    assert!(asked.iter().all(|(_, durability)| *durability == Durability::Now));
    assert_eq!(bench.end(), (1..=100).collect::<Vec<u64>>());
}

#[test]
fn a_batch_has_limits_and_never_cuts_a_submission() {
    let options = CommitterOptions { batch_operations: 10, batch_bytes: 100_000, ..CommitterOptions::default() };
    let bench = Bench::with(options);
    bench.hold();
    (1..=4).for_each(|ticket| bench.submit(ticket, (0..4).map(|each| append(ticket * 10 + each, 1))));
    bench.submit(5, (0..30).map(|each| append(100 + each, 1)));
    bench.submit(6, [append(200, 150_000)]);
    bench.submit(7, [append(201, 90_000)]);
    bench.store.release();
    bench.answers.iter().take(8).for_each(|(_, answer)| assert_eq!(answer.outcome, Ok(())));
    assert_eq!(sizes(&bench.store), [1, 8, 8, 30, 1, 1]);
    bench.end();
}

/// How many changes each commit had.
fn sizes(store: &Failing) -> Vec<usize> {
    store.asked().iter().map(|(batch, _)| batch.operations.len()).collect()
}

#[test]
fn what_nobody_waits_for_goes_with_the_next_that_somebody_does() {
    let hours = Duration::from_secs(10_000);
    let bench = Bench::with(CommitterOptions { unawaited_pause: hours, ..CommitterOptions::default() });
    let submit = |submission| bench.submitter.submit(submission).expect("room");
    submit(unawaited(1, [append(1, 10)]));
    submit(unawaited(5, [StoreOp::Delete(1), append(2, 10)]));
    bench.submit(9, [append(1, 10), StoreOp::Delete(2)]);
    bench.answers(&[(1, Ok(())), (5, Ok(())), (9, Ok(()))]);
    assert_eq!(sizes(&bench.store), [5], "one batch, in the order of the submissions");
    // Stopping does not wait for the pause.
    submit(unawaited(13, [StoreOp::Delete(1)]));
    let store = Arc::clone(&bench.store);
    bench.committer.stop();
    assert_eq!(bench.answers.try_iter().map(|(_, answer)| answer.ticket).collect::<Vec<_>>(), [13]);
    assert_eq!((sizes(&store), sequences(&*store)), (vec![5, 1], vec![]));
}

#[test]
fn what_nobody_waits_for_is_stored_after_a_pause() {
    let pause = Duration::from_millis(1);
    let bench = Bench::with(CommitterOptions { unawaited_pause: pause, ..CommitterOptions::default() });
    for ticket in 1..=3 {
        bench.submitter.submit(unawaited(ticket, [append(ticket, 10)])).expect("room");
        bench.answers(&[(ticket, Ok(()))]);
    }
    assert_eq!(bench.end(), [1, 2, 3]);
}

#[test]
fn much_that_nobody_waits_for_does_not_wait() {
    let unawaited_pause = Duration::from_secs(10_000);
    let limits = CommitterOptions { unawaited_pause, ..CommitterOptions::default() };
    for options in [
        CommitterOptions { batch_operations: 3, ..limits.clone() },
        CommitterOptions { batch_bytes: 25_000, ..limits.clone() },
        CommitterOptions { max_waiting: 2, ..limits.clone() },
        CommitterOptions { max_waiting_bytes: 25_000, ..limits },
    ] {
        let bench = Bench::with(options);
        let _ = (1..=3).try_for_each(|ticket| bench.submitter.submit(unawaited(ticket, [append(ticket, 10_000)])));
        bench.answers(&[(1, Ok(())), (2, Ok(()))]);
        bench.committer.stop();
    }
}

#[test]
fn a_full_disk_refuses_messages_and_takes_settles() {
    let bench = Bench::new();
    commit(&*bench.store, [append(50, 1), append(51, 1)]);
    bench.store.lasts(Fault::FullForNew);
    bench.submit(1, [append(1, 10)]);
    bench.answers(&[(1, FULL)]);
    bench.hold();
    bench.submit(4, [append(2, 10)]);
    bench.submit(8, [StoreOp::Delete(50)]);
    bench.submit(12, [append(3, 10), StoreOp::Delete(51)]);
    bench.submit(16, [StoreOp::State(state(51, 1))]);
    bench.store.release();
    bench.answers(&[(0, Ok(())), (4, FULL), (12, FULL), (8, Ok(())), (16, Ok(()))]);
    bench.store.lasts(Fault::Fine);
    bench.submit(20, [append(4, 10)]);
    bench.answers(&[(20, Ok(()))]);
    assert_eq!(bench.end(), [4, 51], "a refused transaction settles nothing");
}

#[test]
fn settles_wait_for_a_disk_that_fails() {
    let bench = Bench::new();
    commit(&*bench.store, (1..=9).map(|sequence| append(sequence, 1)));
    bench.store.lasts(Fault::Broken);
    bench.submit(4, [StoreOp::Delete(1)]);
    bench.submit(8, [append(20, 1)]);
    bench.answers(&[(8, BROKEN)]);
    bench.submit(12, [StoreOp::Delete(2), StoreOp::Delete(3)]);
    bench.store.wait_for_commits(10);
    assert!(bench.answers.try_recv().is_err(), "settled on a broken disk");
    bench.store.lasts(Fault::Fine);
    bench.answers(&[(4, Ok(())), (12, Ok(()))]);
    assert_eq!(bench.end(), (4..=9).collect::<Vec<u64>>());
}

/// Who waits for a mark goes on without it, and it is true all the same.
#[test]
fn a_mark_that_was_refused_is_stored_later() {
    let mark = MarkRecord { queue: "/queue/a".into(), up_to: 7 };
    for fault in [Fault::Broken, Fault::Full] {
        let bench = Bench::new();
        bench.store.lasts(fault);
        bench.submit(1, [StoreOp::Mark(mark.clone())]);
        bench.answers(&[(1, if fault == Fault::Full { FULL } else { BROKEN })]);
        let asked = bench.store.asked().len();
        bench.store.wait_for_commits(asked + 2);
        assert!(bench.answers.try_recv().is_err(), "answered twice");
        bench.store.lasts(Fault::Fine);
        let store = Arc::clone(&bench.store);
        bench.end();
        let mut marks = Vec::new();
        let visit = &mut |record| {
            marks.extend(if let Record::Mark(mark) = record { Some(mark) } else { None });
            ControlFlow::Continue(())
        };
        store.scan(visit).expect("a scan");
        assert_eq!(marks, std::slice::from_ref(&mark));
    }
}

#[test]
fn a_message_that_was_refused_in_doubt_is_taken_back() {
    for fault in [Fault::BrokenAfter, Fault::BrokenBefore] {
        let bench = Bench::new();
        bench.store.next([fault, Fault::Broken, Fault::Broken]);
        bench.submit(1, [append(1, 1), append(2, 1)]);
        bench.answers(&[(1, BROKEN)]);
        bench.submit(2, [append(3, 1)]);
        let next = bench.answers.recv_timeout(PATIENCE).expect("an answer").1;
        assert_eq!(next.ticket, 2);
        bench.store.wait_for_commits(4);
        bench.submit(3, [append(4, 1)]);
        bench.answers(&[(3, Ok(()))]);
        let kept = bench.end();
        assert!(!kept.contains(&1) && !kept.contains(&2) && kept.contains(&4), "{fault:?}: {kept:?}");
        assert_eq!(kept.contains(&3), next.outcome.is_ok(), "{fault:?}: the answer is not what happened");
    }
}

#[test]
fn a_transaction_in_doubt_is_carried_through() {
    for fault in [Fault::BrokenAfter, Fault::BrokenBefore] {
        let bench = Bench::new();
        commit(&*bench.store, [append(1, 1)]);
        bench.store.next([fault, fault, Fault::Broken, Fault::Broken]);
        bench.submit(1, [StoreOp::Delete(1), append(2, 1)]);
        bench.submit(5, [StoreOp::Delete(2)]);
        let mut answers = [(); 2].map(|()| bench.answers.recv_timeout(PATIENCE).expect("an answer").1);
        answers.sort_by_key(|answer| answer.ticket);
        // Refused where the disk later said that nothing happened; else it took place. Never a half of it.
        let is_stored = answers[0].outcome.is_ok();
        assert_eq!(answers[1].outcome, Ok(()), "{fault:?}");
        let kept = bench.end();
        assert_eq!(kept.contains(&1), !is_stored, "{fault:?}: {kept:?}");
        assert!(!kept.contains(&2), "{fault:?}: {kept:?}");
    }
}

#[test]
fn too_much_at_once_is_handed_back() {
    let options = CommitterOptions { max_waiting: 3, max_waiting_bytes: 10_000, ..CommitterOptions::default() };
    let bench = Bench::with(options);
    bench.hold();
    (1..=3).for_each(|ticket| bench.submit(ticket * 4, [StoreOp::Delete(ticket)]));
    let fourth = submission(16, [StoreOp::Delete(4)]);
    assert_eq!(bench.submitter.submit(fourth.clone()), Err(Busy(fourth.clone())));
    bench.store.release();
    bench.answers(&[(0, Ok(())), (4, Ok(())), (8, Ok(())), (12, Ok(()))]);
    bench.submitter.submit(fourth).expect("room again");
    bench.answers(&[(16, Ok(()))]);
    bench.hold();
    // Larger than the limit, but alone.
    bench.submit(20, [append(1, 20_000)]);
    assert!(bench.submitter.submit(submission(24, [StoreOp::Delete(4)])).is_err());
    bench.store.release();
    bench.answers(&[(0, Ok(())), (20, Ok(()))]);
    bench.end();
}

#[test]
fn what_waits_for_a_broken_disk_is_bounded() {
    let options = CommitterOptions { max_retried: 4, ..CommitterOptions::default() };
    let bench = Bench::with(options);
    bench.store.lasts(Fault::Broken);
    bench.hold();
    (1..=3).for_each(|ticket| bench.submit(ticket * 4, [StoreOp::Delete(ticket), StoreOp::Delete(ticket + 10)]));
    bench.store.release();
    // The ticket before holds one of the four places.
    bench.answers(&[(8, BROKEN), (12, BROKEN)]);
    bench.store.lasts(Fault::Fine);
    bench.submit(16, []);
    bench.answers(&[(0, Ok(())), (4, Ok(())), (16, Ok(()))]);
    bench.end();
}

#[test]
fn stopping_commits_what_waits() {
    let bench = Bench::with(CommitterOptions { batch_operations: 2, ..CommitterOptions::default() });
    bench.hold();
    (1..=9).for_each(|ticket| bench.submit(ticket, [append(ticket, 1)]));
    bench.store.release();
    bench.committer.stop();
    assert_eq!(bench.answers.try_iter().filter(|(_, answer)| answer.outcome.is_ok()).count(), 10);
    assert_eq!(sequences(&*bench.store), (1..=9).collect::<Vec<u64>>());
}

#[test]
fn stopping_on_a_broken_disk_says_so() {
    let bench = Bench::new();
    bench.store.lasts(Fault::Broken);
    bench.submit(1, [StoreOp::Delete(1)]);
    bench.store.wait_for_commits(2);
    bench.committer.stop();
    let answers: Vec<Answer> = bench.answers.try_iter().map(|(_, answer)| answer).collect();
    assert_eq!(answers, [Answer { ticket: 1, outcome: Err(Failure::Stopped) }]);
}

#[test]
fn with_an_interval_answers_come_before_the_disk_is_asked() {
    let options = CommitterOptions { sync: Sync::Interval(Duration::from_millis(5)), ..CommitterOptions::default() };
    let bench = Bench::with(options);
    bench.submit(1, [append(1, 1)]);
    bench.answers(&[(1, Ok(()))]);
    bench.store.wait_for_commits(2);
    let asked = bench.store.asked();
    assert_eq!(asked[0].1, Durability::Later);
    assert_eq!((asked[1].0.operations.len(), asked[1].1), (0, Durability::Now));
    bench.end();

    // Stopping does not wait for the interval, and does not leave anything unsafe.
    let hours = Sync::Interval(Duration::from_secs(10_000));
    let bench = Bench::with(CommitterOptions { sync: hours, ..CommitterOptions::default() });
    bench.submit(1, [append(1, 1)]);
    bench.answers(&[(1, Ok(()))]);
    let store = Arc::clone(&bench.store);
    bench.end();
    assert_eq!(store.asked().last().map(|(_, durability)| *durability), Some(Durability::Now));
}

#[test]
fn a_sync_that_fails_is_tried_again() {
    let options = CommitterOptions { sync: Sync::Interval(Duration::from_millis(1)), ..CommitterOptions::default() };
    let bench = Bench::with(options);
    bench.store.next([Fault::Fine, Fault::Broken, Fault::Full, Fault::Fine]);
    bench.submit(1, [append(1, 1)]);
    bench.store.wait_for_commits(4);
    bench.answers(&[(1, Ok(()))]);
    bench.end();
}

#[test]
fn engines_work_behind_it() {
    for engine in Engine::ALL {
        let directory = Scratch::new("committer");
        let store = open(&options(engine, &directory.path)).expect("a store");
        let (committer, answers) = start(Arc::clone(&store), CommitterOptions::default());
        let failed = Mutex::new(0);
        std::thread::scope(|scope| {
            for producer in 0..8_u64 {
                let submitter = committer.submitter();
                let failed = &failed;
                scope.spawn(move || {
                    for each in 0..50 {
                        let sequence = 1 + each * 8 + producer;
                        let full = submitter.submit(submission(sequence, [append(sequence, 256)])).is_err();
                        *failed.lock().expect("the count") += u32::from(full);
                    }
                });
            }
        });
        assert_eq!(*failed.lock().expect("the count"), 0);
        let outcomes = (0..400).map(|_| answers.recv_timeout(PATIENCE).expect("an answer").1.outcome);
        assert!(outcomes.collect::<Vec<Outcome>>().iter().all(Outcome::is_ok));
        committer.stop();
        assert_eq!(sequences(&*store), (1..=400).collect::<Vec<u64>>(), "{engine}");
    }
}
