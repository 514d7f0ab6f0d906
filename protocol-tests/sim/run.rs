//! One run: so many random steps, then the end, at which nothing may be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::laws::{Check, Law, Violation};
use crate::message::Outcome;
use crate::model::{Ack, Effect, Subscription};
use crate::policy::QUEUES;
use crate::taps::Tap;
use crate::wire::{Frame, Version};
use crate::world::World;

/// How many lines of a transcript are shown.
const SHOWN: usize = 60;

/// What the last consumers call their subscriptions.
pub(crate) const DRAIN: &str = "drain";

/// What came of a run.
pub(crate) struct Outcomes {
    pub(crate) violation: Option<Violation>,
    pub(crate) tapped: bool,
    /// What happened and to whom, for people.
    pub(crate) story: String,
    /// The same for the same seed.
    pub(crate) digest: u64,
}

/// Runs one seed.
pub(crate) fn run(seed: u64, steps: usize, tap: Tap, tells_all: bool) -> Outcomes {
    let mut world = World::new(seed, tap);
    let mut at = 0;
    let result = catch_unwind(AssertUnwindSafe(|| {
        while at < steps {
            at += 1;
            world.step()?;
        }
        at += 1;
        end(&mut world)
    }));
    let violation = match result {
        Ok(result) => result.err(),
        Err(_) => Some(Violation::new(Law::Stuck, "a panic", [])),
    };
    let mut story = String::new();
    if let Some(violation) = &violation {
        let place = if at > steps { "at the end".to_owned() } else { format!("at step {at}") };
        story = format!("{:?} {place}: {}\n{:?}\n", violation.law, violation.text, world.model.setup);
        let clients: BTreeSet<usize> = violation.clients.iter().copied().collect();
        let all = (0..world.model.sessions.len()).filter(|client| tells_all || clients.contains(client));
        all.for_each(|client| tell(&world, client, if tells_all { usize::MAX } else { SHOWN }, &mut story));
    }
    Outcomes { violation, tapped: world.tap.has_acted || world.disk.has_lied, story, digest: digest(&world) }
}

fn tell(world: &World, client: usize, shown: usize, story: &mut String) {
    story.push_str(&format!("--- client {client}\n"));
    let lines = &world.model.sessions[client].transcript;
    let left_out = lines.len().saturating_sub(shown);
    if left_out > 0 {
        story.push_str(&format!("(the first {left_out} lines are left out)\n"));
    }
    for line in lines.iter().skip(left_out) {
        story.push_str(line);
        story.push('\n');
    }
}

/// A hash of all transcripts.
fn digest(world: &World) -> u64 {
    let lines = world.model.sessions.iter().flat_map(|own| &own.transcript);
    let octets = lines.flat_map(|line| line.bytes().chain([b'\n']));
    octets.fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn end(world: &mut World) -> Check {
    world.heal_disk();
    if world.random.percent(20) {
        world.shut_down()?;
    } else {
        farewell(world)?;
    }
    for session in world.sessions(|own| !own.is_over || own.is_stalled) {
        world.break_off(session)?;
    }
    world.settle()?;
    drain(world)?;
    world.model.check_end()
}

/// Everybody reads again, all comes to rest, and everybody goes in one way or the other.
fn farewell(world: &mut World) -> Check {
    for session in world.sessions(|own| own.is_stalled && !own.is_over) {
        world.stall(session, None)?;
    }
    world.settle()?;
    for session in world.sessions(|own| own.is_sound() && !own.is_silent) {
        match world.random.below(3) {
            0 => world.break_off(session)?,
            1 => world.half_close(session)?,
            _ => {
                world.model.leave(session);
                world.ask(session, Frame::new("DISCONNECT"), Effect::Disconnect, true);
                world.flush(session, usize::MAX)?;
            }
        }
    }
    world.settle()
}

/// One sound consumer for each queue takes all there is.
fn drain(world: &mut World) -> Check {
    let mut consumers = Vec::new();
    world.model.remains = Some(BTreeMap::new());
    for queue in QUEUES {
        let session = world.connect(Version::V1_2, false);
        let (mode, ack) = world.random.pick(&[("auto", Ack::Auto), ("client-individual", Ack::Individual)]);
        let frame = Frame::new("SUBSCRIBE").with("id", DRAIN).with("destination", queue).with("ack", mode);
        let credit = world.model.setup.credit(queue, None);
        let effect = world.model.subscribe(Subscription::new(session, DRAIN, queue, ack, credit));
        consumers.push(world.model.subscriptions.len() - 1);
        world.ask(session, frame, effect, true);
    }
    consumers.extend(world.drain_lasting());
    let longest = world.model.setup.longest_wait();
    let mut quiet = Duration::ZERO;
    loop {
        world.settle()?;
        let mut is_idle = true;
        for consumer in &consumers {
            while !world.model.subscriptions[*consumer].unsettled.is_empty() {
                let outcome = if world.random.percent(25) { Outcome::Rejected } else { Outcome::Consumed };
                let outcome = world.bearable(*consumer, 0, outcome);
                world.settle_delivery(*consumer, 0, outcome, None, true);
                is_idle = false;
            }
        }
        if is_idle && quiet > longest {
            return Ok(());
        }
        let step = if is_idle { Duration::from_secs(4) } else { Duration::ZERO };
        world.advance(step)?;
        quiet = if is_idle { quiet + step } else { Duration::ZERO };
    }
}
