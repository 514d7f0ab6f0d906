//! Destinations, patterns over them, and the prefixes that say which kind a destination is.

use std::fmt;

use bytestring::ByteString;

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
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
