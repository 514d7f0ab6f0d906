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
    /// At most two letters, because there are many clients.
    fn mark(&self) -> &'static str {
        match self {
            Verdict::Passed => "ok",
            Verdict::Failed(_) => "NO",
            Verdict::NotThere => "-",
            Verdict::Skipped => "?",
        }
    }
}

/// What is entered for a suite as a whole.
pub(crate) const WHOLE: &str = "run";

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

    /// Features down, the clients that tried any across by their numbers.
    fn write_features(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tried: Vec<_> = self.entries.iter().filter(|(_, feature, _)| feature != WHOLE).collect();
        let features = distinct(tried.iter().map(|(_, feature, _)| feature.as_str()));
        let clients = distinct(tried.iter().map(|(client, _, _)| client.as_str()));
        let width = features.iter().map(|feature| feature.chars().count()).max().unwrap_or(0);
        for (number, client) in clients.iter().enumerate() {
            writeln!(f, "  {:>2} {client}", number + 1)?;
        }
        write!(f, "\n  {:width$}", "")?;
        for number in 1..=clients.len() {
            write!(f, " {number:>2}")?;
        }
        writeln!(f)?;
        for feature in &features {
            write!(f, "  {feature:width$}")?;
            for client in &clients {
                write!(f, " {:>2}", self.mark(client, feature))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "\n  ok: works, -: not in this client or version, NO: failed, empty: not tried")
    }
}

impl FromIterator<Table> for Table {
    fn from_iter<T: IntoIterator<Item = Table>>(tables: T) -> Table {
        Table { entries: tables.into_iter().flat_map(|table| table.entries).collect() }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        if self.entries.iter().any(|(_, feature, _)| feature != WHOLE) {
            self.write_features(f)?;
        }
        writeln!(f)?;
        for (client, _, verdict) in self.entries.iter().filter(|(_, feature, _)| feature == WHOLE) {
            writeln!(f, "  {:>2} {client}", verdict.mark())?;
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
            writeln!(f, "{skipped} SKIPPED: what runs them is not on this machine")?;
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
