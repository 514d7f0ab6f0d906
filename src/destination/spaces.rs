//! Which prefix makes a destination what it is.

use bytestring::ByteString;

use super::reserved::is_reserved;
use super::{Destination, Pattern, PatternError, Style};

/// How many prefixes there may be: every SEND and SUBSCRIBE compares with each of them.
pub const MAX_SPACES: usize = 64;

/// What follows the prefix in the full name of a temporary destination, before its owner.
const OWNER: &str = "/@";

/// What follows the prefix in the destination of an answer to an application destination's question.
const ANSWER: &str = "/@answer/";

/// What a destination does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Each subscription gets each message.
    Topic,
    /// One consumer gets each message (Q1).
    Queue,
    /// A queue that belongs to one session and is gone with it: two sessions mean different queues by the same name.
    TemporaryQueue,
    /// A stream of messages that each session has of its own: a SUBSCRIBE means one's own, a SEND names whose (P1, P2).
    User,
    /// A handler of the application gets each message, and subscribers none (A1 to A4).
    Application,
}

/// The destinations under one prefix: one `[[destinations]]` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// What they begin with, up to a segment boundary (U1). The empty prefix takes every destination.
    pub prefix: ByteString,
    /// What they do.
    pub kind: Kind,
    /// How patterns over them are spelled.
    pub style: Style,
    /// What divides their segments in patterns.
    pub separator: char,
}

/// What becomes of a destination under no prefix (U8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// ERROR `unknown-destination`.
    #[default]
    Refuse,
    /// Messages are dropped, counted and logged, as Spring does without the log.
    Drop,
}

/// Why a list of prefixes cannot be used. Whoever wrote the configuration is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpacesError {
    /// The same prefix twice.
    #[error("the prefix {0:?} is there twice")]
    Duplicate(ByteString),
    /// A separator that also is a wildcard.
    #[error("the separator {separator:?} of {prefix:?} is a wildcard of its style")]
    WildcardSeparator {
        /// Which entry.
        prefix: ByteString,
        /// Its separator.
        separator: char,
    },
    /// More than can be searched quickly.
    #[error("there are more than {limit} prefixes")]
    TooMany {
        /// The most there may be.
        limit: usize,
    },
}

/// All configured prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spaces {
    /// The longest prefix first.
    spaces: Vec<Space>,
    unknown: Unknown,
}

impl Spaces {
    /// Checks a list of prefixes; the order does not matter.
    pub fn new(mut spaces: Vec<Space>, unknown: Unknown) -> Result<Spaces, SpacesError> {
        if spaces.len() > MAX_SPACES {
            return Err(SpacesError::TooMany { limit: MAX_SPACES });
        }
        spaces.sort_by(|a, b| b.prefix.len().cmp(&a.prefix.len()).then_with(|| a.prefix.cmp(&b.prefix)));
        for (space, next) in spaces.iter().zip(spaces.iter().skip(1)) {
            if space.prefix == next.prefix {
                return Err(SpacesError::Duplicate(space.prefix.clone()));
            }
        }
        for Space { prefix, style, separator, .. } in &spaces {
            if style.wildcards().contains(separator) {
                return Err(SpacesError::WildcardSeparator { prefix: prefix.clone(), separator: *separator });
            }
        }
        Ok(Spaces { spaces, unknown })
    }

    /// The entry with the longest prefix that takes `destination`; none for the broker's own names.
    pub fn resolve(&self, destination: &str) -> Option<&Space> {
        if is_reserved(destination) {
            return None;
        }
        self.spaces.iter().find(|space| space.takes(destination))
    }

    /// What becomes of a destination for which [`Spaces::resolve`] finds nothing.
    pub fn unknown(&self) -> Unknown {
        self.unknown
    }

    /// All entries, the longest prefix first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Space> {
        self.spaces.iter()
    }
}

/// `/topic`, `/queue`, `/temp-queue`, `/user` and `/app`, with patterns as Spring spells them; anything else is refused.
impl Default for Spaces {
    fn default() -> Spaces {
        let space =
            |prefix, kind| Space { prefix: ByteString::from_static(prefix), kind, style: Style::Ant, separator: '/' };
        let spaces = vec![
            space("/temp-queue", Kind::TemporaryQueue),
            space("/queue", Kind::Queue),
            space("/topic", Kind::Topic),
            space("/user", Kind::User),
            space("/app", Kind::Application),
        ];
        Spaces { spaces, unknown: Unknown::Refuse }
    }
}

impl Space {
    /// Reads a SUBSCRIBE's destination as a pattern in this entry's spelling.
    pub fn pattern(&self, text: impl Into<ByteString>) -> Result<Pattern, PatternError> {
        Pattern::parse(text, self.style, self.separator)
    }

    /// The name by which every session means what `owner` means by `text`, a destination under this entry. A name of that
    /// form stands for itself.
    pub fn full_name(&self, text: &str, owner: &str) -> Destination {
        if self.owner_of(text).is_some() {
            return Destination::new(text.to_owned());
        }
        let rest = text.get(self.prefix.len()..).unwrap_or_default();
        Destination::new(format!("{}{OWNER}{owner}{rest}", self.prefix))
    }

    /// Who the session is that a full name says; none for a name that each session means otherwise.
    pub fn owner_of<'t>(&self, text: &'t str) -> Option<&'t str> {
        let rest = text.strip_prefix(&*self.prefix)?.strip_prefix(OWNER)?;
        let end = rest.find(|letter: char| !letter.is_ascii_hexdigit() && letter != '-').unwrap_or(rest.len());
        rest.get(..end)
    }

    /// Where a worker sends the answer to what the session of this name asked, by what the question is called.
    pub fn answer_to(&self, session: &str, question: &str) -> Destination {
        Destination::new(format!("{}{ANSWER}{session}/{question}", self.prefix))
    }

    /// Whether a destination under this entry is that of an answer.
    pub fn is_answer(&self, text: &str) -> bool {
        text.strip_prefix(&*self.prefix).is_some_and(|rest| rest.starts_with(ANSWER))
    }

    /// The session and the question that a destination answers.
    pub fn answered<'t>(&self, text: &'t str) -> Option<(&'t str, &'t str)> {
        text.strip_prefix(&*self.prefix)?.strip_prefix(ANSWER)?.split_once('/')
    }

    fn takes(&self, destination: &str) -> bool {
        let boundaries = ['/', self.separator];
        match destination.strip_prefix(&*self.prefix) {
            None => false,
            Some("") => true,
            Some(rest) => self.prefix.is_empty() || self.prefix.ends_with(boundaries) || rest.starts_with(boundaries),
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    fn space(prefix: &'static str, separator: char) -> Space {
        Space { prefix: ByteString::from_static(prefix), kind: Kind::Topic, style: Style::Ant, separator }
    }

    fn prefix<'a>(spaces: &'a Spaces, destination: &str) -> Option<&'a str> {
        spaces.resolve(destination).map(|space| &*space.prefix)
    }

    #[test]
    fn u1_matches_on_a_segment_boundary() {
        let spaces = Spaces::default();
        let kind = |destination| spaces.resolve(destination).map(|space| space.kind);
        assert_eq!(kind("/topic/a"), Some(Kind::Topic));
        assert_eq!(kind("/topic"), Some(Kind::Topic));
        assert_eq!(kind("/queue/a/b"), Some(Kind::Queue));
        assert_eq!(kind("/topicX"), None);
        assert_eq!(kind("/Topic/a"), None);
        assert_eq!(kind(""), None);
        assert_eq!(spaces.unknown(), Unknown::Refuse);
    }

    #[test]
    fn the_longest_prefix_wins_in_any_order() {
        let entries = [space("/a", '/'), space("/a/b", '/'), space("jms.", '.'), space("/x/", '/')];
        for turn in 0..entries.len() {
            let mut entries = entries.to_vec();
            entries.rotate_left(turn);
            let spaces = Spaces::new(entries, Unknown::Drop).expect("fine");
            assert_eq!(prefix(&spaces, "/a/b/c"), Some("/a/b"));
            assert_eq!(prefix(&spaces, "/a/bc"), Some("/a"));
            assert_eq!(prefix(&spaces, "jms.x"), Some("jms."));
            assert_eq!(prefix(&spaces, "/x/y"), Some("/x/"));
            assert_eq!(prefix(&spaces, "/x"), None);
        }
    }

    #[test]
    fn an_empty_prefix_takes_the_rest() {
        let spaces = Spaces::new(vec![space("", '/'), space("/a", '/')], Unknown::Refuse).expect("fine");
        assert_eq!(prefix(&spaces, "/a/b"), Some("/a"));
        assert_eq!(prefix(&spaces, "anything"), Some(""));
        assert_eq!(prefix(&spaces, Destination::of_client(None, "a", "b").as_str()), None);
    }

    #[test]
    fn full_names_say_the_owner() {
        let spaces = Spaces::default();
        let space = spaces.resolve("/temp-queue/x").expect("it is configured");
        for (text, full, owner) in [
            ("/temp-queue/x", "/temp-queue/@1-a/x", "1-a"),
            ("/temp-queue", "/temp-queue/@1-a", "1-a"),
            ("/temp-queue/x/@2/y", "/temp-queue/@1-a/x/@2/y", "1-a"),
            ("/temp-queue/@2-b/x", "/temp-queue/@2-b/x", "2-b"),
            ("/temp-queue/@", "/temp-queue/@", ""),
        ] {
            let name = space.full_name(text, "1-a");
            assert_eq!((name.as_str(), space.owner_of(name.as_str())), (full, Some(owner)));
        }
        assert_eq!(space.owner_of("/temp-queue/x"), None);
    }

    #[test]
    fn answers_say_what_they_answer() {
        let spaces = Spaces::default();
        let space = spaces.resolve("/app/x").expect("it is configured");
        let answer = space.answer_to("1-a", "7");
        assert_eq!(answer.as_str(), "/app/@answer/1-a/7");
        assert_eq!((space.is_answer(answer.as_str()), space.answered(answer.as_str())), (true, Some(("1-a", "7"))));
        for (text, is_answer) in [("/app/@answer/1-a", true), ("/app/x", false)] {
            assert_eq!((space.is_answer(text), space.answered(text)), (is_answer, None), "{text}");
        }
    }

    #[test]
    fn refuses_what_cannot_work() {
        let new = |spaces| Spaces::new(spaces, Unknown::Refuse);
        let twice = vec![space("/a", '/'), space("/b", '/'), space("/a", '.')];
        assert_eq!(new(twice), Err(SpacesError::Duplicate("/a".into())));
        let star = SpacesError::WildcardSeparator { prefix: "/a".into(), separator: '*' };
        assert_eq!(new(vec![space("/a", '*')]), Err(star));
        let many = vec![space("/a", '/'); MAX_SPACES + 1];
        assert_eq!(new(many), Err(SpacesError::TooMany { limit: MAX_SPACES }));
    }
}
