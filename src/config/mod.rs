//! Configuration: from what people write to the [`Options`] that the modules take.
//!
//! Five layers, each over the one before: the defaults, which the modules give; the profile; the file; environment
//! variables `GUMBOOT__SECTION__KEY`; and `--set section.key=value`. [`load`] lays them over each other and answers with
//! complete and checked options, or with everything that is wrong at once.
//!
//! Every key is declared in one place, where it is read: the module `schema`. What a key means stands in `config.toml` at the top
//! of the repository, and a test holds both together.
//!
//! Architecture invariant: modules do not know of this one. They define their options, and this module depends on them.
//!
//! ```
//! use gumboot::config::{self, Source, Sources};
//!
//! let file = Source::new("my.toml", "[queues]\nprefetch = 5\n");
//! let loaded = config::load(Sources { file: Some(file), ..Sources::default() }).unwrap();
//! assert_eq!(loaded.options.server.worker.session.prefetch, 5);
//!
//! let file = Source::new("my.toml", "[queues]\nprefecth = 5\n");
//! let errors = config::load(Sources { file: Some(file), ..Sources::default() }).unwrap_err();
//! assert!(errors.to_string().contains("did you mean `prefetch`?"));
//! ```

mod applications;
mod check;
mod effective;
mod errors;
mod file;
mod hooks;
mod layers;
mod names;
mod options;
mod profile;
mod schema;
mod section;
mod suggest;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod value;

use std::ffi::OsString;

pub use effective::Effective;
pub use errors::Errors;
pub use file::Source;
pub use options::{Options, Profile};

use errors::Fault;
use file::Table;
use section::Findings;

/// What a configuration is made from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<Source>,
    /// The environment; only variables that begin with `GUMBOOT__` count.
    pub environment: Vec<(OsString, OsString)>,
    /// The arguments of `--set`, in order.
    pub arguments: Vec<String>,
}

/// A configuration that is right.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The options.
    pub options: Options,
    /// Where each of them comes from.
    pub effective: Effective,
}

/// Lays the sources over each other and checks what comes out.
pub fn load(sources: Sources) -> Result<Loaded, Errors> {
    let Sources { file, environment, arguments } = sources;
    let (mut tree, mut problems) = file.as_ref().map_or_else(|| (Table::new(), Vec::new()), file::parse);
    let broken = !problems.is_empty();
    problems.extend(layers::lay_environment(&mut tree, environment));
    for argument in &arguments {
        problems.extend(layers::lay_argument(&mut tree, argument));
    }
    if let Some(below) = profile::chosen(&tree) {
        layers::underlay(&mut tree, below);
    }

    let mut findings = Findings::default();
    let options = findings.root(tree, schema::read);
    check::contradictions(&options, &mut findings);
    let Findings { settings, problems: found, unknown, known } = findings;
    problems.extend(found.into_iter().filter(|problem| !broken || !follows_from_syntax(&problem.fault)));
    problems.extend(unknown.into_iter().map(|unknown| unknown.explain(&known)));
    if problems.is_empty() {
        Ok(Loaded { options, effective: Effective::new(settings, file) })
    } else {
        Err(Errors::new(file, problems))
    }
}

/// Whether a fault may be no more than a line that could not be read.
fn follows_from_syntax(fault: &Fault) -> bool {
    matches!(fault, Fault::MissingKey { .. } | Fault::Contradiction { .. })
}
