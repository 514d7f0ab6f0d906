//! Dead letters: what becomes of a message that a queue gives up.

use crate::destination::Destination;
use crate::headers::Headers;
use crate::message::{Content, Message, Terms};

/// The header that says which queue gave a message up.
pub(super) const ORIGINAL_DESTINATION: &str = "original-destination";

/// What the dead-letter queue `to` is to get for a message that was given up for a reason, handed out so often.
pub(super) fn letter(
    message: &Message,
    to: &Destination,
    (reason, handed_out): (&str, u32),
    is_stored: bool,
    epoch_ms: u64,
) -> Message {
    let (count, time) = (handed_out.to_string(), epoch_ms.to_string());
    let added = [
        (ORIGINAL_DESTINATION, message.content.destination.as_str()),
        ("dead-letter-reason", reason),
        ("dead-letter-time", time.as_str()),
        ("delivery-count", count.as_str()),
    ];
    let names = added.map(|(name, _)| name);
    let others = message.content.headers.iter().filter(|(name, _)| !names.contains(name));
    let headers = Headers::from_iter(added.into_iter().chain(others));
    // Its end and its delay were those of its life before, but it is to outlive the process if it was before.
    let terms = is_stored.then(|| Box::new(Terms { persistent: true, ..Terms::default() }));
    let content = Content { destination: to.clone(), headers, mandatory: false, terms, ..message.content.clone() };
    Message { id: message.id, origin: message.origin, content }
}
