//! Law 5, as far as it is about single lines: panics, limits, globs.

use crate::complaint::{Complaint, Law};
use crate::paths::named;
use crate::source::{Source, is_word};

/// What ends the program, or the worker.
const PANICS: &[&str] =
    &[".unwrap()", ".expect(", ".unwrap_err()", ".expect_err(", "panic!", "unreachable!", "unimplemented!", "todo!"];

/// Globs that tests may use: their own module, and the prelude that proptest's macros are written for.
const GLOBS_IN_TESTS: &[&str] = &["super", "proptest::prelude"];

/// Checks one Rust file.
pub(crate) fn check(source: &Source) -> Vec<Complaint> {
    let complain = |line: usize, law: Law, wrong: String| Complaint { path: source.path.clone(), line, law, wrong };
    let mut complaints = Vec::new();
    for (line, code) in source.lasting_code() {
        let panic = PANICS.iter().find(|panic| names(code, panic));
        if let Some(panic) = panic.filter(|_| !has_invariant(source, line - 1)) {
            complaints.push(complain(line, Law::Invariant, format!("`{panic}` without an invariant")));
        }
    }
    for path in named(source) {
        let for_tests = source.for_tests.get(path.line.wrapping_sub(1)) == Some(&true);
        let text = path.segments.join("::");
        if path.is_glob && !(for_tests && GLOBS_IN_TESTS.contains(&text.as_str())) {
            complaints.push(complain(path.line, Law::Glob, format!("`{text}::*`")));
        }
        let is_boundless = |name: &String| name.starts_with("unbounded") || name.starts_with("UnboundedSender");
        if path.segments.iter().any(is_boundless) {
            complaints.push(complain(path.line, Law::Bounded, format!("`{text}` has no limit")));
        }
        if path.begins("std::sync::mpsc") && source.room().is_some() && !for_tests {
            complaints.push(complain(path.line, Law::Bounded, format!("`{text}` has no limit, or blocks")));
        }
    }
    complaints
}

/// Whether the code has this, not as the end of a longer name.
fn names(code: &str, wanted: &str) -> bool {
    code.match_indices(wanted).any(|(at, _)| {
        let before = code.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(is_word) || wanted.starts_with('.')
    })
}

/// Whether a comment on the line, or just above the statement it belongs to, says `Invariant:`.
fn has_invariant(source: &Source, index: usize) -> bool {
    let says = |index: usize| source.plain_comment(index).is_some_and(|comment| comment.starts_with("Invariant:"));
    if says(index) {
        return true;
    }
    for above in (0..index).rev() {
        let code = source.code.get(above).map_or("", |line| line.trim());
        if says(above) {
            return true;
        }
        let is_comment = source.plain_comment(above).is_some();
        let goes_on = !code.is_empty() && !code.ends_with([';', '{', '}', ',']);
        if !is_comment && !goes_on {
            return false;
        }
    }
    false
}
