//! What a run says: the table, each failure with its transcript, and the verdicts as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::profile::Profile;
use crate::replay::Mode;
use crate::script::{Line, Step};
use crate::suite::{Judgement, Test, Verdict};

/// All tests of a run with their judgements, and what that means for the exit code.
pub(crate) struct Report<'a> {
    entries: Vec<Entry<'a>>,
    profile: &'a Profile,
}

struct Entry<'a> {
    test: Test<'a>,
    judgement: Judgement,
    /// The key and the reason of a listed deviation.
    deviation: Option<(&'a str, &'a str)>,
}

impl Entry<'_> {
    /// Whether this entry fails the run: a demand missed without a listed deviation, or a deviation that is gone.
    fn is_bad(&self) -> bool {
        match self.judgement.verdict {
            Verdict::Failed => self.deviation.is_none(),
            Verdict::Ok => self.deviation.is_some(),
            Verdict::NonStrict | Verdict::Unimplemented | Verdict::Informational => false,
        }
    }
}

impl<'a> Report<'a> {
    pub(crate) fn new(tests: Vec<Test<'a>>, judgements: Vec<Judgement>, profile: &'a Profile) -> Self {
        let entries = tests
            .into_iter()
            .zip(judgements)
            .map(|(test, judgement)| {
                let deviation = profile.deviation(&test.case.front.id, test.version, test.harness.name());
                Entry { test, judgement, deviation }
            })
            .collect();
        Report { entries, profile }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.entries.iter().any(|entry| entry.judgement.verdict != Verdict::Unimplemented)
            && !self.entries.iter().any(Entry::is_bad)
    }

    /// Rows are the folders of the cases; the last is the sum.
    pub(crate) fn table(&self) -> String {
        let mut rows: BTreeMap<String, [usize; 5]> = BTreeMap::new();
        for entry in &self.entries {
            let id = &entry.test.case.front.id;
            let folder = id.rsplit_once('/').map_or(id.as_str(), |(folder, _)| folder);
            let column = entry.judgement.verdict as usize;
            for row in [format!("{folder} ({})", entry.test.harness.name()), "~".to_owned()] {
                if let Some(count) = rows.entry(row).or_default().get_mut(column) {
                    *count += 1;
                }
            }
        }
        let width = rows.keys().map(String::len).max().unwrap_or(0).max(8);
        let mut table = format!("{:width$}", self.profile.name.chars().take(width).collect::<String>());
        for verdict in Verdict::ALL {
            table.push_str(&format!("  {:>13}", verdict.name()));
        }
        for (row, counts) in rows {
            let row = if row == "~" { "all" } else { row.as_str() };
            table.push_str(&format!("\n{row:width$}"));
            for count in counts {
                let count = if count == 0 { ".".to_owned() } else { count.to_string() };
                table.push_str(&format!("  {count:>13}"));
            }
        }
        table
    }

    /// Each test that is not plainly OK, one after the other; deviations and gaps in one line each.
    pub(crate) fn details(&self, verbose: bool) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            let name = entry.test.name();
            let verdict = entry.judgement.verdict;
            match (&entry.judgement.failure, entry.deviation) {
                (Some(_), Some((_, reason))) if !verbose && verdict != Verdict::Informational => {
                    text.push_str(&format!("{verdict:>13}  {name}: deviates: {reason}\n", verdict = verdict.name()));
                }
                (Some(failure), _) if verbose || verdict == Verdict::Failed => {
                    text.push_str(&format!("\n---- {name}: {} ----\n", verdict.name()));
                    text.push_str(&explain(entry, failure.line, &failure.came, failure.mode));
                }
                (Some(failure), _) => {
                    let came = failure.came.lines().next().unwrap_or_default();
                    let line = format!("line {}: {came}", failure.line);
                    text.push_str(&format!("{:>13}  {name}: does not: {line}\n", verdict.name()));
                }
                (None, Some((key, _))) if verdict == Verdict::Ok => {
                    text.push_str(&format!("\n---- {name}: listed as a deviation, but passes: remove `{key}` ----\n"));
                }
                (None, _) if verbose => {
                    let lacks = entry.judgement.lacks.as_ref().map(|lacks| format!(": lacks {lacks}"));
                    text.push_str(&format!("{:>13}  {name}{}\n", verdict.name(), lacks.unwrap_or_default()));
                }
                (None, _) => {}
            }
        }
        text
    }

    /// The closing line, as `cargo test` writes it.
    pub(crate) fn closing_line(&self, filtered: usize) -> String {
        let failed = self.entries.iter().filter(|entry| entry.is_bad()).count();
        let skipped = |entry: &&Entry<'_>| entry.judgement.verdict == Verdict::Unimplemented;
        let ignored = self.entries.iter().filter(skipped).count();
        let passed = self.entries.len() - failed - ignored;
        let result = if self.is_good() { "ok" } else { "FAILED" };
        format!(
            "test result: {result}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; \
             {filtered} filtered out"
        )
    }

    pub(crate) fn json(&self) -> Value {
        let entry = |entry: &Entry<'_>| {
            json!({
                "test": entry.test.name(),
                "verdict": entry.judgement.verdict.name(),
                "level": entry.test.case.front.level.name(),
                "spec": entry.test.case.front.spec,
                "says": entry.test.case.front.says,
                "line": entry.judgement.failure.as_ref().map(|failure| failure.line),
                "came": entry.judgement.failure.as_ref().map(|failure| failure.came.clone()),
                "lacks": entry.judgement.lacks,
                "deviation": entry.deviation.map(|(_, reason)| reason),
            })
        };
        json!({
            "broker": self.profile.name,
            "counts": self.counts(),
            "tests": self.entries.iter().map(entry).collect::<Vec<_>>(),
        })
    }

    /// How many tests have each verdict.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts: BTreeMap<&'static str, usize> = Verdict::ALL.map(|verdict| (verdict.name(), 0)).into();
        for entry in &self.entries {
            *counts.entry(entry.judgement.verdict.name()).or_default() += 1;
        }
        counts
    }

    /// The verdicts by test: what is committed and compared.
    pub(crate) fn verdicts(&self) -> BTreeMap<String, String> {
        self.entries.iter().map(|entry| (entry.test.name(), entry.judgement.verdict.name().to_owned())).collect()
    }

    /// Where the verdicts differ from earlier ones. Unless all tests were run, those that were not are left out.
    pub(crate) fn differences(&self, expected: &BTreeMap<String, String>, all_ran: bool) -> Vec<String> {
        let now = self.verdicts();
        let differs = |(test, now): (&String, &String)| match expected.get(test) {
            Some(before) if before == now => None,
            Some(before) => Some(format!("{test}: was {before}, is {now}")),
            None => Some(format!("{test}: is new, and {now}")),
        };
        let gone = |test: &&String| all_ran && !now.contains_key(*test);
        let gone = expected.keys().filter(gone).map(|test| format!("{test}: is gone"));
        now.iter().filter_map(differs).chain(gone).collect()
    }
}

/// Specification, transcript with the differing line marked, and what came instead.
fn explain(entry: &Entry<'_>, line: usize, came: &str, mode: Mode) -> String {
    let front = &entry.test.case.front;
    let mut text = format!("{} ({}): {}\n", front.spec, front.level.name(), front.says);
    if let Some((_, reason)) = entry.deviation {
        text.push_str(&format!("known deviation: {reason}\n"));
    }
    text.push_str(&format!("{}:{line}, sent {mode}\n", entry.test.case.file));
    for step in &entry.test.case.lines {
        mark(step, line, came, &mut text);
        if let Step::AnyOrder(members) = &step.step {
            members.iter().for_each(|member| mark(member, line, came, &mut text));
        }
    }
    text
}

fn mark(step: &Line, line: usize, came: &str, text: &mut String) {
    let is_here = step.number == line && !matches!(step.step, Step::AnyOrder(_));
    let sign = if is_here { ">>" } else { "  " };
    text.push_str(&format!("{sign} {:>3} | {}\n", step.number, step.text));
    if is_here {
        for (index, part) in came.lines().enumerate() {
            let lead = if index == 0 { "came" } else { "    " };
            text.push_str(&format!("   {lead} > {part}\n"));
        }
    }
}
