//! What is wrong with a configuration, told so that it can be put right at once: where, what was expected, what may have
//! been meant.

use std::fmt;
use std::ops::Range;

use super::file::{Origin, Source};

/// Nobody reads more at a time. A file with more errors than this is no configuration file.
const MOST_SHOWN: usize = 100;

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Debug, thiserror::Error)]
pub struct Errors {
    file: Option<Source>,
    problems: Vec<Problem>,
}

impl Errors {
    pub(super) fn new(file: Option<Source>, mut problems: Vec<Problem>) -> Errors {
        problems.sort_by(|one, other| one.order().cmp(&other.order()));
        problems.dedup();
        Errors { file, problems }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.problems.len()
    }

    /// Never true of errors that [`load`](super::load) returns.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The line and column, both from 1, of each problem shown that has a place in the file.
    pub fn positions(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let text = self.file.as_ref().map_or("", Source::text);
        self.problems.iter().take(MOST_SHOWN).filter_map(Problem::span).map(move |span| {
            let spot = Spot::find(text, &span);
            (spot.line, spot.column)
        })
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(MOST_SHOWN).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.show(f, self.file.as_ref())?;
        }
        match self.problems.len().checked_sub(MOST_SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => writeln!(f, "\n... and {more} more"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) fault: Fault,
    pub(super) origin: Origin,
    /// What to do about it.
    pub(super) help: Option<String>,
}

/// The ways in which a configuration can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("not TOML: {message}")]
    Syntax { message: String },
    #[error("unknown key `{key}`")]
    UnknownKey { key: String },
    #[error("`{key}`: expected {expected}, found {found}")]
    Mismatch { key: String, expected: String, found: String },
    #[error("`{key}`: {message}")]
    UnreadableValue { key: String, message: String },
    #[error("`{row}`: `{key}` is missing")]
    MissingKey { row: String, key: &'static str },
    #[error("`{argument}` sets nothing: it has no `=`")]
    NothingSet { argument: String },
    #[error("the name is not written as GUMBOOT__SECTION__KEY")]
    VariableName,
    #[error("the variable's text is not UTF-8")]
    VariableText,
    #[error("{message}")]
    Contradiction { message: String },
}

impl Fault {
    /// Whether the caret belongs under the key; else it belongs under the value.
    fn is_about_key(&self) -> bool {
        matches!(self, Fault::UnknownKey { .. })
    }
}

impl Problem {
    fn span(&self) -> Option<Range<usize>> {
        match &self.origin {
            Origin::File { key, .. } if self.fault.is_about_key() => Some(key.clone()),
            Origin::File { value, .. } => Some(value.clone()),
            _ => None,
        }
    }

    /// The file from top to bottom, then the environment, then the command line; what has no place comes last.
    fn order(&self) -> (u8, usize, &str) {
        match &self.origin {
            Origin::File { .. } => (0, self.span().map_or(0, |span| span.start), ""),
            Origin::Environment { name, .. } => (1, 0, name),
            Origin::Set { text } => (2, 0, text),
            Origin::Default | Origin::Profile(_) => (3, 0, ""),
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, file: Option<&Source>) -> fmt::Result {
        writeln!(f, "error: {}", self.fault)?;
        let mut gutter = 1;
        match (&self.origin, self.span(), file) {
            (Origin::File { .. }, Some(span), Some(file)) => {
                let spot = Spot::find(file.text(), &span);
                gutter = spot.line.to_string().len();
                spot.show(f, gutter, file.name())?;
            }
            (Origin::Environment { name, text }, ..) => show_line(f, "environment", &format!("{name}={text}"))?,
            (Origin::Set { text }, ..) => show_line(f, "command line", &format!("--set {text}"))?,
            (Origin::Profile(name), ..) => writeln!(f, " --> profile {name}")?,
            _ => {}
        }
        match &self.help {
            Some(help) => writeln!(f, "{:gutter$} = help: {help}", ""),
            None => Ok(()),
        }
    }
}

fn show_line(f: &mut fmt::Formatter<'_>, what: &str, line: &str) -> fmt::Result {
    writeln!(f, " --> {what}\n  |")?;
    writeln!(f, "  | {}", printable(line.chars().take(WINDOW)))
}

/// How much of a line is shown: lines of ordinary files whole, of others the part around the caret.
const WINDOW: usize = 160;

/// A place in a text, as people count.
#[derive(Debug, PartialEq, Eq)]
struct Spot<'t> {
    line: usize,
    /// In characters.
    column: usize,
    /// In characters, within the line.
    width: usize,
    text: &'t str,
}

impl<'t> Spot<'t> {
    fn find(text: &'t str, span: &Range<usize>) -> Spot<'t> {
        let start = letter_at(text, span.start);
        let end = letter_at(text, span.end).max(start);
        let (before, after) = text.split_at_checked(start).unwrap_or((text, ""));
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = after.find('\n').map_or(text.len(), |length| start + length);
        let line = text.get(line_start..line_end).unwrap_or_default();
        let marked = text.get(start..end.min(line_end)).unwrap_or_default();
        Spot {
            line: before.matches('\n').count() + 1,
            column: text.get(line_start..start).unwrap_or_default().chars().count() + 1,
            width: marked.trim_end().chars().count().max(1),
            text: line.trim_end_matches('\r'),
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, gutter: usize, name: &str) -> fmt::Result {
        let skipped = if self.column + 20 > WINDOW { self.column - 20 } else { 0 };
        let shown = printable(self.text.chars().skip(skipped).take(WINDOW));
        // Tabs stay tabs under tabs, so that the caret stands below its letter however wide they are shown.
        let lead = |c: char| if c == '\t' { '\t' } else { ' ' };
        let indent: String = self.text.chars().skip(skipped).take(self.column - 1 - skipped).map(lead).collect();
        let carets = "^".repeat(self.width.min(WINDOW));
        writeln!(f, "{:gutter$}--> {name}:{}:{}", "", self.line, self.column)?;
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{} | {shown}", self.line)?;
        writeln!(f, "{:gutter$} | {indent}{carets}", "")
    }
}

/// The beginning of the letter that this byte belongs to, or the end of the text.
fn letter_at(text: &str, byte: usize) -> usize {
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    (0..=byte.min(text.len())).rev().find(is_boundary).unwrap_or(0)
}

/// Control characters would move the cursor of whoever reads the error.
fn printable(line: impl Iterator<Item = char>) -> String {
    line.map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn finds_lines_and_columns() {
        let text = "a = 1\r\nbö = \"x\ny\"";
        for (span, line, column, width, shown) in [
            (0..1, 1, 1, 1, "a = 1"),
            (7..10, 2, 1, 2, "bö = \"x"),
            (13..18, 2, 6, 2, "bö = \"x"),
            (text.len()..text.len(), 3, 3, 1, "y\""),
            (900..901, 3, 3, 1, "y\""),
            (9..9, 2, 2, 1, "bö = \"x"),
        ] {
            assert_eq!(Spot::find(text, &span), Spot { line, column, width, text: shown }, "{span:?}");
        }
    }

    #[test]
    fn shows_the_part_of_a_long_line_that_is_meant() {
        let text = format!("{}here{}", "x".repeat(5000), "y".repeat(5000));
        let source = Source::new("f", text);
        let problem = Problem {
            fault: Fault::UnknownKey { key: "here".to_owned() },
            origin: Origin::File { key: 5000..5004, value: 0..1 },
            help: None,
        };
        let shown = Errors::new(Some(source), vec![problem]).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        let caret = lines[4].find('^').unwrap();
        assert_eq!(lines[3].get(caret..caret + 4), Some("here"));
        assert!(lines[3].len() < 200);
    }
}
