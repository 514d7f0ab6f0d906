//! A WebSocket echo server: how to use `gumboot::websocket` on its own.
//!
//! hyper reads the HTTP request and hands the socket over; from there on the room's pure functions turn bytes into
//! events, and this file does nothing but move bytes. Run it with an address to listen on:
//!
//! ```text
//! cargo run --example websocket_echo -- 127.0.0.1:9001
//! ```

use std::{convert::Infallible, env, error::Error, io, net::SocketAddr, rc::Rc, time::Duration};

use gumboot::websocket::{
    CloseCode, Options,
    deflate::{Agreement, Codec},
    handshake,
    origin::Listener,
    packet::{Event, Receiver},
    send,
};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::LocalSet,
    time::timeout,
};

/// How much is read at once.
const SCRATCH: usize = 64 * 1024;

/// How long a closing connection may take to take note of it.
const FAREWELL: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = env::args().nth(1).as_deref().unwrap_or("127.0.0.1:9001").parse()?;
    let listener = TcpListener::bind(address).await?;
    let mut options = Options { max_packet_bytes: 16 * 1024 * 1024, ..Options::default() };
    options.deflate.threshold_bytes = 0;
    let options = Rc::new(options);
    let origin = Listener { loopback: address.ip().is_loopback(), tls: false };
    println!("echoing at ws://{}", listener.local_addr()?);
    LocalSet::new()
        .run_until(async {
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::task::spawn_local(serve(stream, Rc::clone(&options), origin));
            }
        })
        .await
}

/// Speaks HTTP until the client asks for WebSocket.
async fn serve(stream: TcpStream, options: Rc<Options>, listener: Listener) {
    let service = service_fn(move |request| {
        let answer = answer(request, &options, listener);
        async move { Ok::<_, Infallible>(answer) }
    });
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await {
        eprintln!("http: {error}");
    }
}

fn answer(mut request: Request<Incoming>, options: &Rc<Options>, listener: Listener) -> Response<Full<&'static [u8]>> {
    let accepted = match handshake::accept(&request, options, listener) {
        Ok(accepted) => accepted,
        Err(rejection) => {
            eprintln!("rejected: {rejection}");
            let mut response = Response::new(Full::default());
            *response.status_mut() = rejection.status();
            return response;
        }
    };
    let options = Rc::clone(options);
    let upgrade = hyper::upgrade::on(&mut request);
    // A task of its own: the handshake's future, with all its buffers, is gone once the connection is up.
    tokio::task::spawn_local(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            return;
        };
        let mut echo = Echo::new(accepted.deflate, options);
        if let Err(error) = echo.run(parts.io.into_inner(), parts.read_buf.to_vec()).await {
            eprintln!("connection: {error}");
        }
    });
    accepted.response.map(|()| Full::default())
}

/// One connection. A server with many of them shares the codec and the read buffer between those of a thread.
struct Echo {
    options: Rc<Options>,
    receiver: Receiver,
    codec: Codec,
    agreement: Option<Agreement>,
    packet: Vec<u8>,
    out: Vec<u8>,
}

impl Echo {
    fn new(agreement: Option<Agreement>, options: Rc<Options>) -> Echo {
        Echo {
            receiver: Receiver::new(agreement.is_some()),
            codec: Codec::new(options.deflate.level),
            options,
            agreement,
            packet: Vec::new(),
            out: Vec::new(),
        }
    }

    /// `early` is what the client sent right behind its request.
    async fn run(&mut self, mut stream: TcpStream, mut early: Vec<u8>) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut scratch = vec![0; SCRATCH];
        let mut open = self.take(&mut early);
        while open {
            stream.write_all(&self.out).await?;
            self.out.clear();
            let count = stream.read(&mut scratch).await?;
            if count == 0 {
                return Ok(());
            }
            open = self.take(&mut scratch[..count]);
        }
        stream.write_all(&self.out).await?;
        stream.shutdown().await?;
        // Closing a socket with unread bytes would reset it, and the client might never see the close frame.
        let drained = async {
            while stream.read(&mut scratch).await? > 0 {}
            io::Result::Ok(())
        };
        timeout(FAREWELL, drained).await.unwrap_or(Ok(()))
    }

    /// Turns what came into what goes out; answers whether the connection stays open.
    fn take(&mut self, mut input: &mut [u8]) -> bool {
        loop {
            match self.receiver.next(&mut input, self.options.max_packet_bytes, &mut self.codec) {
                Ok(None) => return true,
                Ok(Some(Event::Data { kind, payload, fin })) => {
                    self.packet.extend_from_slice(payload);
                    if fin {
                        let compression = self.agreement.map(|agreement| (agreement, &mut self.codec));
                        let threshold = self.options.deflate.threshold_bytes;
                        send::write_packet(&mut self.out, kind, &self.packet, compression, threshold);
                        self.packet.clear();
                    }
                }
                Ok(Some(Event::Ping(payload))) => send::write_pong(&mut self.out, payload),
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(reason))) => {
                    let code = reason.map_or(CloseCode::Status, |(code, _)| code);
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
