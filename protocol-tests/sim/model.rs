//! What is true in a run, as far as its clients can know: an account kept from what they sent and what they received. It
//! knows the contract and nothing of how the broker keeps it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::applications::Question;
use crate::browse::Look;
use crate::lasting::{Ending, LASTING, Lasting};
use crate::message::{Fate, Hold, Message, Outcome};
use crate::order::Overtaken;
use crate::policy::{DEAD_LETTERS, GRAVE, is_queue, is_temporary};
use crate::setup::Setup;
use crate::wire::Version;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ack {
    Auto,
    Client,
    Individual,
}

/// A delivery that its client has yet to settle.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) message: usize,
    pub(crate) ack: Option<String>,
    pub(crate) transaction: Option<String>,
}

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) session: usize,
    pub(crate) id: String,
    pub(crate) destination: &'static str,
    pub(crate) ack: Ack,
    pub(crate) credit: usize,
    pub(crate) no_local: bool,
    /// Its RECEIPT has come.
    pub(crate) is_live: bool,
    /// Its client has asked for its end.
    pub(crate) is_ending: bool,
    /// Its end is certain.
    pub(crate) is_dead: bool,
    /// Once it ran out of credit, topics may have dropped messages for it.
    pub(crate) was_short: bool,
    /// How many deliveries the broker may take for unsettled: an ACK that is not confirmed has perhaps not come there.
    pub(crate) outstanding: usize,
    pub(crate) unsettled: Vec<Handed>,
    /// How many it has that its client never settles.
    pub(crate) unsettling: usize,
    /// In mode `auto`: its client said goodbye, and may not have read what was on its way by then.
    pub(crate) is_at_risk: bool,
    /// When its client asked for it and heard that it is there, by a count of such events.
    pub(crate) asked_at: usize,
    pub(crate) granted_at: Option<usize>,
    /// There may have been another consumer of its queue when its client asked.
    pub(crate) has_rival: bool,
    /// It was dead when all was quiet the last time.
    pub(crate) is_buried: bool,
    /// It only looks at the queue.
    pub(crate) look: Option<Look>,
    /// The durable subscription that it is a session's part of.
    pub(crate) lasting: Option<usize>,
}

impl Subscription {
    /// A subscription that its client is about to ask for.
    pub(crate) fn new(session: usize, id: &str, destination: &'static str, ack: Ack, credit: usize) -> Subscription {
        Subscription {
            session,
            id: id.to_owned(),
            destination,
            ack,
            credit,
            no_local: false,
            is_live: false,
            is_ending: false,
            is_dead: false,
            was_short: false,
            outstanding: 0,
            unsettled: Vec::new(),
            unsettling: 0,
            is_at_risk: false,
            asked_at: 0,
            granted_at: None,
            has_rival: false,
            is_buried: false,
            look: None,
            lasting: None,
        }
    }

    pub(crate) fn is_queue(&self) -> bool {
        is_queue(self.destination)
    }

    /// Whether it takes messages from the queue where `message` is.
    pub(crate) fn consumes(&self, message: &Message) -> bool {
        self.look.is_none()
            && self.destination == message.place
            && (!message.is_temporary() || message.owner == Some(self.session))
    }

    /// Whether it consumes from the same queue as another one.
    pub(crate) fn rivals(&self, other: &Subscription) -> bool {
        self.destination == other.destination && self.look.is_none()
    }

    /// Whether it leaves a message to others because its own client has sent it.
    pub(crate) fn shuns(&self, message: &Message) -> bool {
        self.no_local && self.session == message.origin
    }
}

/// What a frame does.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Nothing,
    Send(usize),
    /// A subscription begins, and perhaps another ends for it.
    Subscribe(usize, Option<usize>),
    Unsubscribe(usize),
    Forget(Ending),
    /// A handler is asked for something.
    Call,
    Settle(usize, Vec<usize>, Outcome),
    Commit(usize),
    Disconnect,
}

/// What a transaction holds until its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) sends: Vec<usize>,
    pub(crate) settles: Vec<(usize, Vec<usize>, Outcome)>,
    /// Whether it was to settle for a subscription that has ended, so that it cannot be committed.
    pub(crate) is_broken: bool,
}

/// A client's connection and session.
#[derive(Debug)]
pub(crate) struct Session {
    /// What the broker calls it.
    pub(crate) name: Option<String>,
    /// What it calls itself, for durable subscriptions.
    pub(crate) client: Option<&'static str>,
    pub(crate) user: Option<&'static str>,
    /// How much it asked handlers for, and how often one said no.
    pub(crate) calls: usize,
    pub(crate) failures: usize,
    pub(crate) version: Version,
    pub(crate) continues: bool,
    pub(crate) connected: bool,
    /// It ends by DISCONNECT.
    pub(crate) is_leaving: bool,
    /// The RECEIPT of that has come.
    pub(crate) has_left: bool,
    /// It broke a rule, and will be told.
    pub(crate) is_doomed: bool,
    /// It got an ERROR that ends it.
    pub(crate) has_failed: bool,
    /// Its connection is gone or going.
    pub(crate) is_over: bool,
    pub(crate) is_stalled: bool,
    pub(crate) was_stalled: bool,
    /// It had read all there was when all was quiet the last time.
    pub(crate) is_up_to_date: bool,
    pub(crate) is_silent: bool,
    /// It got an ERROR about nobody knows which of its frames.
    pub(crate) is_in_doubt: bool,
    /// It may be closed without a word.
    pub(crate) may_vanish: bool,
    /// How many headers that no queue understands it sent and survives, and was not told of: they have the code of worse ones.
    pub(crate) forgiven: usize,
    /// The codes of ERRORs that it has earned.
    pub(crate) earned: BTreeSet<&'static str>,
    pub(crate) pending: VecDeque<(String, Effect)>,
    /// Effects of frames without a receipt.
    pub(crate) unconfirmed: Vec<Effect>,
    pub(crate) transactions: BTreeMap<String, Transaction>,
    pub(crate) receipts: usize,
    /// How often the broker had begun anew when it came.
    pub(crate) restarts: usize,
    pub(crate) beat: Option<Duration>,
    pub(crate) last_received: Duration,
    pub(crate) transcript: Vec<String>,
}

impl Session {
    fn new(version: Version, continues: bool) -> Session {
        Session {
            name: None,
            client: None,
            user: None,
            calls: 0,
            failures: 0,
            version,
            continues,
            connected: false,
            is_leaving: false,
            has_left: false,
            is_doomed: false,
            has_failed: false,
            is_over: false,
            is_stalled: false,
            was_stalled: false,
            is_up_to_date: true,
            is_silent: false,
            is_in_doubt: false,
            may_vanish: false,
            forgiven: 0,
            earned: BTreeSet::from(["connect-timeout"]),
            pending: VecDeque::new(),
            unconfirmed: Vec::new(),
            transactions: BTreeMap::new(),
            receipts: 0,
            restarts: 0,
            beat: None,
            last_received: Duration::ZERO,
            transcript: Vec::new(),
        }
    }

    /// Whether nothing speaks against its being there.
    pub(crate) fn is_sound(&self) -> bool {
        self.connected && !self.is_leaving && !self.is_doomed && !self.has_failed && !self.is_over && !self.is_stalled
    }
}

/// Names messages that keep their order: a session and its subscription's id, who sent them and where to, their rank,
/// their group and the way they came.
type Sequence = (usize, String, usize, &'static str, (u8, Option<&'static str>, &'static str));

/// The whole account.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) setup: Setup,
    /// Time since the start.
    pub(crate) now: Duration,
    pub(crate) sessions: Vec<Session>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) messages: Vec<Message>,
    pub(crate) commits: Vec<Transaction>,
    /// What is known of each durable subscription.
    pub(crate) lasting: Vec<Lasting>,
    /// Of which durable subscription a copy of a message may die.
    pub(crate) dying: BTreeMap<usize, usize>,
    /// What handlers were asked.
    pub(crate) questions: Vec<Question>,
    pub(crate) orders: usize,
    /// The message of each message-id.
    pub(crate) ids: BTreeMap<String, usize>,
    /// What each subscription id of each session got of topics.
    pub(crate) got: BTreeSet<(usize, String, usize)>,
    /// The place of the last message by subscription id, origin, destination, rank and group.
    pub(crate) last: BTreeMap<Sequence, usize>,
    /// Messages that came to somebody else while this subscription, whose client does not read, may have them.
    pub(crate) suspects: Vec<(usize, usize)>,
    /// Messages that were consumed since all was quiet: word of it may not have come to their queue.
    pub(crate) lingering: BTreeSet<usize>,
    /// Messages that came out of the dead letters since then, and the queues that gave them up: those may not have heard that
    /// the dead letters took them, and count them until then.
    pub(crate) given_up: BTreeSet<(usize, &'static str)>,
    /// Queues that may have been full.
    pub(crate) full: BTreeSet<&'static str>,
    /// How often all was quiet.
    pub(crate) quiets: usize,
    /// How many subscriptions were asked for and granted.
    pub(crate) events: usize,
    /// Which subscription has a queue's group.
    pub(crate) groups: BTreeMap<(&'static str, &'static str), usize>,
    /// Groups that some subscription may have without anybody knowing.
    pub(crate) groups_in_doubt: BTreeSet<(&'static str, &'static str)>,
    /// Messages that seem to have been passed over.
    pub(crate) overtaken: Vec<Overtaken>,
    /// Queues that somebody used since all was quiet.
    pub(crate) touched: BTreeSet<&'static str>,
    /// Since when queues are without messages and consumers, and when they last were not.
    pub(crate) idle: BTreeMap<String, Duration>,
    pub(crate) busy: BTreeMap<String, Duration>,
    /// How often the broker began anew.
    pub(crate) restarts: usize,
    /// The last subscription that was asked for before that, by the count of such events.
    pub(crate) crashed_at: usize,
    /// Whether the disk ever failed; and since when it is full.
    pub(crate) has_failed_disk: bool,
    /// When it was last about to fail, by the count of events.
    pub(crate) unsound_at: Option<usize>,
    pub(crate) full_since: Option<usize>,
    /// The messages of each queue that were there when nobody but a last consumer was, once that is so.
    pub(crate) remains: Option<BTreeMap<&'static str, BTreeSet<usize>>>,
}

impl Model {
    pub(crate) fn new(setup: Setup) -> Model {
        Model {
            setup,
            now: Duration::ZERO,
            sessions: Vec::new(),
            subscriptions: Vec::new(),
            messages: Vec::new(),
            commits: Vec::new(),
            questions: Vec::new(),
            dying: BTreeMap::new(),
            lasting: vec![Lasting::default(); LASTING.len()],
            orders: 0,
            ids: BTreeMap::new(),
            got: BTreeSet::new(),
            last: BTreeMap::new(),
            suspects: Vec::new(),
            lingering: BTreeSet::new(),
            given_up: BTreeSet::new(),
            full: BTreeSet::new(),
            quiets: 0,
            events: 0,
            groups: BTreeMap::new(),
            groups_in_doubt: BTreeSet::new(),
            overtaken: Vec::new(),
            touched: BTreeSet::new(),
            idle: BTreeMap::new(),
            busy: BTreeMap::new(),
            restarts: 0,
            crashed_at: 0,
            has_failed_disk: false,
            unsound_at: None,
            full_since: None,
            remains: None,
        }
    }

    pub(crate) fn open(&mut self, version: Version, continues: bool) -> usize {
        let mut session = Session::new(version, continues);
        session.last_received = self.now;
        session.restarts = self.restarts;
        self.sessions.push(session);
        self.sessions.len() - 1
    }

    /// A client sends a message, or puts it into its transaction.
    pub(crate) fn send(&mut self, message: Message, transaction: Option<&str>) -> usize {
        let number = self.messages.len();
        let origin = message.origin;
        self.messages.push(message);
        match transaction.and_then(|name| self.sessions[origin].transactions.get_mut(name)) {
            Some(transaction) => transaction.sends.push(number),
            None => self.release(number),
        }
        number
    }

    /// From now on a message may be in the world.
    fn release(&mut self, number: usize) {
        self.orders += 1;
        self.messages[number].entered = self.now;
        self.messages[number].sent_at = self.quiets;
        self.messages[number].found_full = self.full_since;
        self.events += 1;
        self.messages[number].sent_event = self.events;
        let kept = self.copy(number);
        let message = &self.messages[number];
        let matches = |each: &&Subscription| !each.is_dead && self.wants(each, message);
        let most = self.subscriptions.iter().filter(matches).count() + kept;
        let wanted = self.subscriptions.iter().enumerate().filter(|(_, each)| {
            each.is_live
                && !each.is_ending
                && self.wants(each, message)
                && self.sessions[each.session].is_sound_or_stalled()
        });
        let wanted: Vec<usize> = wanted.map(|(number, _)| number).collect();
        let is_expected = !wanted.is_empty();
        let wanted = if message.is_for_queue() { Vec::new() } else { wanted };
        let (order, place, known) = (self.orders, message.destination, self.subscriptions.len());
        let message = &mut self.messages[number];
        (message.known, message.is_expected) = (known, is_expected);
        (message.fate, message.order, message.most, message.wanted) = (Fate::Possible, order, most, wanted);
        self.touched.insert(place);
        for place in [place, DEAD_LETTERS, GRAVE] {
            self.note_fullness(place);
        }
    }

    /// Whether a topic's message is for a subscription.
    pub(crate) fn wants(&self, subscription: &Subscription, message: &Message) -> bool {
        if subscription.lasting.is_some() {
            return false;
        }
        let is_own = subscription.session == message.origin;
        if is_temporary(message.destination) {
            let is_theirs = message.owner == Some(subscription.session);
            return is_theirs && subscription.destination == message.destination && subscription.look.is_none();
        }
        !message.is_for_queue()
            && takes(subscription.destination, message.destination)
            && self.is_addressed(subscription, message)
            && !(is_own && (subscription.no_local || message.excludes_self))
    }

    pub(crate) fn subscribe(&mut self, mut subscription: Subscription) -> Effect {
        self.events += 1;
        subscription.asked_at = self.events;
        subscription.has_rival = self.subscriptions.iter().any(|each| !each.is_buried && each.rivals(&subscription));
        self.touched.insert(subscription.destination);
        let (session, destination) = (subscription.session, subscription.destination);
        if let Some(lasting) = subscription.lasting {
            subscription.has_rival = self.has_rival(session, lasting);
        }
        // What a `reply-to` has made ends when its client subscribes.
        let made = || is_temporary(destination).then(|| self.live_subscription(session, destination)).flatten();
        let earlier = self.live_subscription(session, &subscription.id).or_else(made);
        self.subscriptions.push(subscription);
        let number = self.subscriptions.len() - 1;
        if let Some(earlier) = earlier {
            self.end_subscription(earlier);
        }
        self.attach_part(number);
        Effect::Subscribe(number, earlier)
    }

    /// The subscription of this id that its client has not ended.
    pub(crate) fn live_subscription(&self, session: usize, id: &str) -> Option<usize> {
        self.subscriptions.iter().position(|each| each.session == session && each.id == id && !each.is_ending)
    }

    /// Its client wants no more: what is unsettled returns, also out of open transactions.
    pub(crate) fn end_subscription(&mut self, number: usize) {
        let subscription = &mut self.subscriptions[number];
        subscription.is_ending = true;
        subscription.unsettled.clear();
        subscription.is_at_risk =
            subscription.is_queue() && subscription.ack == Ack::Auto && subscription.look.is_none();
        let session = subscription.session;
        // Of a topic nothing returns.
        let keeps = subscription.is_queue() || subscription.lasting.is_some();
        self.leave_temporary(number);
        self.copies_at_risk(number);
        for transaction in self.sessions[session].transactions.values_mut() {
            transaction.is_broken |=
                keeps && transaction.settles.iter().any(|(of, settled, _)| *of == number && !settled.is_empty());
            transaction.settles.retain(|(of, ..)| *of != number);
        }
    }

    /// A client settles a delivery, and under `client` those before it. Answers with the messages.
    pub(crate) fn settle(
        &mut self,
        subscription: usize,
        place: usize,
        outcome: Outcome,
        transaction: Option<&str>,
    ) -> Effect {
        let own = &mut self.subscriptions[subscription];
        let first = if own.ack == Ack::Client { 0 } else { place };
        let mut settled = Vec::new();
        for handed in &mut own.unsettled[first..=place] {
            if handed.transaction.is_none() {
                handed.transaction = Some(transaction.unwrap_or_default().to_owned());
                settled.push(handed.message);
            }
        }
        let session = own.session;
        match transaction.and_then(|name| self.sessions[session].transactions.get_mut(name)) {
            Some(open) => {
                open.settles.push((subscription, settled, outcome));
                Effect::Nothing
            }
            None => {
                self.subscriptions[subscription].unsettled.retain(|handed| handed.transaction.as_deref() != Some(""));
                self.settled(subscription, &settled, outcome);
                Effect::Settle(subscription, settled, outcome)
            }
        }
    }

    fn settled(&mut self, subscription: usize, settled: &[usize], outcome: Outcome) {
        if let Some(lasting) = self.subscriptions[subscription].lasting {
            return self.copies_settled(subscription, lasting, settled, outcome);
        }
        for number in settled {
            let message = &mut self.messages[*number];
            if message.hold == Hold::Held(subscription) {
                message.hold = Hold::Settled(subscription, outcome);
                message.refused_at = self.now;
                message.has_reappeared = false;
                message.refusals += u32::from(matches!(outcome, Outcome::Rejected | Outcome::Deferred(_)));
                message.discarded |= outcome == Outcome::Discarded;
                self.note_fullness(DEAD_LETTERS);
                self.note_fullness(GRAVE);
            }
        }
    }

    pub(crate) fn commit(&mut self, session: usize, name: &str) -> Effect {
        let Some(transaction) = self.sessions[session].transactions.remove(name) else {
            return Effect::Nothing;
        };
        for (subscription, settled, outcome) in &transaction.settles {
            let own = &mut self.subscriptions[*subscription];
            own.unsettled.retain(|handed| handed.transaction.as_deref() != Some(name));
            self.settled(*subscription, settled, *outcome);
        }
        for number in &transaction.sends {
            self.release(*number);
        }
        self.commits.push(transaction);
        Effect::Commit(self.commits.len() - 1)
    }

    pub(crate) fn abort(&mut self, session: usize, name: &str) {
        self.sessions[session].transactions.remove(name);
        for own in self.subscriptions.iter_mut().filter(|each| each.session == session) {
            for handed in own.unsettled.iter_mut().filter(|handed| handed.transaction.as_deref() == Some(name)) {
                handed.transaction = None;
            }
        }
    }

    /// A client says goodbye.
    pub(crate) fn leave(&mut self, session: usize) {
        self.sessions[session].is_leaving = true;
        for number in 0..self.subscriptions.len() {
            if self.subscriptions[number].session == session && !self.subscriptions[number].is_ending {
                self.end_subscription(number);
            }
        }
    }

    /// Notes what a frame will have done, once there is word of it.
    pub(crate) fn expect(&mut self, session: usize, receipt: Option<String>, effect: Effect) {
        let session = &mut self.sessions[session];
        match receipt {
            Some(receipt) => session.pending.push_back((receipt, effect)),
            None => session.unconfirmed.push(effect),
        }
    }

    /// Whether a subscription certainly has what it was given.
    pub(crate) fn surely_holds(&self, subscription: usize) -> bool {
        let own = &self.subscriptions[subscription];
        !own.is_ending && !own.is_dead && self.sessions[own.session].is_sound()
    }
}

impl Session {
    /// Whether nothing but its not reading speaks against its being there.
    pub(crate) fn is_sound_or_stalled(&self) -> bool {
        self.connected && !self.is_leaving && !self.is_doomed && !self.has_failed && !self.is_over
    }
}

/// Whether a pattern in Spring's spelling takes a destination.
pub(crate) fn takes(pattern: &str, destination: &str) -> bool {
    fn follow(pattern: &[&str], parts: &[&str]) -> bool {
        match (pattern, parts) {
            ([], []) => true,
            (["**", rest @ ..], _) => (0..=parts.len()).any(|skip| follow(rest, &parts[skip..])),
            ([own, rest @ ..], [part, parts @ ..]) => {
                let fits = match *own {
                    "*" | "{kind}" => !part.is_empty(),
                    "?" => part.chars().count() == 1,
                    literal => literal == *part,
                };
                fits && follow(rest, parts)
            }
            _ => false,
        }
    }
    follow(&pattern.split('/').collect::<Vec<_>>(), &destination.split('/').collect::<Vec<_>>())
}
