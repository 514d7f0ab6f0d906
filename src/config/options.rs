//! The options as used: what the modules take, checked and complete.

use crate::{log, server};

/// Everything that can be set. [`Default`] is what an empty configuration gives.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The set of defaults that the rest builds on.
    pub profile: Profile,
    /// The broker.
    pub server: server::Options,
    /// What is logged, and how.
    pub log: log::Options,
}

/// A named set of defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The broker's own.
    #[default]
    Default,
    /// As Spring's SimpleBroker behaves (U8).
    Spring,
}
