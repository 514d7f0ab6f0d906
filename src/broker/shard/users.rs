//! How a shard does what concerns user destinations, and the subscriptions to them and to topics.

use std::sync::Arc;
use std::time::Instant;

use super::super::command::{Command, Effects, Note, Recipient};
use super::super::topics::Reached;
use super::super::users;
use super::{Shard, answer};
use crate::message::{Content, Message, Refusal, SessionId, Ticket, Verdict};

impl Shard {
    /// What changes who gets the messages of topics and to users.
    pub(super) fn change_subscriptions<E: Effects>(&mut self, command: Command, effects: &mut E) {
        let (session, ticket, verdict) = match command {
            Command::Subscribe { subscriber, pattern, ticket } => {
                (subscriber.id.session, ticket, self.topics.subscribe(subscriber, &pattern, &self.options))
            }
            Command::SubscribeOwn { subscriber, stream, ticket } => {
                (subscriber.id.session, ticket, self.users.subscribe(subscriber, &stream, &self.options))
            }
            Command::Unsubscribe { subscriber, pattern: _, ticket } => {
                self.topics.unsubscribe(subscriber);
                (subscriber.session, ticket, Ok(()))
            }
            Command::UnsubscribeOwn { subscriber, ticket } => {
                self.users.unsubscribe(subscriber);
                (subscriber.session, ticket, Ok(()))
            }
            _ => return,
        };
        answer(session, ticket, verdict.map(|()| 0), effects);
    }

    /// Routes a message to a user destination. None: the ticket is answered when other workers have answered.
    pub(super) fn publish_to_user<E: Effects>(
        &mut self,
        now: Instant,
        origin: SessionId,
        content: Content,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) -> Option<Verdict> {
        let (message, recipient) = match self.message_to_user(now, origin, content) {
            Ok(addressed) => addressed,
            Err(refusal) => return Some(Err(refusal)),
        };
        let reached = self.hand_to_user(&recipient, &message, ticket, effects);
        self.verdict_on(&reached, origin, ticket, message.content.mandatory, &recipient.asked)
    }

    pub(super) fn hand_to_user<E: Effects>(
        &mut self,
        recipient: &Recipient,
        message: &Arc<Message>,
        ticket: Option<Ticket>,
        effects: &mut E,
    ) -> Reached {
        let reached = self.users.publish(recipient, message, ticket, &self.options.topics, effects);
        if reached.total() == 0 {
            effects.note(Note::UserAbsent(recipient.asked.clone()));
        }
        reached
    }

    pub(super) fn message_to_user(
        &mut self,
        now: Instant,
        origin: SessionId,
        mut content: Content,
    ) -> Result<(Arc<Message>, Recipient), Refusal> {
        let Some(space) = self.space_of(&content.destination) else {
            return Err(Refusal::UnknownDestination(content.destination.text().clone()));
        };
        let recipient = users::address(space, &mut content)?;
        Ok((self.message(now, origin, content), recipient))
    }
}
