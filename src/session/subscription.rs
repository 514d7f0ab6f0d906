//! One subscription: what it delivers at once, what it holds back, and what its client has yet to settle.

use std::collections::VecDeque;
use std::sync::Arc;

use bytestring::ByteString;

use super::fault::Slow;
use super::ledger::{Found, Ledger, Name};
use super::{AckId, Action, Browse, Note, Options, Outgoing, Target};
use crate::destination::Destination;
use crate::message::{APP_DESTINATION, Delivery, SubscriptionKey, Tags, Ticket, WhenSlow};
use crate::stomp::{AckBy, AckMode};

/// A live subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) key: SubscriptionKey,
    pub(super) id: ByteString,
    pub(super) target: Target,
    pub(super) mode: AckMode,
    /// How this session's ACK and NACK name a message.
    pub(super) ack_by: AckBy,
    /// How many deliveries may be unsettled. For a queue its shard sees to that, for a topic we do (Q9).
    pub(super) credit: u32,
    /// What its messages say for `destination`, where that is not what they were routed by.
    pub(super) shown: Option<Box<Shown>>,
    /// Whether a `reply-to` has made it, and no SUBSCRIBE of the client's.
    pub(super) is_made: bool,
    /// Present where it only looks at a queue.
    pub(super) page: Option<Box<Page>>,
    /// Most subscriptions are to topics in mode `auto`, have fast clients, and never need it.
    pub(super) flow: Option<Box<Flow>>,
}

/// What the messages of a subscription say for `destination`.
#[derive(Debug)]
pub(super) enum Shown {
    /// The client's own word for a temporary queue.
    As(Destination),
    /// Where the message was sent before it came into the queue of workers: its header [`APP_DESTINATION`] has it.
    Original,
}

/// The messages that a subscription which browses has asked for.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// How many of them it has.
    seen: u32,
    /// The last of them.
    last: u64,
}

/// What is under way for a subscription.
#[derive(Debug, Default)]
pub(super) struct Flow {
    ledger: Ledger,
    /// For topics limited by `Options::max_held_messages` and `max_held_bytes`, for a queue by its credit.
    held: VecDeque<Delivery>,
}

/// What became of a delivery that was offered to a subscription.
#[derive(Debug)]
pub(super) enum Offered {
    /// To be written now.
    Deliver(Outgoing),
    /// Held back, and so many messages dropped for it, perhaps itself.
    Held(u32),
    /// The subscription is gone. A queue has been told, and takes its message back.
    Gone,
}

impl Offered {
    /// What the driver has to do about it.
    pub(super) fn action(self, subscription: SubscriptionKey) -> Option<Action> {
        match self {
            Offered::Deliver(outgoing) => Some(Action::Deliver(outgoing)),
            Offered::Held(0) | Offered::Gone => None,
            Offered::Held(count) => Some(Action::Note(Note::Dropped { subscription, count })),
        }
    }
}

impl Subscription {
    /// Whether deliveries must go through the session.
    pub(super) fn is_paced(&self) -> bool {
        self.is_broadcast() && self.mode != AckMode::Auto
    }

    /// Whether messages of a queue, or of a durable subscription, are its to settle.
    pub(super) fn settles(&self) -> bool {
        !self.is_broadcast() && self.page.is_none()
    }

    /// The action that takes it away.
    pub(super) fn unsubscribe(self, by_client: bool, ticket: Option<Ticket>) -> Action {
        let paced = self.is_paced();
        Action::Unsubscribe { subscription: self.key, id: self.id, target: self.target, paced, by_client, ticket }
    }

    /// Takes a delivery. `held_bytes` counts what all subscriptions of the session hold of topics.
    pub(super) fn offer(
        &mut self,
        delivery: Delivery,
        room: bool,
        options: &Options,
        held_bytes: &mut usize,
    ) -> Result<Offered, Slow> {
        if room && !self.holds() && self.has_credit() {
            return Ok(Offered::Deliver(self.deliver(delivery)));
        }
        if !self.is_broadcast() {
            self.flow().held.push_back(delivery);
            return Ok(Offered::Held(0));
        }
        if !room && delivery.when_slow == WhenSlow::Disconnect {
            return Err(Slow::Outbox(options.max_outbox_bytes));
        }
        self.flow().hold(delivery, options, held_bytes).map(Offered::Held)
    }

    /// The first message that is held back, if there is credit for it.
    pub(super) fn release(&mut self, held_bytes: &mut usize) -> Option<Outgoing> {
        if !self.has_credit() {
            return None;
        }
        let delivery = self.flow.as_mut()?.held.pop_front()?;
        if self.is_broadcast() {
            *held_bytes = held_bytes.saturating_sub(delivery.message.content.footprint());
        }
        let outgoing = self.deliver(delivery);
        self.tidy();
        Some(outgoing)
    }

    /// Whether [`Subscription::release`] would give a message.
    pub(super) fn is_releasable(&self) -> bool {
        self.holds() && self.has_credit()
    }

    /// Bytes of topics' messages that it holds back.
    pub(super) fn held_bytes(&self) -> usize {
        let held = self.flow.iter().filter(|_| self.is_broadcast()).flat_map(|flow| &flow.held);
        held.map(|delivery| delivery.message.content.footprint()).sum()
    }

    /// What a name in an ACK or NACK stands for.
    pub(super) fn find(&self, name: Name) -> Found {
        self.flow.as_ref().map_or(Found::Unknown, |flow| flow.ledger.find(name))
    }

    /// The delivery at `place` is settled, under `client` with all before it. Gives the tags for the queue.
    pub(super) fn settle(&mut self, place: usize) -> Tags {
        let (cumulative, memory) = (self.is_cumulative(), self.memory());
        self.flow().ledger.settle(place, cumulative, memory)
    }

    /// As [`Subscription::settle`], for when the transaction is committed.
    pub(super) fn reserve(&mut self, place: usize, transaction: u64) -> Tags {
        let cumulative = self.is_cumulative();
        self.flow().ledger.reserve(place, cumulative, transaction)
    }

    /// The transaction is over.
    pub(super) fn close_transaction(&mut self, transaction: u64, commit: bool) {
        let memory = self.memory();
        match &mut self.flow {
            Some(flow) if commit => flow.ledger.commit(transaction, memory),
            Some(flow) => flow.ledger.abort(transaction),
            None => {}
        }
    }

    /// Whether one ACK speaks for all deliveries before it.
    pub(super) fn is_cumulative(&self) -> bool {
        self.mode == AckMode::Client
    }

    fn deliver(&mut self, delivery: Delivery) -> Outgoing {
        let Delivery { mut message, tag, redeliveries, .. } = delivery;
        let shown = match self.shown.as_deref() {
            None => None,
            Some(Shown::As(destination)) => Some(destination.clone()),
            Some(Shown::Original) => message.content.headers.find_shared(APP_DESTINATION).map(Destination::new),
        };
        if let Some(shown) = shown {
            Arc::make_mut(&mut message).content.destination = shown;
        }
        // What ends a queue has no tag: it is no part of the page.
        if let (Some(page), Some(tag)) = (&mut self.page, tag) {
            page.seen += 1;
            page.last = tag.sequence;
        }
        let tag = tag.filter(|_| self.page.is_none());
        let ack = (self.mode != AckMode::Auto).then(|| {
            let number = self.flow().ledger.enter(message.id, tag);
            AckId { subscription: self.key, number }
        });
        Outgoing {
            subscription: self.key,
            id: self.id.clone(),
            message,
            settle_when_written: tag.filter(|_| ack.is_none()),
            ack,
            redeliveries,
        }
    }

    /// What to ask for, if all that was asked for is here.
    pub(super) fn next_page(&mut self) -> Option<Box<Browse>> {
        let page = self.page.as_mut().filter(|page| page.seen == self.credit)?;
        page.seen = 0;
        let Target::Queue(queue) = &self.target else { return None };
        let (subscription, queue, credit) = (self.key, queue.clone(), self.credit);
        Some(Box::new(Browse { subscription, queue, credit, after: page.last }))
    }

    /// Whether its messages go to all who subscribed, so that nobody keeps them for it.
    fn is_broadcast(&self) -> bool {
        matches!(self.target, Target::Topic(_) | Target::Own(_))
    }

    fn holds(&self) -> bool {
        self.flow.as_ref().is_some_and(|flow| !flow.held.is_empty())
    }

    fn has_credit(&self) -> bool {
        let unsettled = self.flow.as_ref().map_or(0, |flow| flow.ledger.len());
        !self.is_paced() || unsettled < self.credit as usize
    }

    /// How many settled messages to remember. Under `client` a client may settle what an earlier ACK has settled (Q8);
    /// where it names messages by number, the number alone tells that.
    fn memory(&self) -> usize {
        let by_message = self.ack_by != AckBy::AckId;
        if by_message && self.is_cumulative() { self.credit as usize } else { 0 }
    }

    fn flow(&mut self) -> &mut Flow {
        self.flow.get_or_insert_default()
    }

    /// In mode `auto` there is no ledger to keep.
    fn tidy(&mut self) {
        if self.mode == AckMode::Auto && !self.holds() {
            self.flow = None;
        }
    }
}

impl Flow {
    /// Holds a topic's message back as its policy says, and tells how many were dropped.
    fn hold(&mut self, delivery: Delivery, options: &Options, bytes: &mut usize) -> Result<u32, Slow> {
        let when_slow = delivery.when_slow;
        let mut dropped = 0;
        if when_slow == WhenSlow::KeepLatest {
            let destination = &delivery.message.content.destination;
            let same = |held: &Delivery| held.message.content.destination == *destination;
            let earlier = self.held.iter().position(same);
            dropped += self.drop_held(earlier, bytes);
        }
        *bytes += delivery.message.content.footprint();
        self.held.push_back(delivery);
        while let Some(limit) = self.passed(options, *bytes) {
            if when_slow == WhenSlow::Disconnect {
                return Err(limit);
            }
            // A pattern may take topics of several policies: what must not be dropped is not dropped for another's sake.
            let oldest = self.held.iter().position(|held| held.when_slow != WhenSlow::Disconnect);
            match self.drop_held(oldest, bytes) {
                0 => break,
                count => dropped += count,
            }
        }
        Ok(dropped)
    }

    /// The limit that is passed, if one is.
    fn passed(&self, options: &Options, bytes: usize) -> Option<Slow> {
        if self.held.len() > options.max_held_messages {
            Some(Slow::HeldMessages(options.max_held_messages))
        } else if bytes > options.max_held_bytes {
            Some(Slow::HeldBytes(options.max_held_bytes))
        } else {
            None
        }
    }

    fn drop_held(&mut self, place: Option<usize>, bytes: &mut usize) -> u32 {
        match place.and_then(|place| self.held.remove(place)) {
            Some(dropped) => {
                *bytes = bytes.saturating_sub(dropped.message.content.footprint());
                1
            }
            None => 0,
        }
    }
}
