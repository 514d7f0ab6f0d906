//! What the holes of a transcript stand for in one run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::profile::Profile;
use crate::scan::{Part, Text};
use crate::transcript::Version;

/// The placeholders and variables of one run of one case.
pub(crate) struct Names<'a> {
    profile: &'a Profile,
    version: Version,
    fresh: String,
    bound: BTreeMap<String, Vec<u8>>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(profile: &'a Profile, version: Version) -> Self {
        static RUN: AtomicU64 = AtomicU64::new(0);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let fresh = format!("kit-{:x}-{}", since.as_micros(), RUN.fetch_add(1, Ordering::Relaxed));
        Names { profile, version, fresh, bound: BTreeMap::new() }
    }

    /// The bytes a text stands for.
    pub(crate) fn fill(&self, text: &Text) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for part in &text.parts {
            match part {
                Part::Bytes(literal) => bytes.extend_from_slice(literal),
                Part::Placeholder(name) => bytes.extend_from_slice(self.placeholder(name)?.as_bytes()),
                Part::Variable(name) => match self.bound.get(name) {
                    Some(value) => bytes.extend_from_slice(value),
                    None => return Err(format!("${name} is not bound yet")),
                },
            }
        }
        match &text.times {
            None => Ok(bytes),
            Some(times) => {
                let times = self.fill_str(times)?;
                let times: usize = times.parse().map_err(|_| format!("`{times}` is no count"))?;
                Ok(bytes.repeat(times))
            }
        }
    }

    /// The same, for what must be text.
    pub(crate) fn fill_str(&self, text: &Text) -> Result<String, String> {
        String::from_utf8(self.fill(text)?).map_err(|_| "this must be UTF-8 text".to_owned())
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&[u8]> {
        self.bound.get(name).map(Vec::as_slice)
    }

    pub(crate) fn bind(&mut self, name: &str, value: Vec<u8>) {
        self.bound.insert(name.to_owned(), value);
    }

    fn placeholder(&self, name: &str) -> Result<String, String> {
        let kind = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let destination = |template: &str| template.replace("{fresh}", &format!("{}-{name}", self.fresh));
        match kind {
            "fresh" => return Ok(format!("{}{}", self.fresh, name.trim_start_matches("fresh"))),
            "queue" => return Ok(destination(&self.profile.destinations.queue)),
            "topic" => return Ok(destination(&self.profile.destinations.topic)),
            "version" => return Ok(self.version.name().to_owned()),
            _ => {}
        }
        let value = self.profile.values.get(name).or_else(|| self.profile.connect.get(name));
        value.cloned().ok_or_else(|| format!("the broker's profile has no value `{name}`"))
    }
}
