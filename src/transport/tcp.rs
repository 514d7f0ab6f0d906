//! TCP sockets: listening, and the settings of accepted ones.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Connections that may wait to be accepted: a broker's restart brings all its clients back at once.
const BACKLOG: i32 = 4096;

/// Listens on `address`, ready to be given to a runtime.
///
/// # Errors
/// The address cannot be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the last run to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Prepares an accepted socket. What is written is written in whole turns, so there is nothing to wait for; a peer that
/// is gone without a word is found by the system's own probes after `keepalive` of silence.
///
/// # Errors
/// The socket is broken already.
pub fn prepare(stream: &TcpStream, keepalive: Option<Duration>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    if let Some(time) = keepalive {
        let interval = time.div_f32(4.0).max(Duration::from_secs(1));
        let probes = TcpKeepalive::new().with_time(time).with_interval(interval);
        SockRef::from(stream).set_tcp_keepalive(&probes)?;
    }
    Ok(())
}
