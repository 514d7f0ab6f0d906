//! Application destinations: what is sent to `/app/**` goes to a handler instead of to subscribers.
//!
//! There are four kinds of handlers, and the first that takes a destination has it: a *route* of the configuration, a
//! *Rust handler* of the program that has the broker inside, an *HTTP hook*, and a *worker*, which is a STOMP session with
//! the right to take the messages of an application destination.
//!
//! What is known of a message and of its session reaches a handler as a [`Request`]; what it wants done comes back as an
//! [`Answer`]. Both own what they hold, so that a handler may take its time on another thread.

mod address;
mod answer;
mod calls;
mod dispatch;
mod event;
mod function;
mod handler;
pub mod hook;
mod json;
mod options;
mod request;
mod route;
mod template;

pub use address::{Address, AddressError};
pub use answer::{Answer, Change, Done, Failure, Reply, To};
pub use calls::{Call, CallId, Calls, Job, Presence, Purpose, Routing, Then, Work};
pub use dispatch::{Callable, EntryError, Found, HandlerId, Table, read_address};
pub use event::event;
pub use function::{Context, Function, Incoming, IntoReplies};
pub use handler::{Accepts, Entry, Handler, Kind, Reaction, WhenLate};
pub use options::{Options, WorkerQueue};
pub use request::{Attributes, Captures, Occasion, Request, SessionFacts};
pub use route::{Announcement, Detour, RESERVED_HEADERS, Route, ToError, parse_to, plain_content, terms_at};
pub use template::{Missing, Place, Scene, Template, TemplateError, Within};
