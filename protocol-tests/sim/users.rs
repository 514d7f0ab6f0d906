//! Users and their streams (P1 to P5): who is whom, and whom a message is for. In all else a stream is as a topic.

use crate::laws::{Check, Law, Violation};
use crate::message::Message;
use crate::model::{Model, Subscription};
use crate::wire::Frame;
use crate::world::World;

/// The users of a run: several sessions may be one user's.
pub(crate) const USERS: [&str; 3] = ["ann", "sales/bob", "queue"];

/// What is sent to users, as they see it. The last one looks as if it were for a user, and is a stream of one's own.
pub(crate) const STREAMS: [&str; 3] = ["/user/queue/n", "/user/topic/n", "/user/ann/queue/n"];

/// What they subscribe to beside those.
pub(crate) const OWN_PATTERNS: [&str; 4] = ["/user/**", "/user/*/n", "/user/queue/*", "/user/*/queue/n"];

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addressee {
    /// All sessions of a user, who may be unknown.
    User(&'static str),
    /// One session.
    Session(usize),
}

impl Addressee {
    /// What is sent to users and what is sent to sessions has different names, and so no order.
    pub(crate) fn lane(self) -> &'static str {
        match self {
            Addressee::User(_) => "to a user",
            Addressee::Session(_) => "to a session",
        }
    }
}

impl Model {
    /// Whether a message is for the session of a subscription, if it is for somebody at all.
    pub(crate) fn is_addressed(&self, subscription: &Subscription, message: &Message) -> bool {
        match message.addressee {
            None => true,
            Some(Addressee::User(name)) => self.sessions[subscription.session].user == Some(name),
            Some(Addressee::Session(session)) => subscription.session == session,
        }
    }

    /// What is for somebody else comes to nobody, whatever one subscribes to.
    pub(crate) fn check_addressed(&self, subscription: &Subscription, message: &Message, frame: &Frame) -> Check {
        if self.is_addressed(subscription, message) {
            return Ok(());
        }
        let text = format!("for {:?}: {frame}", message.addressee);
        Err(Violation::new(Law::User, text, [subscription.session, message.origin]))
    }

    /// CONNECTED says who one is.
    pub(crate) fn check_user(&self, session: usize, frame: &Frame) -> Check {
        if frame.header("user-name") == self.sessions[session].user {
            return Ok(());
        }
        Err(Violation::new(Law::User, format!("another user than the client said: {frame}"), [session]))
    }

    /// A destination as the sender of a message writes it; none if nobody knows the session.
    pub(crate) fn written(&self, message: &Message) -> Option<String> {
        let name = match message.addressee? {
            Addressee::User(name) => name,
            Addressee::Session(session) => self.sessions[session].name.as_deref()?,
        };
        let rest = message.destination.strip_prefix("/user")?;
        Some(format!("/user/{}{rest}", name.replace('/', "%2F")))
    }
}

impl World {
    /// Somebody to send to: a user, often there, or a session, often gone.
    pub(crate) fn addressee(&mut self) -> Addressee {
        let named = self.sessions(|own| own.name.is_some());
        let there = self.sessions(|own| own.name.is_some() && !own.is_over);
        let to_session = self.random.percent(30);
        let some = if self.random.percent(70) { there } else { named };
        let session = self.random.pick_any(&some);
        match session.filter(|_| to_session) {
            Some(session) => Addressee::Session(session),
            None if self.random.percent(5) => Addressee::User("nobody"),
            None => Addressee::User(self.random.pick(&USERS)),
        }
    }
}
