//! Patterns: what a subscription asks for, in one of three spellings.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytestring::ByteString;

use super::Destination;

/// How many segments a pattern with wildcards may have.
pub const MAX_SEGMENTS: usize = 64;

/// How many bytes a pattern with wildcards may have. The time to match grows at worst with its product with the
/// destination's length.
pub const MAX_TEXT: usize = 512;

/// How wildcards are spelled (U4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Style {
    /// As Spring does: `?` is one character, `*` any characters within a segment, `**` zero or more whole segments,
    /// `{name}` one segment. A `*` or `{name}` that is a whole segment takes a segment of at least one character.
    /// `{name:expression}` is not understood, and stands for itself.
    #[default]
    Ant,
    /// As AMQP's topic exchange does: `*` is one word, `#` zero or more words.
    Amqp,
    /// As ActiveMQ does: `*` is one segment, and `>` at the end zero or more segments (`a.>` takes `a`).
    Activemq,
}

/// Why a text is no pattern. Whoever wrote the pattern is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It has wildcards and too many segments.
    #[error("a pattern with wildcards has at most {limit} segments")]
    TooManySegments {
        /// The most there may be.
        limit: usize,
    },
    /// It has wildcards and is too long.
    #[error("a pattern with wildcards has at most {limit} bytes")]
    TooLong {
        /// The most there may be.
        limit: usize,
    },
}

/// A parsed pattern over destinations. A clone shares it. A pattern without wildcards is a literal: it takes the one
/// destination of the same text (U3).
///
/// Where the separator is not `/`, everything up to the last `/` before the first wildcard is fixed, and the separator
/// counts from there on: `/topic/stocks.*.nyse` is the fixed `/topic/` and three words.
#[derive(Clone)]
pub struct Pattern(Arc<Inner>);

struct Inner {
    text: Destination,
    style: Style,
    separator: char,
    /// The length of the fixed part.
    head: usize,
    /// Empty for a literal.
    segments: Vec<Segment>,
}

/// What one step of a pattern takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    /// Exactly this segment.
    Literal(ByteString),
    /// Any one segment.
    One {
        /// Whether a segment without characters will do.
        empty: bool,
    },
    /// One segment of this shape.
    Glob(Glob),
    /// Zero or more segments, whatever they are.
    Many,
}

/// A segment with `*` or `?` in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Glob(ByteString);

impl Pattern {
    /// Reads a pattern. Its text is copied, so that it holds no frame in memory.
    pub fn parse(text: impl Into<ByteString>, style: Style, separator: char) -> Result<Pattern, PatternError> {
        let text: ByteString = text.into();
        let head = head_of(&text, style, separator);
        let rest = text.get(head..).unwrap_or_default();
        let mut segments = Vec::new();
        if rest.contains(style.wildcards()) {
            segments = segments_of(rest, style, separator)?;
        }
        let is_literal = segments.iter().all(|segment| matches!(segment, Segment::Literal(_)));
        if is_literal {
            segments = Vec::new();
        } else if text.len() > MAX_TEXT {
            return Err(PatternError::TooLong { limit: MAX_TEXT });
        }
        let text = Destination::new(text).detached();
        Ok(Pattern(Arc::new(Inner { text, style, separator, head, segments })))
    }

    /// The destination that this pattern stands for, where it has no wildcards.
    pub fn literal(&self) -> Option<&Destination> {
        self.0.segments.is_empty().then_some(&self.0.text)
    }

    /// Whether it takes `destination`. The time is at worst the product of both lengths.
    pub fn matches(&self, destination: &Destination) -> bool {
        if self.0.segments.is_empty() {
            return self.0.text == *destination;
        }
        let Some(rest) = destination.as_str().strip_prefix(self.head()) else {
            return false;
        };
        let parts: Vec<&str> = rest.split(self.0.separator).collect();
        takes(&self.0.segments, &parts)
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        self.0.text.as_str()
    }

    /// The part before the segments, to be found exactly so at the start of a destination.
    pub(crate) fn head(&self) -> &str {
        self.as_str().get(..self.0.head).unwrap_or_default()
    }

    /// What divides the segments.
    pub(crate) fn separator(&self) -> char {
        self.0.separator
    }

    /// The segments after the head; empty for a literal.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.0.segments
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        let both_literal = self.0.segments.is_empty() && other.0.segments.is_empty();
        let same_reading = (self.0.style, self.0.separator) == (other.0.style, other.0.separator);
        self.0.text == other.0.text && (both_literal || same_reading)
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?}, {:?}, {:?})", self.as_str(), self.0.style, self.0.separator)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Style {
    /// The characters that may mean something in this style. None of them can be a separator.
    pub(crate) fn wildcards(self) -> &'static [char] {
        match self {
            Style::Ant => &['*', '?', '{'],
            Style::Amqp => &['*', '#'],
            Style::Activemq => &['*', '>'],
        }
    }
}

impl Glob {
    /// The characters before the first wildcard.
    pub(crate) fn prefix(&self) -> &str {
        self.0.split(['*', '?']).next().unwrap_or_default()
    }

    /// The characters after the last wildcard.
    pub(crate) fn suffix(&self) -> &str {
        self.0.rsplit(['*', '?']).next().unwrap_or_default()
    }

    /// Whether it takes this segment.
    ///
    /// On a mismatch only the latest `*` is asked to take one character more: what an earlier one took can stay,
    /// since the latest can take whatever the earlier could. So the time is at worst the product of both lengths.
    pub(crate) fn matches(&self, segment: &str) -> bool {
        let (mut pattern, mut text) = (self.0.chars(), segment.chars());
        let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
        loop {
            let (before, wanted) = (text.clone(), pattern.next());
            if wanted == Some('*') {
                retry = Some((pattern.clone(), before));
                continue;
            }
            match (wanted, text.next()) {
                (None, None) => return true,
                (Some('?'), Some(_)) => continue,
                (Some(wanted), Some(found)) if wanted == found => continue,
                // The text has ended: no `*` could make it longer.
                (Some(_), None) => return false,
                (_, Some(_)) => {}
            }
            let Some((after_star, from)) = &mut retry else {
                return false;
            };
            if from.next().is_none() {
                return false;
            }
            (pattern, text) = (after_star.clone(), from.clone());
        }
    }
}

/// The length of what is fixed before the segments begin.
fn head_of(text: &str, style: Style, separator: char) -> usize {
    if separator == '/' {
        return 0;
    }
    let before = text.find(style.wildcards()).and_then(|wildcard| text.get(..wildcard)).unwrap_or(text);
    before.rfind('/').map_or(0, |slash| slash + 1)
}

fn segments_of(rest: &str, style: Style, separator: char) -> Result<Vec<Segment>, PatternError> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut parts = rest.split(separator).peekable();
    while let Some(part) = parts.next() {
        let segment = segment_of(part, style, parts.peek().is_none());
        // Two in a row take what one takes.
        if segment == Segment::Many && segments.last() == Some(&Segment::Many) {
            continue;
        }
        segments.push(segment);
    }
    let has_wildcard = segments.iter().any(|segment| !matches!(segment, Segment::Literal(_)));
    match has_wildcard && segments.len() > MAX_SEGMENTS {
        true => Err(PatternError::TooManySegments { limit: MAX_SEGMENTS }),
        false => Ok(segments),
    }
}

fn segment_of(part: &str, style: Style, is_last: bool) -> Segment {
    match (style, part) {
        (Style::Ant, "**") | (Style::Amqp, "#") => Segment::Many,
        (Style::Activemq, ">") if is_last => Segment::Many,
        (Style::Ant, "*") => Segment::One { empty: false },
        (Style::Amqp | Style::Activemq, "*") => Segment::One { empty: true },
        (Style::Ant, part) if is_variable(part) => Segment::One { empty: false },
        (Style::Ant, part) if part.contains(['*', '?']) => Segment::Glob(Glob(ByteString::from(part.to_owned()))),
        (_, part) => Segment::Literal(ByteString::from(part.to_owned())),
    }
}

/// `{name}`, where the name is one word.
fn is_variable(part: &str) -> bool {
    let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
    name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c)))
}

/// The same walk over segments as [`Glob::matches`] does over characters: [`Segment::Many`] is the `*` here.
fn takes(segments: &[Segment], parts: &[&str]) -> bool {
    let (mut pattern, mut text) = (segments, parts);
    let mut retry: Option<(&[Segment], &[&str])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => return true,
            (Some((Segment::Many, rest)), _) => {
                retry = Some((rest, text));
                pattern = rest;
                continue;
            }
            (Some((segment, rest)), Some((part, after))) if segment.takes(part) => {
                (pattern, text) = (rest, after);
                continue;
            }
            (Some(_), None) => return false,
            (_, Some(_)) => {}
        }
        let Some((after_many, from)) = &mut retry else {
            return false;
        };
        let Some((_, rest)) = from.split_first() else {
            return false;
        };
        *from = rest;
        (pattern, text) = (after_many, rest);
    }
}

impl Segment {
    /// Whether it takes this part of a destination.
    pub(crate) fn takes(&self, part: &str) -> bool {
        match self {
            Segment::Literal(text) => **text == *part,
            Segment::One { empty } => *empty || !part.is_empty(),
            Segment::Glob(glob) => glob.matches(part),
            Segment::Many => true,
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(style: Style, separator: char, pattern: &str, takes: &[&str], leaves: &[&str]) {
        let parsed = Pattern::parse(pattern, style, separator).expect("a pattern");
        assert_eq!(parsed.to_string(), pattern);
        for text in takes {
            assert!(parsed.matches(&Destination::new(*text)), "{parsed:?} should take {text}");
        }
        for text in leaves {
            assert!(!parsed.matches(&Destination::new(*text)), "{parsed:?} should leave {text}");
        }
    }

    #[test]
    fn u4_ant() {
        let ant = |pattern, takes: &[&str], leaves: &[&str]| check(Style::Ant, '/', pattern, takes, leaves);
        ant("/topic/a", &["/topic/a"], &["/topic/a/", "/topic/A", "/topic", "/topic/aa"]);
        ant("/topic/?", &["/topic/a", "/topic/ä"], &["/topic/", "/topic/ab", "/topic//"]);
        ant("/topic/pr*ce", &["/topic/price", "/topic/prce", "/topic/pr-ce-ce"], &["/topic/pr/ce", "/topic/prices"]);
        ant("/topic/*", &["/topic/a", "/topic/{x}"], &["/topic/a/b", "/topic", "/topic/"]);
        ant("/topic/**", &["/topic", "/topic/", "/topic/a", "/topic/a/b/c"], &["/topicX", "/queue/topic"]);
        ant("/topic/**/c", &["/topic/c", "/topic/a/b/c", "/topic/c/c"], &["/topic/c/d", "/topic/a/cc"]);
        ant("/**/b/**/d", &["/b/d", "/a/b/c/d", "/b/b/d/d"], &["/b", "/d/b", "/a/b/d/e"]);
        ant("/topic/{id}/x", &["/topic/7/x"], &["/topic/7/8/x", "/topic//x", "/topic/x"]);
        ant("/topic/{id:[0-9]+}", &["/topic/{id:[0-9]+}"], &["/topic/7"]);
        ant("/topic/{}", &["/topic/{}"], &["/topic/7"]);
        ant("/topic/a**b", &["/topic/ab", "/topic/axb"], &["/topic/a/b"]);
        ant("**", &["", "/", "a", "/topic/a"], &[]);
        ant("/topic/#", &["/topic/#"], &["/topic/a"]);
        check(Style::Ant, '.', "/topic/price.*", &["/topic/price.x", "/topic/price.x/y"], &["/topic/price.x.y"]);
    }

    #[test]
    fn u4_amqp() {
        let amqp = |pattern, takes: &[&str], leaves: &[&str]| check(Style::Amqp, '.', pattern, takes, leaves);
        amqp("/topic/stocks.*.nyse", &["/topic/stocks.ibm.nyse"], &["/topic/stocks.nyse", "/topic/stocks.a.b.nyse"]);
        amqp("/topic/*", &["/topic/a", "/topic/a/b"], &["/topic/a.b", "/queue/a", "/topic"]);
        amqp("/topic/#", &["/topic/a", "/topic/a.b.c", "/topic/"], &["/queue/a", "/topicX"]);
        amqp("/topic/a.#", &["/topic/a", "/topic/a.b", "/topic/a.b.c"], &["/topic/ab", "/topic/b.a"]);
        amqp("/topic/#.z", &["/topic/z", "/topic/y.z", "/topic/z.z"], &["/topic/z.y"]);
        amqp("/topic/a*b.#c", &["/topic/a*b.#c"], &["/topic/axb.c"]);
        amqp("/topic/*.a/b", &["/topic/x.a/b"], &["/topic/x.a"]);
    }

    #[test]
    fn u4_activemq() {
        let activemq = |pattern, takes: &[&str], leaves: &[&str]| check(Style::Activemq, '.', pattern, takes, leaves);
        activemq("/topic/PRICE.>", &["/topic/PRICE", "/topic/PRICE.A", "/topic/PRICE.A.B"], &["/topic/PRICES"]);
        activemq("/topic/PRICE.*", &["/topic/PRICE.A"], &["/topic/PRICE", "/topic/PRICE.A.B"]);
        activemq("/topic/>", &["/topic/a.b"], &["/queue/a.b"]);
        activemq("/topic/>.a", &["/topic/>.a"], &["/topic/b.a"]);
    }

    #[test]
    fn literals_are_equal_however_they_are_read() {
        let literal = |style, separator| Pattern::parse("/topic/a.b", style, separator).expect("a literal");
        assert_eq!(literal(Style::Ant, '/'), literal(Style::Amqp, '.'));
        assert_eq!(literal(Style::Ant, '/').literal(), Some(&Destination::new("/topic/a.b")));
        let star = |style, separator| Pattern::parse("/topic/*", style, separator).expect("a pattern");
        assert_ne!(star(Style::Ant, '/'), star(Style::Amqp, '.'));
        assert_eq!(star(Style::Ant, '/').literal(), None);
    }

    #[test]
    fn bounds_patterns_but_not_literals() {
        let parse = |text: String| Pattern::parse(text, Style::Ant, '/');
        let many = "/a".repeat(MAX_SEGMENTS);
        assert_eq!(parse(format!("{many}/*")), Err(PatternError::TooManySegments { limit: MAX_SEGMENTS }));
        assert_eq!(parse("*".repeat(MAX_TEXT + 1)), Err(PatternError::TooLong { limit: MAX_TEXT }));
        assert!(parse(many.repeat(9)).is_ok());
        assert!(parse("/**".repeat(100)).is_ok(), "repeated double stars are one");
    }

    /// Would not end within a lifetime if each star tried all it could take.
    #[test]
    fn hostile_globs_take_no_exponential_time() {
        let glob = format!("{}b", "*a".repeat(200));
        let segments = format!("{}b", "**/a/".repeat(30));
        check(Style::Ant, '/', &glob, &[&format!("{}b", "a".repeat(5000))], &[&"a".repeat(5000)]);
        check(Style::Ant, '/', &segments, &[&format!("{}b", "a/".repeat(500))], &[&"a/".repeat(500)]);
    }
}
