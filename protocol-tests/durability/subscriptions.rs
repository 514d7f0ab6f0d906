//! Durable subscriptions to topics under the same kills: what was receipted comes to who was away, after any number of them
//! (U9, G3).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::broker::Broker;
use crate::client::{Client, Frame};
use crate::{PATIENCE, SILENCE, random};

/// Who has a subscription: the headers of CONNECT and those of SUBSCRIBE and UNSUBSCRIBE.
const OWNERS: [(&str, &str); 2] =
    [("", "durable:true\nauto-delete:false"), ("client-id:till-7\n", "activemq.subscriptionName:prices")];

/// SENDs without an answer.
const WINDOW: u64 = 30;

/// What became of what.
#[derive(Default)]
struct Ledger {
    receipted: BTreeSet<u64>,
    /// For each owner: what was delivered, and what of it was settled for certain.
    delivered: [BTreeSet<u64>; 2],
    settled: [BTreeSet<u64>; 2],
    wrong: Vec<String>,
}

/// Kills the broker so often, and answers with what was wrong.
pub(crate) fn run(folder: &Path, engine: &str, cycles: u64) -> io::Result<Vec<String>> {
    let mut ledger = Ledger::default();
    let mut broker = Broker::start(folder, engine)?;
    for (owner, (_, headers)) in OWNERS.into_iter().enumerate() {
        have(&broker.addresses()[0], owner, PATIENCE)?;
        let mut forgotten = connect(&broker.addresses()[0], owner, PATIENCE)?;
        let headers = headers.replace("prices", "forgotten");
        forgotten.send(&format!("SUBSCRIBE\nid:f\ndestination:/topic/**\n{headers}\nreceipt:s\n\n\0"))?;
        expect(&mut forgotten, "RECEIPT")?;
        forgotten.send(&format!("UNSUBSCRIBE\nid:f\n{headers}\nreceipt:u\n\n\0"))?;
        expect(&mut forgotten, "RECEIPT")?;
    }
    let mut number = 0;
    for cycle in 0..cycles {
        let address = broker.addresses()[cycle as usize % 2].clone();
        let life = Duration::from_millis(150 + random(cycle * 104_729 + u64::from(std::process::id())) % 300);
        std::thread::scope(|scope| {
            let ledger = &mut ledger;
            let (number, address) = (&mut number, &address);
            // Both end when the connection does. Every other time nobody is there.
            let consumer = (cycle % 2 == 1).then(|| scope.spawn(move || consume(address, cycle as usize / 2 % 2)));
            let publisher = scope.spawn(move || publish(address, number));
            std::thread::sleep(life);
            broker.kill();
            ledger.receipted.extend(publisher.join().unwrap_or_default());
            if let Some((delivered, settled)) = consumer.and_then(|consumer| consumer.join().ok()) {
                let owner = cycle as usize / 2 % 2;
                ledger.delivered[owner].extend(delivered);
                ledger.settled[owner].extend(settled);
            }
        });
        broker = Broker::start(folder, engine)?;
    }
    for owner in 0..OWNERS.len() {
        drain(&broker.addresses()[0], owner, &mut ledger)?;
    }
    let receipted = ledger.receipted.len();
    println!("  {engine}: {receipted} receipted to a topic with durable subscriptions, over {cycles} kills");
    if receipted < 100 {
        ledger.wrong.push(format!("only {receipted} messages were sent: this proves nothing"));
    }
    for (owner, delivered) in ledger.delivered.iter().enumerate() {
        let missing: Vec<&u64> = ledger.receipted.difference(delivered).take(5).collect();
        if !missing.is_empty() {
            ledger.wrong.push(format!("receipted messages are lost for owner {owner}, such as {missing:?}"));
        }
    }
    Ok(ledger.wrong)
}

fn connect(address: &str, owner: usize, silence: Duration) -> io::Result<Client> {
    Client::connect_with(address, OWNERS[owner].0, silence)
}

/// A client that has the subscription.
fn have(address: &str, owner: usize, silence: Duration) -> io::Result<Client> {
    let mut client = connect(address, owner, silence)?;
    let headers = OWNERS[owner].1;
    client.send(&format!(
        "SUBSCRIBE\nid:p\ndestination:/topic/prices/*\nack:client-individual\n{headers}\nreceipt:s\n\n\0"
    ))?;
    expect(&mut client, "RECEIPT")?;
    Ok(client)
}

fn expect(client: &mut Client, command: &str) -> io::Result<Frame> {
    let frame = client.read()?;
    match frame.command == command {
        true => Ok(frame),
        false => Err(io::Error::other(format!("{} instead of {command}: {}", frame.command, frame.body))),
    }
}

/// Sends until the connection breaks, and answers with what was receipted.
fn publish(address: &str, number: &mut u64) -> BTreeSet<u64> {
    let mut receipted = BTreeSet::new();
    let Ok(mut client) = Client::connect(address, PATIENCE) else { return receipted };
    let mut open = 0;
    loop {
        let mut frames = String::new();
        while open < WINDOW {
            *number += 1;
            open += 1;
            let (topic, receipt) = (*number % 3, *number);
            frames +=
                &format!("SEND\ndestination:/topic/prices/{topic}\npersistent:true\nreceipt:{receipt}\n\n{receipt}\0");
        }
        if client.send(&frames).is_err() {
            return receipted;
        }
        let Ok(frame) = client.read() else { return receipted };
        receipted.extend(frame.header("receipt-id").and_then(|id| id.parse::<u64>().ok()));
        open -= 1;
    }
}

/// Takes and settles until the connection breaks, and answers with what was delivered and what was settled.
fn consume(address: &str, owner: usize) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let (mut delivered, mut settled) = (BTreeSet::new(), BTreeSet::new());
    let Ok(mut client) = have(address, owner, PATIENCE) else { return (delivered, settled) };
    while let Ok(frame) = client.read() {
        match (frame.body.parse::<u64>(), frame.header("receipt-id").map(str::parse::<u64>)) {
            (_, Some(Ok(number))) => {
                settled.insert(number);
            }
            (Ok(number), None) => {
                delivered.insert(number);
                let ack = frame.header("ack").unwrap_or_default();
                if client.send(&format!("ACK\nid:{ack}\nreceipt:{number}\n\n\0")).is_err() {
                    break;
                }
            }
            _ => {}
        }
    }
    (delivered, settled)
}

/// Takes everything there is: nothing that was settled, and each topic's messages in order.
fn drain(address: &str, owner: usize, ledger: &mut Ledger) -> io::Result<()> {
    let mut client = have(address, owner, SILENCE)?;
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let frame = match client.read() {
            Ok(frame) => frame,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Ok(()),
            Err(error) => return Err(error),
        };
        let topic = frame.header("destination").unwrap_or_default().to_owned();
        let number = frame.body.parse().map_err(io::Error::other)?;
        if ledger.settled[owner].contains(&number) {
            ledger.wrong.push(format!("{number} came again to owner {owner}, which had settled it"));
        }
        if topic != format!("/topic/prices/{}", number % 3) {
            ledger.wrong.push(format!("{number} came from {topic}"));
        }
        let earlier = last.insert(topic, number).unwrap_or_default();
        if earlier >= number {
            ledger.wrong.push(format!("{number} came after {earlier}"));
        }
        ledger.delivered[owner].insert(number);
        let ack = frame.header("ack").unwrap_or_default();
        client.send(&format!("ACK\nid:{ack}\n\n\0"))?;
    }
}
