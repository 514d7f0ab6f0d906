//! The options as used: what the modules take, checked and complete.

use crate::{log, server, store};

/// Everything that can be set. [`Default`] is what an empty configuration gives.
#[derive(Clone, Debug)]
pub struct Options {
    /// The set of defaults that the rest builds on.
    pub profile: Profile,
    /// The broker.
    pub server: server::Options,
    /// What is logged, and how.
    pub log: log::Options,
}

impl Default for Options {
    fn default() -> Options {
        // A library keeps nothing on disk unless it is told to; a program with a configuration does.
        let server = server::Options { store: store::Options::default(), ..server::Options::default() };
        Options { profile: Profile::default(), server, log: log::Options::default() }
    }
}

/// A named set of defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The broker's own.
    #[default]
    Default,
    /// As Spring's SimpleBroker behaves (U8).
    Spring,
    /// The destinations of RabbitMQ's STOMP plugin.
    Rabbitmq,
}
