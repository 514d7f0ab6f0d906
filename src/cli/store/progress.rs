//! How far it is: a bar for those who watch, a line from time to time for a log.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use gumboot::store::Moved;

/// How often a bar is drawn.
const BAR_PAUSE: Duration = Duration::from_millis(100);

/// How often a line is written where nobody watches.
const LINE_PAUSE: Duration = Duration::from_secs(10);

const BAR_WIDTH: usize = 24;

/// What the error stream is told while something goes on. What cannot be written there is not written.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    /// What is done when all is done; `None` where nobody knows.
    total: Option<u64>,
    watched: bool,
    began: Instant,
    due: Instant,
    /// Columns of the bar that is there now.
    drawn: usize,
}

impl Progress {
    /// `what` is a word such as "exporting".
    pub(super) fn new(what: &'static str, total: Option<u64>) -> Progress {
        let began = Instant::now();
        let watched = io::stderr().is_terminal();
        let due = began + if watched { BAR_PAUSE } else { LINE_PAUSE };
        Progress { what, total: total.filter(|total| *total > 0), watched, began, due, drawn: 0 }
    }

    /// Called as often as there is something new.
    pub(super) fn at(&mut self, done: u64, moved: Moved) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        let line = line(self.what, self.watched, done, self.total, moved, now.duration_since(self.began));
        let mut out = io::stderr().lock();
        let written = if self.watched {
            self.due = now + BAR_PAUSE;
            let old = std::mem::replace(&mut self.drawn, line.len());
            write!(out, "\r{line:old$}")
        } else {
            self.due = now + LINE_PAUSE;
            writeln!(out, "{line}")
        };
        // Where nobody reads it, it is not needed.
        let _ = written.and_then(|()| out.flush());
    }
}

impl Drop for Progress {
    /// Takes the bar away, so that what is said next begins a line.
    fn drop(&mut self) {
        if self.drawn > 0 {
            let _ = write!(io::stderr(), "\r{:width$}\r", "", width = self.drawn);
        }
    }
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

fn line(what: &str, with_bar: bool, done: u64, total: Option<u64>, moved: Moved, took: Duration) -> String {
    let counts = format!("{} messages, {}", moved.messages, size(moved.bytes));
    let Some(total) = total else { return format!("{what}: {counts}") };
    let done = done.min(total);
    // In 128 bits nothing overflows.
    let share = |whole: u128| u128::from(done) * whole / u128::from(total);
    let full = share(BAR_WIDTH as u128) as usize;
    let bar = if with_bar { format!(" [{:-<BAR_WIDTH$}]", "#".repeat(full)) } else { String::new() };
    let left = (took.as_millis() * u128::from(total - done)).checked_div(u128::from(done)).unwrap_or(0).div_ceil(1000);
    format!("{what}:{bar} {:3}%, {counts}, {left} s left", share(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_how_far_it_is() {
        let moved = Moved { messages: 3, states: 1, marks: 0, bytes: 2_000 };
        let check = |with_bar, done, total, expected: &str| {
            assert_eq!(line("exporting", with_bar, done, total, moved, Duration::from_millis(1500)), expected);
        };
        check(false, 3, None, "exporting: 3 messages, 1.9 KiB");
        check(true, 3, None, "exporting: 3 messages, 1.9 KiB");
        check(false, 3, Some(12), "exporting:  25%, 3 messages, 1.9 KiB, 5 s left");
        check(true, 3, Some(12), "exporting: [######------------------]  25%, 3 messages, 1.9 KiB, 5 s left");
        check(true, 0, Some(12), "exporting: [------------------------]   0%, 3 messages, 1.9 KiB, 0 s left");
        check(true, 13, Some(12), "exporting: [########################] 100%, 3 messages, 1.9 KiB, 0 s left");
        check(false, u64::MAX, Some(u64::MAX), "exporting: 100%, 3 messages, 1.9 KiB, 0 s left");
    }

    #[test]
    fn sizes_have_units() {
        for (bytes, expected) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB"), (u64::MAX, "17179869183.9 GiB")]
        {
            assert_eq!(size(bytes), expected);
        }
    }
}
