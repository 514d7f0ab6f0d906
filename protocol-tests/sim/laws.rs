//! What a run may violate.

use std::fmt;

/// What was violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Law {
    /// Bytes that a strict client cannot read.
    Wire,
    /// A message that is not this subscription's, or is not what was sent.
    Stray,
    /// G4, Q1, and priorities.
    Order,
    /// A message that should have come has not.
    Lost,
    /// A message came again.
    Duplicate,
    /// Q1: one consumer at a time.
    TwoConsumers,
    /// Q3, Q4: marked, counted, delayed.
    Redelivery,
    /// Q3: moved to the dead letters with a cause, and where there is one.
    DeadLetter,
    /// What waits too long is not delivered, and what does not is not taken away.
    Expiry,
    /// Nothing comes before its delay is over.
    Delay,
    /// A group's messages go to one consumer.
    Group,
    /// One consumer has the queue for itself.
    Exclusive,
    /// One consumer is served, the others stand by.
    Active,
    /// A queue has more than it may, or gives the wrong message up.
    Limit,
    /// A queue that nobody needs stays as long as it should.
    Idle,
    /// A look at a queue shows what waits, and takes nothing.
    Browse,
    /// A temporary queue is its session's.
    Temporary,
    /// U9: a durable subscription is there as long as it should, and no longer.
    Durable,
    /// G3, M6.
    Receipt,
    /// Q5.
    Credit,
    /// G5: more waits for a client than it may.
    Outbox,
    /// An ERROR or a close without a cause, or none where there is a cause.
    Refusal,
    /// Q7.
    Transaction,
    /// B1.
    HeartBeat,
    /// Something that could go on does not.
    Stuck,
}

/// A broken law, and whose transcripts tell the story.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) law: Law,
    pub(crate) text: String,
    pub(crate) clients: Vec<usize>,
}

impl Violation {
    pub(crate) fn new(law: Law, text: impl fmt::Display, clients: impl IntoIterator<Item = usize>) -> Violation {
        Violation { law, text: text.to_string(), clients: clients.into_iter().collect() }
    }
}

pub(crate) type Check = Result<(), Violation>;
