//! Temporary queues: each session means its own by a name, and a `reply-to` says whose. And queues that a SUBSCRIBE makes
//! temporary.

use std::collections::VecDeque;

use bytestring::ByteString;

use super::fault::Fault;
use super::live::Live;
use super::{Action, Options};
use crate::destination::{Destination, Kind, Space};
use crate::headers::Headers;
use crate::message::Refusal;
use crate::stomp::{AckMode, Send, Subscribe};

/// The header that says where answers go.
const REPLY_TO: &str = "reply-to";

/// The entry of the prefix that makes a destination a temporary queue.
pub(super) fn space_of<'o>(destination: &str, options: &'o Options) -> Option<&'o Space> {
    options.spaces.resolve(destination).filter(|space| space.kind == Kind::TemporaryQueue)
}

/// The queue that a SUBSCRIBE of the session called `owner` means. Those of other sessions it cannot have.
pub(super) fn own_queue(space: &Space, text: &ByteString, owner: &str) -> Result<Destination, Fault> {
    let queue = space.full_name(text, owner);
    match space.owner_of(queue.as_str()) == Some(owner) {
        true => Ok(queue),
        false => Err(Fault::Refused(Refusal::NotOwner(text.clone()))),
    }
}

/// The headers of a SUBSCRIBE that make its queue end with its last subscription: RabbitMQ's, and the one that shows that
/// Spring's broker relay asks in one user's name, with what the name of such a queue has in it (P6).
const AUTO_DELETE: &str = "auto-delete";
const SPRING_ORIGINAL: &str = "simpOrigDestination";
const SPRING_OWNER: &str = "-user";

/// Whether a queue is to be gone, with what is in it, when its last subscription ends, since this SUBSCRIBE says so.
pub(super) fn ends_queue(request: &Subscribe, options: &Options) -> bool {
    request.headers.find(AUTO_DELETE) == Some("true") || is_relayed(&request.destination, &request.headers, options)
}

/// Whether this is for one client of those that Spring's broker relay stands for. The header is looked for first, since few messages
/// have it and each is asked.
pub(super) fn is_relayed(destination: &str, headers: &Headers, options: &Options) -> bool {
    let is_its_name = || destination.rsplit('/').next().unwrap_or_default().contains(SPRING_OWNER);
    options.spring_user_queues && headers.find(SPRING_ORIGINAL).is_some() && is_its_name()
}

impl Live {
    /// Says in full what a SEND means by temporary queues. The answers to it will find a subscription: where the client
    /// has none of its own, it gets one that is called as the queue.
    pub(super) fn say_temporary(
        &mut self,
        send: &mut Send,
        actions: &mut VecDeque<Action>,
        options: &Options,
    ) -> Result<(), Fault> {
        if let Some(space) = space_of(&send.destination, options) {
            send.destination = space.full_name(&send.destination, &self.name).text().clone();
        }
        let Some(reply_to) = send.headers.find_shared(REPLY_TO) else {
            return Ok(());
        };
        let Some(space) = space_of(&reply_to, options).filter(|space| space.owner_of(&reply_to).is_none()) else {
            return Ok(());
        };
        let queue = space.full_name(&reply_to, &self.name);
        send.headers = with_reply_to(&send.headers, &queue);
        if self.subscriptions.takes_from(&queue) {
            return Ok(());
        }
        let request = Subscribe {
            id: reply_to.clone(),
            destination: reply_to.clone(),
            ack: AckMode::Auto,
            receipt: None,
            headers: Headers::default(),
        };
        self.subscribe(request, actions, options)?;
        let made = self.subscriptions.key_of(&reply_to).and_then(|key| self.subscriptions.find(key));
        if let Some(made) = made {
            made.is_made = true;
        }
        Ok(())
    }
}

fn with_reply_to(headers: &Headers, queue: &Destination) -> Headers {
    let mut is_first = true;
    let said = headers.iter().map(|(name, value)| {
        let is_it = name == REPLY_TO && std::mem::take(&mut is_first);
        (name, if is_it { queue.as_str() } else { value })
    });
    Headers::from_iter(said.collect::<Vec<_>>())
}
