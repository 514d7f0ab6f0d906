//! Whether a failed try may be made again, and after how long.

use std::time::Duration;

/// How often and after how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many more tries a call may have after the first; 0: none. Default: 2. Key `app.hook.retries`.
    pub retries: u32,
    /// The longest wait before the second try; twice as long before each further one. Default: 100 ms. Key
    /// `app.hook.retry_delay`.
    pub delay: Duration,
    /// The longest such wait, also where the application asks for one. Default: 2 s. Key `app.hook.retry_delay_max`.
    pub delay_max: Duration,
    /// Whether the application takes a request twice without harm: then a try may be made again although the one before
    /// may have had an effect. Default: false. Key `app.hook.idempotent`.
    pub idempotent: bool,
}

impl Default for Options {
    fn default() -> Options {
        let (delay, delay_max) = (Duration::from_millis(100), Duration::from_secs(2));
        Options { retries: 2, delay, delay_max, idempotent: false }
    }
}

/// What a try came to, as far as it decides about another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The request never left: no connection came about.
    NotSent,
    /// The application said that it cannot now (503 or 429), and perhaps when it can. It did nothing then.
    Busy(Option<Duration>),
    /// The request may have had an effect: the connection broke, or the answer was another 5xx.
    Unknown,
}

impl Options {
    /// How long to wait before the next try; none if there is to be no other. `tries` have been made, `left` remains of
    /// the time limit, and `chance` is drawn anew each time from 0 to 1: without chance, callers that failed together
    /// would come back together.
    pub fn next_try(&self, tries: u32, miss: Miss, left: Duration, chance: f64) -> Option<Duration> {
        let is_safe = self.idempotent || miss != Miss::Unknown;
        if !is_safe || tries == 0 || tries > self.retries {
            return None;
        }
        let longest = self.delay.saturating_mul(1 << (tries - 1).min(20)).min(self.delay_max);
        let drawn = longest.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        let wait = match miss {
            // Waiting for less than was asked for would be another refusal.
            Miss::Busy(Some(asked)) if asked > self.delay_max => return None,
            Miss::Busy(Some(asked)) => asked.max(drawn),
            _ => drawn,
        };
        (wait < left).then_some(wait)
    }
}

/// Reads `Retry-After`, as far as it is a number of seconds. As a date it would need a clock that both sides agree on.
pub fn parse_retry_after(value: &str) -> Option<Duration> {
    let digits = value.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(amount: u64) -> Duration {
        Duration::from_millis(amount)
    }

    #[test]
    fn tries_again_only_where_that_is_safe() {
        let careful = Options { retries: 3, delay: millis(100), delay_max: millis(300), idempotent: false };
        let bold = Options { idempotent: true, ..careful.clone() };
        let never = Options { retries: 0, ..bold.clone() };
        let second = Some(millis(1000));
        for (options, tries, miss, left, wait) in [
            (&careful, 1, Miss::NotSent, 1000, Some(100)),
            (&careful, 2, Miss::NotSent, 1000, Some(200)),
            (&careful, 3, Miss::NotSent, 1000, Some(300)),
            (&careful, 4, Miss::NotSent, 1000, None),
            (&careful, 1, Miss::NotSent, 100, None),
            (&careful, 1, Miss::Busy(None), 1000, Some(100)),
            (&careful, 1, Miss::Busy(Some(Duration::ZERO)), 1000, Some(100)),
            (&careful, 1, Miss::Busy(Some(millis(250))), 1000, Some(250)),
            (&careful, 1, Miss::Busy(second), 5000, None),
            (&careful, 1, Miss::Unknown, 1000, None),
            (&bold, 1, Miss::Unknown, 1000, Some(100)),
            (&bold, 4, Miss::Unknown, 1000, None),
            (&bold, u32::MAX, Miss::Unknown, 1000, None),
            (&never, 1, Miss::NotSent, 1000, None),
        ] {
            let found = options.next_try(tries, miss, millis(left), 1.0);
            assert_eq!(found, wait.map(millis), "after {tries} of {miss:?} with {left} ms left");
        }
    }

    #[test]
    fn waits_differ_by_chance_within_bounds() {
        let options = Options::default();
        for (chance, wait) in [(0.0, 50), (0.5, 75), (1.0, 100), (-1.0, 50), (7.0, 100)] {
            let found = options.next_try(1, Miss::NotSent, Duration::MAX, chance);
            assert_eq!(found, Some(millis(wait)), "{chance}");
        }
        // Many tries do not overflow.
        let patient = Options { retries: u32::MAX, ..options };
        assert_eq!(patient.next_try(1_000_000, Miss::NotSent, Duration::MAX, 1.0), Some(patient.delay_max));
    }

    #[test]
    fn reads_retry_after_in_seconds() {
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999", Some(u64::MAX)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ] {
            assert_eq!(parse_retry_after(value), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}
