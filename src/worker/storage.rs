//! A worker's way to the store, and the form of messages there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use super::hub::Hub;
use super::peers::Submission;
use super::post::Post;
use crate::broker::{Change, Command, History, UNAWAITED};
use crate::destination::Destination;
use crate::headers::Headers;
use crate::message::{Content, Message, MessageId, Moment, Refusal, SessionId, Terms, WorkerId};
use crate::store::{
    self, Answer, Asker, Busy, Found, Lookup, MarkRecord, MessageRecord, StateRecord, StoreOp, Submitter,
};

/// How long to wait until there may be room again: about what one commit takes.
const PAUSE: Duration = Duration::from_millis(2);

/// Changes that nobody waits for, in one submission at most.
const MAX_UNAWAITED: usize = 4096;

/// The priority of messages that say none.
const USUAL_PRIORITY: u8 = 4;

/// A worker's way to the store.
///
/// As with full inboxes, the worker never waits: what does not fit stays here, and the worker reads nothing from its
/// connections or its inbox until it fits. So what can gather here is what one turn makes, and what follows from the answers
/// of the store.
#[derive(Debug)]
pub(crate) struct Storage {
    own: WorkerId,
    submitter: Submitter,
    asker: Asker,
    left: VecDeque<store::Submission>,
    /// Whether somebody waits to try again.
    is_awaited: bool,
}

impl Storage {
    pub(crate) fn new(own: WorkerId, submitter: Submitter, asker: Asker) -> Storage {
        Storage { own, submitter, asker, left: VecDeque::new(), is_awaited: false }
    }

    /// Hands over what the hub has for the store.
    pub(super) fn send(&mut self, hub: &mut Hub) {
        for (ticket, sequences) in hub.take_lookups() {
            self.asker.ask(Lookup { from: self.own, ticket, sequences });
        }
        for Submission { ticket, changes } in hub.take_submissions() {
            let mut operations = changes.into_iter().map(operation);
            let (from, is_awaited) = (self.own, ticket != UNAWAITED);
            // What nobody waits for need not be stored at once, and there may be much of it.
            while !is_awaited && operations.len() > MAX_UNAWAITED {
                let operations = operations.by_ref().take(MAX_UNAWAITED).collect();
                self.left.push_back(store::Submission { from, ticket, operations, is_awaited });
            }
            let operations = operations.collect();
            self.left.push_back(store::Submission { from, ticket, operations, is_awaited });
        }
        self.hand_over();
    }

    /// Hands everything over, and waits until there is room for it. The worker has ended, and takes no answers any more.
    pub(super) fn finish(&mut self, hub: &mut Hub) {
        self.send(hub);
        while self.is_congested() {
            std::thread::sleep(PAUSE);
            self.hand_over();
        }
    }

    /// Tries again after [`Storage::pause`].
    pub(super) fn retry(&mut self) {
        self.is_awaited = false;
        self.hand_over();
    }

    /// Whether there was no room, so that nothing more should be taken on.
    pub(super) fn is_congested(&self) -> bool {
        !self.left.is_empty()
    }

    /// How long to wait before [`Storage::retry`], if nobody does yet.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        let waits = self.is_congested() && !self.is_awaited;
        self.is_awaited |= waits;
        waits.then_some(PAUSE)
    }

    fn hand_over(&mut self) {
        while let Some(submission) = self.left.pop_front() {
            if let Err(Busy(submission)) = self.submitter.submit(submission) {
                self.left.push_front(submission);
                return;
            }
        }
    }
}

/// What the store's answers are to a worker; those that nobody waits for are left out.
pub(crate) fn answers(answers: Vec<Answer>) -> Vec<Post> {
    let awaited = answers.into_iter().filter(|answer| answer.ticket != UNAWAITED);
    let post = |Answer { ticket, outcome }| {
        let refusal =
            |failure: store::Failure| Refusal::NotStored { code: failure.code(), why: failure.to_string().into() };
        Post::Command(Command::Stored { ticket, result: outcome.map_err(refusal) })
    };
    awaited.map(post).collect()
}

/// What the reader's answer is to a worker.
pub(crate) fn found(Found { ticket, messages }: Found) -> Post {
    let found = messages.into_iter().map(|message| message.map(|record| Arc::new(message_of(record)))).collect();
    Post::Command(Command::Fetched { queue: ticket, found })
}

/// A message or a durable subscription as the store has kept it, with what it has been through.
pub fn restored(record: MessageRecord, history: History) -> Post {
    let (sequence, queue) = (record.sequence, Destination::new(record.queue.clone()));
    Post::Command(if record.is_binding {
        Command::Rebind { queue, topic: record.topic.unwrap_or_default(), sequence }
    } else {
        Command::Restore { queue, message: Arc::new(message_of(record)), sequence, history }
    })
}

fn message_of(record: MessageRecord) -> Message {
    let MessageRecord { queue, topic, id, headers, body, is_text, expires_at, .. } = record;
    let terms = Terms {
        expires: expires_at.map(Moment::At),
        due: record.deliver_at.map(Moment::At),
        priority: (record.priority != USUAL_PRIORITY).then_some(record.priority),
        group: record.group,
        persistent: true,
        is_question: false,
        is_relayed: false,
    };
    let content = Content {
        destination: Destination::new(topic.unwrap_or(queue)),
        headers,
        body,
        is_text,
        exclude_origin: false,
        mandatory: false,
        terms: Some(Box::new(terms)),
    };
    // Its sender is gone, and no session ever has this key.
    let origin = SessionId { worker: WorkerId(0), key: 0 };
    Message { id, origin, content }
}

/// A change as the store takes it.
pub fn operation(change: Change) -> StoreOp {
    match change {
        Change::Append { sequence, queue, message, taken_at, expires_at } => {
            StoreOp::Append(Arc::new(record(sequence, &queue, &message, (taken_at, expires_at))))
        }
        Change::Bind { sequence, queue, topic, made_at } => {
            StoreOp::Append(Arc::new(binding(sequence, &queue, topic, made_at)))
        }
        Change::State { sequence, redeliveries, refused, not_before } => {
            StoreOp::State(StateRecord { sequence, redeliveries, refused, not_before })
        }
        Change::Delete { sequence } => StoreOp::Delete(sequence),
        Change::Mark { queue, up_to } => StoreOp::Mark(MarkRecord { queue: queue.text().clone(), up_to }),
    }
}

/// The form of a durable subscription: of a message only what it has to have.
fn binding(sequence: u64, queue: &Destination, topic: ByteString, made_at: u64) -> MessageRecord {
    MessageRecord {
        sequence,
        queue: queue.text().clone(),
        topic: Some(topic),
        is_binding: true,
        id: MessageId { boot: 0, worker: WorkerId(0), sequence: 0 },
        headers: Headers::default(),
        body: Bytes::new(),
        is_text: false,
        enqueued_at: made_at,
        expires_at: None,
        deliver_at: None,
        priority: USUAL_PRIORITY,
        group: None,
    }
}

fn record(
    sequence: u64,
    queue: &Destination,
    message: &Message,
    (taken_at, expires_at): (u64, Option<u64>),
) -> MessageRecord {
    let content = &message.content;
    let terms = content.terms.as_deref();
    MessageRecord {
        sequence,
        queue: queue.text().clone(),
        topic: (*queue != content.destination).then(|| content.destination.text().clone()),
        is_binding: false,
        id: message.id,
        headers: content.headers.clone(),
        body: content.body.clone(),
        is_text: content.is_text,
        enqueued_at: taken_at,
        expires_at,
        deliver_at: terms.and_then(|terms| terms.due).map(|due| due.epoch_ms(taken_at)),
        priority: terms.and_then(|terms| terms.priority).unwrap_or(USUAL_PRIORITY),
        group: terms.and_then(|terms| terms.group.clone()),
    }
}
