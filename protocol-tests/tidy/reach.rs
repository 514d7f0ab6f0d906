//! No file without a reader: each Rust file is a root that Cargo knows, or some other file's `mod`.

use std::collections::{BTreeMap, BTreeSet};

use crate::complaint::{Complaint, Law};
use crate::source::{Source, is_word};

/// Checks all Rust files together. `manifests` are the `Cargo.toml`s, with their paths.
pub(crate) fn check(sources: &[Source], manifests: &[(String, String)]) -> Vec<Complaint> {
    let by_path: BTreeMap<&str, &Source> = sources.iter().map(|source| (source.path.as_str(), source)).collect();
    let roots = sources.iter().filter(|source| is_root(source, manifests));
    let mut waiting: Vec<String> = roots.map(|source| source.path.clone()).collect();
    let mut reached = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        let Some(source) = by_path.get(path.as_str()).filter(|_| !reached.contains(&path)) else { continue };
        waiting.extend(modules(source, is_root(source, manifests)).into_iter().flatten());
        reached.insert(path);
    }
    let unread = sources.iter().filter(|source| !reached.contains(&source.path));
    let complain = |source: &Source| {
        let wrong = "no `mod` and no Cargo.toml leads here".to_owned();
        Complaint { path: source.path.clone(), line: 0, law: Law::DeadCode, wrong }
    };
    unread.map(complain).collect()
}

/// Whether Cargo builds a target from this file.
fn is_root(source: &Source, manifests: &[(String, String)]) -> bool {
    let path = source.path.as_str();
    let names: Vec<&str> = path.split('/').collect();
    let found_by_cargo = matches!(
        names.as_slice(),
        ["build.rs"]
            | ["src", "lib.rs" | "main.rs"]
            | ["src", "bin", _]
            | ["examples" | "benches", _]
            | ["examples", _, "main.rs"]
            | ["fuzz", "src", "lib.rs"]
    );
    let named_in = |(manifest, text): &(String, String)| {
        let folder = manifest.trim_end_matches("Cargo.toml");
        path.strip_prefix(folder).is_some_and(|inside| text.contains(&format!("path = \"{inside}\"")))
    };
    found_by_cargo || manifests.iter().any(named_in)
}

/// Where each `mod name;` of a file may lie.
fn modules(source: &Source, is_root: bool) -> Vec<Vec<String>> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let own = if is_root || file == "mod.rs" {
        folder.to_owned()
    } else {
        format!("{folder}/{}", file.trim_end_matches(".rs"))
    };
    let mut found = Vec::new();
    for (index, line) in source.code.iter().enumerate() {
        let Some(name) = declared(line) else { continue };
        let above = index.checked_sub(1).and_then(|above| source.raw.get(above));
        let here = source.raw.get(index);
        let attribute = [above, here].into_iter().flatten().find_map(|line| line.split_once("#[path = \""));
        match attribute.and_then(|(_, rest)| rest.split_once('"')) {
            Some((path, _)) => found.push(vec![normal(&format!("{folder}/{path}"))]),
            None => found.push(vec![format!("{own}/{name}.rs"), format!("{own}/{name}/mod.rs")]),
        }
    }
    found
}

/// The name in `mod name;`, whatever stands before the `mod`.
fn declared(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("mod ")?;
    let name = rest.trim_end().strip_suffix(';')?;
    let fits = !before.ends_with(is_word) && name.chars().all(is_word);
    fits.then_some(name)
}

/// The path without `..` and `.`.
fn normal(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            ".." => {
                names.pop();
            }
            "." | "" => {}
            _ => names.push(name),
        }
    }
    names.join("/")
}
