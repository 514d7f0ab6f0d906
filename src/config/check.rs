//! Contradictions: values that are right each by itself, but not together.

use std::net::SocketAddr;

use super::effective::Setting;
use super::errors::{Fault, Problem};
use super::file::Origin;
use super::options::{Access, Options};
use super::section::Findings;
use super::value::write_text;
use crate::destination::{Kind, SpacesError};

/// Finds them all. A key that is wrong by itself contradicts nothing.
pub(super) fn contradictions(options: &Options, findings: &mut Findings) {
    check_order(options, findings);
    check_listeners(options, findings);
    check_access(options, findings);
    check_dead_letter(options, findings);
}

/// Notes why the list of prefixes cannot be used, at the entry that is meant.
pub(super) fn refuse_destinations(error: &SpacesError, findings: &mut Findings) {
    let prefix = match error {
        SpacesError::Duplicate(prefix) | SpacesError::WildcardSeparator { prefix, .. } => Some(write_text(prefix)),
        SpacesError::TooMany { .. } => None,
    };
    let is_meant = |setting: &&Setting| {
        setting.section.starts_with("destinations[")
            && setting.name == "prefix"
            && prefix.as_ref().is_none_or(|prefix| *prefix == setting.value)
    };
    let entry = findings.settings.iter().rev().find(is_meant);
    let origin = entry.map_or(Origin::Default, |setting| setting.origin.clone());
    let message = format!("`destinations`: {error}");
    findings.problems.push(Problem { fault: Fault::Contradiction { message }, origin, help: None });
}

/// Pairs of which the first must not be greater than the second.
fn check_order(options: &Options, findings: &mut Findings) {
    let Options { session, broker, frames, .. } = options;
    let queues = &broker.queues;
    let limits = &frames.after_login;
    let pairs = [
        ("queues.prefetch", "queues.max_prefetch", session.prefetch > session.max_prefetch),
        (
            "queues.redelivery_delay",
            "queues.redelivery_delay_max",
            queues.redelivery_delay > queues.redelivery_delay_max,
        ),
        ("limits.line_bytes", "limits.header_bytes", limits.line_bytes > limits.header_bytes),
        ("limits.id_bytes", "limits.line_bytes", session.max_id_bytes > limits.line_bytes),
        ("limits.body_bytes", "queues.max_bytes", limits.body_bytes > queues.max_bytes),
        ("limits.body_bytes", "limits.transaction_bytes", limits.body_bytes > session.max_transaction_bytes),
    ];
    for (small, large, contradicts) in pairs {
        if contradicts {
            let value = |key| findings.value(key).to_owned();
            let message = format!("`{small}` is {}, which is more than `{large}`, {}", value(small), value(large));
            findings.contradict(&[small, large], message, None);
        }
    }
}

fn check_listeners(options: &Options, findings: &mut Findings) {
    let (websocket, tcp) = (&options.websocket, &options.tcp);
    if !websocket.enabled && !tcp.enabled {
        let message = "both listeners are off, so nobody could connect".to_owned();
        findings.contradict(&["websocket.enabled", "tcp.enabled"], message, None);
    }
    let listeners = [("websocket.bind", websocket.enabled, &websocket.bind), ("tcp.bind", tcp.enabled, &tcp.bind)];
    let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
    for (key, enabled, addresses) in listeners.into_iter().filter(|(_, enabled, _)| *enabled) {
        if enabled && addresses.is_empty() {
            let section = key.trim_end_matches(".bind");
            let message = format!("`{section}.enabled` is true, but `{key}` lists no address");
            findings.contradict(&[key], message, None);
        }
        for address in addresses {
            if let Some((other, rival)) = taken.iter().find(|(_, rival)| collide(address, rival)) {
                let message = format!("`{key}` and `{other}` claim the same address, {address} and {rival}");
                findings.contradict(&[key, other], message, Some("give them different ports".to_owned()));
            }
            taken.push((key, *address));
        }
    }
}

/// Port 0 is another free port each time; an unspecified address is every address of its family.
fn collide(one: &SocketAddr, other: &SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_family && overlap
}

/// E4: nobody opens an unprotected broker to the world by changing an address alone.
fn check_access(options: &Options, findings: &mut Findings) {
    if options.access == Access::Anywhere {
        return;
    }
    let (websocket, tcp) = (&options.websocket, &options.tcp);
    let listeners = [("websocket.bind", websocket.enabled, &websocket.bind), ("tcp.bind", tcp.enabled, &tcp.bind)];
    for (key, enabled, addresses) in listeners {
        let Some(open) = addresses.iter().find(|address| enabled && !address.ip().is_loopback()) else { continue };
        let message = format!(
            "`{key}` lets other machines reach {open}, but clients that do not say who they are may come from this machine only"
        );
        let help =
            "to let everyone who can reach the port read and write everything, set access.anonymous = \"anywhere\"";
        findings.contradict(&[key, "access.anonymous"], message, Some(help.to_owned()));
    }
}

fn check_dead_letter(options: &Options, findings: &mut Findings) {
    let Some(queue) = &options.broker.queues.dead_letter else { return };
    let destinations = &options.broker.destinations;
    let has_queues = destinations.iter().any(|space| space.kind == Kind::Queue);
    let is_queue = destinations.resolve(queue.as_str()).is_some_and(|space| space.kind == Kind::Queue);
    if has_queues && !is_queue {
        let message =
            format!("`queues.dead_letter` is {:?}, which is under no prefix of kind \"queue\"", queue.as_str());
        findings.contradict(&["queues.dead_letter", "destinations[0].prefix"], message, None);
    }
}

impl Findings {
    /// Notes a contradiction between these keys, where the last layer wrote one of them.
    fn contradict(&mut self, keys: &[&str], message: String, help: Option<String>) {
        if keys.iter().any(|key| self.is_faulty(key)) {
            return;
        }
        // Of keys in the same layer the first is shown, so the search for the greatest goes backwards.
        let origin = keys.iter().rev().map(|key| self.origin(key)).max_by_key(layer).unwrap_or(Origin::Default);
        self.problems.push(Problem { fault: Fault::Contradiction { message }, origin, help });
    }

    fn is_faulty(&self, key: &str) -> bool {
        self.problems
            .iter()
            .any(|problem| matches!(&problem.fault, Fault::Mismatch { key: faulty, .. } if faulty == key))
    }
}

/// The layer that came last made the contradiction.
fn layer(origin: &Origin) -> u8 {
    match origin {
        Origin::Default => 0,
        Origin::Profile(_) => 1,
        Origin::File { .. } => 2,
        Origin::Environment { .. } => 3,
        Origin::Set { .. } => 4,
    }
}
