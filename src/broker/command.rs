//! What goes into a shard, and what comes out of it.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytestring::ByteString;

use crate::destination::{Destination, OwnStream, Pattern};
use crate::message::{
    Binding, Delivery, Message, Operation, Outcome, Refusal, SessionId, SubscriberId, SubscriptionKey, Tag, Tags,
    Ticket, Verdict, WhenSlow, WorkerId,
};

/// A subscription of one of this worker's sessions to topics, or to streams of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Whose it is.
    pub id: SubscriberId,
    /// The driver's own number for the encoding that this subscriber shares with others; opaque to the shard.
    pub label: u32,
    /// Not to be given messages of its own session (M5).
    pub no_local: bool,
    /// Whether each delivery must go through the session; opaque to the shard.
    pub paced: bool,
}

/// A queue subscription of a session on any worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Whose it is.
    pub id: SubscriberId,
    /// How many unsettled deliveries it may have.
    pub credit: u32,
    /// Not to be given messages of its own session (M5).
    pub no_local: bool,
    /// Whether the queue, with what is in it, is gone when its last consumer leaves: once one of them has said so (P6).
    pub ends_queue: bool,
}

/// Whose streams a message to a user destination goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of every session of a user.
    User,
    /// Those of one session.
    Session,
}

/// Whom a message to a user destination is for, and what of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Which kind of name the key is made of.
    pub whose: Whose,
    /// What it goes by: made by `Space::stream_key`, and nothing that a client could subscribe to.
    pub key: Destination,
    /// The destination as its sender wrote it.
    pub asked: Destination,
}

/// Names a transaction while the shards that it touches prepare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId {
    /// The session that commits.
    pub session: SessionId,
    /// The ticket of its COMMIT.
    pub ticket: Ticket,
}

/// What a shard can be asked to do, besides [`Shard::publish`](super::Shard::publish). The driver gives every command of a
/// session to the shard of that session's worker; commands from [`Effects::post`] go to the shard named there.
///
/// Small, since many are moved from worker to worker.
#[derive(Debug)]
pub enum Command {
    /// Fan a topic message of another worker out to this worker's subscribers.
    Relay {
        /// The message.
        message: Arc<Message>,
        /// Set where the sender waits for a RECEIPT: to be answered by `Relayed`.
        ticket: Option<Ticket>,
    },
    /// As `Relay`, for a message to a user destination.
    RelayToUser {
        /// Whom it is for.
        recipient: Box<Recipient>,
        /// The message. It shows what its receivers subscribed to.
        message: Arc<Message>,
        /// As in `Relay`.
        ticket: Option<Ticket>,
    },
    /// The answer to `Relay` and `RelayToUser`, for the worker of the sender.
    Relayed {
        /// The sender.
        session: SessionId,
        /// As in `Relay`.
        ticket: Ticket,
        /// How many subscriptions got the message, or why a durable one did not.
        reached: Verdict,
        /// How many more such answers will come: from durable subscriptions that wait for the store.
        more: u32,
    },
    /// Put a message into a queue that lives here.
    Enqueue {
        /// The message.
        message: Arc<Message>,
        /// As in [`Shard::publish`](super::Shard::publish); the verdict goes to the message's origin.
        ticket: Option<Ticket>,
    },
    /// Put a message into the dead-letter queue that lives here, since its own queue is full. If this one is too, the
    /// sender is told.
    Divert {
        /// The message, addressed to the dead-letter queue.
        message: Arc<Message>,
        /// As in `Enqueue`.
        ticket: Option<Ticket>,
    },
    /// A session subscribed to topics.
    Subscribe {
        /// The subscription.
        subscriber: Subscriber,
        /// What it takes.
        pattern: Pattern,
        /// Answered when it is live.
        ticket: Option<Ticket>,
    },
    /// A session gave up a topic subscription, or is gone.
    Unsubscribe {
        /// The subscription.
        subscriber: SubscriberId,
        /// What it took.
        pattern: Pattern,
        /// Answered when it is gone.
        ticket: Option<Ticket>,
    },
    /// A session subscribed to streams of its own (P1).
    SubscribeOwn {
        /// The subscription.
        subscriber: Subscriber,
        /// What it takes.
        stream: OwnStream,
        /// Answered when it is live.
        ticket: Option<Ticket>,
    },
    /// A session gave up a subscription to streams of its own, or is gone.
    UnsubscribeOwn {
        /// The subscription.
        subscriber: SubscriberId,
        /// Answered when it is gone.
        ticket: Option<Ticket>,
    },
    /// A session subscribed to a queue.
    Consume {
        /// The subscription.
        consumer: Consumer,
        /// A subscription of the session to this queue that ends in the same moment, as by [`Command::Cancel`]: what it had to
        /// settle is back in its place before anybody gets more, and a queue that ends with its last subscription does not (U6).
        replaces: Option<SubscriptionKey>,
        /// The queue.
        queue: Destination,
        /// Answered when it is live.
        ticket: Option<Ticket>,
    },
    /// A session subscribed to topics for good: the subscription stays when the session goes, and keeps what it takes.
    Attach {
        /// The session's part of it, as of a queue.
        consumer: Consumer,
        /// The subscription. One that is known by the same queue but takes something else is replaced.
        binding: Box<Binding>,
        /// Answered when it is live, and stored where there is a store.
        ticket: Option<Ticket>,
    },
    /// A session wants a durable subscription to be no more, with all it keeps. [`Command::Cancel`] only ends the session's
    /// part of it.
    Forget {
        /// Who is answered.
        session: SessionId,
        /// The queue that it is known by.
        queue: Destination,
        /// Answered when it is gone, or not there.
        ticket: Option<Ticket>,
    },
    /// A session wants to see what waits in a queue, without taking it. It gets at most as many messages as its credit
    /// says. If there are fewer, a message with the header `browser:end` and without a tag follows; otherwise it may come
    /// again.
    Browse {
        /// The subscription.
        reader: Consumer,
        /// The queue.
        queue: Destination,
        /// The sequence in the tag of the last message it has seen.
        after: Option<u64>,
        /// Answered before the first message.
        ticket: Option<Ticket>,
    },
    /// A session gave up a queue subscription, or is gone: its unsettled deliveries return to their place (Q4).
    Cancel {
        /// The subscription.
        consumer: SubscriberId,
        /// The queue.
        queue: Destination,
        /// Answered when it is gone.
        ticket: Option<Ticket>,
    },
    /// These deliveries are on their way to a client that ends their subscription, and still reach it: that end is not to return
    /// them. They are settled when they are written, as consumed, or as [`Outcome::Returned`] when they cannot be. All tags have
    /// one home; those that are not unsettled are ignored.
    Keep {
        /// Who has them.
        session: SessionId,
        /// Which deliveries.
        tags: Tags,
    },
    /// Settle deliveries of one consumer; all tags have one home. Tags that are not unsettled any more are ignored.
    Settle {
        /// Who settles.
        session: SessionId,
        /// Which deliveries.
        tags: Tags,
        /// What became of them.
        outcome: Outcome,
        /// Answered when it is done.
        ticket: Option<Ticket>,
    },
    /// Do all of these, or none (Q7). There is always a verdict; the session sends nothing else before it is there,
    /// which keeps what follows the transaction behind it (G4).
    Commit {
        /// Names the committing session and its ticket.
        transaction: TransactionId,
        /// What to do, in order.
        operations: Vec<Operation>,
    },
    /// First phase at one home: check and reserve, change nothing that shows.
    Prepare {
        /// The transaction.
        transaction: TransactionId,
        /// The messages for queues that live here, in order.
        messages: Vec<Arc<Message>>,
        /// Deliveries of queues that live here to settle: held for the transaction from now on, so that the end of
        /// the session cannot take them out of it.
        settles: Vec<(Tags, Outcome)>,
    },
    /// A home's answer to `Prepare`, for the worker of the committing session.
    Prepared {
        /// The transaction.
        transaction: TransactionId,
        /// Who answers.
        home: WorkerId,
        /// Whether this home can do its part.
        ///
        /// What must be stored for it, together with the parts of all other homes.
        answer: Result<Vec<Change>, Refusal>,
    },
    /// Second phase at one home: apply what was prepared, or forget it.
    Finish {
        /// The transaction.
        transaction: TransactionId,
        /// True: apply. False: forget.
        apply: bool,
    },
    /// Put a message that another queue gave up into the dead-letter queue that lives here.
    DeadLetter {
        /// The message, addressed to the dead-letter queue.
        message: Arc<Message>,
        /// Where it still is kept until the answer is there.
        from: Tag,
        /// The number of that one in the store: to be forgotten there in the moment in which this one is stored.
        replaces: Option<NonZeroU64>,
    },
    /// The answer to `DeadLetter`, for the home of the queue that gave the message up.
    DeadLettered {
        /// As in `DeadLetter`.
        from: Tag,
        /// Whether the dead-letter queue took it. If not, it stays where it is and is tried again after the longest
        /// redelivery delay.
        accepted: bool,
    },
    /// The store has answered what [`Effects::store`] of this shard asked of it.
    Stored {
        /// As it was asked.
        ticket: u64,
        /// Whether it is now as durable as the store promises. A failure: it has no effect.
        result: Result<(), Refusal>,
    },
    /// What [`Effects::fetch`] of this shard asked for is read.
    Fetched {
        /// As it was asked.
        queue: u64,
        /// One for each that was asked for, in that order. None: it cannot be read.
        found: Vec<Option<Arc<Message>>>,
    },
    /// The queue that lives here may have been handed out up to this message of the store before the broker started. Before its
    /// messages.
    RestoreMark {
        /// The queue.
        queue: Destination,
        /// The last such message.
        up_to: u64,
    },
    /// Put a message back into the queue that lives here, as the store has kept it. Before anything else happens, and in the
    /// order of the sequences.
    Restore {
        /// The queue.
        queue: Destination,
        /// The message.
        message: Arc<Message>,
        /// Its number in the store.
        sequence: u64,
        /// What it has been through.
        history: History,
    },
    /// Bring a durable subscription back that lives here, as the store has kept it. As with `Restore`, and before its messages.
    Rebind {
        /// The queue that it is known by.
        queue: Destination,
        /// What it takes, as its client wrote it.
        topic: ByteString,
        /// Its number in the store.
        sequence: u64,
    },
    /// Everything is back that the store has kept.
    Restored,
}

/// What a message has been through before the broker started, as far as the store knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How often it was handed out.
    pub redeliveries: u32,
    /// How often it was refused.
    pub refused: u32,
    /// Before when it is not to be handed out again, in milliseconds since 1970.
    pub not_before: u64,
    /// When the broker took it, in milliseconds since 1970.
    pub taken_at: u64,
}

/// One change of what is stored.
#[derive(Clone, Debug)]
pub enum Change {
    /// Keep a message of a queue.
    Append {
        /// Its number in the store.
        sequence: u64,
        /// The queue.
        queue: Destination,
        /// The message, addressed to the queue, or to a topic that a durable subscription takes.
        message: Arc<Message>,
        /// When it was taken, in milliseconds since 1970.
        taken_at: u64,
        /// When it is no longer wanted, in milliseconds since 1970.
        expires_at: Option<u64>,
    },
    /// Remember a durable subscription.
    Bind {
        /// Its number in the store.
        sequence: u64,
        /// The queue that it is known by.
        queue: Destination,
        /// What it takes, as its client wrote it.
        topic: ByteString,
        /// When it was made, in milliseconds since 1970.
        made_at: u64,
    },
    /// Remember what a message has been through.
    State {
        /// The message.
        sequence: u64,
        /// How often it was handed out.
        redeliveries: u32,
        /// How often it was refused.
        refused: u32,
        /// Before when it is not to be handed out again, in milliseconds since 1970; zero for at once.
        not_before: u64,
    },
    /// Forget a message, or a durable subscription.
    Delete {
        /// Its number.
        sequence: u64,
    },
    /// Remember how far a queue may have been handed out.
    Mark {
        /// The queue.
        queue: Destination,
        /// The last message that may have been; zero: none.
        up_to: u64,
    },
}

/// The ticket of changes that nobody waits for.
pub const UNAWAITED: u64 = 0;

/// What a shard does to the world around it. The driver, the simulation and the unit tests each bring their own.
pub trait Effects {
    /// A message of a topic or to a user destination, for a subscriber of this worker.
    fn deliver_topic(&mut self, subscriber: &Subscriber, message: &Arc<Message>, when_slow: WhenSlow);
    /// A queue message for a consumer, who may live on any worker.
    fn deliver(&mut self, consumer: SubscriberId, delivery: Delivery);
    /// The answer to a ticket, or a refusal without one, for a session on any worker.
    fn verdict(&mut self, session: SessionId, ticket: Option<Ticket>, verdict: Verdict);
    /// A command for another worker's shard. What is posted from one worker to another arrives in that order, and
    /// none of it is lost: the order of topic messages, and transactions, rest on that.
    fn post(&mut self, worker: WorkerId, command: Command);
    /// Changes of what is stored, to be made all or none. [`Command::Stored`] with this ticket is to tell when that is done,
    /// unless the ticket is [`UNAWAITED`]. Marks and states must reach the store in the order of these calls, whoever waits for
    /// them: a queue can end and be made anew within one turn. Only called on shards that [use a store](super::Shard::use_store).
    fn store(&mut self, ticket: u64, changes: Vec<Change>);
    /// Messages of this shard that are only in the store, to be read; `queue` is the shard's own name for theirs.
    /// [`Command::Fetched`] is to bring them. Each queue waits for that before it asks again.
    fn fetch(&mut self, queue: u64, sequences: Vec<u64>);
    /// Something an operator wants counted or logged.
    fn note(&mut self, note: Note);
}

/// What a shard tells the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A message reached nobody.
    Unrouted(Destination),
    /// A message to a user destination reached nobody: the user is unknown or absent, or did not subscribe (P5).
    UserAbsent(Destination),
    /// A message for a destination under no prefix was dropped, as `profile = "spring"` asks (U8).
    UnknownDropped(Destination),
    /// A message moved to the dead letters.
    DeadLettered {
        /// The queue it was in.
        queue: Destination,
        /// Stable reason, such as `max-deliveries`.
        reason: &'static str,
    },
    /// The dead-letter queue did not take a message, or the message was in it already: it stays in its queue and is
    /// tried again after the longest redelivery delay.
    DeadLetterRefused {
        /// The queue it is in.
        queue: Destination,
        /// Stable reason, such as `max-deliveries`.
        reason: &'static str,
    },
    /// A consumer discarded a message, and no dead-letter queue is configured.
    Lost {
        /// The queue it was in.
        queue: Destination,
        /// Stable reason.
        reason: &'static str,
    },
    /// Messages were dropped, as their queue's policy asks.
    Dropped {
        /// The queue they were in.
        queue: Destination,
        /// Stable reason: `expired` or `overflow`.
        reason: &'static str,
        /// How many.
        count: usize,
    },
    /// Stored messages could not be read. They stay, and are tried again after the longest redelivery delay.
    Unreadable {
        /// Their queue.
        queue: Destination,
        /// How many.
        count: usize,
    },
    /// A durable subscription was abandoned for too long, and is no more.
    Abandoned {
        /// The queue that it was known by.
        queue: Destination,
        /// How many messages are gone with it.
        count: usize,
    },
    /// A durable subscription is back, but what it takes is under no topic's prefix any more: it takes nothing.
    Unbound(Destination),
    /// A limit was reached.
    LimitReached(Refusal),
}
