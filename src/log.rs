//! The log: what is written, and how it looks. It goes to the standard error stream.

use std::io::{IsTerminal, stderr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Libraries below us that would flood a detailed log with what concerns only themselves. They log warnings, unless they
/// are named in the level's text.
const QUIET: [&str; 6] = ["hyper", "hyper_util", "mio", "tokio", "tracing", "tungstenite"];

/// What can be set about the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// `log.format`.
    pub format: Format,
    /// `log.level`.
    pub level: Levels,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people; in colours where the stream is a terminal and `NO_COLOR` is not set.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// From which level on something is logged: `info`, or with exceptions for parts of the program,
/// `info,gumboot::session=debug`.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    text: String,
    targets: Targets,
}

impl Levels {
    /// Reads the text; `None` where a part of it is neither a level nor `target=level`.
    pub fn parse(text: &str) -> Option<Levels> {
        let mut general = LevelFilter::OFF;
        let mut named = Vec::new();
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some(("", _)) => return None,
                Some((target, level)) => named.push((target, level_of(level)?)),
                None => general = level_of(part)?,
            }
        }
        Some(Levels::new(text, general, named))
    }

    fn new(text: &str, general: LevelFilter, named: Vec<(&str, LevelFilter)>) -> Levels {
        let quiet = QUIET.map(|target| (target, general.min(LevelFilter::WARN)));
        let targets = Targets::new().with_targets(quiet).with_targets(named).with_default(general);
        Levels { text: text.to_owned(), targets }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Default for Levels {
    fn default() -> Levels {
        Levels::new("info", LevelFilter::INFO, Vec::new())
    }
}

/// Sends the log of this process to the standard error stream, from now on and for good.
pub fn start(options: &Options) -> Result<(), TryInitError> {
    let registry = tracing_subscriber::registry().with(options.level.targets.clone());
    match options.format {
        Format::Human => registry.with(fmt::layer().with_writer(stderr).with_ansi(in_colour())).try_init(),
        Format::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(stderr)).try_init(),
    }
}

fn in_colour() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Exactly the six names: numbers, which the parser of `tracing` takes too, say nothing to a reader.
fn level_of(name: &str) -> Option<LevelFilter> {
    match name {
        "off" => Some(LevelFilter::OFF),
        "error" => Some(LevelFilter::ERROR),
        "warn" => Some(LevelFilter::WARN),
        "info" => Some(LevelFilter::INFO),
        "debug" => Some(LevelFilter::DEBUG),
        "trace" => Some(LevelFilter::TRACE),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tracing::Level;

    /// Checks for which of (ours, a session's, hyper's) events a text enables `level`.
    fn check(text: &str, level: Level, expected: [bool; 3]) {
        let levels = Levels::parse(text).unwrap();
        let found = ["gumboot::server", "gumboot::session", "hyper::proto"]
            .map(|target| levels.targets.would_enable(target, &level));
        assert_eq!(found, expected, "{text} {level}");
    }

    #[test]
    fn libraries_are_quiet_unless_named() {
        check("info", Level::INFO, [true, true, false]);
        check("info", Level::DEBUG, [false, false, false]);
        check("trace", Level::TRACE, [true, true, false]);
        check("trace", Level::WARN, [true, true, true]);
        check("error", Level::WARN, [false, false, false]);
        check("info, gumboot::session=debug", Level::DEBUG, [false, true, false]);
        check("info,hyper=trace", Level::TRACE, [false, false, true]);
        check("gumboot=warn", Level::WARN, [true, true, false]);
    }

    #[test]
    fn refuses_what_is_no_level() {
        for text in ["", "inof", "info,", "=info", "gumboot=", "gumboot=loud", "3", "INFO"] {
            assert_eq!(Levels::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_default_is_what_its_text_says() {
        assert_eq!(Levels::parse("info"), Some(Levels::default()));
    }
}
