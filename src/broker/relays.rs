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
    /// Workers that have not answered, and durable subscriptions that wait for the store.
    relays: u32,
    /// Subscriptions and queues reached so far.
    reached: u32,
    /// A destination that must reach somebody (M6).
    mandatory: Option<ByteString>,
    /// Why a durable subscription could not keep it.
    refusal: Option<Refusal>,
}

impl Relays {
    /// Begins to wait for `relays` answers, `reached` being reached already.
    pub(super) fn wait(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        relays: u32,
        reached: u32,
        mandatory: Option<ByteString>,
    ) {
        self.waiting.insert((session, ticket), Waiting { relays, reached, mandatory, refusal: None });
    }

    /// One worker has handed the message to its subscriptions, but for `more` durable ones that wait for the store and answer
    /// by themselves; or one of those has. Answers with the verdict if it was the last.
    pub(super) fn arrived(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        reached: Verdict,
        more: u32,
    ) -> Option<Verdict> {
        let waiting = self.waiting.get_mut(&(session, ticket))?;
        waiting.relays = waiting.relays.saturating_add(more).saturating_sub(1);
        match reached {
            Ok(reached) => waiting.reached = waiting.reached.saturating_add(reached),
            Err(refusal) => waiting.refusal = Some(refusal),
        }
        if waiting.relays > 0 {
            return None;
        }
        let done = self.waiting.remove(&(session, ticket))?;
        Some(match (done.refusal, done.mandatory) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(destination)) if done.reached == 0 => Err(Refusal::Unroutable(destination)),
            (None, _) => Ok(done.reached),
        })
    }
}
