//! Which workers have topic subscriptions: the one table that all shards share.

/// Shared by the shards of one broker, one per worker.
#[derive(Debug)]
pub struct Interest {
    workers: u16,
}

impl Interest {
    /// For a broker of this many workers; none is taken for one.
    pub fn new(workers: u16) -> Interest {
        Interest { workers: workers.max(1) }
    }

    /// How many workers the broker has.
    pub fn workers(&self) -> u16 {
        self.workers
    }
}
