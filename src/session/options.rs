//! What can be set about a session.

use std::time::Duration;

use bytestring::ByteString;

use super::identity::{Relay, Secret};
use crate::destination::{Destination, Pattern, Spaces};

/// What all sessions of a listener share. The doc of each field starts with the config key that sets it.
#[derive(Clone, Debug)]
pub struct Options {
    /// `[[destinations]]`: which destinations are topics, and which are queues (U1, U8).
    pub spaces: Spaces,
    /// `connect_timeout`: how long a client may take to CONNECT (H4).
    pub connect_timeout: Duration,
    /// `disconnect_timeout`: how long a DISCONNECT waits for the RECEIPTs of the frames before it.
    pub disconnect_timeout: Duration,
    /// `heart_beat.send`: the shortest interval at which we offer to send heart-beats; zero for none.
    pub heart_beat_send: Duration,
    /// `heart_beat.receive`: the interval at which we wish to receive heart-beats; zero for none.
    pub heart_beat_receive: Duration,
    /// `heart_beat.tolerance`: how many agreed intervals a client may be silent (B1).
    pub heart_beat_tolerance: u32,
    /// `tcp.continue_on_error`: whether a refused SUBSCRIBE or SEND leaves the session alive even if CONNECT does not say
    /// `on-error:continue`.
    pub continue_on_error: bool,
    /// `[[relay]]`: the clients that get the same by their login and passcode (X4).
    pub relays: Vec<Relay>,
    /// `access.trust_login`: whether the `login` of a CONNECT is taken for the name of the session's user. Nobody checks it:
    /// this is for development, and for networks where everybody is trusted.
    pub trust_login: bool,
    /// `limits.user_bytes`: the longest name of a user.
    pub max_user_bytes: usize,
    /// `headers.private`: names of headers of a SEND that receivers do not get to see (M1), in any case of letters.
    /// `receipt` and `transaction` never pass, whatever is set here.
    pub private_headers: Vec<String>,
    /// `[[app.worker]]`: which sessions may take the messages of which application destinations.
    pub work_rights: Vec<WorkRight>,
    /// `app.events`: a topic that clients do not send to, and that only sessions with one of these rights subscribe to.
    pub protected: Option<Destination>,
    /// `queues.prefetch`: how many messages of a subscription may be unsettled when SUBSCRIBE does not say (Q5).
    pub prefetch: u32,
    /// `[[queues.policy]]`: the same for the queues of each policy; the first that takes a queue decides.
    pub queue_prefetches: Vec<(Pattern, u32)>,
    /// `queues.spring_user_queues`: whether the queues that Spring's broker relay makes for users end with their last
    /// subscription (P6).
    pub spring_user_queues: bool,
    /// `queues.max_prefetch`: the most that a SUBSCRIBE gets; a greater wish, and `0` for "any number", mean this.
    pub max_prefetch: u32,
    /// `limits.subscriptions_per_session`: how many subscriptions may be live at a time.
    pub max_subscriptions: usize,
    /// `limits.id_bytes`: the longest subscription id, receipt id or transaction name.
    pub max_id_bytes: usize,
    /// `limits.pending_receipts`: how many frames may wait for the broker's answer before the session wants no input.
    pub max_pending_receipts: usize,
    /// `limits.transactions`: how many transactions may be open at a time.
    pub max_transactions: usize,
    /// `limits.transaction_operations`: how many SEND, ACK and NACK frames one transaction may hold.
    pub max_transaction_operations: usize,
    /// `limits.transaction_bytes`: how many bytes of messages all open transactions may hold together.
    pub max_transaction_bytes: usize,
    /// `limits.held_messages`: how many messages of topics one subscription may hold back for a client that is slow.
    pub max_held_messages: usize,
    /// `limits.held_bytes`: how many bytes of messages of topics all subscriptions may hold back together.
    pub max_held_bytes: usize,
    /// `limits.outbox_bytes`: the driver's limit on output that is not yet written. A session only names it in errors.
    pub max_outbox_bytes: usize,
}

/// The right to take the messages of application destinations, instead of asking them (A2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkRight {
    /// What a SUBSCRIBE must say, exactly so.
    pub destinations: Vec<ByteString>,
    /// `login` and `passcode` of the CONNECT; none: whoever comes this way has the right.
    pub login: Option<(String, Secret)>,
}

impl Options {
    /// How many messages of a subscription to `destination` may be unsettled when SUBSCRIBE does not say.
    pub(super) fn usual_prefetch(&self, destination: &ByteString) -> u32 {
        let destination = Destination::new(destination.clone());
        let found = self.queue_prefetches.iter().find(|(pattern, _)| pattern.matches(&destination));
        found.map_or(self.prefetch, |(_, prefetch)| *prefetch)
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            spaces: Spaces::default(),
            connect_timeout: Duration::from_secs(10),
            disconnect_timeout: Duration::from_secs(10),
            heart_beat_send: Duration::from_secs(1),
            heart_beat_receive: Duration::from_secs(1),
            heart_beat_tolerance: 3,
            continue_on_error: false,
            relays: Vec::new(),
            trust_login: false,
            max_user_bytes: 128,
            private_headers: ["login", "passcode", "Authorization", "X-Authorization"].map(String::from).to_vec(),
            work_rights: Vec::new(),
            protected: None,
            prefetch: 100,
            queue_prefetches: Vec::new(),
            spring_user_queues: true,
            max_prefetch: 1000,
            max_subscriptions: 1000,
            max_id_bytes: 1024,
            max_pending_receipts: 1024,
            max_transactions: 16,
            max_transaction_operations: 1024,
            max_transaction_bytes: 16 * 1024 * 1024,
            max_held_messages: 256,
            max_held_bytes: 4 * 1024 * 1024,
            max_outbox_bytes: 1024 * 1024,
        }
    }
}
