//! What clients had settled without asking for receipts, when the broker is told to end right after it has read that.

use std::io;
use std::path::Path;

use crate::broker::Broker;
use crate::client::Client;
use crate::{PATIENCE, QUEUES, SILENCE, subscribe};

/// How often the broker ends.
const ROUNDS: u64 = 2;

/// Messages in a round: no more than a consumer may have unsettled of each queue.
const MESSAGES: usize = 400;

/// Ends the broker in order so often, and answers with what came again after that.
pub(crate) fn run(folder: &Path, engine: &str) -> io::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for round in 0..ROUNDS {
        let mut broker = Broker::start(folder, engine)?;
        let address = broker.addresses()[(round % 2) as usize].clone();
        wrong.extend(left(&address)?.map(|body| format!("{body} was settled before the end, and came again")));
        settle_all(&address, round)?;
        broker.terminate()?;
        broker.wait()?;
    }
    let broker = Broker::start(folder, engine)?;
    wrong
        .extend(left(&broker.addresses()[0])?.map(|body| format!("{body} was settled before the end, and came again")));
    Ok(wrong)
}

/// Sends and takes the messages of a round, and settles all in one go. What follows is answered by the connection's own worker,
/// and says no more than that it has read all before it.
fn settle_all(address: &str, round: u64) -> io::Result<()> {
    let mut client = Client::connect(address, PATIENCE)?;
    for number in 0..MESSAGES {
        let queue = number % QUEUES;
        client.send(&format!(
            "SEND\ndestination:/queue/d{queue}\npersistent:true\nreceipt:{number}\n\n{round}-{number}\0"
        ))?;
    }
    for _ in 0..MESSAGES {
        expect(&client.read()?, "RECEIPT")?;
    }
    subscribe(&mut client)?;
    let mut acks = String::new();
    for _ in 0..MESSAGES {
        let message = client.read()?;
        expect(&message, "MESSAGE")?;
        acks += &format!("ACK\nid:{}\n\n\0", message.header("ack").unwrap_or_default());
    }
    client.send(&(acks + "BEGIN\ntransaction:t\nreceipt:read\n\n\0"))?;
    expect(&client.read()?, "RECEIPT")
}

fn expect(frame: &crate::client::Frame, command: &str) -> io::Result<()> {
    let Some(other) = Some(&frame.command).filter(|each| *each != command) else { return Ok(()) };
    Err(io::Error::other(format!("{other} and not {command}: {}", frame.body)))
}

/// What is in the queues, taken out.
fn left(address: &str) -> io::Result<impl Iterator<Item = String> + use<>> {
    let mut client = Client::connect(address, SILENCE)?;
    subscribe(&mut client)?;
    let mut bodies = Vec::new();
    loop {
        match client.read() {
            Ok(frame) => {
                let ack = frame.header("ack").unwrap_or_default();
                client.send(&format!("ACK\nid:{ack}\nreceipt:{ack}\n\n\0"))?;
                bodies.extend((frame.command == "MESSAGE").then_some(frame.body));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bodies.into_iter())
}
