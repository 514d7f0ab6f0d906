//! What the reader takes, and where it says a transcript is wrong.

use std::path::Path;

use crate::transcript::{self, Case};

const FRONT: &str = "+++\nid = \"x/y\"\nspec = \"1.2#X\"\nsays = \"s\"\nlevel = \"MUST\"\nover = [\"1.2\"]\n+++\n";

#[track_caller]
fn refuses(steps: &str, expected: &str) {
    let error = Case::parse("f.stomp", &format!("{FRONT}{steps}")).unwrap_err();
    assert_eq!(error.to_string(), format!("f.stomp:{expected}"), "{steps}");
}

#[track_caller]
fn takes(steps: &str, count: usize) {
    let case = Case::parse("f.stomp", &format!("{FRONT}{steps}")).unwrap();
    assert_eq!(case.lines.len(), count, "{steps}");
}

#[test]
fn steps() {
    takes("A connect", 1);
    takes("A connect heart-beat:0,0 -host # a comment\n\n# another\nadvance 10s\nrestart\n", 3);
    takes("A > SEND destination:/a.# h:\"b \\\" # c\" \"body\"", 1);
    takes("A raw \"a|b\\|c\" \"x\"*{limit} \"^@\"\nA raw-binary \"\\xff\"", 2);
    takes("any-order {\nA < RECEIPT\nB < MESSAGE \"x\"\n}\nA drop", 2);
    takes("A < ERROR message:/a{2}/ then closed 1002 /.*bad.*/\nA < closed\nA < nothing 300ms\nA < nothing", 4);
    takes("A packet text unfinished unmasked \"x\"\nA < pong \"x\"\nA close 1000\nA < beat within 2s", 4);
    takes("A open deflate:true\nA packet text deflated \"x\"\nA packet text marked \"x\"\nA < ping", 4);
    takes("A < beat alone\nA < beat alone within 2s\nA < until ERROR code:x \"y\" then closed 4500", 3);
}

#[test]
fn wrong_steps_are_named_by_line() {
    refuses("A connect\nA jump", "9: an actor cannot `jump`");
    refuses("a connect", "8: `a` is neither a step nor an actor (actors begin with a capital)");
    refuses("A > SEND a:b \"x", "8: a quoted string is not closed");
    refuses("A > SEND a:{B}", "8: `{B}`: `{` begins no placeholder; write `\\{` for the character");
    refuses("A > SEND \"x\" a:b", "8: left over at the end of the line: `a:b`");
    refuses("A < message", "8: `message` is no frame and no other thing to expect");
    refuses("A < MESSAGE a:/(/", "8: the expression /(/ is wrong: found open group without closing ')'");
    refuses("A < ERROR then gone", "8: expected `then closed`, found `then gone`");
    refuses("A < beat lone", "8: expected `alone` or `within`, found `lone`");
    refuses("A < until message", "8: `message` is no frame and no other thing to expect");
    refuses("A packet text inflated", "8: a packet cannot be `inflated`");
    refuses("A raw", "8: raw needs bytes in quotes");
    refuses("A raw \"\\q\"", "8: `\\q` is no escape of a transcript");
    refuses("any-order {\nA < RECEIPT", "8: `any-order {` is never closed");
    refuses("any-order {\nA drop\n}", "9: any-order takes only lines that expect a frame");
    refuses("}", "8: `}` closes nothing");
    refuses("", "1: the transcript has no steps");
}

#[test]
fn wrong_front_matter_is_named_by_line() {
    let parse = |text: &str| Case::parse("f.stomp", text).unwrap_err();
    assert_eq!(parse("A connect").line, 1);
    assert_eq!(parse("+++\nid = \"x\"\n").wrong, "the front matter has no closing `+++`");
    let unknown = parse(&FRONT.replace("says = \"s\"", "says = \"s\"\nsay = \"t\""));
    assert_eq!(unknown.line, 5);
    assert!(unknown.wrong.contains("unknown field `say`"), "{unknown}");
    let level = parse(&FRONT.replace("MUST", "must"));
    assert_eq!(level.line, 5);
}

#[test]
fn every_case_can_be_read() {
    let cases = transcript::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol-tests/cases")).unwrap();
    assert!(cases.len() > 200, "{}", cases.len());
    assert!(cases.iter().all(|case| !case.front.says.is_empty() && !case.front.spec.is_empty()));
}
