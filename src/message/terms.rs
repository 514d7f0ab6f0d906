//! What a sender asks of a queue for one message.

use std::time::Duration;

use bytestring::ByteString;

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
}

/// A moment as a client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long after the broker took the message.
    After(Duration),
    /// So many milliseconds after the beginning of 1970.
    At(u64),
}

impl Terms {
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
