//! Keys about HTTP hooks: which applications are asked, and how.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::effective::Setting;
use super::section::{Findings, Section};
use crate::app::hook::signature::Secret;
use crate::app::hook::{Endpoint, Event, Mode, Options, SecretSource, backoff, breaker};
use crate::app::{WhenLate, read_address};
use crate::destination::Spaces;

const EVENTS: [(&str, Event); 4] = [
    ("connected", Event::Connected),
    ("disconnected", Event::Disconnected),
    ("subscribed", Event::Subscribed),
    ("unsubscribed", Event::Unsubscribed),
];
const MODES: [(&str, Mode); 2] = [("json", Mode::Json), ("raw", Mode::Raw)];
const WHEN_LATE: [(&str, WhenLate); 2] = [("refuse", WhenLate::Refuse), ("ignore", WhenLate::Ignore)];

const DESTINATION: &str = r#"a pattern under a prefix of kind "application", such as "/app/chat/{room}""#;
const NAME: &str = r#"a name of letters, digits, "-", "_" and ".""#;
const URL: &str = r#"a URL such as "https://example.com/hook", without user, password and fragment"#;

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

/// Times of a call: from what a machine beside ours needs to what nobody waits for.
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);

/// Reads all of them.
pub(super) fn read(section: &mut Section<'_>, hooks: &mut Vec<Options>, spaces: &Spaces) {
    section.rows("hook", hooks, |_| Vec::new(), |row| read_hook(row, spaces));
}

/// What is right by itself, but not together.
pub(super) fn check(hooks: &[Options], findings: &mut Findings) {
    let is_row = |setting: &&Setting| setting.section.starts_with("app.hook[") && setting.name == "url";
    if findings.settings.iter().filter(is_row).count() != hooks.len() {
        // Some row is wrong by itself, so it is not certain which is which.
        return;
    }
    for (index, hook) in hooks.iter().enumerate() {
        let key = |name: &str| format!("app.hook[{index}].{name}");
        if let Some(other) = hooks.iter().take(index).position(|earlier| earlier.name == hook.name) {
            let message = format!("`{}` and `app.hook[{other}].name` are the same", key("name"));
            let help = "metrics and logs tell hooks apart by their names";
            findings.contradict(&[&key("name")], message, Some(help.to_owned()));
        }
        if hook.destinations.is_empty() && hook.events.is_empty() {
            let message = format!("`app.hook[{index}]` is told nothing: it has neither destinations nor events");
            let help = r#"add what it takes, such as destinations = ["/app/chat/{room}"]"#;
            findings.contradict(&[&key("name")], message, Some(help.to_owned()));
        }
        if hook.backoff.delay > hook.backoff.delay_max {
            let (delay, longest) = (key("retry_delay"), key("retry_delay_max"));
            let value = |key: &str| findings.value(key).to_owned();
            let message =
                format!("`{delay}` is {}, which is more than `{longest}`, {}", value(&delay), value(&longest));
            findings.contradict(&[&delay, &longest], message, None);
        }
        if hook.ca_file.is_some() && hook.url.to_string().starts_with("http:") {
            let message = format!("`{}` has no meaning, because `{}` is without TLS", key("ca_file"), key("url"));
            findings.contradict(&[&key("ca_file"), &key("url")], message, Some("begin the URL with https:".to_owned()));
        }
    }
}

fn read_hook(row: &mut Section<'_>, spaces: &Spaces) -> Option<Options> {
    let complete = row.requires("name") & row.requires("url");
    let mut name = String::new();
    row.text("name", &mut name, NAME, parse_name, String::clone);
    let mut url: Option<Endpoint> = None;
    let parse = |text: &str| Endpoint::parse(text).ok().map(Some);
    row.text("url", &mut url, URL, parse, |url| url.as_ref().map_or_else(String::new, Endpoint::to_string));
    // What is said of a hook is read even where it goes nowhere, so that all that is wrong is found.
    let is_real = complete && url.is_some() && !name.is_empty();
    let mut hook = Options::new(name, url.or_else(|| Endpoint::parse("http://localhost/").ok())?);
    let parse = |text: &str| read_address(text, spaces).ok().map(|_| text.to_owned());
    row.texts("destinations", &mut hook.destinations, DESTINATION, parse, String::clone);
    row.choices("events", &mut hook.events, &EVENTS);
    row.choice("mode", &mut hook.mode, &MODES);
    read_secrets(row, &mut hook.secrets);
    row.duration("timeout", &mut hook.timeout, TIMES);
    row.choice("when_late", &mut hook.when_late, &WHEN_LATE);
    read_backoff(row, &mut hook.backoff);
    row.section("breaker", |section| read_breaker(section, &mut hook.breaker));
    row.count("concurrency", &mut hook.concurrency, 1..=100_000);
    row.duration("connect_timeout", &mut hook.connect_timeout, TIMES);
    row.duration("keep_idle", &mut hook.keep_idle, Duration::ZERO..=*TIMES.end());
    row.count("max_idle", &mut hook.max_idle, 0..=100_000);
    row.size("max_answer_bytes", &mut hook.max_answer_bytes, 0..=GIB);
    row.size("max_header_bytes", &mut hook.max_header_bytes, KIB..=GIB);
    let parse = |text: &str| Some((!text.is_empty()).then(|| PathBuf::from(text)));
    let write = |file: &Option<PathBuf>| file.as_deref().map_or_else(String::new, write_path);
    row.text("ca_file", &mut hook.ca_file, r#"a file, or "" for what the system trusts"#, parse, write);
    is_real.then_some(hook)
}

/// It stands in headers, in metrics and in logs.
fn parse_name(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (!text.is_empty() && text.len() <= 100 && text.bytes().all(is_plain)).then(|| text.to_owned())
}

/// The secrets of all three keys together. Those that are written here are not shown again.
fn read_secrets(row: &mut Section<'_>, secrets: &mut Vec<SecretSource>) {
    let (mut given, mut files, mut variables) = (Vec::new(), Vec::new(), Vec::new());
    let parse = |text: &str| (!text.is_empty()).then(|| Secret::new(text));
    row.texts("secret", &mut given, "a secret of at least one letter", parse, |_| "(secret)".to_owned());
    let parse = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    row.texts("secret_file", &mut files, "a file", parse, |file| write_path(file));
    let parse = |text: &str| (!text.is_empty() && !text.contains(['=', '\0'])).then(|| text.to_owned());
    row.texts("secret_env", &mut variables, "the name of an environment variable", parse, String::clone);
    secrets.extend(given.into_iter().map(SecretSource::Given));
    secrets.extend(files.into_iter().map(SecretSource::File));
    secrets.extend(variables.into_iter().map(SecretSource::Environment));
}

fn read_backoff(row: &mut Section<'_>, backoff: &mut backoff::Options) {
    row.count("retries", &mut backoff.retries, 0..=100);
    row.duration("retry_delay", &mut backoff.delay, TIMES);
    row.duration("retry_delay_max", &mut backoff.delay_max, TIMES);
    row.flag("idempotent", &mut backoff.idempotent);
}

fn read_breaker(section: &mut Section<'_>, breaker: &mut breaker::Options) {
    section.count("failures", &mut breaker.failures, 0..=1_000_000);
    section.duration("pause", &mut breaker.pause, TIMES);
    section.count("probes", &mut breaker.probes, 1..=1_000_000);
}

fn write_path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
