//! RECEIPTs leave in the order of their frames, whenever the broker answers (G3).

use std::collections::VecDeque;

use bytestring::ByteString;

use super::Action;
use crate::message::{SubscriptionKey, Ticket};
use crate::stomp::{Command, Frame};

/// The frames that are not answered yet, and those that wait behind them for their turn.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    waiting: VecDeque<Pending>,
    /// The ticket of the first that waits; the others count up from it.
    first: u64,
    commits: u32,
}

/// A frame whose turn has not come.
#[derive(Debug)]
struct Pending {
    receipt: Option<ByteString>,
    what: Awaited,
    answer: Option<u32>,
}

/// What a verdict is awaited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// A SEND: its RECEIPT tells how many it reached (M6).
    Send,
    /// A SUBSCRIBE, for this subscription.
    Subscribe(SubscriptionKey),
    /// A SUBSCRIBE that an application destination answers.
    Ask,
    /// A COMMIT: no further frame is wanted until it is answered.
    Commit,
    /// Anything else that has a receipt.
    Other,
}

impl Awaited {
    /// Whether a session may go on after its refusal (X3).
    pub(super) fn is_survivable(self) -> bool {
        match self {
            Awaited::Send | Awaited::Subscribe(_) | Awaited::Ask => true,
            Awaited::Commit | Awaited::Other => false,
        }
    }
}

/// A frame that the broker refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) what: Awaited,
    pub(super) receipt: Option<ByteString>,
}

impl Receipts {
    /// A frame whose effect the broker will report by this ticket.
    pub(super) fn ask(&mut self, receipt: Option<&str>, what: Awaited) -> Ticket {
        let ticket = Ticket(self.first + self.waiting.len() as u64);
        self.commits += u32::from(what == Awaited::Commit);
        self.wait(receipt, what, None);
        ticket
    }

    /// A frame whose effect is complete.
    pub(super) fn complete(&mut self, receipt: Option<&str>, actions: &mut VecDeque<Action>) {
        match receipt {
            Some(receipt) if self.waiting.is_empty() => {
                actions.push_back(Action::Send(frame(receipt, None)));
            }
            Some(_) => self.wait(receipt, Awaited::Other, Some(0)),
            None => {}
        }
    }

    /// The broker did what the ticket is for, which is told. [`Receipts::give`] gives what thereby has its turn.
    pub(super) fn answer(&mut self, ticket: Ticket, matched: u32) -> Option<Awaited> {
        let pending = self.find(ticket)?;
        pending.answer = Some(matched);
        let what = pending.what;
        self.commits -= u32::from(what == Awaited::Commit);
        Some(what)
    }

    /// The broker refused what the ticket is for: there will be no RECEIPT.
    pub(super) fn refuse(&mut self, ticket: Ticket) -> Option<Refused> {
        let pending = self.find(ticket)?;
        pending.answer = Some(0);
        let refused = Refused { what: pending.what, receipt: pending.receipt.take() };
        self.commits -= u32::from(refused.what == Awaited::Commit);
        Some(refused)
    }

    /// Gives the RECEIPTs whose turn has come.
    pub(super) fn give(&mut self, actions: &mut VecDeque<Action>) {
        while let Some(Pending { receipt, what, answer: Some(matched) }) = self.waiting.front() {
            let matched = (*what == Awaited::Send).then_some(*matched);
            let receipt = receipt.as_ref().map(|receipt| frame(receipt, matched));
            actions.extend(receipt.map(Action::Send));
            self.waiting.pop_front();
            self.first += 1;
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
    }

    /// Whether a COMMIT is not answered yet.
    pub(super) fn awaits_commit(&self) -> bool {
        self.commits > 0
    }

    /// How many frames wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether all is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn wait(&mut self, receipt: Option<&str>, what: Awaited, answer: Option<u32>) {
        // A copy, so that a short name does not hold its frame's buffer.
        let receipt = receipt.map(|receipt| ByteString::from(receipt.to_owned()));
        self.waiting.push_back(Pending { receipt, what, answer });
    }

    /// The frame that still waits for this ticket's answer.
    fn find(&mut self, ticket: Ticket) -> Option<&mut Pending> {
        let index = usize::try_from(ticket.0.checked_sub(self.first)?).ok()?;
        self.waiting.get_mut(index).filter(|pending| pending.answer.is_none())
    }
}

fn frame(receipt: &str, matched: Option<u32>) -> Frame {
    let matched = matched.map(|matched| matched.to_string());
    let matched = matched.as_deref().map(|matched| ("matched", matched));
    Frame::new(Command::Receipt, [("receipt-id", receipt)].into_iter().chain(matched), "")
}
