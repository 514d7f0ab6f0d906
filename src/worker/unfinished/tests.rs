use std::io::IoSlice;
use std::time::Duration;

use super::*;
use crate::broker::Interest;
use crate::clock::Clock;
use crate::worker::{Counters, Event, Framing, Options, Peer};

const LIMIT: usize = 64 * 1024;

/// Some hubs that share one limit, and their clients.
struct Broker {
    hubs: Vec<Hub>,
    now: Instant,
    unfinished: Arc<Unfinished>,
}

#[derive(Clone, Copy)]
struct Client {
    hub: usize,
    key: ConnectionKey,
}

impl Broker {
    fn new(workers: u16) -> Broker {
        let now = Instant::now();
        let unfinished = Unfinished::new(LIMIT, usize::from(workers));
        let interest = Arc::new(Interest::new(workers));
        let options = Arc::new(Options { outbox_bytes: 1000, ..Options::default() });
        let hub = |index| {
            let (options, interest) = (Arc::clone(&options), Arc::clone(&interest));
            let clock = Clock::new(now, 0);
            let mut hub = Hub::new(clock, WorkerId(index), 1, options, interest, Arc::new(Counters::default()));
            hub.share_unfinished(Arc::clone(&unfinished));
            hub
        };
        Broker { hubs: (0..workers).map(hub).collect(), now, unfinished }
    }

    fn connect(&mut self, hub: usize) -> Client {
        let key = self.hubs[hub].open(self.now, Peer { transport: "tcp", address: None }, Framing::Stream);
        let client = Client { hub, key };
        self.say(client, "CONNECT\naccept-version:1.2\n\n\0");
        assert!(self.hear(client).starts_with("CONNECTED\n"));
        client
    }

    fn say(&mut self, client: Client, text: &str) {
        self.hubs[client.hub].receive(self.now, client.key, &mut text.as_bytes().to_vec());
    }

    /// Says the beginning of a message with this many bytes of body, and no more.
    fn begin(&mut self, client: Client, bytes: usize) {
        self.say(client, &format!("SEND\ndestination:/topic/a\ncontent-length:{}\n\n{}", bytes + 1, "x".repeat(bytes)));
    }

    fn hear(&mut self, client: Client) -> String {
        let hub = &mut self.hubs[client.hub];
        hub.seal();
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = hub.slices(client.key, &mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
        hub.wrote(self.now, client.key, bytes.len());
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether a client is told that it has to go.
    fn is_told(&mut self, client: Client) -> bool {
        self.hear(client).contains("code:too-much-unfinished\n")
    }

    /// Brings what workers have for each other.
    fn exchange(&mut self) {
        for from in 0..self.hubs.len() {
            for to in 0..self.hubs.len() {
                let posts = self.hubs[from].take_posts(WorkerId(to as u16));
                self.hubs[to].receive_posts(self.now, posts);
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

#[test]
fn what_comes_whole_leaves_nothing() {
    let mut broker = Broker::new(1);
    let client = broker.connect(0);
    for _ in 0..3 {
        broker.say(client, "SEND\ndestination:/topic/a\n\nbody\0\n");
        assert_eq!(broker.unfinished.total(), 0);
    }
    broker.begin(client, 5000);
    assert!(broker.unfinished.total() > 5000);
    let gauge = broker.hubs[0].peers.counters.unfinished.read();
    assert_eq!(gauge, broker.unfinished.total() as u64);
    broker.say(client, "x\0");
    assert_eq!((broker.unfinished.total(), broker.hubs[0].peers.counters.unfinished.read()), (0, 0));
}

/// G5: the error says which limit, how much and which key, and so do the reason of the close and the metric.
#[test]
fn g5_the_one_that_has_to_go_is_told_why() {
    let mut broker = Broker::new(1);
    let clients = [broker.connect(0), broker.connect(0)];
    broker.begin(clients[0], 40_000);
    broker.pass(3);
    broker.begin(clients[1], 30_000);
    let heard = broker.hear(clients[0]);
    assert!(heard.contains("code:too-much-unfinished\n"), "{heard}");
    assert!(heard.contains("65536 bytes unfinished (limits.unfinished_bytes)") && heard.contains("3000 ms"), "{heard}");
    let counters = Arc::clone(&broker.hubs[0].peers.counters);
    assert_eq!(counters.limits().get("too-much-unfinished"), Some(&1));
    assert_eq!(counters.closes().get("too-much-unfinished"), Some(&1));
    // What it had is free at once, and the other goes on.
    assert!(broker.unfinished.total() < 35_000, "{}", broker.unfinished.total());
    broker.say(clients[1], "x\0SUBSCRIBE\nid:0\ndestination:/topic/a\nreceipt:r\n\n\0");
    assert!(broker.hear(clients[1]).contains("receipt-id:r\n"));
}

/// Each client keeps so many bytes for so many seconds before the next one begins; the last one is too much.
fn check_goes(clients: &[(usize, u64)], expected: usize) {
    let mut broker = Broker::new(1);
    let names: Vec<Client> = clients.iter().map(|_| broker.connect(0)).collect();
    for (client, (bytes, seconds)) in names.iter().zip(clients) {
        assert!(!broker.is_told(names[expected]));
        broker.begin(*client, *bytes);
        broker.pass(*seconds);
    }
    let told: Vec<bool> = names.iter().map(|client| broker.is_told(*client)).collect();
    let wanted: Vec<bool> = (0..names.len()).map(|index| index == expected).collect();
    assert_eq!(told, wanted, "{clients:?}");
}

#[test]
fn who_keeps_most_for_longest_goes() {
    // Of those that came together, the largest, whoever made it too much.
    check_goes(&[(50_000, 0), (10_000, 0), (10_000, 0)], 0);
    check_goes(&[(10_000, 0), (10_000, 0), (50_000, 0)], 2);
    // One that stopped goes before a larger one that has just begun.
    check_goes(&[(22_000, 60), (45_000, 0)], 0);
    check_goes(&[(1_000, 2), (30_000, 60), (40_000, 0)], 1);
}

/// A client that sends without a pause leaves something over at nearly every read, but never the same.
#[test]
fn who_ends_its_frames_is_new_with_each() {
    let mut broker = Broker::new(1);
    let (busy, stuck) = (broker.connect(0), broker.connect(0));
    broker.begin(busy, 20_000);
    broker.pass(50);
    broker.begin(stuck, 10_000);
    broker.pass(9);
    broker.say(busy, "x\0");
    broker.begin(busy, 20_000);
    broker.pass(1);
    let third = broker.connect(0);
    broker.begin(third, 40_000);
    assert!(broker.is_told(stuck));
    assert!(!broker.is_told(busy) && !broker.is_told(third));
}

/// What a paused session does not take counts as well; the session ends all the same.
#[test]
fn what_is_not_taken_up_counts() {
    let mut broker = Broker::new(1);
    let client = broker.connect(0);
    let frame = "SEND\ndestination:/topic/a\nreceipt:one\n\nbody\0";
    broker.say(client, &frame.repeat(100));
    assert!(!broker.hubs[0].wants_input(client.key));
    let kept = broker.unfinished.total();
    assert!(kept > 60 * frame.len(), "{kept}");
    broker.say(client, &frame.repeat(LIMIT / frame.len()));
    assert!(broker.is_told(client));
    assert_eq!(broker.unfinished.total(), 0);
}

/// X5: after DISCONNECT there is no ERROR, but an end there is.
#[test]
fn x5_who_disconnects_and_goes_on_is_closed_without_an_error() {
    let mut broker = Broker::new(2);
    let client = broker.connect(0);
    // One of these queues lives on the other worker, whose answer the RECEIPTs wait for.
    let sends: String =
        (0..20).map(|number| format!("SEND\ndestination:/queue/{number}\nreceipt:{number}\n\n\0")).collect();
    broker.say(client, &sends);
    broker.say(client, "DISCONNECT\nreceipt:bye\n\n\0");
    assert!(!broker.hear(client).contains("receipt-id:bye"));
    broker.begin(client, LIMIT);
    assert!(!broker.hear(client).contains("ERROR\n"));
    assert_eq!(broker.unfinished.total(), 0);
    assert!(std::iter::from_fn(|| broker.hubs[0].poll_event()).any(|event| event == Event::Finished(client.key)));
}

/// The limit is that of the whole broker: a worker without room asks the one that keeps the most.
#[test]
fn the_worker_that_keeps_most_makes_room() {
    let mut broker = Broker::new(3);
    let (large, small) = (broker.connect(1), broker.connect(1));
    broker.begin(small, 10_000);
    broker.begin(large, 40_000);
    let last = broker.connect(2);
    broker.begin(last, 30_000);
    assert!(broker.unfinished.total() > LIMIT, "nobody on its own worker has to go");
    broker.exchange();
    assert!(broker.is_told(large));
    assert!(!broker.is_told(small) && !broker.is_told(last));
    assert!(broker.unfinished.total() < LIMIT);
    // A request that comes late finds nothing to do.
    broker.hubs[1].receive_posts(broker.now, vec![Post::Relieve]);
    assert!(!broker.is_told(small));
}

/// What is kept on the way to a connection is that connection's.
#[test]
fn what_is_kept_outside_counts() {
    let mut broker = Broker::new(1);
    let (client, other) = (broker.connect(0), broker.connect(0));
    broker.hubs[0].note_outside(broker.now, client.key, 50_000);
    broker.hubs[0].note_outside(broker.now, other.key, 10_000);
    broker.hubs[0].note_outside(broker.now, client.key, 60_000);
    assert!(broker.is_told(client) && !broker.is_told(other));
    assert_eq!(broker.unfinished.total(), 10_000);
    // It may say so before it hears of the end.
    broker.hubs[0].note_outside(broker.now, client.key, 60_000);
    assert_eq!(broker.unfinished.total(), 10_000);
    broker.hubs[0].failed(broker.now, other.key);
    assert_eq!(broker.unfinished.total(), 0);
}

/// Bodies have half of it for themselves, and no more; connections make room for that half.
#[test]
fn bodies_have_half() {
    let mut broker = Broker::new(1);
    let client = broker.connect(0);
    broker.begin(client, 50_000);
    assert!(broker.hubs[0].admit_body(broker.now, 10_000));
    assert!(!broker.is_told(client));
    assert!(broker.hubs[0].admit_body(broker.now, 22_000));
    assert!(broker.is_told(client));
    assert!(!broker.hubs[0].admit_body(broker.now, 1000));
    assert_eq!(broker.hubs[0].peers.counters.unfinished.read(), 32_000);
    let release = broker.hubs[0].body_release();
    std::thread::scope(|scope| scope.spawn(|| release(32_000)).join().unwrap());
    assert_eq!(broker.hubs[0].peers.counters.unfinished.read(), 0);
    assert_eq!(broker.unfinished.total(), 0);
    assert!(broker.hubs[0].admit_body(broker.now, 1000));
}
