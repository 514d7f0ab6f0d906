//! Configurations as people write them, and what comes of them.

mod errors;
mod layers;
mod shipped;

use std::ffi::OsString;

use super::{Errors, Loaded, Source, Sources, load};

/// Loads a file alone.
fn load_file(text: &str) -> Result<Loaded, Errors> {
    load_layers(text, &[], &[])
}

/// Loads a file below an environment and arguments of `--set`.
fn load_layers(text: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Result<Loaded, Errors> {
    load(Sources {
        file: Some(Source::new("gumboot.toml", text)),
        environment: environment.iter().map(|(name, text)| (OsString::from(name), OsString::from(text))).collect(),
        arguments: arguments.iter().map(|argument| argument.to_string()).collect(),
    })
}

/// The effective value of a key, with its origin, as `gumboot config` prints both.
fn printed(loaded: &Loaded, key: &str) -> String {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let text = loaded.effective.to_string();
    let mut lines = text.lines();
    if !section.is_empty() {
        let header = format!("[{section}]");
        lines.find(|line| *line == header).unwrap();
    }
    let line = lines.find(|line| line.starts_with(&format!("{name} = "))).unwrap();
    let (setting, origin) = line.split_once("  # ").unwrap();
    format!("{} # {origin}", setting.trim_end())
}
