//! What came of it: features down, clients across, and a line with the sums.

use std::fmt;

/// What came of one feature with one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// With what the client saw.
    Failed(String),
    /// The version of STOMP, or the client, does not have it.
    NotThere,
    /// The client could not be run here.
    Skipped,
}

impl Verdict {
    fn mark(&self) -> &'static str {
        match self {
            Verdict::Passed => "ok",
            Verdict::Failed(_) => "FAILED",
            Verdict::NotThere => "-",
            Verdict::Skipped => "skipped",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    /// (client, feature, verdict), in the order they came.
    entries: Vec<(String, String, Verdict)>,
}

impl Table {
    pub(crate) fn enter(&mut self, client: &str, feature: &str, verdict: Verdict) {
        self.entries.push((client.to_owned(), feature.to_owned(), verdict));
    }

    pub(crate) fn failures(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Failed(_)))
    }

    fn count(&self, is: impl Fn(&Verdict) -> bool) -> usize {
        self.entries.iter().filter(|(_, _, verdict)| is(verdict)).count()
    }

    fn mark(&self, client: &str, feature: &str) -> &'static str {
        let entry = self.entries.iter().find(|(one, other, _)| one == client && other == feature);
        entry.map_or("", |(_, _, verdict)| verdict.mark())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let features = distinct(self.entries.iter().map(|(_, feature, _)| feature.as_str()));
        let clients = distinct(self.entries.iter().map(|(client, _, _)| client.as_str()));
        let width = features.iter().map(|feature| feature.chars().count()).max().unwrap_or(0);
        writeln!(f)?;
        for (number, client) in clients.iter().enumerate() {
            writeln!(f, "  ({}) {client}", number + 1)?;
        }
        write!(f, "\n  {:width$}", "")?;
        for number in 1..=clients.len() {
            write!(f, "  {:<7}", format!("({number})"))?;
        }
        writeln!(f)?;
        for feature in &features {
            write!(f, "  {feature:width$}")?;
            for client in &clients {
                write!(f, "  {:<7}", self.mark(client, feature))?;
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        for (client, feature, verdict) in &self.entries {
            if let Verdict::Failed(why) = verdict {
                writeln!(f, "FAILED {client}: {feature}: {why}")?;
            }
        }
        let passed = self.count(|verdict| *verdict == Verdict::Passed);
        let skipped = self.count(|verdict| *verdict == Verdict::Skipped);
        if skipped > 0 {
            writeln!(f, "{skipped} skipped: their runtime is not on this machine")?;
        }
        write!(f, "{passed} passed, {} failed", self.failures())
    }
}

/// Each text once, in the order of its first appearance.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for text in texts {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen
}
