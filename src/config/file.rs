//! A configuration as written: the tree of its values, each with the place it was written at.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::errors::{Fault, Problem};

/// Files beyond this size are not configurations.
const LARGEST_FILE: usize = 1024 * 1024;

/// A file with more syntax errors than this is not searched for other errors.
const MOST_BROKEN: usize = 100;

/// A configuration file's name and text.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    /// Where the bytes stop being UTF-8, if they do.
    invalid_at: Option<usize>,
}

impl Source {
    /// Takes the bytes of a file; `name` stands in errors and beside effective values.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Source {
        let name = name.into();
        match String::from_utf8(bytes.into()) {
            Ok(text) => Source { name, text, invalid_at: None },
            Err(error) => Source {
                name,
                invalid_at: Some(error.utf8_error().valid_up_to()),
                text: String::from_utf8_lossy(error.as_bytes()).into_owned(),
            },
        }
    }

    /// Reads the file; its name is the path as given.
    pub fn read(path: &Path) -> std::io::Result<Source> {
        Ok(Source::new(path.display().to_string(), std::fs::read(path)?))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text; what was not UTF-8 stands as U+FFFD.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Where a value comes from. A later layer wins over an earlier one, in the order of these variants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nobody set it.
    Default,
    /// The profile of this name stands for it.
    Profile(&'static str),
    /// The file says it, the key and the value at these bytes of it.
    File {
        /// The key, or the value where there is no key of its own.
        key: Range<usize>,
        /// The value.
        value: Range<usize>,
    },
    /// An environment variable sets it.
    Environment {
        /// The variable's name.
        name: String,
        /// Its text.
        text: String,
    },
    /// A `--set` on the command line sets it.
    Set {
        /// The whole argument.
        text: String,
    },
}

/// A value as written, and where.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// What an earlier layer wrote for the same key. It has no effect, but must be right all the same: an environment
    /// variable does not excuse a wrong line in the file.
    pub(super) shadowed: Option<Box<Written>>,
}

/// The kinds of TOML values, as far as a configuration tells them apart.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Boolean(bool),
    Integer(i64),
    Text(String),
    List(Vec<Written>),
    Table(Table),
    /// Something that no key takes: what it is, and how it is written.
    Other(&'static str, String),
}

pub(super) type Table = BTreeMap<String, Written>;

impl Value {
    /// Whether this can only be a section, or a list of them.
    pub(super) fn is_section(&self) -> bool {
        match self {
            Value::Table(_) => true,
            Value::List(items) => items.iter().any(|item| matches!(item.value, Value::Table(_))),
            _ => false,
        }
    }

    /// The value in words, for "expected this, found that".
    pub(super) fn describe(&self) -> String {
        match self {
            Value::Boolean(truth) => format!("`{truth}`"),
            Value::Integer(number) => format!("the number {number}"),
            Value::Text(text) => format!("{:?}", shorten(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
            Value::Other(kind, text) => format!("the {kind} {}", shorten(text)),
        }
    }
}

/// Values are quoted in errors; a value of a megabyte is not.
fn shorten(text: &str) -> String {
    const ENOUGH: usize = 60;
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Parses the file. What can be read of a file with syntax errors is returned beside them, so that one look shows all
/// that is wrong with it.
pub(super) fn parse(source: &Source) -> (Table, Vec<Problem>) {
    if source.text.len() > LARGEST_FILE {
        return (Table::new(), vec![syntax(0..0, "the file is larger than 1 MiB")]);
    }
    if let Some(at) = source.invalid_at {
        return (Table::new(), vec![syntax(at..at, "the file is not UTF-8 from here on")]);
    }
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    let problems: Vec<Problem> = errors
        .iter()
        .map(|error| syntax(error.span().unwrap_or(source.text.len()..source.text.len()), error.message()))
        .collect();
    let broken: Vec<Range<usize>> = problems.iter().filter_map(|problem| lines_of(source, problem)).collect();
    let is_header =
        |line: &Range<usize>| source.text.get(line.clone()).is_some_and(|line| line.trim_start().starts_with('['));
    if broken.len() > MOST_BROKEN || broken.iter().any(is_header) {
        // Without its header, what follows would be taken for part of another section.
        return (Table::new(), problems);
    }
    let mut table = convert_table(document.into_inner(), &|key, value| Origin::File { key, value });
    drop_broken(&mut table, &broken);
    (table, problems)
}

/// Parses a profile's own text, which a test keeps right.
pub(super) fn parse_profile(text: &str, origin: &Origin) -> Table {
    let (document, _) = DeTable::parse_recoverable(text);
    convert_table(document.into_inner(), &|_, _| origin.clone())
}

/// Parses the value of an environment variable or of `--set`: TOML, and any other text stands for itself.
pub(super) fn parse_value(text: &str, origin: &Origin) -> Result<Value, String> {
    match DeValue::parse(text.trim()) {
        Ok(value) => Ok(convert(value.into_inner(), &|_, _| origin.clone())),
        Err(error) if text.trim_start().starts_with(['"', '\'', '[', '{']) => Err(error.message().to_owned()),
        Err(_) => Ok(Value::Text(text.to_owned())),
    }
}

/// Makes an origin from the spans of a key and of its value.
type Locate<'l> = &'l dyn Fn(Range<usize>, Range<usize>) -> Origin;

fn convert_table(table: DeTable<'_>, locate: Locate<'_>) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            let origin = locate(key.span(), value.span());
            let written = Written { value: convert(value.into_inner(), locate), origin, shadowed: None };
            (key.into_inner().into_owned(), written)
        })
        .collect()
}

fn convert(value: DeValue<'_>, locate: Locate<'_>) -> Value {
    match value {
        DeValue::Boolean(truth) => Value::Boolean(truth),
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other("number", number.as_str().to_owned()),
        },
        DeValue::Float(number) => Value::Other("fraction", number.as_str().to_owned()),
        DeValue::Datetime(datetime) => Value::Other("date", datetime.to_string()),
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| convert_item(item, locate)).collect()),
        DeValue::Table(table) => Value::Table(convert_table(table, locate)),
    }
}

fn convert_item(item: Spanned<DeValue<'_>>, locate: Locate<'_>) -> Written {
    let origin = locate(item.span(), item.span());
    Written { value: convert(item.into_inner(), locate), origin, shadowed: None }
}

fn syntax(span: Range<usize>, message: &str) -> Problem {
    Problem {
        fault: Fault::Syntax { message: message.to_owned() },
        origin: Origin::File { key: span.clone(), value: span },
        help: None,
    }
}

/// The whole lines that a syntax error stands on.
fn lines_of(source: &Source, problem: &Problem) -> Option<Range<usize>> {
    let Origin::File { key, .. } = &problem.origin else { return None };
    let start = source.text.get(..key.start)?.rfind('\n').map_or(0, |newline| newline + 1);
    let end = source.text.get(key.end..)?.find('\n').map_or(source.text.len(), |length| key.end + length);
    Some(start..end)
}

/// Takes out what was read from broken lines: whatever else is wrong there follows from the syntax error.
fn drop_broken(table: &mut Table, broken: &[Range<usize>]) {
    let touches = |origin: &Origin| match origin {
        Origin::File { key, value } => {
            broken.iter().any(|line| (key.start <= line.end && line.start <= key.end) || value.contains(&line.start))
        }
        _ => false,
    };
    table.retain(|_, written| match &mut written.value {
        Value::Table(inner) => {
            drop_broken(inner, broken);
            true
        }
        _ => !touches(&written.origin),
    });
}
