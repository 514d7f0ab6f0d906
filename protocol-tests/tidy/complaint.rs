//! What a check has to say.

use std::fmt;

/// One breach of one law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) path: String,
    /// Counted from one; 0: the file as a whole.
    pub(crate) line: usize,
    pub(crate) law: Law,
    /// What is wrong.
    pub(crate) wrong: String,
}

/// The laws, as numbered in the crate's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Law {
    PureRooms,
    Transport,
    Rooms,
    Config,
    Serde,
    Packages,
    Invariant,
    Bounded,
    Glob,
    Size,
    DeadCode,
    Words,
}

impl Law {
    /// Its name, and what to do about a breach.
    fn remedy(self) -> (&'static str, &'static str) {
        match self {
            Law::PureRooms => ("law 1", "pure code is given bytes and time as arguments; do this in the driver"),
            Law::Transport => ("law 2", "a transport carries bytes; what they mean belongs into the worker"),
            Law::Rooms => {
                ("room table", "go through the room in between, or change ROOMS in tidy/layers.rs and say why")
            }
            Law::Config => ("law 3", "take an Options struct of the module itself; config fills it"),
            Law::Serde => ("law 4", "read and write files in config, and hand plain values on"),
            Law::Packages => {
                ("room table", "use it where it belongs, or change PACKAGES in tidy/layers.rs and say why")
            }
            Law::Invariant => {
                ("law 5", "handle the case, or say in `// Invariant: ...` just above why it cannot happen")
            }
            Law::Bounded => ("law 5", "give it a limit from an Options, and say what happens at the limit"),
            Law::Glob => ("law 5", "name what you use; only tests may `use super::*`"),
            Law::Size => ("law 5", "find the part that stands on its own and give it a name"),
            Law::DeadCode => ("law 5", "remove it; the history keeps it"),
            Law::Words => ("words", "say it without, or do it now"),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (law, remedy) = self.law.remedy();
        let Complaint { path, line, wrong, .. } = self;
        write!(f, "{path}:{line}: {law}: {wrong}: {remedy}")
    }
}
