//! SockJS without a broker: the services that the protocol's public test suite asks for.
//!
//! `/echo` sends back what it gets, `/close` ends each session at once, `/disabled_websocket_echo` echoes where WebSocket is
//! not offered, and `/cookie_needed_echo` with a cookie for load balancers. The room `gumboot::sockjs` does the HTTP side;
//! what is here is how an application takes its connections. Run it with an address to listen on:
//!
//! ```text
//! cargo run --example sockjs_echo -- 127.0.0.1:8081
//! ```

use std::{
    cell::RefCell, convert::Infallible, env, error::Error, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration,
};

use gumboot::{
    sockjs::{
        Answer, Body, Endpoints, Host, Opened, Options, Patience, Registry, Release, Spoken, Tell, TooMuch, Upgrade,
    },
    websocket::{
        self, CloseCode,
        deflate::Codec,
        origin::{Listener, Pattern},
        packet::{Event, Receiver},
        send,
    },
};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::LocalSet,
};

/// How long a request may take to come, and the end of a connection.
const PATIENCE: Patience = Patience { request: Duration::from_secs(10), farewell: Duration::from_secs(5) };

/// Connections at a time.
const CONNECTIONS: usize = 1000;

/// What a service does with its sessions.
#[derive(Clone, Copy)]
enum Act {
    Echo,
    Close,
}

/// As many connections as there are here may keep what each of them may keep.
impl Host for Act {
    fn open(&self, opened: Opened) -> Tell {
        tokio::task::spawn_local(accept(opened, *self));
        Box::new(|_| {})
    }

    fn admit_body(&self, _bytes: usize) -> Result<(), TooMuch> {
        Ok(())
    }

    fn release(&self) -> Release {
        Arc::new(|_| {})
    }

    fn limit_reached(&self, _code: &'static str) {}
}

/// A service, and what it does behind connections that speak WebSocket without SockJS.
struct Service {
    endpoints: Endpoints,
    act: Act,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = env::args().nth(1).as_deref().unwrap_or("127.0.0.1:8081").parse()?;
    let listener = TcpListener::bind(address).await?;
    println!("SockJS at http://{}", listener.local_addr()?);
    let services = Rc::new(services()?);
    let origin = Listener { loopback: address.ip().is_loopback(), tls: false };
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    LocalSet::new()
        .run_until(async {
            loop {
                let (stream, peer) = listener.accept().await?;
                tokio::task::spawn_local(serve(stream, peer, Rc::clone(&services), origin, Arc::clone(&permits)));
            }
        })
        .await
}

/// The suite wants streams that end early, the draft of WebSocket from 2010, and a cookie with this value.
fn services() -> Result<Vec<Service>, Box<dyn Error>> {
    let options = Options { stream_bytes: 4096, websocket_draft_76: true, ..Options::default() };
    let websocket = websocket::Options { allowed_origins: vec![Pattern::parse("*")?], ..Default::default() };
    let service = |path: &str, act: Act, options: Options| {
        let registry = Registry::new(&options);
        let endpoints = Endpoints::new(path, &options, &websocket, PATIENCE, registry, Rc::new(act));
        Service { endpoints, act }
    };
    let cookie = Some("dummy".to_owned());
    Ok(vec![
        service("/echo", Act::Echo, options.clone()),
        service("/close", Act::Close, options.clone()),
        service("/disabled_websocket_echo", Act::Echo, Options { websocket: false, ..options.clone() }),
        service("/cookie_needed_echo", Act::Echo, Options { session_cookie: cookie, ..options }),
    ])
}

/// Speaks HTTP, and WebSocket where that is what becomes of it.
async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    services: Rc<Vec<Service>>,
    origin: Listener,
    permits: Arc<Semaphore>,
) {
    let Ok(permit) = permits.try_acquire_owned() else { return };
    // The service that the connection goes to after its handshake.
    let upgraded: RefCell<Option<(usize, Upgrade)>> = RefCell::default();
    let answer = |request: Request<Incoming>| {
        let found = services.iter().enumerate().find(|(_, service)| service.endpoints.serves(&request));
        let upgraded = &upgraded;
        async move {
            let Some((number, service)) = found else {
                let mut response = Response::new(Body::from("Not found\n".to_owned()));
                *response.status_mut() = StatusCode::NOT_FOUND;
                return Ok(response);
            };
            let Answer { response, upgrade } = service.endpoints.answer(request, peer, origin).await;
            upgraded.replace(upgrade.map(|upgrade| (number, upgrade)));
            Ok::<_, Infallible>(response)
        }
    };
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).with_upgrades();
    if let Err(error) = connection.await {
        eprintln!("http: {error}");
    }
    let Some((number, upgrade)) = upgraded.into_inner() else { return };
    let Ok(connection) = upgrade.pending.await else { return };
    let Ok(parts) = connection.downcast::<TokioIo<TcpStream>>() else { return };
    let (stream, early) = (parts.io.into_inner(), parts.read_buf);
    let Some(service) = services.get(number) else { return };
    match upgrade.spoken {
        Spoken::SockJs(challenge) => {
            service.endpoints.serve_socket(stream, challenge, &early, peer, permit).await;
        }
        Spoken::WebSocket(deflate) => {
            let served = Application::new(deflate.is_some()).run(stream, early.to_vec(), service.act).await;
            if let Err(error) = served {
                eprintln!("connection: {error}");
            }
        }
    }
}

/// Takes a session of SockJS.
async fn accept(opened: Opened, act: Act) {
    // A session that ends in mid-sentence is nothing to talk about.
    let _ = Application::new(false).run(opened.stream, Vec::new(), act).await;
}

/// The server's side of a WebSocket connection, whatever carries it.
struct Application {
    receiver: Receiver,
    codec: Codec,
    packet: Vec<u8>,
    out: Vec<u8>,
}

impl Application {
    fn new(deflate: bool) -> Application {
        Application { receiver: Receiver::new(deflate), codec: Codec::new(1), packet: Vec::new(), out: Vec::new() }
    }

    async fn run<S>(&mut self, mut stream: S, mut input: Vec<u8>, act: Act) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if let Act::Close = act {
            send::write_close(&mut self.out, CloseCode::from(3000), "Go away!");
            stream.write_all(&self.out).await?;
            self.out.clear();
        }
        while self.take(&mut input) {
            stream.write_all(&self.out).await?;
            self.out.clear();
            input.clear();
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
        stream.write_all(&self.out).await?;
        stream.shutdown().await
    }

    /// Turns what came into what goes out; answers whether the connection goes on.
    fn take(&mut self, mut input: &mut [u8]) -> bool {
        let limit = websocket::Options::default().max_packet_bytes;
        loop {
            match self.receiver.next(&mut input, limit, &mut self.codec) {
                Ok(None) => return true,
                Ok(Some(Event::Data { kind, payload, fin })) => {
                    self.packet.extend_from_slice(payload);
                    if fin {
                        send::write_packet(&mut self.out, kind, &self.packet, None, 0);
                        self.packet.clear();
                    }
                }
                Ok(Some(Event::Ping(payload))) => send::write_pong(&mut self.out, payload),
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(reason))) => {
                    let code = reason.map_or(CloseCode::Normal, |(code, _)| code);
                    send::write_close(&mut self.out, code, "");
                    return false;
                }
                Err(violation) => {
                    send::write_close(&mut self.out, violation.close_code(), &violation.to_string());
                    return false;
                }
            }
        }
    }
}
