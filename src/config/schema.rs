//! Every key there is: its name, its type, its range, the option it sets. The defaults are those of the options.

use std::time::Duration;

use bytestring::ByteString;

use super::check;
use super::options::{Access, Frames, Options, Server, Tcp, WebSocket, Worker};
use super::profile::PROFILES;
use super::section::Section;
use super::value::write_text;
use crate::broker::{QueueOptions, TopicOptions, TopicPolicy};
use crate::destination::{Destination, Kind, Space, Spaces, Style, Unknown};
use crate::log::{self, Format, Levels};
use crate::message::WhenSlow;
use crate::websocket::{deflate, origin};
use crate::{broker, session, stomp, websocket};

const ACCESS: [(&str, Access); 2] = [("loopback", Access::Loopback), ("anywhere", Access::Anywhere)];
const FORMATS: [(&str, Format); 2] = [("human", Format::Human), ("json", Format::Json)];
const KINDS: [(&str, Kind); 2] = [("topic", Kind::Topic), ("queue", Kind::Queue)];
const STYLES: [(&str, Style); 3] = [("ant", Style::Ant), ("amqp", Style::Amqp), ("activemq", Style::Activemq)];
const UNKNOWN: [(&str, Unknown); 2] = [("refuse", Unknown::Refuse), ("drop", Unknown::Drop)];
const WHEN_SLOW: [(&str, WhenSlow); 3] = [
    ("disconnect", WhenSlow::Disconnect),
    ("drop-oldest", WhenSlow::DropOldest),
    ("keep-latest", WhenSlow::KeepLatest),
];

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;
/// Numbers of things that are kept in memory: more than any machine holds.
const MANY: u64 = 1_000_000_000;

/// Reads the whole configuration.
pub(super) fn read(root: &mut Section<'_>) -> Options {
    let default = Options::default();
    let profile = root.choice("profile", default.profile, &PROFILES);
    let mut session = default.session;
    session.connect_timeout = root.duration("connect_timeout", session.connect_timeout, millis(100)..=hours(1));
    session.disconnect_timeout =
        root.duration("disconnect_timeout", session.disconnect_timeout, millis(100)..=hours(1));
    let mut broker = default.broker;
    broker.destinations = read_destinations(root, broker.destinations);
    let server = root.section("server", |section| read_server(section, default.server));
    let access = root.section("access", |section| section.choice("anonymous", default.access, &ACCESS));
    let websocket = root.section("websocket", |section| read_websocket(section, default.websocket));
    let mut tcp_continues = default.tcp_session.continue_on_error;
    let tcp = root.section("tcp", |section| read_tcp(section, default.tcp, &mut tcp_continues));
    let limits = (server, default.worker, default.frames);
    let (server, worker, frames) =
        root.section("limits", |section| read_limits(section, limits, &mut session, &mut broker));
    root.section("heart_beat", |section| read_heart_beat(section, &mut session));
    broker.topics = root.section("topics", |section| read_topics(section, broker.topics, &broker.destinations));
    broker.queues = root.section("queues", |section| read_queues(section, broker.queues, &mut session));
    session.private_headers = root.section("headers", |section| read_headers(section, session.private_headers));
    let log = root.section("log", |section| read_log(section, default.log));
    let tcp_session = session::Options { continue_on_error: tcp_continues, ..session.clone() };
    Options { profile, server, access, websocket, tcp, worker, frames, session, tcp_session, broker, log }
}

fn read_destinations(root: &mut Section<'_>, default: Spaces) -> Spaces {
    let unknown = root.choice("unknown_destinations", default.unknown(), &UNKNOWN);
    let rows = root.rows("destinations", default.iter().cloned().collect(), write_space, read_space);
    Spaces::new(rows, unknown).unwrap_or_else(|error| {
        check::refuse_destinations(&error, root.findings());
        default
    })
}

fn read_space(row: &mut Section<'_>) -> Option<Space> {
    let prefix = row.required("prefix", |row| {
        let expected = r#"the beginning of destinations, such as "/topic""#;
        let parse = |text: &str| Some(ByteString::from(text));
        row.text("prefix", ByteString::new(), expected, parse, ByteString::to_string)
    });
    let kind = row.required("kind", |row| row.choice("kind", Kind::Topic, &KINDS));
    let style = row.choice("style", Style::default(), &STYLES);
    let usual = if style == Style::Ant { '/' } else { '.' };
    let one = |text: &str| text.parse::<char>().ok();
    let separator = row.text("separator", usual, r#"one character, such as "/" or ".""#, one, char::to_string);
    Some(Space { prefix: prefix?, kind: kind?, style, separator })
}

fn write_space(space: &Space) -> Vec<(&'static str, String)> {
    vec![
        ("prefix", write_text(&space.prefix)),
        ("kind", name_of(space.kind, &KINDS)),
        ("style", name_of(space.style, &STYLES)),
        ("separator", write_text(&space.separator.to_string())),
    ]
}

fn read_server(section: &mut Section<'_>, default: Server) -> Server {
    Server {
        workers: section.count("workers", default.workers, 0..=1024),
        drain_timeout: section.duration("drain_timeout", default.drain_timeout, seconds(0)..=hours(24)),
        ..default
    }
}

fn read_websocket(section: &mut Section<'_>, default: WebSocket) -> WebSocket {
    let websocket::Options { max_packet_bytes, deflate, allowed_origins, subprotocols } = default.protocol;
    WebSocket {
        enabled: section.flag("enabled", default.enabled),
        bind: section.addresses("bind", default.bind),
        path: section.text(
            "path",
            default.path,
            r#"a path that begins with "/", such as "/ws""#,
            parse_path,
            String::clone,
        ),
        ping_interval: section.duration("ping_interval", default.ping_interval, seconds(0)..=hours(1)),
        ping_timeout: section.duration("ping_timeout", default.ping_timeout, millis(100)..=hours(1)),
        protocol: websocket::Options {
            max_packet_bytes: section.size("max_packet", max_packet_bytes, KIB..=GIB),
            allowed_origins: read_origins(section, allowed_origins),
            subprotocols,
            deflate: section.section("deflate", |section| deflate::Options {
                enabled: section.flag("enabled", deflate.enabled),
                threshold_bytes: section.size("threshold", deflate.threshold_bytes, 0..=GIB),
                level: section.count("level", deflate.level, 1..=9),
            }),
        },
    }
}

/// A pattern does not remember how it was written, so the text is kept beside it until it has been recorded.
fn read_origins(section: &mut Section<'_>, default: Vec<origin::Pattern>) -> Vec<origin::Pattern> {
    let expected = r#"an origin such as "https://example.com", "https://*.example.com", "http://localhost:*" or "*""#;
    let parse = |text: &str| Some((text.to_owned(), origin::Pattern::parse(text).ok()?));
    let written = section.texts("allowed_origins", Vec::new(), expected, parse, |(text, _)| text.clone());
    default.into_iter().chain(written.into_iter().map(|(_, pattern)| pattern)).collect()
}

/// Only what a request's target can be: printable, without a query.
fn parse_path(text: &str) -> Option<String> {
    let fits =
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte));
    fits.then(|| text.to_owned())
}

fn read_tcp(section: &mut Section<'_>, default: Tcp, continue_on_error: &mut bool) -> Tcp {
    *continue_on_error = section.flag("continue_on_error", *continue_on_error);
    Tcp {
        enabled: section.flag("enabled", default.enabled),
        bind: section.addresses("bind", default.bind),
        // Linux takes at most 32767 seconds.
        keepalive: section.duration("keepalive", default.keepalive, seconds(0)..=hours(9)),
    }
}

fn read_limits(
    section: &mut Section<'_>,
    (server, worker, frames): (Server, Worker, Frames),
    session: &mut session::Options,
    broker: &mut broker::Options,
) -> (Server, Worker, Frames) {
    let server = Server { max_connections: section.count("connections", server.max_connections, 1..=MANY), ..server };
    let worker = Worker {
        outbox_bytes: section.size("outbox", worker.outbox_bytes, 4 * KIB..=GIB),
        inbox: section.count("inbox", worker.inbox, 16..=MANY),
    };
    let frame_bytes = section.size("frame_before_login", frames.before_login.frame_bytes, 256..=GIB);
    let after_login = stomp::Limits {
        header_count: section.count("headers", frames.after_login.header_count, 8..=10_000),
        header_bytes: section.size("header_bytes", frames.after_login.header_bytes, 256..=GIB),
        line_bytes: section.size("line_bytes", frames.after_login.line_bytes, 256..=GIB),
        body_bytes: section.size("body_bytes", frames.after_login.body_bytes, 0..=GIB),
        ..frames.after_login
    };
    let frames = Frames { before_login: stomp::Limits { frame_bytes, ..after_login }, after_login };

    broker.max_subscriptions = section.count("subscriptions", broker.max_subscriptions, 1..=MANY);
    session.max_subscriptions = section.count("subscriptions_per_session", session.max_subscriptions, 1..=MANY);
    broker.max_routes = section.count("routes", broker.max_routes, 0..=MANY);
    broker.max_commits = section.count("commits", broker.max_commits, 1..=MANY);
    session.max_id_bytes = section.size("id_bytes", session.max_id_bytes, 16..=GIB);
    session.max_pending_receipts = section.count("pending_receipts", session.max_pending_receipts, 1..=MANY);
    session.max_transactions = section.count("transactions", session.max_transactions, 0..=MANY);
    session.max_transaction_operations =
        section.count("transaction_operations", session.max_transaction_operations, 1..=MANY);
    session.max_transaction_bytes = section.size("transaction_bytes", session.max_transaction_bytes, KIB..=64 * GIB);
    session.max_held_messages = section.count("held_messages", session.max_held_messages, 1..=MANY);
    session.max_held_bytes = section.size("held_bytes", session.max_held_bytes, KIB..=64 * GIB);
    (server, worker, frames)
}

fn read_heart_beat(section: &mut Section<'_>, session: &mut session::Options) {
    session.heart_beat_send = section.duration("send", session.heart_beat_send, seconds(0)..=hours(24));
    session.heart_beat_receive = section.duration("receive", session.heart_beat_receive, seconds(0)..=hours(24));
    session.heart_beat_tolerance = section.count("tolerance", session.heart_beat_tolerance, 1..=100);
}

fn read_topics(section: &mut Section<'_>, default: TopicOptions, destinations: &Spaces) -> TopicOptions {
    let write = |policy: &TopicPolicy| {
        vec![("pattern", write_text(policy.pattern.as_str())), ("when_slow", name_of(policy.when_slow, &WHEN_SLOW))]
    };
    TopicOptions {
        when_slow: section.choice("when_slow", default.when_slow, &WHEN_SLOW),
        policies: section.rows("policy", default.policies, write, |row| {
            let pattern = row.required("pattern", |row| {
                let expected = r#"a pattern under a prefix of kind "topic", such as "/topic/prices/**""#;
                let parse = |text: &str| {
                    let space = destinations.resolve(text).filter(|space| space.kind == Kind::Topic)?;
                    space.pattern(text).ok().map(Some)
                };
                let write = |pattern: &Option<_>| pattern.as_ref().map_or("", pattern_text).to_owned();
                row.text("pattern", None, expected, parse, write)
            });
            let when_slow = row.required("when_slow", |row| row.choice("when_slow", default.when_slow, &WHEN_SLOW));
            Some(TopicPolicy { pattern: pattern??, when_slow: when_slow? })
        }),
    }
}

fn pattern_text(pattern: &crate::destination::Pattern) -> &str {
    pattern.as_str()
}

fn read_queues(section: &mut Section<'_>, default: QueueOptions, session: &mut session::Options) -> QueueOptions {
    session.prefetch = section.count("prefetch", session.prefetch, 1..=MANY);
    session.max_prefetch = section.count("max_prefetch", session.max_prefetch, 1..=MANY);
    let parse = |text: &str| Some(if text.is_empty() { None } else { Some(Destination::new(text)) });
    let write = |queue: &Option<Destination>| queue.as_ref().map_or("", Destination::as_str).to_owned();
    QueueOptions {
        max_queues: section.count("max_queues", default.max_queues, 1..=MANY),
        max_messages: section.count("max_messages", default.max_messages, 1..=MANY),
        max_bytes: section.size("max_bytes", default.max_bytes, KIB..=1024 * GIB),
        max_consumers: section.count("max_consumers", default.max_consumers, 1..=MANY),
        redelivery_delay: section.duration("redelivery_delay", default.redelivery_delay, millis(1)..=hours(24)),
        redelivery_delay_max: section.duration(
            "redelivery_delay_max",
            default.redelivery_delay_max,
            millis(1)..=hours(24),
        ),
        max_deliveries: section.count("max_deliveries", default.max_deliveries, 1..=MANY),
        dead_letter: section.text("dead_letter", default.dead_letter, r#"a queue, or "" for none"#, parse, write),
    }
}

fn read_headers(section: &mut Section<'_>, default: Vec<String>) -> Vec<String> {
    let name = |text: &str| (!text.is_empty() && !text.contains([':', '\n', '\r'])).then(|| text.to_owned());
    section.texts("private", default, "the name of a header", name, String::clone)
}

fn read_log(section: &mut Section<'_>, default: log::Options) -> log::Options {
    let expected = r#"a level ("off", "error", "warn", "info", "debug", "trace"), or several such as "info,gumboot::session=debug""#;
    log::Options {
        format: section.choice("format", default.format, &FORMATS),
        level: section.text("level", default.level, expected, Levels::parse, |levels| levels.as_str().to_owned()),
    }
}

fn name_of<T: Copy + PartialEq>(meaning: T, names: &[(&'static str, T)]) -> String {
    write_text(names.iter().find(|(_, candidate)| *candidate == meaning).map_or("", |(name, _)| name))
}

const fn millis(amount: u64) -> Duration {
    Duration::from_millis(amount)
}

const fn seconds(amount: u64) -> Duration {
    Duration::from_secs(amount)
}

const fn hours(amount: u64) -> Duration {
    Duration::from_secs(amount * 3600)
}
