//! What happens to the broker's disk and to its process.

use crate::disk::Reading;
use crate::laws::Check;
use crate::world::World;

impl World {
    /// Lets everything happen that can without time passing, what waits for the disk too.
    pub(crate) fn come_to_rest(&mut self) {
        loop {
            self.broker.settle();
            let has_answered = self.serve(usize::MAX) | self.handle(usize::MAX);
            if !has_answered && self.disk.is_idle() {
                return;
            }
        }
    }

    /// The disk gets what workers have for it, and does some of it. Answers whether anybody heard of that.
    pub(crate) fn serve(&mut self, most: usize) -> bool {
        for submission in self.broker.take_submitted() {
            self.disk.submit(submission);
        }
        for wanted in self.broker.take_lookups() {
            self.disk.want(wanted);
        }
        let has_read = self.read_back(most);
        let is_unsound = self.disk.is_full || self.disk.fails_once;
        let mut answers = self.disk.promise();
        if most > 0 {
            answers.extend(self.disk.sync(most));
        }
        if is_unsound {
            self.model.events += 1;
            self.model.unsound_at = Some(self.model.events);
        }
        let has_answered = has_read || !answers.is_empty();
        for (hub, ticket, result) in answers {
            self.broker.answer(hub, ticket, result);
        }
        has_answered
    }

    /// The disk reads some of what it is to read. Answers whether anybody heard of that.
    fn read_back(&mut self, most: usize) -> bool {
        let readings = self.disk.read(most);
        let has_read = !readings.is_empty();
        for Reading { hub, queue, found, failed } in readings {
            for message in failed {
                let number = message.content.headers.find("n").and_then(|text| text.parse().ok());
                number.into_iter().for_each(|number| self.model.note_unreadable(number));
            }
            self.broker.bring(hub, queue, found);
        }
        has_read
    }

    /// The disk does some of what it is to do.
    pub(crate) fn sync(&mut self, most: usize) -> Check {
        self.end_turns();
        self.serve(most);
        self.end_turns();
        self.pump()
    }

    /// Ends the turns of all workers.
    pub(crate) fn end_turns(&mut self) {
        for hub in 0..self.broker.workers() {
            self.broker.end_turn(hub);
        }
    }

    /// The disk is full, or has space again.
    pub(crate) fn fill_disk(&mut self) {
        self.disk.is_full ^= true;
        self.model.has_failed_disk = true;
        self.model.full_since = self.disk.is_full.then_some(self.model.events);
        self.model.events += 1;
    }

    /// The next write fails.
    pub(crate) fn fail_disk(&mut self) {
        self.disk.fails_once = true;
        self.model.has_failed_disk = true;
    }

    /// Some of what is read next cannot be read.
    pub(crate) fn fail_reader(&mut self) {
        self.disk.is_unreadable = true;
    }

    /// From now on all is well with the disk.
    pub(crate) fn heal_disk(&mut self) {
        (self.disk.is_full, self.disk.fails_once, self.disk.is_unreadable) = (false, false, false);
        self.model.full_since = None;
    }

    /// The process ends, at any moment, and a new one begins.
    pub(crate) fn crash(&mut self) -> Check {
        // What was written has left.
        self.pump()?;
        self.serve(0);
        for session in self.sessions(|own| !own.is_over) {
            self.note(session, "the broker is gone");
            self.hang_up(session);
        }
        self.model.crash();
        let (stored, last) = self.disk.crash();
        self.jobs.clear();
        self.restart(stored, last);
        self.model.restarted();
        self.pump()
    }
}
