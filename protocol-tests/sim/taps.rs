//! Faults between the broker and its clients, to prove that the model would notice them: what a client receives is changed,
//! what it sends loses a header, or the broker is told of other policies than those that the model knows.

use std::time::Duration;

use gumboot::app::Done;

use crate::lasting::LASTING;
use crate::laws::Law;
use crate::model::Session;
use crate::policy::{Overflow, Policy};
use crate::setup::{LastingRules, Setup};
use crate::wire::{Frame, Received};

/// What a tap does: to what is received once, to the rest always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    DropTopicMessage,
    DropQueueMessage,
    DoubleMessage,
    SwapMessages,
    SwapReceipts,
    DropReceipt,
    MiscountMatched,
    ForgetRedelivered,
    OtherSubscription,
    OtherBody,
    DropError,
    SpuriousError,
    HideFromBrowser,
    OtherReplyTo,
    ShowFullName,
    OtherReason,
    /// What is for one user goes to another,
    OtherUser,
    /// or is lost.
    DropUserMessage,
    /// What is for a user shows who that is.
    ShowUser,
    /// Something that a durable subscription kept is lost.
    DropKept,
    /// What should end a durable subscription ends only the session's part of it.
    ForgetNothing,
    /// A dead letter of a durable subscription is lost,
    DropLetter,
    /// or is said to be another's.
    OtherOrigin,
    /// These headers of what clients send are never read,
    Ignore(&'static [&'static str]),
    /// or not where they are sent to topics.
    IgnoreOfTopics(&'static [&'static str]),
    /// The broker does not know this part of its policies.
    Misread(Rule),
    /// After a restart, a message that was there before seems new.
    ForgetRestored,
    /// The answers of handlers do this.
    Answer(Answering),
    /// The disk does this.
    Lie(Lie),
}

/// What handlers may be made to do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answering {
    /// What they send reaches nobody,
    Nobody,
    /// comes twice,
    Twice,
    /// or comes to everybody instead of the one who asked.
    Everybody,
}

/// What a disk may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It says that something is stored that it only has in memory.
    AnswersEarly,
    /// What is settled stays.
    KeepsSettled,
    /// After a restart the messages are in another order.
    Reorders,
    /// Of several changes that are to be stored together, it stores one.
    StoresHalf,
    /// It forgets when messages are no longer wanted.
    ForgetsEnds,
    /// When it is full, nobody hears of it.
    SaysNothing,
    /// After a restart there are no durable subscriptions.
    LosesBindings,
    /// Durable subscriptions never end.
    KeepsBindings,
    /// What a durable subscription has given up is there beside its dead letter.
    KeepsDead,
    /// What is read back is each time another message,
    MixesUp,
    /// half of one,
    ReadsHalf,
    /// none,
    ReadsNothing,
    /// or it is never said.
    NeverReads,
}

/// A part of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Limits,
    Overflow,
    MaxDeliveries,
    Redelivery,
    MaxDelay,
    Ttl,
    WhenExpired,
    IdleExpiry,
    Priority,
    Exclusive,
    Active,
    Prefetch,
    /// How much durable subscriptions keep, which of it, and how long.
    Kept,
    KeptOverflow,
    KeptExpiry,
    /// How often queues without policies and durable subscriptions hand a message out.
    UsualDeliveries,
    /// How much of a queue is in memory.
    Memory,
}

impl Fault {
    /// All faults, and as what the model reports each.
    pub(crate) const ALL: [(Fault, &[Law]); 67] = [
        (Fault::DropTopicMessage, &[Law::Lost]),
        (Fault::DropQueueMessage, &[Law::Lost, Law::Stuck, Law::Order]),
        (Fault::DoubleMessage, &[Law::Duplicate, Law::TwoConsumers, Law::Browse]),
        (Fault::SwapMessages, &[Law::Order, Law::Browse]),
        (Fault::SwapReceipts, &[Law::Receipt]),
        (Fault::DropReceipt, &[Law::Receipt]),
        (Fault::MiscountMatched, &[Law::Receipt]),
        (Fault::ForgetRedelivered, &[Law::Redelivery, Law::Order, Law::TwoConsumers]),
        (Fault::OtherSubscription, &[Law::Stray]),
        (Fault::OtherBody, &[Law::Stray]),
        (Fault::DropError, &[Law::Refusal, Law::Receipt]),
        (Fault::SpuriousError, &[Law::Refusal]),
        (Fault::HideFromBrowser, &[Law::Browse]),
        (Fault::OtherReplyTo, &[Law::Temporary]),
        (Fault::ShowFullName, &[Law::Stray]),
        (Fault::OtherReason, &[Law::DeadLetter]),
        (Fault::Ignore(&["expires", "expiration"]), &[Law::Expiry, Law::Browse, Law::DeadLetter]),
        (
            Fault::Ignore(&["delay", "AMQ_SCHEDULED_DELAY", "deliver-at"]),
            &[Law::Delay, Law::Redelivery, Law::Limit, Law::Browse, Law::Order],
        ),
        (Fault::Ignore(&["group", "JMSXGroupID"]), &[Law::Group]),
        (Fault::Ignore(&["priority"]), &[Law::Order]),
        (Fault::Ignore(&["requeue"]), &[Law::DeadLetter, Law::Redelivery, Law::Stuck]),
        (Fault::Ignore(&["browser"]), &[Law::Browse, Law::Stuck, Law::Refusal, Law::Order, Law::Lost]),
        (Fault::Ignore(&["no-local"]), &[Law::Stray]),
        (Fault::Misread(Rule::Limits), &[Law::Limit]),
        (Fault::Misread(Rule::Overflow), &[Law::Refusal]),
        (Fault::Misread(Rule::MaxDeliveries), &[Law::DeadLetter]),
        (Fault::Misread(Rule::Redelivery), &[Law::Redelivery]),
        (Fault::Misread(Rule::MaxDelay), &[Law::Limit, Law::Order]),
        (Fault::Misread(Rule::Ttl), &[Law::Expiry, Law::Browse]),
        (Fault::Misread(Rule::WhenExpired), &[Law::DeadLetter, Law::Lost]),
        (Fault::Misread(Rule::IdleExpiry), &[Law::Idle]),
        (Fault::Misread(Rule::Priority), &[Law::Order]),
        (Fault::Misread(Rule::Exclusive), &[Law::Exclusive]),
        (Fault::Misread(Rule::Active), &[Law::Active]),
        (Fault::Misread(Rule::Prefetch), &[Law::Credit]),
        (Fault::ForgetRestored, &[Law::Redelivery, Law::Order, Law::TwoConsumers]),
        (Fault::Lie(Lie::AnswersEarly), &[Law::Lost, Law::Duplicate, Law::Receipt, Law::Stuck]),
        (Fault::Lie(Lie::KeepsSettled), &[Law::Duplicate, Law::TwoConsumers, Law::Refusal, Law::Idle, Law::Browse]),
        (Fault::Lie(Lie::Reorders), &[Law::Order, Law::Browse, Law::Stuck]),
        (
            Fault::Lie(Lie::StoresHalf),
            &[
                Law::Lost,
                Law::Transaction,
                Law::Duplicate,
                Law::TwoConsumers,
                Law::Stuck,
                Law::Redelivery,
                Law::DeadLetter,
                Law::Receipt,
            ],
        ),
        (Fault::Lie(Lie::ForgetsEnds), &[Law::Expiry, Law::Browse]),
        (Fault::Lie(Lie::SaysNothing), &[Law::Receipt, Law::Stuck, Law::Idle]),
        (Fault::DropKept, &[Law::Lost, Law::Stuck]),
        (Fault::DropLetter, &[Law::Lost, Law::Stuck]),
        (Fault::OtherOrigin, &[Law::Stray]),
        (Fault::IgnoreOfTopics(&["expires", "expiration"]), &[Law::Expiry]),
        (Fault::Misread(Rule::UsualDeliveries), &[Law::DeadLetter, Law::Stuck, Law::Lost]),
        (Fault::Lie(Lie::KeepsDead), &[Law::DeadLetter, Law::Duplicate]),
        (Fault::ForgetNothing, &[Law::Durable, Law::Receipt]),
        (
            Fault::Ignore(&["durable", "durable-subscription-name", "activemq.subscriptionName"]),
            &[Law::Durable, Law::Receipt],
        ),
        (Fault::Lie(Lie::LosesBindings), &[Law::Durable, Law::Receipt]),
        (Fault::Lie(Lie::KeepsBindings), &[Law::Durable, Law::Receipt]),
        (Fault::Misread(Rule::Kept), &[Law::Limit]),
        (Fault::Misread(Rule::KeptOverflow), &[Law::Receipt]),
        (Fault::Misread(Rule::KeptExpiry), &[Law::Idle]),
        (Fault::Misread(Rule::Memory), &[Law::Limit]),
        (Fault::Answer(Answering::Nobody), &[Law::Lost, Law::Application]),
        (Fault::Answer(Answering::Twice), &[Law::Duplicate, Law::Application, Law::Stray]),
        (Fault::Answer(Answering::Everybody), &[Law::Stray, Law::Lost]),
        (Fault::OtherUser, &[Law::User, Law::Receipt, Law::Lost]),
        (Fault::DropUserMessage, &[Law::Lost]),
        (Fault::ShowUser, &[Law::Stray]),
        (Fault::Ignore(&["login"]), &[Law::User]),
        (Fault::Lie(Lie::MixesUp), &[Law::Order, Law::Stray, Law::Redelivery, Law::Duplicate]),
        (Fault::Lie(Lie::ReadsHalf), &[Law::Stray]),
        (Fault::Lie(Lie::ReadsNothing), &[Law::Stuck, Law::Lost, Law::Order]),
        (Fault::Lie(Lie::NeverReads), &[Law::Stuck, Law::Lost]),
    ];
}

/// What is sent to one user.
const ANN: &str = "/user/ann/";

/// By these headers an UNSUBSCRIBE ends a durable subscription.
const FORGETTING: [&str; 3] = ["durable", "durable-subscription-name", "activemq.subscriptionName"];

/// Sits between the broker and the model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tap {
    fault: Option<Fault>,
    pub(crate) has_acted: bool,
}

impl Tap {
    pub(crate) fn new(fault: Fault) -> Tap {
        Tap { fault: Some(fault), has_acted: false }
    }

    /// What the disk does wrong.
    pub(crate) fn lie(&self) -> Option<Lie> {
        if let Some(Fault::Lie(lie)) = self.fault { Some(lie) } else { None }
    }

    /// Perhaps changes what a handler has done.
    pub(crate) fn answer(&mut self, done: &mut Done) {
        if let Some(Fault::Answer(answering)) = self.fault.filter(|_| !self.has_acted) {
            self.has_acted = answering.apply(done);
        }
    }

    /// What the broker is told instead.
    pub(crate) fn misread(&mut self, setup: &Setup) -> Setup {
        let mut told = setup.clone();
        if let Some(Fault::Misread(rule)) = self.fault {
            for policy in told.policies() {
                self.has_acted |= misread(policy, rule);
            }
            misread_lasting(&mut told.lasting, rule);
            told.hand_out_again(u32::from(rule == Rule::UsualDeliveries));
            self.has_acted |= told.lasting != setup.lasting || rule == Rule::UsualDeliveries;
        }
        told
    }

    /// Perhaps changes what a client is about to send.
    pub(crate) fn send(&mut self, frame: &mut Frame) {
        if self.fault == Some(Fault::OtherUser) && frame.command == "SEND" {
            for (_, to) in frame.headers.iter_mut().filter(|(name, to)| name == "destination" && to.starts_with(ANN)) {
                *to = to.replacen(ANN, "/user/queue/", 1);
                self.has_acted = true;
            }
        }
        let ignored: &[&str] = match self.fault {
            Some(Fault::Ignore(names)) => names,
            Some(Fault::IgnoreOfTopics(names)) if is_for_topic(frame) => names,
            Some(Fault::ForgetNothing) if frame.command == "UNSUBSCRIBE" => &FORGETTING,
            _ => &[],
        };
        if !ignored.is_empty() {
            let before = frame.headers.len();
            frame.headers.retain(|(name, _)| !ignored.contains(&&**name));
            self.has_acted |= frame.headers.len() < before;
        }
    }

    /// Perhaps changes what a client is about to receive.
    pub(crate) fn apply(&mut self, batch: &mut Vec<Received>, session: &Session) {
        let Some(fault) = self.fault.filter(|_| !self.has_acted && session.is_sound()) else {
            return;
        };
        self.has_acted = match fault {
            Fault::DropTopicMessage => drop_first(batch, |frame| is_message(frame, "/topic/") && !is_kept(frame)),
            Fault::DropQueueMessage => drop_first(batch, |frame| is_message(frame, "/queue/")),
            Fault::DropKept => drop_first(batch, is_kept),
            Fault::DropLetter => drop_first(batch, is_letter),
            Fault::OtherOrigin => alter(batch, misname),
            Fault::DropUserMessage => drop_first(batch, |frame| is_message(frame, "/user/")),
            Fault::ShowUser => alter(batch, |frame| {
                let is_it = is_message(frame, "/user/") && session.user.is_some();
                let user = format!("/user/{}", session.user.unwrap_or_default());
                let headers = frame.headers.iter_mut().filter(|(name, _)| is_it && name == "destination");
                headers.map(|(_, stream)| *stream = stream.replace("/user", &user)).count() > 0
            }),
            Fault::DropReceipt => drop_first(batch, |frame| frame.command == "RECEIPT"),
            Fault::DropError => drop_first(batch, |frame| frame.command == "ERROR"),
            Fault::DoubleMessage => double(batch),
            Fault::SwapMessages => swap(batch, |first, second| {
                let same = |name| first.header(name) == second.header(name);
                is_message(first, "/") && ["subscription", "destination", "from", "priority"].into_iter().all(same)
            }),
            Fault::SwapReceipts => {
                swap(batch, |first, second| first.command == "RECEIPT" && second.command == "RECEIPT")
            }
            Fault::MiscountMatched => change(batch, "matched", |_| "77".into()),
            Fault::OtherSubscription => change(batch, "subscription", |id| format!("{id}x")),
            Fault::ForgetRedelivered => alter(batch, |frame| {
                let before = frame.headers.len();
                frame.headers.retain(|(name, _)| !name.starts_with("redeliver"));
                frame.headers.len() < before
            }),
            Fault::OtherBody => alter(batch, |frame| {
                let first = frame.body.first_mut().filter(|_| frame.command == "MESSAGE");
                first.map(|octet| *octet ^= 1).is_some()
            }),
            Fault::SpuriousError => {
                let error = Frame::new("ERROR").with("message", "none").with("code", "slow-consumer");
                batch.push(Received::Frame(error));
                true
            }
            Fault::HideFromBrowser => hide_from_browser(batch),
            Fault::OtherReplyTo => change(batch, "reply-to", |queue| format!("{queue}x")),
            Fault::ShowFullName => alter(batch, |frame| {
                let is_it = is_message(frame, "/temp-queue/");
                let headers = frame.headers.iter_mut().filter(|(name, _)| is_it && name == "destination");
                headers.map(|(_, queue)| *queue = queue.replace("/temp-queue", "/temp-queue/@1")).count() > 0
            }),
            Fault::OtherReason => change(batch, "dead-letter-reason", |reason| {
                if reason == "discarded" { "max-deliveries".into() } else { "discarded".into() }
            }),
            Fault::ForgetRestored => alter(batch, |frame| {
                let is_it = session.restarts > 0 && frame.header("redelivery-count") == Some("1");
                frame.headers.retain(|(name, _)| !is_it || !name.starts_with("redeliver"));
                is_it
            }),
            Fault::OtherUser
            | Fault::ForgetNothing
            | Fault::Answer(_)
            | Fault::Ignore(_)
            | Fault::IgnoreOfTopics(_)
            | Fault::Misread(_)
            | Fault::Lie(_) => false,
        };
    }
}

/// Forgets a rule. Answers whether it said something.
fn misread(policy: &mut Policy, rule: Rule) -> bool {
    let before = format!("{policy:?}");
    let forever = Duration::from_secs(1_000_000);
    match rule {
        Rule::Limits => (policy.max_messages, policy.max_bytes) = (1_000_000, 1 << 30),
        Rule::Overflow => policy.overflow = Overflow::Reject,
        Rule::MaxDeliveries => policy.max_deliveries += 1,
        Rule::Redelivery => policy.redelivery_delay = Duration::ZERO,
        Rule::MaxDelay => policy.max_delay = forever,
        Rule::Ttl => policy.ttl = None,
        Rule::WhenExpired => policy.drops_expired ^= true,
        Rule::IdleExpiry => policy.idle_expiry = policy.idle_expiry.map(|_| forever),
        Rule::Priority => policy.has_priorities = false,
        Rule::Exclusive => policy.is_exclusive = false,
        Rule::Active => policy.has_one_active = false,
        Rule::Prefetch => policy.prefetch = policy.prefetch.map(|_| 8),
        Rule::Memory => policy.memory = 1 << 30,
        Rule::Kept | Rule::KeptOverflow | Rule::KeptExpiry | Rule::UsualDeliveries => {}
    }
    before != format!("{policy:?}")
}

fn misread_lasting(rules: &mut LastingRules, rule: Rule) {
    match rule {
        Rule::Kept => rules.max_messages = 1_000_000,
        Rule::KeptOverflow => rules.drops_oldest = false,
        Rule::KeptExpiry => rules.idle_expiry = None,
        _ => {}
    }
}

fn is_message(frame: &Frame, prefix: &str) -> bool {
    frame.command == "MESSAGE" && frame.header("destination").is_some_and(|to| to.starts_with(prefix))
}

/// Whether it is what a durable subscription kept.
fn is_kept(frame: &Frame) -> bool {
    let id = frame.header("subscription").filter(|_| is_message(frame, "/topic/"));
    LASTING.iter().any(|known| Some(known.id) == id)
}

/// Says of a dead letter that it was another's. Answers whether it is one.
fn misname(frame: &mut Frame) -> bool {
    let is_it = is_letter(frame);
    let headers = frame.headers.iter_mut().filter(|(name, _)| is_it && name == "original-destination");
    headers.map(|(_, topic)| topic.push('x')).count() > 0
}

/// Whether it is a dead letter of what a durable subscription kept.
fn is_letter(frame: &Frame) -> bool {
    is_message(frame, "/queue/") && frame.header("original-destination").is_some_and(|from| from.starts_with("/topic/"))
}

fn is_for_topic(frame: &Frame) -> bool {
    let is_topic = |to: &str| to.starts_with("/topic/") || to == "/app/to-topic";
    frame.command == "SEND" && frame.header("destination").is_some_and(is_topic)
}

fn find(batch: &[Received], is_it: impl Fn(&Frame) -> bool) -> Option<usize> {
    batch.iter().position(|received| matches!(received, Received::Frame(frame) if is_it(frame)))
}

fn drop_first(batch: &mut Vec<Received>, is_it: impl Fn(&Frame) -> bool) -> bool {
    find(batch, is_it).map(|at| batch.remove(at)).is_some()
}

fn double(batch: &mut Vec<Received>) -> bool {
    let at = find(batch, |frame| frame.command == "MESSAGE");
    let copy = at.map(|at| (at, batch[at].clone()));
    copy.map(|(at, copy)| batch.insert(at, copy)).is_some()
}

/// Drops something that comes before the end of a look.
fn hide_from_browser(batch: &mut Vec<Received>) -> bool {
    let Some(end) = find(batch, |frame| frame.header("browser") == Some("end")) else {
        return false;
    };
    let Received::Frame(last) = batch[end].clone() else { return false };
    let is_shown =
        |frame: &Frame| is_message(frame, "/") && frame.header("subscription") == last.header("subscription");
    drop_first(batch, |frame| is_shown(frame) && frame.header("browser").is_none())
}

fn swap(batch: &mut [Received], are_they: impl Fn(&Frame, &Frame) -> bool) -> bool {
    let pairs = |at: &usize| match &batch[*at..*at + 2] {
        [Received::Frame(first), Received::Frame(second)] => are_they(first, second),
        _ => false,
    };
    let at = (0..batch.len().saturating_sub(1)).find(pairs);
    at.map(|at| batch.swap(at, at + 1)).is_some()
}

fn alter(batch: &mut [Received], mut alter: impl FnMut(&mut Frame) -> bool) -> bool {
    batch.iter_mut().any(|received| match received {
        Received::Frame(frame) => alter(frame),
        _ => false,
    })
}

fn change(batch: &mut [Received], name: &str, value: impl Fn(&str) -> String) -> bool {
    alter(batch, |frame| {
        let header = frame.headers.iter_mut().find(|(own, _)| own == name);
        header.map(|(_, own)| *own = value(own)).is_some()
    })
}
