//! HTTP hooks: application destinations that are answered by a POST to an application of any language.
//!
//! `request` says what is sent, [`signature`] how it is signed, and `answer` what an answer means; [`backoff`] decides
//! on further tries, and [`breaker`] whether to call at all. These are pure. `client` has the connections, and `caller`
//! joins all of them to a [`Handler`](super::Handler).

mod answer;
pub mod backoff;
pub mod breaker;
mod caller;
mod client;
mod monitor;
mod options;
mod request;
mod setup;
pub mod signature;

pub use answer::REPLIES;
pub use monitor::{End, Monitor};
pub use options::{Endpoint, EndpointError, Event, Mode, Options, SecretSource};
pub use setup::{Hooks, SetupError};
