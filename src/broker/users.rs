//! User destinations: the streams of this worker's sessions, found by the name of their user or by their own (P1 to P3).
//!
//! Both are routed as topics are, by keys that no client can write, in tables of their own. So a stream costs what a topic
//! subscription costs, and topics nothing.

use std::sync::Arc;

use super::command::{Command, Effects, Recipient, Subscriber, Whose};
use super::interest::Interest;
use super::options::{Options, TopicOptions};
use super::topics::{Reached, Topics};
use crate::destination::{OwnStream, Space};
use crate::message::{Content, Message, Refusal, SessionId, SubscriberId, Ticket, WorkerId};

#[derive(Debug)]
pub(super) struct Users {
    by_user: Topics,
    by_session: Topics,
}

impl Users {
    pub(super) fn new(worker: WorkerId, interest: &Interest, options: &Options) -> Users {
        Users {
            by_user: Topics::new(worker, Arc::clone(interest.users()), options),
            by_session: Topics::new(worker, Arc::clone(interest.sessions()), options),
        }
    }

    /// How many subscriptions there are. Every one is found by its session.
    pub(super) fn subscriptions(&self) -> usize {
        self.by_session.subscriptions()
    }

    /// Registers a subscription; publishers on all workers see it from now on (G3).
    pub(super) fn subscribe(
        &mut self,
        subscriber: Subscriber,
        stream: &OwnStream,
        options: &Options,
    ) -> Result<(), Refusal> {
        self.unsubscribe(subscriber.id);
        self.by_session.subscribe(subscriber, &stream.by_session, options)?;
        match &stream.by_user {
            // There are no more of these than of the others, so the limit has been looked at.
            Some(by_user) => self.by_user.subscribe(subscriber, by_user, options),
            None => Ok(()),
        }
    }

    /// Takes a subscription away, if it is there.
    pub(super) fn unsubscribe(&mut self, subscriber: SubscriberId) {
        self.by_session.unsubscribe(subscriber);
        self.by_user.unsubscribe(subscriber);
    }

    /// Gives `message` to the recipient's subscriptions here, and to the workers that have others.
    pub(super) fn publish<E: Effects>(
        &mut self,
        recipient: &Recipient,
        message: &Arc<Message>,
        ticket: Option<Ticket>,
        options: &TopicOptions,
        effects: &mut E,
    ) -> Reached {
        let relay = |message| Command::RelayToUser { recipient: Box::new(recipient.clone()), message, ticket };
        self.of(recipient).publish(&recipient.key, message, options, effects, relay)
    }

    /// Gives a message of another worker to the recipient's subscriptions here.
    pub(super) fn relay<E: Effects>(
        &mut self,
        recipient: &Recipient,
        message: &Arc<Message>,
        options: &TopicOptions,
        effects: &mut E,
    ) -> u32 {
        self.of(recipient).relay(&recipient.key, message, options, effects).here
    }

    /// How many subscriptions [`Users::publish`] would reach.
    pub(super) fn reach(&mut self, recipient: &Recipient, message: &Message, options: &TopicOptions) -> u32 {
        self.of(recipient).reach(&recipient.key, message, options)
    }

    fn of(&mut self, recipient: &Recipient) -> &mut Topics {
        match recipient.whose {
            Whose::User => &mut self.by_user,
            Whose::Session => &mut self.by_session,
        }
    }
}

/// Whom a SEND under this prefix is for. From now on its content shows what its receivers subscribed to (P4).
///
/// A name of the form of a session's is a session's: no user is called so.
pub(super) fn address(space: &Space, content: &mut Content) -> Result<Recipient, Refusal> {
    let asked = content.destination.clone();
    let Some(addressee) = space.addressee(asked.as_str()) else {
        return Err(Refusal::NoStream(asked.text().clone()));
    };
    let whose = if SessionId::parse_name(&addressee.name).is_some() { Whose::Session } else { Whose::User };
    let key = space.stream_key(&addressee.name, addressee.rest);
    content.destination = space.shown(addressee.rest);
    Ok(Recipient { whose, key, asked: asked.detached() })
}
