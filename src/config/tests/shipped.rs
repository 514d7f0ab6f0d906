//! What lies in the repository: `config.toml`, the profiles, and the keys that the rest of the program names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;
use crate::app::hook;
use crate::config::{Options, Profile};

/// Lists that are empty by default, and the first key of each of their rows.
const LISTS: [(&str, &str); 8] = [
    ("topics.policy", "pattern"),
    ("queues.policy", "pattern"),
    ("app.route", "from"),
    ("app.on_connect", "to"),
    ("app.on_disconnect", "to"),
    ("app.hook", "name"),
    ("app.worker", "destinations"),
    ("relay", "login"),
];

const CONFIG: &str = include_str!("../../../config.toml");

/// `config.toml` with the settings that are commented out because a profile has them: lines such as `#key = value`.
fn with_all_settings() -> String {
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => setting.to_owned(),
        _ => line.to_owned(),
    };
    CONFIG.lines().map(uncomment).collect::<Vec<String>>().join("\n")
}

fn assert_defaults(text: &str) {
    let options = load_file(text).unwrap_or_else(|errors| panic!("{errors}")).options;
    assert_eq!(format!("{options:#?}"), format!("{:#?}", Options::default()));
}

#[test]
fn config_toml_is_the_defaults() {
    assert_defaults("");
    assert_defaults(CONFIG);
    assert_defaults(&with_all_settings());
}

#[test]
fn config_toml_has_every_key() {
    let printed = load_file(&with_all_settings()).unwrap().effective.to_string();
    let missing: Vec<&str> =
        printed.lines().filter(|line| line.ends_with("# default") && !line.contains(" = []  ")).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    // The lists that are empty by default are there as examples.
    for (list, first) in LISTS {
        assert!(CONFIG.contains(&format!("#   [[{list}]]\n#   {first} = ")), "{list}");
    }
}

/// Of hooks there is none, and so their example has every key, with its default.
#[test]
fn config_toml_has_every_key_of_a_hook() {
    let example: Vec<&str> = CONFIG
        .lines()
        .skip_while(|line| *line != "#   [[app.hook]]")
        .map_while(|line| line.strip_prefix("#   "))
        .collect();
    let printed = load_file(&example.join("\n").replace("events = []", "events = \"connected\"")).unwrap();
    let text = printed.effective.to_string();
    for header in ["[[app.hook]]", "[app.hook.breaker]"] {
        let section: Vec<&str> =
            text.lines().skip_while(|line| *line != header).skip(1).take_while(|line| !line.is_empty()).collect();
        let missing: Vec<&&str> = section.iter().filter(|line| line.ends_with("# default")).collect();
        assert!(!section.is_empty() && missing.is_empty(), "{header}: {missing:#?}");
    }
    let row = &printed.options.server.worker.app.hooks[0];
    let default = hook::Options::new(row.name.clone(), row.url.clone());
    assert_eq!(*row, hook::Options { events: vec![hook::Event::Connected], ..default });
    for line in example.iter().filter(|line| line.contains(" = ")) {
        assert!(line.contains("  # "), "{line} has no meaning");
    }
}

#[test]
fn config_toml_says_the_meaning_and_the_default_of_every_key() {
    let text = with_all_settings();
    let defaults: Vec<(String, String)> =
        load_file("").unwrap().effective.settings().map(|(key, value)| (key, value.to_owned())).collect();
    let mut section = String::new();
    let mut explained = BTreeSet::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_matches(['[', ']']).to_owned();
        } else if let Some(words) = line.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        } else if let Some((name, _)) = line.split_once(" = ") {
            let key = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
            if explained.insert(key.clone()) {
                let path = key.replace("destinations.", "destinations[0].");
                let (_, default) = defaults.iter().find(|(known, _)| *known == path).unwrap();
                assert_eq!(comment.last(), Some(&format!("Default: {default}").as_str()), "{key}");
                assert!(comment.len() > 1, "{key} has no meaning");
            }
        }
        comment.clear();
    }
    assert!(explained.len() > 60, "only {} keys", explained.len());
}

/// The block of settings in the documentation that stands under the heading of a profile.
fn documented(name: &str) -> String {
    let page = include_str!("../../../docs/configuration.md");
    let (_, section) = page.split_once(&format!("\n### `{name}`\n")).unwrap();
    let (_, block) = section.split_once("```toml\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn a_profile_is_exactly_what_the_documentation_lists() {
    for (name, profile) in [("spring", Profile::Spring), ("rabbitmq", Profile::Rabbitmq)] {
        let listed = load_file(&documented(name)).unwrap_or_else(|errors| panic!("{errors}"));
        let applied = load_file(&format!("profile = \"{name}\"")).unwrap();
        assert_eq!(applied.options.profile, profile);
        let settings = |loaded: &Loaded| -> Vec<(String, String)> {
            let all = loaded.effective.settings().map(|(key, value)| (key, value.to_owned()));
            all.filter(|(key, _)| key != "profile").collect()
        };
        assert_eq!(settings(&listed), settings(&applied), "{name}");
        // And the other way round: each line of the list is one that the profile sets.
        let from = |loaded: &Loaded, origin: &str| -> Vec<String> {
            let printed = loaded.effective.to_string();
            let lines = printed.lines().filter_map(|line| line.split_once("  # "));
            lines.filter(|(_, said)| said.starts_with(origin)).map(|(setting, _)| setting.trim().to_owned()).collect()
        };
        let set = from(&applied, "profile ");
        assert_eq!(from(&listed, "gumboot.toml:"), set, "{name}");
        assert!(set.len() > 9, "{name} sets only {set:?}");
    }
}

#[test]
fn a_profile_works_in_the_shipped_file() {
    for name in ["spring", "rabbitmq"] {
        let text = CONFIG.replace("profile = \"default\"", &format!("profile = \"{name}\""));
        let profile = load_file(&format!("profile = \"{name}\"")).unwrap();
        assert_eq!(format!("{:?}", load_file(&text).unwrap().options), format!("{:?}", profile.options));
    }
}

/// X4: neither `gumboot config` nor an error shows the passcode of a relay.
#[test]
fn secrets_are_not_shown() {
    let relay = |passcode: &str| format!("[[relay]]\nlogin = \"bus\"\npasscode = {passcode}");
    let loaded = load_file(&relay("\"unspeakable\"")).unwrap();
    let printed = loaded.effective.to_string();
    assert!(printed.contains("login = \"bus\"") && printed.contains("passcode = \"********\""), "{printed}");
    assert!(!printed.contains("unspeakable"));
    assert!(!format!("{:?}", loaded.options).contains("unspeakable"));
    assert_eq!(loaded.options.server.worker.tcp_session.relays.len(), 1);
    assert_eq!(loaded.options.server.worker.session.relays.len(), 0, "over TCP alone");
    let errors = load_file(&relay("314159265")).unwrap_err().to_string();
    assert!(errors.contains("`relay[0].passcode`: expected text in quotes"), "{errors}");
    assert!(!errors.contains("314159265"), "{errors}");
}

/// G5: an error names the key of the limit. What the program names must be what the configuration knows.
#[test]
fn every_key_that_the_program_names_exists() {
    let topic = "[[topics.policy]]\npattern = \"/topic/a\"\nwhen_slow = \"disconnect\"";
    let queue = "[[queues.policy]]\npattern = \"/queue/a\"";
    let hook = "[[app.hook]]
name = \"a\"
url = \"http://localhost/\"
events = \"connected\"";
    let relay = "[[relay]]
login = \"a\"
passcode = \"b\"";
    let loaded = load_file(&[topic, queue, hook, relay].join(
        "
",
    ))
    .unwrap();
    // The key of a policy is named without saying which of the policies.
    let known: BTreeSet<String> = loaded.effective.settings().map(|(key, _)| key.replace("[0]", "")).collect();
    let sections: BTreeSet<&str> = known.iter().filter_map(|key| key.split_once('.')).map(|(name, _)| name).collect();
    let (mut named, mut unknown) = (0, Vec::new());
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("config") && !path.ends_with("tests") {
                    folders.push(path);
                }
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for key in text.split(['`', '"']).filter(|words| is_key(words, &sections)) {
                named += 1;
                if !known.contains(key) {
                    unknown.push(format!("{}: {key}", path.display()));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(named > 30, "only {named} keys are named");
}

fn is_key(words: &str, sections: &BTreeSet<&str>) -> bool {
    words.bytes().all(|byte| byte.is_ascii_lowercase() || b"_.".contains(&byte))
        && words.split_once('.').is_some_and(|(section, _)| sections.contains(section))
}
