//! What can be set about the store.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where and how durable messages are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `store.engine`: what keeps the messages.
    pub engine: Engine,
    /// `store.path`: the directory that is the store's alone. Created when it is missing.
    pub path: PathBuf,
    /// `store.sync`: when a message counts as stored.
    pub sync: Sync,
    /// `store.journal_bytes`: the size of the journal, where batches are safe before the engine has them. About as much is in
    /// memory too. Batches of more than a third of it go to the engine at once.
    pub journal_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            engine: Engine::Sled,
            path: PathBuf::from("./gumboot-data"),
            sync: Sync::Always,
            journal_bytes: 16 << 20,
        }
    }
}

/// What keeps the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// `"memory"`: nothing survives the process. For tests, and for brokers that need no durability.
    Memory,
    /// `"sled"`: the default. Of beta quality, as its authors say.
    Sled,
    /// `"redb"`: a stable file format, and less memory.
    Redb,
}

impl Engine {
    /// All engines, in the order of the documentation.
    pub const ALL: [Engine; 3] = [Engine::Memory, Engine::Sled, Engine::Redb];

    /// The value of `store.engine`.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Memory => "memory",
            Engine::Sled => "sled",
            Engine::Redb => "redb",
        }
    }

    /// Reads what [`Engine::name`] says, and nothing else.
    pub fn parse(name: &str) -> Option<Engine> {
        Engine::ALL.into_iter().find(|engine| engine.name() == name)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When a message counts as stored, and its RECEIPT may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// `"always"`: once the disk has said that it is safe. Survives a power cut.
    Always,
    /// `"interval"`: at once; the disk is asked this often. A power cut may take what came since it was last asked.
    Interval(Duration),
}

/// Limits of the committer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitterOptions {
    /// When a message counts as stored; as in [`Options::sync`].
    pub sync: Sync,
    /// Submissions that may wait for the disk; more are handed back as [`Busy`](super::Busy).
    pub max_waiting: usize,
    /// Bytes of messages in them.
    pub max_waiting_bytes: usize,
    /// Changes in one batch, above which no further submission joins it.
    pub batch_operations: usize,
    /// Bytes of messages in one batch, likewise.
    pub batch_bytes: usize,
    /// How long what nobody waits for may wait for a batch that is committed anyway.
    pub unawaited_pause: Duration,
    /// Changes that may wait for a disk that fails; the submissions above are answered with the failure.
    pub max_retried: usize,
    /// How long to wait before trying them again when nothing new comes.
    pub retry_pause: Duration,
}

impl Default for CommitterOptions {
    fn default() -> CommitterOptions {
        CommitterOptions {
            sync: Sync::Always,
            max_waiting: 65_536,
            max_waiting_bytes: 8 << 20,
            batch_operations: 4_096,
            batch_bytes: 4 << 20,
            unawaited_pause: Duration::from_millis(20),
            max_retried: 262_144,
            retry_pause: Duration::from_secs(1),
        }
    }
}
