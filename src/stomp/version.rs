//! The versions of STOMP, and everything in which they differ.

use std::fmt;

use super::frame::Command;

/// A version of the protocol that we speak, the oldest the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The first one: no escapes, no heart-beats, subscriptions may go without an id.
    V1_0,
    /// Heart-beats, escapes, NACK, virtual hosts, subscription ids required.
    V1_1,
    /// CR LF line ends, the escape of CR, acknowledgement by the `ack` header.
    V1_2,
}

/// How ACK and NACK name the message that they settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckBy {
    /// `message-id`, with a `subscription` only where the client likes to give one.
    MessageId,
    /// `message-id` and `subscription`.
    MessageIdAndSubscription,
    /// `id`, which is the value of the message's `ack` header.
    AckId,
}

impl Version {
    /// All versions, the highest first: the order in which we offer them.
    pub const ALL: [Version; 3] = [Version::V1_2, Version::V1_1, Version::V1_0];

    /// The version's number as it is written in headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V1_2 => "1.2",
        }
    }

    /// The version of that number, if we speak it.
    pub fn parse(text: &str) -> Option<Version> {
        Version::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The highest version of an `accept-version` header that we speak too. No header means 1.0: that version has none.
    pub fn negotiate(accept_version: Option<&str>) -> Option<Version> {
        match accept_version {
            None => Some(Version::V1_0),
            Some(list) => list.split(',').filter_map(|each| Version::parse(each.trim())).max(),
        }
    }

    /// Whether each line of a frame may end in CR LF instead of LF, whatever the frame's other lines do.
    ///
    /// In the older versions a CR before the LF is a part of the header's value.
    pub fn allows_cr_lf(self) -> bool {
        self >= Version::V1_2
    }

    /// Whether header names and values are escaped at all (never in CONNECT and CONNECTED).
    pub fn has_escapes(self) -> bool {
        self >= Version::V1_1
    }

    /// The letter that follows the backslash for an octet that must not stand in a header as it is.
    pub fn escape(self, octet: u8) -> Option<u8> {
        match octet {
            b'\\' if self >= Version::V1_1 => Some(b'\\'),
            b'\n' if self >= Version::V1_1 => Some(b'n'),
            b':' if self >= Version::V1_1 => Some(b'c'),
            b'\r' if self >= Version::V1_2 => Some(b'r'),
            _ => None,
        }
    }

    /// The octet that a backslash and `letter` stand for; none for an escape that the version does not know.
    pub fn unescape(self, letter: u8) -> Option<u8> {
        match letter {
            b'\\' if self >= Version::V1_1 => Some(b'\\'),
            b'n' if self >= Version::V1_1 => Some(b'\n'),
            b'c' if self >= Version::V1_1 => Some(b':'),
            b'r' if self >= Version::V1_2 => Some(b'\r'),
            _ => None,
        }
    }

    /// Whether the version knows the command. `STOMP` is taken in all: it arrives before the version is agreed upon.
    pub fn has_command(self, command: Command) -> bool {
        command != Command::Nack || self >= Version::V1_1
    }

    /// Whether SUBSCRIBE and UNSUBSCRIBE must carry an `id`. Where not, the destination stands in for it.
    pub fn requires_subscription_id(self) -> bool {
        self >= Version::V1_1
    }

    /// How ACK and NACK name the message.
    pub fn ack_by(self) -> AckBy {
        match self {
            Version::V1_0 => AckBy::MessageId,
            Version::V1_1 => AckBy::MessageIdAndSubscription,
            Version::V1_2 => AckBy::AckId,
        }
    }

    /// Whether frames other than SEND, MESSAGE and ERROR must come without a body.
    pub fn restricts_bodies(self) -> bool {
        self >= Version::V1_1
    }

    /// Whether the peers may agree on heart-beats.
    pub fn has_heart_beats(self) -> bool {
        self >= Version::V1_1
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiates_the_highest_common_version() {
        let check = |header: Option<&str>, wanted: Option<Version>| {
            assert_eq!(Version::negotiate(header), wanted, "{header:?}");
        };
        check(None, Some(Version::V1_0));
        check(Some("1.2,1.1,1.0"), Some(Version::V1_2));
        check(Some("1.0,1.1"), Some(Version::V1_1));
        check(Some("1.1, 1.2"), Some(Version::V1_2));
        check(Some("1.0,3.1"), Some(Version::V1_0));
        check(Some("2.0"), None);
        check(Some("1.20"), None);
        check(Some(""), None);
    }

    /// M4
    #[test]
    fn each_escape_is_undone_where_it_exists() {
        let check = |version: Version, escaped: &[u8]| {
            for octet in 0..=255u8 {
                let letter = version.escape(octet);
                assert_eq!(letter.is_some(), escaped.contains(&octet), "{version} {octet}");
                assert!(letter.is_none_or(|letter| version.unescape(letter) == Some(octet)), "{version} {octet}");
            }
            let known = (0..=255u8).filter(|letter| version.unescape(*letter).is_some()).count();
            assert_eq!(known, escaped.len(), "{version}");
        };
        check(Version::V1_0, b"");
        check(Version::V1_1, b"\\\n:");
        check(Version::V1_2, b"\\\n:\r");
    }

    #[test]
    fn numbers_read_back() {
        for version in Version::ALL {
            assert_eq!(Version::parse(&version.to_string()), Some(version));
        }
    }
}
