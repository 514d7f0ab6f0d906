//! How bytes, frames, actions and endings flow through a [`Hub`].

use std::time::Instant;

use super::encoder::Encoder;
use super::hub::{Event, Hub};
use super::peers::{ConnectionKey, Phase};
use crate::app::Occasion;
use crate::broker::{Command, Consumer, Subscriber};
use crate::message::{Content, Operation, Outcome, SessionId, SubscriberId, SubscriptionKey, Tags, Ticket};
use crate::session::{Action, Browse, Close, CloseCode, Note, Subscribe, Target};
use crate::stomp::{Decoded, Decoder};
use crate::websocket::deflate::Codec;
use crate::websocket::packet::{Event as PacketEvent, Receiver};
use crate::websocket::{self, Violation};

impl Hub {
    /// Feeds WebSocket bytes. Control frames are answered here; payload goes on to the STOMP decoder.
    pub(super) fn feed_packets(
        &mut self,
        key: ConnectionKey,
        receiver: &mut Receiver,
        decoder: &mut Decoder,
        input: &mut &mut [u8],
        codec: &mut Codec,
    ) {
        let limit = self.options.websocket.max_packet_bytes;
        loop {
            match receiver.next(input, limit, codec) {
                Ok(Some(PacketEvent::Data { payload, .. })) => self.feed(key, decoder, payload),
                Ok(Some(PacketEvent::Ping(payload))) => {
                    if self.phase(key) == Some(Phase::Open) {
                        self.peers.write(key, |out, _| Encoder::pong(out, payload));
                    }
                }
                Ok(Some(PacketEvent::Pong(_))) => {}
                Ok(Some(PacketEvent::Close(close))) => {
                    let code = close.map_or(websocket::CloseCode::Status, |(code, _)| code);
                    self.closed_by_peer(key, code);
                }
                Ok(None) => return,
                Err(violation) => return self.violated(key, violation),
            }
        }
    }

    /// Feeds STOMP bytes, or keeps them while the session waits for something.
    pub(super) fn feed(&mut self, key: ConnectionKey, decoder: &mut Decoder, mut bytes: &[u8]) {
        let limit = self.options.outbox_bytes;
        while let Some(connection) = self.peers.connections.get_mut(key)
            && connection.phase == Phase::Open
        {
            if !connection.unread.is_empty() || !connection.wants_input(limit) {
                connection.unread.extend_from_slice(bytes);
                connection.paused = true;
                return;
            }
            match decoder.decode(&mut bytes) {
                Ok(Some(Decoded::Frame(frame))) => {
                    self.peers.counters.frames_in.add(1);
                    connection.session.lend(&mut self.peers.room);
                    connection.session.handle_frame(self.peers.now, frame);
                    self.peers.stirred.push(key);
                    self.settle_sessions();
                    self.adopt_version(key, decoder);
                }
                Ok(Some(Decoded::Heartbeat)) => {}
                Ok(None) => return,
                Err(fault) => {
                    connection.session.handle_fault(self.peers.now, &fault);
                    self.peers.stirred.push(key);
                    self.settle_sessions();
                    return;
                }
            }
        }
    }

    /// Once a session is connected its frames may be larger, and their escapes are known.
    fn adopt_version(&self, key: ConnectionKey, decoder: &mut Decoder) {
        if let Some(connection) = self.peers.connections.get(key)
            && let Some(version) = connection.session.version()
            && decoder.version() != Some(version)
        {
            decoder.set_version(version);
            decoder.set_limits(&self.options.limits);
        }
    }

    /// Lets sessions act until none has anything left to do.
    pub(super) fn settle_sessions(&mut self) {
        loop {
            while let Some(key) = self.peers.stirred.pop() {
                loop {
                    while let Some(action) = self.next_action(key) {
                        self.perform(key, action);
                    }
                    if !self.release_held(key) {
                        break;
                    }
                }
                self.note_resumed(key);
                self.arm(key);
            }
            let Some((call, verdict)) = self.peers.routed.pop() else { return };
            self.note_routed(call, verdict);
        }
    }

    /// Tells the driver that a connection which had enough wants input again.
    pub(super) fn note_resumed(&mut self, key: ConnectionKey) {
        let limit = self.options.outbox_bytes;
        if let Some(connection) = self.peers.connections.get_mut(key)
            && connection.paused
            && connection.wants_input(limit)
        {
            connection.paused = false;
            self.events.push(Event::Resumed(key));
        }
    }

    fn next_action(&mut self, key: ConnectionKey) -> Option<Action> {
        self.peers.connections.get_mut(key)?.session.poll_action_leaving(&mut self.peers.room)
    }

    pub(super) fn apply(&mut self, command: Command) {
        self.shard.apply(self.peers.now, command, &mut self.peers);
    }

    /// Routes what a session has sent.
    pub(super) fn route(&mut self, session: SessionId, content: Content, ticket: Option<Ticket>) {
        self.shard.publish(self.peers.now, session, content, ticket, &mut self.peers);
    }

    fn perform(&mut self, key: ConnectionKey, action: Action) {
        let session = self.peers.session_id(key);
        match action {
            Action::Send(frame) => self.peers.send(key, &frame),
            Action::Heartbeat => self.peers.write(key, Encoder::heart_beat),
            Action::Deliver(outgoing) => self.peers.send_message(key, &outgoing),
            Action::Perform { operation: Operation::Send(content), ticket } => {
                self.route(session, content, ticket);
            }
            Action::Perform { operation: Operation::Settle(tags, outcome), ticket } => {
                self.apply(Command::Settle { session, tags, outcome, ticket });
            }
            Action::Commit { operations, ticket } => self.commit(session, operations, ticket),
            Action::Opened(opened) => self.open_to_application(key, opened),
            Action::Call { content, ticket } => self.call(session, content, ticket),
            Action::Ask(ask) => self.ask(session, ask),
            Action::Subscribe(subscribe) => self.subscribe(key, subscribe),
            Action::Browse(Browse { subscription, queue, credit, after }) => {
                let reader =
                    Consumer { id: SubscriberId { session, subscription }, credit, no_local: false, ends_queue: false };
                self.apply(Command::Browse { reader, queue, after: Some(after), ticket: None });
            }
            Action::Unsubscribe { subscription, id, target, paced, by_client, ticket } => {
                self.announce_unsubscribed(session, &target);
                match &target {
                    Target::Topic(_) | Target::Own(_) if !paced => self.peers.release_label(key, id),
                    Target::Queue(_) | Target::Durable(_) if by_client => self.keep_unwritten(key, subscription),
                    Target::Topic(_) | Target::Own(_) | Target::Queue(_) | Target::Durable(_) => {}
                }
                self.unsubscribe(key, subscription, target, ticket);
            }
            Action::Forget { queue, ticket } => self.apply(Command::Forget { session, queue, ticket }),
            Action::Note(note) => self.note(key, note),
            Action::Close(close) => self.close(key, &close),
        }
    }

    fn subscribe(&mut self, key: ConnectionKey, subscribe: Subscribe) {
        let Subscribe { subscription, id, target, no_local, paced, credit, browses, ends_queue, replaces, ticket } =
            subscribe;
        let name = SubscriberId { session: self.peers.session_id(key), subscription };
        match target {
            Target::Topic(pattern) => {
                let label = if paced { u32::MAX } else { self.peers.acquire_label(key, id) };
                let subscriber = Subscriber { id: name, label, no_local, paced };
                self.apply(Command::Subscribe { subscriber, pattern, ticket });
            }
            Target::Own(stream) => {
                let label = if paced { u32::MAX } else { self.peers.acquire_label(key, id) };
                let subscriber = Subscriber { id: name, label, no_local, paced };
                self.apply(Command::SubscribeOwn { subscriber, stream, ticket });
            }
            Target::Queue(queue) if browses => {
                let reader = Consumer { id: name, credit, no_local, ends_queue };
                self.apply(Command::Browse { reader, queue, after: None, ticket });
            }
            Target::Queue(queue) => {
                let consumer = Consumer { id: name, credit, no_local, ends_queue };
                if let Some(replaced) = replaces {
                    self.announce_unsubscribed(name.session, &Target::Queue(queue.clone()));
                    self.keep_unwritten(key, replaced);
                }
                self.apply(Command::Consume { consumer, replaces, queue, ticket });
            }
            Target::Durable(binding) => {
                let consumer = Consumer { id: name, credit, no_local, ends_queue: false };
                self.apply(Command::Attach { consumer, binding, ticket });
            }
        }
    }

    fn unsubscribe(
        &mut self,
        key: ConnectionKey,
        subscription: SubscriptionKey,
        target: Target,
        ticket: Option<Ticket>,
    ) {
        let name = SubscriberId { session: self.peers.session_id(key), subscription };
        match target {
            Target::Topic(pattern) => self.apply(Command::Unsubscribe { subscriber: name, pattern, ticket }),
            Target::Own(_) => self.apply(Command::UnsubscribeOwn { subscriber: name, ticket }),
            Target::Queue(queue) => self.apply(Command::Cancel { consumer: name, queue, ticket }),
            Target::Durable(binding) => {
                self.apply(Command::Cancel { consumer: name, queue: binding.queue, ticket });
            }
        }
    }

    /// What is already on its way to a client that unsubscribed by its own wish will reach it, and must not reach another
    /// consumer too, unless the connection is lost before.
    fn keep_unwritten(&mut self, key: ConnectionKey, subscription: SubscriptionKey) {
        let Some(connection) = self.peers.connections.get(key) else { return };
        let (session, kept) = (self.peers.session_id(key), connection.outbox.marks_of(subscription));
        for tags in by_home(kept) {
            self.apply(Command::Keep { session, tags });
        }
    }

    fn note(&mut self, key: ConnectionKey, note: Note) {
        let id = self.peers.session_id(key);
        let session = format_args!("{:x}-{:x}", id.worker.0, id.key);
        match note {
            Note::Subscribed(target) => self.announce(id, Occasion::Subscribed, target.in_words(&id.name(self.boot))),
            Note::Refused { code } => tracing::info!(%session, code, "a frame was refused; the session goes on"),
            Note::UnknownSubscribed(destination) => {
                tracing::warn!(%session, %destination, "subscribed in vain: no destination prefix takes it");
            }
            Note::Dropped { subscription, count } => {
                self.peers.counters.dropped.add(u64::from(count));
                tracing::debug!(%session, subscription = subscription.0, count, "dropped messages for a slow client");
            }
        }
    }

    /// Settles deliveries in ack mode `auto`. They may be of several queues with several homes.
    pub(super) fn settle(&mut self, key: ConnectionKey, tags: Tags, outcome: Outcome) {
        let session = self.peers.session_id(key);
        for tags in by_home(tags) {
            self.apply(Command::Settle { session, tags, outcome, ticket: None });
        }
        self.settle_sessions();
    }

    /// Lets a session give out a message that waited for room in the outbox, if there is a message and there is room.
    fn release_held(&mut self, key: ConnectionKey) -> bool {
        let Some(connection) = self.peers.connections.get_mut(key) else { return false };
        // Half of the limit, so that a connection at its limit is not woken for every message.
        if !connection.session.has_held() || connection.outbox.queued() > self.options.outbox_bytes / 2 {
            return false;
        }
        connection.session.handle_writable(self.peers.now);
        true
    }

    /// Looks at a connection whose timer fired.
    pub(super) fn look_at(&mut self, key: ConnectionKey) {
        let now = self.peers.now;
        let Some(connection) = self.peers.connections.get_mut(key) else { return };
        match connection.phase {
            Phase::Flushing { until } | Phase::Draining { until } => {
                if until <= now {
                    self.lose(key);
                    self.remove(key);
                }
            }
            Phase::Open => {
                if connection.session.poll_timeout().is_some_and(|at| at <= now) {
                    connection.session.handle_timeout(now);
                    self.peers.stirred.push(key);
                    self.settle_sessions();
                }
                self.check_pings(key);
            }
        }
    }

    /// Asks a silent peer for a sign of life, and gives up on one that did not answer (B3).
    fn check_pings(&mut self, key: ConnectionKey) {
        if self.next_ping(key).is_none_or(|at| at > self.peers.now) {
            return;
        }
        let Some(connection) = self.peers.connections.get_mut(key) else { return };
        if connection.pinged {
            self.log_close(key, "ping-timeout", None, "");
            self.lose(key);
            self.remove(key);
        } else {
            connection.pinged = true;
            self.peers.write(key, Encoder::ping);
        }
    }

    /// When to ping the peer, or to give it up if it has been pinged.
    fn next_ping(&self, key: ConnectionKey) -> Option<Instant> {
        let connection = self.peers.connections.get(key)?;
        let interval = self.options.ping_interval?;
        let is_packets = connection.intake.as_ref().is_some_and(|intake| intake.packets.is_some());
        if connection.phase != Phase::Open || !is_packets {
            return None;
        }
        let patience = if connection.pinged { self.options.ping_timeout } else { std::time::Duration::ZERO };
        Some(connection.last_received + interval + patience)
    }

    /// Makes sure that the timers look at the connection when it next wants it.
    pub(super) fn arm(&mut self, key: ConnectionKey) {
        let ping = self.next_ping(key);
        let Some(connection) = self.peers.connections.get_mut(key) else { return };
        let wanted = match connection.phase {
            Phase::Open => [connection.session.poll_timeout(), ping].into_iter().flatten().min(),
            Phase::Flushing { until } | Phase::Draining { until } => Some(until),
        };
        let Some(wanted) = wanted else { return };
        if connection.armed.is_none_or(|armed| wanted < armed) {
            connection.armed = Some(wanted);
            self.timers.set(wanted, key);
        }
    }

    /// The client ended the WebSocket connection: answer, write what is left, close.
    fn closed_by_peer(&mut self, key: ConnectionKey, code: websocket::CloseCode) {
        match self.phase(key) {
            Some(Phase::Open) => {
                self.log_close(key, "closed-by-peer", Some(code), "");
                self.lose(key);
                self.peers.write(key, |out, framing| Encoder::close(out, framing, code, ""));
                self.start_flushing(key);
            }
            // The answer to our own close.
            Some(Phase::Draining { .. }) => self.remove(key),
            Some(Phase::Flushing { .. }) | None => {}
        }
    }

    /// The client broke the rules of WebSocket: there is no way left to say so in STOMP.
    fn violated(&mut self, key: ConnectionKey, violation: Violation) {
        if self.phase(key) != Some(Phase::Open) {
            return;
        }
        self.peers.counters.refused.add(1);
        let reason = violation.to_string();
        if matches!(violation, Violation::PacketTooBig { .. }) {
            self.peers.counters.limit_reached("packet-too-big");
        }
        self.log_close(key, "websocket-violation", Some(violation.close_code()), &reason);
        self.lose(key);
        self.peers.write(key, |out, framing| Encoder::close(out, framing, violation.close_code(), &reason));
        self.start_flushing(key);
    }

    /// The session wants the connection closed.
    fn close(&mut self, key: ConnectionKey, close: &Close) {
        if self.phase(key) != Some(Phase::Open) {
            return;
        }
        if close.is_limit {
            self.peers.counters.limit_reached(close.reason);
        }
        match close.code {
            CloseCode::Normal | CloseCode::GoingAway => {}
            CloseCode::SlowConsumer => {
                self.peers.counters.refused.add(1);
                self.peers.counters.slow_consumers.add(1);
            }
            _ => self.peers.counters.refused.add(1),
        }
        let code = websocket::CloseCode::from(close.code as u16);
        self.log_close(key, close.reason, Some(code), &close.detail);
        self.depart(key);
        self.peers.write(key, |out, framing| Encoder::close(out, framing, code, close.reason));
        self.start_flushing(key);
    }

    pub(super) fn start_flushing(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.peers.connections.get_mut(key) {
            connection.phase = Phase::Flushing { until: self.peers.now + self.options.close_timeout };
        }
        self.forget_input(key);
        self.finish_if_flushed(key);
        self.arm(key);
    }

    /// If the last byte is out, the connection's subscriptions end and its socket is closed.
    pub(super) fn finish_if_flushed(&mut self, key: ConnectionKey) {
        let Some(connection) = self.peers.connections.get_mut(key) else { return };
        if !matches!(connection.phase, Phase::Flushing { .. }) || !connection.outbox.is_empty() {
            return;
        }
        connection.phase = Phase::Draining { until: self.peers.now + self.options.close_timeout };
        self.events.push(Event::Finished(key));
        self.lose(key);
        self.arm(key);
    }

    /// Once all that a peer sent before it closed its writing side is taken up, the session has heard everything.
    pub(super) fn end_session(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.peers.connections.get_mut(key)
            && connection.ended
            && connection.unread.is_empty()
        {
            connection.session.handle_ended(self.peers.now);
            self.peers.stirred.push(key);
            self.settle_sessions();
        }
    }

    /// The session ends, whatever the reason: its subscriptions go.
    pub(super) fn lose(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.peers.connections.get_mut(key) {
            connection.session.handle_lost(self.peers.now);
            self.peers.stirred.push(key);
            self.settle_sessions();
            self.depart(key);
            self.settle_sessions();
            let unwritten = self.peers.connections.get_mut(key).map(|lost| lost.outbox.give_up_marks());
            self.settle(key, unwritten.unwrap_or_default(), Outcome::Returned);
        }
    }

    pub(super) fn remove(&mut self, key: ConnectionKey) {
        if let Some(removed) = self.peers.connections.remove(key) {
            self.note_kept(removed.kept, 0);
            self.peers.counters.connections.take(1);
            self.events.push(Event::Removed(key));
        }
    }

    pub(super) fn phase(&self, key: ConnectionKey) -> Option<Phase> {
        self.peers.connections.get(key).map(|connection| connection.phase)
    }

    /// One line for each session that ends, with why, who and which.
    pub(super) fn log_close(
        &mut self,
        key: ConnectionKey,
        reason: &'static str,
        code: Option<websocket::CloseCode>,
        detail: &str,
    ) {
        let Some(connection) = self.peers.connections.get_mut(key) else { return };
        connection.why = Some(reason);
        self.peers.counters.closed(reason);
        let (transport, peer) = (connection.peer.transport, connection.peer.address);
        let session = self.peers.session_id(key);
        tracing::info!(
            reason,
            detail,
            code = code.map(u16::from),
            transport,
            peer = peer.map(tracing::field::display),
            session = %format_args!("{:x}-{:x}", session.worker.0, session.key),
            "session closed"
        );
    }
}

/// Tags by where they are to be settled, in order.
fn by_home(tags: Tags) -> impl Iterator<Item = Tags> {
    let mut rest = tags;
    std::iter::from_fn(move || {
        let home = rest.first()?.home;
        let (own, others) = std::mem::take(&mut rest).into_iter().partition(|tag| tag.home == home);
        rest = others;
        Some(own)
    })
}
