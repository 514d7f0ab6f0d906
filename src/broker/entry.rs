//! A message of a queue, in memory or only in the store.

use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use crate::hash::Keyed;
use crate::message::{Message, SessionId, WorkerId};

/// A message of a queue, and what it has been through.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) cargo: Cargo,
    /// Its number in the store, where it is kept there too.
    pub(super) stored: Option<NonZeroU64>,
    /// From when on it is not to be delivered.
    pub(super) expires: Option<Instant>,
    /// The group that it is of.
    pub(super) group: Option<GroupKey>,
    /// How often it was handed out.
    pub(super) handed_out: u32,
    /// How often a consumer refused it.
    pub(super) refused: u32,
    /// How often it came back from a consumer who stayed.
    pub(super) returned: u32,
    /// Lower ones come first; all have the same where priority does not count.
    pub(super) rank: u8,
}

/// The message itself, or what its queue must know of one that is only in the store. Small, since there may be millions.
#[derive(Clone, Debug)]
pub(super) enum Cargo {
    /// It is in memory.
    Here(Arc<Message>),
    /// It is to be read before it is delivered.
    Away {
        /// The key of the session that sent it.
        origin: u64,
        /// How many bytes it takes in memory.
        bytes: u32,
        /// The worker of that session.
        worker: WorkerId,
    },
}

/// Stands for the name of a group. Two groups that share one have the same consumer, which harms nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupKey(NonZeroU64);

/// Where a message stands: by its rank, and then by when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) rank: u8,
    pub(super) sequence: u64,
}

/// How many bits of a cursor are the sequence: more than a queue ever counts to.
const SEQUENCE_BITS: u32 = 56;

impl Entry {
    /// A message that nobody has had yet.
    pub(super) fn new(message: Arc<Message>) -> Entry {
        Entry {
            cargo: Cargo::Here(message),
            stored: None,
            expires: None,
            group: None,
            handed_out: 0,
            refused: 0,
            returned: 0,
            rank: 0,
        }
    }

    /// Its place, if it has this sequence.
    pub(super) fn at(&self, sequence: u64) -> Place {
        Place { rank: self.rank, sequence }
    }
}

impl Cargo {
    pub(super) fn message(&self) -> Option<&Arc<Message>> {
        match self {
            Cargo::Here(message) => Some(message),
            Cargo::Away { .. } => None,
        }
    }

    pub(super) fn is_away(&self) -> bool {
        matches!(self, Cargo::Away { .. })
    }

    /// The session that sent it.
    pub(super) fn origin(&self) -> SessionId {
        match self {
            Cargo::Here(message) => message.origin,
            Cargo::Away { origin, worker, .. } => SessionId { worker: *worker, key: *origin },
        }
    }

    /// Bytes that it takes in memory, or would.
    pub(super) fn footprint(&self) -> usize {
        match self {
            Cargo::Here(message) => message.content.footprint(),
            Cargo::Away { bytes, .. } => *bytes as usize,
        }
    }

    /// The same message, as the store has brought it back: of who sent it, that knows nothing.
    pub(super) fn here(&self, message: Arc<Message>) -> Cargo {
        let mut message = Arc::unwrap_or_clone(message);
        message.origin = self.origin();
        Cargo::Here(Arc::new(message))
    }

    /// The same message, but only in the store.
    pub(super) fn away(&self) -> Cargo {
        let SessionId { worker, key } = self.origin();
        Cargo::Away { origin: key, bytes: u32::try_from(self.footprint()).unwrap_or(u32::MAX), worker }
    }
}

impl GroupKey {
    /// The group of a message, if it is in one.
    pub(super) fn of(message: &Message) -> Option<GroupKey> {
        let group = message.content.terms.as_ref()?.group.as_deref()?;
        Some(GroupKey(NonZeroU64::new(Keyed::default().hash_one(group)).unwrap_or(NonZeroU64::MIN)))
    }
}

impl Place {
    /// The place as one number, for those who come back to it.
    pub(super) fn cursor(self) -> u64 {
        u64::from(self.rank) << SEQUENCE_BITS | self.sequence
    }

    /// What [`Place::cursor`] has made a number of.
    pub(super) fn at_cursor(cursor: u64) -> Place {
        let rank = u8::try_from(cursor >> SEQUENCE_BITS).unwrap_or(u8::MAX);
        Place { rank, sequence: cursor & ((1 << SEQUENCE_BITS) - 1) }
    }

    /// Greater for what may be given up later.
    pub(super) fn age(self) -> (std::cmp::Reverse<u8>, u64) {
        (std::cmp::Reverse(self.rank), self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_small() {
        assert!(size_of::<Cargo>() <= 16, "{}", size_of::<Cargo>());
        assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
    }
}
