//! One connection of a transcript: its link, and what arrived on it and was not yet expected.

use std::collections::VecDeque;
use std::time::Duration;

use crate::harness::{Carrier, Close, Link, Received, World};
use crate::transcript::Version;
use crate::wire::{Decoder, Frame, Item, excerpt};

/// What an actor sees, in order.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// Whether it came alone in a text message; `None` where there are no messages.
    Beat(Option<bool>),
    Closed(Close),
    Frame(Frame, Carrier),
    Malformed(String),
    Ping,
    Pong(Vec<u8>),
    /// Nothing came in time.
    Silence,
}

impl Seen {
    /// For people: what came.
    pub(crate) fn describe(&self) -> String {
        match self {
            Seen::Beat(_) => "a heart-beat".to_owned(),
            Seen::Closed(Close { code: None, .. }) => "the connection was closed".to_owned(),
            Seen::Closed(Close { code: Some(code), reason }) => {
                format!("the connection was closed with code {code} \"{}\"", reason.escape_debug())
            }
            Seen::Frame(frame, _) => frame.to_string(),
            Seen::Malformed(wrong) => format!("the broker broke the protocol: {wrong}"),
            Seen::Ping => "a ping".to_owned(),
            Seen::Pong(payload) => format!("a pong \"{}\"", excerpt(payload)),
            Seen::Silence => "nothing, until patience ended".to_owned(),
        }
    }
}

pub(crate) struct Actor {
    pub(crate) link: Box<dyn Link>,
    /// Whether a frame has been sent yet.
    pub(crate) has_spoken: bool,
    decoder: Decoder,
    arrived: VecDeque<Seen>,
    carrier: Carrier,
    /// What a heart-beat in the bytes at hand would be.
    beat: Seen,
}

impl Actor {
    pub(crate) fn new(link: Box<dyn Link>) -> Self {
        Actor {
            link,
            has_spoken: false,
            decoder: Decoder::default(),
            arrived: VecDeque::new(),
            carrier: Carrier::Stream,
            beat: Seen::Beat(None),
        }
    }

    /// The next thing that `wanted` accepts; heart-beats, pings and pongs that it does not are passed over.
    pub(crate) fn next(&mut self, world: &dyn World, patience: Duration, wanted: fn(&Seen) -> bool) -> Seen {
        let deadline = world.now() + patience;
        loop {
            while let Some(seen) = self.arrived.pop_front() {
                match &seen {
                    Seen::Closed(_) | Seen::Malformed(_) => {
                        // An end stays the end.
                        self.arrived.push_front(seen.clone());
                        return seen;
                    }
                    seen if wanted(seen) => return seen.clone(),
                    _ => {}
                }
            }
            let left = deadline.saturating_duration_since(world.now());
            match self.link.receive(left) {
                Received::Silence => return Seen::Silence,
                received => self.take(received),
            }
        }
    }

    fn take(&mut self, received: Received) {
        match received {
            Received::Silence => {}
            Received::Ping(_) => self.arrived.push_back(Seen::Ping),
            Received::Pong(payload) => self.arrived.push_back(Seen::Pong(payload)),
            Received::Malformed(wrong) => self.arrived.push_back(Seen::Malformed(wrong)),
            Received::Closed(_) if self.decoder.is_within_a_frame() => {
                self.arrived.push_back(Seen::Malformed("the connection was closed inside a frame".to_owned()));
            }
            Received::Closed(close) => self.arrived.push_back(Seen::Closed(close)),
            Received::Bytes(bytes, carrier) => {
                self.carrier = carrier;
                let is_alone = carrier == Carrier::Text && bytes == b"\n";
                self.beat = Seen::Beat((carrier != Carrier::Stream).then_some(is_alone));
                self.decoder.push(&bytes);
                self.decode();
            }
        }
    }

    fn decode(&mut self) {
        loop {
            match self.decoder.item() {
                Ok(None) => return,
                Ok(Some(Item::EndOfLine)) => self.arrived.push_back(self.beat.clone()),
                Ok(Some(Item::Frame(frame))) => {
                    if frame.command == "CONNECTED" {
                        let named = |version: &Version| frame.header("version") == Some(version.name());
                        self.decoder.speak(Version::ALL.into_iter().find(named).unwrap_or(Version::V1_0));
                    }
                    self.arrived.push_back(Seen::Frame(frame, self.carrier));
                }
                Err(wrong) => {
                    self.arrived.push_back(Seen::Malformed(wrong));
                    return;
                }
            }
        }
    }
}
