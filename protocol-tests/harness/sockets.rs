//! What the ways over sockets have in common: the machine's clock, and one broker that all cases share; or, for a case that
//! restarts it, a broker of its own.

use std::time::{Duration, Instant};

use super::{Harness, HarnessError, Link, Opening, Scope, World};
use crate::launcher::Launched;
use crate::profile::{Launch, Timing};

/// Opens a connection to the address.
pub(super) type Dial = fn(address: &str, timing: &Timing, opening: &Opening) -> Result<Box<dyn Link>, HarnessError>;

/// A way over sockets.
pub(super) struct Sockets {
    pub(super) name: &'static str,
    /// What the broker's announcement of its address begins with.
    pub(super) scheme: &'static str,
    pub(super) dial: Dial,
    pub(super) address: String,
    pub(super) timing: Timing,
    /// Where the suite can start the broker.
    pub(super) launch: Option<Launch>,
}

impl Harness for Sockets {
    fn name(&self) -> &'static str {
        self.name
    }

    fn world(&self, scope: Scope) -> Result<Box<dyn World>, HarnessError> {
        let launch = self.launch.as_ref().filter(|_| scope == Scope::Own);
        let own = launch.map(|launch| Launched::start(&launch.start(vec![self.scheme]))).transpose()?;
        let mut world = SocketWorld {
            scheme: self.scheme,
            dial: self.dial,
            address: self.address.clone(),
            timing: self.timing.clone(),
            own,
        };
        world.find();
        Ok(Box::new(world))
    }
}

struct SocketWorld {
    scheme: &'static str,
    dial: Dial,
    address: String,
    timing: Timing,
    own: Option<Launched>,
}

impl SocketWorld {
    /// A broker of its own is where it says that it is.
    fn find(&mut self) {
        if let Some(address) = self.own.as_ref().and_then(|own| own.address(self.scheme)) {
            self.address = address.to_owned();
        }
    }
}

impl World for SocketWorld {
    fn connect(&mut self, opening: &Opening) -> Result<Box<dyn Link>, HarnessError> {
        (self.dial)(&self.address, &self.timing, opening)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn advance(&mut self, by: Duration) {
        std::thread::sleep(by);
    }

    fn restart(&mut self) -> Result<(), HarnessError> {
        let own = self.own.as_mut().ok_or(HarnessError::Unsupported("restart it: the suite did not start it"))?;
        own.restart()?;
        self.find();
        Ok(())
    }
}
