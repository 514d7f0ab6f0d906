//! Which application destinations a handler takes, and what stands where it has names.

use bytestring::ByteString;

use super::request::Captures;
use crate::destination::{Destination, Pattern, PatternError, Segment, Space, Style};

/// A pattern over destinations in which `{name}` stands for one segment and remembers it, in every style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pattern: Pattern,
    text: ByteString,
    /// The name of each of the pattern's segments that has one; empty where no segment has.
    names: Vec<Option<ByteString>>,
}

/// Why a text is no address. Whoever wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Something in braces that is not a whole segment with a plain name.
    #[error("{0:?} is no segment of the form {{name}}")]
    Braces(ByteString),
    /// Two segments with the same name.
    #[error("the name {0:?} is there twice")]
    Twice(ByteString),
}

impl Address {
    /// Reads a pattern in the spelling of its prefix, `space`.
    pub fn parse(text: &str, space: &Space) -> Result<Address, AddressError> {
        let head = head_of(text, space);
        let rest = text.get(head..).unwrap_or_default();
        let mut names: Vec<Option<ByteString>> = Vec::new();
        let mut plain = Vec::new();
        let mut was_many = false;
        for part in rest.split(space.separator) {
            let name = name_of(part)?;
            if let Some(name) = &name
                && names.iter().flatten().any(|other| other == name)
            {
                return Err(AddressError::Twice(name.clone()));
            }
            // As the pattern does: two in a row take what one takes.
            let is_many = matches!((space.style, part), (Style::Ant, "**") | (Style::Amqp, "#"));
            plain.push(if name.is_some() { "*" } else { part });
            if !(is_many && was_many) {
                names.push(name);
            }
            was_many = is_many;
        }
        let separator = space.separator.to_string();
        let spelled = format!("{}{}", text.get(..head).unwrap_or_default(), plain.join(&separator));
        if names.iter().all(Option::is_none) {
            names = Vec::new();
        }
        let pattern = space.pattern(spelled)?;
        Ok(Address { pattern, text: ByteString::from(text.to_owned()), names })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &ByteString> {
        self.names.iter().flatten()
    }

    /// What the names stand for in `destination`, if the address takes it.
    pub fn take(&self, destination: &Destination) -> Option<Captures> {
        if self.names.is_empty() {
            return self.pattern.matches(destination).then(Captures::default);
        }
        let rest = destination.as_str().strip_prefix(self.pattern.head())?;
        let parts: Vec<&str> = rest.split(self.pattern.separator()).collect();
        let places = places(self.pattern.segments(), &parts)?;
        let named = self.names.iter().zip(places);
        let values = named.filter_map(|(name, place)| Some((name.clone()?, *parts.get(place?)?)));
        let pairs: Vec<_> = values.map(|(name, value)| (name, ByteString::from(value.to_owned()))).collect();
        let is_complete = pairs.iter().all(|(_, value)| !value.is_empty());
        is_complete.then(|| Captures::new(pairs))
    }
}

/// Where each segment's part is: the walk of [`Pattern::matches`], with the places kept. Those after the latest
/// [`Segment::Many`] are found anew when it takes one part more.
fn places(segments: &[Segment], parts: &[&str]) -> Option<Vec<Option<usize>>> {
    let mut places = vec![None; segments.len()];
    let (mut segment, mut part) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (segments.get(segment), parts.get(part)) {
            (None, None) => return Some(places),
            (Some(Segment::Many), _) => {
                segment += 1;
                retry = Some((segment, part));
                continue;
            }
            (Some(wanted), Some(found)) if wanted.takes(found) => {
                if let Some(place) = places.get_mut(segment) {
                    *place = Some(part);
                }
                (segment, part) = (segment + 1, part + 1);
                continue;
            }
            (Some(_), None) => return None,
            (_, Some(_)) => {}
        }
        let (after_many, from) = retry?;
        if from >= parts.len() {
            return None;
        }
        retry = Some((after_many, from + 1));
        (segment, part) = (after_many, from + 1);
    }
}

/// The length of what is fixed before the segments, as in a [`Pattern`], where a name counts as a wildcard.
fn head_of(text: &str, space: &Space) -> usize {
    if space.separator == '/' {
        return 0;
    }
    let is_wild = |letter: char| letter == '{' || space.style.wildcards().contains(&letter);
    let before = text.find(is_wild).and_then(|wildcard| text.get(..wildcard)).unwrap_or(text);
    before.rfind('/').map_or(0, |slash| slash + 1)
}

/// The name in a segment that is `{name}`.
fn name_of(part: &str) -> Result<Option<ByteString>, AddressError> {
    if !part.contains(['{', '}']) {
        return Ok(None);
    }
    let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
    let is_plain =
        |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    let name = name.filter(is_plain).ok_or_else(|| AddressError::Braces(ByteString::from(part.to_owned())))?;
    Ok(Some(ByteString::from(name.to_owned())))
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;
    use crate::destination::Kind;

    fn space(style: Style, separator: char) -> Space {
        Space { prefix: "/app".into(), kind: Kind::Application, style, separator }
    }

    #[track_caller]
    fn check(style: Style, separator: char, address: &str, destination: &str, captures: Option<&[(&str, &str)]>) {
        let address = Address::parse(address, &space(style, separator)).expect("an address");
        let taken = address.take(&Destination::new(destination.to_owned()));
        let pairs = taken.as_ref().map(|captures| captures.iter().collect::<Vec<_>>());
        assert_eq!(pairs.as_deref(), captures, "{} on {destination}", address.as_str());
    }

    #[test]
    fn names_remember_their_segments() {
        let ant = |address, destination, captures| check(Style::Ant, '/', address, destination, captures);
        ant("/app/chat", "/app/chat", Some(&[]));
        ant("/app/chat", "/app/chats", None);
        ant("/app/{room}/send", "/app/red/send", Some(&[("room", "red")]));
        ant("/app/{room}/send", "/app//send", None);
        ant("/app/{room}/send", "/app/a/b/send", None);
        ant("/app/{a}/x/{b-2}", "/app/1/x/2", Some(&[("a", "1"), ("b-2", "2")]));
        ant("/app/**/{last}", "/app/1/2/3", Some(&[("last", "3")]));
        ant("/app/**/**/{last}", "/app/3", Some(&[("last", "3")]));
        ant("/app/**/x/{y}/**", "/app/x/x/1/2", Some(&[("y", "x")]));
        ant("/app/**/x/{y}/z", "/app/x/x/1/z", Some(&[("y", "1")]));
        ant("/app/pr*ce/{id}", "/app/price/7", Some(&[("id", "7")]));
        ant("/app/**", "/app/1/2", Some(&[]));
        check(Style::Amqp, '.', "/app/chat.{room}.#", "/app/chat.red.x.y", Some(&[("room", "red")]));
        check(Style::Amqp, '.', "/app/chat.{room}", "/app/chat.", None);
        check(Style::Activemq, '.', "/app/{a}.>", "/app/x.y", Some(&[("a", "x")]));
        check(Style::Ant, '.', "/app/chat.{room}", "/app/chat.red/blue", Some(&[("room", "red/blue")]));
    }

    #[test]
    fn refuses_what_looks_like_a_name_and_is_none() {
        for (text, error) in [
            ("/app/chat.{room}", AddressError::Braces("chat.{room}".into())),
            ("/app/{}", AddressError::Braces("{}".into())),
            ("/app/{a b}", AddressError::Braces("{a b}".into())),
            ("/app/{a}/{a}", AddressError::Twice("a".into())),
        ] {
            assert_eq!(Address::parse(text, &space(Style::Ant, '/')), Err(error), "{text}");
        }
    }
}
