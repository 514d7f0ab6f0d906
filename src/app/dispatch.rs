//! Who handles what.

use std::sync::Arc;
use std::time::Duration;

use super::address::{Address, AddressError};
use super::handler::{Accepts, Entry, WhenLate};
use super::options::{Options, WorkerQueue};
use super::request::{Captures, Occasion};
use super::route::Route;
use crate::destination::{Destination, Kind, Spaces};

/// Names a handler in its table: the place among the entries that the table was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandlerId(pub usize);

/// Everybody who handles something, in the order in which they are asked: routes, Rust handlers, hooks, workers.
#[derive(Clone, Debug, Default)]
pub struct Table {
    options: Arc<Options>,
    callees: Vec<Callee>,
}

/// A handler that is called, without the handler.
#[derive(Clone, Debug)]
struct Callee {
    id: HandlerId,
    /// Absent where it takes neither sends nor asks.
    address: Option<Address>,
    accepts: Accepts,
    time_limit: Option<Duration>,
    when_late: WhenLate,
}

/// Who handles a message.
#[derive(Clone, Debug)]
pub enum Found<'t> {
    /// A route.
    Route(&'t Route, Captures),
    /// A handler that is called.
    Handler(Callable, Captures),
    /// A queue that workers take it from.
    Worker(&'t WorkerQueue),
}

/// What must be known to call a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callable {
    /// Which.
    pub id: HandlerId,
    /// How long it may take.
    pub time_limit: Duration,
    /// What becomes of an ask that takes longer.
    pub when_late: WhenLate,
}

/// Why a handler cannot be registered. The embedding program, or the configuration, is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The pattern is under no prefix of kind "application".
    #[error("{0:?} is under no prefix of kind \"application\"")]
    NotApplication(String),
    /// It is no pattern.
    #[error("{0:?}: {1}")]
    Address(String, AddressError),
}

impl Table {
    /// The table of what the options name and of these entries, which are numbered as they come.
    pub fn new(options: Arc<Options>, entries: &[Entry], spaces: &Spaces) -> Result<Table, EntryError> {
        let mut callees = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let takes = entry.accepts.sends || entry.accepts.asks;
            let address = takes.then(|| read_address(&entry.pattern, spaces)).transpose()?;
            callees.push((
                entry.kind,
                Callee {
                    id: HandlerId(index),
                    address,
                    accepts: entry.accepts,
                    time_limit: entry.time_limit,
                    when_late: entry.when_late,
                },
            ));
        }
        // A stable sort: within a kind the order is that of registration.
        callees.sort_by_key(|(kind, _)| *kind);
        Ok(Table { options, callees: callees.into_iter().map(|(_, callee)| callee).collect() })
    }

    /// The table of what the options name alone.
    pub fn of_options(options: Arc<Options>) -> Table {
        Table { options, callees: Vec::new() }
    }

    /// The options it was made from.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Who handles a SEND.
    pub fn for_send(&self, destination: &Destination) -> Option<Found<'_>> {
        let route = self.options.routes.iter().find_map(|route| Some((route, route.from.take(destination)?)));
        route
            .map(|(route, captures)| Found::Route(route, captures))
            .or_else(|| self.callee(destination, |accepts| accepts.sends, self.options.send_timeout))
            .or_else(|| self.worker(destination))
    }

    /// Who answers a SUBSCRIBE. Routes do not.
    pub fn for_ask(&self, destination: &Destination) -> Option<Found<'_>> {
        self.callee(destination, |accepts| accepts.asks, self.options.ask_timeout).or_else(|| self.worker(destination))
    }

    /// The handlers that want to hear of this, where it is no message.
    pub fn listeners(&self, occasion: Occasion) -> impl Iterator<Item = Callable> {
        let wants = move |accepts: Accepts| match occasion {
            Occasion::Send | Occasion::Ask => false,
            Occasion::Connected | Occasion::Disconnected { .. } => accepts.sessions,
            Occasion::Subscribed | Occasion::Unsubscribed => accepts.subscriptions,
        };
        let usual = self.options.send_timeout;
        self.callees.iter().filter(move |callee| wants(callee.accepts)).map(move |callee| callee.callable(usual))
    }

    /// Whether anybody wants to hear of this, where it is no message.
    pub fn wants(&self, occasion: Occasion) -> bool {
        let announcements = match occasion {
            Occasion::Connected => &*self.options.on_connect,
            Occasion::Disconnected { .. } => &*self.options.on_disconnect,
            _ => &[][..],
        };
        self.options.events.is_some() || !announcements.is_empty() || self.listeners(occasion).next().is_some()
    }

    /// Whether anything at all is done for applications.
    pub fn is_used(&self) -> bool {
        let Options { routes, on_connect, on_disconnect, workers, events, .. } = &*self.options;
        let is_silent = routes.is_empty() && on_connect.is_empty() && on_disconnect.is_empty() && workers.is_empty();
        !is_silent || events.is_some() || !self.callees.is_empty()
    }

    /// Whether the headers of CONNECT must be kept.
    pub fn wants_connect_headers(&self) -> bool {
        let Options { on_connect, on_disconnect, .. } = &*self.options;
        !self.callees.is_empty() || !on_connect.is_empty() || !on_disconnect.is_empty()
    }

    fn callee(
        &self,
        destination: &Destination,
        accepts: impl Fn(Accepts) -> bool,
        usual: Duration,
    ) -> Option<Found<'_>> {
        let callees = self.callees.iter().filter(|callee| accepts(callee.accepts));
        let mut found = callees.filter_map(|callee| Some((callee, callee.address.as_ref()?.take(destination)?)));
        found.next().map(|(callee, captures)| Found::Handler(callee.callable(usual), captures))
    }

    fn worker(&self, destination: &Destination) -> Option<Found<'_>> {
        self.options.workers.iter().find(|worker| worker.address.take(destination).is_some()).map(Found::Worker)
    }
}

impl Callee {
    fn callable(&self, usual: Duration) -> Callable {
        Callable { id: self.id, time_limit: self.time_limit.unwrap_or(usual), when_late: self.when_late }
    }
}

/// Reads which application destinations a handler takes.
pub fn read_address(text: &str, spaces: &Spaces) -> Result<Address, EntryError> {
    let space = spaces.resolve(text).filter(|space| space.kind == Kind::Application);
    let space = space.ok_or_else(|| EntryError::NotApplication(text.to_owned()))?;
    Address::parse(text, space).map_err(|error| EntryError::Address(text.to_owned(), error))
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;
    use crate::app::{Failure, Function, Kind as HandlerKind, parse_to};

    fn entry(kind: HandlerKind, pattern: &str, accepts: Accepts) -> Entry {
        let handler = Arc::new(Function::new(|_, _| async { Ok::<(), Failure>(()) }));
        Entry { kind, pattern: pattern.to_owned(), accepts, time_limit: None, when_late: WhenLate::Refuse, handler }
    }

    fn table(entries: &[Entry]) -> Table {
        let spaces = Spaces::default();
        let from = read_address("/app/chat/*", &spaces).expect("an address");
        let to = parse_to("/topic/chat", from.names(), &spaces).expect("a destination");
        let address = read_address("/app/**", &spaces).expect("an address");
        let queue = Destination::new("/app/**");
        let options = Options {
            routes: vec![Route { from, to, headers: Vec::new(), set: Vec::new() }],
            workers: vec![WorkerQueue { address, queue }],
            ..Options::default()
        };
        Table::new(Arc::new(options), entries, &spaces).expect("a table")
    }

    fn who(found: Option<Found<'_>>) -> String {
        match found {
            None => "nobody".into(),
            Some(Found::Route(..)) => "route".into(),
            Some(Found::Handler(callable, captures)) => {
                let captures: Vec<String> = captures.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                format!("{}{} {} ms", callable.id.0, captures.concat(), callable.time_limit.as_millis())
            }
            Some(Found::Worker(worker)) => format!("worker {}", worker.queue),
        }
    }

    #[test]
    fn the_first_kind_that_takes_it_has_it() {
        let (sends, asks) =
            (Accepts { sends: true, ..Accepts::default() }, Accepts { asks: true, ..Accepts::default() });
        let table = table(&[
            entry(HandlerKind::Hook, "/app/{x}/{y}", sends),
            entry(HandlerKind::Rust, "/app/{a}/b", sends),
            entry(HandlerKind::Rust, "/app/1/b", Accepts { asks: true, ..sends }),
            entry(HandlerKind::Hook, "/app/chat/x", asks),
        ]);
        for (destination, send, ask) in [
            ("/app/chat/x", "route", "3 1000 ms"),
            ("/app/1/b", "1 a=1 10000 ms", "2 1000 ms"),
            ("/app/1/c", "0 x=1 y=c 10000 ms", "worker /app/**"),
            ("/app/1", "worker /app/**", "worker /app/**"),
            ("/topic/1", "nobody", "nobody"),
        ] {
            let destination = Destination::new(destination);
            assert_eq!(who(table.for_send(&destination)), send, "{destination}");
            assert_eq!(who(table.for_ask(&destination)), ask, "{destination}");
        }
        assert!(table.is_used() && !table.wants(Occasion::Connected));
    }

    #[test]
    fn listeners_hear_what_they_asked_for() {
        let sessions = Accepts { sessions: true, ..Accepts::default() };
        let table = table(&[entry(HandlerKind::Rust, "", sessions)]);
        assert!(table.wants(Occasion::Connected) && table.wants(Occasion::Disconnected { reason: "x" }));
        assert!(!table.wants(Occasion::Subscribed) && !table.wants(Occasion::Unsubscribed));
        assert_eq!(table.listeners(Occasion::Connected).count(), 1);
        assert!(!Table::default().is_used());
    }

    #[test]
    fn handlers_are_for_application_destinations() {
        let sends = Accepts { sends: true, ..Accepts::default() };
        let refused = |pattern| {
            let entries = [entry(HandlerKind::Rust, pattern, sends)];
            Table::new(Arc::default(), &entries, &Spaces::default()).err()
        };
        assert_eq!(refused("/topic/x"), Some(EntryError::NotApplication("/topic/x".to_owned())));
        assert!(matches!(refused("/app/x{y}"), Some(EntryError::Address(..))));
        assert_eq!(refused("/app/x"), None);
    }
}
