//! "Did you mean": the nearest of the known names.

/// Names longer than this are not compared: nobody mistypes them into one of ours.
const LONGEST: usize = 48;

/// The candidate nearest to what was written, where one is near enough to be what was meant.
pub(super) fn nearest<'c>(written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if written.len() > LONGEST {
        return None;
    }
    let folded = fold(written);
    candidates
        .into_iter()
        .map(|candidate| (distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= tolerance(&folded, candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A third of the shorter name may be wrong, and always one letter of a name of two or more.
fn tolerance(folded: &[char], candidate: &str) -> usize {
    let shorter = folded.len().min(candidate.chars().count());
    match shorter {
        0 | 1 => 0,
        more => (more / 3).max(1),
    }
}

/// Case and the choice between `-` and `_` are not what makes two names different.
fn fold(name: &str) -> Vec<char> {
    name.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Damerau-Levenshtein distance, restricted to swaps of neighbours: how many letters must be inserted, dropped,
/// replaced or swapped.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, &letter) in from.iter().enumerate() {
        let mut current = Vec::with_capacity(last.len());
        current.push(row + 1);
        for (column, &other) in to.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut best = at(&last, column) + usize::from(letter != other);
            best = best.min(at(&last, column + 1) + 1).min(at(&current, column) + 1);
            let swapped =
                row > 0 && column > 0 && from.get(row - 1) == Some(&other) && to.get(column - 1) == Some(&letter);
            if swapped {
                best = best.min(at(&before_last, column - 1) + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_insertions_deletions_replacements_and_swaps() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "abcd", 1),
            ("abc", "ac", 1),
            ("abc", "acb", 1),
            ("prefecth", "prefetch", 1),
            ("kitten", "sitting", 3),
            ("ca", "abc", 3),
        ] {
            assert_eq!(distance(&fold(from), &fold(to)), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["prefetch", "max_prefetch", "max_bytes", "bind", "ok"];
        for (written, expected) in [
            ("prefecth", Some("prefetch")),
            ("Max-Bytes", Some("max_bytes")),
            ("maxPrefetch", Some("max_prefetch")),
            ("bnid", Some("bind")),
            ("o", None),
            ("", None),
            ("threshold", None),
        ] {
            assert_eq!(nearest(written, known), expected, "{written}");
        }
    }

    #[test]
    fn does_not_compare_very_long_names() {
        assert_eq!(nearest(&"prefetch".repeat(100), ["prefetch"]), None);
    }
}
