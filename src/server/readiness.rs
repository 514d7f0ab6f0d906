//! Waiting at the start until every worker has what was stored.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// What the starting thread waits with.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    shared: Arc<Shared>,
}

/// A worker's promise to be ready. Dropped without [`Promise::keep`], it is broken.
#[derive(Debug)]
pub(super) struct Promise {
    shared: Arc<Shared>,
    is_kept: bool,
}

#[derive(Debug, Default)]
struct Shared {
    open: Mutex<Open>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Open {
    promises: usize,
    broken: bool,
}

impl Readiness {
    /// One more to wait for.
    pub(super) fn promise(&self) -> Promise {
        self.shared.open.lock().promises += 1;
        Promise { shared: Arc::clone(&self.shared), is_kept: false }
    }

    /// Waits for all of them. False: one was broken.
    pub(super) fn wait(&self) -> bool {
        let mut open = self.shared.open.lock();
        while open.promises > 0 && !open.broken {
            self.shared.changed.wait(&mut open);
        }
        !open.broken
    }
}

impl Promise {
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut open = self.shared.open.lock();
        open.promises = open.promises.saturating_sub(1);
        open.broken |= !self.is_kept;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_all_and_tells_of_a_broken_one() {
        for kept in [true, false] {
            let readiness = Readiness::default();
            let (first, second) = (readiness.promise(), readiness.promise());
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| readiness.wait());
                first.keep();
                if kept {
                    second.keep()
                } else {
                    drop(second)
                }
                assert_eq!(waiting.join().ok(), Some(kept));
            });
        }
    }
}
