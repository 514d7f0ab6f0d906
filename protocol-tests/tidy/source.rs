//! A Rust file, split into what the checks look at: its code without comments and texts, its comments, and which lines
//! are there for tests only.
//!
//! This is no parser. It knows comments, texts, characters and braces, which is enough for the checks here; what a macro
//! makes of its input stays unseen.

/// One Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the top of the repository, with `/`.
    pub(crate) path: String,
    /// The lines as written.
    pub(crate) raw: Vec<String>,
    /// The lines with every comment and the inside of every text made blank.
    pub(crate) code: Vec<String>,
    /// The lines with everything but comments made blank.
    pub(crate) comments: Vec<String>,
    /// Whether a line is there for tests only.
    pub(crate) for_tests: Vec<bool>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let (code, comments) = split(text);
        let lines = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
        let for_tests = match is_for_tests(path) {
            true => vec![true; text.split('\n').count()],
            false => test_lines(&code),
        };
        Source { path: path.to_owned(), raw: lines(text), code: lines(&code), comments: lines(&comments), for_tests }
    }

    /// The module of this file below the crate: `["websocket", "deflate"]`; empty for the crate's root.
    pub(crate) fn module(&self) -> Vec<&str> {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let mut names: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
        if names.last().is_some_and(|last| ["mod", "lib", "main"].contains(last)) {
            names.pop();
        }
        names
    }

    /// The room this file belongs to; none for the crate's root and for files beside `src`.
    pub(crate) fn room(&self) -> Option<&str> {
        if self.path.starts_with("src/") { self.module().first().copied() } else { None }
    }

    /// The plain comment on a line, without its slashes; none for documentation.
    pub(crate) fn plain_comment(&self, index: usize) -> Option<&str> {
        let comment = self.comments.get(index)?.trim();
        let is_documentation = ["///", "//!", "/**", "/*!"].iter().any(|start| comment.starts_with(start));
        if comment.is_empty() || is_documentation { None } else { Some(comment.trim_start_matches('/').trim()) }
    }

    /// The lines of code that are not there for tests, counted from one.
    pub(crate) fn lasting_code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.iter().zip(&self.for_tests).enumerate();
        lines.filter(|(_, (_, for_tests))| !**for_tests).map(|(index, (line, _))| (index + 1, line.as_str()))
    }
}

/// Whole files that are tests: whatever lies in a folder of tests, and modules called `tests`.
fn is_for_tests(path: &str) -> bool {
    let beside = ["protocol-tests/", "benches/", "fuzz/"].iter().any(|folder| path.starts_with(folder));
    beside || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// What the reader of a file is in the middle of.
#[derive(Clone, Copy)]
enum Within {
    Code,
    LineComment,
    /// How deep.
    BlockComment(u32),
    Text,
    /// With how many `#`.
    RawText(usize),
}

/// Code and comments, each with the other made blank. Both keep all lines and columns.
fn split(text: &str) -> (String, String) {
    let letters: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (String::new(), String::new());
    let mut within = Within::Code;
    let mut at = 0;
    while let Some(&letter) = letters.get(at) {
        let (next, kept) = step(&letters, at, &mut within);
        for &letter in letters.get(at..next.max(at + 1)).unwrap_or(&[letter]) {
            let blank = if letter == '\n' { '\n' } else { ' ' };
            code.push(if kept == Kept::Code { letter } else { blank });
            comments.push(if kept == Kept::Comment { letter } else { blank });
        }
        at = next.max(at + 1);
    }
    (code, comments)
}

#[derive(Clone, Copy, PartialEq)]
enum Kept {
    Code,
    Comment,
    Neither,
}

/// Reads one thing at `at`: answers where the next begins, and where this one is kept.
fn step(letters: &[char], at: usize, within: &mut Within) -> (usize, Kept) {
    let is = |offset: usize, wanted: char| letters.get(at + offset) == Some(&wanted);
    match *within {
        Within::Code => step_code(letters, at, within),
        Within::LineComment => {
            if is(0, '\n') {
                *within = Within::Code;
            }
            (at + 1, Kept::Comment)
        }
        Within::BlockComment(depth) => {
            let (next, depth) = match () {
                () if is(0, '*') && is(1, '/') => (at + 2, depth - 1),
                () if is(0, '/') && is(1, '*') => (at + 2, depth + 1),
                () => (at + 1, depth),
            };
            *within = if depth == 0 { Within::Code } else { Within::BlockComment(depth) };
            (next, Kept::Comment)
        }
        Within::Text => {
            if is(0, '"') {
                *within = Within::Code;
                return (at + 1, Kept::Code);
            }
            (if is(0, '\\') { at + 2 } else { at + 1 }, Kept::Neither)
        }
        Within::RawText(hashes) => {
            let ends = is(0, '"') && (1..=hashes).all(|offset| is(offset, '#'));
            if ends {
                *within = Within::Code;
                return (at + 1 + hashes, Kept::Code);
            }
            (at + 1, Kept::Neither)
        }
    }
}

fn step_code(letters: &[char], at: usize, within: &mut Within) -> (usize, Kept) {
    let is = |offset: usize, wanted: char| letters.get(at + offset) == Some(&wanted);
    let after_word = at.checked_sub(1).and_then(|before| letters.get(before)).is_some_and(|letter| is_word(*letter));
    if is(0, '/') && is(1, '/') {
        *within = Within::LineComment;
        return (at + 2, Kept::Comment);
    }
    if is(0, '/') && is(1, '*') {
        *within = Within::BlockComment(1);
        return (at + 2, Kept::Comment);
    }
    if is(0, '"') {
        *within = Within::Text;
        return (at + 1, Kept::Code);
    }
    if is(0, 'r') && (!after_word || letters.get(at.wrapping_sub(1)).is_some_and(|letter| "bc".contains(*letter))) {
        let hashes = letters.iter().skip(at + 1).take_while(|letter| **letter == '#').count();
        if is(1 + hashes, '"') {
            *within = Within::RawText(hashes);
            return (at + 2 + hashes, Kept::Code);
        }
    }
    if is(0, '\'') {
        // A character, not a lifetime: `'x'`, `'\n'`, `'\u{1f600}'`.
        if is(1, '\\') {
            let length = letters.iter().skip(at + 3).take_while(|letter| **letter != '\'').count();
            return (at + 4 + length, Kept::Neither);
        }
        if is(2, '\'') {
            return (at + 3, Kept::Neither);
        }
    }
    (at + 1, Kept::Code)
}

/// Whether a letter can stand in a name.
pub(crate) fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Which lines belong to an item under `#[cfg(test)]` or `#[test]`.
fn test_lines(code: &str) -> Vec<bool> {
    let mut marks = vec![false; code.split('\n').count()];
    for marker in ["#[cfg(test)]", "#[cfg(all(test", "#[test]"] {
        for (start, _) in code.match_indices(marker) {
            let end = start + item_length(code.get(start..).unwrap_or_default());
            let first = code.get(..start).unwrap_or_default().matches('\n').count();
            let lines = code.get(start..end).unwrap_or_default().matches('\n').count() + 1;
            marks.iter_mut().skip(first).take(lines).for_each(|mark| *mark = true);
        }
    }
    marks
}

/// How long the item at the beginning of `code` is: to its `;`, or to the end of its braces.
pub(crate) fn item_length(code: &str) -> usize {
    let (mut braces, mut brackets) = (0u32, 0u32);
    for (at, letter) in code.char_indices() {
        match letter {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return at + 1,
            '}' => braces -= 1,
            ';' if braces == 0 && brackets == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}
