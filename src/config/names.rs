//! Explains unknown keys: misspelt, in the wrong section, or strange.

use super::errors::{Fault, Problem};
use super::file::Origin;
use super::layers;
use super::section::join;
use super::suggest;

/// A name that can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The section it stands in, without row numbers; the top level has no name.
    pub(super) section: String,
    pub(super) name: &'static str,
    /// Whether it is a section itself, or a list of them.
    pub(super) is_section: bool,
}

/// A key that nothing reads.
#[derive(Debug)]
pub(super) struct Unknown {
    /// The section it stands in, without row numbers.
    pub(super) section: String,
    /// The whole path, for people.
    pub(super) path: String,
    pub(super) name: String,
    /// Whether a table or a list of tables is written there.
    pub(super) is_section: bool,
    pub(super) origin: Origin,
}

impl Unknown {
    /// The error, with the likeliest intent: the same name in another section, a near name in this one, a near name in
    /// another one.
    pub(super) fn explain(self, known: &[Known]) -> Problem {
        let help = self.likeliest(known);
        Problem { fault: Fault::UnknownKey { key: self.path }, origin: self.origin, help: Some(help) }
    }

    fn likeliest(&self, known: &[Known]) -> String {
        let (here, elsewhere): (Vec<&Known>, Vec<&Known>) =
            known.iter().partition(|known| known.section == self.section);
        let elsewhere: Vec<&Known> =
            elsewhere.into_iter().filter(|known| known.is_section == self.is_section).collect();
        let homes: Vec<&Known> = elsewhere.iter().filter(|known| known.name == self.name).copied().collect();
        if !homes.is_empty() {
            return self.name_homes(&homes);
        }
        for candidates in [&here, &elsewhere] {
            let near = suggest::nearest(&self.name, candidates.iter().map(|known| known.name));
            if let Some(known) = candidates.iter().find(|known| Some(known.name) == near) {
                return format!("did you mean {}?", self.spell(known));
            }
        }
        let place = if self.section.is_empty() { "the top level".to_owned() } else { format!("[{}]", self.section) };
        format!("{place} knows {}", here.iter().map(|known| known.name).collect::<Vec<&str>>().join(", "))
    }

    fn name_homes(&self, homes: &[&Known]) -> String {
        let is_key_of_file = matches!(self.origin, Origin::File { .. }) && !self.is_section;
        if !is_key_of_file {
            let spelled: Vec<String> = homes.iter().map(|known| self.spell(known)).collect();
            return format!("did you mean {}?", spelled.join(" or "));
        }
        let places = homes.iter().map(|known| match known.section.as_str() {
            "" => "the top of the file, before the first section".to_owned(),
            section => format!("[{section}]"),
        });
        format!("this key belongs to {}", places.collect::<Vec<String>>().join(" or "))
    }

    /// A name as one writes it in the layer that this one came from.
    fn spell(&self, known: &Known) -> String {
        let path = join(&known.section, known.name);
        match &self.origin {
            Origin::Environment { .. } => layers::variable(&path),
            Origin::File { .. } if known.is_section && self.is_section => format!("[{path}]"),
            Origin::File { .. } if known.section == self.section => format!("`{}`", known.name),
            _ => format!("`{path}`"),
        }
    }
}
