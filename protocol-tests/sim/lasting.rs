//! Durable subscriptions to topics (U9): which of them there are for certain and which perhaps, from what their clients asked
//! and were told. What each keeps is in `copies`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gumboot::broker::QueueStats;
use gumboot::destination::Destination;

use crate::copies::Copy;
use crate::laws::{Check, Law, Violation};
use crate::message::{Fate, Message};
use crate::model::{Effect, Model, Subscription, takes};

/// The durable subscriptions that the clients of a run know.
pub(crate) const LASTING: [Known; 4] = [
    Known { id: "k0", topic: "/topic/c/**", is_named: false },
    Known { id: "k1", topic: "/topic/a", is_named: false },
    Known { id: "x", topic: "/topic/*", is_named: true },
    Known { id: "y", topic: "/topic/**", is_named: true },
];

/// More than one gets in a run.
const MANY: usize = 1000;

/// What clients call themselves that have named ones.
pub(crate) const CLIENT: &str = "till";

/// What a durable subscription is known by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// The id that its sessions give it, which is its name too if it has one.
    pub(crate) id: &'static str,
    pub(crate) topic: &'static str,
    /// In ActiveMQ's spelling: one session at a time has it.
    pub(crate) is_named: bool,
}

/// A session wants a durable subscription to be no more, and before that its part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    lasting: usize,
    part: Option<usize>,
    /// When it was asked for, by the count of events, and whether somebody else may have had it then.
    asked_at: usize,
    has_rival: bool,
}

/// What is known about a durable subscription.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lasting {
    /// Since when there may be one, by the count of events; none: there is none.
    pub(crate) possible_since: Option<usize>,
    /// Since when there is one for certain.
    pub(crate) sure_since: Option<usize>,
    /// How many want its end who have no answer.
    forgets: usize,
    pub(crate) copies: BTreeMap<usize, Copy>,
    /// The last message by origin and destination that came for the first time.
    pub(crate) last: BTreeMap<(usize, &'static str, &'static str), usize>,
    /// What came for the first time when nobody sends any more.
    pub(crate) remains: BTreeSet<usize>,
    /// How many messages it had when all was quiet, and how many may have come since.
    load: usize,
    /// It may have had to give something up since all was quiet.
    pub(crate) was_full: bool,
    /// When somebody certainly had it, and since when nobody has.
    busy_at: Duration,
    idle_since: Option<Duration>,
    /// Somebody asked for it since all was quiet.
    is_touched: bool,
}

impl Known {
    /// What the queue behind it is called.
    fn queue(&self) -> Destination {
        if self.is_named {
            Destination::of_client(None, CLIENT, self.id)
        } else {
            Destination::of_subscription(None, self.id, self.topic)
        }
    }
}

impl Lasting {
    /// Nothing is certain about it, and about what it keeps.
    fn doubt(&mut self) {
        self.sure_since = None;
        self.copies.values_mut().for_each(|copy| (copy.is_wanted, copy.is_counted) = (false, false));
    }

    fn vanish(&mut self) {
        *self = Lasting { forgets: self.forgets, ..Lasting::default() };
    }
}

impl Model {
    /// The subscriptions of sessions that have, had or asked for a durable one.
    pub(crate) fn parts_of(&self, lasting: usize) -> impl Iterator<Item = (usize, &Subscription)> {
        self.subscriptions.iter().enumerate().filter(move |(_, each)| each.lasting == Some(lasting))
    }

    /// A client asks for its part of a durable subscription, if this is one.
    pub(crate) fn attach_part(&mut self, part: usize) {
        let own = &self.subscriptions[part];
        let (session, no_local, topic) = (own.session, own.no_local, own.destination);
        let Some(lasting) = own.lasting else { return };
        let (since, credit) = (self.lasting[lasting].possible_since, self.credit_of(lasting));
        for (number, message) in self.messages.iter_mut().enumerate() {
            let is_underway = message.certain_at.is_none() && matches!(message.fate, Fate::Possible | Fate::Accepted);
            if !is_underway || message.is_for_queue() || !takes(topic, message.destination) {
                continue;
            }
            let was_counted = since.is_some_and(|since| since <= message.sent_event);
            message.most += usize::from(!was_counted);
            let Some(copy) = self.lasting[lasting].copies.get_mut(&number) else { continue };
            // A handler may hold it up until the session that sent it is there to decline it.
            if message.origin == session && (no_local || message.excludes_self) {
                (copy.is_wanted, copy.is_counted) = (false, false);
            }
            // Sessions may have all that could be dropped for it.
            copy.is_counted &= copy.is_wanted || credit < self.setup.lasting.max_messages;
        }
        self.attach(lasting);
    }

    /// A client asks for a durable subscription.
    fn attach(&mut self, lasting: usize) {
        let (events, coming) = (self.events, self.coming_to(LASTING[lasting].topic));
        let own = &mut self.lasting[lasting];
        if own.possible_since.is_none() {
            (own.possible_since, own.load) = (Some(events), coming);
        }
        own.is_touched = true;
    }

    /// How many messages may still be on their way to those who take a topic.
    fn coming_to(&self, topic: &str) -> usize {
        let comes = |message: &&Message| {
            let is_possible = matches!(message.fate, Fate::Possible | Fate::Accepted) && message.certain_at.is_none();
            is_possible && !message.is_for_queue() && takes(topic, message.destination)
        };
        self.messages.iter().filter(comes).count()
    }

    /// A client wants a durable subscription to be no more.
    pub(crate) fn forget(&mut self, session: usize, lasting: usize) -> Effect {
        self.events += 1;
        let part = self.live_subscription(session, LASTING[lasting].id);
        if let Some(part) = part {
            self.end_subscription(part);
        }
        self.lasting[lasting].forgets += 1;
        self.lasting[lasting].doubt();
        let asked_at = self.events;
        Effect::Forget(Ending { lasting, part, asked_at, has_rival: self.has_rival(session, lasting) })
    }

    /// A session has it for certain.
    pub(crate) fn attached(&mut self, subscription: usize) -> Check {
        let Some(lasting) = self.subscriptions[subscription].lasting else { return Ok(()) };
        if !self.surely_holds(subscription) {
            return Ok(());
        }
        let rival = self.parts_of(lasting).find(|(number, each)| {
            *number != subscription && LASTING[lasting].is_named && each.is_live && self.surely_holds(*number)
        });
        if let Some((_, rival)) = rival {
            let text = format!("two sessions have the durable subscription {}", rival.id);
            let own = self.subscriptions[subscription].session;
            return Err(Violation::new(Law::Exclusive, text, [own, rival.session]));
        }
        let (now, events, asked_at) = (self.now, self.events, self.subscriptions[subscription].asked_at);
        let own = &mut self.lasting[lasting];
        own.busy_at = now;
        own.possible_since.get_or_insert(asked_at);
        if own.forgets == 0 {
            own.sure_since.get_or_insert(events);
        }
        Ok(())
    }

    /// There is word that it is no more.
    pub(crate) fn forgotten(&mut self, session: usize, ending: &Ending) -> Check {
        let Ending { lasting, part, asked_at, .. } = *ending;
        let others = || self.parts_of(lasting).filter(|(number, _)| Some(*number) != part);
        let holder = others().find(|(number, each)| {
            each.granted_at.is_some_and(|granted| granted < asked_at) && self.surely_holds(*number)
        });
        if let Some((_, holder)) = holder {
            let text = format!("the durable subscription {} has ended, though somebody has it", holder.id);
            return Err(Violation::new(Law::Durable, text, [session, holder.session]));
        }
        let is_certain = !ending.has_rival && others().all(|(_, each)| each.asked_at < asked_at);
        if let Some(part) = part {
            self.subscriptions[part].is_dead = true;
        }
        let own = &mut self.lasting[lasting];
        own.forgets = own.forgets.saturating_sub(1);
        if is_certain && own.forgets == 0 {
            own.vanish();
        }
        Ok(())
    }

    /// It is not to end.
    pub(crate) fn kept(&mut self, ending: &Ending) {
        let Ending { lasting, part, .. } = *ending;
        if let Some(part) = part {
            self.subscriptions[part].is_dead = true;
        }
        self.lasting[lasting].forgets = self.lasting[lasting].forgets.saturating_sub(1);
    }

    /// Whether another session may have a durable subscription now.
    pub(crate) fn has_rival(&self, session: usize, lasting: usize) -> bool {
        self.parts_of(lasting).any(|(_, each)| each.session != session && !each.is_buried)
    }

    /// Whether a session asks for something that somebody else may have, or may have had.
    pub(crate) fn may_be_in_use(&self, session: usize) -> bool {
        self.wishes(session).any(|effect| {
            let (lasting, had_rival, asked_at) = match effect {
                Effect::Forget(ending) => (ending.lasting, ending.has_rival, ending.asked_at),
                Effect::Subscribe(wish, _) => {
                    let own = &self.subscriptions[*wish];
                    let Some(lasting) = own.lasting.filter(|lasting| LASTING[*lasting].is_named) else { return false };
                    (lasting, own.has_rival, own.asked_at)
                }
                _ => return false,
            };
            had_rival || self.parts_of(lasting).any(|(_, each)| each.session != session && each.asked_at > asked_at)
        })
    }

    /// Whether a session asks for a durable subscription that would be one more.
    pub(crate) fn may_be_one_more(&self, session: usize) -> bool {
        let is_new = |effect: &Effect| matches!(effect, Effect::Subscribe(wish, _) if self.subscriptions[*wish].lasting.is_some());
        self.setup.lasting.max_subscriptions < LASTING.len() && self.wishes(session).any(is_new)
    }

    fn wishes(&self, session: usize) -> impl Iterator<Item = &Effect> {
        let own = &self.sessions[session];
        own.pending.iter().map(|(_, effect)| effect).chain(&own.unconfirmed)
    }

    /// A message may be in the world: who keeps a copy, and how many may.
    pub(crate) fn copy(&mut self, number: usize) -> usize {
        let message = &self.messages[number];
        let takers = LASTING.iter().enumerate().filter(|(_, known)| takes(known.topic, message.destination));
        let mut takers: Vec<usize> = takers.map(|(lasting, _)| lasting).collect();
        takers.retain(|lasting| !message.is_for_queue() && self.lasting[*lasting].possible_since.is_some());
        let (rules, has_disk) = (self.setup.lasting, self.setup.has_disk);
        for lasting in &takers {
            let shuns = |each: &Subscription| each.session == message.origin && each.no_local;
            let may_shun = |(_, each): (usize, &Subscription)| {
                !each.is_buried && (shuns(each) || each.session == message.origin && message.excludes_self)
            };
            let is_declined = self.parts_of(*lasting).any(may_shun);
            let credit = self.credit_of(*lasting);
            let own = &mut self.lasting[*lasting];
            own.load += 1;
            if own.load > rules.max_messages {
                own.was_full = true;
                let may_rest = own.copies.values().any(Copy::may_rest);
                let may_drop = rules.drops_oldest && !has_disk && !may_rest && credit < rules.max_messages;
                for copy in own.copies.values_mut() {
                    (copy.is_wanted, copy.is_counted) = (false, copy.is_counted && may_drop);
                }
            }
            // What lines up for the disk is as good as there, and nobody knows how much that is.
            let is_small = has_disk && rules.max_messages < MANY;
            if own.sure_since.is_some() && !is_declined && !is_small {
                // Something can be dropped for it, unless it is all with sessions, delayed, or on its way to the disk.
                let is_refused = own.copies.values().any(Copy::may_rest);
                let has_room = rules.drops_oldest && credit < rules.max_messages && !has_disk && !is_refused;
                let copy = if own.was_full { has_room.then(Copy::counted) } else { Some(Copy::wanted()) };
                own.copies.extend(copy.map(|copy| (number, copy)));
            }
        }
        takers.len()
    }

    /// How many durable subscriptions certainly keep a message.
    pub(crate) fn reach_of_lasting(&self, message: &Message, number: usize) -> usize {
        let takers = LASTING.iter().zip(&self.lasting);
        let takers = takers.filter(|(known, _)| takes(known.topic, message.destination));
        let is_kept = |own: &Lasting| own.copies.get(&number).is_some_and(|copy| copy.is_counted);
        // What is over when it comes is not kept.
        let may_be_over = message.may_be_expired(self.policy_at(""), self.now);
        takers.filter(|(_, own)| own.sure_since.is_some() && is_kept(own) && !may_be_over).count()
    }

    /// How many deliveries sessions may have of a durable subscription.
    fn credit_of(&self, lasting: usize) -> usize {
        self.parts_of(lasting).filter(|(_, each)| !each.is_buried).map(|(_, each)| each.credit).sum()
    }

    /// Time has passed: those that nobody had for long may be no more.
    pub(crate) fn age_lasting(&mut self) {
        let Some(stay) = self.setup.lasting.idle_expiry else { return };
        for lasting in 0..LASTING.len() {
            let is_busy = self.parts_of(lasting).any(|(number, each)| each.is_live && self.surely_holds(number));
            let own = &mut self.lasting[lasting];
            if is_busy {
                own.busy_at = self.now;
            } else if self.now >= own.busy_at + stay {
                own.doubt();
            }
        }
    }

    /// All is quiet: what is there is what should be, and from now on that is certain.
    pub(crate) fn check_lasting(&mut self, stats: &[QueueStats]) -> Check {
        let wrong = |law, known: &Known, text: &str| {
            Err(Violation::new(law, format!("the durable subscription {} {text}", known.id), []))
        };
        let most = self.setup.lasting.max_subscriptions * self.setup.workers;
        let there = stats.iter().filter(|queue| queue.name.as_str().starts_with("@durable/")).count();
        if there > most {
            return Err(Violation::new(Law::Limit, format!("{there} durable subscriptions of {most}"), []));
        }
        for (lasting, known) in LASTING.iter().enumerate() {
            let name = known.queue();
            let found = stats.iter().find(|queue| queue.name == name);
            let forgets = self.sessions.iter().filter(|own| !own.is_over).flat_map(|own| &own.pending);
            let forgets =
                forgets.filter(|(_, effect)| matches!(effect, Effect::Forget(ending) if ending.lasting == lasting));
            let forgets = forgets.count();
            let asked = self.parts_of(lasting).filter(|(_, each)| !each.is_live && !each.is_dead);
            let asked = asked.map(|(_, each)| each.asked_at).min();
            let coming = self.coming_to(known.topic);
            let own = &mut self.lasting[lasting];
            own.forgets = forgets;
            match found {
                None if own.sure_since.is_some() => return wrong(Law::Durable, known, "is gone"),
                Some(_) if own.possible_since.is_none() => {
                    return wrong(Law::Durable, known, "is there, and should not");
                }
                None => {
                    own.vanish();
                    own.possible_since = asked;
                }
                Some(queue) if queue.messages > self.setup.lasting.most(self.setup.has_disk) => {
                    return wrong(Law::Limit, known, &format!("keeps {} messages", queue.messages));
                }
                Some(queue) => {
                    (own.load, own.was_full) = (queue.messages + coming, false);
                    if forgets == 0 {
                        own.sure_since.get_or_insert(self.events);
                    }
                    let is_idle = queue.consumers == 0 && !own.is_touched;
                    let since = own.idle_since.filter(|_| is_idle).unwrap_or(self.now);
                    own.idle_since = (queue.consumers == 0).then_some(since);
                    if queue.consumers > 0 {
                        own.busy_at = self.now;
                    } else if self.setup.lasting.idle_expiry.is_some_and(|stay| self.now > since + stay) {
                        return wrong(Law::Idle, known, "is still there");
                    }
                }
            }
            own.is_touched = asked.is_some();
        }
        Ok(())
    }

    /// The process is gone: those that were there are there again, and nobody has them.
    pub(crate) fn crash_lasting(&mut self) {
        let now = self.now;
        for lasting in 0..LASTING.len() {
            let own = &mut self.lasting[lasting];
            (own.forgets, own.idle_since, own.busy_at) = (0, None, now);
            if self.has_failed_disk {
                own.last.clear();
            }
            self.survive_copies(lasting);
        }
    }
}
