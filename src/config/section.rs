//! Reading the tree, one key after the other: each key is declared where it is read, once, and its default is given by
//! the module that uses it.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytestring::ByteString;

use super::effective::Setting;
use super::errors::{Fault, Problem};
use super::file::{Origin, Table, Value, Written};
use super::names::{Known, Unknown};
use super::suggest;
use super::value::{
    DURATION_EXAMPLES, SIZE_EXAMPLES, parse_duration, parse_size, write_duration, write_size, write_text,
};

/// What reading the tree brought to light besides the options.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Every key there is, with its effective value, in the order of reading.
    pub(super) settings: Vec<Setting>,
    pub(super) problems: Vec<Problem>,
    /// Keys left over, to be explained once all known keys are known.
    pub(super) unknown: Vec<Unknown>,
    pub(super) known: Vec<Known>,
}

impl Findings {
    /// Where the value of this key comes from.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.setting(key).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// The effective value of this key, as TOML.
    pub(super) fn value(&self, key: &str) -> &str {
        self.setting(key).map_or("", |setting| &setting.value)
    }

    fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key() == key)
    }

    /// Reads the whole tree.
    pub(super) fn root<T>(&mut self, table: Table, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        self.section(String::new(), String::new(), table).run(read)
    }

    fn section(&mut self, path: String, schema: String, table: Table) -> Section<'_> {
        Section { findings: self, path, schema, table }
    }

    /// A key that is missing has no place of its own: the row's is shown.
    fn place_missing(&mut self, from: usize, row: &Origin) {
        for problem in self.problems.iter_mut().skip(from) {
            if matches!(problem.fault, Fault::MissingKey { .. }) {
                problem.origin = row.clone();
            }
        }
    }
}

/// One table of the tree while it is read. What nobody asked for by the end is unknown.
#[derive(Debug)]
pub(super) struct Section<'f> {
    findings: &'f mut Findings,
    /// As errors name it: `topics.policy[2]`.
    path: String,
    /// The same without row numbers.
    schema: String,
    table: Table,
}

impl Section<'_> {
    /// What was found so far.
    pub(super) fn findings(&mut self) -> &mut Findings {
        self.findings
    }

    /// A table below this one.
    pub(super) fn section<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let path = join(&self.path, name);
        let schema = join(&self.schema, name);
        let mut next = self.take(name, true);
        let mut table = Table::new();
        while let Some(Written { value, origin, shadowed }) = next {
            match value {
                // An outer layer is merged into an inner one when it is laid over it, so only one of these is a table.
                Value::Table(inner) => table = inner,
                value => self.mismatch(&path, Wrong::new(&Written { value, origin, shadowed: None }, "a table")),
            }
            next = shadowed.map(|shadowed| *shadowed);
        }
        self.findings.section(path, schema, table).run(read)
    }

    /// A list of tables, `[[name]]`. Rows that are written replace the default rows altogether.
    pub(super) fn rows<T>(
        &mut self,
        name: &'static str,
        option: &mut Vec<T>,
        write: impl Fn(&T) -> Vec<(&'static str, String)>,
        mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
    ) {
        let path = join(&self.path, name);
        let schema = join(&self.schema, name);
        // Reading an empty row makes its keys known even where there is no row.
        let mut blank = Findings::default();
        let _ = blank.section(path.clone(), schema.clone(), Table::new()).run(&mut read);
        self.findings.known.append(&mut blank.known);

        let Some(written) = self.take(name, true) else { return self.record_rows(&path, name, option, write) };
        let Value::List(items) = written.value else {
            let help = format!("begin each row with a line of its own: [[{path}]]");
            return self.mismatch(&path, Wrong::new(&written, "a list of tables").with_help(help));
        };
        if items.is_empty() {
            self.record(name, "[]".to_owned(), written.origin);
        }
        option.clear();
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            match item.value {
                Value::Table(table) => {
                    let before = self.findings.problems.len();
                    option.extend(self.findings.section(path, schema.clone(), table).run(&mut read));
                    self.findings.place_missing(before, &item.origin);
                }
                _ => self.mismatch(&path, Wrong::new(&item, "a table")),
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &'static str, option: &mut bool) {
        let parse = |written: &Written| match &written.value {
            Value::Boolean(truth) => Ok(*truth),
            _ => Err(Wrong::new(written, "true or false")),
        };
        self.read(name, option, parse, bool::to_string);
    }

    /// A whole number.
    pub(super) fn count<N: Whole>(&mut self, name: &'static str, option: &mut N, range: RangeInclusive<u64>) {
        let parse = |written: &Written| {
            let number = match &written.value {
                Value::Integer(number) => u64::try_from(*number).ok(),
                _ => None,
            };
            let expected = || Wrong::new(written, format!("a whole number {}", bounds(&range, u64::to_string)));
            number.and_then(|number| within(number, &range)).ok_or_else(expected)
        };
        self.read(name, option, parse, |number| number.widen().to_string());
    }

    /// A number of bytes.
    pub(super) fn size<N: Whole>(&mut self, name: &'static str, option: &mut N, range: RangeInclusive<u64>) {
        let parse = |written: &Written| {
            let number = match &written.value {
                Value::Integer(number) => u64::try_from(*number).ok(),
                Value::Text(text) => parse_size(text),
                _ => None,
            };
            let expected = || {
                let bounds = bounds(&range, |bytes| write_size(*bytes));
                Wrong::new(written, format!("a size {bounds}, {SIZE_EXAMPLES}"))
            };
            number.and_then(|number| within(number, &range)).ok_or_else(expected)
        };
        self.read(name, option, parse, |number| write_text(&write_size(number.widen())));
    }

    /// A span of time.
    pub(super) fn duration(&mut self, name: &'static str, option: &mut Duration, range: RangeInclusive<Duration>) {
        let parse = |written: &Written| read_duration(written, &range);
        self.read(name, option, parse, |span| write_text(&write_duration(*span)));
    }

    /// A span of time; zero is never.
    pub(super) fn duration_or_never(&mut self, name: &'static str, option: &mut Option<Duration>, longest: Duration) {
        let range = Duration::ZERO..=longest;
        let parse = |written: &Written| Ok(Some(read_duration(written, &range)?).filter(|span| !span.is_zero()));
        self.read(name, option, parse, |span| write_text(&write_duration(span.unwrap_or_default())));
    }

    /// One of several names.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        option: &mut T,
        choices: &[(&'static str, T)],
    ) {
        let parse = |written: &Written| parse_choice(written, choices);
        self.read(name, option, parse, |meaning| write_choice(*meaning, choices));
    }

    /// Some of several names, or one alone.
    pub(super) fn choices<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        option: &mut Vec<T>,
        choices: &[(&'static str, T)],
    ) {
        let parse = |written: &Written| match &written.value {
            Value::List(items) => items.iter().map(|item| parse_choice(item, choices)).collect(),
            _ => parse_choice(written, choices).map(|single| vec![single]),
        };
        let write = |meanings: &Vec<T>| {
            let names: Vec<String> = meanings.iter().map(|meaning| write_choice(*meaning, choices)).collect();
            format!("[{}]", names.join(", "))
        };
        self.read(name, option, parse, write);
    }

    /// Text of a form that `parse` knows.
    pub(super) fn text<T>(
        &mut self,
        name: &'static str,
        option: &mut T,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
        write: impl Fn(&T) -> String,
    ) {
        self.read(name, option, |written| parse_text(written, expected, &parse), |value| write_text(&write(value)));
    }

    /// Text of a form that `parse` knows, and where it is of no such form, what exactly is expected. Something that is no text
    /// at all is told what is `expected` in general.
    pub(super) fn text_or<T>(
        &mut self,
        name: &'static str,
        option: &mut T,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, String>,
        write: impl Fn(&T) -> String,
    ) {
        let parse = |written: &Written| match &written.value {
            Value::Text(text) => parse(text).map_err(|expected| Wrong::new(written, expected)),
            _ => Err(Wrong::new(written, expected)),
        };
        self.read(name, option, parse, |value| write_text(&write(value)));
    }

    /// Text that is not to be seen again: neither its value nor what is wrong with it is shown.
    pub(super) fn secret<T>(&mut self, name: &'static str, option: &mut T, take: impl Fn(&str) -> T) {
        let parse = |written: &Written| match &written.value {
            Value::Text(text) => Ok(take(text)),
            _ => {
                let (expected, found) = ("text in quotes".to_owned(), "something else".to_owned());
                Err(Wrong { expected, found, origin: Origin::Default, help: None })
            }
        };
        self.read(name, option, parse, |_| write_text(HIDDEN));
    }

    /// A list of texts, or one text alone.
    pub(super) fn texts<T>(
        &mut self,
        name: &'static str,
        option: &mut Vec<T>,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
        write: impl Fn(&T) -> String,
    ) {
        let parse = |written: &Written| match &written.value {
            Value::List(items) => items.iter().map(|item| parse_text(item, expected, &parse)).collect(),
            _ => parse_text(written, expected, &parse).map(|single| vec![single]),
        };
        let write = |values: &Vec<T>| {
            let texts: Vec<String> = values.iter().map(|value| write_text(&write(value))).collect();
            format!("[{}]", texts.join(", "))
        };
        self.read(name, option, parse, write);
    }

    /// A table whose keys are names of the writer's own choice, and whose values are texts. `parse` says what is wrong, as
    /// what it expected.
    pub(super) fn entries<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str, &str) -> Result<T, String>,
    ) -> Vec<(ByteString, T)> {
        let path = join(&self.path, name);
        let Some(written) = self.take(name, true) else {
            self.record(name, "{}".to_owned(), Origin::Default);
            return Vec::new();
        };
        let Value::Table(table) = written.value else {
            self.mismatch(&path, Wrong::new(&written, "a table of names and texts"));
            return Vec::new();
        };
        let (mut entries, mut texts) = (Vec::new(), Vec::new());
        for (key, item) in table {
            let parsed = match &item.value {
                Value::Text(text) => {
                    texts.push(format!("{} = {}", write_text(&key), write_text(text)));
                    parse(&key, text)
                }
                _ => Err("a text".to_owned()),
            };
            match parsed {
                Ok(value) => entries.push((ByteString::from(key), value)),
                Err(expected) => self.mismatch(&join(&path, &key), Wrong::new(&item, expected)),
            }
        }
        self.record(name, format!("{{ {} }}", texts.join(", ")), written.origin);
        entries
    }

    /// Whether the key is written. A row that lacks it is wrong.
    pub(super) fn requires(&mut self, name: &'static str) -> bool {
        let present = self.table.contains_key(name);
        if !present {
            let fault = Fault::MissingKey { row: self.path.clone(), key: name };
            self.findings.problems.push(Problem { fault, origin: Origin::Default, help: None });
        }
        present
    }

    /// Notes that a list is empty that is there for what is in it.
    pub(super) fn requires_some<T>(&mut self, name: &'static str, list: &[T]) -> bool {
        if list.is_empty() {
            let key = join(&self.path, name);
            self.findings.contradict(&[&key], format!("`{key}` lists nothing"), None);
        }
        !list.is_empty()
    }

    fn run<T>(mut self, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let value = read(&mut self);
        for (name, written) in std::mem::take(&mut self.table) {
            let section = self.schema.clone();
            let path = join(&self.path, &name);
            let is_section = written.value.is_section();
            self.findings.unknown.push(Unknown { section, path, name, is_section, origin: written.origin });
        }
        value
    }

    /// The one way every key is read. The option keeps its default where nobody wrote the key. A wrong value of any layer
    /// is a problem; the option then keeps its default too, so that reading goes on and finds the other problems.
    fn read<T>(
        &mut self,
        name: &'static str,
        option: &mut T,
        parse: impl Fn(&Written) -> Result<T, Wrong>,
        write: impl Fn(&T) -> String,
    ) {
        let mut next = self.take(name, false);
        let mut origin = Origin::Default;
        while let Some(written) = next {
            match parse(&written) {
                Ok(value) if origin == Origin::Default => (*option, origin) = (value, written.origin),
                Ok(_) => {}
                Err(wrong) => self.mismatch(&join(&self.path, name), wrong),
            }
            next = written.shadowed.map(|shadowed| *shadowed);
        }
        self.record(name, write(option), origin);
    }

    fn mismatch(&mut self, key: &str, wrong: Wrong) {
        let Wrong { expected, found, origin, help } = wrong;
        let fault = Fault::Mismatch { key: key.to_owned(), expected, found };
        self.findings.problems.push(Problem { fault, origin, help });
    }

    /// Takes out what is written under a name, and makes the name known.
    fn take(&mut self, name: &'static str, is_section: bool) -> Option<Written> {
        let known = Known { section: self.schema.clone(), name, is_section };
        if !self.findings.known.contains(&known) {
            self.findings.known.push(known);
        }
        self.table.remove(name)
    }

    fn record(&mut self, name: &'static str, value: String, origin: Origin) {
        let section = self.path.clone();
        self.findings.settings.push(Setting { section, name, value, origin });
    }

    fn record_rows<T>(
        &mut self,
        path: &str,
        name: &'static str,
        rows: &[T],
        write: impl Fn(&T) -> Vec<(&'static str, String)>,
    ) {
        if rows.is_empty() {
            self.record(name, "[]".to_owned(), Origin::Default);
        }
        for (index, row) in rows.iter().enumerate() {
            let settings = write(row).into_iter().map(|(name, value)| Setting {
                section: format!("{path}[{index}]"),
                name,
                value,
                origin: Origin::Default,
            });
            self.findings.settings.extend(settings);
        }
    }
}

/// What is shown for a secret.
const HIDDEN: &str = "********";

/// Why a value cannot be taken.
#[derive(Debug)]
struct Wrong {
    expected: String,
    found: String,
    /// Of the item, where only one item of a list is wrong.
    origin: Origin,
    help: Option<String>,
}

impl Wrong {
    fn new(written: &Written, expected: impl Into<String>) -> Wrong {
        let (found, origin) = (written.value.describe(), written.origin.clone());
        Wrong { expected: expected.into(), found, origin, help: None }
    }

    fn with_help(self, help: String) -> Wrong {
        Wrong { help: Some(help), ..self }
    }
}

/// A whole number of any width that an option may have.
pub(super) trait Whole: Copy + TryFrom<u64> {
    /// The same number.
    fn widen(self) -> u64;
}

impl Whole for u8 {
    fn widen(self) -> u64 {
        u64::from(self)
    }
}

impl Whole for u32 {
    fn widen(self) -> u64 {
        u64::from(self)
    }
}

impl Whole for u64 {
    fn widen(self) -> u64 {
        self
    }
}

impl Whole for usize {
    fn widen(self) -> u64 {
        u64::try_from(self).unwrap_or(u64::MAX)
    }
}

fn within<N: Whole>(number: u64, range: &RangeInclusive<u64>) -> Option<N> {
    if range.contains(&number) { N::try_from(number).ok() } else { None }
}

fn bounds<T: PartialEq>(range: &RangeInclusive<T>, write: impl Fn(&T) -> String) -> String {
    format!("from {} to {}", write(range.start()), write(range.end()))
}

fn read_duration(written: &Written, range: &RangeInclusive<Duration>) -> Result<Duration, Wrong> {
    let expected = || {
        let bounds = bounds(range, |span| write_duration(*span));
        Wrong::new(written, format!("a duration {bounds}, {DURATION_EXAMPLES}"))
    };
    match &written.value {
        Value::Text(text) => parse_duration(text).filter(|span| range.contains(span)).ok_or_else(expected),
        Value::Integer(number) => Err(expected().with_help(format!("say the unit: \"{number}s\" or \"{number}ms\""))),
        _ => Err(expected()),
    }
}

fn parse_text<T>(written: &Written, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Wrong> {
    match &written.value {
        Value::Text(text) => parse(text).ok_or_else(|| Wrong::new(written, expected)),
        _ => Err(Wrong::new(written, expected)),
    }
}

fn parse_choice<T: Copy>(written: &Written, choices: &[(&'static str, T)]) -> Result<T, Wrong> {
    let names = || choices.iter().map(|(choice, _)| *choice);
    let Value::Text(text) = &written.value else {
        return Err(Wrong::new(written, one_of(names())));
    };
    let found = choices.iter().find(|(choice, _)| choice == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let wrong = Wrong::new(written, one_of(names()));
        match suggest::nearest(text, names()) {
            Some(choice) => wrong.with_help(format!("did you mean {}?", write_text(choice))),
            None => wrong,
        }
    })
}

/// The name of a choice, as TOML.
pub(super) fn write_choice<T: PartialEq>(meaning: T, choices: &[(&'static str, T)]) -> String {
    write_text(choices.iter().find(|(_, candidate)| *candidate == meaning).map_or("", |(name, _)| name))
}

fn one_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.map(write_text).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// A key below a section; the root has no name.
pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}
