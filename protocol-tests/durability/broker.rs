//! The real program, started on a store that stays.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub(crate) struct Broker {
    child: Child,
    addresses: [String; 2],
}

impl Broker {
    pub(crate) fn start(folder: &Path, engine: &str) -> io::Result<Broker> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("broker.log"))?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_gumboot"))
            .current_dir(folder)
            .args(["--set", "websocket.bind=127.0.0.1:0", "--set", "tcp.bind=127.0.0.1:0"])
            .args(["--set", "admin.enabled=false", "--set", "server.workers=3"])
            .args(["--set", "queues.redelivery_delay=10ms", "--set", "queues.max_deliveries=1000"])
            .args(["--set", &format!("store.engine={engine}"), "--set", "store.path=./data"])
            // Small, so that it is full often, and leaves room on a small disk.
            .args(["--set", "store.journal_bytes=1MiB"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let output = child.stdout.take().map(BufReader::new);
        let mut lines = output.into_iter().flat_map(BufRead::lines).map_while(Result::ok);
        let mut address =
            || lines.by_ref().find_map(|line| line.split_once("listening on ").map(|(_, at)| at.to_owned()));
        let addresses = address().zip(address());
        let mut broker = Broker { child, addresses: Default::default() };
        match addresses {
            Some((one, other)) => broker.addresses = [one, other],
            None => {
                broker.kill();
                let said = std::fs::read_to_string(folder.join("broker.log")).unwrap_or_default();
                return Err(io::Error::other(format!("the broker did not start; it said:\n{said}")));
            }
        }
        Ok(broker)
    }

    /// Where to connect: over WebSocket, and over TCP.
    pub(crate) fn addresses(&self) -> &[String; 2] {
        &self.addresses
    }

    /// How many bytes of memory it has, as the system counts them.
    pub(crate) fn memory(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes << 10).ok_or_else(|| io::Error::other("no VmRSS"))
    }

    /// Tells it to end in order.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        let told = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        if told.success() { Ok(()) } else { Err(io::Error::other("it has ended already")) }
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        self.child.wait().map(|_| ())
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
