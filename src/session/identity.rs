//! Who a client is, as far as its CONNECT says.

use std::fmt;

use super::Options;
use super::fault::{Fault, Limit, Violation};
use crate::destination::is_nameable;
use crate::message::SessionId;
use crate::stomp::Connect;

/// A back-end that relays the messages of many users over its connections, and is to live on when the broker refuses one
/// user's SUBSCRIBE or SEND (X4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Its `login`.
    pub login: String,
    /// Its `passcode`.
    pub passcode: Secret,
}

/// Text that no log and no error shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// What is known of a client from its CONNECT on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// The name that user destinations reach it by (P2).
    pub(super) user: Option<Box<str>>,
    /// Whether it relays for others.
    pub(super) is_relay: bool,
}

impl Secret {
    /// Keeps this text.
    pub fn new(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    /// Whether it is this text. The time says nothing about where the two differ.
    pub(super) fn is(&self, text: &str) -> bool {
        let differences = self.0.bytes().zip(text.bytes()).fold(0, |all, (ours, theirs)| all | (ours ^ theirs));
        self.0.len() == text.len() && std::hint::black_box(differences) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Identity {
    /// Who sends this CONNECT. Whoever has the login of a relay or of a worker must have its passcode too.
    pub(super) fn of(connect: &Connect, options: &Options) -> Result<Identity, Fault> {
        let login = connect.login.as_deref().unwrap_or_default();
        let passcode = connect.passcode.as_deref().unwrap_or_default();
        let relays = options.relays.iter().map(|relay| (&relay.login, &relay.passcode, true));
        let workers = options.work_rights.iter().filter_map(|right| right.login.as_ref());
        let workers = workers.map(|(login, passcode)| (login, passcode, false));
        let mut known = relays.chain(workers).filter(|(name, ..)| **name == login).peekable();
        if known.peek().is_some() {
            match known.find(|(_, expected, _)| expected.is(passcode)) {
                None => return Err(Violation::WrongPasscode.into()),
                Some((.., true)) => return Ok(Identity { user: None, is_relay: true }),
                Some((.., false)) => {}
            }
        }
        // Some clients send an empty login where their user gave none.
        if !options.trust_login || login.is_empty() {
            return Ok(Identity::default());
        }
        check_name(login, options)?;
        Ok(Identity { user: Some(login.into()), is_relay: false })
    }
}

/// A user's name can be shown as it is, can be written in a destination, and is not what a session could be called: whoever
/// took such a name would get what is sent to that session alone (P3).
fn check_name(name: &str, options: &Options) -> Result<(), Fault> {
    if name.len() > options.max_user_bytes {
        return Err(Limit::UserBytes(options.max_user_bytes).into());
    }
    let is_fine = !name.chars().any(char::is_control) && is_nameable(name) && SessionId::parse_name(name).is_none();
    if is_fine { Ok(()) } else { Err(Violation::BadUserName(name.into()).into()) }
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;

    use super::*;
    use crate::headers::Headers;
    use crate::session::WorkRight;
    use crate::stomp::HeartBeat;

    fn check(options: &Options, headers: &[(&str, &str)], expected: Result<(Option<&str>, bool), &str>) {
        let find = |name| headers.iter().find(|(each, _)| *each == name).map(|(_, value)| ByteString::from(*value));
        let connect = Connect {
            version: None,
            host: None,
            login: find("login"),
            passcode: find("passcode"),
            heart_beat: HeartBeat::default(),
            headers: Headers::default(),
        };
        let found = Identity::of(&connect, options);
        let found = found.as_ref().map(|found| (found.user.as_deref(), found.is_relay)).map_err(Fault::code);
        assert_eq!(found, expected, "{connect:?}");
    }

    #[test]
    fn names_are_taken_only_where_they_are_trusted() {
        let (wary, trusting) = (Options::default(), Options { trust_login: true, ..Options::default() });
        check(&wary, &[("login", "bob")], Ok((None, false)));
        check(&wary, &[("login", "00000001-0-1")], Ok((None, false)));
        check(&trusting, &[], Ok((None, false)));
        check(&trusting, &[("login", "")], Ok((None, false)));
        for name in ["bob", "a/b", "bob@example.com", "*", "100%", "%2f", "Zoë", "1-0-1", ".."] {
            check(&trusting, &[("login", name)], Ok((Some(name), false)));
        }
        for name in ["a%2Fb", "%2F", "a\nb", "\u{7f}", "00000001-0-1", "ffffffff-a-1f"] {
            check(&trusting, &[("login", name)], Err("bad-user-name"));
        }
        let limit = trusting.max_user_bytes;
        check(&trusting, &[("login", &"x".repeat(limit))], Ok((Some(&"x".repeat(limit)), false)));
        check(&trusting, &[("login", &"x".repeat(limit + 1))], Err("user-name-too-long"));
    }

    #[test]
    fn x4_relay_rights_need_login_and_passcode() {
        let relay = |login: &str, passcode: &str| Relay { login: login.into(), passcode: Secret::new(passcode) };
        let relays = vec![relay("guest", "one"), relay("guest", "other"), relay("bus", "")];
        let options = Options { relays, trust_login: true, ..Options::default() };
        check(&options, &[("login", "guest"), ("passcode", "one")], Ok((None, true)));
        check(&options, &[("login", "guest"), ("passcode", "other")], Ok((None, true)));
        check(&options, &[("login", "bus")], Ok((None, true)));
        for passcode in ["", "on", "ones", "One", "ne"] {
            check(&options, &[("login", "guest"), ("passcode", passcode)], Err("wrong-passcode"));
        }
        check(&options, &[("login", "bob"), ("passcode", "one")], Ok((Some("bob"), false)));
        check(&options, &[("passcode", "one")], Ok((None, false)));
    }

    #[test]
    fn a_workers_login_is_no_one_elses() {
        let right = |login: Option<(&str, &str)>| WorkRight {
            destinations: vec!["/app/jobs".into()],
            login: login.map(|(login, passcode)| (login.to_owned(), Secret::new(passcode))),
        };
        let relays = vec![Relay { login: "both".into(), passcode: Secret::new("relay") }];
        let work_rights = vec![right(None), right(Some(("worker", "one"))), right(Some(("both", "work")))];
        let wary = Options { relays, work_rights, ..Options::default() };
        let trusting = Options { trust_login: true, ..wary.clone() };
        check(&wary, &[("login", "worker"), ("passcode", "one")], Ok((None, false)));
        check(&trusting, &[("login", "worker"), ("passcode", "one")], Ok((Some("worker"), false)));
        check(&trusting, &[("login", "both"), ("passcode", "work")], Ok((Some("both"), false)));
        check(&trusting, &[("login", "both"), ("passcode", "relay")], Ok((None, true)));
        for options in [&wary, &trusting] {
            check(options, &[("login", "worker")], Err("wrong-passcode"));
            check(options, &[("login", "worker"), ("passcode", "two")], Err("wrong-passcode"));
            check(options, &[("login", "both"), ("passcode", "one")], Err("wrong-passcode"));
            check(options, &[], Ok((None, false)));
        }
    }

    #[test]
    fn a_secret_does_not_show() {
        let relay = Relay { login: "bus".into(), passcode: Secret::new("unspeakable") };
        let shown = format!("{:?}", Options { relays: vec![relay], ..Options::default() });
        assert!(shown.contains("bus") && !shown.contains("unspeakable"), "{shown}");
    }
}
