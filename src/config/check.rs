//! Contradictions: values that are right each by itself, but not together.

use std::net::SocketAddr;

use super::effective::Setting;
use super::errors::{Fault, Problem};
use super::file::Origin;
use super::hooks;
use super::options::Options;
use super::section::{Findings, join};
use super::value::write_text;
use crate::destination::{Kind, SpacesError};
use crate::{broker, server, worker};

/// Finds them all. A key that is wrong by itself contradicts nothing.
pub(super) fn contradictions(options: &Options, findings: &mut Findings) {
    let server = &options.server;
    check_order(&server.worker, findings);
    check_listeners(server, findings);
    check_access(server, findings);
    check_dead_letter(&server.worker.broker, findings);
    hooks::check(&server.worker.app.hooks, findings);
}

/// Notes why the list of prefixes cannot be used, at the entry that is meant.
pub(super) fn refuse_destinations(error: &SpacesError, findings: &mut Findings) {
    let (prefix, name) = match error {
        SpacesError::Duplicate(prefix) => (Some(write_text(prefix)), "prefix"),
        SpacesError::WildcardSeparator { prefix, .. } => (Some(write_text(prefix)), "separator"),
        SpacesError::TooMany { .. } => (None, "prefix"),
    };
    let is_meant = |setting: &&Setting| {
        setting.section.starts_with("destinations[")
            && setting.name == "prefix"
            && prefix.as_ref().is_none_or(|prefix| *prefix == setting.value)
    };
    let entry = findings.settings.iter().rev().find(is_meant);
    let origin = entry.map_or(Origin::Default, |entry| findings.origin(&join(&entry.section, name)));
    let message = format!("`destinations`: {error}");
    findings.problems.push(Problem { fault: Fault::Contradiction { message }, origin, help: None });
}

/// Pairs of which the first must not be greater than the second.
fn check_order(worker: &worker::Options, findings: &mut Findings) {
    let (session, queues, limits) = (&worker.session, &worker.broker.queues, &worker.limits);
    let pairs = [
        ("queues.prefetch", "queues.max_prefetch", session.prefetch > session.max_prefetch),
        (
            "queues.redelivery_delay",
            "queues.redelivery_delay_max",
            queues.redelivery_delay > queues.redelivery_delay_max,
        ),
        ("limits.body_bytes", "limits.unfinished_bytes", limits.body_bytes > worker.unfinished_bytes),
        (
            "websocket.max_packet",
            "limits.unfinished_bytes",
            worker.websocket.max_packet_bytes > worker.unfinished_bytes,
        ),
        ("limits.body_bytes", "queues.max_memory", limits.body_bytes > queues.max_memory),
        ("limits.body_bytes", "queues.max_bytes", limits.body_bytes > queues.max_bytes),
    ];
    let pairs = pairs.map(|(small, large, contradicts)| (small.to_owned(), large.to_owned(), contradicts));
    let own = worker.broker.queue_policies.iter().enumerate().map(|(index, policy)| {
        let key = |name| format!("queues.policy[{index}].{name}");
        let contradicts = policy.options.redelivery_delay > policy.options.redelivery_delay_max;
        (key("redelivery_delay"), key("redelivery_delay_max"), contradicts)
    });
    for (small, large, contradicts) in pairs.into_iter().chain(own) {
        if contradicts {
            let value = |key: &str| findings.value(key).to_owned();
            let message = format!("`{small}` is {}, which is more than `{large}`, {}", value(&small), value(&large));
            findings.contradict(&[&small, &large], message, None);
        }
    }
}

fn check_listeners(server: &server::Options, findings: &mut Findings) {
    let is_on = |key: &str| findings.value(key) == "true";
    if !is_on("websocket.enabled") && !is_on("tcp.enabled") {
        let message = "both listeners are off, so nobody could connect".to_owned();
        findings.contradict(&["websocket.enabled", "tcp.enabled"], message, None);
    }
    for section in ["websocket", "tcp", "admin"] {
        let (enabled, bind) = (join(section, "enabled"), join(section, "bind"));
        if findings.value(&enabled) == "true" && findings.value(&bind) == "[]" {
            let message = format!("`{enabled}` is true, but `{bind}` lists no address");
            findings.contradict(&[&bind, &enabled], message, None);
        }
    }
    let mut taken: Vec<(&str, &SocketAddr)> = Vec::new();
    for (key, address) in addresses(server) {
        if let Some((other, rival)) = taken.iter().find(|(_, rival)| collide(address, rival)) {
            let message = format!("`{key}` and `{other}` claim the same address, {address} and {rival}");
            findings.contradict(&[key, other], message, Some("give them different ports".to_owned()));
        }
        taken.push((key, address));
    }
}

/// Every address that would be listened on, with the key that says so.
fn addresses(server: &server::Options) -> impl Iterator<Item = (&'static str, &SocketAddr)> {
    let websocket = server.websocket.iter().map(|address| ("websocket.bind", address));
    let tcp = server.tcp.iter().map(|address| ("tcp.bind", address));
    websocket.chain(tcp).chain(server.admin.iter().map(|address| ("admin.bind", address)))
}

/// Port 0 is another free port each time; an unspecified address is every address of its family.
fn collide(one: &SocketAddr, other: &SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_family && overlap
}

/// E4: nobody opens an unprotected broker to the world by changing an address alone.
fn check_access(server: &server::Options, findings: &mut Findings) {
    if server.anonymous_anywhere {
        return;
    }
    for (key, address) in addresses(server).filter(|(_, address)| !address.ip().to_canonical().is_loopback()) {
        let message = format!("`{key}`: other machines can reach {address}, and clients need no login");
        let help = "bind to 127.0.0.1, or set access.anonymous = \"anywhere\" to let everyone who reaches it read and \
                    write everything";
        findings.contradict(&[key, "access.anonymous"], message, Some(help.to_owned()));
    }
}

fn check_dead_letter(broker: &broker::Options, findings: &mut Findings) {
    let has_queues = broker.destinations.iter().any(|space| space.kind == Kind::Queue);
    let own = broker.queue_policies.iter().enumerate();
    let own = own.map(|(index, policy)| (format!("queues.policy[{index}].dead_letter"), &policy.options));
    for (key, options) in [("queues.dead_letter".to_owned(), &broker.queues)].into_iter().chain(own) {
        let Some(queue) = &options.dead_letter else { continue };
        let space = broker.destinations.resolve(queue.as_str());
        // A policy that says nothing about it repeats what is wrong with the default.
        let is_repeated = key != "queues.dead_letter" && options.dead_letter == broker.queues.dead_letter;
        if has_queues && !is_repeated && space.is_none_or(|space| space.kind != Kind::Queue) {
            let message = format!("`{key}` is {:?}, which is under no prefix of kind \"queue\"", queue.as_str());
            let help = "name a queue under one of your prefixes, or \"\" for none".to_owned();
            findings.contradict(&[&key, "destinations[0].prefix"], message, Some(help));
        }
    }
}

impl Findings {
    /// Notes a contradiction between these keys, where the last layer wrote one of them.
    pub(super) fn contradict(&mut self, keys: &[&str], message: String, help: Option<String>) {
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
