//! One STOMP connection's protocol state: frames and deliveries in, actions out.
//!
//! Architecture invariant: no socket, no clock, no lock, no await. The driver calls one `handle_*`, then drains
//! [`Session::poll_action`] to `None`, and asks [`Session::poll_timeout`] when to come back.

mod action;
mod application;
mod content;
mod durable;
mod fault;
mod heartbeat;
mod identity;
mod ledger;
mod live;
mod options;
mod receipts;
mod subscription;
mod subscriptions;
mod temporary;
mod terms;
mod transaction;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytestring::ByteString;

use crate::message::{Delivery, SubscriptionKey, Ticket, Verdict};
use crate::stomp::{Command, DecodeError, Frame, Request, Version};

pub use action::{AckId, Action, Browse, Close, CloseCode, Note, Opened, Outgoing, Subscribe, Target};
pub use identity::{Relay, Secret};
pub use options::{Options, WorkRight};

use fault::{Fault, Violation};
use heartbeat::Due;
use identity::Identity;
use live::Live;
use receipts::Receipts;

/// Why a session ended whose client closed its side without a DISCONNECT.
const CLOSED_BY_PEER: &str = "closed-by-peer";

/// The protocol state of one STOMP connection.
///
/// A session only reacts. Its driver
/// 1. calls one of the `handle_*` methods with what has happened,
/// 2. calls [`Session::poll_action`] until it answers `None`, and does what it says in that order,
/// 3. reads the next frame only while [`Session::wants_input`],
/// 4. calls [`Session::handle_writable`] while [`Session::has_held`] and the outbox is below its limit: not only when
///    bytes were written, but after each `handle_*`, since an ACK can free a message when nothing waits to be written,
/// 5. calls [`Session::handle_timeout`] at [`Session::poll_timeout`]; calling it early does nothing.
///
/// A deadline only moves later without a `handle_*` (when bytes move), so a timer may be set once and set anew when it
/// fires.
///
/// **End.** A session ends by [`Action::Close`], after which it gives no action any more, or by
/// [`Session::handle_lost`], which the driver calls when the transport is gone, after a `Close` too. Whichever comes
/// first, the session before it gives one [`Action::Unsubscribe`] without a ticket for each subscription that was still
/// live (and at DISCONNECT already, then with one if it asks for a RECEIPT): nothing is delivered to a session that has ended, and a queue's unsettled messages
/// go back at once (Q4). Deliveries and verdicts that are still on their way are ignored.
///
/// **Topics in ack mode `auto`** ([`Subscribe::paced`] is false) need no session: the driver may write their messages
/// itself. It may do so only while the outbox has room and the session does not [`Session::has_held`]; otherwise the
/// message goes through [`Session::handle_delivery`], so that a topic's policy for slow clients acts and order holds.
#[derive(Debug)]
pub struct Session {
    state: State,
    /// Outlives the state: the last frames are encoded after the end.
    version: Option<Version>,
    actions: VecDeque<Action>,
    options: Arc<Options>,
}

/// Memory for actions, which goes from session to session: none keeps some for itself.
#[derive(Debug, Default)]
pub struct Room(VecDeque<Action>);

impl Room {
    /// More than so many actions at a time are rare, and their memory is given back.
    const MOST: usize = 64;
}

/// Each state holds only what it needs. They follow one another downwards; any of the first three can end.
#[derive(Debug)]
enum State {
    /// The transport is open; CONNECT has not come.
    Waiting {
        /// When it must have come (H4).
        deadline: Instant,
        /// What CONNECTED will call the session.
        name: ByteString,
    },
    /// Between CONNECTED and the end.
    Live(Live),
    /// DISCONNECT has come, or the end of what the client sends; RECEIPTs of frames before it are still due.
    Leaving {
        /// The last of them is that of the DISCONNECT, if there was one.
        receipts: Receipts,
        /// What [`Close`] will name.
        reason: &'static str,
        /// As it was before: whether a refused SUBSCRIBE or SEND leaves the others to be answered (X3).
        continues: bool,
        /// When we stop waiting for them.
        deadline: Instant,
    },
    /// `Close` was given, or the transport is gone.
    Closed,
}

impl Session {
    /// The state of a connection that has just been opened. `name` is what CONNECTED calls the session.
    pub fn new(now: Instant, name: ByteString, options: Arc<Options>) -> Session {
        let deadline = now + options.connect_timeout;
        Session { state: State::Waiting { deadline, name }, version: None, actions: VecDeque::new(), options }
    }

    /// A frame has come. A violation becomes ERROR and `Close`.
    ///
    /// To be called only while [`Session::wants_input`].
    pub fn handle_frame(&mut self, now: Instant, frame: Frame) {
        let receipt = frame.headers.find_shared("receipt");
        let outcome = match &mut self.state {
            State::Waiting { .. } => self.connect(now, frame),
            State::Live(_) => self.request(now, frame, receipt.as_deref()),
            State::Leaving { .. } | State::Closed => Ok(()),
        };
        if let Err(fault) = outcome {
            self.refuse(&fault, receipt.as_deref());
        }
    }

    /// The client's bytes are no frame: nothing after them can be read.
    pub fn handle_fault(&mut self, _now: Instant, fault: &DecodeError) {
        if !matches!(self.state, State::Leaving { .. }) {
            self.refuse(&Fault::Decode(fault.clone()), None);
        }
    }

    /// All clients together have left more than `limit` bytes of their input unfinished, and it is this one that has to go:
    /// `kept` bytes of it are its own, for so long now. Ends the session, whatever it waits for.
    pub fn handle_unfinished(&mut self, _now: Instant, limit: usize, kept: usize, age: Duration) {
        let fault = Fault::Unfinished { limit, kept, age };
        match self.state {
            // Never an ERROR after DISCONNECT (X5).
            State::Leaving { .. } => self.close_for(&fault),
            _ => self.refuse(&fault, None),
        }
    }

    /// A message for a subscription, `room` saying whether the outbox is below its limit.
    ///
    /// Without room a message of a topic whose policy is to disconnect ends the session; any other is held back until
    /// [`Session::handle_writable`].
    pub fn handle_delivery(&mut self, _now: Instant, subscription: SubscriptionKey, delivery: Delivery, room: bool) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        let outcome = live.subscriptions.offer(subscription, delivery, room, &self.options);
        match outcome {
            Ok(offered) => {
                if let Some(action) = offered.action(subscription) {
                    self.actions.push_back(action);
                }
                if let Some(browse) = live.subscriptions.next_page() {
                    self.actions.push_back(browse);
                }
            }
            Err(slow) => self.refuse(&Fault::Slow(slow), None),
        }
    }

    /// The outbox has room: gives at most one message that was held back.
    pub fn handle_writable(&mut self, _now: Instant) {
        if let State::Live(live) = &mut self.state
            && let Some(outgoing) = live.subscriptions.release()
        {
            self.actions.push_back(Action::Deliver(outgoing));
            self.actions.extend(live.subscriptions.next_page());
        }
    }

    /// The broker's answer to a ticket, or a refusal of something that had none.
    pub fn handle_verdict(&mut self, _now: Instant, ticket: Option<Ticket>, verdict: Verdict) {
        match &mut self.state {
            State::Live(live) => {
                let outcome = live.verdict(ticket, verdict, &mut self.actions);
                if let Err((fault, receipt)) = outcome {
                    self.refuse(&fault, receipt.as_deref());
                }
            }
            State::Leaving { receipts, continues, .. } => match (ticket, verdict) {
                (Some(ticket), Ok(matched)) => {
                    receipts.answer(ticket, matched);
                    self.leave();
                }
                (Some(ticket), Err(refusal)) => {
                    let refused = receipts.refuse(ticket);
                    let survives = *continues && refused.as_ref().is_some_and(|refused| refused.what.is_survivable());
                    let receipt = refused.and_then(|refused| refused.receipt);
                    let fault = Fault::Refused(refusal);
                    if survives {
                        live::go_on_after(&fault, receipt.as_deref(), &mut self.actions);
                        self.leave();
                    } else {
                        self.refuse(&fault, receipt.as_deref());
                    }
                }
                // Nobody waits for it: the client has said all it wants to say (X5).
                (None, _) => {}
            },
            State::Waiting { .. } | State::Closed => {}
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Waiting { deadline, .. } if *deadline <= now => {
                let limit = self.options.connect_timeout;
                self.refuse(&Fault::ConnectTimeout(limit), None);
            }
            State::Live(live) => match live.heart_beats.due(now) {
                Some(Due::Silence) => {
                    let limit = live.heart_beats.tolerated();
                    self.refuse(&Fault::Silent(limit), None);
                }
                Some(Due::Beat) => {
                    // Its bytes may be written later than now; the next one is due after it all the same.
                    live.heart_beats.note_sent(now);
                    self.push(Action::Heartbeat);
                }
                None => {}
            },
            State::Leaving { deadline, reason, .. } if *deadline <= now => {
                let reason = *reason;
                self.end(CloseCode::Normal, reason);
            }
            State::Waiting { .. } | State::Leaving { .. } | State::Closed => {}
        }
    }

    /// The broker shuts down.
    pub fn handle_closing(&mut self, _now: Instant) {
        self.end(CloseCode::GoingAway, "going-away");
    }

    /// The client will send nothing more, but may still read: what it sent takes effect and is answered before the end.
    /// Its subscriptions go at once, as with [`Session::handle_lost`].
    pub fn handle_ended(&mut self, now: Instant) {
        match self.state {
            State::Live(_) => self.leave_for(now, CLOSED_BY_PEER),
            State::Waiting { .. } => self.end(CloseCode::Normal, CLOSED_BY_PEER),
            State::Leaving { .. } | State::Closed => {}
        }
    }

    /// The transport is gone. Gives what the end of a session gives, without a `Close`.
    pub fn handle_lost(&mut self, _now: Instant) {
        if let State::Live(live) = &mut self.state {
            live.subscriptions.unsubscribe_all(false, &mut self.actions, || None);
        }
        self.state = State::Closed;
    }

    /// Any bytes have come, a pong included (B3).
    pub fn note_received(&mut self, now: Instant) {
        if let State::Live(live) = &mut self.state {
            live.heart_beats.note_received(now);
        }
    }

    /// Any bytes were written.
    pub fn note_sent(&mut self, now: Instant) {
        if let State::Live(live) = &mut self.state {
            live.heart_beats.note_sent(now);
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.poll_action_leaving(&mut Room::default())
    }

    /// As [`Session::poll_action`]. The memory in which the actions were is left in `room` with the last of them.
    pub fn poll_action_leaving(&mut self, room: &mut Room) -> Option<Action> {
        if self.actions.len() > 1 {
            return self.actions.pop_front();
        }
        // An idle session keeps no memory for actions.
        let mut left = std::mem::take(&mut self.actions);
        if left.capacity() == 0 || left.capacity() > Room::MOST {
            return left.pop_front();
        }
        room.0 = left;
        room.0.pop_front()
    }

    /// Lends memory for actions, before they come: whoever drives many sessions need not allocate it for each frame.
    pub fn lend(&mut self, room: &mut Room) {
        if self.actions.capacity() == 0 {
            std::mem::swap(&mut self.actions, &mut room.0);
        }
    }

    /// When to call [`Session::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { deadline, .. } | State::Leaving { deadline, .. } => Some(*deadline),
            State::Live(live) => live.heart_beats.deadline(),
            State::Closed => None,
        }
    }

    /// Whether the next frame may come. False while a COMMIT or too many receipts wait for the broker, and after the
    /// end; a later `handle_verdict` makes it true again.
    pub fn wants_input(&self) -> bool {
        match &self.state {
            State::Waiting { .. } | State::Leaving { .. } => true,
            State::Live(live) => live.wants_input(&self.options),
            State::Closed => false,
        }
    }

    /// Whether [`Session::handle_writable`] has a message to give.
    pub fn has_held(&self) -> bool {
        match &self.state {
            State::Live(live) => live.subscriptions.has_held(),
            State::Waiting { .. } | State::Leaving { .. } | State::Closed => false,
        }
    }

    /// The agreed version, also after the end; none before CONNECTED.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// The name of the user whose session this is, while it is connected.
    pub fn user(&self) -> Option<&str> {
        match &self.state {
            State::Live(live) => live.user.as_deref(),
            State::Waiting { .. } | State::Leaving { .. } | State::Closed => None,
        }
    }

    /// Whether CONNECTED was given, and neither DISCONNECT nor an end came since.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Live(_))
    }

    /// Whether `Close` was given or the transport is gone.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }
}

impl Session {
    /// Waiting to Live.
    fn connect(&mut self, now: Instant, frame: Frame) -> Result<(), Fault> {
        if !matches!(frame.command, Command::Connect | Command::Stomp) {
            return Err(Violation::NotConnected(frame.command).into());
        }
        let State::Waiting { name, .. } = &self.state else {
            return Ok(());
        };
        // Nothing in a CONNECT is read differently between the versions.
        let Request::Connect(connect) = Request::parse(frame, Version::V1_0)? else {
            return Ok(());
        };
        let version = connect.version.ok_or(Violation::NoCommonVersion)?;
        let identity = Identity::of(&connect, &self.options)?;
        let connected = self.connected(version, name, identity.user.as_deref());
        let name = name.clone();
        let opened =
            application::opened(name.clone(), identity.user.as_deref(), connect.headers.clone(), &self.options);
        self.version = Some(version);
        self.state = State::Live(Live::new(now, &name, identity, version, &connect, &self.options));
        self.push(Action::Send(connected));
        self.push(Action::Opened(opened));
        Ok(())
    }

    fn connected(&self, version: Version, name: &str, user: Option<&str>) -> Frame {
        let offer = heartbeat::offer(version, &self.options);
        let heart_beat = format!("{},{}", offer.can_send, offer.wants);
        let known = [
            ("version", version.as_str()),
            ("heart-beat", &heart_beat),
            ("session", name),
            ("server", concat!("gumboot/", env!("CARGO_PKG_VERSION"))),
        ];
        let headers = known.into_iter().chain(user.map(|user| ("user-name", user)));
        Frame::new(Command::Connected, headers, "")
    }

    /// What a frame asks for between CONNECTED and the end.
    fn request(&mut self, now: Instant, frame: Frame, receipt: Option<&str>) -> Result<(), Fault> {
        let State::Live(live) = &mut self.state else {
            return Ok(());
        };
        let request = Request::parse(frame, live.version)?;
        let survives = live.survives_refusal_of(&request);
        let is_last = matches!(request, Request::Disconnect(_));
        match live.request(request, &mut self.actions, &self.options) {
            Err(fault) if survives && fault.is_refusal() => {
                live::go_on_after(&fault, receipt, &mut self.actions);
            }
            Err(fault) => return Err(fault),
            Ok(()) if is_last => self.leave_for(now, "disconnect"),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Live to Leaving, and on to Closed if nothing is due any more (X5).
    fn leave_for(&mut self, now: Instant, reason: &'static str) {
        if let State::Live(live) = &mut self.state {
            live.subscriptions.unsubscribe_all(false, &mut self.actions, || None);
            let receipts = std::mem::take(&mut live.receipts);
            let deadline = now + self.options.disconnect_timeout;
            self.state = State::Leaving { receipts, reason, continues: live.continues, deadline };
            self.leave();
        }
    }

    /// Leaving: gives the RECEIPTs whose turn has come, and ends after the last.
    fn leave(&mut self) {
        if let State::Leaving { receipts, reason, .. } = &mut self.state {
            receipts.give(&mut self.actions);
            if receipts.is_empty() {
                let reason = *reason;
                self.end(CloseCode::Normal, reason);
            }
        }
    }

    /// Answers with an ERROR and ends (X1).
    fn refuse(&mut self, fault: &Fault, receipt: Option<&str>) {
        if !self.is_closed() {
            self.push(Action::Send(fault.frame(receipt)));
            self.close_for(fault);
        }
    }

    /// Any state to Closed, with something wrong.
    fn close_for(&mut self, fault: &Fault) {
        self.close(Close {
            code: fault.close_code(),
            reason: fault.code(),
            detail: fault.detail(),
            is_limit: fault.is_limit(),
        });
    }

    /// Any state to Closed, with nothing wrong.
    fn end(&mut self, code: CloseCode, reason: &'static str) {
        self.close(Close { code, reason, detail: String::new(), is_limit: false });
    }

    /// Any state to Closed.
    fn close(&mut self, close: Close) {
        if self.is_closed() {
            return;
        }
        if let State::Live(live) = &mut self.state {
            live.subscriptions.unsubscribe_all(false, &mut self.actions, || None);
        }
        self.state = State::Closed;
        self.push(Action::Close(close));
    }

    fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }
}
