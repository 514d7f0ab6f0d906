//! A broker's profile: where it is, what it can do, and where it is known to deviate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::launcher::Start;
use crate::script;
use crate::transcript::Version;

/// What `--broker FILE` says. The README explains each key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) versions: Vec<Version>,
    pub(crate) abilities: Vec<String>,
    /// Where another profile of the same broker has all the rest: only the cases that need one of these abilities.
    #[serde(default)]
    pub(crate) focus: Vec<String>,
    /// Abilities that other profiles of the same broker are about: no case that needs one.
    #[serde(default)]
    pub(crate) elsewhere: Vec<String>,
    #[serde(default)]
    pub(crate) over: Over,
    /// Headers that every CONNECT carries unless its line says otherwise.
    #[serde(default)]
    pub(crate) connect: BTreeMap<String, String>,
    pub(crate) destinations: Destinations,
    /// What `{name}` stands for in cases, beyond what the runner knows itself.
    #[serde(default)]
    pub(crate) values: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) timing: Timing,
    pub(crate) launch: Option<Launch>,
    #[serde(default)]
    pub(crate) deviations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Over {
    /// Only for the broker that this suite is built with: it runs inside the suite.
    pub(crate) memory: Option<InProcess>,
    pub(crate) tcp: Option<Reach>,
    pub(crate) websocket: Option<Reach>,
    /// The address is that of WebSocket, below which the service is.
    pub(crate) sockjs: Option<Reach>,
}

/// Nothing to say about a broker that needs no address.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InProcess {}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reach {
    /// Filled in by the launcher for a broker that the suite starts.
    #[serde(default)]
    pub(crate) address: String,
}

/// Templates with `{fresh}` where a name that was never used before goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Destinations {
    pub(crate) queue: String,
    pub(crate) topic: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Timing {
    /// How long a frame or a close that must come may take.
    #[serde(deserialize_with = "time")]
    pub(crate) frame: Duration,
    /// How long silence must last to count as "nothing came".
    #[serde(deserialize_with = "time")]
    pub(crate) quiet: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { frame: Duration::from_secs(5), quiet: Duration::from_millis(300) }
    }
}

fn time<'de, D: Deserializer<'de>>(source: D) -> Result<Duration, D::Error> {
    script::duration(&String::deserialize(source)?).map_err(serde::de::Error::custom)
}

/// A broker the suite starts itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Launch {
    /// A path, or `gumboot` for the binary built with this suite.
    pub(crate) program: String,
    /// `{config}` stands for a file that holds `config`.
    pub(crate) arguments: Vec<String>,
    #[serde(default)]
    pub(crate) config: String,
}

impl Launch {
    /// What to start, where these schemes are wanted.
    pub(crate) fn start(&self, schemes: Vec<&'static str>) -> Start {
        let program = match self.program.as_str() {
            "gumboot" => env!("CARGO_BIN_EXE_gumboot"),
            other => other,
        };
        let (arguments, config) = (self.arguments.clone(), self.config.clone());
        Start { program: program.to_owned(), arguments, config, schemes }
    }
}

#[derive(Debug, Error)]
pub(crate) enum ProfileError {
    #[error("{file}: {cause}", file = .file.display())]
    Unreadable { file: PathBuf, cause: std::io::Error },
    #[error("{file}: {cause}", file = .file.display())]
    Wrong { file: PathBuf, cause: Box<toml::de::Error> },
}

impl Profile {
    pub(crate) fn load(file: &Path) -> Result<Profile, ProfileError> {
        let text =
            std::fs::read_to_string(file).map_err(|cause| ProfileError::Unreadable { file: file.to_owned(), cause })?;
        toml::from_str(&text).map_err(|cause| ProfileError::Wrong { file: file.to_owned(), cause: Box::new(cause) })
    }

    /// Whether the profile's tests are those of a case with these needs.
    pub(crate) fn takes(&self, needs: &[String]) -> bool {
        let any_in = |abilities: &[String]| needs.iter().any(|need| abilities.contains(need));
        !any_in(&self.elsewhere) && (self.focus.is_empty() || any_in(&self.focus))
    }

    /// The first listed deviation that speaks of this test, with its reason. A key is a case id, and after it any
    /// of `@1.1` and `@websocket` to narrow it down.
    pub(crate) fn deviation(&self, id: &str, version: Version, over: &str) -> Option<(&str, &str)> {
        let fits = |key: &str| {
            let mut words = key.split_whitespace();
            words.next() == Some(id)
                && Version::ALL.iter().all(|known| {
                    let named = |version: &Version| key.split_whitespace().any(|word| word == format!("@{version}"));
                    !named(known) || named(&version)
                })
                && words
                    .filter_map(|word| word.strip_prefix('@'))
                    .all(|word| Version::ALL.iter().any(|version| version.name() == word) || word == over)
        };
        self.deviations.iter().find(|(key, _)| fits(key)).map(|(key, reason)| (key.as_str(), reason.as_str()))
    }
}
