//! Faults on the way from the broker to its clients, to prove that the model would notice them.

use crate::model::{Law, Session};
use crate::wire::{Frame, Received};

/// What a tap does, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    DropTopicMessage,
    DropQueueMessage,
    DoubleMessage,
    SwapMessages,
    SwapReceipts,
    DropReceipt,
    MiscountMatched,
    ForgetRedelivered,
    OtherSubscription,
    OtherBody,
    DropError,
    SpuriousError,
}

impl Fault {
    /// All faults, and as what the model reports each.
    pub(crate) const ALL: [(Fault, &[Law]); 12] = [
        (Fault::DropTopicMessage, &[Law::Lost]),
        (Fault::DropQueueMessage, &[Law::Lost, Law::Stuck]),
        (Fault::DoubleMessage, &[Law::Duplicate, Law::TwoConsumers]),
        (Fault::SwapMessages, &[Law::Order]),
        (Fault::SwapReceipts, &[Law::Receipt]),
        (Fault::DropReceipt, &[Law::Receipt]),
        (Fault::MiscountMatched, &[Law::Receipt]),
        (Fault::ForgetRedelivered, &[Law::Redelivery]),
        (Fault::OtherSubscription, &[Law::Stray]),
        (Fault::OtherBody, &[Law::Stray]),
        (Fault::DropError, &[Law::Refusal, Law::Receipt]),
        (Fault::SpuriousError, &[Law::Refusal]),
    ];
}

/// Sits between the broker and the model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tap {
    fault: Option<Fault>,
    pub(crate) has_acted: bool,
}

impl Tap {
    pub(crate) fn new(fault: Fault) -> Tap {
        Tap { fault: Some(fault), has_acted: false }
    }

    /// Perhaps changes what a client is about to receive.
    pub(crate) fn apply(&mut self, batch: &mut Vec<Received>, session: &Session) {
        let Some(fault) = self.fault.filter(|_| !self.has_acted && session.is_sound()) else {
            return;
        };
        self.has_acted = match fault {
            Fault::DropTopicMessage => drop_first(batch, |frame| is_message(frame, "/topic/")),
            Fault::DropQueueMessage => drop_first(batch, |frame| is_message(frame, "/queue/")),
            Fault::DropReceipt => drop_first(batch, |frame| frame.command == "RECEIPT"),
            Fault::DropError => drop_first(batch, |frame| frame.command == "ERROR"),
            Fault::DoubleMessage => {
                let at = find(batch, |frame| frame.command == "MESSAGE");
                let copy = at.map(|at| (at, batch[at].clone()));
                copy.map(|(at, copy)| batch.insert(at, copy)).is_some()
            }
            Fault::SwapMessages => swap(batch, |first, second| {
                let same = |name| first.header(name) == second.header(name);
                is_message(first, "/") && ["subscription", "destination", "from"].into_iter().all(same)
            }),
            Fault::SwapReceipts => {
                swap(batch, |first, second| first.command == "RECEIPT" && second.command == "RECEIPT")
            }
            Fault::MiscountMatched => change(batch, "matched", |_| "77".into()),
            Fault::OtherSubscription => change(batch, "subscription", |id| format!("{id}x")),
            Fault::ForgetRedelivered => alter(batch, |frame| {
                let before = frame.headers.len();
                frame.headers.retain(|(name, _)| !name.starts_with("redeliver"));
                frame.headers.len() < before
            }),
            Fault::OtherBody => alter(batch, |frame| {
                let first = frame.body.first_mut().filter(|_| frame.command == "MESSAGE");
                first.map(|octet| *octet ^= 1).is_some()
            }),
            Fault::SpuriousError => {
                let error = Frame::new("ERROR").with("message", "none").with("code", "slow-consumer");
                batch.push(Received::Frame(error));
                true
            }
        };
    }
}

fn is_message(frame: &Frame, prefix: &str) -> bool {
    frame.command == "MESSAGE" && frame.header("destination").is_some_and(|to| to.starts_with(prefix))
}

fn find(batch: &[Received], is_it: impl Fn(&Frame) -> bool) -> Option<usize> {
    batch.iter().position(|received| matches!(received, Received::Frame(frame) if is_it(frame)))
}

fn drop_first(batch: &mut Vec<Received>, is_it: impl Fn(&Frame) -> bool) -> bool {
    find(batch, is_it).map(|at| batch.remove(at)).is_some()
}

fn swap(batch: &mut [Received], are_they: impl Fn(&Frame, &Frame) -> bool) -> bool {
    let pairs = |at: &usize| match &batch[*at..*at + 2] {
        [Received::Frame(first), Received::Frame(second)] => are_they(first, second),
        _ => false,
    };
    let at = (0..batch.len().saturating_sub(1)).find(pairs);
    at.map(|at| batch.swap(at, at + 1)).is_some()
}

fn alter(batch: &mut [Received], mut alter: impl FnMut(&mut Frame) -> bool) -> bool {
    batch.iter_mut().any(|received| match received {
        Received::Frame(frame) => alter(frame),
        _ => false,
    })
}

fn change(batch: &mut [Received], name: &str, value: impl Fn(&str) -> String) -> bool {
    alter(batch, |frame| {
        let header = frame.headers.iter_mut().find(|(own, _)| own == name);
        header.map(|(_, own)| *own = value(own)).is_some()
    })
}
