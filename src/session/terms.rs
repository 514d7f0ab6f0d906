//! What a SEND to a queue asks of the queue.

use std::time::Duration;

use super::fault::{Fault, Violation};
use crate::headers::Headers;
use crate::message::{Moment, Terms};

/// The terms of a message, or none if it asks for nothing.
///
/// Of two spellings of the same wish the first in the frame counts. A priority that is no number is the application's own
/// business, since it counts in few queues only.
pub(super) fn terms_of(headers: &Headers) -> Result<Option<Box<Terms>>, Fault> {
    let mut terms = Terms::default();
    for (name, value) in headers.iter() {
        match name {
            // As in JMS, zero is never.
            "expires" => set(&mut terms.expires, at(name, value)?),
            "expiration" => set(&mut terms.expires, after(name, value)?),
            "deliver-at" => set(&mut terms.due, at(name, value)?),
            "delay" | "AMQ_SCHEDULED_DELAY" => set(&mut terms.due, after(name, value)?),
            "priority" => set(&mut terms.priority, value.parse().ok()),
            "JMSXGroupID" | "group" if !value.is_empty() => set(&mut terms.group, headers.find_shared(name)),
            "persistent" => terms.persistent = value == "true",
            _ => {}
        }
    }
    Ok((terms != Terms::default()).then(|| Box::new(terms)))
}

/// What the SEND to a topic asks of durable subscriptions. Nobody is told that he asks for it wrongly: to topics these headers
/// are the application's own business.
pub(super) fn topic_terms_of(headers: &Headers) -> Option<Box<Terms>> {
    let persistent = headers.find("persistent") == Some("true");
    let expires = headers.find("expires").and_then(|text| at("expires", text).ok()?);
    let expires = expires.or_else(|| headers.find("expiration").and_then(|text| after("expiration", text).ok()?));
    (persistent || expires.is_some()).then(|| Box::new(Terms { persistent, expires, ..Terms::default() }))
}

/// The delay that a NACK asks for.
pub(super) fn delay_of(headers: &Headers) -> Result<Option<Duration>, Fault> {
    headers.find("delay").map(|text| Ok(Duration::from_millis(number("delay", text)?))).transpose()
}

fn set<T>(wish: &mut Option<T>, value: Option<T>) {
    if wish.is_none() {
        *wish = value;
    }
}

fn at(name: &str, text: &str) -> Result<Option<Moment>, Fault> {
    Ok(Some(number(name, text)?).filter(|time| *time > 0).map(Moment::At))
}

fn after(name: &str, text: &str) -> Result<Option<Moment>, Fault> {
    Ok(Some(number(name, text)?).filter(|span| *span > 0).map(|span| Moment::After(Duration::from_millis(span))))
}

/// A whole number of milliseconds. What does not fit is the greatest that does: never.
fn number(name: &str, text: &str) -> Result<u64, Fault> {
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number {
        return Err(Violation::BadMillis(name.into()).into());
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}
