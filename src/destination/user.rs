//! User destinations: every session means its own stream by what it subscribes to, and a SEND names whose it means (P1 to
//! P4).
//!
//! A stream has a *key*, which is what is routed by. It is made of the prefix, a name and the rest of the destination, and
//! the first two are spelled so that no character of them can end them or be a wildcard: a pattern in the rest cannot take
//! another name's streams. Keys are no destinations. Nothing that a client writes is ever compared with one.

use std::borrow::Cow;

use bytestring::ByteString;

use super::{Destination, Pattern, PatternError, Space};

/// How a name spells the only character that it cannot have in a destination. Nothing else is decoded, so that each name has
/// one spelling.
const SLASH: &str = "%2F";

/// What a SEND to a user destination names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressee<'t> {
    /// Whom: a user's name or a session's.
    pub name: Cow<'t, str>,
    /// What of theirs: the destination without prefix and name.
    pub rest: &'t str,
}

/// What a subscription to a user destination takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnStream {
    /// The keys of what is sent to its session alone.
    pub by_session: Pattern,
    /// The keys of what is sent to its user, where it has one.
    pub by_user: Option<Pattern>,
}

impl Space {
    /// What a SEND to this user destination names: `/user/{name}/...`, where `%2F` in the name stands for `/`. None if there
    /// is no name or nothing behind it.
    pub fn addressee<'t>(&self, text: &'t str) -> Option<Addressee<'t>> {
        let behind = self.rest_of(text)?.strip_prefix('/')?;
        let (name, rest) = behind.split_at_checked(behind.find('/')?)?;
        let name = if name.contains(SLASH) { Cow::Owned(name.replace(SLASH, "/")) } else { Cow::Borrowed(name) };
        (!name.is_empty() && rest.len() > 1).then_some(Addressee { name, rest })
    }

    /// The keys that a SUBSCRIBE to this user destination takes, by a session of this name and of this user. None if nothing
    /// is behind the prefix.
    pub fn own_stream(&self, text: &str, session: &str, user: Option<&str>) -> Result<Option<OwnStream>, PatternError> {
        let Some(rest) = self.rest_of(text).filter(|rest| rest.len() > 1) else {
            return Ok(None);
        };
        let pattern = |name| self.pattern(self.stream_key(name, rest).text().clone());
        Ok(Some(OwnStream { by_session: pattern(session)?, by_user: user.map(pattern).transpose()? }))
    }

    /// The key of one of the streams of this name.
    pub fn stream_key(&self, name: &str, rest: &str) -> Destination {
        let mut key = String::with_capacity(self.prefix.len() + name.len() + rest.len() + 8);
        spell(self.base(), &mut key);
        key.push('/');
        spell(name, &mut key);
        key.push_str(rest);
        Destination::new(key)
    }

    /// What receivers see of the destination that a message was sent to: what they subscribed to.
    pub fn shown(&self, rest: &str) -> Destination {
        Destination::new(ByteString::from(format!("{}{rest}", self.base())))
    }

    /// What is behind the prefix, from the slash on.
    fn rest_of<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.strip_prefix(self.base()).filter(|rest| rest.starts_with('/'))
    }

    fn base(&self) -> &str {
        self.prefix.strip_suffix('/').unwrap_or(&self.prefix)
    }
}

/// Whether a destination can name this user at all.
pub fn is_nameable(user: &str) -> bool {
    !user.is_empty() && !user.contains(SLASH)
}

/// Spells a name so that it is one segment and has no wildcard of any style.
fn spell(name: &str, out: &mut String) {
    for letter in name.chars() {
        match letter {
            '/' => out.push_str("%2F"),
            '%' => out.push_str("%25"),
            '*' => out.push_str("%2A"),
            '?' => out.push_str("%3F"),
            '{' => out.push_str("%7B"),
            '#' => out.push_str("%23"),
            '>' => out.push_str("%3E"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;
    use crate::destination::{Kind, Style};

    fn space(prefix: &'static str, style: Style, separator: char) -> Space {
        Space { prefix: ByteString::from_static(prefix), kind: Kind::User, style, separator }
    }

    fn slashed() -> Space {
        space("/user", Style::Ant, '/')
    }

    #[test]
    fn p2_a_name_is_one_segment_and_has_one_spelling() {
        for (text, expected) in [
            ("/user/bob/queue/x", Some(("bob", "/queue/x"))),
            ("/user/bob/x", Some(("bob", "/x"))),
            ("/user/bob//x", Some(("bob", "//x"))),
            ("/user/a%2Fb/queue/x", Some(("a/b", "/queue/x"))),
            ("/user/a%2fb/queue/x", Some(("a%2fb", "/queue/x"))),
            ("/user/%62ob/queue/x", Some(("%62ob", "/queue/x"))),
            ("/user/a%252Fb/queue/x", Some(("a%252Fb", "/queue/x"))),
            ("/user/../bob/queue/x", Some(("..", "/bob/queue/x"))),
            ("/user/*/queue/x", Some(("*", "/queue/x"))),
            ("/user", None),
            ("/user/", None),
            ("/user//queue/x", None),
            ("/user/bob", None),
            ("/user/bob/", None),
        ] {
            let space = slashed();
            let found = space.addressee(text);
            let found = found.as_ref().map(|addressee| (&*addressee.name, addressee.rest));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_prefix_that_ends_with_a_slash_is_the_same() {
        let addressee = Addressee { name: "bob".into(), rest: "/x" };
        assert_eq!(space("/user/", Style::Ant, '/').addressee("/user/bob/x"), Some(addressee));
        assert_eq!(space("/user/", Style::Ant, '/').shown("/x").as_str(), "/user/x");
    }

    /// Whether what `subscriber` gets by subscribing to `text` takes what is sent to `name`.
    fn takes(space: &Space, subscriber: &str, text: &str, name: &str, rest: &str) -> bool {
        let stream = space.own_stream(text, "1-0-1", Some(subscriber)).expect("a pattern").expect("a stream");
        stream.by_user.expect("it has a user").matches(&space.stream_key(name, rest))
    }

    #[test]
    fn p4_no_pattern_takes_the_stream_of_another_name() {
        let names = ["bob", "*", "**", "#", ">", "{x}", "b?b", "", ".", "..", "%", "%2F", "/", "a/b", "bob.x", "bo"];
        let rests = ["/queue/x", "/queue.x", "/bob/queue/x", "//queue/x", "/.", "/%2Fbob/x", "/*"];
        let texts = [
            "/user/**",
            "/user/*/**",
            "/user/#",
            "/user/>",
            "/user/*",
            "/user/*/queue/x",
            "/user/../bob/queue/x",
            "/user//bob/queue/x",
            "/user/bob/queue/x",
            "/user/{n}/queue/x",
            "/user/*.*",
            "/user/%2Fbob/queue/x",
        ];
        let styles =
            [(Style::Ant, '/'), (Style::Amqp, '.'), (Style::Activemq, '.'), (Style::Amqp, '/'), (Style::Ant, 'b')];
        for (style, separator) in styles {
            let space = space("/user", style, separator);
            for (subscriber, name) in names.iter().flat_map(|one| names.iter().map(move |other| (*one, *other))) {
                for (text, rest) in texts.iter().flat_map(|text| rests.iter().map(move |rest| (*text, *rest))) {
                    let takes = takes(&space, subscriber, text, name, rest);
                    assert!(!takes || subscriber == name, "{subscriber:?} by {text} takes {rest} of {name:?}");
                }
            }
            let everything = if style == Style::Ant { "/user/**" } else { "/user/#" };
            let is_own = takes(&space, "a*b", everything, "a*b", "/queue/x");
            assert!(is_own || style == Style::Activemq, "{style:?} does not take its own");
        }
    }

    #[test]
    fn streams_under_different_prefixes_differ() {
        let (user, me) = (space("/a", Style::Ant, '/'), space("/a/b", Style::Ant, '/'));
        assert_ne!(user.stream_key("b", "/c/x"), me.stream_key("c", "/x"));
        assert_ne!(user.stream_key("b/c", "/x"), user.stream_key("b", "/c/x"));
    }

    #[test]
    fn p1_a_stream_has_something_behind_the_prefix() {
        for (text, is_one) in [("/user/x", true), ("/user//", true), ("/user/", false), ("/user", false)] {
            let stream = slashed().own_stream(text, "1-0-1", None).expect("a pattern");
            assert_eq!(stream.is_some(), is_one, "{text}");
        }
    }
}
