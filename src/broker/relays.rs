//! Topic messages on their way to other workers, where somebody waits to hear that they arrived.

use std::collections::HashMap;

use bytestring::ByteString;

use crate::hash::Keyed;
use crate::message::{Refusal, SessionId, Ticket, Verdict};

/// What a RECEIPT waits for (G3): until the other workers have handed a message to their subscribers, somebody could
/// still unsubscribe between the RECEIPT and the message.
///
/// Bounded by what each session may have unanswered (`limits.pending_receipts`). A message without a receipt is not
/// waited for and costs nothing here.
#[derive(Debug, Default)]
pub(super) struct Relays {
    waiting: HashMap<(SessionId, Ticket), Waiting, Keyed>,
}

#[derive(Debug)]
struct Waiting {
    /// Workers that have not answered.
    relays: u32,
    /// Subscriptions and queues reached so far.
    reached: u32,
    /// A destination that must reach somebody (M6).
    mandatory: Option<ByteString>,
}

impl Relays {
    /// Begins to wait for `relays` workers, `reached` being reached already.
    pub(super) fn wait(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        relays: u32,
        reached: u32,
        mandatory: Option<ByteString>,
    ) {
        self.waiting.insert((session, ticket), Waiting { relays, reached, mandatory });
    }

    /// One worker has handed the message to `reached` subscriptions. Answers with the verdict if it was the last.
    pub(super) fn arrived(&mut self, session: SessionId, ticket: Ticket, reached: u32) -> Option<Verdict> {
        let waiting = self.waiting.get_mut(&(session, ticket))?;
        waiting.relays = waiting.relays.saturating_sub(1);
        waiting.reached = waiting.reached.saturating_add(reached);
        if waiting.relays > 0 {
            return None;
        }
        let done = self.waiting.remove(&(session, ticket))?;
        Some(match done.mandatory {
            Some(destination) if done.reached == 0 => Err(Refusal::Unroutable(destination)),
            _ => Ok(done.reached),
        })
    }
}
