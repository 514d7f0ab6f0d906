//! A message as its sender and its receivers know it.

use std::time::Duration;

use crate::letters::Died;
use crate::policy::{Policy, is_queue, is_temporary};
use crate::users::Addressee;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Consumed,
    Rejected,
    /// Rejected, with a delay of its own.
    Deferred(Duration),
    Discarded,
}

/// Whether a message is in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its transaction is not committed.
    Never,
    /// It may have been taken or not.
    Possible,
    /// It was.
    Accepted,
    /// It was not.
    Refused,
}

/// Who has a queue's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nobody that we know of.
    Free,
    /// A subscription, by its number.
    Held(usize),
    /// A subscription's client settled it, but has no word that this was done.
    Settled(usize, Outcome),
    /// It is no more; who took it.
    Consumed(usize),
}

impl Hold {
    /// Whose subscription has or had it.
    pub(crate) fn by(self) -> Option<usize> {
        match self {
            Hold::Free => None,
            Hold::Held(by) | Hold::Settled(by, _) | Hold::Consumed(by) => Some(by),
        }
    }
}

/// A moment that a sender names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// So long after the broker took the message.
    After(Duration),
    /// So long after the start of the run.
    At(Duration),
}

/// What a SEND asks of a queue.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) expires: Option<Moment>,
    pub(crate) due: Option<Moment>,
    pub(crate) priority: Option<u8>,
    pub(crate) group: Option<&'static str>,
    /// The sender's temporary queue that is to get the answer.
    pub(crate) reply_to: Option<&'static str>,
    /// It is to outlive the broker's process.
    pub(crate) persistent: bool,
}

/// A message that some client sent, or would have.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) origin: usize,
    pub(crate) destination: &'static str,
    /// Whom it is for, where that is a stream of somebody.
    pub(crate) addressee: Option<Addressee>,
    /// A route has brought it there; or a handler has sent it, for its origin.
    pub(crate) via: Option<&'static str>,
    pub(crate) is_reply: bool,
    /// The dead letter that a copy of it may be, in some durable subscription; or what it was itself, if it is one.
    pub(crate) letter: Option<usize>,
    pub(crate) died: Option<Died>,
    /// Whose temporary queue that is.
    pub(crate) owner: Option<usize>,
    pub(crate) size: usize,
    pub(crate) excludes_self: bool,
    pub(crate) mandatory: bool,
    pub(crate) wishes: Wishes,
    pub(crate) is_in_transaction: bool,
    /// The subscription that its `reply-to` has made.
    pub(crate) brings: Option<usize>,
    pub(crate) fate: Fate,
    /// Its place in what its origin sent: for what is in a transaction, that of the COMMIT.
    pub(crate) order: usize,
    /// Topic subscriptions that were certainly live when it was sent.
    pub(crate) wanted: Vec<usize>,
    /// How many subscriptions there were then at most.
    pub(crate) most: usize,
    /// Its temporary queue was certainly there then.
    pub(crate) is_expected: bool,
    /// How many there had ever been.
    pub(crate) known: usize,
    /// When it was sent, by the count of events, and when it was certainly wherever it should be.
    pub(crate) sent_event: usize,
    pub(crate) certain_at: Option<usize>,
    pub(crate) id: Option<String>,
    pub(crate) hold: Hold,
    /// The queue where it was seen last, or was sent to.
    pub(crate) place: &'static str,
    /// When it came there at the earliest.
    pub(crate) entered: Duration,
    /// When it was certainly there.
    pub(crate) arrived: Option<Duration>,
    /// Its temporary queue is no more,
    pub(crate) is_gone: bool,
    /// or may have been without a consumer once.
    pub(crate) was_left: bool,
    /// A restart may have left it in two queues, or in the one or the other; whether it was seen since.
    pub(crate) is_twofold: bool,
    pub(crate) was_found: bool,
    /// It moved since all was quiet,
    pub(crate) has_moved: bool,
    /// that it is consumed is stored for certain, and how often it was refused at least.
    pub(crate) is_settled: bool,
    pub(crate) kept_refused: u32,
    /// It came though somebody had settled it, before the process ended.
    pub(crate) has_reappeared: bool,
    /// Since when the disk was full when it was sent.
    pub(crate) found_full: Option<usize>,
    /// The process ended that had it, and nobody had stored it.
    pub(crate) is_forgotten: bool,
    /// Somebody has said that it is in a queue.
    pub(crate) is_sure: bool,
    /// How often it was handed out at least.
    pub(crate) seen: u32,
    /// When somebody read it whose connection had ended, by how often all was quiet.
    pub(crate) underway_at: Option<usize>,
    /// How often it was refused at most,
    pub(crate) refusals: u32,
    /// and at least.
    pub(crate) refused: u32,
    pub(crate) discarded: bool,
    /// Its consumer has word that it was discarded.
    pub(crate) is_doomed: bool,
    /// When it was refused last, as its consumer sees it.
    pub(crate) refused_at: Duration,
    /// No consumer gets it before that.
    pub(crate) not_before: Option<Duration>,
    /// Nothing keeps it from being handed out after that.
    pub(crate) rests_until: Duration,
    /// It could not be read from the disk once; until when it is not tried again.
    pub(crate) was_unreadable: bool,
    pub(crate) unread_until: Duration,
    /// How often all was quiet before it was sent,
    pub(crate) sent_at: usize,
    /// when it first was in its place for certain,
    pub(crate) placed_at: Option<usize>,
    /// since when it waits, and since when somebody has it.
    pub(crate) waits_since: Option<usize>,
    pub(crate) held_since: Option<usize>,
    pub(crate) consumed_at: Option<usize>,
}

impl Message {
    /// A message that is in no transaction and asks for nothing.
    pub(crate) fn new(origin: usize, destination: &'static str, size: usize) -> Message {
        Message {
            origin,
            destination,
            addressee: None,
            via: None,
            is_reply: false,
            letter: None,
            died: None,
            owner: None,
            size,
            excludes_self: false,
            mandatory: false,
            wishes: Wishes::default(),
            is_in_transaction: false,
            brings: None,
            fate: Fate::Never,
            order: 0,
            wanted: Vec::new(),
            most: 0,
            is_expected: false,
            known: 0,
            sent_event: 0,
            certain_at: None,
            id: None,
            hold: Hold::Free,
            place: destination,
            entered: Duration::ZERO,
            arrived: None,
            is_gone: false,
            was_left: false,
            is_twofold: false,
            was_found: false,
            has_moved: false,
            is_settled: false,
            kept_refused: 0,
            has_reappeared: false,
            found_full: None,
            is_forgotten: false,
            is_sure: false,
            seen: 0,
            underway_at: None,
            refusals: 0,
            refused: 0,
            discarded: false,
            is_doomed: false,
            refused_at: Duration::ZERO,
            not_before: None,
            rests_until: Duration::ZERO,
            was_unreadable: false,
            unread_until: Duration::ZERO,
            sent_at: 0,
            placed_at: None,
            waits_since: None,
            held_since: None,
            consumed_at: None,
        }
    }

    /// What tells it from others of the same origin and destination that have no order with it.
    pub(crate) fn lane(&self) -> &'static str {
        match (self.is_reply, self.via, self.addressee) {
            (true, _, Some(Addressee::User(_))) => "a reply to a user",
            (true, ..) => "a reply",
            // A COMMIT does not wait for what its session asked of handlers before.
            (_, Some(_), _) if self.is_in_transaction => "by a route in a transaction",
            (_, Some(via), _) => via,
            (.., addressee) => addressee.map_or("", Addressee::lane),
        }
    }

    pub(crate) fn is_for_queue(&self) -> bool {
        is_queue(self.place)
    }

    /// Whether all who were to get it had it before an event.
    pub(crate) fn is_known_before(&self, event: usize) -> bool {
        self.certain_at.is_some_and(|certain| certain < event)
    }

    pub(crate) fn is_temporary(&self) -> bool {
        is_temporary(self.place)
    }

    /// Whether it is a dead letter.
    pub(crate) fn is_letter(&self) -> bool {
        self.place != self.destination
    }

    /// What it asks of the queue where it is: as a dead letter it asks for nothing.
    pub(crate) fn present_wishes(&self) -> Wishes {
        let wishes = Wishes { persistent: self.wishes.persistent, ..Wishes::default() };
        if self.is_letter() { wishes } else { self.wishes }
    }

    /// Where it stands in its queue, beside its place.
    pub(crate) fn rank(&self, policy: &Policy) -> u8 {
        policy.rank(self.present_wishes().priority)
    }

    fn end(&self, policy: &Policy) -> Option<Moment> {
        self.present_wishes().expires.or(policy.ttl.map(Moment::After))
    }

    /// Whether its time may be over.
    pub(crate) fn may_be_expired(&self, policy: &Policy, now: Duration) -> bool {
        self.end(policy).is_some_and(|end| now >= end.after(self.entered))
    }

    /// Whether its time is over for certain.
    pub(crate) fn is_expired(&self, policy: &Policy, now: Duration) -> bool {
        let arrived = self.arrived.unwrap_or(now);
        self.end(policy).is_some_and(|end| now > end.after(arrived))
    }

    /// Whether nothing keeps it from being read.
    pub(crate) fn is_readable(&self, now: Duration) -> bool {
        !self.was_unreadable || now > self.unread_until
    }

    /// Whether its delay cannot be over.
    pub(crate) fn is_early(&self, now: Duration) -> bool {
        self.present_wishes().due.is_some_and(|due| now < due.after(self.entered))
    }

    /// Whether its delay is over for certain.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        let arrived = self.arrived.unwrap_or(now);
        self.present_wishes().due.is_none_or(|due| now > due.after(arrived))
    }

    /// Whether it asks for a longer delay than there is.
    pub(crate) fn asks_too_much(&self, policy: &Policy, now: Duration) -> bool {
        self.wishes.due.is_some_and(|due| due.after(now) > now + policy.max_delay)
    }
}

impl Moment {
    /// The moment, if the message was taken at `taken`.
    pub(crate) fn after(self, taken: Duration) -> Duration {
        match self {
            Moment::After(span) => taken + span,
            Moment::At(time) => time,
        }
    }
}

/// The body of a message: every octet there is, or letters only.
pub(crate) fn body(number: usize, size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| if number.is_multiple_of(2) { (number * 31 + at) as u8 } else { b'a' + ((number + at) % 26) as u8 })
        .collect()
}

/// A header that needs escapes.
pub(crate) fn note(number: usize) -> String {
    format!("c:\\{number}")
}
