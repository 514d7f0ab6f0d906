//! A disk that is really full: a small file system of our own, which only root can have.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::{Client, Frame};
use crate::{PATIENCE, SILENCE};

const BODY_BYTES: usize = 16 << 10;

/// A file system in memory, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    /// None where nobody may mount one.
    fn mount(at: &Path) -> io::Result<Option<Disk>> {
        std::fs::create_dir_all(at)?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "none"]).arg(at).output();
        Ok(mounted.is_ok_and(|output| output.status.success()).then(|| Disk(at.to_owned())))
    }

    fn grow(&self) -> io::Result<()> {
        let grown = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&self.0).status()?;
        if grown.success() { Ok(()) } else { Err(io::Error::other("the disk does not grow")) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while a broker that was just killed still has files there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Fills the disk, and answers with what was wrong then, after there was room again, and after a kill. None: not possible here.
pub(crate) fn run(folder: &Path, engine: &str) -> io::Result<Option<Vec<String>>> {
    let Some(disk) = Disk::mount(&folder.join("data"))? else { return Ok(None) };
    let mut wrong = Vec::new();
    let mut broker = Broker::start(folder, engine)?;
    let [_, address] = broker.addresses().clone();
    let (count, refusal) = fill(&address)?;
    if refusal.header("code") != Some("store-full") || !refusal.body.contains("store.path") || count < 20 {
        wrong.push(format!(
            "after {count} messages {} {:?}: {}",
            refusal.command,
            refusal.header("code"),
            refusal.body
        ));
    }
    // What is in memory goes on, and so does handing out and settling.
    let mut client = Client::connect(&address, PATIENCE)?;
    client.send("SUBSCRIBE\nid:0\ndestination:/queue/light\n\n\0SEND\ndestination:/queue/light\n\nlight\0")?;
    wrong.extend((client.read()?.body != "light").then(|| "a message in memory did not come".to_owned()));
    let taken = take(&address, 10, true)?;
    if taken.iter().copied().ne(0..10) {
        wrong.push(format!("with a full disk came {taken:?}"));
    }
    disk.grow()?;
    let begin = Instant::now();
    while send(&mut Client::connect(&address, PATIENCE)?, count)?.command != "RECEIPT" {
        if begin.elapsed() > PATIENCE {
            wrong.push("it does not recover when there is room".to_owned());
            return Ok(Some(wrong));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // Whose ACKs are stored is known when one that came later is.
    let settled = take(&address, 1, true)?;
    wrong.extend((settled != [10]).then(|| format!("then came {settled:?}")));
    broker.kill();
    drop(broker);
    let mut broker = Broker::start(folder, engine)?;
    let left: BTreeSet<usize> = take(&broker.addresses()[1], usize::MAX, false)?.into_iter().collect();
    let expected: BTreeSet<usize> = (11..=count).collect();
    if left != expected {
        let differ: Vec<&usize> = left.symmetric_difference(&expected).take(9).collect();
        wrong.push(format!("after the kill {} of {} are left; they differ in {differ:?}", left.len(), expected.len()));
    }
    broker.kill();
    println!("  {engine}: the disk was full after {count} messages");
    Ok(Some(wrong))
}

/// Sends until a message is refused; answers with how many were not, and with the refusal.
fn fill(address: &str) -> io::Result<(usize, Frame)> {
    let mut client = Client::connect(address, PATIENCE)?;
    let mut count = 0;
    loop {
        let answer = send(&mut client, count)?;
        if answer.command != "RECEIPT" {
            return Ok((count, answer));
        }
        count += 1;
    }
}

fn send(client: &mut Client, number: usize) -> io::Result<Frame> {
    let body = "x".repeat(BODY_BYTES);
    client.send(&format!("SEND\ndestination:/queue/full\npersistent:true\nnumber:{number}\nreceipt:r\n\n{body}\0"))?;
    client.read()
}

/// Takes so many, or all there are, in order; with `settles`, waits a while for that to be stored, which a full disk may not
/// allow yet.
fn take(address: &str, most: usize, settles: bool) -> io::Result<Vec<usize>> {
    let mut client = Client::connect(address, SILENCE)?;
    let credit = most.min(1000);
    client.send(&format!(
        "SUBSCRIBE\nid:0\ndestination:/queue/full\nack:client-individual\nprefetch-count:{credit}\n\n\0"
    ))?;
    let mut numbers = Vec::new();
    while numbers.len() < most {
        let frame = match client.read() {
            Ok(frame) => frame,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
            Err(error) => return Err(error),
        };
        if frame.command != "MESSAGE" {
            continue;
        }
        numbers.push(frame.header("number").and_then(|number| number.parse().ok()).unwrap_or(usize::MAX));
        if settles {
            let receipt = if numbers.len() == most { "receipt:last\n" } else { "" };
            client.send(&format!("ACK\nid:{}\n{receipt}\n\0", frame.header("ack").unwrap_or_default()))?;
        }
    }
    // The receipt may have to wait for the disk: then the silence ends this.
    while settles && client.read().is_ok_and(|frame| frame.command != "RECEIPT") {}
    Ok(numbers)
}
