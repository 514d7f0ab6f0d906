//! A case: TOML front matter between `+++` lines, then one step a line. `script.rs` reads the steps.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

use crate::script::{self, Line, Step};

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Version {
    #[serde(rename = "1.0")]
    V1_0,
    #[serde(rename = "1.1")]
    V1_1,
    #[serde(rename = "1.2")]
    V1_2,
}

impl Version {
    pub(crate) const ALL: [Version; 3] = [Version::V1_0, Version::V1_1, Version::V1_2];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V1_2 => "1.2",
        }
    }

    /// The WebSocket sub-protocol of this version.
    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Version::V1_0 => "v10.stomp",
            Version::V1_1 => "v11.stomp",
            Version::V1_2 => "v12.stomp",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// How much a case demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Level {
    /// The specification demands it; so does a plain statement of fact in it.
    #[serde(rename = "MUST")]
    Must,
    #[serde(rename = "SHOULD")]
    Should,
    #[serde(rename = "MAY")]
    May,
    /// One broker's promise beyond the specification: demanded of brokers with the abilities it needs.
    #[serde(rename = "extension")]
    Extension,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
            Level::May => "MAY",
            Level::Extension => "extension",
        }
    }
}

/// The front matter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Front {
    pub(crate) id: String,
    /// Where it is said: `1.2#SEND`, `SEMANTICS U4`, `RFC 6455 5.1`.
    pub(crate) spec: String,
    /// A short quotation of what is said.
    pub(crate) says: String,
    pub(crate) level: Level,
    pub(crate) over: Vec<Version>,
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// `false` where cutting the bytes otherwise makes no sense or costs too much.
    #[serde(default = "yes")]
    pub(crate) replay: bool,
    /// Whether other cases at the same time would be in its way: it then has a broker of its own, if the suite can start it.
    #[serde(default)]
    pub(crate) alone: bool,
}

fn yes() -> bool {
    true
}

/// A transcript, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) front: Front,
    pub(crate) file: String,
    pub(crate) lines: Vec<Line>,
}

/// A transcript that cannot be read, at the place that is wrong.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{file}:{line}: {wrong}")]
pub(crate) struct TranscriptError {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) wrong: String,
}

impl Case {
    /// Whether it needs a broker that nobody else uses.
    pub(crate) fn is_alone(&self) -> bool {
        self.front.alone || self.lines.iter().any(|line| matches!(line.step, Step::Restart))
    }

    /// Reads one transcript; `file` names it in errors.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Case, TranscriptError> {
        let error = |line: usize, wrong: String| TranscriptError { file: file.to_owned(), line, wrong };
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        if lines.next().map(|(_, line)| line.trim_end()) != Some("+++") {
            return Err(error(1, "a transcript begins with `+++` and its front matter".to_owned()));
        }
        let mut matter = String::new();
        loop {
            match lines.next() {
                None => return Err(error(1, "the front matter has no closing `+++`".to_owned())),
                Some((_, line)) if line.trim_end() == "+++" => break,
                Some((_, line)) => matter.extend([line, "\n"]),
            }
        }
        let front: Front = toml::from_str(&matter).map_err(|wrong| {
            let before = wrong.span().and_then(|span| matter.get(..span.start)).unwrap_or_default();
            error(2 + before.matches('\n').count(), wrong.message().to_owned())
        })?;
        if front.over.is_empty() {
            return Err(error(1, "`over` names no version".to_owned()));
        }
        let lines = script::parse(lines).map_err(|(line, wrong)| error(line, wrong))?;
        if lines.is_empty() {
            return Err(error(1, "the transcript has no steps".to_owned()));
        }
        Ok(Case { front, file: file.to_owned(), lines })
    }
}

/// Every `.stomp` file under `root`, in the order of the ids. The id of a case is its path.
pub(crate) fn load(root: &Path) -> Result<Vec<Case>, TranscriptError> {
    let mut cases = Vec::new();
    collect(root, root, &mut cases)?;
    cases.sort_by(|left: &Case, right| left.front.id.cmp(&right.front.id));
    Ok(cases)
}

fn collect(root: &Path, folder: &Path, cases: &mut Vec<Case>) -> Result<(), TranscriptError> {
    let unreadable = |path: &Path, wrong: std::io::Error| TranscriptError {
        file: path.display().to_string(),
        line: 1,
        wrong: wrong.to_string(),
    };
    for entry in std::fs::read_dir(folder).map_err(|wrong| unreadable(folder, wrong))? {
        let path = entry.map_err(|wrong| unreadable(folder, wrong))?.path();
        if path.is_dir() {
            collect(root, &path, cases)?;
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "stomp") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|wrong| unreadable(&path, wrong))?;
        let shown = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&path);
        let case = Case::parse(&shown.display().to_string(), &text)?;
        let id = path.strip_prefix(root).unwrap_or(&path).with_extension("").display().to_string().replace('\\', "/");
        if case.front.id != id {
            let wrong = format!("the id is `{}`, but the path says `{id}`", case.front.id);
            return Err(TranscriptError { file: case.file, line: 2, wrong });
        }
        cases.push(case);
    }
    Ok(())
}
