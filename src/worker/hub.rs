//! A worker without its sockets: bytes, posts and time in; bytes, posts and events out.
//!
//! The hub joins the pure parts: it feeds what a connection sent through the WebSocket and STOMP codecs into its
//! session, carries the session's actions to the shard and the shard's effects to sessions and outboxes. It knows no
//! socket, no runtime and no clock, so the whole broker also runs in one thread on a virtual clock.
//!
//! A *turn* is: some calls of `receive`, `receive_posts`, `handle_timeout` and the like, then [`Hub::seal`] and writing
//! what it names. Nothing is written within a turn, so bytes for one connection gather, the more the higher the load.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use slotmap::Key;

use super::Options;
use super::applications::Applications;
use super::counters::Counters;
use super::encoder::{Encoder, Framing};
use super::outbox::Outbox;
use super::peers::{Connection, ConnectionKey, Intake, Peer, Peers, Phase, Submission};
use super::post::{Post, Posts};
use super::timers::Timers;
use super::unfinished::Unfinished;
use crate::broker::{Effects, Interest, QueueStats, Shard};
use crate::clock::Clock;
use crate::message::{Content, Outcome, Sequences, SessionId, WorkerId};
use crate::session::Session;
use crate::stomp::Decoder;
use crate::websocket::deflate::Codec;
use crate::websocket::packet::Receiver;

/// What the driver of a hub must do, beyond writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// All is written: close the writing side and wait for the peer to close its own.
    Finished(ConnectionKey),
    /// The connection is no more: drop its socket.
    Removed(ConnectionKey),
    /// Input is wanted again.
    Resumed(ConnectionKey),
}

/// One worker's part of the broker.
#[derive(Debug)]
pub struct Hub {
    pub(super) shard: Shard,
    pub(super) peers: Peers,
    pub(super) timers: Timers,
    pub(super) codec: Codec,
    pub(super) applications: Applications,
    pub(super) unfinished: Arc<Unfinished>,
    pub(super) options: Arc<Options>,
    pub(super) boot: u32,
    pub(super) events: Vec<Event>,
}

impl Hub {
    /// The hub of worker `id`, from the start of `clock` on. `boot` tells this start of the broker from all others; all hubs of a
    /// broker share it and the interest table.
    pub fn new(
        clock: Clock,
        id: WorkerId,
        boot: u32,
        options: Arc<Options>,
        interest: Arc<Interest>,
        counters: Arc<Counters>,
    ) -> Hub {
        let encoder = Encoder::new(options.websocket.deflate);
        let workers = usize::from(interest.workers());
        let posts = Posts::new(workers);
        let unfinished = Unfinished::new(options.unfinished_bytes, workers);
        Hub {
            shard: Shard::new(clock, id, boot, Arc::clone(&options.broker), interest),
            peers: Peers::new(id, clock.start(), encoder, posts, counters, options.outbox_bytes),
            timers: Timers::default(),
            codec: Codec::new(options.websocket.deflate.level),
            applications: Applications::new(clock, &options),
            unfinished,
            options,
            boot,
            events: Vec::new(),
        }
    }

    /// From now on there is a store: what [`Hub::take_submissions`] gives is to be stored, and the answers come as posts.
    pub fn use_store(&mut self, sequences: Sequences) {
        self.shard.use_store(sequences);
    }

    /// Takes a connection on. Its WebSocket handshake, if it has one, is done.
    pub fn open(&mut self, now: Instant, peer: Peer, framing: Framing) -> ConnectionKey {
        self.peers.now = now;
        let options = Arc::clone(&self.options);
        let (worker, boot) = (self.peers.worker, self.boot);
        let packets = match framing {
            Framing::Stream => None,
            Framing::Packets(agreement) => Some(Receiver::new(agreement.is_some())),
        };
        let key = self.peers.connections.insert_with_key(|key| {
            let id = SessionId { worker, key: key.data().as_ffi() };
            let name = id.name(boot);
            let session = match peer.transport {
                "tcp" => Arc::clone(&options.tcp_session),
                _ => Arc::clone(&options.session),
            };
            Box::new(Connection {
                session: Session::new(now, name.into(), session),
                intake: Some(Intake { packets, decoder: Decoder::new(&options.limits_before_login) }),
                outbox: Outbox::default(),
                answers: 0,
                framing,
                peer,
                phase: Phase::Open,
                why: None,
                unread: Vec::new(),
                outside: 0,
                kept: 0,
                kept_since: now,
                paused: false,
                ended: false,
                last_received: now,
                pinged: false,
                armed: None,
                waits_for_application: false,
                dirty: false,
                blocked: false,
            })
        });
        self.peers.counters.connections.add(1);
        self.peers.counters.opened.add(1);
        self.arm(key);
        key
    }

    /// The peer sent these bytes. They are unmasked where they lie.
    pub fn receive(&mut self, now: Instant, key: ConnectionKey, mut input: &mut [u8]) {
        self.peers.now = now;
        let Some(connection) = self.peers.connections.get_mut(key) else { return };
        self.peers.counters.bytes_in.add(input.len() as u64);
        connection.last_received = now;
        connection.pinged = false;
        connection.session.note_received(now);
        let Some(mut intake) = connection.intake.take() else { return };
        let frames = self.peers.counters.frames_in.read();
        match intake.packets.as_mut() {
            None => self.feed(key, &mut intake.decoder, input),
            Some(receiver) => {
                let mut codec = std::mem::replace(&mut self.codec, Codec::new(1));
                self.feed_packets(key, receiver, &mut intake.decoder, &mut input, &mut codec);
                self.codec = codec;
            }
        }
        self.put_back(key, intake, frames);
        self.arm(key);
    }

    /// The peer closed its writing side. Over TCP that says no more than that it has nothing left to say: what it sent
    /// takes effect and is answered. A WebSocket says so by a close packet, and is broken without one.
    pub fn ended(&mut self, now: Instant, key: ConnectionKey) {
        self.peers.now = now;
        let Some(connection) = self.peers.connections.get_mut(key) else { return };
        match connection.phase {
            Phase::Open if connection.framing == Framing::Stream => {
                connection.ended = true;
                self.end_session(key);
            }
            Phase::Open => {
                self.log_close(key, "closed-by-peer", None, "");
                self.lose(key);
                self.start_flushing(key);
            }
            Phase::Flushing { .. } => {}
            Phase::Draining { .. } => self.remove(key),
        }
    }

    /// The socket failed: nothing can be read or written any more.
    pub fn failed(&mut self, now: Instant, key: ConnectionKey) {
        self.peers.now = now;
        let Some(connection) = self.peers.connections.get(key) else { return };
        if connection.phase == Phase::Open {
            self.log_close(key, "connection-lost", None, "");
        }
        self.lose(key);
        self.remove(key);
    }

    /// Other workers have this for us.
    pub fn receive_posts(&mut self, now: Instant, posts: Vec<Post>) {
        self.peers.now = now;
        for post in posts {
            match post {
                Post::Command(command) => self.apply(command),
                Post::Deliver(consumer, delivery) => self.peers.deliver(consumer, delivery),
                Post::Verdict(session, ticket, verdict) => self.peers.verdict(session, ticket, verdict),
                Post::Answer(call, answer) => self.take_answer(call, answer),
                Post::Relieve => self.relieve_for_others(),
            }
            self.settle_sessions();
        }
    }

    /// Routes what the broker itself says, such as an application's answer, as if a session had sent it: to a topic, a
    /// queue, a user at `/user/{name}/...`, or one session at `/user/{session}/...`, whatever worker they are on. Nobody is
    /// told what became of it.
    pub fn publish(&mut self, now: Instant, content: Content) {
        self.peers.now = now;
        self.route(SessionId::of_broker(self.peers.worker), content, None);
        self.settle_sessions();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.peers.now = now;
        if self.shard.poll_timeout().is_some_and(|at| at <= now) {
            self.shard.handle_timeout(now, &mut self.peers);
        }
        self.give_up_late_calls();
        while let Some((at, key)) = self.timers.due(now) {
            let Some(connection) = self.peers.connections.get_mut(key) else { continue };
            if connection.armed != Some(at) {
                continue;
            }
            connection.armed = None;
            self.look_at(key);
            self.settle_sessions();
            self.arm(key);
        }
        self.settle_sessions();
    }

    /// When [`Hub::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.shard.poll_timeout(), self.applications.poll_timeout()].into_iter().flatten().min()
    }

    /// The broker goes away: every session is told, and closed.
    pub fn shut_down(&mut self, now: Instant) {
        self.peers.now = now;
        let keys: Vec<_> = self.peers.connections.keys().collect();
        for key in keys {
            if let Some(connection) = self.peers.connections.get_mut(key)
                && connection.phase == Phase::Open
            {
                connection.session.handle_closing(now);
                self.peers.stirred.push(key);
            }
        }
        self.settle_sessions();
    }

    /// What the driver must do; call it until it answers `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Whether the connection is to be read from. After a no, [`Event::Resumed`] tells when it is again.
    ///
    /// A peer that does not take what it is sent is not read from either: its RECEIPTs, pongs and ERRORs would otherwise
    /// pile up without a limit.
    pub fn wants_input(&mut self, key: ConnectionKey) -> bool {
        let Some(connection) = self.peers.connections.get_mut(key) else { return false };
        // A connection that ends is read only to notice that the peer closes.
        connection.paused = connection.phase == Phase::Open && !connection.wants_input(self.options.outbox_bytes);
        !connection.paused
    }

    /// Takes up what the peer sent while its session did not want input. To be called on [`Event::Resumed`], before
    /// reading more.
    pub fn resume(&mut self, now: Instant, key: ConnectionKey) {
        self.peers.now = now;
        let Some(connection) = self.peers.connections.get_mut(key) else { return };
        let unread = std::mem::take(&mut connection.unread);
        let Some(mut intake) = connection.intake.take() else { return };
        let frames = self.peers.counters.frames_in.read();
        self.feed(key, &mut intake.decoder, &unread);
        drop(unread);
        self.put_back(key, intake, frames);
        self.end_session(key);
        self.arm(key);
    }

    /// Whether so much has gathered in this turn that it should end now.
    pub fn needs_flush(&self) -> bool {
        self.peers.fresh_bytes() > self.options.turn_bytes
    }

    /// Whether anything waits to be written, posted or stored.
    pub fn has_output(&self) -> bool {
        let has_jobs = self.applications.has_jobs();
        self.peers.is_dirty() || !self.peers.posts.is_empty() || self.peers.has_submissions() || has_jobs
    }

    /// Ends the turn and answers with the connections to write to. Write each until its outbox is empty or its socket
    /// is full.
    pub fn seal(&mut self) -> Vec<ConnectionKey> {
        self.peers.seal()
    }

    /// In how many pieces lies what the connection is to be sent.
    pub(crate) fn pieces(&self, key: ConnectionKey) -> usize {
        self.peers.connections.get(key).map_or(0, |connection| connection.outbox.pieces())
    }

    /// Fills `slices` with what the connection is to be sent next; none: there is nothing.
    pub fn slices<'a>(&'a self, key: ConnectionKey, slices: &mut [IoSlice<'a>]) -> usize {
        self.peers.connections.get(key).map_or(0, |connection| connection.outbox.slices(slices))
    }

    /// How many bytes wait to be written to the connection.
    pub fn queued(&self, key: ConnectionKey) -> usize {
        self.peers.connections.get(key).map_or(0, |connection| connection.outbox.queued())
    }

    /// The first `count` bytes of these slices are written.
    pub fn wrote(&mut self, now: Instant, key: ConnectionKey, count: usize) {
        self.peers.now = now;
        let Some(connection) = self.peers.connections.get_mut(key) else { return };
        self.peers.counters.bytes_out.add(count as u64);
        connection.blocked = false;
        connection.session.note_sent(now);
        if connection.paused {
            // We do not hear from a peer that we do not read, but it takes bytes, so it is alive.
            connection.last_received = now;
            connection.session.note_received(now);
        }
        let consumed = connection.outbox.wrote(count);
        connection.note_written();
        if !consumed.is_empty() {
            self.settle(key, consumed, Outcome::Consumed);
        }
        if self.peers.connections.get(key).is_some_and(|each| each.session.has_held()) {
            self.peers.stirred.push(key);
            self.settle_sessions();
        }
        self.note_resumed(key);
        self.finish_if_flushed(key);
    }

    /// The socket takes no more for now. Call [`Hub::wrote`] when it did.
    pub fn blocked(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.peers.connections.get_mut(key)
            && !connection.blocked
        {
            connection.blocked = true;
            connection.outbox.detach();
        }
    }

    /// What this turn has for another worker, in order.
    pub fn take_posts(&mut self, worker: WorkerId) -> Vec<Post> {
        self.peers.posts.take(worker)
    }

    /// What this turn has for the store, in order.
    pub fn take_submissions(&mut self) -> Vec<Submission> {
        self.peers.take_submissions()
    }

    /// What this turn wants to read from the store: for which queue of its own, and which messages.
    /// [`Command::Fetched`](crate::broker::Command::Fetched) is to bring them, as a post.
    pub fn take_lookups(&mut self) -> Vec<(u64, Vec<u64>)> {
        self.peers.take_lookups()
    }

    /// The broker ends in order: what only this hub knows of stored messages is among the next submissions.
    pub fn finish(&mut self, now: Instant) {
        self.peers.now = now;
        self.shard.close(&mut self.peers);
    }

    /// Whether there is anything for other workers.
    pub fn has_posts(&self) -> bool {
        !self.peers.posts.is_empty()
    }

    /// What each queue that lives here holds, in no particular order.
    pub fn queue_stats(&self) -> impl Iterator<Item = QueueStats> {
        self.shard.queue_stats()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.peers.connections.len()
    }
}
