//! Every key there is: its name, its type, its range, the option it sets. The defaults are those of the options.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;

use super::applications;
use super::check;
use super::options::Options;
use super::profile::PROFILES;
use super::section::{Section, write_choice};
use super::value::write_text;
use crate::broker::{self, Overflow, QueueOptions, QueuePolicy, TopicOptions, TopicPolicy, WhenExpired};
use crate::destination::{Destination, Kind, Pattern, Space, Spaces, Style, Unknown};
use crate::log::{self, Format, Levels};
use crate::message::WhenSlow;
use crate::session::{Relay, Secret};
use crate::store::{Engine, Sync};
use crate::websocket::{deflate, origin};
use crate::{server, session, sockjs, stomp};

const ACCESS: [(&str, bool); 2] = [("loopback", false), ("anywhere", true)];
const FORMATS: [(&str, Format); 2] = [("human", Format::Human), ("json", Format::Json)];
const KINDS: [(&str, Kind); 5] = [
    ("topic", Kind::Topic),
    ("queue", Kind::Queue),
    ("temporary-queue", Kind::TemporaryQueue),
    ("user", Kind::User),
    ("application", Kind::Application),
];
const STYLES: [(&str, Style); 3] = [("ant", Style::Ant), ("amqp", Style::Amqp), ("activemq", Style::Activemq)];
const UNKNOWN: [(&str, Unknown); 2] = [("refuse", Unknown::Refuse), ("drop", Unknown::Drop)];
const WHEN_SLOW: [(&str, WhenSlow); 3] = [
    ("disconnect", WhenSlow::Disconnect),
    ("drop-oldest", WhenSlow::DropOldest),
    ("keep-latest", WhenSlow::KeepLatest),
];

const OVERFLOWS: [(&str, Overflow); 3] =
    [("reject", Overflow::Reject), ("drop-oldest", Overflow::DropOldest), ("dead-letter", Overflow::DeadLetter)];
const DURABLE_OVERFLOWS: [(&str, Overflow); 2] =
    [("drop-oldest", Overflow::DropOldest), ("drop-newest", Overflow::Reject)];
const WHEN_EXPIRED: [(&str, WhenExpired); 2] = [("dead-letter", WhenExpired::DeadLetter), ("drop", WhenExpired::Drop)];

const ENGINES: [(&str, Engine); 3] = [("sled", Engine::Sled), ("redb", Engine::Redb), ("memory", Engine::Memory)];
const SYNCS: [(&str, bool); 2] = [("always", true), ("interval", false)];

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;
/// Numbers of things that are kept in memory: more than any machine holds.
const MANY: u64 = 1_000_000_000;

/// The longest that a message or an empty queue may wait.
const YEAR: Duration = hours(366 * 24);

/// Reads the whole configuration.
pub(super) fn read(root: &mut Section<'_>) -> Options {
    let mut options = Options::default();
    let Options { profile, server, log } = &mut options;
    let worker = &mut server.worker;
    // What sessions over WebSocket and over TCP share is read into the former, and copied when all is read.
    let session = Arc::make_mut(&mut worker.session);
    let broker = Arc::make_mut(&mut worker.broker);
    root.choice("profile", profile, &PROFILES);
    root.duration("connect_timeout", &mut session.connect_timeout, millis(100)..=hours(1));
    root.duration("disconnect_timeout", &mut session.disconnect_timeout, millis(100)..=hours(1));
    root.duration("close_timeout", &mut worker.close_timeout, millis(100)..=hours(1));
    server.http.request_timeout = session.connect_timeout;
    broker.destinations = read_destinations(root, &broker.destinations);
    session.spaces = broker.destinations.clone();
    root.section("topics", |section| read_topics(section, &mut broker.topics, &session.spaces));
    root.section("queues", |section| read_queues(section, broker, session));
    root.section("durable_subscriptions", |section| read_durable(section, &mut broker.durable));
    let rights = root.section("app", |section| applications::read(section, Arc::make_mut(&mut worker.app), session));
    root.section("heart_beat", |section| read_heart_beat(section, session));
    root.section("headers", |section| read_headers(section, &mut session.private_headers));
    root.section("access", |section| read_access(section, &mut server.anonymous_anywhere, &mut session.trust_login));
    let mut relays = Vec::new();
    root.rows("relay", &mut relays, |_| Vec::new(), read_relay);
    root.section("server", |section| read_server(section, server));
    root.section("websocket", |section| read_websocket(section, server));
    root.section("sockjs", |section| read_sockjs(section, &mut server.sockjs));
    let continue_on_error = root.section("tcp", |section| read_tcp(section, server));
    root.section("admin", |section| read_admin(section, server));
    root.section("store", |section| read_store(section, server));
    root.section("limits", |section| read_limits(section, server));
    root.section("log", |section| read_log(section, log));
    let shared = session::Options::clone(&server.worker.session);
    let work_rights = shared.work_rights.iter().cloned().chain(rights).collect();
    server.worker.tcp_session = Arc::new(session::Options { continue_on_error, relays, work_rights, ..shared });
    options
}

fn read_destinations(root: &mut Section<'_>, default: &Spaces) -> Spaces {
    let mut unknown = default.unknown();
    root.choice("unknown_destinations", &mut unknown, &UNKNOWN);
    let mut spaces: Vec<Space> = default.iter().cloned().collect();
    root.rows("destinations", &mut spaces, write_space, read_space);
    Spaces::new(spaces, unknown).unwrap_or_else(|error| {
        check::refuse_destinations(&error, root.findings());
        default.clone()
    })
}

fn read_space(row: &mut Section<'_>) -> Option<Space> {
    let complete = row.requires("prefix") & row.requires("kind");
    let mut space = Space { prefix: ByteString::new(), kind: Kind::Topic, style: Style::default(), separator: '/' };
    let prefix = |text: &str| Some(ByteString::from(text));
    let expected = r#"the beginning of destinations, such as "/topic""#;
    row.text("prefix", &mut space.prefix, expected, prefix, ByteString::to_string);
    row.choice("kind", &mut space.kind, &KINDS);
    row.choice("style", &mut space.style, &STYLES);
    space.separator = if space.style == Style::Ant { '/' } else { '.' };
    let separator = |text: &str| text.parse::<char>().ok().filter(|c| !c.is_control());
    row.text("separator", &mut space.separator, r#"one character, such as "/" or ".""#, separator, char::to_string);
    complete.then_some(space)
}

fn write_space(space: &Space) -> Vec<(&'static str, String)> {
    vec![
        ("prefix", write_text(&space.prefix)),
        ("kind", write_choice(space.kind, &KINDS)),
        ("style", write_choice(space.style, &STYLES)),
        ("separator", write_text(&space.separator.to_string())),
    ]
}

fn read_topics(section: &mut Section<'_>, topics: &mut TopicOptions, spaces: &Spaces) {
    section.choice("when_slow", &mut topics.when_slow, &WHEN_SLOW);
    let write = |policy: &TopicPolicy| {
        vec![
            ("pattern", write_text(policy.pattern.as_str())),
            ("when_slow", write_choice(policy.when_slow, &WHEN_SLOW)),
        ]
    };
    section.rows("policy", &mut topics.policies, write, |row| read_policy(row, spaces));
}

fn read_policy(row: &mut Section<'_>, spaces: &Spaces) -> Option<TopicPolicy> {
    let complete = row.requires("pattern") & row.requires("when_slow");
    let mut pattern: Option<Pattern> = None;
    let parse = |text: &str| {
        let space = spaces.resolve(text).filter(|space| matches!(space.kind, Kind::Topic | Kind::User))?;
        space.pattern(text).ok().map(Some)
    };
    let write = |pattern: &Option<Pattern>| pattern.as_ref().map_or("", Pattern::as_str).to_owned();
    let expected = r#"a pattern under a prefix of kind "topic" or "user", such as "/topic/prices/**""#;
    row.text("pattern", &mut pattern, expected, parse, write);
    let mut when_slow = WhenSlow::default();
    row.choice("when_slow", &mut when_slow, &WHEN_SLOW);
    pattern.filter(|_| complete).map(|pattern| TopicPolicy { pattern, when_slow })
}

fn read_queues(section: &mut Section<'_>, broker: &mut broker::Options, session: &mut session::Options) {
    section.count("max_prefetch", &mut session.max_prefetch, 1..=MANY);
    section.count("max_queues", &mut broker.queues.max_queues, 1..=MANY);
    section.flag("spring_user_queues", &mut session.spring_user_queues);
    read_queue(section, &mut broker.queues, &mut session.prefetch);
    let mut rows: Vec<(QueuePolicy, u32)> = Vec::new();
    let (others, prefetch) = (&broker.queues, session.prefetch);
    let read = |row: &mut Section<'_>| read_queue_policy(row, others.clone(), prefetch, &session.spaces);
    section.rows("policy", &mut rows, |_| Vec::new(), read);
    session.queue_prefetches = rows.iter().map(|(policy, prefetch)| (policy.pattern.clone(), *prefetch)).collect();
    broker.queue_policies = rows.into_iter().map(|(policy, _)| policy).collect();
}

/// A row that begins with what holds for all other queues.
fn read_queue_policy(
    row: &mut Section<'_>,
    mut options: QueueOptions,
    mut prefetch: u32,
    spaces: &Spaces,
) -> Option<(QueuePolicy, u32)> {
    row.requires("pattern");
    let mut pattern: Option<Pattern> = None;
    let parse = |text: &str| {
        let is_queue = |space: &&Space| matches!(space.kind, Kind::Queue | Kind::TemporaryQueue);
        let space = spaces.resolve(text).filter(is_queue)?;
        space.pattern(text).ok().map(Some)
    };
    let write = |pattern: &Option<Pattern>| pattern.as_ref().map_or("", Pattern::as_str).to_owned();
    let expected = r#"a pattern under a prefix of kind "queue", such as "/queue/jobs/**""#;
    row.text("pattern", &mut pattern, expected, parse, write);
    read_queue(row, &mut options, &mut prefetch);
    pattern.map(|pattern| (QueuePolicy { pattern, options }, prefetch))
}

/// What may differ from queue to queue.
fn read_queue(section: &mut Section<'_>, queue: &mut QueueOptions, prefetch: &mut u32) {
    section.count("prefetch", prefetch, 1..=MANY);
    section.flag("durable", &mut queue.durable);
    section.count("max_messages", &mut queue.max_messages, 1..=MANY);
    section.size("max_bytes", &mut queue.max_bytes, KIB..=1024 * GIB);
    section.size("max_memory", &mut queue.max_memory, KIB..=1024 * GIB);
    section.choice("overflow", &mut queue.overflow, &OVERFLOWS);
    section.count("max_consumers", &mut queue.max_consumers, 1..=MANY);
    section.duration("redelivery_delay", &mut queue.redelivery_delay, millis(1)..=hours(24));
    section.duration("redelivery_delay_max", &mut queue.redelivery_delay_max, millis(1)..=hours(24));
    section.count("max_deliveries", &mut queue.max_deliveries, 1..=MANY);
    let parse = |text: &str| Some(if text.is_empty() { None } else { Some(Destination::new(text)) });
    let write = |queue: &Option<Destination>| queue.as_ref().map_or("", Destination::as_str).to_owned();
    section.text("dead_letter", &mut queue.dead_letter, r#"a queue, or "" for none"#, parse, write);
    section.duration_or_never("ttl", &mut queue.ttl, YEAR);
    section.choice("expired", &mut queue.expired, &WHEN_EXPIRED);
    section.duration("max_delay", &mut queue.max_delay, millis(1)..=YEAR);
    section.flag("priority", &mut queue.priority);
    section.count("max_groups", &mut queue.max_groups, 1..=MANY);
    section.flag("exclusive", &mut queue.exclusive);
    section.flag("auto_delete", &mut queue.auto_delete);
    section.flag("single_active_consumer", &mut queue.single_active_consumer);
    section.duration_or_never("idle_expiry", &mut queue.idle_expiry, YEAR);
}

fn read_durable(section: &mut Section<'_>, durable: &mut broker::DurableOptions) {
    section.count("max_subscriptions", &mut durable.max_subscriptions, 1..=MANY);
    section.count("max_messages", &mut durable.max_messages, 1..=MANY);
    section.size("max_bytes", &mut durable.max_bytes, KIB..=1024 * GIB);
    section.choice("overflow", &mut durable.overflow, &DURABLE_OVERFLOWS);
    section.duration_or_never("idle_expiry", &mut durable.idle_expiry, YEAR);
}

fn read_store(section: &mut Section<'_>, server: &mut server::Options) {
    let store = &mut server.store;
    section.choice("engine", &mut store.engine, &ENGINES);
    let parse = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    let write = |path: &PathBuf| path.display().to_string();
    section.text("path", &mut store.path, r#"a directory, such as "./gumboot-data""#, parse, write);
    let mut is_always = true;
    section.choice("sync", &mut is_always, &SYNCS);
    let mut interval = Duration::from_millis(100);
    section.duration("sync_interval", &mut interval, millis(1)..=hours(1));
    section.size("journal_bytes", &mut store.journal_bytes, 64 * KIB..=4 * GIB);
    let broker = Arc::make_mut(&mut server.worker.broker);
    section.size("memory", &mut broker.queues.memory, 0..=1024 * GIB);
    for policy in &mut broker.queue_policies {
        policy.options.memory = broker.queues.memory;
    }
    store.sync = if is_always { Sync::Always } else { Sync::Interval(interval) };
}

fn read_heart_beat(section: &mut Section<'_>, session: &mut session::Options) {
    section.duration("send", &mut session.heart_beat_send, Duration::ZERO..=hours(24));
    section.duration("receive", &mut session.heart_beat_receive, Duration::ZERO..=hours(24));
    section.count("tolerance", &mut session.heart_beat_tolerance, 1..=100);
}

fn read_headers(section: &mut Section<'_>, private: &mut Vec<String>) {
    let name = |text: &str| (!text.is_empty() && !text.contains([':', '\n', '\r'])).then(|| text.to_owned());
    section.texts("private", private, "the name of a header", name, String::clone);
}

fn read_access(section: &mut Section<'_>, anonymous_anywhere: &mut bool, trust_login: &mut bool) {
    section.choice("anonymous", anonymous_anywhere, &ACCESS);
    section.flag("trust_login", trust_login);
}

fn read_relay(row: &mut Section<'_>) -> Option<Relay> {
    let complete = row.requires("login") & row.requires("passcode");
    let mut relay = Relay { login: String::new(), passcode: Secret::default() };
    let login = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    row.text("login", &mut relay.login, "what the relay sends as `login`", login, String::clone);
    row.secret("passcode", &mut relay.passcode, Secret::new);
    complete.then_some(relay)
}

fn read_server(section: &mut Section<'_>, server: &mut server::Options) {
    section.count("workers", &mut server.workers, 0..=1024);
    section.duration("drain_timeout", &mut server.drain_timeout, Duration::ZERO..=hours(24));
}

fn read_websocket(section: &mut Section<'_>, server: &mut server::Options) {
    read_listener(section, &mut server.websocket);
    section.text(
        "path",
        &mut server.http.path,
        r#"a path that begins with "/", such as "/ws""#,
        parse_path,
        String::clone,
    );
    read_origins(section, &mut server.worker.websocket.allowed_origins);
    section.duration_or_never("ping_interval", &mut server.worker.ping_interval, hours(1));
    section.duration("ping_timeout", &mut server.worker.ping_timeout, millis(100)..=hours(1));
    let protocol = &mut server.worker.websocket;
    section.size("max_packet", &mut protocol.max_packet_bytes, KIB..=GIB);
    section.section("deflate", |section| read_deflate(section, &mut protocol.deflate));
}

fn read_deflate(section: &mut Section<'_>, deflate: &mut deflate::Options) {
    section.flag("enabled", &mut deflate.enabled);
    section.size("threshold", &mut deflate.threshold_bytes, 0..=GIB);
    section.count("level", &mut deflate.level, 1..=9);
}

fn read_sockjs(section: &mut Section<'_>, sockjs: &mut sockjs::Options) {
    section.flag("enabled", &mut sockjs.enabled);
    section.flag("websocket", &mut sockjs.websocket);
    section.flag("websocket_draft_76", &mut sockjs.websocket_draft_76);
    section.duration("disconnect_delay", &mut sockjs.disconnect_delay, millis(100)..=hours(1));
    section.duration_or_never("heartbeat", &mut sockjs.heartbeat, hours(1));
    section.size("stream_bytes", &mut sockjs.stream_bytes, KIB..=GIB);
    section.size("cache_bytes", &mut sockjs.cache_bytes, KIB..=GIB);
    section.count("max_conduits", &mut sockjs.max_conduits, 0..=MANY);
    let expected = r#"a URL that begins with "https://", "http://" or "/""#;
    section.text("client_library_url", &mut sockjs.client_library_url, expected, parse_url, String::clone);
    let expected = r#"the value of a cookie: letters, digits, "-", "_" and ".", or "" for no cookie"#;
    let write = |cookie: &Option<String>| cookie.clone().unwrap_or_default();
    section.text("session_cookie", &mut sockjs.session_cookie, expected, parse_cookie, write);
}

/// What can stand in an attribute of a page as it is.
fn parse_url(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>`\\".contains(&byte);
    let begins_well = ["https://", "http://", "/"].iter().any(|start| text.starts_with(start));
    (begins_well && text.bytes().all(is_plain)).then(|| text.to_owned())
}

fn parse_cookie(text: &str) -> Option<Option<String>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes().all(is_plain).then(|| (!text.is_empty()).then(|| text.to_owned()))
}

/// A listener that is off listens nowhere.
fn read_listener(section: &mut Section<'_>, addresses: &mut Vec<SocketAddr>) {
    let mut enabled = true;
    section.flag("enabled", &mut enabled);
    let expected = r#"an IP address and a port, such as "127.0.0.1:61613", "0.0.0.0:61613" or "[::1]:61613""#;
    section.texts("bind", addresses, expected, |text| text.parse().ok(), SocketAddr::to_string);
    if !enabled {
        addresses.clear();
    }
}

/// Only what the target of a request can be: printable, without a query.
fn parse_path(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
    (text.starts_with('/') && text.bytes().all(is_plain)).then(|| text.to_owned())
}

/// A pattern does not remember how it was written, so the text is kept beside it until it has been recorded.
fn read_origins(section: &mut Section<'_>, origins: &mut Vec<origin::Pattern>) {
    let expected = r#"an origin such as "https://example.com", "https://*.example.com", "http://localhost:*" or "*""#;
    let parse = |text: &str| Some((text.to_owned(), origin::Pattern::parse(text).ok()?));
    let mut written = Vec::new();
    section.texts("allowed_origins", &mut written, expected, parse, |(text, _)| text.clone());
    origins.extend(written.into_iter().map(|(_, pattern)| pattern));
}

/// Whether refused requests leave sessions over TCP alive: all else that there is about them is said elsewhere.
fn read_tcp(section: &mut Section<'_>, server: &mut server::Options) -> bool {
    read_listener(section, &mut server.tcp);
    // Linux takes at most 32767 seconds.
    section.duration_or_never("keepalive", &mut server.keepalive, hours(9));
    let mut continue_on_error = server.worker.tcp_session.continue_on_error;
    section.flag("continue_on_error", &mut continue_on_error);
    continue_on_error
}

fn read_admin(section: &mut Section<'_>, server: &mut server::Options) {
    read_listener(section, &mut server.admin);
    section.count("connections", &mut server.admin_connections, 1..=10_000);
    let expected = r#"the name of a host without a port, such as "broker.internal", or "*" for any"#;
    let is_name = |text: &str| !text.is_empty() && !text.contains([':', '/', ' ', '@']);
    let name = |text: &str| is_name(text).then(|| text.to_owned());
    section.texts("hosts", &mut server.admin_hosts, expected, name, String::clone);
}

fn read_limits(section: &mut Section<'_>, server: &mut server::Options) {
    let worker = &mut server.worker;
    section.count("connections", &mut server.connections, 1..=MANY);
    section.count("new_connections", &mut server.new_connections, 1..=100_000);
    section.size("outbox_bytes", &mut worker.outbox_bytes, 4 * KIB..=GIB);
    section.size("unfinished_bytes", &mut worker.unfinished_bytes, KIB..=64 * 1024 * GIB);
    section.count("inbox", &mut worker.inbox_batches, 16..=1_000_000);
    let frame = &mut worker.limits;
    section.count("headers", &mut frame.header_count, 8..=10_000);
    section.size("header_bytes", &mut frame.header_bytes, 256..=GIB);
    section.size("line_bytes", &mut frame.line_bytes, 256..=GIB);
    section.size("body_bytes", &mut frame.body_bytes, 0..=GIB);
    let mut frame_bytes = worker.limits_before_login.frame_bytes;
    section.size("frame_before_login", &mut frame_bytes, 256..=GIB);
    worker.limits_before_login = stomp::Limits { frame_bytes, ..worker.limits };

    let session = Arc::make_mut(&mut worker.session);
    session.max_outbox_bytes = worker.outbox_bytes;
    section.count("subscriptions_per_session", &mut session.max_subscriptions, 1..=MANY);
    section.size("id_bytes", &mut session.max_id_bytes, 16..=GIB);
    section.size("user_bytes", &mut session.max_user_bytes, 1..=256);
    section.count("pending_receipts", &mut session.max_pending_receipts, 1..=MANY);
    section.count("transactions", &mut session.max_transactions, 0..=MANY);
    section.count("transaction_operations", &mut session.max_transaction_operations, 1..=MANY);
    section.size("transaction_bytes", &mut session.max_transaction_bytes, KIB..=64 * GIB);
    section.count("held_messages", &mut session.max_held_messages, 1..=MANY);
    section.size("held_bytes", &mut session.max_held_bytes, KIB..=64 * GIB);

    let broker = Arc::make_mut(&mut worker.broker);
    section.count("subscriptions", &mut broker.max_subscriptions, 1..=MANY);
    section.count("routes", &mut broker.max_routes, 0..=MANY);
    section.count("commits", &mut broker.max_commits, 1..=MANY);
}

fn read_log(section: &mut Section<'_>, log: &mut log::Options) {
    section.choice("format", &mut log.format, &FORMATS);
    let expected =
        r#""off", "error", "warn", "info", "debug" or "trace", with exceptions as in "info,gumboot::session=debug""#;
    section.text("level", &mut log.level, expected, Levels::parse, |levels| levels.as_str().to_owned());
}

const fn millis(amount: u64) -> Duration {
    Duration::from_millis(amount)
}

const fn hours(amount: u64) -> Duration {
    Duration::from_secs(amount * 3600)
}
