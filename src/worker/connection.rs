//! The driver: the one place where a hub meets sockets, the clock and other workers.
//!
//! Each connection is a task of a few words: it reads when its socket has something and hands that to the hub. Writing
//! is nobody's task: whoever makes work asks for the end of the turn, and the task that ends turns runs after all tasks
//! that were ready before it. It then writes every connection that has something, once.

use std::cell::{RefCell, RefMut};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use slotmap::SecondaryMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::encoder::Framing;
use super::hub::{Event, Hub};
use super::inbox::Outward;
use super::peers::{ConnectionKey, Peer};
use super::port::Port;
use super::post::Post;
use super::storage::Storage;
use crate::transport::Io;

/// What one read takes at most: the size of the worker's one read buffer.
const SCRATCH: usize = 64 * 1024;

/// Slices given to one `writev`.
const SLICES: usize = 64;

/// How often a turn's end is repeated when writing makes new work, before others get their turn.
const ROUNDS: usize = 4;

/// One worker at run time, shared by the tasks of its thread.
pub(crate) struct Worker {
    state: RefCell<State>,
}

struct State {
    hub: Hub,
    sockets: SecondaryMap<ConnectionKey, Socket>,
    scratch: Box<[u8]>,
    outward: Outward,
    storage: Option<Storage>,
    /// The way to the application's handlers, where there are any.
    port: Option<Port>,
    /// The time of this turn, once somebody asked for it.
    turn: Option<Instant>,
    /// Wakes the task that ends turns.
    turn_end: Option<Waker>,
    /// Wakes the task that waits for deadlines, when the next one moved to before what it waits for.
    clock: Option<(Option<Instant>, Waker)>,
    /// Connections that were not read from because another worker's inbox, or the store's, was full.
    held_back: Vec<ConnectionKey>,
    /// Wakes the task that takes posts of other workers, when there is room in the store's inbox again.
    room: Option<Waker>,
}

struct Socket {
    stream: Box<dyn Io>,
    /// Wakes the connection's task.
    waker: Option<Waker>,
    /// Whether the connection's task waits for the socket to take more.
    blocked: bool,
    /// Whether the peer closed its writing side.
    read_closed: bool,
    /// Whether it is in the list of those not read because of a full inbox.
    held_back: bool,
    /// One of the connections that may be open at a time.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Worker {
    pub(crate) fn new(hub: Hub, outward: Outward, storage: Option<Storage>, port: Option<Port>) -> Rc<Worker> {
        let state = State {
            hub,
            sockets: SecondaryMap::new(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            outward,
            storage,
            port,
            turn: None,
            turn_end: None,
            clock: None,
            held_back: Vec::new(),
            room: None,
        };
        Rc::new(Worker { state: RefCell::new(state) })
    }

    /// Takes a connection on whose handshake is done; `early` is what its peer sent behind the handshake. There is no permit
    /// where somebody else holds it for as long.
    pub(crate) fn adopt(
        self: &Rc<Worker>,
        stream: Box<dyn Io>,
        peer: Peer,
        framing: Framing,
        early: &[u8],
        permit: Option<OwnedSemaphorePermit>,
    ) -> ConnectionKey {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        let key = state.hub.open(now, peer, framing);
        let socket =
            Socket { stream, waker: None, blocked: false, read_closed: false, held_back: false, _permit: permit };
        state.sockets.insert(key, socket);
        if !early.is_empty() {
            let mut early = early.to_vec();
            state.hub.receive(now, key, &mut early);
        }
        state.end_turn_soon();
        drop(state);
        tokio::task::spawn_local(ConnectionTask { worker: Rc::clone(self), key });
        key
    }

    /// So many bytes of a connection's unfinished input are kept on the way to its stream.
    pub(crate) fn note_outside(&self, key: ConnectionKey, bytes: usize) {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        state.hub.note_outside(now, key, bytes);
        state.end_turn_soon();
    }

    /// Whether so many more bytes of a request's body may be kept; if not, what the limit is.
    pub(crate) fn admit_body(&self, bytes: usize) -> Result<(), usize> {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        let is_admitted = state.hub.admit_body(now, bytes);
        state.end_turn_soon();
        if is_admitted { Ok(()) } else { Err(state.hub.body_limit()) }
    }

    /// What is to be told when bytes that were admitted are kept no longer.
    pub(crate) fn body_release(&self) -> impl Fn(usize) + Send + Sync + use<> {
        self.state.borrow().hub.body_release()
    }

    /// Ends turns, for ever.
    pub(crate) async fn end_turns(self: Rc<Worker>) {
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            state.turn_end = Some(context.waker().clone());
            state.end_turn();
            while state.outward.needs_relief() {
                let relief = state.outward.relief();
                let worker = Rc::clone(&self);
                tokio::task::spawn_local(async move {
                    let relieved = relief.await;
                    worker.relieved(relieved);
                });
            }
            if let Some(pause) = state.storage.as_mut().and_then(Storage::pause) {
                let worker = Rc::clone(&self);
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(pause).await;
                    worker.try_store();
                });
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// Calls the hub when something is due, for ever.
    pub(crate) async fn keep_time(self: Rc<Worker>) {
        let mut sleep = std::pin::pin!(tokio::time::sleep(std::time::Duration::ZERO));
        poll_fn(|context| {
            loop {
                let mut state = self.state.borrow_mut();
                let Some(next) = state.hub.poll_timeout() else {
                    state.clock = Some((None, context.waker().clone()));
                    return Poll::<()>::Pending;
                };
                sleep.as_mut().reset(next.into());
                state.clock = Some((Some(next), context.waker().clone()));
                if sleep.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                // The turn's own time may be from before the deadline.
                state.turn = None;
                let now = state.now();
                state.hub.handle_timeout(now);
                state.end_turn_soon();
            }
        })
        .await;
    }

    /// Waits until this worker may take on what others have for it: not while the store's inbox is full, or what is to be stored
    /// would pile up here. The store's own answers come another way, so there is always room again.
    pub(crate) async fn has_room(&self) {
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            if !state.storage.as_ref().is_some_and(Storage::is_congested) {
                return Poll::Ready(());
            }
            state.room = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Takes what other workers have for this one.
    pub(crate) fn receive_batches(&self, batches: impl Iterator<Item = Vec<Post>>) {
        let mut count = 0;
        self.receive_posts(batches.inspect(|posts| count += posts.len()));
        self.state.borrow_mut().outward.took(count);
    }

    /// Takes what the store, or the application, has for this worker; or all that is restored.
    pub(crate) fn receive_posts(&self, batches: impl Iterator<Item = Vec<Post>>) {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        for posts in batches {
            state.hub.receive_posts(now, posts);
            if state.hub.needs_flush() {
                state.end_turn();
            }
        }
        state.end_turn_soon();
    }

    /// Tells every session that the broker goes away.
    pub(crate) fn shut_down(&self) {
        let mut state = self.state.borrow_mut();
        let now = state.now();
        state.hub.shut_down(now);
        state.end_turn_soon();
    }

    /// No client has anything more to say. What those who were here have said is on its way to the other workers after this.
    pub(crate) fn close(&self) {
        self.shut_down();
        let state = &mut *self.state.borrow_mut();
        state.end_turn();
        state.outward.send(&mut state.hub);
    }

    /// Hands over to the store what this worker still has for it. To be called when its runtime is gone, and nobody answers.
    pub(crate) fn finish(&self) {
        let state = &mut *self.state.borrow_mut();
        state.hub.finish(Instant::now());
        if let Some(storage) = &mut state.storage {
            storage.finish(&mut state.hub);
        }
    }

    /// Another worker's inbox has room again.
    fn relieved(&self, relieved: super::inbox::Relieved) {
        let mut state = self.state.borrow_mut();
        state.outward.relieved(relieved);
        state.release();
        state.end_turn_soon();
    }

    /// Tries again to hand over what there was no room for.
    fn try_store(&self) {
        let mut state = self.state.borrow_mut();
        if let Some(storage) = &mut state.storage {
            storage.retry();
        }
        state.release();
        state.end_turn_soon();
    }
}

/// Reads one connection, and writes it after its socket was full.
struct ConnectionTask {
    worker: Rc<Worker>,
    key: ConnectionKey,
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state: RefMut<'_, State> = self.worker.state.borrow_mut();
        state.drive(self.key, context)
    }
}

impl State {
    /// The time of this turn.
    fn now(&mut self) -> Instant {
        *self.turn.get_or_insert_with(Instant::now)
    }

    fn end_turn_soon(&self) {
        if let Some(waker) = &self.turn_end {
            waker.wake_by_ref();
        }
    }

    /// Whether so much is on its way to others that nothing more should be taken on.
    fn is_congested(&self) -> bool {
        self.outward.is_congested() || self.storage.as_ref().is_some_and(Storage::is_congested)
    }

    /// Reads those again that were held back, if there is room now.
    fn release(&mut self) {
        if !self.storage.as_ref().is_some_and(Storage::is_congested)
            && let Some(room) = self.room.take()
        {
            room.wake();
        }
        if self.is_congested() {
            return;
        }
        for key in std::mem::take(&mut self.held_back) {
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.held_back = false;
            }
            self.wake(key);
        }
    }

    fn wake(&mut self, key: ConnectionKey) {
        if let Some(waker) = self.sockets.get_mut(key).and_then(|socket| socket.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    fn drive(&mut self, key: ConnectionKey, context: &mut Context<'_>) -> Poll<()> {
        let Some(socket) = self.sockets.get_mut(key) else { return Poll::Ready(()) };
        if !socket.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            socket.waker = Some(context.waker().clone());
        }
        if socket.blocked {
            socket.blocked = false;
            self.write(key, context);
            self.end_turn_soon();
        }
        self.read(key, context);
        if self.sockets.contains_key(key) { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Reads once. More that may be there is read after the others had their turn.
    fn read(&mut self, key: ConnectionKey, context: &mut Context<'_>) {
        let is_congested = self.is_congested();
        let Some(socket) = self.sockets.get_mut(key) else { return };
        if is_congested {
            if !socket.held_back {
                socket.held_back = true;
                self.held_back.push(key);
            }
            return;
        }
        if socket.read_closed || !self.hub.wants_input(key) {
            return;
        }
        let mut buffer = ReadBuf::new(&mut self.scratch);
        let Poll::Ready(result) = Pin::new(&mut socket.stream).poll_read(context, &mut buffer) else { return };
        let count = buffer.filled().len();
        let now = *self.turn.get_or_insert_with(Instant::now);
        match result {
            Ok(()) if count == 0 => {
                socket.read_closed = true;
                self.hub.ended(now, key);
            }
            Ok(()) => {
                self.hub.receive(now, key, buffer.filled_mut());
                if self.hub.needs_flush() {
                    self.end_turn();
                }
                context.waker().wake_by_ref();
            }
            Err(_) => self.hub.failed(now, key),
        }
        self.end_turn_soon();
    }

    /// Writes until the outbox is empty or the socket is full.
    fn write(&mut self, key: ConnectionKey, context: &mut Context<'_>) {
        loop {
            let Some(socket) = self.sockets.get_mut(key) else { return };
            let (mut one, mut many);
            // Most connections have one piece, or none any more, and room for many takes a while to make.
            let slices: &mut [IoSlice<'_>] = match self.hub.pieces(key) {
                0 => return,
                1 => {
                    one = [IoSlice::new(&[])];
                    &mut one
                }
                _ => {
                    many = [IoSlice::new(&[]); SLICES];
                    &mut many
                }
            };
            let filled = self.hub.slices(key, slices);
            let Some(slices) = slices.get(..filled).filter(|slices| !slices.is_empty()) else { return };
            match write_slices(&mut socket.stream, context, slices) {
                Poll::Ready(Ok(count)) => {
                    let now = *self.turn.get_or_insert_with(Instant::now);
                    self.hub.wrote(now, key, count);
                }
                Poll::Ready(Err(_)) => {
                    let now = *self.turn.get_or_insert_with(Instant::now);
                    self.hub.failed(now, key);
                    return;
                }
                Poll::Pending => {
                    socket.blocked = true;
                    self.hub.blocked(key);
                    return;
                }
            }
        }
    }

    /// Ends the turn: writes every connection that has something, hands posts to the other workers, and does what the
    /// hub asks for.
    fn end_turn(&mut self) {
        for _ in 0..ROUNDS {
            let mut nobody = Context::from_waker(Waker::noop());
            for key in self.hub.seal() {
                self.write(key, &mut nobody);
                // The write that found the socket full registered nobody; the connection's own task does it again.
                if self.sockets.get(key).is_some_and(|socket| socket.blocked) {
                    self.wake(key);
                }
            }
            self.outward.send(&mut self.hub);
            if let Some(storage) = &mut self.storage {
                storage.send(&mut self.hub);
                self.release();
            }
            if let Some(port) = &self.port {
                let now = *self.turn.get_or_insert_with(Instant::now);
                port.send(now, &mut self.hub);
            }
            self.handle_events();
            if !self.hub.has_output() {
                break;
            }
        }
        if self.hub.has_output() {
            self.end_turn_soon();
        }
        self.turn = None;
        if let Some((awaited, waker)) = &self.clock {
            let next = self.hub.poll_timeout();
            if next.is_some() && (awaited.is_none() || next < *awaited) {
                waker.wake_by_ref();
            }
        }
    }

    fn handle_events(&mut self) {
        while let Some(event) = self.hub.poll_event() {
            match event {
                Event::Finished(key) => {
                    if let Some(socket) = self.sockets.get_mut(key) {
                        // For TCP this cannot wait; what a failure means, the next read tells.
                        let mut nobody = Context::from_waker(Waker::noop());
                        let _ = Pin::new(&mut socket.stream).poll_shutdown(&mut nobody);
                        if socket.read_closed {
                            let now = self.now();
                            self.hub.ended(now, key);
                        }
                    }
                }
                Event::Removed(key) => {
                    if let Some(waker) = self.sockets.remove(key).and_then(|socket| socket.waker) {
                        waker.wake();
                    }
                }
                Event::Resumed(key) => {
                    let now = self.now();
                    self.hub.resume(now, key);
                    self.wake(key);
                }
            }
        }
    }
}

fn write_slices(
    stream: &mut Box<dyn Io>,
    context: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match slices {
        [only] => Pin::new(stream).poll_write(context, only),
        several => Pin::new(stream).poll_write_vectored(context, several),
    }
}
