//! What holds whatever happens to a session, in any order.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;

use super::*;

/// What a session that goes on after refusals survives.
const GENTLE: [&str; 22] = [
    "> SUBSCRIBE id:a destination:/queue/a ack:client prefetch-count:2",
    "> SUBSCRIBE id:b destination:/topic/a ack:client-individual prefetch-count:1 receipt:r",
    "> SUBSCRIBE id:c destination:/topic/**",
    "> SUBSCRIBE id:d destination:/nowhere",
    "> UNSUBSCRIBE id:a receipt:r",
    "> UNSUBSCRIBE id:c",
    "> SEND destination:/topic/a receipt:r",
    "+ 0 /queue/a 1 queue",
    "+ 0 /queue/a 2 queue full",
    "+ 0 /topic/a 3 drop-oldest full",
    "+ 1 /topic/a 4 keep-latest full",
    "+ 1 /topic/a 5 drop-oldest",
    "+ 2 /topic/a 6 drop-oldest full",
    "+ 2 /topic/a 7 keep-latest",
    "+ 2 /topic/b 8 keep-latest full",
    "= 0 1",
    "= 1 1",
    "= 2 1",
    "= 3 full",
    "= - unroutable",
    "writable",
    "sent 5000",
];

/// What may end a session.
const ROUGH: [&str; 15] = [
    "> SEND destination:/topic/a transaction:t",
    "> BEGIN transaction:t receipt:r",
    "> COMMIT transaction:t",
    "> ABORT transaction:t receipt:r",
    "> ACK id:0-1",
    "> ACK id:0-2 transaction:t",
    "> ACK id:1-1",
    "> NACK id:1-2 receipt:r",
    "> NACK id:2-1 transaction:t",
    "> DISCONNECT receipt:r",
    "+ 1 /topic/a 3 disconnect full",
    "= 0 full",
    "@ 9000",
    "closing",
    "lost",
];

fn anything() -> impl Strategy<Value = &'static str> {
    prop_oneof![9 => select(&GENTLE[..]), 1 => select(&ROUGH[..])]
}

fn options() -> Options {
    Options { max_held_messages: 2, max_pending_receipts: 4, ..Options::default() }
}

/// The keys in lines such as `#1 subscribe 0=a ...`.
fn keys(asked: &[String], verb: &str) -> Vec<String> {
    let words = asked.iter().map(|line| line.split([' ', '=']).collect::<Vec<_>>());
    let chosen = words.filter(|words| words.get(1) == Some(&verb));
    chosen.filter_map(|words| Some((*words.get(2)?).to_owned())).collect()
}

/// The keys in lines such as `#1 subscribe 1=a queue /queue/a replaces 0 ...`.
fn replaced(asked: &[String]) -> Vec<String> {
    let rest = asked.iter().filter_map(|line| line.split_once(" replaces "));
    rest.filter_map(|(_, rest)| Some(rest.split(' ').next()?.to_owned())).collect()
}

proptest! {
    /// A session ends once and is silent from then on; each subscription is taken away once, unless the broker refused
    /// it; nothing is delivered to one that is gone; receipts that wait are limited.
    #[test]
    fn whatever_happens(events in vec(anything(), 0..60)) {
        let mut player = Player::new(options());
        player.happen("> CONNECT accept-version:1.2 on-error:continue");
        let mut live = BTreeSet::new();
        for event in events.into_iter().chain(["lost"]) {
            if event.starts_with('>') && !player.session.wants_input() {
                continue;
            }
            let was_closed = player.session.is_closed();
            let asked = player.happen(event);
            prop_assert!(!was_closed || asked.is_empty(), "{asked:?} after the end");
            for key in keys(&asked, "unsubscribe").into_iter().chain(replaced(&asked)) {
                prop_assert!(live.remove(&key), "{key} was not live");
            }
            live.extend(keys(&asked, "subscribe"));
            if event.ends_with(" full") && event.starts_with('=') {
                let State::Live(state) = &player.session.state else { return Ok(()) };
                live = state.subscriptions.iter().map(|each| each.key.0.to_string()).collect();
            }
            let closes = asked.iter().filter(|line| line.starts_with("close ")).count();
            let is_last = asked.last().is_some_and(|line| line.starts_with("close "));
            prop_assert_eq!(closes, usize::from(is_last), "{:?}", asked);
            prop_assert!(closes == 0 || player.session.is_closed());
        }
        prop_assert!(live.is_empty(), "{live:?} are still subscribed");
    }

    /// Only wanting room, all that is held comes out, and then nothing is held.
    #[test]
    fn what_is_held_comes_out(events in vec(select(&GENTLE[..]), 0..60)) {
        let mut player = Player::new(options());
        player.happen("> CONNECT accept-version:1.2 on-error:continue");
        for event in events {
            player.happen(event);
        }
        for _ in 0..1000 {
            if !player.session.has_held() {
                break;
            }
            let asked = player.happen("writable");
            prop_assert!(asked.iter().any(|line| line.starts_with("MESSAGE")), "{asked:?}");
        }
        prop_assert!(!player.session.has_held());
        if let State::Live(live) = &player.session.state {
            let held: usize = live.subscriptions.iter().map(|each| each.held_bytes()).sum();
            prop_assert_eq!(live.subscriptions.held_bytes(), held);
        }
    }
}
