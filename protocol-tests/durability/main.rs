//! The real program, killed at random moments under load, and what its clients were promised (Q6, Q7, G3).
//!
//! ```text
//! cargo test --test durability                                # a few kills of each engine, and the proof that it can fail
//! cargo test --test durability -- --cycles 200 --engine redb  # the long mode
//! cargo test --release --test durability -- --soak 6          # minutes of load for each engine: disk and memory stay flat
//! ```

mod broker;
mod client;
mod full_disk;
mod ledger;
mod orderly;
mod soak;
mod subscriptions;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use broker::Broker;
use client::Client;
use ledger::{Ledger, Name, Order};

const QUEUES: usize = 4;
const PRODUCERS: usize = 6;
const CONSUMERS: usize = 4;

/// SENDs without an answer, for each producer.
const WINDOW: usize = 40;

/// How long a loaded machine may take for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// After so long without a message the queues are taken for empty.
const SILENCE: Duration = Duration::from_millis(1500);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().skip_while(|each| *each != name).nth(1).cloned();
    let cycles = value("--cycles").and_then(|count| count.parse().ok()).unwrap_or(4);
    let engines = value("--engine").map_or(vec!["sled".to_owned(), "redb".to_owned()], |engine| vec![engine]);
    let mut ok = true;
    if let Some(minutes) = value("--soak").and_then(|minutes| minutes.parse().ok()) {
        for engine in &engines {
            ok &= stays_flat(engine, Duration::from_secs(60).mul_f64(minutes));
        }
        return if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    for engine in &engines {
        ok &= report(engine, run(engine, cycles), false);
        ok &= report(engine, run_subscriptions(engine, cycles), false);
        ok &= report(engine, run_orderly(engine), false);
        ok &= run_full_disk(engine);
    }
    // Nothing survives in memory, so this must be found out.
    ok &= report("memory", run("memory", 2), true);
    ok &= report("memory", run_subscriptions("memory", 2), true);
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(engine: &str, outcome: io::Result<Vec<String>>, must_fail: bool) -> bool {
    let wrong = match outcome {
        Ok(wrong) => wrong,
        Err(error) => vec![format!("the test itself broke: {error}")],
    };
    let lost = wrong.iter().any(|each| each.contains("are lost"));
    let passed = if must_fail { lost } else { wrong.is_empty() };
    println!("durability {engine}: {}", if passed { "ok" } else { "FAILED" });
    if !passed {
        wrong.iter().take(20).for_each(|each| println!("  {each}"));
    }
    passed
}

fn stays_flat(engine: &str, time: Duration) -> bool {
    let is_flat = soak::soak(engine, time).unwrap_or_else(|error| {
        println!("  the test itself broke: {error}");
        false
    });
    println!("soak {engine}: {}", if is_flat { "ok" } else { "FAILED" });
    is_flat
}

/// Kills the broker so often, drains what is left, and answers with what was wrong.
fn run(engine: &str, cycles: u64) -> io::Result<Vec<String>> {
    let folder = Folder::new(engine)?;
    let ledger = Mutex::new(Ledger::default());
    let mut numbers = [0; PRODUCERS];
    for cycle in 0..cycles {
        let mut broker = Broker::start(&folder.0, engine)?;
        // Long enough for some traffic, and for no two cycles the same.
        let life = Duration::from_millis(150 + random(cycle * 7919 + u64::from(std::process::id())) % 600);
        let addresses = broker.addresses().clone();
        std::thread::scope(|scope| {
            for (producer, number) in numbers.iter_mut().enumerate() {
                // Half of each kind over WebSocket, half over TCP.
                let (ledger, address) = (&ledger, &addresses[producer / 2 % 2]);
                // It ends when its connection does.
                scope.spawn(move || produce(address, producer, number, ledger));
            }
            for consumer in 0..CONSUMERS {
                let (ledger, address) = (&ledger, &addresses[consumer % 2]);
                scope.spawn(move || consume(address, consumer as u64 + 100 * cycle, ledger));
            }
            std::thread::sleep(life);
            broker.kill();
        });
        let (receipted, delivered) = lock(&ledger).counts();
        println!("  {engine} cycle {cycle}: {receipted} receipted, {delivered} delivered after {life:?}");
    }
    let broker = Broker::start(&folder.0, engine)?;
    drain(&broker.addresses()[0], &ledger)?;
    let ledger = ledger.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (receipted, delivered) = ledger.counts();
    let (again, dead) = (ledger.again, ledger.dead());
    println!("  {engine}: {receipted} receipted, {delivered} delivered, {again} of them again, {dead} dead");
    let mut wrong = ledger.verdict();
    if receipted < 100 || dead == 0 {
        wrong.push(format!("only {receipted} messages were sent: this proves nothing"));
    }
    Ok(wrong)
}

/// Fills a disk, where that can be done.
fn run_full_disk(engine: &str) -> bool {
    let outcome = Folder::new(&format!("{engine}-full")).and_then(|folder| full_disk::run(&folder.0, engine));
    match outcome.transpose() {
        Some(outcome) => report(engine, outcome, false),
        None => {
            println!("durability {engine}: SKIPPED the full disk: only root can mount one, run this test as root");
            true
        }
    }
}

/// Ends the broker in order.
fn run_orderly(engine: &str) -> io::Result<Vec<String>> {
    let folder = Folder::new(&format!("{engine}-orderly"))?;
    orderly::run(&folder.0, engine)
}

fn run_subscriptions(engine: &str, cycles: u64) -> io::Result<Vec<String>> {
    let folder = Folder::new(&format!("{engine}-subscriptions"))?;
    subscriptions::run(&folder.0, engine, cycles)
}

/// Sends until the connection breaks. Odd producers send transactions of two messages to two queues.
fn produce(address: &str, producer: usize, number: &mut u64, ledger: &Mutex<Ledger>) -> io::Result<()> {
    let mut client = Client::connect(address, PATIENCE)?;
    let is_transacted = producer % 2 == 1;
    let mut open = 0;
    loop {
        while open < WINDOW {
            *number += 1;
            let names = names(producer, *number, is_transacted);
            let receipt = *number;
            let mut frames = String::new();
            if is_transacted {
                lock(ledger).note_together(&names);
                frames += &format!("BEGIN\ntransaction:{receipt}\n\n\0");
            }
            for name in &names {
                let more = match is_transacted {
                    true => format!("transaction:{receipt}"),
                    false => format!("receipt:{receipt}"),
                };
                let (queue, text) = (name.queue, name.text());
                frames += &format!("SEND\ndestination:/queue/d{queue}\npersistent:true\n{more}\n\n{text}\0");
            }
            if is_transacted {
                frames += &format!("COMMIT\ntransaction:{receipt}\nreceipt:{receipt}\n\n\0");
            }
            client.send(&frames)?;
            open += 1;
        }
        let frame = client.read()?;
        match (frame.command.as_str(), frame.header("receipt-id").and_then(|id| id.parse().ok())) {
            ("RECEIPT", Some(receipt)) => {
                lock(ledger).note_receipt(&names(producer, receipt, is_transacted));
                open -= 1;
            }
            (other, _) => lock(ledger).wrong.push(format!("a producer got {other}: {}", frame.body)),
        }
    }
}

fn names(producer: usize, number: u64, is_transacted: bool) -> Vec<Name> {
    let queues = if is_transacted { vec![producer % QUEUES, (producer + 1) % QUEUES] } else { vec![producer % QUEUES] };
    queues.into_iter().map(|queue| Name { queue, producer, number }).collect()
}

/// Takes from all queues until the connection breaks: settles most, refuses some, gives some up, keeps a few.
fn consume(address: &str, seed: u64, ledger: &Mutex<Ledger>) -> io::Result<()> {
    let mut client = Client::connect(address, PATIENCE)?;
    subscribe(&mut client)?;
    let (mut order, mut dice) = (Order::default(), seed);
    loop {
        let frame = client.read()?;
        let Some(name) = settled_or_delivered(&frame, ledger, &mut order, false) else { continue };
        let ack = frame.header("ack").unwrap_or_default();
        dice = random(dice);
        match dice % 50 {
            0 => {}
            1 => client.send(&format!("NACK\nid:{ack}\n\n\0"))?,
            2 => client.send(&format!("NACK\nid:{ack}\nrequeue:false\n\n\0"))?,
            _ => acknowledge(&mut client, ack, name, ledger)?,
        }
    }
}

/// Takes everything there is, and settles it. Nobody refuses anything, so all comes in order.
fn drain(address: &str, ledger: &Mutex<Ledger>) -> io::Result<()> {
    let mut client = Client::connect(address, SILENCE)?;
    subscribe(&mut client)?;
    client.send("SUBSCRIBE\nid:dead\ndestination:/queue/dead-letter\n\n\0")?;
    let mut order = Order::default();
    let begin = Instant::now();
    loop {
        let frame = match client.read() {
            Ok(frame) => frame,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(name) = settled_or_delivered(&frame, ledger, &mut order, true) {
            let ack = frame.header("ack").unwrap_or_default();
            acknowledge(&mut client, ack, name, ledger)?;
        }
        if begin.elapsed() > 10 * PATIENCE {
            return Err(io::Error::other("the queues do not run empty"));
        }
    }
}

fn subscribe(client: &mut Client) -> io::Result<()> {
    (0..QUEUES).try_for_each(|queue| {
        client.send(&format!("SUBSCRIBE\nid:{queue}\ndestination:/queue/d{queue}\nack:client-individual\n\n\0"))
    })
}

fn acknowledge(client: &mut Client, ack: &str, name: Name, ledger: &Mutex<Ledger>) -> io::Result<()> {
    // It counts as soon as it may have an effect.
    lock(ledger).note_ack(name);
    client.send(&format!("ACK\nid:{ack}\nreceipt:{}\n\n\0", name.text()))
}

/// Notes what a consumer was sent; answers with the message, if it is one.
fn settled_or_delivered(frame: &client::Frame, ledger: &Mutex<Ledger>, order: &mut Order, all: bool) -> Option<Name> {
    let mut ledger = lock(ledger);
    let (text, is_message) = match frame.command.as_str() {
        "MESSAGE" => (frame.body.as_str(), true),
        "RECEIPT" => (frame.header("receipt-id").unwrap_or_default(), false),
        _ => ("", false),
    };
    let Some(name) = Name::parse(text) else {
        ledger.wrong.push(format!("a consumer got {}: {}", frame.command, frame.body));
        return None;
    };
    if frame.header("dead-letter-reason").is_some() {
        ledger.note_dead(name);
        return None;
    }
    match is_message {
        true => ledger.note_delivery(name, frame.header("redelivered") == Some("true"), order, all),
        false => ledger.note_settled(name),
    }
    is_message.then_some(name)
}

fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The next number of a sequence without a pattern.
fn random(state: u64) -> u64 {
    let mixed = (state ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 3
}

/// A directory for one run.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> io::Result<Folder> {
        let path = std::env::temp_dir().join(format!("gumboot-durability-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // One that stays behind does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
