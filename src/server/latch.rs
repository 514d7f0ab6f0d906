//! Waiting until others are through with something, such as every worker with its beginning. It works on any thread, also on
//! one of a runtime that the broker is embedded in.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Waits for all the [`Part`]s that it gave out.
#[derive(Debug, Default)]
pub(super) struct Latch {
    shared: Arc<Shared>,
}

/// Somebody who is waited for. Dropping it says that it failed.
#[derive(Debug)]
pub(super) struct Part {
    shared: Arc<Shared>,
    is_done: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    missing: usize,
    has_failed: bool,
}

impl Latch {
    /// One more to wait for.
    pub(super) fn part(&self) -> Part {
        self.shared.state.lock().missing += 1;
        Part { shared: Arc::clone(&self.shared), is_done: false }
    }

    /// Waits until each part is done, or gone. False: one has failed.
    pub(super) fn wait(self) -> bool {
        let mut state = self.shared.state.lock();
        while state.missing > 0 {
            self.shared.changed.wait(&mut state);
        }
        !state.has_failed
    }
}

impl Part {
    /// It is through with it.
    pub(super) fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.missing -= 1;
        state.has_failed |= !self.is_done;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_all_and_notices_who_failed() {
        for fails in [false, true] {
            let latch = Latch::default();
            let parts: Vec<_> = (0..4).map(|_| latch.part()).collect();
            let threads: Vec<_> = parts
                .into_iter()
                .enumerate()
                .map(|(index, part)| {
                    std::thread::spawn(move || {
                        if !(fails && index == 2) {
                            part.done()
                        }
                    })
                })
                .collect();
            assert_eq!(latch.wait(), !fails);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        assert!(Latch::default().wait());
    }
}
