//! The threads of a broker: one runtime each, nothing shared but what the plan names.

use std::cell::OnceCell;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::latch::Part;
use super::storage::Way;
use super::{Options, Stage};
use crate::app::Table;
use crate::broker::Interest;
use crate::clock::Clock;
use crate::message::WorkerId;
use crate::sockjs::{Endpoints, Host, Opened, Patience, Registry, Release, Spoken, Tell, TooMuch};
use crate::transport::http::{self, Upgraded};
use crate::websocket::origin::Listener;
use crate::worker::{Batch, Counters, Framing, Hub, Outward, Peer, Port, Storage, Unfinished, Worker};

/// Batches taken from the inbox at a time.
const BATCHES: usize = 64;

/// A socket for a worker.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    /// What it speaks: for HTTP, what must be known of the listener that it came through.
    pub(super) speaks: Speaks,
    pub(super) permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Speaks {
    Http(Listener),
    Stomp,
}

/// The way into a worker.
pub(super) type Entrance = mpsc::Sender<Arrival>;

/// What a worker's thread is started with.
pub(super) struct Plan {
    pub(super) id: WorkerId,
    pub(super) boot: u32,
    pub(super) options: Arc<Options>,
    pub(super) interest: Arc<Interest>,
    pub(super) conduits: Arc<Registry>,
    /// What all workers keep of input that is not whole.
    pub(super) unfinished: Arc<Unfinished>,
    pub(super) counters: Arc<Counters>,
    pub(super) outward: Outward,
    pub(super) inbox: mpsc::Receiver<Batch>,
    /// The store's answers. Apart from the inbox, which waits while the store has too much to do.
    pub(super) answers: mpsc::Receiver<Batch>,
    /// The way to the store, where there is one.
    pub(super) way: Option<Way>,
    /// Who handles application destinations.
    pub(super) table: Arc<Table>,
    /// The way to the handlers among them.
    pub(super) port: Option<Port>,
    /// What the store has kept of the queues that live here, until all of it is said.
    pub(super) restored: mpsc::Receiver<Batch>,
    /// Told once that is done.
    pub(super) ready: Part,
    /// Told once no client of this worker has anything more to say.
    pub(super) closed: Part,
    pub(super) stage: watch::Sender<Stage>,
}

impl Plan {
    /// Starts the thread.
    pub(super) fn start(self) -> io::Result<(Entrance, JoinHandle<()>)> {
        let (entrance, arrivals) = mpsc::channel(self.options.new_connections);
        let name = format!("worker-{}", self.id.0);
        let handle = spawn(&name, move || {
            let _alarm = Alarm(self.stage.clone());
            let ended = Rc::new(OnceCell::new());
            let place = Rc::clone(&ended);
            run_local(async move { self.run(arrivals, &place).await });
            if let Some(worker) = ended.get() {
                let worker: &Rc<Worker> = worker;
                worker.finish();
            }
        })?;
        Ok((entrance, handle))
    }

    /// Runs until the broker ends; leaves the worker in `ended`, to be finished.
    async fn run(mut self, arrivals: mpsc::Receiver<Arrival>, ended: &OnceCell<Rc<Worker>>) {
        let options = Arc::new(self.options.worker.clone());
        let mut hub = Hub::new(clock_now(), self.id, self.boot, options, self.interest, Arc::clone(&self.counters));
        let storage = self.way.map(|way| {
            hub.use_store(way.sequences);
            Storage::new(self.id, way.submitter, way.asker)
        });
        hub.set_table(self.table);
        hub.share_unfinished(self.unfinished);
        let worker = Worker::new(hub, self.outward, storage, self.port);
        // Before anything else reaches this worker: it has no other task yet.
        while let Some(batch) = self.restored.recv().await {
            worker.receive_posts(std::iter::once(batch));
        }
        let _ = ended.set(Rc::clone(&worker));
        self.ready.done();
        tokio::task::spawn_local(Rc::clone(&worker).end_turns());
        tokio::task::spawn_local(Rc::clone(&worker).keep_time());
        tokio::task::spawn_local(receive_posts(Rc::clone(&worker), self.inbox));
        tokio::task::spawn_local(receive_answers(Rc::clone(&worker), self.answers));
        let door = Door::new(Rc::clone(&worker), self.options, self.conduits, self.counters);
        tokio::task::spawn_local(Rc::new(door).receive_arrivals(arrivals));
        let mut stage = self.stage.subscribe();
        // An error means that the server is gone, which is the end too.
        if stage.wait_for(|stage| !stage.is_usual()).await.is_ok() {
            worker.shut_down();
        }
        if stage.wait_for(|stage| stage.is_finishing()).await.is_ok_and(|stage| !stage.is_over()) {
            worker.close();
            self.closed.done();
            let _ = stage.wait_for(|stage| stage.is_over()).await;
        }
    }
}

/// Stops the broker when a worker's thread unwinds: half a broker would lose messages without a word.
struct Alarm(watch::Sender<Stage>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a worker failed; the broker stops");
            self.0.send_replace(Stage::Failed);
        }
    }
}

async fn receive_posts(worker: Rc<Worker>, mut inbox: mpsc::Receiver<Batch>) {
    let mut batches = Vec::new();
    while inbox.recv_many(&mut batches, BATCHES).await > 0 {
        worker.receive_batches(batches.drain(..));
        // Those who sent them may have more, but this worker's connections come first.
        tokio::task::yield_now().await;
        worker.has_room().await;
    }
}

async fn receive_answers(worker: Rc<Worker>, mut answers: mpsc::Receiver<Batch>) {
    while let Some(batch) = answers.recv().await {
        worker.receive_posts(std::iter::once(batch));
        tokio::task::yield_now().await;
    }
}

/// Where sockets become connections of a worker.
struct Door {
    worker: Rc<Worker>,
    options: Arc<Options>,
    sockjs: Option<Endpoints>,
}

impl Door {
    fn new(worker: Rc<Worker>, options: Arc<Options>, conduits: Arc<Registry>, counters: Arc<Counters>) -> Door {
        let http::Options { path, request_timeout } = &options.http;
        let websocket = &options.worker.websocket;
        let patience = Patience { request: *request_timeout, farewell: options.worker.close_timeout };
        let sockjs = options.sockjs.enabled.then(|| {
            let release = Arc::new(worker.body_release());
            let host = Rc::new(Entrant { worker: Rc::clone(&worker), release, counters });
            Endpoints::new(path, &options.sockjs, websocket, patience, conduits, host)
        });
        Door { worker, options, sockjs }
    }

    async fn receive_arrivals(self: Rc<Door>, mut arrivals: mpsc::Receiver<Arrival>) {
        while let Some(Arrival { stream, peer, speaks, permit }) = arrivals.recv().await {
            let stream = match tokio::net::TcpStream::from_std(stream) {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%peer, %error, "cannot take a connection on");
                    continue;
                }
            };
            match speaks {
                Speaks::Stomp => {
                    let peer = Peer { transport: "tcp", address: Some(peer) };
                    self.worker.adopt(Box::new(stream), peer, Framing::Stream, &[], Some(permit));
                }
                Speaks::Http(listener) => {
                    // A task of its own, whose buffers are gone when the connection's small task begins.
                    let door = Rc::clone(&self);
                    tokio::task::spawn_local(async move {
                        let (http, websocket) = (&door.options.http, &door.options.worker.websocket);
                        let served = http::serve(stream, peer, http, websocket, listener, door.sockjs.as_ref()).await;
                        if let Some(upgraded) = served {
                            door.take_upgraded(upgraded, peer, permit);
                        }
                    });
                }
            }
        }
    }

    fn take_upgraded(&self, upgraded: Upgraded, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let Upgraded { stream, early, spoken } = upgraded;
        match spoken {
            Spoken::SockJs(challenge) => {
                // Only with SockJS is this ever spoken.
                if let Some(sockjs) = &self.sockjs {
                    tokio::task::spawn_local(sockjs.serve_socket(stream, challenge, &early, peer, permit));
                }
            }
            Spoken::WebSocket(deflate) => {
                let peer = Peer { transport: "websocket", address: Some(peer) };
                self.worker.adopt(Box::new(stream), peer, Framing::Packets(deflate), &early, Some(permit));
            }
        }
    }
}

/// A worker as SockJS knows it.
struct Entrant {
    worker: Rc<Worker>,
    /// Hears of bytes of bodies that are gone.
    release: Release,
    counters: Arc<Counters>,
}

impl Host for Entrant {
    fn open(&self, opened: Opened) -> Tell {
        let peer = Peer { transport: "sockjs", address: Some(opened.peer) };
        let key = self.worker.adopt(Box::new(opened.stream), peer, Framing::Packets(None), &[], None);
        let worker = Rc::clone(&self.worker);
        Box::new(move |bytes| worker.note_outside(key, bytes))
    }

    fn admit_body(&self, bytes: usize) -> Result<(), TooMuch> {
        self.worker.admit_body(bytes).map_err(|limit| TooMuch { limit, key: "limits.unfinished_bytes" })
    }

    fn release(&self) -> Release {
        Arc::clone(&self.release)
    }

    fn limit_reached(&self, code: &'static str) {
        self.counters.limit_reached(code);
    }
}

/// The time by both clocks. A time of day before 1970 is none.
fn clock_now() -> Clock {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Clock::new(Instant::now(), u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX))
}

/// A named thread.
pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// Runs `main` on a runtime of this thread alone.
pub(super) fn run_local(main: impl Future<Output = ()>) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()) {
        Ok(runtime) => runtime.block_on(main),
        Err(error) => tracing::error!(%error, "cannot start a runtime"),
    }
}
