//! COVERAGE.md: each normative statement of the specifications with the cases that hold a broker to it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::transcript::Case;

/// A file of `statements/`: what a specification says, and how it is tested or why it is not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statements {
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    /// `1.2#SEND`, or the id of an item of a broker's own contract.
    at: String,
    level: String,
    says: String,
    #[serde(default)]
    cases: Vec<String>,
    /// Why no case can show it.
    untestable: Option<String>,
}

/// The page, or what is wrong with the statements: an unknown case, a statement with neither case nor reason, or a
/// case that no statement names.
pub(crate) fn page(cases: &[Case]) -> Result<String, String> {
    let statements = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-tests/statements"))?;
    check(&statements, cases)?;
    let mut page = String::from(
        "# Coverage\n\nEach normative statement and the cases that test it. Written by\n\
         `cargo test --test protocol -- --coverage` from `statements/`; do not edit.\n",
    );
    let mut part = "";
    for statement in &statements {
        let (head, section) = statement.at.split_once(['#', ' ']).unwrap_or((statement.at.as_str(), ""));
        if head != part {
            part = head;
            page.push_str(&format!("\n## {head}\n\n| at | level | says | cases |\n|---|---|---|---|\n"));
        }
        let tested = match &statement.untestable {
            Some(reason) => format!("not testable: {reason}"),
            None => statement.cases.iter().map(|case| format!("`{case}`")).collect::<Vec<_>>().join("<br>"),
        };
        let says = statement.says.replace('|', "\\|");
        page.push_str(&format!("| {section} | {} | {says} | {tested} |\n", statement.level));
    }
    Ok(page)
}

/// All statements, file by file in the order of their names.
fn load(folder: &Path) -> Result<Vec<Statement>, String> {
    let entries = std::fs::read_dir(folder).map_err(|wrong| format!("{}: {wrong}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|wrong| format!("{}: {wrong}", file.display()))?;
        let page: Statements = toml::from_str(&text).map_err(|wrong| format!("{}: {wrong}", file.display()))?;
        all.extend(page.statement);
    }
    Ok(all)
}

fn check(statements: &[Statement], cases: &[Case]) -> Result<(), String> {
    for statement in statements {
        if statement.cases.is_empty() == statement.untestable.is_none() {
            return Err(format!("{}: \"{}\" needs cases or a reason, one of them", statement.at, statement.says));
        }
        let is_unknown = |id: &&String| !cases.iter().any(|case| case.front.id == **id);
        if let Some(id) = statement.cases.iter().find(is_unknown) {
            return Err(format!("{}: \"{}\" names no case: {id}", statement.at, statement.says));
        }
    }
    let is_named = |case: &&Case| statements.iter().any(|statement| statement.cases.contains(&case.front.id));
    match cases.iter().find(|case| !is_named(case)) {
        Some(case) => Err(format!("no statement names the case {}", case.front.id)),
        None => Ok(()),
    }
}
