//! Stops calling an application that is down: it then has time to come back, and senders are told at once instead of
//! after a time limit.
//!
//! *Closed*, all calls go through. After some failures in a row it is *open*: no call goes through for a while. Then it
//! is *half open*: single calls go through, one at a time, and decide whether it closes or opens again.

use std::time::{Duration, Instant};

/// When a breaker opens and closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// So many failed calls in a row open it; 0: nothing does. Default: 5. Key `app.hook.breaker.failures`.
    pub failures: u32,
    /// How long it stays open. Default: 5 s. Key `app.hook.breaker.pause`.
    pub pause: Duration,
    /// So many calls must then go well, one after the other, to close it. Default: 1. Key `app.hook.breaker.probes`.
    pub probes: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { failures: 5, pause: Duration::from_secs(5), probes: 1 }
    }
}

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All go through.
    Closed,
    /// One at a time goes through.
    HalfOpen,
    /// None goes through.
    Open,
}

/// How a call ended, as far as a breaker cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The application answered, whatever it said.
    Alive,
    /// It did not answer, or said that it cannot.
    Down,
    /// The call was given up by us, so it says nothing.
    Abandoned,
}

/// The right to make one call; to be settled when the call has ended.
#[derive(Debug)]
#[must_use = "a pass that is not settled keeps a half-open breaker from deciding"]
pub struct Pass {
    /// Which period of the breaker it belongs to: what began before the breaker opened says nothing about now.
    period: u64,
}

/// No call is made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// The state of the calls to one application.
#[derive(Debug)]
pub struct Breaker {
    options: Options,
    phase: Phase,
    period: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed {
        /// In a row, up to now.
        failures: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        /// Whether a call is under way.
        is_probing: bool,
        /// Calls that went well.
        successes: u32,
    },
}

impl Breaker {
    /// A closed one.
    pub fn new(options: Options) -> Breaker {
        Breaker { options, phase: Phase::Closed { failures: 0 }, period: 0 }
    }

    /// What it does with calls at `now`.
    pub fn state(&self, now: Instant) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { until } if now < until => State::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// Asks whether a call may be made.
    ///
    /// # Errors
    /// [`Refused`] while the breaker is open, or half open with a call under way.
    pub fn admit(&mut self, now: Instant) -> Result<Pass, Refused> {
        match self.phase {
            Phase::Closed { .. } => {}
            Phase::Open { until } if now < until => return Err(Refused),
            Phase::Open { .. } => self.enter(Phase::HalfOpen { is_probing: true, successes: 0 }),
            Phase::HalfOpen { is_probing: true, .. } => return Err(Refused),
            Phase::HalfOpen { successes, .. } => self.phase = Phase::HalfOpen { is_probing: true, successes },
        }
        Ok(Pass { period: self.period })
    }

    /// Notes how an admitted call ended. Answers with the new state if it is another one.
    pub fn settle(&mut self, now: Instant, pass: &Pass, outcome: Outcome) -> Option<State> {
        if pass.period != self.period {
            return None;
        }
        let next = match (self.phase, outcome) {
            (Phase::Closed { .. }, Outcome::Alive) => Phase::Closed { failures: 0 },
            (Phase::Closed { failures }, Outcome::Down) => self.after_failures(now, failures.saturating_add(1)),
            (Phase::HalfOpen { successes, .. }, Outcome::Alive) if successes + 1 >= self.options.probes => {
                Phase::Closed { failures: 0 }
            }
            (Phase::HalfOpen { successes, .. }, Outcome::Alive) => {
                Phase::HalfOpen { is_probing: false, successes: successes + 1 }
            }
            (Phase::HalfOpen { .. }, Outcome::Down) => Phase::Open { until: now + self.options.pause },
            (Phase::HalfOpen { successes, .. }, Outcome::Abandoned) => Phase::HalfOpen { is_probing: false, successes },
            (Phase::Closed { .. }, Outcome::Abandoned) | (Phase::Open { .. }, _) => self.phase,
        };
        let changes = std::mem::discriminant(&next) != std::mem::discriminant(&self.phase);
        if changes {
            self.enter(next);
        } else {
            self.phase = next;
        }
        changes.then(|| self.state(now))
    }

    fn after_failures(&self, now: Instant, failures: u32) -> Phase {
        if self.options.failures > 0 && failures >= self.options.failures {
            Phase::Open { until: now + self.options.pause }
        } else {
            Phase::Closed { failures }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.period += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Plays a script on a breaker that opens after 2 failures for 10 s and wants 2 probes. Each letter is a call that
    /// ends at once: `a`live, `d`own, or abandoned (`x`); `r` is one that is refused; `+` lets 5 s pass. Answers with
    /// the state at the end.
    #[track_caller]
    fn play(script: &str) -> State {
        let options = Options { failures: 2, pause: Duration::from_secs(10), probes: 2 };
        let mut breaker = Breaker::new(options);
        let mut now = Instant::now();
        for (at, step) in script.chars().enumerate() {
            let outcome = match step {
                '+' => {
                    now += Duration::from_secs(5);
                    continue;
                }
                'r' => {
                    assert!(breaker.admit(now).is_err(), "step {at} of {script} was admitted");
                    continue;
                }
                'a' => Outcome::Alive,
                'd' => Outcome::Down,
                _ => Outcome::Abandoned,
            };
            let pass = breaker.admit(now).unwrap_or_else(|Refused| panic!("step {at} of {script} was refused"));
            let before = breaker.state(now);
            let told = breaker.settle(now, &pass, outcome);
            assert_eq!(told.is_some(), breaker.state(now) != before, "step {at} of {script}");
        }
        breaker.state(now)
    }

    #[test]
    fn opens_after_failures_in_a_row_and_closes_after_probes() {
        for (script, state) in [
            ("", State::Closed),
            ("d", State::Closed),
            ("dad", State::Closed),
            ("dxd", State::Open),
            ("dd", State::Open),
            ("ddr+r", State::Open),
            ("dd++", State::HalfOpen),
            ("dd++a", State::HalfOpen),
            ("dd++aa", State::Closed),
            ("dd++aad", State::Closed),
            ("dd++xa", State::HalfOpen),
            ("dd++ad", State::Open),
            ("dd++dr+r", State::Open),
            ("dd++d++aadd", State::Open),
        ] {
            assert_eq!(play(script), state, "{script}");
        }
    }

    #[test]
    fn half_open_lets_one_call_through_at_a_time() {
        let mut breaker = Breaker::new(Options { failures: 1, probes: 1, ..Options::default() });
        let start = Instant::now();
        let late = breaker.admit(start).unwrap();
        let first = breaker.admit(start).unwrap();
        assert_eq!(breaker.settle(start, &first, Outcome::Down), Some(State::Open));
        let later = start + Duration::from_secs(5);
        let probe = breaker.admit(later).unwrap();
        assert_eq!(breaker.admit(later).err(), Some(Refused));
        // A call from before the breaker opened decides nothing.
        assert_eq!(breaker.settle(later, &late, Outcome::Alive), None);
        assert_eq!(breaker.admit(later).err(), Some(Refused));
        assert_eq!(breaker.settle(later, &probe, Outcome::Alive), Some(State::Closed));
        assert!(breaker.admit(later).is_ok());
    }

    #[test]
    fn can_be_turned_off() {
        let mut breaker = Breaker::new(Options { failures: 0, ..Options::default() });
        let now = Instant::now();
        for _ in 0..1000 {
            let pass = breaker.admit(now).unwrap();
            assert_eq!(breaker.settle(now, &pass, Outcome::Down), None);
        }
    }
}
