//! Where the handlers of the application are called: one thread with a runtime of its own.
//!
//! No worker waits for it. A handler that waits costs nobody anything; one that computes for long keeps the other handlers
//! waiting, and should do that on a thread of its own. A panic is the failure of the one call it happens in.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Stage;
use super::thread::run_local;
use crate::app::{Answer, Entry, Failure, Handler, Job};
use crate::message::WorkerId;
use crate::worker::{Batch, Post};

/// Everything that the thread needs.
pub(super) struct Applications {
    handlers: Vec<Arc<dyn Handler>>,
    jobs: mpsc::Receiver<(WorkerId, Job)>,
    /// The way back to each worker.
    answers: Vec<mpsc::Sender<Batch>>,
}

impl Applications {
    /// `entries` are those that the workers' tables were made from.
    pub(super) fn new(
        entries: &[Entry],
        jobs: mpsc::Receiver<(WorkerId, Job)>,
        answers: Vec<mpsc::Sender<Batch>>,
    ) -> Applications {
        let handlers = entries.iter().map(|entry| Arc::clone(&entry.handler)).collect();
        Applications { handlers, jobs, answers }
    }

    /// Calls handlers until the broker is over.
    pub(super) fn run(mut self, mut stage: watch::Receiver<Stage>) {
        run_local(async move {
            let over = async move {
                // An error means that the server is gone, which is the end too.
                let _ = stage.wait_for(|stage| stage.is_over()).await;
            };
            tokio::select! {
                () = over => {}
                () = self.call_handlers() => {}
            }
        });
    }

    async fn call_handlers(&mut self) {
        while let Some((worker, job)) = self.jobs.recv().await {
            let Job { call, handler, time_limit, request } = job;
            let way = self.answers.get(worker.index()).cloned();
            let Some((handler, way)) = self.handlers.get(handler.0).map(Arc::clone).zip(way) else { continue };
            // Two tasks, so that a panic in the one is seen by the other.
            let called = tokio::task::spawn_local(async move { handler.call(request).await });
            tokio::task::spawn_local(async move {
                let answer = answer_of(called, time_limit).await;
                // A worker that is gone wants no answer.
                let _ = way.send(vec![Post::Answer(call, answer)]).await;
            });
        }
    }
}

/// What comes of a call within its time.
async fn answer_of(mut called: tokio::task::JoinHandle<Answer>, limit: Duration) -> Answer {
    match tokio::time::timeout(limit, &mut called).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => {
            tracing::error!("a handler of the application panicked");
            Err(Failure::Broken)
        }
        Err(_) => {
            called.abort();
            Err(Failure::Late(limit))
        }
    }
}
