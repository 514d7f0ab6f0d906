//! Group commit: messages of 256 bytes from many submissions, until the last is durable, for each engine.

#![allow(missing_docs, clippy::expect_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gumboot::headers::Headers;
use gumboot::message::{MessageId, WorkerId};
use gumboot::store::{
    Committer, CommitterOptions, Engine, MessageRecord, Options, Sequences, StoreOp, Submission, Submitter, open,
};

/// Messages that wait for the disk at a time.
const WINDOWS: [u64; 3] = [1, 64, 256];

/// Messages in one measurement.
const MESSAGES: u64 = 1024;

struct Bench {
    committer: Committer,
    submitter: Submitter,
    answers: Receiver<usize>,
    sequences: Sequences,
    directory: PathBuf,
}

impl Bench {
    fn new(engine: Engine) -> Bench {
        let directory = std::env::temp_dir().join(format!("gumboot-bench-store-{engine}-{}", std::process::id()));
        let store = open(&Options { engine, path: directory.clone(), ..Options::default() }).expect("a store");
        let sequences = Sequences::above(store.usage().highest_sequence);
        let (sender, answers) = sync_channel(4096);
        let sink = move |_: WorkerId, answers: Vec<gumboot::store::Answer>| {
            assert!(answers.iter().all(|answer| answer.outcome.is_ok()), "a commit failed");
            sender.send(answers.len()).expect("somebody who counts");
        };
        let committer = Committer::start(store, CommitterOptions::default(), Box::new(sink)).expect("a thread");
        Bench { submitter: committer.submitter(), committer, answers, sequences, directory }
    }

    /// Stores messages, and deletes each as the next ones come.
    fn pass(&self, window: u64) {
        let mut waiting = 0;
        for _ in 0..MESSAGES {
            let sequence = self.sequences.next();
            let mut operations = vec![StoreOp::Append(Arc::new(message(sequence)))];
            operations.extend(sequence.checked_sub(1000).map(StoreOp::Delete));
            let submission = Submission { from: WorkerId(0), ticket: sequence, operations, is_awaited: true };
            self.submitter.submit(submission).expect("room");
            waiting += 1;
            while waiting >= window {
                waiting -= self.answers.recv().expect("an answer") as u64;
            }
        }
        while waiting > 0 {
            waiting -= self.answers.recv().expect("an answer") as u64;
        }
    }
}

fn message(sequence: u64) -> MessageRecord {
    MessageRecord {
        sequence,
        queue: "orders".into(),
        topic: None,
        is_binding: false,
        id: MessageId { boot: 1, worker: WorkerId(0), sequence },
        headers: Headers::from_iter([("content-type", "application/json")]),
        body: Bytes::from_static(&[b'x'; 256]),
        is_text: true,
        enqueued_at: 1_700_000_000_000,
        expires_at: None,
        deliver_at: None,
        priority: 4,
        group: None,
    }
}

fn group_commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("group-commit");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).throughput(Throughput::Elements(MESSAGES));
    for engine in Engine::ALL {
        let bench = Bench::new(engine);
        for window in WINDOWS {
            group.bench_function(BenchmarkId::new(engine.name(), window), |run| run.iter(|| bench.pass(window)));
        }
        bench.committer.stop();
        if engine != Engine::Memory {
            std::fs::remove_dir_all(&bench.directory).expect("the directory of the bench");
        }
    }
    group.finish();
}

criterion_group!(benches, group_commit);
criterion_main!(benches);
