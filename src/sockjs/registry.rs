//! Where requests find the conduit they are for, whatever thread either is on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::Options;
use super::conduit::Takes;
use super::framing::Wrapping;
use super::host::Share;
use crate::hash::Keyed;

/// Requests of one kind that wait for one conduit; further ones wait with their connections.
const WAITING: usize = 4;

/// A request that receives.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) takes: Takes,
    pub(super) wrapping: Wrapping,
    /// Takes the frames. Has room for two at least when it comes.
    pub(super) frames: mpsc::Sender<Bytes>,
}

/// A request that sends.
#[derive(Debug)]
pub(super) struct Post {
    /// Its messages, as the application reads them.
    pub(super) bytes: Vec<u8>,
    /// Counts them.
    pub(super) share: Share,
    /// Told when the application has taken them; dropped when it never will.
    pub(super) taken: oneshot::Sender<()>,
}

/// The way to a conduit.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) arrivals: mpsc::Sender<Arrival>,
    pub(super) posts: mpsc::Sender<Post>,
}

/// What a conduit's task holds of the registry: it is listed for as long as this lives.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) arrivals: mpsc::Receiver<Arrival>,
    pub(super) posts: mpsc::Receiver<Post>,
    handle: mpsc::WeakSender<Arrival>,
    session: Box<str>,
    registry: Arc<Registry>,
}

/// What a session's name leads to.
#[derive(Debug)]
pub(super) enum Found {
    /// Its conduit.
    Known(Handle),
    /// A conduit that is to be started.
    New(Handle, Listing, OwnedSemaphorePermit),
    /// There are as many conduits as there may be.
    Full,
}

/// All conduits of a server, by the names of their sessions. The workers share one.
#[derive(Debug)]
pub struct Registry {
    conduits: Mutex<HashMap<Box<str>, Handle, Keyed>>,
    permits: Arc<Semaphore>,
}

impl Registry {
    /// An empty one.
    pub fn new(options: &Options) -> Arc<Registry> {
        let limit = options.max_conduits.min(Semaphore::MAX_PERMITS);
        Arc::new(Registry { conduits: Mutex::default(), permits: Arc::new(Semaphore::new(limit)) })
    }

    /// The conduit of this session, if there is one.
    pub(super) fn find(&self, session: &str) -> Option<Handle> {
        self.conduits.lock().get(session).cloned()
    }

    /// The conduit of this session, which is listed from now on.
    pub(super) fn find_or_list(self: &Arc<Registry>, session: &str) -> Found {
        let mut conduits = self.conduits.lock();
        let entry = conduits.entry(session.into());
        if let Entry::Occupied(known) = &entry
            && !known.get().arrivals.is_closed()
        {
            return Found::Known(known.get().clone());
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return Found::Full };
        let (arrivals, received_arrivals) = mpsc::channel(WAITING);
        let (posts, received_posts) = mpsc::channel(WAITING);
        let handle = Handle { arrivals, posts };
        entry.insert_entry(handle.clone());
        let listing = Listing {
            arrivals: received_arrivals,
            posts: received_posts,
            handle: handle.arrivals.downgrade(),
            session: session.into(),
            registry: Arc::clone(self),
        };
        Found::New(handle, listing, permit)
    }

    /// How many conduits there are.
    pub fn len(&self) -> usize {
        self.conduits.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        // Whoever finds the handle from now on finds it closed, and the next conduit of that name takes its place.
        self.arrivals.close();
        let mut conduits = self.registry.conduits.lock();
        let own = self.handle.upgrade();
        let is_own = |handle: &Handle| own.as_ref().is_some_and(|own| own.same_channel(&handle.arrivals));
        if conduits.get(&self.session).is_some_and(is_own) {
            conduits.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conduit_is_found_while_it_lives_and_never_more_than_may_be() {
        let registry = Registry::new(&Options { max_conduits: 1, ..Options::default() });
        let Found::New(_, listing, permit) = registry.find_or_list("a") else { panic!("there is none yet") };
        assert!(matches!(registry.find_or_list("a"), Found::Known(_)));
        assert!(matches!(registry.find_or_list("b"), Found::Full));
        assert!(registry.find("a").is_some() && registry.find("b").is_none());
        drop((listing, permit));
        assert!(registry.find("a").is_none() && registry.is_empty());
        assert!(matches!(registry.find_or_list("b"), Found::New(..)));
    }

    #[test]
    fn an_old_conduit_does_not_take_a_new_one_off_the_list() {
        let registry = Registry::new(&Options::default());
        let Found::New(_, mut old, _permit) = registry.find_or_list("a") else { panic!("there is none yet") };
        old.arrivals.close();
        let Found::New(_, new, _permit) = registry.find_or_list("a") else { panic!("the old one is closed") };
        drop(old);
        assert!(matches!(registry.find_or_list("a"), Found::Known(_)));
        drop(new);
        assert!(registry.is_empty());
    }
}
