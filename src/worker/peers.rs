//! The connections of a worker, and how the broker's effects reach them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use slotmap::{Key, KeyData, SlotMap};

use super::counters::Counters;
use super::encoder::{Encoder, Envelope, Framing};
use super::labels::{LabelKey, Labels};
use super::outbox::{Outbox, Run, Source};
use super::post::{Post, Posts};
use crate::broker::{Change, Command, Effects, Note, Subscriber, UNAWAITED};
use crate::message::{
    Delivery, Message, SessionId, SubscriberId, SubscriptionKey, Ticket, Verdict, WhenSlow, WorkerId,
};
use crate::session::{Outgoing, Room, Session};
use crate::stomp::{Decoder, Frame, Version};
use crate::websocket::packet::Receiver;

/// How many bytes are allocated for a turn at most before it has begun.
const FORESEEN: usize = 64 * 1024;

slotmap::new_key_type! {
    /// Names a connection of one worker; never used again for another.
    pub struct ConnectionKey;
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The transport, for the log: `tcp` or `websocket`.
    pub transport: &'static str,
    /// Its address, where it has one.
    pub address: Option<SocketAddr>,
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(super) struct Intake {
    /// Present where STOMP comes in WebSocket packets.
    pub(super) packets: Option<Receiver>,
    pub(super) decoder: Decoder,
}

/// How far a connection's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not at all.
    Open,
    /// The last bytes are queued; they must be out by then.
    Flushing { until: Instant },
    /// All is written; the peer has until then to close its side.
    Draining { until: Instant },
}

/// Everything about one connection but its socket.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) session: Session,
    /// Absent only while the intake is being fed.
    pub(super) intake: Option<Intake>,
    pub(super) outbox: Outbox,
    /// How many bytes of the outbox may be answers to what the peer sent, not messages.
    pub(super) answers: usize,
    pub(super) framing: Framing,
    pub(super) peer: Peer,
    pub(super) phase: Phase,
    /// Why the session ended, once it did.
    pub(super) why: Option<&'static str>,
    /// STOMP bytes that came while the session did not want any.
    pub(super) unread: Vec<u8>,
    /// Bytes of the client's unfinished input that are kept outside of this hub, before they reach it.
    pub(super) outside: usize,
    /// Bytes of all its unfinished input, as they were last counted.
    pub(super) kept: usize,
    /// Since when some of it is kept, while `kept` is not zero.
    pub(super) kept_since: Instant,
    /// Whether the driver was told not to read.
    pub(super) paused: bool,
    /// Whether the peer closed its writing side.
    pub(super) ended: bool,
    pub(super) last_received: Instant,
    /// Whether a ping was sent since then.
    pub(super) pinged: bool,
    /// Whether so much of it waits for the application that it is not read meanwhile.
    pub(super) waits_for_application: bool,
    /// When the worker's timers will look at this connection.
    pub(super) armed: Option<Instant>,
    /// Whether it is in the list of connections to be written.
    pub(super) dirty: bool,
    /// Whether the socket takes no more bytes for now.
    pub(super) blocked: bool,
}

impl Connection {
    /// The version to write in. Before one is agreed upon nothing is escaped, as in 1.0.
    pub(super) fn version(&self) -> Version {
        self.session.version().unwrap_or(Version::V1_0)
    }

    /// What a subscription of this connection shares its encodings by.
    fn label(&self, subscription: bytestring::ByteString) -> LabelKey {
        LabelKey { subscription, version: self.version(), framing: self.framing }
    }

    /// Whether the next frame may come. Messages for a slow peer have their policy; answers have not, and wait for a peer
    /// that keeps asking without reading them: so it is not read either while they are more than `limit` bytes.
    pub(super) fn wants_input(&self, limit: usize) -> bool {
        self.session.wants_input() && self.answers <= limit && !self.waits_for_application
    }

    /// Whether a message of a topic may be added. Whoever is not blocked has taken all that it was ever offered: however much
    /// comes in one turn, such as by one COMMIT, its peer is not slow yet.
    fn has_room_for_topic(&self, size: usize, limit: usize) -> bool {
        !self.blocked || self.outbox.has_room(size, limit)
    }

    /// Appends what the peer gets in answer to something.
    fn answer(&mut self, run: Run) {
        self.answers += run.end - run.start;
        self.outbox.push_run(run);
    }

    /// Of what is still in the outbox no more than all can be answers.
    pub(super) fn note_written(&mut self) {
        self.answers = self.answers.min(self.outbox.queued());
    }
}

/// Changes for the store, to be made all or none.
#[derive(Debug)]
pub struct Submission {
    /// For [`Command::Stored`]; nobody waits for [`UNAWAITED`].
    pub ticket: u64,
    /// What to change.
    pub changes: Vec<Change>,
}

/// The connections of one worker and what is on its way to them and to other workers.
#[derive(Debug)]
pub(super) struct Peers {
    pub(super) worker: WorkerId,
    /// The time of this turn.
    pub(super) now: Instant,
    pub(super) connections: SlotMap<ConnectionKey, Box<Connection>>,
    pub(super) labels: Labels,
    encoder: Encoder,
    /// What only one connection gets, written during this turn.
    private: Vec<u8>,
    /// Connections with something to write.
    dirty: Vec<ConnectionKey>,
    /// Connections whose sessions may have actions.
    pub(super) stirred: Vec<ConnectionKey>,
    /// Memory for the actions of the next one.
    pub(super) room: Room,
    /// Answers to tickets of the worker itself.
    pub(super) routed: Vec<(u64, Verdict)>,
    pub(super) posts: Posts,
    /// What is to be stored, and with which tickets. Ended with the turn.
    pub(super) submissions: Vec<Submission>,
    /// Changes that nobody waits for: as few submissions of the turn as their order allows.
    unawaited: Vec<Change>,
    /// Whether one of these must not come after what follows it.
    keeps_order: bool,
    /// What is to be read from the store.
    lookups: Vec<(u64, Vec<u64>)>,
    pub(super) counters: Arc<Counters>,
    outbox_limit: usize,
}

impl Peers {
    pub(super) fn new(
        worker: WorkerId,
        now: Instant,
        encoder: Encoder,
        posts: Posts,
        counters: Arc<Counters>,
        outbox_limit: usize,
    ) -> Peers {
        Peers {
            worker,
            now,
            connections: SlotMap::with_key(),
            labels: Labels::default(),
            encoder,
            private: Vec::new(),
            dirty: Vec::new(),
            stirred: Vec::new(),
            room: Room::default(),
            routed: Vec::new(),
            posts,
            submissions: Vec::new(),
            unawaited: Vec::new(),
            keeps_order: false,
            lookups: Vec::new(),
            counters,
            outbox_limit,
        }
    }

    pub(super) fn session_id(&self, key: ConnectionKey) -> SessionId {
        SessionId { worker: self.worker, key: key.data().as_ffi() }
    }

    /// Whether there is such a worker.
    pub(super) fn has_worker(&self, worker: WorkerId) -> bool {
        worker.index() < self.posts.workers()
    }

    /// Appends to the connection's outbox what `write` writes.
    pub(super) fn write(&mut self, key: ConnectionKey, write: impl FnOnce(&mut Vec<u8>, Framing)) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let start = self.private.len();
        write(&mut self.private, connection.framing);
        connection.answer(Run { source: Source::Private, start, end: self.private.len() });
        self.mark_dirty(key);
    }

    /// Writes a frame of the broker's own.
    pub(super) fn send(&mut self, key: ConnectionKey, frame: &Frame) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let start = self.private.len();
        self.encoder.frame(&mut self.private, connection.framing, connection.version(), frame);
        connection.answer(Run { source: Source::Private, start, end: self.private.len() });
        self.mark_dirty(key);
    }

    /// Writes a MESSAGE that a session gave out.
    pub(super) fn send_message(&mut self, key: ConnectionKey, outgoing: &Outgoing) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let envelope = Envelope { subscription: &outgoing.id, ack: outgoing.ack, redeliveries: outgoing.redeliveries };
        let (framing, version) = (connection.framing, connection.version());
        let shape = self.encoder.message(&mut self.private, framing, version, envelope, &outgoing.message);
        push_shape(&mut connection.outbox, Source::Private, &shape);
        if let Some(tag) = outgoing.settle_when_written {
            connection.outbox.mark(outgoing.subscription, tag);
        }
        self.counters.deliveries.add(1);
        self.mark_dirty(key);
    }

    /// Writes a MESSAGE that answers what the peer asked: it counts as such.
    pub(super) fn send_answer(&mut self, key: ConnectionKey, outgoing: &Outgoing) {
        let queued = |peers: &Peers| peers.connections.get(key).map_or(0, |connection| connection.outbox.queued());
        let before = queued(self);
        self.send_message(key, outgoing);
        let more = queued(self).saturating_sub(before);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.answers += more;
        }
    }

    /// Ends the turn for all connections with something to write, and answers with those that can be written to.
    pub(super) fn seal(&mut self) -> Vec<ConnectionKey> {
        let mut dirty = std::mem::take(&mut self.dirty);
        if dirty.is_empty() {
            return dirty;
        }
        self.labels.seal();
        // The next turn is likely to be like this one.
        let next = Vec::with_capacity(self.private.len().min(FORESEEN));
        let private = bytes::Bytes::from(std::mem::replace(&mut self.private, next));
        let labels = &self.labels;
        let connections = &mut self.connections;
        dirty.retain(|key| {
            let Some(connection) = connections.get_mut(*key) else { return false };
            connection.dirty = false;
            let buffer = |source| match source {
                Source::Private => private.clone(),
                Source::Label(number) => labels.sealed(number),
            };
            connection.outbox.seal(buffer, connection.blocked);
            !connection.blocked
        });
        self.labels.forget();
        dirty
    }

    /// Bytes encoded during this turn, each encoding counted once.
    pub(super) fn fresh_bytes(&self) -> usize {
        self.labels.fresh() + self.private.len()
    }

    /// What this turn has for the store.
    pub(super) fn take_submissions(&mut self) -> Vec<Submission> {
        self.submit_unawaited();
        std::mem::take(&mut self.submissions)
    }

    fn submit_unawaited(&mut self) {
        self.keeps_order = false;
        if !self.unawaited.is_empty() {
            self.submissions.push(Submission { ticket: UNAWAITED, changes: std::mem::take(&mut self.unawaited) });
        }
    }

    /// What is to be read from the store: for which queue, and which messages.
    pub(super) fn take_lookups(&mut self) -> Vec<(u64, Vec<u64>)> {
        std::mem::take(&mut self.lookups)
    }

    pub(super) fn has_submissions(&self) -> bool {
        !self.submissions.is_empty() || !self.unawaited.is_empty() || !self.lookups.is_empty()
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Gives a subscription's encoding back that [`Labels::acquire`] gave out for it.
    pub(super) fn release_label(&mut self, key: ConnectionKey, subscription: bytestring::ByteString) {
        if let Some(connection) = self.connections.get(key) {
            self.labels.release(&connection.label(subscription));
        }
    }

    /// The number of the encoding that a subscription of this connection shares.
    pub(super) fn acquire_label(&mut self, key: ConnectionKey, subscription: bytestring::ByteString) -> u32 {
        let Some(connection) = self.connections.get(key) else { return u32::MAX };
        self.labels.acquire(connection.label(subscription))
    }

    fn mark_dirty(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Gives a delivery to the session, which may hold it, drop it or give it out.
    fn deliver_through_session(&mut self, key: ConnectionKey, subscription: SubscriptionKey, delivery: Delivery) {
        let content = &delivery.message.content;
        let (size, limit) = (content.body.len() + content.headers.footprint(), self.outbox_limit);
        if let Some(connection) = self.connections.get_mut(key) {
            let room = match delivery.tag {
                None => connection.has_room_for_topic(size, limit),
                Some(_) => connection.outbox.has_room(size, limit),
            };
            connection.session.lend(&mut self.room);
            connection.session.handle_delivery(self.now, subscription, delivery, room);
            self.stirred.push(key);
        }
    }
}

impl Effects for Peers {
    fn deliver_topic(&mut self, subscriber: &Subscriber, message: &Arc<Message>, when_slow: WhenSlow) {
        let key = ConnectionKey::from(KeyData::from_ffi(subscriber.id.session.key));
        let Some(connection) = self.connections.get_mut(key) else { return };
        // The fast way: what a subscription in ack mode `auto` gets changes nothing in its session, so the encoding
        // that it shares is appended, and that is all.
        if !subscriber.paced && connection.phase == Phase::Open && !connection.session.has_held() {
            let Some(shape) = self.labels.encoding(subscriber.label, message, &mut self.encoder) else { return };
            if connection.has_room_for_topic(shape.len(), self.outbox_limit) {
                push_shape(&mut connection.outbox, Source::Label(subscriber.label), shape);
                self.counters.deliveries.add(1);
                if !connection.dirty {
                    connection.dirty = true;
                    self.dirty.push(key);
                }
                return;
            }
        }
        let delivery = Delivery { message: Arc::clone(message), when_slow, tag: None, redeliveries: 0 };
        self.deliver_through_session(key, subscriber.id.subscription, delivery);
    }

    fn deliver(&mut self, consumer: SubscriberId, delivery: Delivery) {
        if consumer.session.worker != self.worker {
            self.posts.push(consumer.session.worker, Post::Deliver(consumer, delivery));
            return;
        }
        let key = ConnectionKey::from(KeyData::from_ffi(consumer.session.key));
        self.deliver_through_session(key, consumer.subscription, delivery);
    }

    fn verdict(&mut self, session: SessionId, ticket: Option<Ticket>, verdict: Verdict) {
        if session.worker != self.worker {
            self.posts.push(session.worker, Post::Verdict(session, ticket, verdict));
            return;
        }
        if let Some(number) = ticket.and_then(Ticket::as_internal) {
            self.routed.push((number, verdict));
            return;
        }
        let key = ConnectionKey::from(KeyData::from_ffi(session.key));
        if let Some(connection) = self.connections.get_mut(key) {
            connection.session.handle_verdict(self.now, ticket, verdict);
            self.stirred.push(key);
        }
    }

    fn post(&mut self, worker: WorkerId, command: Command) {
        self.posts.push(worker, Post::Command(command));
    }

    fn store(&mut self, ticket: u64, mut changes: Vec<Change>) {
        if ticket == UNAWAITED {
            // A mark takes an earlier one's place, and what a message has been through is of no use once it is forgotten. All
            // others mean the same in any order.
            self.keeps_order |=
                changes.iter().any(|change| matches!(change, Change::Mark { .. } | Change::State { .. }));
            self.unawaited.append(&mut changes);
            return;
        }
        if self.keeps_order {
            self.submit_unawaited();
        }
        self.submissions.push(Submission { ticket, changes });
    }

    fn fetch(&mut self, queue: u64, sequences: Vec<u64>) {
        self.lookups.push((queue, sequences));
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Unreadable { queue, count } => {
                tracing::error!(%queue, count, "stored messages cannot be read; they are tried again later");
            }
            Note::Unrouted(_) => self.counters.unrouted.add(1),
            Note::UserAbsent(destination) => {
                self.counters.user_absent.add(1);
                tracing::debug!(%destination, "a message to a user reached nobody");
            }
            Note::UnknownDropped(destination) => {
                self.counters.dropped.add(1);
                tracing::warn!(%destination, "dropped a message: no destination prefix takes it");
            }
            Note::DeadLettered { queue, reason } => {
                self.counters.dead_lettered.add(1);
                tracing::info!(%queue, reason, "a message moved to the dead letters");
            }
            Note::DeadLetterRefused { queue, reason } => {
                tracing::warn!(%queue, reason, "the dead letters did not take a message: it stays in its queue");
            }
            Note::Lost { queue, reason } => {
                self.counters.lost.add(1);
                tracing::warn!(%queue, reason, "a message was given up: no dead-letter queue takes it");
            }
            Note::Dropped { queue, reason, count } => {
                self.counters.dropped.add(count as u64);
                tracing::debug!(%queue, reason, count, "dropped messages of a queue");
            }
            Note::Abandoned { queue, count } => {
                self.counters.dropped.add(count as u64);
                tracing::info!(%queue, count, "a durable subscription was abandoned: it ends, with its messages");
            }
            Note::Unbound(queue) => {
                tracing::warn!(%queue, "no topic's prefix takes what a durable subscription is on: it gets nothing");
            }
            Note::LimitReached(refusal) => {
                self.counters.limit_reached(refusal.code());
                tracing::warn!(code = refusal.code(), "limit reached: {refusal}");
            }
        }
    }
}

fn push_shape(outbox: &mut Outbox, source: Source, shape: &super::encoder::Shape) {
    let (start, end) = shape.head;
    outbox.push_run(Run { source, start, end });
    if let Some((body, (start, end))) = &shape.shared {
        outbox.push_bytes(body.clone());
        outbox.push_run(Run { source, start: *start, end: *end });
    }
}
