//! `gumboot store verify`: can everything be read, and how much is there?

use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use gumboot::store::{self, Survey};

use super::progress::{Progress, size};
use super::{Failure, Which};

/// Reads everything that is stored, and says how much there is and what cannot be read
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let options = self.which.options()?;
        let store = store::open_existing(&options)?;
        let usage = store.usage();
        let mut progress = Progress::new("verifying", Some(usage.messages));
        let survey = store::verify(&*store, |moved| progress.at(moved.messages, moved))?;
        drop(progress);
        let mut out = io::stdout().lock();
        writeln!(out, "store {}: engine {}, {} on disk", options.path.display(), options.engine, size(usage.bytes))?;
        // A clock before 1970 makes everything young.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        report(&mut out, &survey, now)?;
        verdict(&survey, &options.path)
    }
}

fn verdict(survey: &Survey, path: &Path) -> Result<(), Failure> {
    match survey.damaged {
        0 => Ok(()),
        count => Err(Failure::Damaged { count, path: path.to_owned() }),
    }
}

fn report(out: &mut impl Write, survey: &Survey, now: u64) -> io::Result<()> {
    let mut rows = vec![["queue", "messages", "bytes", "oldest"].map(str::to_owned)];
    for (queue, held) in &survey.queues {
        let oldest = match held.messages {
            0 => String::new(),
            _ => format!("{} ago", age(now.saturating_sub(held.oldest))),
        };
        // Names come from peers, and may hold what moves a terminal's cursor.
        rows.push([queue.escape_debug().to_string(), held.messages.to_string(), size(held.bytes), oldest]);
    }
    let found = survey.found;
    // What says what a durable subscription is on is stored as a message, and is none.
    let messages = found.messages.saturating_sub(survey.bindings);
    rows.push(["all".to_owned(), messages.to_string(), size(found.bytes), String::new()]);
    let mut widths = [0; 4];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let [first, second, third, _] = widths;
    for [queue, messages, bytes, oldest] in &rows {
        let line = format!("{queue:first$}  {messages:>second$}  {bytes:>third$}  {oldest}");
        writeln!(out, "{}", line.trim_end())?;
    }
    if survey.bindings > 0 {
        writeln!(out, "durable subscriptions: {}", survey.bindings)?;
    }
    for damage in &survey.damage {
        writeln!(out, "damaged: {damage}")?;
    }
    match survey.damaged.saturating_sub(survey.damage.len() as u64) {
        0 => Ok(()),
        more => writeln!(out, "damaged: {more} more"),
    }
}

/// The two largest units of a duration in milliseconds.
fn age(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use gumboot::store::{Damage, Holding, Moved};

    use super::*;

    #[test]
    fn a_report_has_a_line_for_each_queue_and_each_damage() {
        let held = |messages, bytes, oldest| Holding { messages, bytes, oldest };
        let survey = Survey {
            found: Moved { messages: 13, states: 1, marks: 0, bytes: 3000 },
            queues: [
                ("/queue/a".into(), held(10, 2048, 5000)),
                ("/queue/b\n".into(), held(2, 952, 90_000)),
                ("@durable/id/1//topic/a".into(), held(0, 99, u64::MAX)),
            ]
            .into(),
            bindings: 1,
            damage: vec![Damage::Missing(7)],
            damaged: 3,
        };
        let mut out = Vec::new();
        report(&mut out, &survey, 93_605_000).expect("a report");
        let expected = "queue                   messages    bytes  oldest\n\
                        /queue/a                      10  2.0 KiB  1 d 2 h ago\n\
                        /queue/b\\n                     2    952 B  1 d 1 h ago\n\
                        @durable/id/1//topic/a         0     99 B\n\
                        all                           12  2.9 KiB\n\
                        durable subscriptions: 1\n\
                        damaged: message 7: a piece of it is missing\n\
                        damaged: 2 more\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }

    #[test]
    fn ages_have_units() {
        for (millis, expected) in
            [(999, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (7_320_000, "2 h 2 min"), (90_000_000, "1 d 1 h")]
        {
            assert_eq!(age(millis), expected);
        }
    }
}
