//! Load with deletes for minutes: what the broker takes on disk and in memory must stay flat.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::Client;
use crate::{Folder, PATIENCE};

const QUEUES: usize = 4;

/// SENDs without an answer, for each producer.
const WINDOW: u64 = 100;

/// Producers go on until so many messages wait, and then rest until few do. Consumers of every other queue rest meanwhile. So
/// the store fills and empties again and again.
const MOST: u64 = 40_000;
const FEW: u64 = 2_000;

const BODY: usize = 1024;

/// How many lines the table has.
const SAMPLES: u32 = 24;

/// By how much the second half may pass the peak of the first: space is given back in steps.
const GROWTH: f64 = 1.3;
const STEP: u64 = 32 << 20;

/// What all threads share.
#[derive(Default)]
struct Load {
    sent: AtomicU64,
    consumed: AtomicU64,
    rests: AtomicBool,
    ends: AtomicBool,
}

/// A moment of a run.
struct Sample {
    disk: u64,
    memory: u64,
}

/// Runs for so long, prints the curve, and answers whether it is flat.
pub(crate) fn soak(engine: &str, time: Duration) -> io::Result<bool> {
    let folder = Folder::new(&format!("soak-{engine}"))?;
    let broker = Broker::start(&folder.0, engine)?;
    let load = Load::default();
    let samples = std::thread::scope(|scope| {
        for queue in 0..QUEUES {
            let (load, [_, address]) = (&load, broker.addresses());
            scope.spawn(move || ended(load, "producer", produce(address, queue, load)));
            scope.spawn(move || ended(load, "consumer", consume(address, queue, load)));
        }
        let samples = watch(engine, &folder.0, &broker, &load, time);
        load.ends.store(true, Ordering::Relaxed);
        samples
    })?;
    Ok(is_flat(&samples))
}

/// Says what a thread ended with before its time.
fn ended(load: &Load, who: &str, result: io::Result<()>) {
    if let (Err(error), false) = (result, load.ends.swap(true, Ordering::Relaxed)) {
        println!("  a {who} broke off: {error}");
    }
}

fn watch(engine: &str, folder: &Path, broker: &Broker, load: &Load, time: Duration) -> io::Result<Vec<Sample>> {
    println!("  {engine}: seconds  messages/s  waiting  disk MiB  memory MiB");
    let (begin, mut samples, mut before) = (Instant::now(), Vec::new(), 0);
    for number in 1..=SAMPLES {
        let due = begin + time * number / SAMPLES;
        // The peak since the last line: what is taken for a moment only counts too.
        let mut peak = Sample { disk: 0, memory: 0 };
        while Instant::now() < due && !load.ends.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(250));
            peak.disk = peak.disk.max(size(&folder.join("data")));
            peak.memory = peak.memory.max(broker.memory()?);
        }
        let consumed = load.consumed.load(Ordering::Relaxed);
        let waiting = load.sent.load(Ordering::Relaxed).saturating_sub(consumed);
        let rate = (consumed - before) as f64 / (time.as_secs_f64() / f64::from(SAMPLES));
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "  {engine}: {:7.0}  {rate:10.0}  {waiting:7}  {:8.1}  {:10.1}",
            begin.elapsed().as_secs_f64(),
            mib(peak.disk),
            mib(peak.memory)
        );
        before = consumed;
        samples.push(peak);
    }
    match load.ends.load(Ordering::Relaxed) {
        true => Err(io::Error::other("the load broke off")),
        false => Ok(samples),
    }
}

fn is_flat(samples: &[Sample]) -> bool {
    // What a fresh store and process need at first is no growth.
    let (first, second) = samples.split_at(samples.len() / 2);
    let grows = |of: fn(&Sample) -> u64| {
        let peak = |samples: &[Sample]| samples.iter().map(of).max().unwrap_or_default();
        peak(second) as f64 > peak(first) as f64 * GROWTH + STEP as f64
    };
    !grows(|sample| sample.disk) && !grows(|sample| sample.memory)
}

fn produce(address: &str, queue: usize, load: &Load) -> io::Result<()> {
    let mut client = Client::connect(address, PATIENCE)?;
    let body = "x".repeat(BODY);
    let (mut open, mut number) = (0, 0);
    while !load.ends.load(Ordering::Relaxed) {
        let waiting = load.sent.load(Ordering::Relaxed).saturating_sub(load.consumed.load(Ordering::Relaxed));
        if !(FEW..=MOST).contains(&waiting) {
            load.rests.store(waiting > MOST, Ordering::Relaxed);
        }
        if load.rests.load(Ordering::Relaxed) && open == 0 {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        while open < WINDOW && !load.rests.load(Ordering::Relaxed) {
            number += 1;
            open += 1;
            load.sent.fetch_add(1, Ordering::Relaxed);
            client
                .send(&format!("SEND\ndestination:/queue/d{queue}\npersistent:true\nreceipt:{number}\n\n{body}\0"))?;
        }
        expect(&client.read()?.command, "RECEIPT")?;
        open -= 1;
    }
    Ok(())
}

fn consume(address: &str, queue: usize, load: &Load) -> io::Result<()> {
    let mut client = Client::connect(address, PATIENCE)?;
    client.send(&format!("SUBSCRIBE\nid:0\ndestination:/queue/d{queue}\nack:client-individual\n\n\0"))?;
    let only_empties = queue % 2 == 1;
    while !load.ends.load(Ordering::Relaxed) {
        if only_empties && !load.rests.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        let frame = client.read()?;
        expect(&frame.command, "MESSAGE")?;
        let ack = frame.header("ack").unwrap_or_default();
        client.send(&format!("ACK\nid:{ack}\n\n\0"))?;
        load.consumed.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn expect(found: &str, expected: &str) -> io::Result<()> {
    if found == expected { Ok(()) } else { Err(io::Error::other(format!("{found} instead of {expected}"))) }
}

/// The bytes of all files in a directory.
fn size(path: &Path) -> u64 {
    // What is being removed meanwhile counts for nothing.
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => size(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
