//! The effective configuration: every key, its value, and who says so.

use std::fmt;

use super::file::{Origin, Source};
use super::section::join;

/// One key with its value.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// Such as `websocket.deflate` or `destinations[0]`; the top level has no name.
    pub(super) section: String,
    pub(super) name: &'static str,
    /// As TOML.
    pub(super) value: String,
    pub(super) origin: Origin,
}

impl Setting {
    /// The whole path.
    pub(super) fn key(&self) -> String {
        join(&self.section, self.name)
    }
}

/// Every key with its effective value. Its display is a TOML file that sets exactly these values, with the origin of each
/// as a comment; only secrets are hidden.
#[derive(Clone, Debug)]
pub struct Effective {
    settings: Vec<Setting>,
    source: Option<Source>,
}

impl Effective {
    pub(super) fn new(settings: Vec<Setting>, source: Option<Source>) -> Effective {
        Effective { settings, source }
    }

    /// Every key, as `section.key`, with its value as TOML. The rows of lists are numbered: `destinations[0].prefix`.
    pub fn settings(&self) -> impl Iterator<Item = (String, &str)> {
        self.settings.iter().map(|setting| (setting.key(), setting.value.as_str()))
    }

    fn describe(&self, origin: &Origin) -> String {
        match (origin, &self.source) {
            (Origin::Default | Origin::File { .. }, None) | (Origin::Default, Some(_)) => "default".to_owned(),
            (Origin::Profile(name), _) => format!("profile {name}"),
            (Origin::File { key, .. }, Some(source)) => {
                let before = source.text().get(..key.start).unwrap_or_default();
                let name: String = source.name().chars().filter(|c| !c.is_control()).collect();
                format!("{name}:{}", before.matches('\n').count() + 1)
            }
            (Origin::Environment { name, .. }, _) => format!("environment {name}"),
            (Origin::Set { .. }, _) => "--set".to_owned(),
        }
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // TOML wants the keys of a table together, and those of the top level first.
        let mut sections: Vec<&str> = vec![""];
        for setting in &self.settings {
            if !sections.contains(&setting.section.as_str()) {
                sections.push(&setting.section);
            }
        }
        for section in sections {
            match section.split_once('[').map(|(list, rest)| (list, rest.split_once("].").map(|(_, below)| below))) {
                // A table below a row belongs to the row before it.
                Some((list, Some(below))) => writeln!(f, "\n[{list}.{below}]")?,
                Some((list, None)) => writeln!(f, "\n[[{list}]]")?,
                None if section.is_empty() => {}
                None => writeln!(f, "\n[{section}]")?,
            }
            for Setting { name, value, origin, .. } in self.settings.iter().filter(|setting| setting.section == section)
            {
                let line = format!("{name} = {value}");
                writeln!(f, "{line:<44}  # {}", self.describe(origin))?;
            }
        }
        Ok(())
    }
}
