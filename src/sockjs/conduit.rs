//! The state of one SockJS session: what waits for its client, who receives it, and when it ends.
//!
//! A conduit outlives the HTTP requests that serve it. Most transports *receive* by requests that end after one frame or
//! after some bytes, and between two of them messages wait in the cache. Time is an argument; nothing here does IO.

use std::collections::VecDeque;
use std::time::Instant;

use super::Options;
use super::framing::{self, json};

/// How much a receiver takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// One frame: polling.
    OneFrame,
    /// Frames until so many bytes have gone out, when the browser's memory is to be freed: streaming.
    Bytes(usize),
    /// All there will be: WebSocket.
    Everything,
}

/// Another receiver is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// One SockJS session.
#[derive(Debug)]
pub struct Conduit {
    options: Options,
    /// Whether the first frame has gone out.
    opened: bool,
    /// The code and the reason, once it is closed.
    closed: Option<(u16, String)>,
    /// Messages that wait, as JSON strings.
    cache: VecDeque<String>,
    cached_bytes: usize,
    receiver: Option<Receiver>,
    /// With a receiver, when it was last written to; without, when the last one went.
    since: Instant,
}

#[derive(Debug)]
struct Receiver {
    takes: Takes,
    sent: usize,
    done: bool,
}

impl Conduit {
    /// A conduit whose first receiver is about to come.
    pub fn new(now: Instant, options: &Options) -> Conduit {
        Conduit {
            options: options.clone(),
            opened: false,
            closed: None,
            cache: VecDeque::new(),
            cached_bytes: 0,
            receiver: None,
            since: now,
        }
    }

    /// A receiver has come. Ask [`Conduit::poll_frame`] for what to send it, and [`Conduit::is_receiver_done`].
    ///
    /// # Errors
    /// There is one already: send the new one [`framing::STILL_OPEN`] and end it.
    pub fn attach(&mut self, now: Instant, takes: Takes) -> Result<(), Busy> {
        if self.receiver.is_some() {
            return Err(Busy);
        }
        self.receiver = Some(Receiver { takes, sent: 0, done: false });
        self.since = now;
        Ok(())
    }

    /// The receiver was ended as it should be.
    pub fn detach(&mut self, now: Instant) {
        self.receiver = None;
        self.since = now;
    }

    /// The receiver broke off. Nobody knows what its client has read, so the conduit cannot go on.
    pub fn interrupt(&mut self, now: Instant) {
        self.detach(now);
        self.close(now, framing::INTERRUPTED.0, framing::INTERRUPTED.1);
        self.cache.clear();
        self.cached_bytes = 0;
    }

    /// The application has a message for the client.
    pub fn push(&mut self, message: &str) {
        if self.closed.is_some() {
            return;
        }
        let mut encoded = String::with_capacity(message.len() + message.len() / 8 + 2);
        json::write_string(message, &mut encoded);
        self.cached_bytes += encoded.len();
        self.cache.push_back(encoded);
    }

    /// Whether the cache has room: without any, the application must wait.
    pub fn wants_messages(&self) -> bool {
        self.closed.is_none() && self.cached_bytes < self.options.cache_bytes
    }

    /// The application is done. What is cached still goes out, and then the reason; every receiver that comes within the
    /// time for one to come is told the reason again.
    pub fn close(&mut self, now: Instant, code: u16, reason: &str) {
        if self.closed.is_none() {
            self.closed = Some((code, reason.to_owned()));
        }
        if self.receiver.is_none() {
            self.since = now;
        }
    }

    /// Whether the application or a failure closed it.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// The code it was closed with.
    pub fn close_code(&self) -> Option<u16> {
        self.closed.as_ref().map(|(code, _)| *code)
    }

    /// Whether there is a frame for the receiver.
    pub fn has_frame(&self, now: Instant) -> bool {
        let wants = self.receiver.as_ref().is_some_and(|receiver| !receiver.done);
        wants && (!self.opened || !self.cache.is_empty() || self.closed.is_some() || self.is_heart_beat_due(now))
    }

    /// The next frame for the receiver, as `wrap` makes it for the transport.
    pub fn poll_frame(&mut self, now: Instant, wrap: impl FnOnce(String) -> String) -> Option<String> {
        if !self.has_frame(now) {
            return None;
        }
        let frame = if !self.opened {
            self.opened = true;
            framing::open()
        } else if !self.cache.is_empty() {
            self.cached_bytes = 0;
            let messages = std::mem::take(&mut self.cache);
            framing::messages(messages.iter().map(String::as_str))
        } else if let Some((code, reason)) = &self.closed {
            if let Some(receiver) = &mut self.receiver {
                receiver.done = true;
            }
            framing::close(*code, reason)
        } else {
            framing::heart_beat()
        };
        let frame = wrap(frame);
        self.since = now;
        if let Some(receiver) = &mut self.receiver {
            receiver.sent += frame.len();
            receiver.done |= match receiver.takes {
                Takes::OneFrame => true,
                Takes::Bytes(limit) => receiver.sent >= limit,
                Takes::Everything => false,
            };
        }
        Some(frame)
    }

    /// Whether the receiver has all it takes: end it, and call [`Conduit::detach`].
    pub fn is_receiver_done(&self) -> bool {
        self.receiver.as_ref().is_some_and(|receiver| receiver.done)
    }

    /// When the conduit should be looked at again: a heart-beat is due, or its end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.receiver {
            Some(receiver) if receiver.done => None,
            Some(_) => self.options.heartbeat.and_then(|interval| self.since.checked_add(interval)),
            None => self.since.checked_add(self.options.disconnect_delay),
        }
    }

    /// Whether no receiver came for so long that the client is gone.
    pub fn is_over(&self, now: Instant) -> bool {
        self.receiver.is_none() && now.saturating_duration_since(self.since) >= self.options.disconnect_delay
    }

    /// A heart-beat fills silence only: what else was written serves as well (B2).
    fn is_heart_beat_due(&self, now: Instant) -> bool {
        self.options.heartbeat.is_some_and(|interval| now.saturating_duration_since(self.since) >= interval)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A conduit, a clock that is turned by hand, and how to say what happens in a line.
    struct Bench {
        conduit: Conduit,
        start: Instant,
        now: Instant,
    }

    impl Bench {
        fn new() -> Bench {
            let start = Instant::now();
            let options = Options { cache_bytes: 16, ..Options::default() };
            Bench { conduit: Conduit::new(start, &options), start, now: start }
        }

        /// Opened by a poll that is over.
        fn opened() -> Bench {
            let mut bench = Bench::new();
            assert_eq!(bench.poll(), ["o"]);
            bench
        }

        fn at(&mut self, seconds: u64) -> &mut Bench {
            self.now = self.start + Duration::from_secs(seconds);
            self
        }

        fn attach(&mut self, takes: Takes) {
            self.conduit.attach(self.now, takes).unwrap();
        }

        /// All frames there are for the receiver; a receiver that is done is detached.
        fn frames(&mut self) -> Vec<String> {
            let mut frames = Vec::new();
            while let Some(frame) = self.conduit.poll_frame(self.now, |frame| frame) {
                frames.push(frame);
            }
            if self.conduit.is_receiver_done() {
                self.conduit.detach(self.now);
            }
            frames
        }

        fn poll(&mut self) -> Vec<String> {
            self.attach(Takes::OneFrame);
            self.frames()
        }

        fn is_over(&self) -> bool {
            self.conduit.is_over(self.now)
        }

        fn timeout(&self) -> Option<u64> {
            self.conduit.poll_timeout().map(|at| (at - self.start).as_secs())
        }
    }

    #[test]
    fn polls_take_a_frame_each() {
        let mut bench = Bench::opened();
        bench.conduit.push("a");
        bench.conduit.push("b\n");
        assert_eq!(bench.poll(), [r#"a["a","b\n"]"#]);
        assert_eq!(bench.poll(), [""; 0]);
        bench.conduit.push("c");
        assert_eq!(bench.frames(), [r#"a["c"]"#]);
        assert!(bench.conduit.receiver.is_none());
    }

    #[test]
    fn streams_end_after_enough_bytes() {
        let mut bench = Bench::new();
        bench.attach(Takes::Bytes(12));
        assert_eq!(bench.frames(), ["o"]);
        bench.conduit.push("1234");
        assert_eq!(bench.frames(), [r#"a["1234"]"#]);
        bench.conduit.push("1");
        assert_eq!(bench.frames(), [r#"a["1"]"#]);
        assert!(bench.conduit.receiver.is_none());
        bench.attach(Takes::Everything);
        bench.conduit.push(&"x".repeat(100_000));
        assert_eq!(bench.frames().len(), 1);
        assert!(bench.conduit.receiver.is_some());
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut bench = Bench::opened();
        assert!(bench.conduit.wants_messages());
        bench.conduit.push("12345678901234");
        assert!(!bench.conduit.wants_messages());
        assert_eq!(bench.poll().len(), 1);
        assert!(bench.conduit.wants_messages());
    }

    #[test]
    fn there_is_one_receiver_at_a_time() {
        let mut bench = Bench::opened();
        bench.attach(Takes::OneFrame);
        assert_eq!(bench.conduit.attach(bench.now, Takes::OneFrame), Err(Busy));
        bench.conduit.push("a");
        assert_eq!(bench.frames(), [r#"a["a"]"#]);
    }

    #[test]
    fn b2_heart_beats_fill_silence_only() {
        let mut bench = Bench::new();
        bench.attach(Takes::Everything);
        assert_eq!(bench.frames(), ["o"]);
        assert_eq!(bench.timeout(), Some(25));
        bench.at(24).conduit.push("a");
        assert_eq!(bench.frames(), [r#"a["a"]"#]);
        assert_eq!(bench.at(25).frames(), [""; 0]);
        assert_eq!(bench.timeout(), Some(49));
        assert_eq!(bench.at(49).frames(), ["h"]);
        assert_eq!(bench.timeout(), Some(74));
    }

    #[test]
    fn a_heart_beat_ends_a_poll() {
        let mut bench = Bench::opened();
        assert_eq!(bench.poll(), [""; 0]);
        assert_eq!(bench.at(25).frames(), ["h"]);
        assert!(bench.conduit.receiver.is_none());
    }

    #[test]
    fn it_ends_when_no_receiver_comes() {
        let mut bench = Bench::opened();
        assert_eq!(bench.timeout(), Some(5));
        assert_eq!(bench.at(4).poll(), [""; 0]);
        assert!(!bench.at(20).is_over());
        bench.conduit.push("a");
        assert_eq!(bench.frames().len(), 1);
        assert_eq!(bench.timeout(), Some(25));
        assert!(!bench.at(24).is_over());
        assert!(bench.at(25).is_over());
    }

    #[test]
    fn a_closed_one_says_so_until_it_is_over() {
        let mut bench = Bench::opened();
        bench.conduit.push("last");
        bench.conduit.close(bench.now, 3000, "Go away!");
        bench.conduit.close(bench.now, 3001, "too late");
        bench.conduit.push("too late");
        assert!(!bench.conduit.wants_messages());
        assert_eq!(bench.poll(), [r#"a["last"]"#]);
        assert_eq!(bench.poll(), [r#"c[3000,"Go away!"]"#]);
        assert_eq!(bench.at(3).poll(), [r#"c[3000,"Go away!"]"#]);
        assert!(!bench.at(7).is_over());
        assert!(bench.at(8).is_over());
    }

    #[test]
    fn a_stream_ends_with_the_close_frame() {
        let mut bench = Bench::new();
        bench.attach(Takes::Everything);
        bench.conduit.push("a");
        bench.conduit.close(bench.now, 1000, "");
        assert_eq!(bench.frames(), ["o", r#"a["a"]"#, r#"c[1000,""]"#]);
        assert!(bench.conduit.receiver.is_none());
    }

    #[test]
    fn a_receiver_that_breaks_off_ends_it() {
        let mut bench = Bench::opened();
        bench.attach(Takes::Bytes(100));
        bench.conduit.push("lost");
        bench.conduit.interrupt(bench.now);
        assert!(bench.conduit.is_closed());
        assert_eq!(bench.poll(), [r#"c[1002,"Connection interrupted"]"#]);
    }
}
