//! Lays the environment and the command line over the file, and the file over the profile.

use std::ffi::OsString;

use super::errors::{Fault, Problem};
use super::file::{Origin, Table, Value, Written, parse_value};

/// What the names of our environment variables begin with. The separator is doubled because keys hold single ones.
const PREFIX: &str = "GUMBOOT__";
const SEPARATOR: &str = "__";
/// No key lies deeper.
const DEEPEST: usize = 8;

/// The environment variable that sets this key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', SEPARATOR).to_ascii_uppercase())
}

/// Lays every variable that begins with our prefix over the tree, in the order of their names.
pub(super) fn lay_environment(
    tree: &mut Table,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut ours: Vec<(OsString, OsString)> =
        variables.into_iter().filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes())).collect();
    ours.sort();
    for (name, text) in ours {
        let origin = Origin::Environment { name: name.to_string_lossy().into(), text: text.to_string_lossy().into() };
        let refuse = |fault| Problem { fault, origin: origin.clone(), help: None };
        let path = name.to_str().and_then(path_of_variable);
        match (path, text.to_str()) {
            (None, _) => problems.push(refuse(Fault::VariableName)),
            (Some(_), None) => problems.push(refuse(Fault::VariableText)),
            (Some(path), Some(text)) => problems.extend(lay(tree, &path, text, origin)),
        }
    }
    problems
}

/// Lays `section.key=value` over the tree.
pub(super) fn lay_argument(tree: &mut Table, argument: &str) -> Option<Problem> {
    let origin = Origin::Set { text: argument.to_owned() };
    let Some((key, text)) = argument.split_once('=') else {
        let help = Some("write --set section.key=value".to_owned());
        return Some(Problem { fault: Fault::NothingSet { argument: argument.to_owned() }, origin, help });
    };
    let path: Vec<String> = key.trim().split('.').map(|segment| segment.trim().to_owned()).collect();
    lay(tree, &path, text.trim(), origin)
}

/// Puts into the tree what only `below` says.
pub(super) fn underlay(tree: &mut Table, below: Table) {
    for (key, lower) in below {
        match tree.get_mut(&key) {
            None => {
                tree.insert(key, lower);
            }
            Some(Written { value: Value::Table(upper), .. }) if matches!(lower.value, Value::Table(_)) => {
                if let Value::Table(lower) = lower.value {
                    underlay(upper, lower);
                }
            }
            Some(_) => {}
        }
    }
}

fn path_of_variable(name: &str) -> Option<Vec<String>> {
    let path = name.strip_prefix(PREFIX)?;
    if path.contains(|c: char| c.is_ascii_lowercase()) || path.split(SEPARATOR).any(str::is_empty) {
        return None;
    }
    Some(path.split(SEPARATOR).map(str::to_ascii_lowercase).collect())
}

fn lay(tree: &mut Table, path: &[String], text: &str, origin: Origin) -> Option<Problem> {
    if path.len() > DEEPEST {
        return Some(Problem { fault: Fault::UnknownKey { key: path.join(".") }, origin, help: None });
    }
    match parse_value(text, &origin) {
        Ok(value) => {
            insert(tree, path, value, origin);
            None
        }
        Err(message) => {
            let fault = Fault::UnreadableValue { key: path.join("."), message };
            Some(Problem { fault, origin, help: None })
        }
    }
}

fn insert(table: &mut Table, path: &[String], value: Value, origin: Origin) {
    let Some((first, rest)) = path.split_first() else { return };
    let before = table.remove(first);
    let written = match (rest, before) {
        ([], before) => Written { value, origin, shadowed: before.map(Box::new) },
        (rest, Some(Written { value: Value::Table(mut inner), origin: place, shadowed })) => {
            insert(&mut inner, rest, value, origin);
            Written { value: Value::Table(inner), origin: place, shadowed }
        }
        (rest, before) => {
            let mut inner = Table::new();
            insert(&mut inner, rest, value, origin.clone());
            Written { value: Value::Table(inner), origin, shadowed: before.map(Box::new) }
        }
    };
    table.insert(first.clone(), written);
}
