//! The paths that a file names: `a::b::c`, and each leaf of a `use` with its braces taken apart.

use crate::source::{Source, is_word};

/// One path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    /// Counted from one.
    pub(crate) line: usize,
    /// Whether it is a leaf of a `use` that ends in `*`.
    pub(crate) is_glob: bool,
}

impl Named {
    /// Whether the path begins with these segments.
    pub(crate) fn begins(&self, wanted: &str) -> bool {
        let mut segments = self.segments.iter();
        wanted.split("::").all(|name| segments.next().is_some_and(|segment| segment == name))
    }

    /// Whether the path has these segments, next to each other, anywhere.
    pub(crate) fn has(&self, wanted: &str) -> bool {
        format!("::{}::", self.segments.join("::")).contains(&format!("::{wanted}::"))
    }

    /// The path from the crate's root, if it leads into this crate by `crate`, `self` or `super`.
    pub(crate) fn within_crate<'a>(&'a self, module: &[&'a str]) -> Option<Vec<&'a str>> {
        let mut segments = self.segments.iter().map(String::as_str).peekable();
        let mut from = match segments.peek().copied() {
            Some("crate") => Vec::new(),
            Some("self" | "super") => module.to_vec(),
            _ => return None,
        };
        while let Some(step) = segments.next_if(|step| ["crate", "self", "super"].contains(step)) {
            if step == "super" {
                from.pop();
            }
        }
        from.extend(segments);
        Some(from)
    }
}

/// All paths of a file, in order.
pub(crate) fn named(source: &Source) -> Vec<Named> {
    let mut tokens = Tokens { all: tokens(source), at: 0 };
    let mut found = Vec::new();
    while let Some((token, line)) = tokens.next() {
        if token == "use" {
            tokens.tree(&[], &mut found);
        } else if token.starts_with(is_word) && !token.starts_with(|letter: char| letter.is_ascii_digit()) {
            let mut segments = vec![token];
            while tokens.peek(0) == Some("::") && tokens.peek(1).is_some_and(|next| next.starts_with(is_word)) {
                tokens.next();
                segments.extend(tokens.next().map(|(token, _)| token));
            }
            found.push(Named { segments, line, is_glob: false });
        }
    }
    found
}

/// Words and signs, each with its line; `::` is one sign.
fn tokens(source: &Source) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (index, line) in source.code.iter().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match rest.find(|letter| !is_word(letter)) {
                _ if rest.starts_with("::") => 2,
                Some(0) => first.len_utf8(),
                Some(end) => end,
                None => rest.len(),
            };
            let (token, after) = rest.split_at(length);
            found.push((token.to_owned(), index + 1));
            rest = after.trim_start();
        }
    }
    found
}

struct Tokens {
    all: Vec<(String, usize)>,
    at: usize,
}

impl Tokens {
    fn next(&mut self) -> Option<(String, usize)> {
        let token = self.all.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn peek(&self, ahead: usize) -> Option<&str> {
        self.all.get(self.at + ahead).map(|(token, _)| token.as_str())
    }

    /// Reads one tree of a `use`, up to the `,`, `}` or `;` behind it.
    fn tree(&mut self, prefix: &[String], found: &mut Vec<Named>) {
        let mut segments = prefix.to_vec();
        let mut line = 0;
        while let Some(token) = self.peek(0).map(str::to_owned) {
            match token.as_str() {
                "," | "}" | ";" => break,
                "{" => {
                    self.next();
                    while !matches!(self.peek(0), None | Some("}" | ";")) {
                        self.tree(&segments, found);
                        if self.peek(0) == Some(",") {
                            self.next();
                        }
                    }
                    self.next();
                    return;
                }
                "as" => {
                    self.next();
                }
                "*" => {
                    line = self.all.get(self.at).map_or(line, |(_, line)| *line);
                    found.push(Named { segments: segments.clone(), line, is_glob: true });
                    self.next();
                    return;
                }
                "::" => {}
                _ => {
                    line = self.all.get(self.at).map_or(line, |(_, line)| *line);
                    segments.push(token);
                }
            }
            self.next();
        }
        if segments.len() > prefix.len() {
            // `use a::{self}` names `a`.
            if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
                segments.pop();
            }
            found.push(Named { segments, line, is_glob: false });
        }
    }
}
