//! What no file of the repository says, whatever its language.

use crate::complaint::{Complaint, Law};
use crate::source::is_word;

/// Marks of things left undone. Spelled apart, so that this file does not say them.
const MARKS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];

/// What a merge leaves where nobody decided.
const CONFLICTS: &[&str] = &[concat!("<<<<", "<<< "), concat!(">>>>", ">>> ")];

/// Packages that the project does without.
const PACKAGES: &[&str] = &[concat!("any", "how")];

/// Where packages come from is a matter of the machine that builds, not of the project.
const HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("://reg", "istry."),
    concat!("static.rust", "-lang.org"),
];

/// Places on one machine.
const PLACES: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// A place that only tests may name.
const SCRATCH: &str = concat!("/t", "mp/");

/// Checks one file of text.
pub(crate) fn check(path: &str, text: &str) -> Vec<Complaint> {
    let complain = |line: usize, wrong: String| Complaint { path: path.to_owned(), line, law: Law::Words, wrong };
    // Cargo writes there where each package came from.
    let is_lock = path.ends_with("Cargo.lock");
    let is_test = path.starts_with("protocol-tests/") || path.contains("tests");
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let says = |word: &&&str| line.match_indices(**word).any(|(at, word)| stands_alone(line, at, word));
        let found = MARKS.iter().chain(PACKAGES).find(says).filter(|_| !is_lock);
        let conflict = CONFLICTS.iter().find(|mark| line.starts_with(**mark));
        let host = HOSTS.iter().find(|host| line.contains(**host)).filter(|_| !is_lock);
        let scratch = Some(&SCRATCH).filter(|_| !is_test);
        let place = PLACES.iter().chain(scratch).find(|place| begins_a_path(line, place));
        for word in [found, conflict, host, place].into_iter().flatten() {
            complaints.push(complain(index + 1, format!("says `{word}`")));
        }
    }
    complaints
}

/// Whether the word at this place is a word of its own.
fn stands_alone(line: &str, at: usize, word: &str) -> bool {
    let before = line.get(..at).and_then(|before| before.chars().next_back());
    let after = line.get(at + word.len()..).and_then(|after| after.chars().next());
    !before.is_some_and(is_word) && !after.is_some_and(is_word)
}

/// Whether a path begins with `place`, rather than having it within.
fn begins_a_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|letter| is_word(letter) || "*.-/}$".contains(letter))
    })
}
