//! One worker's part of the broker.

use std::sync::Arc;
use std::time::Instant;

use super::{Command, Effects, Interest, Options};
use crate::message::WorkerId;

/// The topic subscriptions of one worker's sessions, and the queues whose names hash to it.
///
/// After [`Shard::apply`] and [`Shard::handle_timeout`], ask [`Shard::poll_timeout`] when to come back.
#[derive(Debug)]
pub struct Shard {
    id: WorkerId,
    boot: u32,
    options: Arc<Options>,
    interest: Arc<Interest>,
}

impl Shard {
    /// An empty shard. `boot` differs between starts of the broker, so that message ids never repeat.
    pub fn new(id: WorkerId, boot: u32, options: Arc<Options>, interest: Arc<Interest>) -> Shard {
        Shard { id, boot, options, interest }
    }

    /// Does what `command` says, now.
    pub fn apply<E: Effects>(&mut self, now: Instant, command: Command, effects: &mut E) {
        let _ = (now, command, effects);
    }

    /// When [`Shard::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Hands out messages whose redelivery delay is over.
    pub fn handle_timeout<E: Effects>(&mut self, now: Instant, effects: &mut E) {
        let _ = (now, effects);
    }
}
