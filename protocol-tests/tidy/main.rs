//! The laws of the house that a program can check, checked on the tree as it is.
//!
//! The laws themselves are in the crate's documentation ("Architecture Invariants"). Each check is a function from a
//! file's path and text to complaints, so `cases` can prove of each that it is able to complain.

mod cases;
mod code;
mod complaint;
mod layers;
mod paths;
mod reach;
mod shape;
mod source;
mod words;

use std::io;
use std::path::Path;

use complaint::Complaint;
use source::Source;

/// Folders with Rust code of ours.
const RUST: &[&str] = &["src/", "protocol-tests/", "examples/", "benches/", "fuzz/"];

/// Folders that hold what tools and tests leave behind, or bytes that are no text.
const PASSED_OVER: &[&str] = &[".git", "target", "node_modules", "corpus", "artifacts", "coverage", "__pycache__"];

#[test]
fn the_tree_is_tidy() -> io::Result<()> {
    let mut files = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut files)?;
    assert!(files.iter().any(|(path, _)| path == "src/lib.rs"), "the tree was not found");
    let complaints = check(&files);
    let lines: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
    assert!(complaints.is_empty(), "{} breaches of the laws of the house:\n{}", lines.len(), lines.join("\n"));
    Ok(())
}

/// Everything that is wrong with these files, as (path, text).
fn check(files: &[(String, String)]) -> Vec<Complaint> {
    let is_ours = |path: &str| path.ends_with(".rs") && RUST.iter().any(|folder| path.starts_with(folder));
    let rust = files.iter().filter(|(path, _)| is_ours(path));
    let sources: Vec<Source> = rust.map(|(path, text)| Source::new(path, text)).collect();
    let manifests: Vec<_> = files.iter().filter(|(path, _)| path.ends_with("Cargo.toml")).cloned().collect();
    let mut complaints: Vec<Complaint> = sources.iter().flat_map(check_rust).collect();
    complaints.extend(reach::check(&sources, &manifests));
    complaints.extend(files.iter().flat_map(|(path, text)| words::check(path, text)));
    complaints.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    complaints.dedup();
    complaints
}

fn check_rust(source: &Source) -> Vec<Complaint> {
    [layers::check(source), code::check(source), shape::check(source)].concat()
}

/// All files of text below `folder`, with their paths from the top.
fn collect(folder: &Path, inside: &str, files: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if PASSED_OVER.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{inside}{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else if let Ok(text) = String::from_utf8(std::fs::read(entry.path())?) {
            files.push((path, text));
        }
    }
    Ok(())
}
