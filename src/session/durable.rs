//! Durable subscriptions to topics, in the spellings of RabbitMQ and ActiveMQ (U9).

use super::fault::{Fault, Limit, Violation};
use super::live::Live;
use super::{Options, Target};
use crate::destination::{Destination, Kind, Pattern};
use crate::headers::Headers;
use crate::message::Binding;
use crate::stomp::{Subscribe, Unsubscribe};

/// The header of CONNECT that says whose the named ones are.
const CLIENT_ID: &str = "client-id";

/// The spellings of the header that names one.
const NAMES: [&str; 2] = ["activemq.subscriptionName", "durable-subscription-name"];

impl Live {
    /// The durable subscription that a SUBSCRIBE to topics asks for, if it asks for one.
    pub(super) fn binding(
        &self,
        request: &Subscribe,
        topic: &Pattern,
        options: &Options,
    ) -> Result<Option<Box<Binding>>, Fault> {
        if let Some(queue) = self.named(&request.headers, options)? {
            return Ok(Some(Box::new(Binding { queue, topic: topic.clone(), exclusive: true })));
        }
        // Its default is true, and then the subscription would end with the session as any other.
        if !says_durable(&request.headers) || request.headers.find("auto-delete") != Some("false") {
            return Ok(None);
        }
        let queue = Destination::of_subscription(self.user.as_deref(), &request.id, &request.destination);
        Ok(Some(Box::new(Binding { queue, topic: topic.clone(), exclusive: false })))
    }

    /// The durable subscription that an UNSUBSCRIBE wants to be no more, by the headers that made it; `live` is what the session
    /// has under that id. Without them only the session's part of it ends.
    pub(super) fn forgotten(
        &self,
        request: &Unsubscribe,
        live: Option<&Target>,
        options: &Options,
    ) -> Result<Option<Destination>, Fault> {
        let named = self.named(&request.headers, options)?;
        if named.is_some() || !says_durable(&request.headers) {
            return Ok(named);
        }
        match live {
            Some(Target::Durable(binding)) => return Ok(Some(binding.queue.clone())),
            Some(Target::Topic(_) | Target::Own(_) | Target::Queue(_)) => return Ok(None),
            None => {}
        }
        let topic = request.headers.find("destination");
        let is_topic = |topic: &&str| options.spaces.resolve(topic).is_some_and(|space| space.kind == Kind::Topic);
        Ok(topic.filter(is_topic).map(|topic| Destination::of_subscription(self.user.as_deref(), &request.id, topic)))
    }

    /// The one that these headers name.
    fn named(&self, headers: &Headers, options: &Options) -> Result<Option<Destination>, Fault> {
        let Some((header, name)) = NAMES.iter().find_map(|header| Some((*header, headers.find(header)?))) else {
            return Ok(None);
        };
        let client = self.client_id.as_deref().ok_or(Violation::NoClientId(header))?;
        for (header, text) in [(header, name), (CLIENT_ID, client)] {
            if text.len() > options.max_id_bytes {
                return Err(Limit::IdBytes(options.max_id_bytes, header).into());
            }
        }
        Ok(Some(Destination::of_client(self.user.as_deref(), client, name)))
    }
}

/// What a client calls itself; a copy, so that it does not hold its frame's buffer.
pub(super) fn client_id(headers: &Headers) -> Option<Box<str>> {
    headers.find(CLIENT_ID).filter(|name| !name.is_empty()).map(Box::from)
}

fn says_durable(headers: &Headers) -> bool {
    headers.find("durable") == Some("true")
}
