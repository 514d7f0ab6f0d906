//! What people read when something is wrong: exactly. The cases lie in `errors.txt`: a title, the input, the errors.
//!
//! Input lines that begin with `$ ` are not part of the file: `$ NAME=text` is an environment variable, and
//! `$ --set key=value` an argument.

use super::*;

#[test]
fn errors_read_as_they_should() {
    let cases = include_str!("errors.txt").split("\n=== ").skip(1);
    let mut count = 0;
    for case in cases {
        let (title, rest) = case.split_once('\n').unwrap();
        let (input, expected) = rest.split_once("\n---\n").unwrap();
        let shown = errors_of(input);
        assert_eq!(shown.trim_end(), expected.trim_end(), "\ncase: {title}\n{shown}");
        count += 1;
    }
    assert!(count > 25, "only {count} cases");
}

fn errors_of(input: &str) -> String {
    let (outside, file): (Vec<&str>, Vec<&str>) = input.lines().partition(|line| line.starts_with("$ "));
    let outside = outside.into_iter().filter_map(|line| line.strip_prefix("$ "));
    let (arguments, variables): (Vec<&str>, Vec<&str>) = outside.partition(|line| line.starts_with("--set "));
    let arguments: Vec<&str> = arguments.into_iter().filter_map(|line| line.strip_prefix("--set ")).collect();
    let variables: Vec<(&str, &str)> = variables.into_iter().filter_map(|line| line.split_once('=')).collect();
    match load_layers(&file.join("\n"), &variables, &arguments) {
        Ok(_) => "no error".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn bytes_that_are_no_text_are_placed() {
    let source = Source::new("gumboot.toml", b"a = 1\nb = \"\xff\"\n".to_vec());
    let errors = load(Sources { file: Some(source), ..Sources::default() }).unwrap_err();
    assert_eq!(errors.positions().collect::<Vec<(usize, usize)>>(), [(2, 6)]);
    assert!(errors.to_string().starts_with("error: not TOML: the file is not UTF-8 from here on\n"), "{errors}");
}

#[test]
fn variables_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    let environment = vec![(OsString::from("GUMBOOT__LOG__LEVEL"), OsString::from_vec(vec![0xff]))];
    let errors = load(Sources { environment, ..Sources::default() }).unwrap_err();
    assert!(errors.to_string().starts_with("error: the variable's text is not UTF-8\n"), "{errors}");
}

#[test]
fn files_that_are_no_configurations_end_soon() {
    let huge = "x".repeat(2 << 20);
    assert!(load_file(&huge).unwrap_err().to_string().contains("larger than 1 MiB"));
    let many = load_file(&"no\n".repeat(50_000)).unwrap_err();
    assert!(many.len() >= 50_000 && many.to_string().lines().count() < 1000);
    let deep = "[".repeat(100_000);
    assert!(!load_file(&format!("a = {deep}")).unwrap_err().is_empty());
    assert!(!load_layers("", &[], &[&format!("{}=1", "a.".repeat(100_000))]).unwrap_err().is_empty());
}
