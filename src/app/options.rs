//! What an operator can choose about application destinations.

use std::time::Duration;

use bytestring::ByteString;

use super::address::Address;
use super::hook;
use super::request::Attributes;
use super::route::{Announcement, Route};
use crate::destination::Destination;
use crate::message::Refusal;

/// Routes, workers and limits. The defaults are those said at each field.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where answers go by themselves: what answers `/app/x` goes to this and `/x` (A1). Default: `/topic`. Key
    /// `app.reply_prefix`.
    pub reply_prefix: ByteString,
    /// Key `[[app.route]]`. The first that takes a destination has it.
    pub routes: Vec<Route>,
    /// Key `[[app.on_connect]]`.
    pub on_connect: Vec<Announcement>,
    /// Key `[[app.on_disconnect]]`.
    pub on_disconnect: Vec<Announcement>,
    /// Key `[[app.hook]]`. What they are called for stands in the table of handlers, once they are made.
    pub hooks: Vec<hook::Options>,
    /// Key `[[app.worker]]`: the destinations of each, with the queue that its messages wait in.
    pub workers: Vec<WorkerQueue>,
    /// The topic on which the beginnings and ends of sessions and subscriptions are told; none: nowhere. Default: none. Key
    /// `app.events`.
    pub events: Option<Destination>,
    /// How long an answer to a SUBSCRIBE may take. Default: 1 s. Key `app.ask_timeout`.
    pub ask_timeout: Duration,
    /// How long the handling of a SEND may take. Default: 10 s. Key `app.send_timeout`.
    pub send_timeout: Duration,
    /// How many requests of one worker's sessions may be handled or wait for it. Default: 4096. Key `app.max_calls`.
    pub max_calls: usize,
    /// How many requests of one session may wait until its other one is handled, before its frames are not read any more.
    /// Default: 16. Key `app.max_waiting`.
    pub max_waiting: usize,
    /// How many messages one request may make. Default: 64. Key `app.max_replies`.
    pub max_replies: usize,
    /// How many attributes a session may have. Default: 32. Key `app.max_attributes`.
    pub max_attributes: usize,
    /// How many bytes of names and values these may be together. Default: 8 KiB. Key `app.attribute_bytes`.
    pub max_attribute_bytes: usize,
}

impl Options {
    /// Whether a session may have these attributes.
    pub fn check_attributes(&self, attributes: &Attributes) -> Result<(), Refusal> {
        if attributes.len() > self.max_attributes {
            return Err(Refusal::Limit {
                code: "too-many-attributes",
                what: "the attributes of the session",
                limit: self.max_attributes as u64,
                key: "app.max_attributes",
            });
        }
        if attributes.bytes() > self.max_attribute_bytes {
            return Err(Refusal::Limit {
                code: "attributes-too-big",
                what: "the bytes of the session's attributes",
                limit: self.max_attribute_bytes as u64,
                key: "app.attribute_bytes",
            });
        }
        Ok(())
    }
}

/// The queue of the workers that share an application destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerQueue {
    /// What it takes.
    pub address: Address,
    /// The queue, whose name is the address as written: workers subscribe to it by that.
    pub queue: Destination,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            reply_prefix: ByteString::from_static("/topic"),
            routes: Vec::new(),
            on_connect: Vec::new(),
            on_disconnect: Vec::new(),
            hooks: Vec::new(),
            workers: Vec::new(),
            events: None,
            ask_timeout: Duration::from_secs(1),
            send_timeout: Duration::from_secs(10),
            max_calls: 4096,
            max_waiting: 16,
            max_replies: 64,
            max_attributes: 32,
            max_attribute_bytes: 8 * 1024,
        }
    }
}
