//! Pure routing and queue state: commands in, effects out.
//!
//! A [`Shard`] belongs to one worker. It keeps the topic subscriptions of that worker's sessions and the queues whose
//! names hash to it. A command that concerns another worker's shard leaves as an effect, [`Effects::post`], and is
//! applied there.

mod admission;
mod backlog;
mod command;
mod consumers;
mod entry;
mod groups;
mod interest;
mod letter;
mod matcher;
mod options;
mod policy;
mod queue;
mod queues;
mod relays;
mod shard;
mod storage;
mod topics;
mod transaction;
mod users;

pub use command::{
    Change, Command, Consumer, Effects, History, Note, Recipient, Subscriber, TransactionId, UNAWAITED, Whose,
};
pub use interest::Interest;
pub use options::{
    DurableOptions, Options, Overflow, QueueOptions, QueuePolicy, TopicOptions, TopicPolicy, WhenExpired,
};
pub use queue::QueueStats;
pub use shard::{Shard, ShardStats};
