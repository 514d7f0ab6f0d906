//! The hasher of every map whose keys come from peers.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::LazyLock;

/// Builds keyed AES hashers: as fast as the unkeyed ones, but a peer that does not know this process's seeds cannot
/// choose keys that collide.
#[derive(Clone, Debug)]
pub struct Keyed(ahash::RandomState);

impl Keyed {
    /// Hashers that are the same in every process: for what must be repeatable, never for the keys of a map.
    pub(crate) fn repeatable(seed: u64) -> Keyed {
        Keyed(ahash::RandomState::with_seeds(seed, seed.rotate_left(17), seed.rotate_left(31), seed.rotate_left(47)))
    }
}

impl Default for Keyed {
    fn default() -> Self {
        // The seeds are drawn once, from the standard library's own source of randomness.
        static SEEDS: LazyLock<[u64; 4]> = LazyLock::new(|| {
            [1u64, 2, 3, 4].map(|salt| {
                let mut hasher = std::hash::RandomState::new().build_hasher();
                hasher.write_u64(salt);
                hasher.finish()
            })
        });
        let [a, b, c, d] = *SEEDS;
        Keyed(ahash::RandomState::with_seeds(a, b, c, d))
    }
}

/// A number that only this process can know to belong to `what`, and nobody can guess: the standard library's own keyed hash, whose
/// keys are drawn once.
pub(crate) fn seal(what: impl Hash) -> u64 {
    static KEYS: LazyLock<std::hash::RandomState> = LazyLock::new(std::hash::RandomState::new);
    KEYS.hash_one(what)
}

impl BuildHasher for Keyed {
    type Hasher = ahash::AHasher;

    fn build_hasher(&self) -> ahash::AHasher {
        self.0.build_hasher()
    }
}
