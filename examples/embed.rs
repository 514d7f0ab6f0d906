//! A program that has the broker inside: starts it, says where it listens, and ends it in order.
//!
//! ```text
//! cargo run --example embed
//! ```

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use gumboot::server::{Options, Server};

fn main() -> Result<(), Box<dyn Error>> {
    // Port 0: whichever is free. Everything else is as `Options::default()` documents it.
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options =
        Options { websocket: vec![anywhere], tcp: vec![anywhere], admin: Vec::new(), workers: 2, ..Options::default() };

    // The broker serves on threads of its own from here on; this thread is free for the rest of the program.
    let server = Server::start(options)?;
    for address in server.websocket_addresses() {
        println!("listening on ws://{address}/ws");
    }
    for address in server.tcp_addresses() {
        println!("listening on tcp://{address}");
    }

    println!("Press Enter to stop.");
    io::stdin().read_line(&mut String::new())?;
    let connections: u64 = server.counters().iter().map(|counters| counters.connections.read()).sum();
    println!("{connections} connections are open; they are told, and get what is queued for them.");
    server.shut_down();
    Ok(())
}
