//! The way from a worker to the handlers of the application.

use std::time::Instant;

use tokio::sync::mpsc::Sender;

use super::hub::Hub;
use crate::app::{Failure, Job};
use crate::message::WorkerId;

/// One worker's way to where handlers are called.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    worker: WorkerId,
    jobs: Sender<(WorkerId, Job)>,
}

impl Port {
    /// `jobs` has room for all that all workers may ask at a time.
    pub(crate) fn new(worker: WorkerId, jobs: Sender<(WorkerId, Job)>) -> Port {
        Port { worker, jobs }
    }

    /// Sends what the hub wants handled. What cannot be sent, since nobody is there any more, has failed.
    pub(super) fn send(&self, now: Instant, hub: &mut Hub) {
        for job in hub.take_jobs() {
            let call = job.call;
            if self.jobs.try_send((self.worker, job)).is_err() {
                hub.answer(now, call, Err(Failure::Unavailable));
            }
        }
    }
}
