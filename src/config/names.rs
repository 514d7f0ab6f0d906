//! Explains unknown keys: misspelt, in the wrong section, or strange.

use std::fmt::Write;

use super::errors::{Fault, Problem};
use super::file::Origin;
use super::layers;
use super::section::join;
use super::suggest;

/// A key that nothing reads.
#[derive(Debug)]
pub(super) struct Unknown {
    /// The section it stands in, without row numbers.
    pub(super) section: String,
    /// The whole path, for people.
    pub(super) path: String,
    pub(super) name: String,
    /// What the section does know.
    pub(super) siblings: Vec<&'static str>,
    pub(super) origin: Origin,
}

impl Unknown {
    /// The error, with the likeliest intent: the same name in another section, a near name in this one, a near name in
    /// another one. `known` are all names there are, with their sections.
    pub(super) fn explain(self, known: &[(String, &'static str)]) -> Problem {
        let elsewhere = || known.iter().filter(|(section, _)| *section != self.section);
        let mut homes: Vec<&(String, &str)> = elsewhere().filter(|(_, name)| *name == self.name).collect();
        homes.dedup();
        let help = if !homes.is_empty() {
            self.name_homes(&homes)
        } else if let Some(near) = suggest::nearest(&self.name, self.siblings.iter().copied()) {
            format!("did you mean {}?", self.spell(&self.section, near, true))
        } else if let Some((section, name)) = self.nearest_elsewhere(elsewhere()) {
            format!("did you mean {}?", self.spell(section, name, false))
        } else {
            self.list_siblings()
        };
        Problem { fault: Fault::UnknownKey { key: self.path }, origin: self.origin, help: Some(help) }
    }

    fn name_homes(&self, homes: &[&(String, &'static str)]) -> String {
        let mut text = String::new();
        for (index, (section, name)) in homes.iter().enumerate() {
            let between = if index == 0 { "this key belongs to " } else { " or " };
            let home = match (&self.origin, section.as_str()) {
                (Origin::File { .. }, "") => "the top of the file, before the first section".to_owned(),
                (Origin::File { .. }, section) => format!("[{section}]"),
                _ => self.spell(section, name, false),
            };
            // Writing to a string cannot fail.
            let _ = write!(text, "{between}{home}");
        }
        text
    }

    fn nearest_elsewhere<'k>(
        &self,
        elsewhere: impl Iterator<Item = &'k (String, &'static str)> + Clone,
    ) -> Option<&'k (String, &'static str)> {
        let near = suggest::nearest(&self.name, elsewhere.clone().map(|(_, name)| *name))?;
        elsewhere.clone().find(|(_, name)| *name == near)
    }

    fn list_siblings(&self) -> String {
        let names = self.siblings.join(", ");
        match self.section.as_str() {
            "" => format!("the top level knows {names}"),
            section => format!("[{section}] knows {names}"),
        }
    }

    /// A key as one writes it in the layer that this one came from.
    fn spell(&self, section: &str, name: &str, same_section: bool) -> String {
        match &self.origin {
            Origin::Environment { .. } => layers::variable(&join(section, name)),
            Origin::File { .. } if same_section => format!("`{name}`"),
            _ => format!("`{}`", join(section, name)),
        }
    }
}
