//! A program that has the broker inside and handles what clients send to `/app/**`.
//!
//! ```text
//! cargo run --example embed_handlers
//! ```

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use gumboot::app::{Context, Failure, Incoming, Occasion, Reply};
use gumboot::server::{Builder, Options, Server};
use serde::{Deserialize, Serialize};

/// What clients send to `/app/chat/{room}`.
#[derive(Deserialize)]
struct Said {
    text: String,
}

/// What everybody in the room gets.
#[derive(Serialize)]
struct Line<'a> {
    room: &'a str,
    sender: &'a str,
    text: &'a str,
}

fn main() -> Result<(), Box<dyn Error>> {
    // Port 0: whichever is free.
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options =
        Options { websocket: vec![anywhere], tcp: vec![anywhere], admin: Vec::new(), workers: 2, ..Options::default() };
    let server = with_handlers(Server::builder(options)).start()?;
    for address in server.websocket_addresses() {
        println!("listening on ws://{address}/ws");
    }
    println!("Press Enter to stop.");
    io::stdin().read_line(&mut String::new())?;
    server.shut_down();
    Ok(())
}

/// All that this application does.
pub(crate) fn with_handlers(builder: Builder) -> Builder {
    builder
        // SEND /app/name: a text is kept with the session, and only the sender is told.
        .handle("/app/name", |context, message| async move {
            let name = message.text()?.trim().to_owned();
            if name.is_empty() {
                return Err(Failure::application("a name is not empty"));
            }
            context.set_attribute("name", name.clone());
            Ok(Reply::new(format!("Welcome, {name}!")).to_sender())
        })
        // SEND /app/chat/{room}: JSON in, JSON out, to the default destination /topic/chat/{room}.
        .handle("/app/chat/{room}", chat)
        // SUBSCRIBE /app/rooms is answered once.
        .answer("/app/rooms", |_, _| async { Reply::json(&["red", "blue"]) })
        // A handler may wait: others go on meanwhile. It has app.send_timeout for it.
        .handle("/app/slow", |_, message| async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(Reply::new(message.body).to("/topic/slow"))
        })
        .on_event(|context, message| async move {
            if let Occasion::Disconnected { reason } = message.occasion {
                println!("{} has gone: {reason}", context.session().name);
            }
            Ok(())
        })
}

async fn chat(context: Context, message: Incoming) -> Result<Reply, Failure> {
    let said: Said = message.json()?;
    let sender = context.attribute("name").ok_or_else(|| Failure::application("say /app/name first"))?;
    Reply::json(&Line { room: message.capture("room"), sender: &sender, text: &said.text })
}
