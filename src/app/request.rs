//! What a handler gets to see.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use crate::destination::Destination;
use crate::headers::Headers;
use crate::message::SessionId;

/// Something that happened in a session and concerns the application.
#[derive(Clone, Debug)]
pub struct Request {
    /// What happened.
    pub occasion: Occasion,
    /// The application destination; for [`Occasion::Subscribed`] and [`Occasion::Unsubscribed`] what was subscribed to, and
    /// empty for the beginning and the end of a session.
    pub destination: Destination,
    /// What stood where the handler's pattern has `{name}`.
    pub captures: Captures,
    /// The headers of the SEND that receivers may see (M1), or those of the SUBSCRIBE; none for other occasions.
    pub headers: Headers,
    /// The body of the SEND, as it came.
    pub body: Bytes,
    /// Whose it is.
    pub session: Arc<SessionFacts>,
    /// What the application has noted about the session until now.
    pub attributes: Attributes,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Occasion {
    /// A SEND to an application destination.
    Send,
    /// A SUBSCRIBE to an application destination: it wants to be answered once (A2).
    Ask,
    /// A session began: CONNECTED was sent.
    Connected,
    /// A session ended, by its own wish or not.
    Disconnected {
        /// Why, in a stable word such as `disconnect`, `closed-by-peer` or `heart-beat-missed`.
        reason: &'static str,
    },
    /// A session subscribed to something that is no application destination.
    Subscribed,
    /// Such a subscription ended.
    Unsubscribed,
}

impl Occasion {
    /// Its stable name: `send`, `ask`, `connected`, `disconnected`, `subscribed`, `unsubscribed`.
    pub fn name(self) -> &'static str {
        match self {
            Occasion::Send => "send",
            Occasion::Ask => "ask",
            Occasion::Connected => "connected",
            Occasion::Disconnected { .. } => "disconnected",
            Occasion::Subscribed => "subscribed",
            Occasion::Unsubscribed => "unsubscribed",
        }
    }
}

/// What is known of a session and does not change while it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// The session, for the broker.
    pub id: SessionId,
    /// The session, for clients: the `session` header of CONNECTED. `/user/{this}/queue/x` addresses it (P3).
    pub name: ByteString,
    /// Who it is; none where nobody had to say.
    pub user: Option<ByteString>,
    /// `tcp`, `websocket` or `sockjs`.
    pub transport: &'static str,
    /// The address at the other end, where there is one.
    pub peer: Option<ByteString>,
    /// The headers of CONNECT, without the private ones: no passwords and no tokens.
    pub headers: Headers,
}

/// The values that a pattern's `{name}` segments took, in the order of the pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures(Vec<(ByteString, ByteString)>);

impl Captures {
    /// Of names and values.
    pub fn new(pairs: Vec<(ByteString, ByteString)>) -> Captures {
        Captures(pairs)
    }

    /// The value of `{name}`.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(each, _)| *each == name).map(|(_, value)| &**value)
    }

    /// All names and values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// Texts that the application keeps with a session. A clone is cheap, and does not change with the original.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Option<Arc<BTreeMap<ByteString, ByteString>>>);

impl Attributes {
    /// The value of an attribute.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.get(name).map(|value| &**value)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|all| all.iter()).map(|(name, value)| (&**name, &**value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all names and values, for the limit on them.
    pub fn bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Sets an attribute, or takes it away.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        match value {
            // Copies, so that a short value does not hold the frame it came in.
            Some(value) => {
                let all = Arc::make_mut(self.0.get_or_insert_default());
                all.insert(ByteString::from(name.to_owned()), ByteString::from(value.to_owned()));
            }
            None => {
                if let Some(all) = &mut self.0 {
                    Arc::make_mut(all).remove(name);
                }
            }
        }
        if self.is_empty() {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_set_and_taken_away() {
        let mut attributes = Attributes::default();
        attributes.set("b", Some("2"));
        attributes.set("a", Some("1"));
        let before = attributes.clone();
        attributes.set("a", Some("one"));
        attributes.set("b", None);
        assert_eq!(attributes.iter().collect::<Vec<_>>(), [("a", "one")]);
        assert_eq!(before.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!((before.bytes(), attributes.len()), (4, 1));
        attributes.set("a", None);
        assert_eq!(attributes, Attributes::default());
    }
}
