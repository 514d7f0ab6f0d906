//! A run's broker and its clients' ends of the wires: bytes out, frames in, and the model beside them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gumboot::app::Job;
use gumboot::worker::{Framing, Post};

use crate::applications;
use crate::disk::Disk;
use crate::lasting::CLIENT;
use crate::laws::{Check, Law, Violation};
use crate::model::{Effect, Model};
use crate::random::Random;
use crate::setup::Setup;
use crate::taps::Tap;
use crate::users::USERS;
use crate::virtual_broker::{ClientId, VirtualBroker};
use crate::wire::{self, Frame, Reader, Received, Version};

/// The most that one piece of input has.
const PIECE: usize = 1024;

/// How long a client that shows life may be quiet.
const LIFE: Duration = Duration::from_secs(2);

/// A frame of the broker's own is no longer than this.
const OWN_FRAME: usize = 600;

/// A client's end of its connection.
#[derive(Debug)]
struct Wire {
    id: ClientId,
    hub: usize,
    is_websocket: bool,
    reader: Reader,
    /// What the broker has not taken yet.
    outgoing: Vec<u8>,
    last_sent: Duration,
    closed_with: Option<u16>,
}

/// Everything of a run.
pub(crate) struct World {
    pub(crate) broker: VirtualBroker,
    pub(crate) model: Model,
    pub(crate) random: Random,
    pub(crate) tap: Tap,
    pub(crate) disk: Disk,
    /// What handlers have yet to answer.
    pub(crate) jobs: Vec<(usize, Job, Instant)>,
    wires: Vec<Wire>,
    /// How much has come to clients.
    heard: usize,
    start: std::time::Instant,
    /// What the broker is told of the setup.
    told: Setup,
}

impl World {
    pub(crate) fn new(seed: u64, mut tap: Tap) -> World {
        let mut random = Random::new(seed);
        let setup = Setup::new(&mut random);
        let told = tap.misread(&setup);
        let mut broker = VirtualBroker::seeded(setup.workers, told.options(), seed);
        broker.use_table(Arc::new(applications::table(Arc::new(applications::options()))));
        if setup.has_disk {
            broker.hold_submissions();
        }
        broker.write_size = setup.write_size;
        let start = broker.now();
        let disk = Disk::new(tap.lie());
        World {
            broker,
            model: Model::new(setup),
            random,
            tap,
            disk,
            jobs: Vec::new(),
            wires: Vec::new(),
            heard: 0,
            start,
            told,
        }
    }

    /// A new connection, whose CONNECT is on its way.
    pub(crate) fn connect(&mut self, version: Version, wants_beats: bool) -> usize {
        let client = if self.random.percent(60) { Some(CLIENT) } else { None };
        self.connect_as(version, wants_beats, client)
    }

    /// The same for a client that calls itself so.
    pub(crate) fn connect_as(&mut self, version: Version, wants_beats: bool, client: Option<&'static str>) -> usize {
        let is_websocket = self.random.percent(50);
        let hub = self.random.below(self.broker.workers());
        let framing = if is_websocket { Framing::Packets(None) } else { Framing::Stream };
        let id = self.broker.connect(hub, framing);
        let asks = self.random.percent(30);
        let continues = asks || (!is_websocket && self.model.setup.continues);
        let session = self.model.open(version, continues);
        self.wires.push(Wire {
            id,
            hub,
            is_websocket,
            reader: Reader::new(is_websocket),
            outgoing: Vec::new(),
            last_sent: self.model.now,
            closed_with: None,
        });
        let command = if self.random.percent(20) { "STOMP" } else { "CONNECT" };
        let mut frame = Frame::new(command).with("host", "x").with("passcode", "secret");
        frame = match version {
            Version::V1_0 => frame,
            Version::V1_1 => frame.with("accept-version", "1.0,1.1"),
            Version::V1_2 => frame.with("accept-version", "1.2,1.1,1.0"),
        };
        if wants_beats && version != Version::V1_0 {
            frame = frame.with("heart-beat", "10000,10000");
            self.model.sessions[session].beat = Some(Duration::from_secs(10));
        }
        self.model.sessions[session].client = client;
        let user = if client.is_none() { self.random.pick_any(&USERS) } else { None };
        self.model.sessions[session].user = user;
        frame = user.map_or(frame.clone(), |user| frame.with("login", user));
        frame = client.map_or(frame.clone(), |client| frame.with("client-id", client));
        if asks {
            frame = frame.with("on-error", "continue");
        }
        self.push(session, &frame);
        session
    }

    /// The client has a frame to send.
    pub(crate) fn push(&mut self, session: usize, frame: &Frame) {
        let version = self.model.sessions[session].version;
        self.model.sessions[session].transcript.push(format!("{:>8} > {frame}", self.model.now.as_millis()));
        let mut frame = frame.clone();
        self.tap.send(&mut frame);
        self.push_bytes(session, &frame.encode(version));
    }

    pub(crate) fn push_bytes(&mut self, session: usize, bytes: &[u8]) {
        let wire = &mut self.wires[session];
        if wire.is_websocket {
            let mask = (self.random.next() as u32).to_be_bytes();
            let piece = self.random.pick(&[usize::MAX, usize::MAX, 100, 13]);
            let fragments = self.random.percent(50);
            wire.outgoing.extend(wire::packets(bytes, piece, fragments, mask));
        } else {
            wire.outgoing.extend_from_slice(bytes);
        }
    }

    /// The client pings, where it can.
    pub(crate) fn ping(&mut self, session: usize) {
        let wire = &mut self.wires[session];
        if wire.is_websocket {
            wire.outgoing.extend(wire::control(9, b"there?"));
        }
    }

    /// Sends at most so much of what the client has to send.
    pub(crate) fn flush(&mut self, session: usize, mut most: usize) -> Check {
        while most > 0 && !self.wires[session].outgoing.is_empty() {
            let wire = &mut self.wires[session];
            let count = wire.outgoing.len().min(PIECE).min(most);
            if !self.broker.send(wire.id, &wire.outgoing[..count]) {
                break;
            }
            wire.outgoing.drain(..count);
            wire.last_sent = self.model.now;
            most -= count;
            let hub = wire.hub;
            self.end_turn(hub)?;
        }
        Ok(())
    }

    pub(crate) fn has_outgoing(&self, session: usize) -> bool {
        !self.wires[session].outgoing.is_empty()
    }

    /// Ends a worker's turn, unless turns are longer than that.
    fn end_turn(&mut self, hub: usize) -> Check {
        if !self.model.setup.is_lazy || self.random.percent(30) {
            self.broker.end_turn(hub);
            if self.model.setup.is_quick && self.serve(usize::MAX) && !self.model.setup.is_lazy {
                self.end_turns();
            }
        }
        self.pump()
    }

    /// One batch of posts arrives.
    pub(crate) fn deliver(&mut self) -> Check {
        let hub = self.random.below(self.broker.workers());
        self.broker.end_turn(hub);
        let choice = self.random.below(64);
        if self.broker.deliver_posts(choice) && !self.model.setup.is_lazy {
            for hub in 0..self.broker.workers() {
                self.broker.end_turn(hub);
            }
        }
        self.pump()
    }

    /// The client's connection breaks.
    pub(crate) fn break_off(&mut self, session: usize) -> Check {
        self.note(session, "drops the connection");
        self.model.sessions[session].is_over = true;
        self.model.sessions[session].is_leaving = true;
        self.model.sessions[session].may_vanish = true;
        self.wires[session].outgoing.clear();
        self.broker.drop_client(self.wires[session].id);
        let hub = self.wires[session].hub;
        self.end_turn(hub)
    }

    /// The client has nobody to send to any more.
    pub(crate) fn hang_up(&mut self, session: usize) {
        self.wires[session].outgoing.clear();
    }

    /// The broker begins anew with what was stored.
    pub(crate) fn restart(&mut self, stored: Vec<Post>, last: u64) {
        self.broker.restart(self.told.options(), stored, last);
    }

    /// The client closes its writing side.
    pub(crate) fn half_close(&mut self, session: usize) -> Check {
        self.note(session, "closes its writing side");
        self.model.sessions[session].is_over = true;
        self.model.sessions[session].may_vanish = true;
        self.wires[session].outgoing.clear();
        self.broker.finish(self.wires[session].id);
        let hub = self.wires[session].hub;
        self.end_turn(hub)
    }

    /// The client stops reading after `room` bytes more, or reads again.
    pub(crate) fn stall(&mut self, session: usize, room: Option<usize>) -> Check {
        self.note(session, &room.map_or("reads again".into(), |room| format!("stops reading after {room} bytes")));
        self.model.sessions[session].is_stalled = room.is_some();
        self.model.sessions[session].was_stalled |= room.is_some();
        // What this turn has for the client comes before it reads again, or it would read half of it.
        let hub = self.wires[session].hub;
        self.broker.end_turn(hub);
        self.broker.stall_after(self.wires[session].id, room);
        self.broker.end_turn(hub);
        self.end_turn(hub)
    }

    /// Lets time pass; clients that are not silent show life.
    pub(crate) fn advance(&mut self, duration: Duration) -> Check {
        for session in 0..self.wires.len() {
            let own = &self.model.sessions[session];
            let is_due = self.wires[session].last_sent + LIFE <= self.model.now;
            if own.connected && !own.is_over && !own.is_silent && is_due {
                if !self.has_outgoing(session) {
                    self.push_bytes(session, b"\n");
                }
                self.flush(session, usize::MAX)?;
            }
        }
        // A slow disk makes nobody wait for seconds.
        let is_quick = self.model.setup.is_quick || duration >= Duration::from_secs(1);
        if is_quick || self.random.percent(60) {
            self.come_to_rest();
        } else {
            self.broker.settle();
        }
        self.pump()?;
        let until = self.broker.now() + duration;
        while self.broker.advance_to_next(until) {
            if is_quick {
                self.come_to_rest();
            }
            self.pump()?;
        }
        self.pump()?;
        self.check_beats()
    }

    /// Lets everything happen that can without time passing, and asks the model whether it may end so.
    pub(crate) fn settle(&mut self) -> Check {
        let mut rests = 0;
        // What has come to rest twice in a row would not move again: an answer may let in what had to wait.
        while rests < 2 {
            let before = self.progress();
            for session in 0..self.wires.len() {
                self.flush(session, usize::MAX)?;
            }
            self.come_to_rest();
            self.pump()?;
            rests = if before == self.progress() { rests + 1 } else { 0 };
        }
        for (session, wire) in self.wires.iter().enumerate() {
            let own = &self.model.sessions[session];
            if !wire.outgoing.is_empty() && !own.is_stalled && !own.is_over {
                return Err(Violation::new(Law::Stuck, "the broker does not take its input", [session]));
            }
        }
        self.model.check_quiet()?;
        let stats = self.broker.queue_stats();
        self.model.check_idle(&stats)
    }

    /// What changes when something moves: what is to be sent, and what has come.
    fn progress(&self) -> (usize, usize) {
        (self.wires.iter().map(|wire| wire.outgoing.len()).sum(), self.heard)
    }

    /// The broker goes away: everybody is told so.
    pub(crate) fn shut_down(&mut self) -> Check {
        let there = self.sessions(|own| own.is_sound());
        for own in &mut self.model.sessions {
            own.may_vanish = true;
        }
        self.broker.shut_down();
        self.come_to_rest();
        self.pump()?;
        for session in there {
            let wire = &self.wires[session];
            let is_told = !wire.is_websocket || wire.closed_with.is_some();
            if !self.broker.is_closed(wire.id) || !is_told {
                return Err(Violation::new(Law::Refusal, "not closed, though the broker goes away", [session]));
            }
        }
        Ok(())
    }

    /// Reads what has come to all clients.
    pub(crate) fn pump(&mut self) -> Check {
        let before = std::mem::replace(&mut self.model.now, self.broker.now() - self.start);
        if before < self.model.now {
            self.model.note_time();
        }
        let is_ending = |world: &World, session: usize| {
            !world.model.sessions[session].is_over && world.broker.is_closed(world.wires[session].id)
        };
        // Those whose connection ended come first: what they had may be somebody else's by now.
        let (ending, others): (Vec<_>, Vec<_>) = (0..self.wires.len()).partition(|session| is_ending(self, *session));
        for session in &ending {
            self.model.sessions[*session].is_over = true;
        }
        for session in ending.iter().chain(&others) {
            self.read(*session)?;
        }
        for session in ending {
            self.note(session, "is closed");
            self.model.check_closed(session)?;
        }
        Ok(())
    }

    fn read(&mut self, session: usize) -> Check {
        let wire = &mut self.wires[session];
        // Messages, and as much of answers to its own frames.
        let limit = 2 * self.model.setup.outbox_bytes + self.model.setup.max_body + 2 * OWN_FRAME;
        let replies = self.model.setup.pending_receipts * OWN_FRAME;
        let queued = self.broker.queued(wire.id);
        if queued > limit + replies {
            return Err(Violation::new(Law::Outbox, format!("{queued} bytes wait for the client"), [session]));
        }
        let bytes = self.broker.take(wire.id);
        if bytes.is_empty() {
            return Ok(());
        }
        wire.reader.push(&bytes);
        let mut batch = Vec::new();
        loop {
            match wire.reader.next() {
                Ok(Some(received)) => batch.push(received),
                Ok(None) => break,
                Err(error) => return Err(Violation::new(Law::Wire, error, [session])),
            }
        }
        self.model.sessions[session].last_received = self.model.now;
        self.tap.apply(&mut batch, &self.model.sessions[session]);
        for received in batch {
            self.receive(session, received)?;
        }
        Ok(())
    }

    fn receive(&mut self, session: usize, received: Received) -> Check {
        self.heard += 1;
        match received {
            Received::Beat => {}
            Received::Ping(payload) => {
                if !self.model.sessions[session].is_silent {
                    self.wires[session].outgoing.extend(wire::control(10, &payload));
                }
            }
            Received::Close(code) => {
                self.note(session, &format!("< close {code}"));
                self.wires[session].closed_with = Some(code);
                let own = &self.model.sessions[session];
                let is_right = match code {
                    1000 => own.is_leaving,
                    1001 => own.may_vanish,
                    _ => own.has_failed || own.is_in_doubt,
                };
                if !is_right {
                    let text = format!("a close packet {code} without a cause");
                    return Err(Violation::new(Law::Refusal, text, [session]));
                }
            }
            Received::Frame(frame) => {
                self.note(session, &format!("< {frame}"));
                self.model.observe(session, &frame)?;
            }
        }
        Ok(())
    }

    /// B1: nobody who asked for heart-beats waits longer than agreed.
    fn check_beats(&self) -> Check {
        for (session, own) in self.model.sessions.iter().enumerate() {
            let quiet = self.model.now.saturating_sub(own.last_received);
            if own.is_sound() && own.beat.is_some_and(|beat| quiet > beat) {
                let text = format!("nothing was received for {} ms", quiet.as_millis());
                return Err(Violation::new(Law::HeartBeat, text, [session]));
            }
        }
        Ok(())
    }

    /// Sends a frame, and tells the model what it will have done.
    pub(crate) fn ask(&mut self, session: usize, mut frame: Frame, effect: Effect, with_receipt: bool) {
        let mut receipt = None;
        if with_receipt {
            let own = &mut self.model.sessions[session];
            own.receipts += 1;
            let name = format!("r{}", own.receipts);
            frame = frame.with("receipt", &name);
            receipt = Some(name);
        }
        self.model.expect(session, receipt, effect);
        self.push(session, &frame);
    }

    pub(crate) fn note(&mut self, session: usize, text: &str) {
        let line = format!("{:>8} {text}", self.model.now.as_millis());
        self.model.sessions[session].transcript.push(line);
    }
}
