//! Heart-beats: when to send one, and when a client has been silent for too long (B1).

use std::time::{Duration, Instant};

use super::Options;
use crate::stomp::{HeartBeat, Version};

/// The agreed intervals and when bytes last moved. Intervals are in milliseconds; zero means none.
#[derive(Debug)]
pub(super) struct HeartBeats {
    send: u32,
    silence: u32,
    last_sent: Instant,
    last_received: Instant,
}

/// What a passed deadline asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Send a heart-beat.
    Beat,
    /// The client has been silent for longer than we tolerate.
    Silence,
}

impl HeartBeats {
    /// The intervals that the client's CONNECT and our options come to.
    ///
    /// We send after four fifths of the agreed interval without output, so that a timer which fires late and a slow
    /// network still leave the client within its interval.
    pub(super) fn agree(now: Instant, version: Version, client: HeartBeat, options: &Options) -> HeartBeats {
        let ours = offer(version, options);
        let send = interval(ours.can_send, client.wants);
        let receive = interval(client.can_send, ours.wants);
        HeartBeats {
            send: u32::try_from(u64::from(send) * 4 / 5).unwrap_or(send).max(send.min(1)),
            silence: receive.saturating_mul(options.heart_beat_tolerance.max(1)),
            last_sent: now,
            last_received: now,
        }
    }

    /// For how long the client may be silent.
    pub(super) fn tolerated(&self) -> Duration {
        Duration::from_millis(u64::from(self.silence))
    }

    /// Bytes came in.
    pub(super) fn note_received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// Bytes went out.
    pub(super) fn note_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// The next moment at which [`HeartBeats::due`] has something to say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let beat = after(self.last_sent, self.send);
        let silence = after(self.last_received, self.silence);
        beat.into_iter().chain(silence).min()
    }

    /// What is due now.
    pub(super) fn due(&self, now: Instant) -> Option<Due> {
        if after(self.last_received, self.silence).is_some_and(|deadline| deadline <= now) {
            Some(Due::Silence)
        } else if after(self.last_sent, self.send).is_some_and(|deadline| deadline <= now) {
            Some(Due::Beat)
        } else {
            None
        }
    }
}

/// What our CONNECTED says. 1.0 has no heart-beats.
pub(super) fn offer(version: Version, options: &Options) -> HeartBeat {
    if !version.has_heart_beats() {
        return HeartBeat::default();
    }
    HeartBeat { can_send: millis(options.heart_beat_send), wants: millis(options.heart_beat_receive) }
}

/// The interval in one direction: the greater of both wishes, and none if either side wants none.
fn interval(sender: u32, receiver: u32) -> u32 {
    if sender == 0 || receiver == 0 { 0 } else { sender.max(receiver) }
}

fn millis(interval: Duration) -> u32 {
    u32::try_from(interval.as_millis()).unwrap_or(u32::MAX)
}

fn after(start: Instant, interval: u32) -> Option<Instant> {
    if interval == 0 { None } else { start.checked_add(Duration::from_millis(u64::from(interval))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(send: u64, receive: u64) -> Options {
        Options {
            heart_beat_send: Duration::from_millis(send),
            heart_beat_receive: Duration::from_millis(receive),
            ..Options::default()
        }
    }

    /// B1: the greater wish counts, and zero on either side means none.
    #[test]
    fn agrees_as_the_specification_says() {
        let now = Instant::now();
        let check = |ours: (u64, u64), client: (u32, u32), send: u32, silence: u32| {
            let wish = HeartBeat { can_send: client.0, wants: client.1 };
            let beats = HeartBeats::agree(now, Version::V1_2, wish, &options(ours.0, ours.1));
            assert_eq!((beats.send, beats.silence), (send, silence), "{ours:?} with {client:?}");
        };
        check((10_000, 10_000), (10_000, 10_000), 8_000, 30_000);
        check((10_000, 10_000), (0, 0), 0, 0);
        check((0, 0), (10_000, 10_000), 0, 0);
        check((10_000, 10_000), (4_000, 20_000), 16_000, 30_000);
        check((10_000, 5_000), (4_000, 0), 0, 15_000);
        check((1, 1), (1, 1), 1, 3);
        check((10_000, 10_000), (u32::MAX, u32::MAX), 3_435_973_836, u32::MAX);
    }

    #[test]
    fn output_and_input_move_their_own_deadline() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut beats =
            HeartBeats::agree(start, Version::V1_1, HeartBeat { can_send: 10_000, wants: 10_000 }, &Options::default());
        assert_eq!(beats.deadline(), Some(start + 8 * second));
        assert_eq!(beats.due(start + 7 * second), None);
        assert_eq!(beats.due(start + 8 * second), Some(Due::Beat));
        beats.note_sent(start + 25 * second);
        assert_eq!(beats.deadline(), Some(start + 30 * second));
        assert_eq!(beats.due(start + 30 * second), Some(Due::Silence));
        beats.note_received(start + 26 * second);
        assert_eq!(beats.deadline(), Some(start + 33 * second));
        assert_eq!(beats.due(start + 32 * second), None);
    }
}
