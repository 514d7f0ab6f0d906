//! The time of day, for those who may not ask for it.

use std::time::{Duration, Instant};

/// One moment by both clocks, from which the time of day at any other moment follows.
///
/// Whoever starts the broker's parts makes one; they themselves only ever see the time as an argument. A change of the
/// system's clock afterwards is not noticed.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    instant: Instant,
    epoch_ms: u64,
}

impl Clock {
    /// At `instant` it was `epoch_ms` milliseconds after the beginning of 1970.
    pub fn new(instant: Instant, epoch_ms: u64) -> Clock {
        Clock { instant, epoch_ms }
    }

    /// The moment that this clock was made for.
    pub fn start(&self) -> Instant {
        self.instant
    }

    /// The time of day at `now` in milliseconds, a begun one counted.
    pub fn epoch_ms(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.instant).as_nanos().div_ceil(1_000_000);
        self.epoch_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// When it is this time of day: the start if it was before that, and none if it is too far away to ever come.
    pub fn instant(&self, epoch_ms: u64) -> Option<Instant> {
        self.instant.checked_add(Duration::from_millis(epoch_ms.saturating_sub(self.epoch_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_tell_the_same() {
        let start = Instant::now();
        let clock = Clock::new(start, 1_000_000);
        let later = start + Duration::from_millis(500);
        assert_eq!(clock.epoch_ms(later), 1_000_500);
        assert_eq!(clock.epoch_ms(later + Duration::from_nanos(1)), 1_000_501);
        assert_eq!(clock.instant(1_000_500), Some(later));
        assert_eq!(clock.instant(5), Some(start));
    }
}
