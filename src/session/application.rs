//! Application destinations as a session sees them: it asks them, or works for them.

use std::collections::VecDeque;

use bytestring::ByteString;

use super::fault::Fault;
use super::live::Live;
use super::receipts::Awaited;
use super::{Action, Opened, Options};
use crate::destination::{Destination, Kind, Pattern, Space};
use crate::headers::Headers;
use crate::message::{Ask, Refusal};
use crate::stomp::{self, Connect, OWN_HEADERS};

/// Headers of a SUBSCRIBE that speak to the broker alone.
const OF_THE_FRAME: [&str; 3] = ["id", "ack", "receipt"];

/// What the application may know of the one who connects.
pub(super) fn opened(name: ByteString, user: Option<&str>, mut headers: Headers, options: &Options) -> Opened {
    headers.keep_first_of_each();
    headers.retain(|name, _| !is_private(name, options));
    let user = user.map(|user| ByteString::from(user.to_owned()));
    Opened { name, user, headers }
}

/// The application destinations whose messages the one who connects may take.
pub(super) fn work_of(connect: &Connect, options: &Options) -> Option<Box<[ByteString]>> {
    let has = |right: &&super::WorkRight| match &right.login {
        None => true,
        Some((login, passcode)) => {
            let said = connect.passcode.as_deref().unwrap_or_default();
            connect.login.as_deref() == Some(login) && passcode.is(said)
        }
    };
    let destinations: Vec<_> = options.work_rights.iter().filter(has).flat_map(|right| &right.destinations).collect();
    (!destinations.is_empty()).then(|| destinations.into_iter().cloned().collect())
}

impl Live {
    /// Whether a SUBSCRIBE asks an application destination, instead of taking its messages.
    pub(super) fn is_ask(&self, destination: &ByteString, options: &Options) -> bool {
        let is_application = options.spaces.resolve(destination).is_some_and(|space| space.kind == Kind::Application);
        is_application && !self.work.as_ref().is_some_and(|own| own.contains(destination))
    }

    /// A2: nothing is registered, and what is live under the same id ends, as it would for another subscription (U6).
    pub(super) fn ask(
        &mut self,
        request: stomp::Subscribe,
        actions: &mut VecDeque<Action>,
        options: &Options,
    ) -> Result<(), Fault> {
        let subscription = self.next_key(options)?;
        let earlier = self.subscriptions.key_of(&request.id).and_then(|key| self.end_subscription(key));
        actions.extend(earlier.map(|earlier| earlier.unsubscribe(true, None)));
        let ticket = self.receipts.ask(request.receipt.as_deref(), Awaited::Ask);
        let mut headers = request.headers;
        headers.keep_first_of_each();
        headers.retain(|name, _| {
            !OWN_HEADERS.contains(&name) && !OF_THE_FRAME.contains(&name) && !is_private(name, options)
        });
        let destination = Destination::new(request.destination);
        actions.push_back(Action::Ask(Box::new(Ask { subscription, id: request.id, destination, headers, ticket })));
        Ok(())
    }

    /// Refuses a SEND to what the broker keeps to itself, and answers of those whom nobody asks.
    pub(super) fn check_protected(
        &self,
        destination: &ByteString,
        space: Option<&Space>,
        options: &Options,
    ) -> Result<(), Fault> {
        let is_events = options.protected.as_ref().is_some_and(|own| own.text() == destination);
        let application = space.filter(|space| space.kind == Kind::Application && self.work.is_none());
        match is_events || application.is_some_and(|space| space.is_answer(destination)) {
            true => Err(Fault::Refused(Refusal::Protected(destination.clone()))),
            false => Ok(()),
        }
    }

    /// Refuses a SUBSCRIBE that would take what the broker keeps to itself, in whatever spelling.
    pub(super) fn check_protected_pattern(&self, pattern: &Pattern, options: &Options) -> Result<(), Fault> {
        match &options.protected {
            Some(own) if self.work.is_none() && pattern.matches(own) => {
                Err(Fault::Refused(Refusal::Protected(own.text().clone())))
            }
            _ => Ok(()),
        }
    }
}

fn is_private(name: &str, options: &Options) -> bool {
    let is_it = |private: &str| private.eq_ignore_ascii_case(name);
    is_it("login") || is_it("passcode") || options.private_headers.iter().any(|private| is_it(private))
}
