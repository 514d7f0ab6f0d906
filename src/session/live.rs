//! A session between CONNECTED and its end: what each request does.

use std::collections::VecDeque;
use std::time::Instant;

use bytestring::ByteString;

use super::application;
use super::content::content_of;
use super::durable::client_id;
use super::fault::{Fault, Limit, Violation};
use super::heartbeat::HeartBeats;
use super::identity::Identity;
use super::ledger::{Found, Name};
use super::receipts::{Awaited, Receipts, Refused};
use super::subscription::{Shown, Subscription};
use super::subscriptions::Subscriptions;
use super::temporary::{ends_queue, is_relayed, own_queue};
use super::terms::delay_of;
use super::transaction::Transactions;
use super::{AckId, Action, Note, Options, Subscribe, Target};
use crate::destination::{Destination, Kind, Unknown};
use crate::message::{MessageId, Operation, Outcome, Refusal, SubscriptionKey, Terms, Ticket, Verdict};
use crate::stomp::{self, AckMode, AckName, Connect, Request, Send, Settle, Unsubscribe, Version};

/// The spellings of the header that limits unsettled messages (Q5, U9).
const PREFETCH: [&str; 2] = ["prefetch-count", "activemq.prefetchSize"];

/// The state of a connected session.
#[derive(Debug)]
pub(super) struct Live {
    /// What the session is called, and its temporary queues after it.
    pub(super) name: Box<str>,
    /// What its user is called, where it has one.
    pub(super) user: Option<Box<str>>,
    pub(super) version: Version,
    /// What the client calls itself: the owner of its durable subscriptions.
    pub(super) client_id: Option<Box<str>>,
    /// Whether a refused SUBSCRIBE or SEND leaves the session alive (X3).
    pub(super) continues: bool,
    pub(super) heart_beats: HeartBeats,
    pub(super) subscriptions: Subscriptions,
    pub(super) receipts: Receipts,
    transactions: Transactions,
    /// The application destinations that it may take the messages of.
    pub(super) work: Option<Box<[ByteString]>>,
}

impl Live {
    /// The state right after CONNECTED.
    pub(super) fn new(
        now: Instant,
        name: &str,
        identity: Identity,
        version: Version,
        connect: &Connect,
        options: &Options,
    ) -> Live {
        let asks = connect.headers.find("on-error") == Some("continue");
        Live {
            name: name.into(),
            user: identity.user,
            version,
            client_id: client_id(&connect.headers),
            continues: asks || identity.is_relay || options.continue_on_error,
            heart_beats: HeartBeats::agree(now, version, connect.heart_beat, options),
            subscriptions: Subscriptions::default(),
            receipts: Receipts::default(),
            transactions: Transactions::default(),
            work: application::work_of(connect, options),
        }
    }

    /// Whether the next frame may come.
    pub(super) fn wants_input(&self, options: &Options) -> bool {
        !self.receipts.awaits_commit() && self.receipts.len() < options.max_pending_receipts
    }

    /// Whether the session goes on when this request is refused (X3). A SEND in a transaction is different: if the rest
    /// of the transaction were committed, it would not be done as a whole.
    pub(super) fn survives_refusal_of(&self, request: &Request) -> bool {
        let may = match request {
            Request::Subscribe(_) => true,
            Request::Send(send) => send.transaction.is_none(),
            _ => false,
        };
        may && self.continues
    }

    /// Does what a client asks for.
    pub(super) fn request(
        &mut self,
        request: Request,
        actions: &mut VecDeque<Action>,
        options: &Options,
    ) -> Result<(), Fault> {
        if request.receipt().is_some_and(|receipt| receipt.len() > options.max_id_bytes) {
            return Err(Limit::IdBytes(options.max_id_bytes, "receipt").into());
        }
        match request {
            Request::Connect(_) => return Err(Violation::AlreadyConnected.into()),
            Request::Send(send) => self.send(send, actions, options)?,
            Request::Subscribe(subscribe) => self.subscribe(subscribe, actions, options)?,
            Request::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe, actions, options)?,
            Request::Ack(settle) => self.settle(settle, Outcome::Consumed, actions, options)?,
            Request::Nack(settle) => {
                let discards = settle.headers.find("requeue") == Some("false");
                let outcome = match delay_of(&settle.headers)? {
                    _ if discards => Outcome::Discarded,
                    Some(delay) => Outcome::Deferred(delay),
                    None => Outcome::Rejected,
                };
                self.settle(settle, outcome, actions, options)?;
            }
            Request::Begin(begin) => {
                self.transactions.begin(&begin.transaction, options)?;
                self.receipts.complete(begin.receipt.as_deref(), actions);
            }
            Request::Commit(commit) => self.commit(&commit, actions)?,
            Request::Abort(abort) => self.abort(&abort, actions)?,
            Request::Disconnect(disconnect) => self.disconnect(disconnect.receipt.as_deref(), actions),
        }
        Ok(())
    }

    /// The broker's answer. An error ends the session, and names the receipt that the frame asked for.
    pub(super) fn verdict(
        &mut self,
        ticket: Option<Ticket>,
        verdict: Verdict,
        actions: &mut VecDeque<Action>,
    ) -> Result<(), (Fault, Option<ByteString>)> {
        let mut subscribed = None;
        match (ticket, verdict) {
            (Some(ticket), Ok(matched)) => {
                if let Some(Awaited::Subscribe(key)) = self.receipts.answer(ticket, matched) {
                    let target = self.subscriptions.find(key).map(|live| live.target.clone());
                    subscribed = target.map(|target| Action::Note(Note::Subscribed(target)));
                }
            }
            (None, Ok(_)) => {}
            (ticket, Err(refusal)) => {
                let refused = ticket.and_then(|ticket| self.receipts.refuse(ticket));
                self.refused(refused, refusal, actions)?;
            }
        }
        self.receipts.give(actions);
        actions.extend(subscribed);
        Ok(())
    }

    fn refused(
        &mut self,
        refused: Option<Refused>,
        refusal: Refusal,
        actions: &mut VecDeque<Action>,
    ) -> Result<(), (Fault, Option<ByteString>)> {
        // Without a ticket it was a SEND.
        let what = refused.as_ref().map_or(Awaited::Send, |refused| refused.what);
        let receipt = refused.and_then(|refused| refused.receipt);
        let fault = Fault::Refused(refusal);
        if let Awaited::Subscribe(key) = what {
            // The broker never had it: there is nothing to take away.
            self.subscriptions.remove(key);
        }
        if !self.continues || !what.is_survivable() {
            return Err((fault, receipt));
        }
        go_on_after(&fault, receipt.as_deref(), actions);
        Ok(())
    }

    fn send(&mut self, mut send: Send, actions: &mut VecDeque<Action>, options: &Options) -> Result<(), Fault> {
        // Where unknown destinations are dropped, the broker's core does and notes that.
        let space = options.spaces.resolve(&send.destination);
        let kind = space.map(|space| space.kind);
        if kind.is_none() && options.spaces.unknown() == Unknown::Refuse {
            return Err(Fault::Refused(Refusal::UnknownDestination(send.destination)));
        }
        self.check_protected(&send.destination, space, options)?;
        let (transaction, receipt) = (send.transaction.take(), send.receipt.take());
        let mut terms = match kind {
            // A handler may be a queue, or a way to one.
            Some(Kind::Queue | Kind::TemporaryQueue | Kind::Application) => Terms::of_queue(&send.headers)?,
            Some(Kind::Topic) => Terms::of_topic(&send.headers),
            Some(Kind::User) | None => None,
        };
        if kind == Some(Kind::Queue) && is_relayed(&send.destination, &send.headers, options) {
            terms.get_or_insert_default().is_relayed = true;
        }
        self.say_temporary(&mut send, actions, options)?;
        let content = content_of(send, terms, options);
        if let Some(name) = transaction {
            let transaction = self.transactions.enlist(&name, content.footprint(), options)?;
            transaction.send(content);
            self.receipts.complete(receipt.as_deref(), actions);
        } else {
            let ticket = receipt.map(|receipt| self.receipts.ask(Some(&receipt), Awaited::Send));
            actions.push_back(match kind {
                Some(Kind::Application) => Action::Call { content, ticket },
                _ => Action::Perform { operation: Operation::Send(content), ticket },
            });
        }
        Ok(())
    }

    pub(super) fn subscribe(
        &mut self,
        request: stomp::Subscribe,
        actions: &mut VecDeque<Action>,
        options: &Options,
    ) -> Result<(), Fault> {
        if request.id.len() > options.max_id_bytes {
            return Err(Limit::IdBytes(options.max_id_bytes, "id").into());
        }
        if self.is_ask(&request.destination, options) {
            return self.ask(request, actions, options);
        }
        let credit = prefetch(&request, options)?;
        let target = self.wanted(&request, options)?;
        let earlier = self.subscriptions.key_of(&request.id);
        if earlier.is_none() && self.subscriptions.len() >= options.max_subscriptions {
            return Err(Limit::Subscriptions(options.max_subscriptions).into());
        }
        let key = self.next_key(options)?;
        let browses = matches!(target, Some(Target::Queue(_))) && request.headers.find("browser") == Some("true");
        let ends_queue = matches!(target, Some(Target::Queue(_))) && ends_queue(&request, options);
        let taken = target.as_ref().filter(|_| !browses);
        let replaces = self.make_way(earlier, taken, request.receipt.is_some(), actions);
        let Some(target) = target else {
            let unknown = Destination::new(request.destination).detached();
            actions.push_back(Action::Note(Note::UnknownSubscribed(unknown)));
            self.receipts.complete(request.receipt.as_deref(), actions);
            return Ok(());
        };
        let subscription = Subscription {
            key,
            id: ByteString::from(request.id.to_string()), // A copy: a short name must not hold its frame's buffer.
            target,
            // Nothing is taken, so nothing can be settled.
            mode: if browses { AckMode::Auto } else { request.ack },
            ack_by: self.version.ack_by(),
            credit,
            is_made: false,
            page: browses.then(Box::default),
            shown: shown(&request.destination, options),
            flow: None,
        };
        actions.push_back(Action::Subscribe(Subscribe {
            subscription: key,
            id: subscription.id.clone(),
            target: subscription.target.clone(),
            no_local: request.headers.find("no-local") == Some("true"),
            paced: subscription.is_paced(),
            credit,
            browses,
            ends_queue,
            replaces,
            ticket: Some(self.receipts.ask(request.receipt.as_deref(), Awaited::Subscribe(key))),
        }));
        self.subscriptions.add(subscription);
        Ok(())
    }

    /// Ends the subscriptions that a new one replaces: the `earlier` one with its id (U6), and one that a `reply-to` has made on
    /// what it takes from, which goes when the client makes its own. The RECEIPT of the new one waits for that.
    ///
    /// Where it takes from the same queue, the broker is to do both in one step: the queue may end with its last subscription,
    /// and what goes back to it must not come behind what the new one gets. Then the key of the one whose place it takes.
    fn make_way(
        &mut self,
        earlier: Option<SubscriptionKey>,
        taken: Option<&Target>,
        has_receipt: bool,
        actions: &mut VecDeque<Action>,
    ) -> Option<SubscriptionKey> {
        let made = taken.and_then(|target| self.subscriptions.made_for(target)).filter(|made| Some(*made) != earlier);
        let mut replaces = None;
        for key in earlier.into_iter().chain(made) {
            let Some(ended) = self.end_subscription(key) else { continue };
            if ended.settles() && matches!(ended.target, Target::Queue(_)) && taken == Some(&ended.target) {
                replaces = Some(key);
                continue;
            }
            let ticket = has_receipt.then(|| self.receipts.ask(None, Awaited::Other));
            actions.push_back(ended.unsubscribe(true, ticket));
        }
        replaces
    }

    pub(super) fn next_key(&mut self, options: &Options) -> Result<SubscriptionKey, Fault> {
        let key = self.subscriptions.next_key();
        key.ok_or_else(|| Limit::Subscriptions(options.max_subscriptions).into())
    }

    /// What a SUBSCRIBE is on, by its destination and its headers; none as for [`Live::target`].
    fn wanted(&self, request: &stomp::Subscribe, options: &Options) -> Result<Option<Target>, Fault> {
        let target = self.target(&request.destination, options)?;
        if let Some(Target::Topic(topic)) = &target {
            self.check_protected_pattern(topic, options)?;
            if let Some(binding) = self.binding(request, topic, options)? {
                return Ok(Some(Target::Durable(binding)));
            }
        }
        Ok(target)
    }

    /// What a destination is to a subscriber; none if unknown destinations are dropped and it is one (U8).
    fn target(&self, destination: &ByteString, options: &Options) -> Result<Option<Target>, Fault> {
        let Some(space) = options.spaces.resolve(destination) else {
            return match options.spaces.unknown() {
                Unknown::Drop => Ok(None),
                Unknown::Refuse => Err(Fault::Refused(Refusal::UnknownDestination(destination.clone()))),
            };
        };
        Ok(Some(match space.kind {
            Kind::Topic => Target::Topic(space.pattern(destination.clone()).map_err(Fault::Pattern)?),
            Kind::Queue | Kind::Application => Target::Queue(Destination::new(destination.clone()).detached()),
            Kind::TemporaryQueue => Target::Queue(own_queue(space, destination, &self.name)?),
            Kind::User => {
                let stream = space.own_stream(destination, &self.name, self.user.as_deref()).map_err(Fault::Pattern)?;
                Target::Own(stream.ok_or_else(|| Fault::Refused(Refusal::NoStream(destination.clone())))?)
            }
        }))
    }

    fn unsubscribe(
        &mut self,
        request: &Unsubscribe,
        actions: &mut VecDeque<Action>,
        options: &Options,
    ) -> Result<(), Fault> {
        let receipt = request.receipt.as_deref();
        let key = self.subscriptions.key_of(&request.id);
        let live = self.subscriptions.iter().find(|each| Some(each.key) == key).map(|each| &each.target);
        let forgotten = self.forgotten(request, live, options)?;
        let removed = key.and_then(|key| self.end_subscription(key));
        if removed.is_none() && forgotten.is_none() {
            // U7: an unknown id is nothing but answered.
            self.receipts.complete(receipt, actions);
            return Ok(());
        }
        let mut ticket = receipt.map(|receipt| self.receipts.ask(Some(receipt), Awaited::Other));
        let last = if forgotten.is_some() { ticket.take() } else { None };
        actions.extend(removed.map(|removed| removed.unsubscribe(true, ticket)));
        actions.extend(forgotten.map(|queue| Action::Forget { queue, ticket: last }));
        Ok(())
    }

    /// Takes a subscription out that its client wants no more.
    pub(super) fn end_subscription(&mut self, key: SubscriptionKey) -> Option<Subscription> {
        self.transactions.forget(key);
        self.subscriptions.remove(key)
    }

    /// The client leaves. Its RECEIPT says that its subscriptions are gone, wherever their queues live, so that what it has settled
    /// before is, and what it has not is back (Q4).
    fn disconnect(&mut self, receipt: Option<&str>, actions: &mut VecDeque<Action>) {
        let receipts = &mut self.receipts;
        self.subscriptions.unsubscribe_all(true, actions, || receipt.map(|_| receipts.ask(None, Awaited::Other)));
        self.receipts.complete(receipt, actions);
    }

    fn settle(
        &mut self,
        settle: Settle,
        outcome: Outcome,
        actions: &mut VecDeque<Action>,
        options: &Options,
    ) -> Result<(), Fault> {
        let receipt = settle.receipt.as_deref();
        let (key, place) = match self.locate(settle.name(), outcome)? {
            Located::Unsettled(key, place) => (key, place),
            Located::SettledBefore => {
                if let Some(name) = &settle.transaction {
                    self.transactions.enlist(name, 0, options)?;
                }
                self.receipts.complete(receipt, actions);
                return Ok(());
            }
        };
        let Some(subscription) = self.subscriptions.find(key) else {
            return Ok(());
        };
        if let Some(name) = &settle.transaction {
            let transaction = self.transactions.enlist(name, 0, options)?;
            let tags = subscription.reserve(place, transaction.number);
            transaction.settle(key, tags, outcome);
            self.receipts.complete(receipt, actions);
            return Ok(());
        }
        let tags = subscription.settle(place);
        self.subscriptions.wake(key);
        if tags.is_empty() {
            // A topic has nothing to settle at the broker (Q9).
            self.receipts.complete(receipt, actions);
        } else {
            let ticket = receipt.map(|receipt| self.receipts.ask(Some(receipt), Awaited::Other));
            let operation = Operation::Settle(tags, outcome);
            actions.push_back(Action::Perform { operation, ticket });
        }
        Ok(())
    }

    /// The delivery that an ACK or NACK names (Q8).
    fn locate(&mut self, name: AckName<'_>, outcome: Outcome) -> Result<Located, Fault> {
        let (text, found) = match name {
            AckName::AckId(text) => (text, self.find_by_ack(text)),
            AckName::MessageId { message_id, subscription } => {
                (message_id, self.find_by_message(message_id, subscription))
            }
        };
        match found {
            Some((key, Found::Unsettled(place))) => Ok(Located::Unsettled(key, place)),
            Some((key, Found::Settled)) if outcome == Outcome::Consumed && self.is_cumulative(key) => {
                Ok(Located::SettledBefore)
            }
            _ => Err(Violation::UnknownAck(text.into()).into()),
        }
    }

    fn is_cumulative(&mut self, key: SubscriptionKey) -> bool {
        self.subscriptions.find(key).is_some_and(|subscription| subscription.is_cumulative())
    }

    /// As the `ack` header had it.
    fn find_by_ack(&mut self, text: &str) -> Option<(SubscriptionKey, Found)> {
        let AckId { subscription: key, number } = AckId::parse(text)?;
        Some((key, self.subscriptions.find(key)?.find(Name::Number(number))))
    }

    fn find_by_message(&self, text: &str, id: Option<&str>) -> Option<(SubscriptionKey, Found)> {
        let name = Name::Message(MessageId::parse(text)?);
        let asked = self.subscriptions.iter().filter(|each| id.is_none_or(|id| *each.id == *id));
        let found = asked.map(|each| (each.key, each.find(name)));
        // A 1.0 client that names no subscription may have got the message by several: the first unsettled one.
        found.filter(|(_, found)| *found != Found::Unknown).min_by_key(|(_, found)| *found == Found::Settled)
    }

    fn commit(&mut self, request: &stomp::Transaction, actions: &mut VecDeque<Action>) -> Result<(), Fault> {
        let receipt = request.receipt.as_deref();
        let closed = self.transactions.close(&request.transaction)?;
        if closed.is_broken {
            return Err(Violation::BrokenTransaction((*request.transaction).into()).into());
        }
        self.close_settlements(&closed.touched, closed.number, true);
        let operations = closed.into_operations();
        if operations.is_empty() {
            self.receipts.complete(receipt, actions);
        } else {
            let ticket = self.receipts.ask(receipt, Awaited::Commit);
            actions.push_back(Action::Commit { operations, ticket });
        }
        Ok(())
    }

    fn abort(&mut self, request: &stomp::Transaction, actions: &mut VecDeque<Action>) -> Result<(), Fault> {
        let closed = self.transactions.close(&request.transaction)?;
        self.close_settlements(&closed.touched, closed.number, false);
        self.receipts.complete(request.receipt.as_deref(), actions);
        Ok(())
    }

    fn close_settlements(&mut self, touched: &[SubscriptionKey], transaction: u64, commit: bool) {
        for key in touched {
            if let Some(subscription) = self.subscriptions.find(*key) {
                subscription.close_transaction(transaction, commit);
                self.subscriptions.wake(*key);
            }
        }
    }
}

/// Answers a refusal that the session survives.
pub(super) fn go_on_after(fault: &Fault, receipt: Option<&str>, actions: &mut VecDeque<Action>) {
    actions.push_back(Action::Send(fault.frame(receipt)));
    actions.push_back(Action::Note(Note::Refused { code: fault.code() }));
}

/// What an ACK or NACK is about.
enum Located {
    /// The delivery at this place of this subscription's ledger.
    Unsettled(SubscriptionKey, usize),
    /// A delivery that a cumulative ACK has settled before.
    SettledBefore,
}

/// What the messages of a subscription say for `destination`.
fn shown(destination: &ByteString, options: &Options) -> Option<Box<Shown>> {
    match options.spaces.resolve(destination)?.kind {
        Kind::TemporaryQueue => Some(Box::new(Shown::As(Destination::new(destination.clone()).detached()))),
        Kind::Application => Some(Box::new(Shown::Original)),
        Kind::Topic | Kind::Queue | Kind::User => None,
    }
}

/// How many deliveries of a subscription may be unsettled.
fn prefetch(request: &stomp::Subscribe, options: &Options) -> Result<u32, Fault> {
    let wish = PREFETCH.iter().find_map(|name| Some((*name, request.headers.find(name)?)));
    let wish = match wish {
        None => options.usual_prefetch(&request.destination),
        Some((name, text)) => {
            let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
            if !is_number {
                return Err(Violation::BadPrefetch(name).into());
            }
            // Zero is any number, and what does not fit is more than any limit.
            text.parse().ok().filter(|wish| *wish > 0).unwrap_or(u32::MAX)
        }
    };
    Ok(wish.min(options.max_prefetch).max(1))
}
