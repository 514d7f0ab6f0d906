//! Configurations: whatever the file, the environment and the command line say, there is an answer; errors point into the
//! file; and a configuration that is right survives being printed and read again.

use gumboot::config::{Source, Sources, load};

/// A NUL divides the file, an environment variable's name, its text, and the arguments of `--set`.
pub fn target(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0);
    let file = Source::new("fuzz.toml", parts.next().unwrap_or_default());
    let mut texts = parts.map(|part| String::from_utf8_lossy(part).into_owned());
    let environment = match (texts.next(), texts.next()) {
        (Some(name), Some(text)) => vec![(format!("GUMBOOT__{name}").into(), text.into())],
        _ => Vec::new(),
    };
    let text = file.text().to_owned();
    match load(Sources { file: Some(file), environment, arguments: texts.collect() }) {
        Ok(loaded) => {
            let printed = loaded.effective.to_string();
            let again = load(Sources { file: Some(Source::new("again.toml", printed)), ..Sources::default() });
            let again = again.unwrap_or_else(|errors| panic!("what was printed cannot be read:\n{errors}"));
            assert_eq!(format!("{:?}", again.options), format!("{:?}", loaded.options));
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.to_string().starts_with("error: "));
            let lines: Vec<&str> = text.split('\n').collect();
            for (line, column) in errors.positions() {
                let width = lines.get(line - 1).map(|line| line.chars().count());
                let inside = width.is_some_and(|width| (1..=width + 1).contains(&column));
                assert!(inside, "{line}:{column} is not in the file");
            }
        }
    }
}
