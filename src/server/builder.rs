//! A broker with handlers of the program that it is part of.

use std::future::Future;
use std::sync::Arc;

use super::{Options, Server, StartError};
use crate::app::{Accepts, Context, Entry, Failure, Function, Handler, Incoming, IntoReplies, Kind, WhenLate};

/// Collects handlers, and starts a broker that calls them.
///
/// ```no_run
/// use gumboot::app::Reply;
/// use gumboot::server::{Options, Server};
///
/// let server = Server::builder(Options::default())
///     .handle("/app/greet/{name}", |context, message| async move {
///         context.set_attribute("name", message.capture("name").to_owned());
///         Ok(Reply::new(format!("Hello, {}!", message.capture("name"))))
///     })
///     .answer("/app/time", |_, _| async { Ok(Reply::new("late")) })
///     .start();
/// ```
#[derive(Debug)]
pub struct Builder {
    options: Options,
    entries: Vec<Entry>,
}

impl Server {
    /// A broker with these options, before it starts.
    pub fn builder(options: Options) -> Builder {
        Builder { options, entries: Vec::new() }
    }
}

impl Builder {
    /// Calls `handler` for every SEND to a destination that the pattern takes and no route does. Of several handlers the one
    /// that was given first is called. What it gives back goes to the default destination, which is `/topic/x` for `/app/x`,
    /// unless it says otherwise (A1).
    ///
    /// The RECEIPT of the SEND is sent when the handler is done and its replies are routed. SENDs of one session are handled
    /// one at a time, in order.
    pub fn handle<F, Fut, R>(self, pattern: &str, handler: F) -> Builder
    where
        F: Fn(Context, Incoming) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Failure>> + Send + 'static,
        R: IntoReplies + 'static,
    {
        self.function(pattern, Accepts { sends: true, ..Accepts::default() }, Function::new(handler))
    }

    /// Calls `handler` for every SUBSCRIBE to a destination that the pattern takes. The first reply to the default destination
    /// is the one MESSAGE that the subscription gets; with none, it gets nothing (A2).
    pub fn answer<F, Fut, R>(self, pattern: &str, handler: F) -> Builder
    where
        F: Fn(Context, Incoming) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Failure>> + Send + 'static,
        R: IntoReplies + 'static,
    {
        self.function(pattern, Accepts { asks: true, ..Accepts::default() }, Function::new(handler))
    }

    /// Calls `handler` when a session begins or ends, and when a subscription does; the message's occasion says which. It
    /// comes in order with what the session sends. A failure is logged, and nobody is told.
    pub fn on_event<F, Fut, R>(self, handler: F) -> Builder
    where
        F: Fn(Context, Incoming) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Failure>> + Send + 'static,
        R: IntoReplies + 'static,
    {
        let accepts = Accepts { sessions: true, subscriptions: true, ..Accepts::default() };
        self.function("", accepts, Function::new(handler))
    }

    /// Adds a handler with all that can be said about it.
    pub fn entry(mut self, entry: Entry) -> Builder {
        self.entries.push(entry);
        self
    }

    /// Starts the broker. It serves when this returns.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub fn start(self) -> Result<Server, StartError> {
        Server::start_with(self.options, &self.entries)
    }

    fn function(self, pattern: &str, accepts: Accepts, handler: impl Handler) -> Builder {
        self.entry(Entry {
            kind: Kind::Rust,
            pattern: pattern.to_owned(),
            accepts,
            time_limit: None,
            when_late: WhenLate::Refuse,
            handler: Arc::new(handler),
        })
    }
}
