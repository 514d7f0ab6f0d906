//! One worker's part of the broker.

mod browse;
mod durable;
mod stored;
mod users;

use std::sync::Arc;
use std::time::Instant;

use super::admission::Source;
use super::command::{Command, Consumer, Effects, Note, TransactionId};
use super::interest::Interest;
use super::options::Options;
use super::queue::QueueStats;
use super::queues::Queues;
use super::relays::Relays;
use super::storage::Awaited;
use super::topics::{Reached, Topics};
use super::transaction::{Broadcast, Commits, Pending, Plan};
use super::users::Users;
use crate::clock::Clock;
use crate::destination::{Destination, Kind, Space, Unknown};
use crate::message::{
    Content, Message, MessageId, Operation, Outcome, Refusal, Sequences, SessionId, SubscriberId, SubscriptionKey, Tag,
    Tags, Ticket, Verdict, WorkerId,
};

/// The subscriptions of one worker's sessions to topics and to their own streams, and the queues whose names hash to it.
///
/// Every command takes effect before [`Shard::apply`] returns, as far as this shard goes, and what other shards have
/// to do has then been posted. After [`Shard::apply`] and [`Shard::handle_timeout`], ask [`Shard::poll_timeout`] when
/// to come back.
#[derive(Debug)]
pub struct Shard {
    id: WorkerId,
    clock: Clock,
    boot: u32,
    /// How many messages this shard has named.
    named: u64,
    options: Arc<Options>,
    interest: Arc<Interest>,
    topics: Topics,
    users: Users,
    queues: Queues,
    commits: Commits,
    relays: Relays,
}

/// What an operator may want to know about a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Subscriptions to topics and to user destinations.
    pub subscriptions: usize,
    /// Different patterns over topics among them.
    pub patterns: usize,
    /// Destinations for which the way to the subscribers is remembered.
    pub routes: usize,
    /// Queues that live here.
    pub queues: usize,
    /// Transactions that wait for other shards.
    pub commits: usize,
}

impl Shard {
    /// An empty shard, from the start of `clock` on. `boot` differs between starts of the broker, so that message ids never repeat.
    pub fn new(clock: Clock, id: WorkerId, boot: u32, options: Arc<Options>, interest: Arc<Interest>) -> Shard {
        Shard {
            id,
            clock,
            boot,
            named: 0,
            topics: Topics::new(id, Arc::clone(interest.topics()), &options),
            users: Users::new(id, &interest, &options),
            queues: Queues::new(id, clock, Arc::clone(&interest), &options),
            commits: Commits::default(),
            relays: Relays::default(),
            options,
            interest,
        }
    }

    /// From now on there is a store, in which messages have these sequences; all shards of a broker share them. What must
    /// outlive the process then waits for [`Effects::store`]; otherwise nothing is stored.
    pub fn use_store(&mut self, sequences: Sequences) {
        self.queues.storage().use_sequences(sequences);
    }

    /// The broker ends in order: what only this shard knows of stored messages is to be stored.
    pub fn close<E: Effects>(&mut self, effects: &mut E) {
        self.queues.close(effects);
    }

    /// Does what `command` says.
    pub fn apply<E: Effects>(&mut self, now: Instant, command: Command, effects: &mut E) {
        self.perform(now, command, effects);
        if self.queues.has_notices() {
            self.follow_up(effects);
        }
    }

    /// Routes what a session of this worker sent, by the kind of its destination. With a ticket there is always a verdict;
    /// without one only a refusal is told.
    ///
    /// What the broker says by itself goes this way too, with [`SessionId::of_broker`] for its sender. To answer one session
    /// it sends to `/user/{the session's name}/...`, and to a user `/user/{the user's name}/...` with `%2F` for each `/` in
    /// the name, as a client would.
    pub fn publish<E: Effects>(
        &mut self,
        now: Instant,
        origin: SessionId,
        content: Content,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) {
        self.route(now, origin, content, ticket, effects);
        if self.queues.has_notices() {
            self.follow_up(effects);
        }
    }

    /// When [`Shard::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queues.poll_timeout()
    }

    /// Hands out the messages whose redelivery delay is over.
    pub fn handle_timeout<E: Effects>(&mut self, now: Instant, effects: &mut E) {
        self.queues.handle_timeout(now, effects);
        if self.queues.has_notices() {
            self.follow_up(effects);
        }
    }

    /// How much there is here.
    pub fn stats(&self) -> ShardStats {
        ShardStats {
            subscriptions: self.topics.subscriptions() + self.users.subscriptions(),
            patterns: self.topics.patterns(),
            routes: self.topics.remembered_routes(),
            queues: self.queues.len(),
            commits: self.commits.len(),
        }
    }

    /// What each queue that lives here holds, in no particular order.
    pub fn queue_stats(&self) -> impl Iterator<Item = QueueStats> {
        self.queues.stats()
    }

    fn perform<E: Effects>(&mut self, now: Instant, command: Command, effects: &mut E) {
        match command {
            Command::Relay { message, ticket } => self.relay(now, &message, ticket, effects),
            Command::RelayToUser { recipient, message, ticket } => {
                let reached = self.users.relay(&recipient, &message, &self.options.topics, effects);
                arrived(&message, ticket, reached, 0, effects);
            }
            Command::Relayed { session, ticket, reached, more } => {
                if let Some(verdict) = self.relays.arrived(session, ticket, reached, more) {
                    answer(session, Some(ticket), verdict, effects);
                }
            }
            Command::Enqueue { message, ticket } => {
                let origin = message.origin;
                if let Some(result) = self.queues.enqueue(now, message, ticket, effects) {
                    answer(origin, ticket, result, effects);
                }
            }
            Command::Divert { message, ticket } => {
                let origin = message.origin;
                let source = (Source::Diverted(ticket), None);
                if let Some(result) = self.queues.enqueue_letter(now, message, source, effects) {
                    answer(origin, ticket, result.map(|()| 1), effects);
                }
            }
            command @ (Command::Subscribe { .. }
            | Command::Unsubscribe { .. }
            | Command::SubscribeOwn { .. }
            | Command::UnsubscribeOwn { .. }) => self.change_subscriptions(command, effects),
            Command::Consume { consumer, replaces, queue, ticket } => {
                self.consume(now, (consumer, replaces), queue, ticket, effects);
            }
            Command::Attach { consumer, binding, ticket } => self.attach(now, consumer, binding, ticket, effects),
            Command::Forget { session, queue, ticket } => self.forget(session, queue, ticket, effects),
            Command::Browse { reader, queue, after, ticket } => {
                self.browse(now, reader, queue, after, ticket, effects);
            }
            Command::Cancel { consumer, queue, ticket } => self.cancel(now, consumer, queue, ticket, effects),
            Command::Keep { session, tags } => self.keep(session, tags, effects),
            Command::Settle { session, tags, outcome, ticket } => {
                self.settle(now, session, tags, outcome, ticket, effects);
            }
            Command::Commit { transaction, operations } => self.commit(now, transaction, operations, effects),
            Command::Prepare { transaction, messages, settles } => {
                let answer = self.queues.prepare(now, transaction, messages, settles, effects);
                let prepared = Command::Prepared { transaction, home: self.id, answer };
                effects.post(transaction.session.worker, prepared);
            }
            Command::Prepared { transaction, home, answer } => {
                if let Some(pending) = self.commits.answer(transaction, home, answer) {
                    self.conclude(now, transaction, pending, effects);
                }
            }
            Command::Finish { transaction, apply } => self.queues.finish(now, transaction, apply, effects),
            Command::DeadLetter { message, from, replaces } => {
                let source = (Source::Letter(from), replaces);
                if let Some(result) = self.queues.enqueue_letter(now, message, source, effects) {
                    self.queues.answer_letter(now, from, result, effects);
                }
            }
            Command::DeadLettered { from, accepted } => self.queues.dead_lettered(now, from, accepted, effects),
            Command::Stored { ticket, result } => self.stored(now, ticket, result, effects),
            Command::Fetched { queue, found } => self.fetched(now, queue, found, effects),
            command @ (Command::RestoreMark { .. }
            | Command::Restore { .. }
            | Command::Rebind { .. }
            | Command::Restored) => self.bring_back(now, command, effects),
        }
    }

    fn route<E: Effects>(
        &mut self,
        now: Instant,
        origin: SessionId,
        content: Content,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) {
        let verdict = match self.kind_of(&content.destination) {
            Some(Kind::Topic) => {
                let message = self.message(now, origin, content);
                let reached = self.publish_to_topic(now, &message, ticket, effects);
                let Content { mandatory, destination, .. } = &message.content;
                match self.verdict_on(&reached, origin, ticket, *mandatory, destination) {
                    Some(verdict) => verdict,
                    None => return,
                }
            }
            Some(Kind::User) => match self.publish_to_user(now, origin, content, ticket, effects) {
                Some(verdict) => verdict,
                None => return,
            },
            // What comes here of application destinations is for workers.
            Some(kind @ (Kind::Queue | Kind::TemporaryQueue | Kind::Application)) => {
                let message = self.message(now, origin, content);
                let home = self.home_of(kind, &message.content.destination);
                if home != self.id {
                    effects.post(home, Command::Enqueue { message, ticket });
                    return;
                }
                match self.queues.enqueue(now, message, ticket, effects) {
                    Some(verdict) => verdict,
                    None => return,
                }
            }
            None => self.unknown(&content, effects),
        };
        answer(origin, ticket, verdict, effects);
    }

    /// What a message for all who subscribed came to. None: the ticket is answered when all who still have to say so have.
    #[inline]
    fn verdict_on(
        &mut self,
        reached: &Reached,
        origin: SessionId,
        ticket: Option<Ticket>,
        is_mandatory: bool,
        asked: &Destination,
    ) -> Option<Verdict> {
        if let (Some(ticket), 1..) = (ticket, reached.relays) {
            let mandatory = is_mandatory.then(|| asked.text().clone());
            self.relays.wait(origin, ticket, reached.relays, reached.here, mandatory);
            return None;
        }
        Some(reached_if_mandatory(reached.total(), is_mandatory, asked))
    }

    /// Gives a message to the topic's subscribers and durable subscriptions. What waits for the store counts as a relay.
    #[inline]
    fn publish_to_topic<E: Effects>(
        &mut self,
        now: Instant,
        message: &Arc<Message>,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) -> Reached {
        let relay = |message| Command::Relay { message, ticket };
        let topic = &message.content.destination;
        let mut reached = self.topics.publish(topic, message, &self.options.topics, effects, relay);
        let copies = self.copy(now, &reached.bound, message, ticket, effects);
        reached.here = reached.here.saturating_add(copies.done);
        reached.elsewhere = reached.elsewhere.saturating_add(copies.waiting);
        reached.relays += copies.waiting;
        if reached.total() == 0 {
            effects.note(Note::Unrouted(topic.clone()));
        }
        reached
    }

    fn relay<E: Effects>(&mut self, now: Instant, message: &Arc<Message>, ticket: Option<Ticket>, effects: &mut E) {
        let topic = &message.content.destination;
        let reached = self.topics.relay(topic, message, &self.options.topics, effects);
        let copies = self.copy(now, &reached.bound, message, ticket, effects);
        arrived(message, ticket, reached.here.saturating_add(copies.done), copies.waiting, effects);
    }

    fn consume<E: Effects>(
        &mut self,
        now: Instant,
        (consumer, replaces): (Consumer, Option<SubscriptionKey>),
        queue: Destination,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) {
        if let Some(home) = self.elsewhere(&queue) {
            return effects.post(home, Command::Consume { consumer, replaces, queue, ticket });
        }
        let verdict = self.queues.consume(consumer, replaces, &queue).map(|()| 0);
        // Told before its first message comes, as a client would expect.
        answer(consumer.id.session, ticket, verdict, effects);
        self.queues.hand_out(now, &queue, effects);
    }

    fn cancel<E: Effects>(
        &mut self,
        now: Instant,
        consumer: SubscriberId,
        queue: Destination,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) {
        if let Some(home) = self.elsewhere(&queue) {
            return effects.post(home, Command::Cancel { consumer, queue, ticket });
        }
        self.queues.cancel(now, consumer, &queue, effects);
        answer(consumer.session, ticket, Ok(0), effects);
    }

    fn settle<E: Effects>(
        &mut self,
        now: Instant,
        session: SessionId,
        tags: Tags,
        outcome: Outcome,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) {
        match self.home_of_all(&tags) {
            Some(home) => effects.post(home, Command::Settle { session, tags, outcome, ticket }),
            None => {
                if self.queues.settle(now, session, &tags, outcome, ticket, effects) {
                    answer(session, ticket, Ok(0), effects);
                }
            }
        }
    }

    fn keep<E: Effects>(&mut self, session: SessionId, tags: Tags, effects: &mut E) {
        match self.home_of_all(&tags) {
            Some(home) => effects.post(home, Command::Keep { session, tags }),
            None => self.queues.keep(session, &tags),
        }
    }

    /// Where deliveries are to be settled, if that is not here.
    fn home_of_all(&self, tags: &[Tag]) -> Option<WorkerId> {
        tags.first().map(|tag| tag.home).filter(|home| *home != self.id)
    }

    fn commit<E: Effects>(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        operations: Vec<Operation>,
        effects: &mut E,
    ) {
        let started = self.plan(now, transaction.session, operations, effects).and_then(|plan| {
            let waits = plan.parts.keys().any(|home| *home != self.id);
            if waits && self.commits.len() >= self.options.max_commits {
                return Err(Refusal::Limit {
                    code: "too-many-commits",
                    what: "the transactions of this worker that wait for their queues",
                    limit: self.options.max_commits as u64,
                    key: "limits.commits",
                });
            }
            self.start(now, transaction, plan, effects)
        });
        match started {
            Err(refusal) => answer(transaction.session, Some(transaction.ticket), Err(refusal), effects),
            Ok(pending) if pending.waiting == 0 => self.conclude(now, transaction, pending, effects),
            Ok(pending) => self.commits.insert(transaction, pending),
        }
    }

    /// Sorts what a transaction does, and refuses what can be known to fail.
    fn plan<E: Effects>(
        &mut self,
        now: Instant,
        origin: SessionId,
        operations: Vec<Operation>,
        effects: &mut E,
    ) -> Result<Plan, Refusal> {
        let mut plan = Plan::default();
        for operation in operations {
            let content = match operation {
                Operation::Settle(tags, outcome) => {
                    plan.settle(tags, outcome);
                    continue;
                }
                Operation::Send(content) => content,
            };
            match self.kind_of(&content.destination) {
                Some(Kind::Topic) => {
                    let message = self.message(now, origin, content);
                    if message.content.mandatory {
                        let topic = &message.content.destination;
                        let reached = self.topics.reach(topic, &message, &self.options.topics);
                        reached_or_refused(reached, &message.content)?;
                    }
                    plan.broadcasts.push(Broadcast { message, recipient: None });
                }
                Some(Kind::User) => {
                    let (message, recipient) = self.message_to_user(now, origin, content)?;
                    if message.content.mandatory {
                        let reached = self.users.reach(&recipient, &message, &self.options.topics);
                        reached_if_mandatory(reached, true, &recipient.asked)?;
                    }
                    plan.broadcasts.push(Broadcast { message, recipient: Some(Box::new(recipient)) });
                }
                Some(kind @ (Kind::Queue | Kind::TemporaryQueue | Kind::Application)) => {
                    let message = self.message(now, origin, content);
                    plan.send_to_queue(self.home_of(kind, &message.content.destination), message);
                }
                None => {
                    self.unknown(&content, effects)?;
                }
            }
        }
        Ok(plan)
    }

    /// Prepares this shard's own part, and asks the other homes to prepare theirs.
    fn start<E: Effects>(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        mut plan: Plan,
        effects: &mut E,
    ) -> Result<Pending, Refusal> {
        let (mut ready, mut changes) = (Vec::new(), Vec::new());
        if let Some(part) = plan.parts.remove(&self.id) {
            changes = self.queues.prepare(now, transaction, part.messages, part.settles, effects)?;
            ready.push(self.id);
        }
        let waiting = plan.parts.len();
        for (home, part) in plan.parts {
            let prepare = Command::Prepare { transaction, messages: part.messages, settles: part.settles };
            effects.post(home, prepare);
        }
        Ok(Pending { broadcasts: plan.broadcasts, queued: plan.queued, waiting, ready, changes, refusal: None })
    }

    /// All homes have answered: do it, once what must be stored is, or forget it.
    fn conclude<E: Effects>(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        mut pending: Pending,
        effects: &mut E,
    ) {
        let apply = pending.refusal.is_none();
        if apply && !pending.changes.is_empty() {
            let changes = std::mem::take(&mut pending.changes);
            self.commits.insert(transaction, pending);
            return self.queues.storage().submit(changes, Awaited::Commit(transaction), effects);
        }
        for home in pending.ready {
            if home == self.id {
                self.queues.finish(now, transaction, apply, effects);
            } else {
                effects.post(home, Command::Finish { transaction, apply });
            }
        }
        let TransactionId { session, ticket } = transaction;
        if let Some(refusal) = pending.refusal {
            return answer(session, Some(ticket), Err(refusal), effects);
        }
        let (mut reached, mut relays) = (pending.queued, 0);
        for Broadcast { message, recipient } in pending.broadcasts {
            let got = match recipient {
                None => self.publish_to_topic(now, &message, Some(ticket), effects),
                Some(recipient) => self.hand_to_user(&recipient, &message, Some(ticket), effects),
            };
            reached = reached.saturating_add(got.here);
            relays += got.relays;
        }
        match relays {
            0 => answer(session, Some(ticket), Ok(reached), effects),
            1.. => self.relays.wait(session, ticket, relays, reached, None),
        }
    }

    fn kind_of(&self, destination: &Destination) -> Option<Kind> {
        self.space_of(destination).map(|space| space.kind)
    }

    fn space_of(&self, destination: &Destination) -> Option<&Space> {
        self.options.destinations.resolve(destination.as_str())
    }

    /// What becomes of content for a destination under no prefix (U8).
    fn unknown<E: Effects>(&self, content: &Content, effects: &mut E) -> Verdict {
        match self.options.destinations.unknown() {
            Unknown::Refuse => Err(Refusal::UnknownDestination(content.destination.text().clone())),
            Unknown::Drop => {
                effects.note(Note::UnknownDropped(content.destination.clone()));
                reached_or_refused(0, content)
            }
        }
    }

    /// Gives a message its name.
    #[inline]
    pub(crate) fn message(&mut self, now: Instant, origin: SessionId, mut content: Content) -> Arc<Message> {
        if let Some(terms) = &mut content.terms {
            terms.resolve(self.clock.epoch_ms(now));
        }
        self.named += 1;
        let id = MessageId { boot: self.boot, worker: self.id, sequence: self.named };
        Arc::new(Message { id, origin, content })
    }

    /// The home of a queue that does not live here.
    fn elsewhere(&self, queue: &Destination) -> Option<WorkerId> {
        let kind = self.kind_of(queue).unwrap_or(Kind::Queue);
        Some(self.home_of(kind, queue)).filter(|home| *home != self.id)
    }

    /// Where a queue lives: a temporary one with its session, so that it is there before anybody hears of it.
    #[inline]
    fn home_of(&self, kind: Kind, queue: &Destination) -> WorkerId {
        let owner = if kind == Kind::TemporaryQueue { self.owner_of(queue) } else { None };
        owner.map_or_else(|| self.interest.home_of(queue), |session| session.worker)
    }

    /// The session of a temporary queue, if it can be there.
    fn owner_of(&self, queue: &Destination) -> Option<SessionId> {
        let name = self.space_of(queue)?.owner_of(queue.as_str())?;
        let (boot, session) = SessionId::parse_name(name)?;
        (boot == self.boot && session.worker.0 < self.interest.workers()).then_some(session)
    }
}

/// Reaching nobody is fine unless the sender said it is not (M6).
fn reached_or_refused(reached: u32, content: &Content) -> Verdict {
    reached_if_mandatory(reached, content.mandatory, &content.destination)
}

fn reached_if_mandatory(reached: u32, is_mandatory: bool, asked: &Destination) -> Verdict {
    match is_mandatory && reached == 0 {
        true => Err(Refusal::Unroutable(asked.text().clone())),
        false => Ok(reached),
    }
}

/// Tells the sender's worker, where it waits for that, that its message has arrived here, and how many durable subscriptions
/// will tell by themselves.
fn arrived<E: Effects>(message: &Message, ticket: Option<Ticket>, reached: u32, more: u32, effects: &mut E) {
    if let Some(ticket) = ticket {
        let session = message.origin;
        effects.post(session.worker, Command::Relayed { session, ticket, reached: Ok(reached), more });
    }
}

/// Tells a session what it has to know: an answer to every ticket, and refusals without one.
pub(super) fn answer<E: Effects>(session: SessionId, ticket: Option<Ticket>, verdict: Verdict, effects: &mut E) {
    if let Err(refusal @ Refusal::Limit { .. }) = &verdict {
        effects.note(Note::LimitReached(refusal.clone()));
    }
    if ticket.is_some() || verdict.is_err() {
        effects.verdict(session, ticket, verdict);
    }
}
