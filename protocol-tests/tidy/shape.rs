//! Law 5, as far as it is about shape: long files, long functions, code in comments.
//!
//! A function ends where its braces do, and it is counted whole: signature, comments, blank lines and inner functions. A
//! function that a macro makes is not seen. Whether a comment is code is a guess by how its line begins and ends.

use crate::complaint::{Complaint, Law};
use crate::source::{Source, is_word, item_length};

/// Lines of a file.
const FILE_LINES: usize = 600;

/// Lines of a function, from its `fn` to its last brace.
const FUNCTION_LINES: usize = 70;

/// Checks one Rust file.
pub(crate) fn check(source: &Source) -> Vec<Complaint> {
    let complain = |line: usize, law: Law, wrong: String| Complaint { path: source.path.clone(), line, law, wrong };
    let mut complaints = Vec::new();
    let lines = source.raw.len();
    if lines > FILE_LINES + 1 {
        complaints.push(complain(0, Law::Size, format!("{} lines, more than {FILE_LINES}", lines - 1)));
    }
    for Function { name, line, lines } in functions(source) {
        if lines > FUNCTION_LINES {
            complaints.push(complain(
                line,
                Law::Size,
                format!("`{name}` has {lines} lines, more than {FUNCTION_LINES}"),
            ));
        }
    }
    for index in 0..lines {
        if let Some(comment) = source.plain_comment(index).filter(|comment| looks_like_code(comment)) {
            complaints.push(complain(index + 1, Law::DeadCode, format!("`{comment}` is code in a comment")));
        }
    }
    complaints
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// All functions with a body, and those without. Types such as `fn(u8)` have no name and are passed over.
fn functions(source: &Source) -> Vec<Function> {
    let code = source.code.join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code.get(..at).unwrap_or_default();
        let rest = code.get(at..).unwrap_or_default();
        let name: String = rest.chars().skip(3).take_while(|letter| is_word(*letter)).collect();
        if before.chars().next_back().is_some_and(is_word) || name.is_empty() {
            continue;
        }
        let whole = rest.get(..item_length(rest)).unwrap_or(rest);
        let line = before.matches('\n').count() + 1;
        found.push(Function { name, line, lines: whole.matches('\n').count() + 1 });
    }
    found
}

/// Whether a line of comment looks like code rather than like a sentence that happens to end in a semicolon.
fn looks_like_code(comment: &str) -> bool {
    let is_brace = ["}", "})", "});", "};", "],", ");"].contains(&comment);
    let opens = comment.ends_with(" {") || comment == "{";
    let begins =
        ["let ", "use ", "return ", "pub ", "fn ", "mod ", "const ", "#["].iter().any(|word| comment.starts_with(word));
    let ends = comment.ends_with(';');
    let calls = comment.trim_end_matches(';').ends_with(')')
        && comment.find('(').and_then(|at| comment.get(..at)).is_some_and(|name| name.ends_with(is_word));
    is_brace || opens || ends && (begins || calls || comment.contains(" = ") || comment.contains("::"))
}
