//! What clients do with durable subscriptions.

use crate::lasting::{CLIENT, LASTING};
use crate::message::Outcome;
use crate::model::{Ack, Subscription};
use crate::wire::{Frame, Version};
use crate::world::World;

/// The spellings of a named one.
const NAMES: [&str; 2] = ["durable-subscription-name", "activemq.subscriptionName"];

impl World {
    /// A session wants to have a durable subscription.
    pub(crate) fn attach(&mut self, session: usize) {
        let lasting = self.random.below(LASTING.len());
        let mode = self.random.pick(&[
            ("auto", Ack::Auto),
            ("client", Ack::Client),
            ("client-individual", Ack::Individual),
            ("client-individual", Ack::Individual),
        ]);
        let wish = self.random.pick(&[None, None, Some(1), Some(3)]);
        let is_local = self.random.percent(85);
        self.attach_to(session, lasting, mode, (wish, !is_local));
    }

    /// A session asks for a durable subscription, if it can. Answers with its part of it.
    fn attach_to(
        &mut self,
        session: usize,
        lasting: usize,
        (mode, ack): (&str, Ack),
        (wish, no_local): (Option<u32>, bool),
    ) -> Option<usize> {
        let known = &LASTING[lasting];
        let is_earlier = |each: &Subscription| each.session == session && !each.is_dead;
        let has_part = self.model.parts_of(lasting).any(|(_, each)| is_earlier(each));
        if has_part || self.model.sessions[session].client.is_none() {
            return None;
        }
        let mut frame = Frame::new("SUBSCRIBE").with("destination", known.topic).with("id", known.id).with("ack", mode);
        frame = if known.is_named {
            frame.with(self.random.pick(&NAMES), known.id)
        } else {
            frame.with("durable", "true").with("auto-delete", "false")
        };
        frame = wish.map_or(frame.clone(), |wish| frame.with("prefetch-count", wish));
        if no_local {
            frame = frame.with("no-local", "true");
        }
        let credit = self.model.setup.credit(known.topic, wish);
        let mut subscription = Subscription::new(session, known.id, known.topic, ack, credit);
        (subscription.lasting, subscription.no_local) = (Some(lasting), no_local);
        let effect = self.model.subscribe(subscription);
        self.ask(session, frame, effect, true);
        Some(self.model.subscriptions.len() - 1)
    }

    /// A session ends a durable subscription, whether it has it or not.
    pub(crate) fn forget(&mut self, session: usize) {
        let lasting = self.random.below(LASTING.len());
        let known = &LASTING[lasting];
        if self.model.sessions[session].client.is_none() {
            return;
        }
        let frame = Frame::new("UNSUBSCRIBE").with("id", known.id);
        let frame = if known.is_named {
            frame.with(self.random.pick(&NAMES), known.id)
        } else {
            frame.with("durable", "true").with("destination", known.topic)
        };
        let effect = self.model.forget(session, lasting);
        self.ask(session, frame, effect, true);
    }

    /// Of a message no more than one copy becomes a dead letter.
    pub(crate) fn bearable(&mut self, subscription: usize, place: usize, outcome: Outcome) -> Outcome {
        let own = &self.model.subscriptions[subscription];
        let Some(lasting) = own.lasting.filter(|_| outcome != Outcome::Consumed) else { return outcome };
        let first = if own.ack == Ack::Client { 0 } else { place };
        let numbers: Vec<usize> = own.unsettled[first..=place].iter().map(|handed| handed.message).collect();
        let most = self.model.policy_at("").max_deliveries;
        let is_bearable = numbers.into_iter().all(|number| {
            let dies = outcome == Outcome::Discarded || self.model.refusals_of(lasting, number) + 1 >= most;
            !dies || self.model.may_die(lasting, number)
        });
        if is_bearable { outcome } else { Outcome::Consumed }
    }

    /// Sessions that take what the durable subscriptions have kept. Answers with their parts.
    pub(crate) fn drain_lasting(&mut self) -> Vec<usize> {
        let kept = (0..LASTING.len()).filter(|lasting| self.model.lasting[*lasting].possible_since.is_some());
        let kept: Vec<usize> = kept.collect();
        kept.into_iter()
            .filter_map(|lasting| {
                let session = self.connect_as(Version::V1_2, false, Some(CLIENT));
                let mode = self.random.pick(&[("auto", Ack::Auto), ("client-individual", Ack::Individual)]);
                self.attach_to(session, lasting, mode, (None, false))
            })
            .collect()
    }
}
