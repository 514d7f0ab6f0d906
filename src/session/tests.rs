//! Transcripts of sessions. Each line is either something that happens to a session, or, after `<`, one thing that the
//! session then asks for; [`check`] plays the former and compares the latter.
//!
//! What can happen, times in milliseconds from the start:
//! ```text
//! > SEND destination:/topic/a x:1 | body       a frame; `\s` in a value is a space
//! + 0 /queue/a 7 queue                         message 7 for subscription 0: `queue` or a topic's policy;
//!                                              `full`: the outbox has no room; `again:2`: redelivered twice
//! = 0 3                                        the verdict on ticket 0: three matched. `= - unroutable`: a refusal
//! @ 8000                                       the clock is there, and handle_timeout is called
//! received 100, sent 100                       bytes came, or went
//! writable, overflow, closing, ended, lost, too-long, bad-bytes
//! ```

#![allow(clippy::expect_used)]

mod application;
mod connect;
mod durable;
mod end;
mod random;
mod send;
mod settle;
mod slow;
mod subscribe;
mod temporary;
mod transaction;
mod user;

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::destination::{Destination, Spaces, Unknown};
use crate::headers::Headers;
use crate::message::{
    Content, Message, MessageId, Moment, Operation, Refusal, SessionId, Tag, Terms, WhenSlow, WorkerId,
};

/// Plays a transcript from the opening of the connection.
#[track_caller]
fn check(options: Options, transcript: &str) {
    let mut player = Player::new(options);
    compare(&mut player, transcript);
}

/// Plays a transcript of a session that has CONNECTed in this version, with no heart-beats.
#[track_caller]
fn check_connected(version: &str, options: Options, transcript: &str) {
    let mut player = Player::new(options);
    player.happen(&format!("> CONNECT accept-version:{version}"));
    assert_eq!(player.session.version(), Version::parse(version));
    compare(&mut player, transcript);
}

/// As [`check_connected`], where the client asked to go on after refusals (X3).
#[track_caller]
fn check_continuing(options: Options, transcript: &str) {
    let mut player = Player::new(options);
    player.happen("> CONNECT accept-version:1.2 on-error:continue");
    compare(&mut player, transcript);
}

#[track_caller]
fn compare(player: &mut Player, transcript: &str) {
    let mut wanted = String::new();
    let mut found = String::new();
    for line in transcript.lines().map(str::trim).filter(|line| !line.is_empty()) {
        writeln!(wanted, "{line}").expect("a string takes all");
        if !line.starts_with('<') {
            writeln!(found, "{line}").expect("a string takes all");
            for asked in player.happen(line) {
                writeln!(found, "< {asked}").expect("a string takes all");
            }
        }
    }
    assert_eq!(found, wanted, "\nfound:\n{found}\nwanted:\n{wanted}");
}

struct Player {
    start: Instant,
    now: Instant,
    session: Session,
}

impl Player {
    fn new(options: Options) -> Player {
        let start = Instant::now();
        let session = Session::new(start, ByteString::from_static("s-1"), Arc::new(options));
        Player { start, now: start, session }
    }

    /// Plays one line and tells what the session asks for.
    fn happen(&mut self, line: &str) -> Vec<String> {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        let now = self.now;
        match what {
            ">" => self.session.handle_frame(now, frame(rest)),
            "+" => {
                let (key, delivery) = delivery(rest);
                self.session.handle_delivery(now, key, delivery, !rest.contains(" full"));
            }
            "=" => {
                let (ticket, verdict) = verdict(rest);
                self.session.handle_verdict(now, ticket, verdict);
            }
            "@" => {
                self.now = self.at(rest);
                self.session.handle_timeout(self.now);
            }
            "received" => self.session.note_received(self.at(rest)),
            "sent" => self.session.note_sent(self.at(rest)),
            "writable" => self.session.handle_writable(now),
            "closing" => self.session.handle_closing(now),
            "ended" => self.session.handle_ended(now),
            "lost" => self.session.handle_lost(now),
            "too-long" => {
                self.session.handle_fault(now, &DecodeError::BodyTooLong { limit: 9 });
            }
            "bad-bytes" => self.session.handle_fault(now, &DecodeError::BadEscape),
            other => panic!("nothing is called {other}"),
        }
        self.asked()
    }

    fn at(&self, millis: &str) -> Instant {
        self.start + Duration::from_millis(millis.parse().expect("milliseconds"))
    }

    /// All actions, and the state that the driver looks at, where it is not the usual one.
    fn asked(&mut self) -> Vec<String> {
        let mut asked = Vec::new();
        while let Some(action) = self.session.poll_action() {
            // What is only told, `application` tests.
            if !matches!(action, Action::Opened(_) | Action::Note(Note::Subscribed(_))) {
                asked.push(render(action));
            }
        }
        if self.session.has_held() {
            asked.push("(holds messages)".into());
        }
        if !self.session.wants_input() && !self.session.is_closed() {
            asked.push("(wants no input)".into());
        }
        asked
    }
}

fn frame(text: &str) -> Frame {
    let (head, body) = text.split_once(" | ").unwrap_or((text, ""));
    let mut words = head.split(' ');
    let command = words.next().and_then(|word| Command::parse(word.as_bytes()));
    let headers = words.map(|word| {
        let (name, value) = word.split_once(':').expect("a header");
        (name.to_owned(), value.replace("\\s", " "))
    });
    Frame::new(command.expect("a command"), headers, Bytes::from(body.to_owned()))
}

fn delivery(text: &str) -> (SubscriptionKey, Delivery) {
    let words: Vec<&str> = text.split(' ').collect();
    let [key, destination, sequence, policy, ..] = words[..] else {
        panic!("not a delivery: {text}");
    };
    let sequence = sequence.parse().expect("a number");
    let again = words.iter().find_map(|word| word.strip_prefix("again:"));
    let tag = Tag { home: WorkerId(0), queue: 1, sequence };
    let delivery = Delivery {
        message: message(destination, sequence),
        when_slow: match policy {
            "disconnect" | "queue" => WhenSlow::Disconnect,
            "drop-oldest" => WhenSlow::DropOldest,
            "keep-latest" => WhenSlow::KeepLatest,
            other => panic!("no policy is called {other}"),
        },
        tag: (policy == "queue").then_some(tag),
        redeliveries: again.map_or(0, |again| again.parse().expect("a number")),
    };
    (SubscriptionKey(key.parse().expect("a key")), delivery)
}

/// Message `n`: its `message-id` is `00000000-0-n`, in hexadecimal. Its body has 1000 bytes.
fn message(destination: &str, sequence: u64) -> Arc<Message> {
    let worker = WorkerId(0);
    Arc::new(Message {
        id: MessageId { boot: 0, worker, sequence },
        origin: SessionId { worker, key: 1 },
        content: Content {
            destination: Destination::new(destination),
            headers: Headers::default(),
            body: Bytes::from_static(&[b'x'; 1000]),
            is_text: true,
            exclude_origin: false,
            mandatory: false,
            terms: None,
        },
    })
}

fn verdict(text: &str) -> (Option<Ticket>, Verdict) {
    let (ticket, answer) = text.split_once(' ').expect("a ticket and an answer");
    let ticket = (ticket != "-").then(|| Ticket(ticket.parse().expect("a ticket")));
    let verdict = match answer {
        "unroutable" => Err(Refusal::Unroutable("/topic/a".into())),
        "full" => Err(Refusal::Limit {
            code: "queue-full",
            what: "messages in a queue",
            limit: 5,
            key: "queues.max_messages",
        }),
        count => Ok(count.parse().expect("a count")),
    };
    (ticket, verdict)
}

fn render(action: Action) -> String {
    match action {
        Action::Send(frame) => render_frame(&frame),
        Action::Heartbeat => "heart-beat".into(),
        Action::Deliver(outgoing) => render_message(&outgoing),
        Action::Perform { operation, ticket } => {
            format!("{} {}", render_ticket(ticket), render_operation(&operation))
        }
        Action::Commit { operations, ticket } => {
            let operations: Vec<String> = operations.iter().map(render_operation).collect();
            format!("{} commit {{ {} }}", render_ticket(Some(ticket)), operations.join("; "))
        }
        Action::Subscribe(subscribe) => {
            let mut text = format!(
                "{} subscribe {}={} {}",
                render_ticket(subscribe.ticket),
                subscribe.subscription.0,
                subscribe.id,
                render_target(&subscribe.target),
            );
            text += if subscribe.no_local { " no-local" } else { "" };
            text += if subscribe.paced { " paced" } else { "" };
            text += if subscribe.browses { " browses" } else { "" };
            text += if subscribe.ends_queue { " ends-queue" } else { "" };
            text += &subscribe.replaces.map_or(String::new(), |replaced| format!(" replaces {}", replaced.0));
            text + &format!(" credit:{}", subscribe.credit)
        }
        Action::Browse(Browse { subscription, queue, credit, after }) => {
            format!("browse {} {queue} {credit} after {after}", subscription.0)
        }
        Action::Unsubscribe { subscription, id, target, paced, by_client, ticket } => {
            let ticket = render_ticket(ticket);
            let paced = if paced { " paced" } else { "" };
            let by_client = if by_client { " by-client" } else { "" };
            format!("{ticket} unsubscribe {}={id} {}{paced}{by_client}", subscription.0, render_target(&target))
        }
        Action::Forget { queue, ticket } => format!("{} forget {queue}", render_ticket(ticket)),
        Action::Opened(Opened { name, user, headers }) => {
            let headers: Vec<String> = headers.iter().map(|(name, value)| format!(" {name}:{value}")).collect();
            format!("opened {name} as {user:?}{}", headers.concat())
        }
        Action::Call { content, ticket } => {
            format!("{} call {}", render_ticket(ticket), render_operation(&Operation::Send(content)))
        }
        Action::Ask(ask) => {
            let headers: Vec<String> = ask.headers.iter().map(|(name, value)| format!(" {name}:{value}")).collect();
            let headers = headers.concat();
            format!(
                "{} ask {}={} {}{headers}",
                render_ticket(Some(ask.ticket)),
                ask.subscription.0,
                ask.id,
                ask.destination
            )
        }
        Action::Note(note) => format!("note {note:?}"),
        Action::Close(close) => format!("close {} {}", close.code as u16, close.reason),
    }
}

/// Of an ERROR only what programs look at; its texts have a test of their own.
fn render_frame(frame: &Frame) -> String {
    let is_error = frame.command == Command::Error;
    let mut text = frame.command.to_string();
    for (name, value) in frame.headers.iter() {
        if !is_error || !matches!(name, "message" | "content-type") {
            write!(text, " {name}:{value}").expect("a string takes all");
        }
    }
    text
}

fn render_message(outgoing: &Outgoing) -> String {
    let mut text = format!("MESSAGE {} {}", outgoing.id, outgoing.message.id.sequence);
    if let Some(ack) = &outgoing.ack {
        text += &format!(" ack:{ack}");
    }
    if outgoing.redeliveries > 0 {
        text += &format!(" redelivered:{}", outgoing.redeliveries);
    }
    if let Some(tag) = outgoing.settle_when_written {
        text += &format!(" settle-when-written:{}", tag.sequence);
    }
    text
}

fn render_operation(operation: &Operation) -> String {
    match operation {
        Operation::Send(content) => {
            let mut text = format!("send {}", content.destination);
            for (name, value) in content.headers.iter() {
                text += &format!(" {name}:{value}");
            }
            if let Some(terms) = &content.terms {
                text += &format!(" {{{}}}", render_terms(terms));
            }
            text += if content.exclude_origin { " (exclude-origin)" } else { "" };
            text += if content.mandatory { " (mandatory)" } else { "" };
            text += if content.is_text { " |" } else { " |binary|" };
            if content.body.is_empty() { text } else { text + " " + &String::from_utf8_lossy(&content.body) }
        }
        Operation::Settle(tags, outcome) => {
            let tags: Vec<String> = tags.iter().map(|tag| tag.sequence.to_string()).collect();
            format!("{outcome:?} {}", tags.join(","))
        }
    }
}

fn render_terms(terms: &Terms) -> String {
    let Terms { expires, due, priority, group, persistent, is_question, is_relayed } = terms;
    let moment = |moment: &Moment| match moment {
        Moment::After(span) => format!("+{}", span.as_millis()),
        Moment::At(epoch_ms) => format!("@{epoch_ms}"),
    };
    let parts = [
        expires.as_ref().map(|expires| format!("expires {}", moment(expires))),
        due.as_ref().map(|due| format!("due {}", moment(due))),
        priority.map(|priority| format!("priority {priority}")),
        group.as_ref().map(|group| format!("group {group}")),
        persistent.then(|| "persistent".into()),
        is_question.then(|| "question".into()),
        is_relayed.then(|| "relayed".into()),
    ];
    parts.into_iter().flatten().collect::<Vec<String>>().join(", ")
}

fn render_ticket(ticket: Option<Ticket>) -> String {
    ticket.map_or("#-".into(), |ticket| format!("#{}", ticket.0))
}

fn render_target(target: &Target) -> String {
    match target {
        Target::Topic(pattern) => format!("topic {pattern}"),
        Target::Queue(queue) => format!("queue {queue}"),
        Target::Own(stream) => match &stream.by_user {
            Some(by_user) => format!("own {} {by_user}", stream.by_session),
            None => format!("own {}", stream.by_session),
        },
        Target::Durable(binding) => {
            let exclusive = if binding.exclusive { " exclusive" } else { "" };
            format!("durable {} on {}{exclusive}", binding.queue, binding.topic)
        }
    }
}

/// With the broker's other limits, 3 KiB of memory are to do for a connected and subscribed client.
#[test]
fn a_session_is_small() {
    assert!(size_of::<Session>() <= 384, "{}", size_of::<Session>());
    let subscription = size_of::<subscription::Subscription>();
    assert!(subscription <= 128, "{subscription}");
}

#[test]
fn an_idle_session_keeps_no_memory_for_actions() {
    let mut player = Player::new(Options::default());
    player.happen("> CONNECT accept-version:1.2");
    assert_eq!(player.session.actions.capacity(), 0);
}
