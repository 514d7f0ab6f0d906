//! Destinations, patterns over them, and the prefixes that say which kind a destination is.

mod pattern;
mod reserved;
mod spaces;
mod user;

use std::fmt;

use bytestring::ByteString;

pub(crate) use pattern::{Glob, Segment};
pub use pattern::{MAX_SEGMENTS, MAX_TEXT, Pattern, PatternError, Style};
pub use spaces::{Kind, MAX_SPACES, Space, Spaces, SpacesError, Unknown};
pub use user::{Addressee, OwnStream, is_nameable};

/// A concrete destination, exactly as a client wrote it (U3): compared byte by byte, never normalised.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination(ByteString);

impl Destination {
    /// Any text is a destination; whether a prefix takes it is for the prefix table to say.
    pub fn new(text: impl Into<ByteString>) -> Destination {
        Destination(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn text(&self) -> &ByteString {
        &self.0
    }

    /// The same destination in a buffer of its own. What outlives its frame is kept this way, so that a short name does
    /// not hold a whole frame in memory.
    pub fn detached(&self) -> Destination {
        Destination(ByteString::from(self.as_str().to_owned()))
    }
}

/// So that a map with destinations as keys can be asked with borrowed text.
impl std::borrow::Borrow<str> for Destination {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
