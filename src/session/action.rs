//! What a session asks its driver to do.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;

use crate::destination::{Destination, OwnStream, Pattern};
use crate::digits::Digits;
use crate::headers::Headers;
use crate::message::{Ask, Binding, Content, Message, Operation, SubscriptionKey, Tag, Ticket};
use crate::stomp::Frame;

/// One thing for the driver to do; they are to be done in the order given.
#[derive(Debug)]
pub enum Action {
    /// Write CONNECTED, RECEIPT or ERROR.
    Send(Frame),
    /// Write a single end-of-line (B2).
    Heartbeat,
    /// Write a MESSAGE.
    Deliver(Outgoing),
    /// Bring this operation to the broker. With a ticket it is always answered by `handle_verdict`; without one only a
    /// refusal is.
    Perform {
        /// What to do.
        operation: Operation,
        /// What the answer will name.
        ticket: Option<Ticket>,
    },
    /// Bring all of these to the broker together, or none of them (Q7). Always answered.
    Commit {
        /// What to do, in order.
        operations: Vec<Operation>,
        /// What the answer will name.
        ticket: Ticket,
    },
    /// CONNECTED was given: who it is. Once, right after it.
    Opened(Opened),
    /// Bring a SEND to whoever handles its application destination. Answered as `Perform` is.
    Call {
        /// What was sent.
        content: Content,
        /// What the answer will name.
        ticket: Option<Ticket>,
    },
    /// Have an application destination answer a SUBSCRIBE once. Always answered, after the MESSAGE if there is one.
    Ask(Box<Ask>),
    /// Register a subscription.
    Subscribe(Subscribe),
    /// Bring the next messages to a subscription that browses.
    Browse(Browse),
    /// Take a subscription away; a queue takes its unsettled deliveries back.
    Unsubscribe {
        /// Which one.
        subscription: SubscriptionKey,
        /// Its id on the wire.
        id: ByteString,
        /// What it subscribed to.
        target: Target,
        /// As in [`Subscribe::paced`].
        paced: bool,
        /// Whether the client asked for it, by UNSUBSCRIBE, by another SUBSCRIBE with the same id, or by DISCONNECT: then
        /// what is already in the outbox still reaches it, as long as it can be written. Else its unwritten messages are
        /// anybody's.
        by_client: bool,
        /// Answered when it is gone.
        ticket: Option<Ticket>,
    },
    /// End a durable subscription, with all it keeps. The session's own part of it has ended before.
    Forget {
        /// The queue that it is known by.
        queue: Destination,
        /// Answered when it is gone.
        ticket: Option<Ticket>,
    },
    /// Count and log this; nothing else depends on it.
    Note(Note),
    /// Close the transport once everything before this is written. Always the last action.
    Close(Close),
}

/// Who opened a session.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What the session is called.
    pub name: ByteString,
    /// What its user is called, where it has one.
    pub user: Option<ByteString>,
    /// The headers of CONNECT, without the private ones.
    pub headers: Headers,
}

/// What a session tells the operator. The end of a session is told by [`Close`] and needs no note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A frame was refused, and the session goes on (X3).
    Refused {
        /// The stable code that the ERROR carried.
        code: &'static str,
    },
    /// A SUBSCRIBE to a destination under no prefix was taken and will never get a message (U8, `profile = "spring"`).
    UnknownSubscribed(Destination),
    /// A subscription is live.
    Subscribed(Target),
    /// Messages that were held back for a slow client were dropped, as their topic's policy asks.
    Dropped {
        /// For which subscription.
        subscription: SubscriptionKey,
        /// How many.
        count: u32,
    },
}

/// A subscription to register.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Its key in this session.
    pub subscription: SubscriptionKey,
    /// Its id on the wire: the `subscription` header of its messages. In 1.0 it may be the destination.
    pub id: ByteString,
    /// What it subscribes to.
    pub target: Target,
    /// `no-local:true`: not to be given what this session sends (M5).
    pub no_local: bool,
    /// False for a topic, or streams of its own, in ack mode `auto`: its messages change nothing in the session, so the
    /// driver writes the encoding that all such subscribers share without asking the session. True: every delivery goes
    /// through `Session::handle_delivery`.
    pub paced: bool,
    /// How many deliveries of a queue may be unsettled at a time (Q5).
    pub credit: u32,
    /// Whether it only looks at a queue. It gets as many messages as its credit says, and asks for more by
    /// [`Action::Browse`].
    pub browses: bool,
    /// Whether the queue is to be gone when its last subscription ends (P6).
    pub ends_queue: bool,
    /// The subscription to the same queue whose place it takes, by the client's wish: it ends without an
    /// [`Action::Unsubscribe`] of its own.
    pub replaces: Option<SubscriptionKey>,
    /// Answered when the subscription is live.
    pub ticket: Option<Ticket>,
}

/// What a subscription that looks at a queue wants to see next.
#[derive(Clone, Debug)]
pub struct Browse {
    /// Which one.
    pub subscription: SubscriptionKey,
    /// The queue.
    pub queue: Destination,
    /// How many messages.
    pub credit: u32,
    /// The sequence of the tag of the last message that it has seen.
    pub after: u64,
}

/// What a subscription is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every topic that the pattern matches.
    Topic(Pattern),
    /// One queue.
    Queue(Destination),
    /// Streams of the session's own, and of its user's (P1).
    Own(OwnStream),
    /// A durable subscription, whose messages come as those of a queue do.
    Durable(Box<Binding>),
}

impl Target {
    /// What the session of this name subscribed to, in its own words.
    pub fn in_words(&self, session: &str) -> Destination {
        match self {
            Target::Topic(pattern) => Destination::new(pattern.as_str().to_owned()),
            Target::Queue(queue) => queue.clone(),
            Target::Durable(binding) => Destination::new(binding.topic.as_str().to_owned()),
            Target::Own(stream) => {
                let key = stream.by_session.as_str();
                let words = key.split_once(&format!("/{session}/"));
                let words = words.map(|(prefix, rest)| format!("{}/{rest}", prefix.replace("%2F", "/")));
                Destination::new(words.unwrap_or_else(|| key.to_owned()))
            }
        }
    }
}

/// A MESSAGE frame to write.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Which subscription it is for.
    pub subscription: SubscriptionKey,
    /// The id of that subscription on the wire.
    pub id: ByteString,
    /// The message. Its `message-id` on the wire is [`MessageId`](crate::message::MessageId) as displayed: 1.0 and 1.1
    /// clients settle by that text.
    pub message: Arc<Message>,
    /// The value of the `ack` header, where the client must settle it.
    pub ack: Option<AckId>,
    /// How often it was handed out before.
    pub redeliveries: u32,
    /// A queue message in ack mode `auto`: to be settled as consumed once it is written to the transport (Q2).
    pub settle_when_written: Option<Tag>,
}

/// Names a delivery to a client that must settle it: `<subscription's key>-<number>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckId {
    /// Which of the session's subscriptions it was for.
    pub subscription: SubscriptionKey,
    /// Which of that subscription's deliveries it is; the first is 1.
    pub number: u64,
}

impl AckId {
    /// Reads what [`AckId`] displays.
    pub fn parse(text: &str) -> Option<AckId> {
        let (key, number) = text.split_once('-')?;
        Some(AckId { subscription: SubscriptionKey(key.parse().ok()?), number: number.parse().ok()? })
    }

    /// What it displays.
    pub(crate) fn text(self) -> Digits<31> {
        Digits::new().decimal(self.number).letter('-').decimal(u64::from(self.subscription.0))
    }
}

impl fmt::Display for AckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// Why and how a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The WebSocket close code (X2).
    pub code: CloseCode,
    /// The stable, kebab-case code of the reason: the reason text on the wire, and a field of the log line.
    pub reason: &'static str,
    /// What exactly was wrong, for the log; empty after an end that nothing was wrong with.
    pub detail: String,
    /// Whether a limit of the configuration was reached, for the log and the metrics (G5).
    pub is_limit: bool,
}

/// The close codes a broker uses (X2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// After DISCONNECT.
    Normal = 1000,
    /// The broker shuts down.
    GoingAway = 1001,
    /// The peer broke the protocol.
    Protocol = 1002,
    /// The peer may not do this.
    NotAllowed = 1008,
    /// A frame passed a limit.
    TooBig = 1009,
    /// Try again later.
    TryLater = 1013,
    /// The peer did not keep up.
    SlowConsumer = 4500,
}
