//! Starting the broker, handing out sockets, and going away in order.

mod accept;
mod applications;
mod builder;
mod latch;
mod refuse;
mod storage;
mod thread;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, mpsc, watch};

use crate::admin::Admin;
use crate::app::hook::{Hooks, SetupError};
use crate::app::{self, Entry, Table};
use crate::broker::Interest;
use crate::message::WorkerId;
use crate::sockjs;
use crate::store;
use crate::transport::{http, tcp};
use crate::worker::{self, Counters, Traffic};

pub use builder::Builder;

/// Everything a broker needs to know. `Options::default()` is a broker on loopback on the usual ports.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many workers; 0: one for each core. Default: 0. Key `server.workers`.
    pub workers: usize,
    /// Where to listen for WebSocket. Default: 127.0.0.1:15674. Key `websocket.bind`.
    pub websocket: Vec<SocketAddr>,
    /// Where to listen for STOMP over TCP. Default: 127.0.0.1:61613. Key `tcp.bind`.
    pub tcp: Vec<SocketAddr>,
    /// Where to tell health and metrics over HTTP. Default: 127.0.0.1:15672. Key `admin.bind`.
    pub admin: Vec<SocketAddr>,
    /// Whether anybody who reaches a socket beyond loopback may use the broker (E4). Default: false. Key
    /// `access.anonymous`.
    pub anonymous_anywhere: bool,
    /// Connections at a time, over all transports. Default: 100 000. Key `limits.connections`.
    pub connections: usize,
    /// Accepted connections that may wait for one worker to take them on. Default: 256. Key `limits.new_connections`.
    pub new_connections: usize,
    /// Connections to the admin port at a time. Default: 64. Key `admin.connections`.
    pub admin_connections: usize,
    /// Names by which the admin port may be asked, besides addresses and `localhost`; `*`: any. None: any too, unless this machine
    /// alone reaches the port. Default: none. Key `admin.hosts`.
    pub admin_hosts: Vec<String>,
    /// After how much silence the system probes a TCP connection. Default: 60 s. Key `tcp.keepalive`.
    pub keepalive: Option<Duration>,
    /// How long clients have to take what is queued for them when the broker goes away. Default: 10 s. Key
    /// `server.drain_timeout`.
    pub drain_timeout: Duration,
    /// The HTTP side of the WebSocket port.
    pub http: http::Options,
    /// SockJS on that port.
    pub sockjs: sockjs::Options,
    /// Where messages are kept that outlive the process. Default: nowhere. Keys in `[store]`; the program's default is on disk.
    pub store: store::Options,
    /// What workers do.
    pub worker: worker::Options,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            workers: 0,
            websocket: vec![SocketAddr::from(([127, 0, 0, 1], 15674))],
            tcp: vec![SocketAddr::from(([127, 0, 0, 1], 61613))],
            admin: vec![SocketAddr::from(([127, 0, 0, 1], 15672))],
            anonymous_anywhere: false,
            connections: 100_000,
            new_connections: 256,
            admin_connections: 64,
            admin_hosts: Vec::new(),
            keepalive: Some(Duration::from_secs(60)),
            drain_timeout: Duration::from_secs(10),
            http: http::Options::default(),
            sockjs: sockjs::Options::default(),
            store: store::Options { engine: store::Engine::Memory, ..store::Options::default() },
            worker: worker::Options::default(),
        }
    }
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Someone else listens there, or the address is not ours.
    #[error("cannot listen on {address} ({key}): {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The config key that names it.
        key: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// There is nothing to listen on.
    #[error("no listener is enabled: set websocket.enabled or tcp.enabled to true")]
    NoListener,
    /// Anonymous clients from anywhere were not asked for (E4).
    #[error(
        "{key} = {address} is reachable from other machines, and clients need no login: set access.anonymous = \
         \"anywhere\" if that is what you want, or bind to 127.0.0.1"
    )]
    OpenToAll {
        /// The address.
        address: SocketAddr,
        /// The config key that names it.
        key: &'static str,
    },
    /// A handler cannot be registered.
    #[error("a handler for application destinations: {0}")]
    Handler(#[from] app::EntryError),
    /// A hook cannot be made, for want of its secret or of certificates.
    #[error(transparent)]
    Hook(#[from] SetupError),
    /// The store cannot be opened.
    #[error("{0}")]
    Store(#[from] store::OpenError),
    /// The store cannot be read.
    #[error("the store cannot be read back: {0}")]
    Read(store::StoreError),
    /// The system gives no thread or no runtime.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
}

/// How long workers have for what they have for each other when the broker ends: they wait for nobody but the store.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// A running broker. Dropping it stops it at once; [`Server::shut_down`] lets clients take what is queued for them.
#[derive(Debug)]
pub struct Server {
    websocket: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    admin: Vec<SocketAddr>,
    counters: Vec<Arc<Counters>>,
    stage: watch::Sender<Stage>,
    /// Over when the listening sockets are closed.
    accepting: Option<latch::Latch>,
    /// Over when no client has anything more to say.
    closing: Option<latch::Latch>,
    /// What is on its way between workers.
    traffic: Vec<Arc<Traffic>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    /// Outlives the workers, so that what they asked for last is stored.
    storage: Option<storage::Running>,
    drain_timeout: Duration,
}

/// The application's side of a broker.
struct Application<'e> {
    table: Arc<Table>,
    entries: &'e [Entry],
}

/// How far the broker's end has come. Every thread watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// The listening sockets are closed, before anybody is told: whoever comes back at once would else be taken by the system
    /// on our behalf, and cut off when we are gone.
    Closing,
    /// The open connections are told, and written to until the end.
    Draining,
    /// The clients are gone. What workers still have for each other takes effect: an ACK may be on its way to its queue.
    Finishing,
    Stopped,
    /// A worker is gone by a fault of ours. The others cannot do without it, so everything stops.
    Failed,
}

impl Stage {
    /// Whether connections are served as usual.
    fn is_usual(self) -> bool {
        matches!(self, Stage::Serving | Stage::Closing)
    }

    fn is_finishing(self) -> bool {
        self == Stage::Finishing || self.is_over()
    }

    fn is_over(self) -> bool {
        matches!(self, Stage::Stopped | Stage::Failed)
    }
}

impl Server {
    /// Starts a broker. It serves when this returns.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub fn start(options: Options) -> Result<Server, StartError> {
        Server::start_with(options, &[])
    }

    fn start_with(options: Options, entries: &[Entry]) -> Result<Server, StartError> {
        // On a thread of its own: it waits for the workers, and who starts a broker may be in a runtime, where nobody may wait.
        let started = std::thread::scope(|scope| scope.spawn(|| Server::start_here(options, entries)).join());
        started.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn start_here(options: Options, entries: &[Entry]) -> Result<Server, StartError> {
        let hooks = Hooks::new(&options.worker.app.hooks)?;
        let entries = &[entries, &hooks.entries].concat();
        let spaces = &options.worker.broker.destinations;
        let table = Arc::new(Table::new(Arc::clone(&options.worker.app), entries, spaces)?);
        let workers = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            chosen => chosen.min(usize::from(u16::MAX)),
        };
        check_reach(&options)?;
        // First, so that a second broker by mistake does not touch the store. Who connects now waits until what was stored is
        // back: nobody accepts before that.
        let websocket = bind(&options.websocket, "websocket.bind")?;
        let tcp = bind(&options.tcp, "tcp.bind")?;
        let admin = bind(&options.admin, "admin.bind")?;
        let interest = Arc::new(Interest::new(u16::try_from(workers).unwrap_or(u16::MAX)));
        let storage = storage::open(&options.store)?;
        let (stage, _) = watch::channel(Stage::Serving);
        let mut server = Server {
            websocket: addresses(&websocket),
            tcp: addresses(&tcp),
            admin: addresses(&admin),
            counters: (0..workers).map(|_| Arc::default()).collect(),
            stage,
            accepting: None,
            closing: None,
            traffic: (0..workers).map(|_| Arc::default()).collect(),
            threads: Vec::new(),
            storage: None,
            drain_timeout: options.drain_timeout,
        };
        let options = Arc::new(options);
        let application = Application { table, entries };
        let entrances = server.start_workers(&options, interest, storage, &application)?;
        let listeners = accept::Listeners { websocket, tcp, admin };
        let (counters, stage) = (server.counters.clone(), server.stage.subscribe());
        let is_local = server.admin.iter().all(|address| address.ip().is_loopback());
        let admin = Admin::new(counters.clone(), hooks.monitors, &options.admin_hosts, is_local);
        let acceptor = accept::Acceptor::new(entrances, counters, admin, &options);
        let accepting = latch::Latch::default();
        let part = accepting.part();
        let acceptor = thread::spawn("acceptor", move || {
            acceptor.run(listeners, stage);
            part.done();
        });
        server.threads.push(acceptor.map_err(StartError::Worker)?);
        server.accepting = Some(accepting);
        Ok(server)
    }

    /// Where WebSocket clients connect: with the ports that the system chose where 0 was asked for.
    pub fn websocket_addresses(&self) -> &[SocketAddr] {
        &self.websocket
    }

    /// Where TCP clients connect.
    pub fn tcp_addresses(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// Where health and metrics are told.
    pub fn admin_addresses(&self) -> &[SocketAddr] {
        &self.admin
    }

    /// The counts of each worker.
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// Waits until a worker has failed, which nothing but a fault in this library brings about. The broker serves nobody
    /// then and should be started anew.
    pub fn failed(&self) -> impl Future<Output = ()> + use<> {
        let mut stage = self.stage.subscribe();
        async move {
            if stage.wait_for(|stage| *stage == Stage::Failed).await.is_err() {
                // The server is gone in good order.
                std::future::pending().await
            }
        }
    }

    /// Stops taking connections, tells every client, writes what is queued for at most the drain time, and stops.
    pub fn shut_down(mut self) {
        self.stage.send_replace(Stage::Closing);
        if let Some(accepting) = self.accepting.take() {
            accepting.wait();
        }
        self.stage.send_replace(Stage::Draining);
        let deadline = std::time::Instant::now() + self.drain_timeout;
        while self.connections() > 0 && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = self.connections();
        if left > 0 {
            tracing::warn!(left, "connections cut off at the end of server.drain_timeout");
        }
        self.finish();
        self.stop();
    }

    /// Lets what clients have said take effect, wherever it still is.
    fn finish(&mut self) {
        self.stage.send_replace(Stage::Finishing);
        if !self.closing.take().is_some_and(latch::Latch::wait) {
            // A worker is gone, and what it had taken up with it.
            return;
        }
        let deadline = std::time::Instant::now() + FINISH_TIMEOUT;
        while !Traffic::is_over(&self.traffic) {
            if std::time::Instant::now() >= deadline || *self.stage.borrow() == Stage::Failed {
                tracing::warn!("not all that clients have sent took effect: the store is too slow, or full");
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn connections(&self) -> u64 {
        self.counters.iter().map(|counters| counters.connections.read()).sum()
    }

    fn start_workers(
        &mut self,
        options: &Arc<Options>,
        interest: Arc<Interest>,
        storage: Option<storage::Opened>,
        application: &Application<'_>,
    ) -> Result<Vec<thread::Entrance>, StartError> {
        let workers = self.counters.len();
        // Differs between starts, and that is all it has to do.
        let boot = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u32);
        let conduits = sockjs::Registry::new(&options.sockjs);
        let unfinished = worker::Unfinished::new(options.worker.unfinished_bytes, workers);
        let (senders, receivers) = worker::inboxes(workers, options.worker.inbox_batches);
        let (store_senders, store_receivers) = worker::inboxes(workers, options.worker.inbox_batches);
        let jobs = self.start_application(options, application, store_senders.clone())?;
        let mut way = None;
        if let Some(opened) = &storage {
            let (running, ways) = opened.start(&options.store, store_senders).map_err(StartError::Worker)?;
            self.storage = Some(running);
            way = Some(ways);
        }
        let (restored_senders, restored_receivers) = storage::restoring_channels(workers);
        let (latch, closing) = (latch::Latch::default(), latch::Latch::default());
        let mut entrances = Vec::new();
        let ways_in = receivers.into_iter().zip(store_receivers).zip(restored_receivers);
        for (index, ((inbox, answers), restored)) in ways_in.enumerate() {
            let traffic = self.traffic.get(index).map(Arc::clone).unwrap_or_default();
            let plan = thread::Plan {
                id: WorkerId(index as u16),
                boot,
                options: Arc::clone(options),
                interest: Arc::clone(&interest),
                conduits: Arc::clone(&conduits),
                unfinished: Arc::clone(&unfinished),
                counters: self.counters.get(index).map(Arc::clone).unwrap_or_default(),
                outward: worker::Outward::new(WorkerId(index as u16), senders.clone(), traffic),
                inbox,
                answers,
                way: way.clone(),
                table: Arc::clone(&application.table),
                port: jobs.clone().map(|jobs| worker::Port::new(WorkerId(index as u16), jobs)),
                restored,
                ready: latch.part(),
                closed: closing.part(),
                stage: self.stage.clone(),
            };
            let (entrance, handle) = plan.start().map_err(StartError::Worker)?;
            entrances.push(entrance);
            self.threads.push(handle);
        }
        self.closing = Some(closing);
        if let Some(opened) = storage {
            opened.restore(&interest, &options.worker.broker.destinations, restored_senders)?;
        } else {
            drop(restored_senders);
        }
        // Nobody may publish to a topic before all durable subscriptions to it are back, wherever they live.
        if !latch.wait() {
            return Err(StartError::Worker(io::Error::other("it ended at once")));
        }
        Ok(entrances)
    }

    /// Starts the thread of the handlers, if there are any, and gives the way to it. Its answers go where those of the store
    /// go, past what waits for the store.
    fn start_application(
        &mut self,
        options: &Options,
        application: &Application<'_>,
        answers: Vec<mpsc::Sender<worker::Batch>>,
    ) -> Result<Option<mpsc::Sender<(WorkerId, app::Job)>>, StartError> {
        if application.entries.is_empty() {
            return Ok(None);
        }
        // Room for all that there can be, so that none is refused here.
        let room = options.worker.app.max_calls.saturating_mul(self.counters.len());
        let (sender, jobs) = mpsc::channel(room.clamp(1, Semaphore::MAX_PERMITS));
        let applications = applications::Applications::new(application.entries, jobs, answers);
        let stage = self.stage.subscribe();
        let handle = thread::spawn("applications", move || applications.run(stage)).map_err(StartError::Worker)?;
        self.threads.push(handle);
        Ok(Some(sender))
    }

    fn stop(&mut self) {
        self.stage.send_replace(Stage::Stopped);
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
        // Stores what the workers asked for last.
        self.storage = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Refuses addresses that are open to other machines where that was not asked for (E4).
fn check_reach(options: &Options) -> Result<(), StartError> {
    let lists = [(&options.websocket, "websocket.bind"), (&options.tcp, "tcp.bind"), (&options.admin, "admin.bind")];
    for (addresses, key) in lists {
        let open = addresses.iter().find(|address| !is_loopback(address.ip()));
        if let Some(address) = open.filter(|_| !options.anonymous_anywhere) {
            return Err(StartError::OpenToAll { address: *address, key });
        }
    }
    if options.websocket.is_empty() && options.tcp.is_empty() {
        return Err(StartError::NoListener);
    }
    Ok(())
}

fn bind(wanted: &[SocketAddr], key: &'static str) -> Result<Vec<std::net::TcpListener>, StartError> {
    let listen = |address: &SocketAddr| {
        let address = *address;
        tcp::listen(address).map_err(|error| StartError::Listen { address, key, error })
    };
    wanted.iter().map(listen).collect()
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn addresses(listeners: &[std::net::TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a worker has for another when the broker is told to end takes effect before it ends.
    #[test]
    fn it_ends_when_nothing_is_under_way_between_workers() {
        let (stage, mut watched) = watch::channel(Stage::Serving);
        let (closing, traffic) = (latch::Latch::default(), Arc::<Traffic>::default());
        let closed = closing.part();
        traffic.note_made(1);
        let worker = {
            let traffic = Arc::clone(&traffic);
            std::thread::spawn(move || {
                while *watched.borrow_and_update() != Stage::Finishing {
                    std::thread::yield_now();
                }
                closed.done();
                // It might go on now, were it not for what is under way.
                (0..100).for_each(|_| std::thread::yield_now());
                let is_over = watched.borrow_and_update().is_over();
                traffic.note_taken(1);
                assert!(!is_over, "it ended before");
            })
        };
        let server = Server {
            websocket: Vec::new(),
            tcp: Vec::new(),
            admin: Vec::new(),
            counters: Vec::new(),
            stage,
            accepting: None,
            closing: Some(closing),
            traffic: vec![Arc::clone(&traffic)],
            threads: Vec::new(),
            storage: None,
            drain_timeout: Duration::ZERO,
        };
        server.shut_down();
        assert!(Traffic::is_over(&[traffic]));
        worker.join().unwrap();
    }
}
