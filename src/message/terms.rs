//! What a sender asks of a queue for one message.

use std::time::Duration;

use bytestring::ByteString;

use crate::headers::Headers;

/// The wishes of a SEND that only queues know. Most messages have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// From then on it is not to be delivered any more: `expires` or `expiration`.
    pub expires: Option<Moment>,
    /// Before then it is not to be delivered: `deliver-at` or `delay`.
    pub due: Option<Moment>,
    /// From 0 to 9: `priority`. It counts only in queues that have priorities, where 4 is what others have.
    pub priority: Option<u8>,
    /// The messages of a group go to one consumer while it lives: `JMSXGroupID` or `group`.
    pub group: Option<ByteString>,
    /// `persistent:true`.
    pub persistent: bool,
    /// A question to workers, whose asker waits no longer than it lives: nothing of it is kept, neither in the store nor among
    /// the dead letters.
    pub is_question: bool,
    /// It is for one client of those that Spring's broker relay stands for (P6). That may be gone for good, and so a queue that
    /// this message makes does not wait for it for ever.
    pub is_relayed: bool,
}

/// A moment as a client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long after the broker took the message.
    After(Duration),
    /// So many milliseconds after the beginning of 1970.
    At(u64),
}

/// A header that names a time is no whole number of milliseconds. Whoever wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header {0} is not a number of milliseconds")]
pub struct BadMillis(pub &'static str);

impl Terms {
    /// What these headers ask of a queue, or none if they ask for nothing.
    ///
    /// Of two spellings of the same wish the first counts. A priority that is no number is the application's own business, since
    /// it counts in few queues only.
    pub fn of_queue(headers: &Headers) -> Result<Option<Box<Terms>>, BadMillis> {
        let mut terms = Terms::default();
        for (name, value) in headers.iter() {
            match name {
                // As in JMS, zero is never.
                "expires" => set(&mut terms.expires, at("expires", value)?),
                "expiration" => set(&mut terms.expires, after("expiration", value)?),
                "deliver-at" => set(&mut terms.due, at("deliver-at", value)?),
                "delay" => set(&mut terms.due, after("delay", value)?),
                "AMQ_SCHEDULED_DELAY" => set(&mut terms.due, after("AMQ_SCHEDULED_DELAY", value)?),
                "priority" => set(&mut terms.priority, value.parse().ok()),
                "JMSXGroupID" | "group" if !value.is_empty() => set(&mut terms.group, headers.find_shared(name)),
                "persistent" => terms.persistent = value == "true",
                _ => {}
            }
        }
        Ok((terms != Terms::default()).then(|| Box::new(terms)))
    }

    /// What they ask of durable subscriptions to a topic. Nobody is told that he asks for it wrongly: to topics these headers are
    /// the application's own business.
    pub fn of_topic(headers: &Headers) -> Option<Box<Terms>> {
        let persistent = headers.find("persistent") == Some("true");
        let expires = headers.find("expires").and_then(|text| at("expires", text).ok()?);
        let expires = expires.or_else(|| headers.find("expiration").and_then(|text| after("expiration", text).ok()?));
        (persistent || expires.is_some()).then(|| Box::new(Terms { persistent, expires, ..Terms::default() }))
    }

    /// Says all moments by the time of day, given that of now: from here on the message may wait, be stored, and travel.
    pub fn resolve(&mut self, now_epoch_ms: u64) {
        for moment in [&mut self.expires, &mut self.due].into_iter().flatten() {
            *moment = Moment::At(moment.epoch_ms(now_epoch_ms));
        }
    }
}

impl Moment {
    /// The time of day that it names, if the message was taken at `taken_epoch_ms`.
    pub fn epoch_ms(self, taken_epoch_ms: u64) -> u64 {
        match self {
            Moment::At(epoch_ms) => epoch_ms,
            Moment::After(span) => taken_epoch_ms.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// The milliseconds that a header says. What does not fit is the greatest that does: never.
pub fn millis(header: &'static str, text: &str) -> Result<u64, BadMillis> {
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if is_number { Ok(text.parse().unwrap_or(u64::MAX)) } else { Err(BadMillis(header)) }
}

fn set<T>(wish: &mut Option<T>, value: Option<T>) {
    if wish.is_none() {
        *wish = value;
    }
}

fn at(header: &'static str, text: &str) -> Result<Option<Moment>, BadMillis> {
    Ok(Some(millis(header, text)?).filter(|time| *time > 0).map(Moment::At))
}

fn after(header: &'static str, text: &str) -> Result<Option<Moment>, BadMillis> {
    Ok(Some(millis(header, text)?).filter(|span| *span > 0).map(|span| Moment::After(Duration::from_millis(span))))
}
