//! Making hooks of their options, when the broker starts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::caller::Hook;
use super::client::Client;
use super::monitor::Monitor;
use super::options::{Event, Options, SecretSource};
use super::signature::Secret;
use crate::app::{Accepts, Entry, Kind};

/// The hooks of a broker.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// What they are called for.
    pub entries: Vec<Entry>,
    /// How each of them does.
    pub monitors: Vec<Monitor>,
}

/// Why a hook cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Two hooks have this name, so nobody could tell them apart.
    #[error("two hooks are called {0:?} (app.hook.name)")]
    SameName(String),
    /// The file with its secret cannot be read.
    #[error("hook {hook:?}: cannot read {} (app.hook.secret_file): {error}", path.display())]
    SecretFile {
        /// The hook's name.
        hook: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The environment variable with its secret is not set, or is no text.
    #[error("hook {hook:?}: the environment variable {variable} is not set (app.hook.secret_env)")]
    SecretVariable {
        /// The hook's name.
        hook: String,
        /// The variable.
        variable: String,
    },
    /// A secret of no letters protects nothing.
    #[error("hook {hook:?}: a secret is empty")]
    EmptySecret {
        /// The hook's name.
        hook: String,
    },
    /// The certificates cannot be read.
    #[error("hook {hook:?}: cannot read certificates from {} (app.hook.ca_file): {error}", path.display())]
    Certificates {
        /// The hook's name.
        hook: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
    /// The system has no certificates that it trusts.
    #[error("hook {hook:?}: the system trusts nobody; name certificates with app.hook.ca_file: {error}")]
    SystemCertificates {
        /// The hook's name.
        hook: String,
        /// What the system says.
        error: io::Error,
    },
    /// TLS does not work in this build.
    #[error("hook {hook:?}: no TLS: {error}")]
    Tls {
        /// The hook's name.
        hook: String,
        /// What the library says.
        error: rustls::Error,
    },
}

impl Hooks {
    /// Makes them all. Nothing is called and no name is looked up yet, but secrets and certificates are read.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(all: &[Options]) -> Result<Hooks, SetupError> {
        let mut hooks = Hooks::default();
        for (index, options) in all.iter().enumerate() {
            if all.iter().take(index).any(|earlier| earlier.name == options.name) {
                return Err(SetupError::SameName(options.name.clone()));
            }
            hooks.add(options)?;
        }
        Ok(hooks)
    }

    /// One entry for each pattern; what is no message comes to the first.
    fn add(&mut self, options: &Options) -> Result<(), SetupError> {
        let hook = Hook::new(options, secrets_of(options)?, Client::new(options)?);
        self.monitors.push(hook.monitor());
        let hook = Arc::new(hook);
        let tells = |events: &[Event]| events.iter().any(|event| options.events.contains(event));
        let mut accepts = Accepts {
            sends: false,
            asks: false,
            sessions: tells(&[Event::Connected, Event::Disconnected]),
            subscriptions: tells(&[Event::Subscribed, Event::Unsubscribed]),
        };
        let mut push = |pattern: &str, accepts: Accepts| {
            self.entries.push(Entry {
                kind: Kind::Hook,
                pattern: pattern.to_owned(),
                accepts,
                time_limit: Some(options.timeout),
                when_late: options.when_late,
                handler: Arc::<Hook>::clone(&hook),
            });
        };
        if options.destinations.is_empty() && accepts != Accepts::default() {
            push("", accepts);
        }
        for pattern in &options.destinations {
            push(pattern, Accepts { sends: true, asks: true, ..std::mem::take(&mut accepts) });
        }
        Ok(())
    }
}

fn secrets_of(options: &Options) -> Result<Vec<Secret>, SetupError> {
    let hook = || options.name.clone();
    let read = |source: &SecretSource| {
        let secret = match source {
            SecretSource::Given(secret) => secret.clone(),
            SecretSource::File(path) => {
                read_secret(path).map_err(|error| SetupError::SecretFile { hook: hook(), path: path.clone(), error })?
            }
            SecretSource::Environment(variable) => std::env::var(variable)
                .map(Secret::new)
                .map_err(|_| SetupError::SecretVariable { hook: hook(), variable: variable.clone() })?,
        };
        if secret.is_empty() { Err(SetupError::EmptySecret { hook: hook() }) } else { Ok(secret) }
    };
    options.secrets.iter().map(read).collect()
}

/// Editors end the last line of a file, which is not meant as part of the secret.
fn read_secret(path: &Path) -> io::Result<Secret> {
    let bytes = std::fs::read(path)?;
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    Ok(Secret::new(bytes.get(..end).unwrap_or_default()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::app::hook::Endpoint;

    fn options(name: &str) -> Options {
        Options::new(name, Endpoint::parse("http://localhost:1/").unwrap())
    }

    /// The pattern of each entry, and for what it is: `s`ends and asks, the `l`ife of sessions, su`b`scriptions.
    #[track_caller]
    fn check(destinations: &[&str], events: &[Event], expected: &[(&str, &str)]) {
        let destinations = destinations.iter().map(|each| each.to_string()).collect();
        let options = Options { destinations, events: events.to_vec(), ..options("a") };
        let hooks = Hooks::new(&[options]).unwrap();
        let letters = |accepts: Accepts| {
            assert_eq!(accepts.sends, accepts.asks);
            let all = [(accepts.sends, 's'), (accepts.sessions, 'l'), (accepts.subscriptions, 'b')];
            all.into_iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect::<String>()
        };
        let found: Vec<(&str, String)> =
            hooks.entries.iter().map(|entry| (entry.pattern.as_str(), letters(entry.accepts))).collect();
        let expected: Vec<(&str, String)> = expected.iter().map(|(pattern, is)| (*pattern, is.to_string())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_event_comes_once() {
        check(&[], &[], &[]);
        check(&["/app/a", "/app/b"], &[], &[("/app/a", "s"), ("/app/b", "s")]);
        check(&["/app/a", "/app/b"], &[Event::Disconnected], &[("/app/a", "sl"), ("/app/b", "s")]);
        check(&[], &[Event::Connected, Event::Unsubscribed], &[("", "lb")]);
    }

    #[test]
    fn secrets_come_from_three_places() {
        let path = std::env::temp_dir().join(format!("gumboot-hook-secret-{}", std::process::id()));
        std::fs::write(&path, "from\na file\r\n\n").unwrap();
        let secrets = vec![
            SecretSource::Given(Secret::new("given")),
            SecretSource::File(path.clone()),
            SecretSource::Environment("CARGO_PKG_NAME".to_owned()),
        ];
        let found = secrets_of(&Options { secrets, ..options("a") });
        std::fs::remove_file(&path).unwrap();
        let expected = ["given", "from\na file", "gumboot"].map(Secret::new);
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn what_cannot_work_is_said_at_the_start() {
        let with = |source: SecretSource| vec![Options { secrets: vec![source], ..options("a") }];
        let https = Options::new("a", Endpoint::parse("https://localhost/").unwrap());
        let nothing = || PathBuf::from("no-such-file");
        for (all, part) in [
            (vec![options("a"), options("b"), options("a")], r#"two hooks are called "a""#),
            (with(SecretSource::File(nothing())), "cannot read no-such-file (app.hook.secret_file)"),
            (with(SecretSource::Environment("NO_SUCH_VARIABLE".to_owned())), "NO_SUCH_VARIABLE is not set"),
            (with(SecretSource::Given(Secret::new(""))), "a secret is empty"),
            (vec![Options { ca_file: Some(nothing()), ..https.clone() }], "(app.hook.ca_file)"),
            (vec![Options { ca_file: Some(PathBuf::from("Cargo.toml")), ..https }], "there is no certificate in it"),
        ] {
            let error = Hooks::new(&all).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
