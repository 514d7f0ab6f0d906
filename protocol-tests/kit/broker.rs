//! A STOMP server as small as can be, that delivers only to the connection that sent, and has one fault if asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    ChokesOnHeartBeats,
    CountsCharacters,
    DeliversAfterUnsubscribe,
    DeliversTwice,
    DropsUserHeaders,
    ForgetsReceipts,
    ForgetsTheNul,
    IgnoresVersions,
    KeepsCarriageReturns,
    LosesCutFrames,
    ReusesMessageIds,
    SendsNoErrorText,
    SendsUnescaped,
    StaysAfterError,
    SwapsReceipts,
    Trims,
    TruncatesAtNul,
}

/// Starts the server on a thread of its own; it lives as long as the process.
pub(crate) fn start(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || Connection::new(stream, fault).serve());
        }
    });
    address
}

struct Connection {
    stream: TcpStream,
    fault: Fault,
    held: Vec<u8>,
    subscriptions: Vec<(String, String)>,
    connected: bool,
    sent: u32,
}

type Headers = Vec<(String, String)>;

fn value<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

impl Connection {
    fn new(stream: TcpStream, fault: Fault) -> Self {
        Connection { stream, fault, held: Vec::new(), subscriptions: Vec::new(), connected: false, sent: 0 }
    }

    fn serve(mut self) {
        let mut scratch = [0; 4096];
        while let Ok(count @ 1..) = self.stream.read(&mut scratch) {
            self.held.extend_from_slice(&scratch[..count]);
            while let Some((command, headers, body)) = self.frame() {
                if !self.handle(&command, &headers, &body) {
                    return;
                }
            }
            if self.fault == Fault::LosesCutFrames {
                self.held.clear();
            }
        }
    }

    /// The next whole frame.
    fn frame(&mut self) -> Option<(String, Headers, Vec<u8>)> {
        let blanks = self.held.iter().take_while(|octet| matches!(octet, b'\n' | b'\r')).count();
        if self.fault != Fault::ChokesOnHeartBeats || self.held.len() == blanks {
            self.held.drain(..blanks);
        }
        let mut at = 0;
        let mut lines = Vec::new();
        loop {
            let end = at + self.held[at..].iter().position(|&octet| octet == b'\n')?;
            let mut line = String::from_utf8_lossy(&self.held[at..end]).into_owned();
            at = end + 1;
            if line.ends_with('\r') && self.fault != Fault::KeepsCarriageReturns {
                line.pop();
            }
            if line.is_empty() && !lines.is_empty() {
                break;
            }
            lines.push(line);
        }
        let command = lines.remove(0);
        let escaped = !matches!(command.as_str(), "CONNECT" | "STOMP");
        let headers: Headers = lines
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (self.unescape(name, escaped), self.unescape(value, escaped)))
            .collect();
        let length = match value(&headers, "content-length").and_then(|length| length.parse().ok()) {
            Some(length) if self.fault != Fault::TruncatesAtNul => length,
            _ => self.held[at..].iter().position(|&octet| octet == 0)?,
        };
        if self.held.len() <= at + length {
            return None;
        }
        let body = self.held[at..at + length].to_vec();
        self.held.drain(..=at + length);
        Some((command, headers, body))
    }

    fn unescape(&self, text: &str, escaped: bool) -> String {
        let text = if self.fault == Fault::Trims { text.trim() } else { text };
        if !escaped {
            return text.to_owned();
        }
        let text = text.replace("\\\\", "\u{1}").replace("\\n", "\n").replace("\\r", "\r").replace("\\c", ":");
        text.replace('\u{1}', "\\")
    }

    /// `false` ends the connection.
    fn handle(&mut self, command: &str, headers: &Headers, body: &[u8]) -> bool {
        let destination = value(headers, "destination");
        match (command, destination, value(headers, "id")) {
            ("CONNECT" | "STOMP", ..) => {
                self.connected = true;
                let offered = value(headers, "accept-version").unwrap_or("1.0");
                let version = match self.fault {
                    Fault::IgnoresVersions => Some("1.2"),
                    _ => ["1.2", "1.1", "1.0"].into_iter().find(|known| offered.split(',').any(|one| one == *known)),
                };
                match version {
                    Some(version) => self.send("CONNECTED", &[("version", version)], b""),
                    None => return self.refuse(headers),
                }
            }
            _ if !self.connected => return self.refuse(headers),
            ("SEND", Some(destination), _) => self.deliver(destination, headers, body),
            ("SUBSCRIBE", Some(destination), Some(id)) => {
                self.subscriptions.push((id.to_owned(), destination.to_owned()));
            }
            ("UNSUBSCRIBE", _, Some(id)) => {
                self.subscriptions.retain(|(live, _)| live != id || self.fault == Fault::DeliversAfterUnsubscribe);
            }
            ("DISCONNECT", ..) => {}
            _ => return self.refuse(headers),
        }
        match value(headers, "receipt") {
            Some(_) if self.fault == Fault::ForgetsReceipts => {}
            Some(_) if self.fault == Fault::SwapsReceipts => self.send("RECEIPT", &[("receipt-id", "another")], b""),
            Some(receipt) => self.send("RECEIPT", &[("receipt-id", receipt)], b""),
            None => {}
        }
        command != "DISCONNECT"
    }

    fn refuse(&mut self, headers: &Headers) -> bool {
        let message = if self.fault == Fault::SendsNoErrorText { "" } else { "no" };
        let receipt = value(headers, "receipt").unwrap_or("none");
        self.send("ERROR", &[("message", message), ("receipt-id", receipt), ("version", "1.2")], b"");
        self.fault == Fault::StaysAfterError
    }

    fn deliver(&mut self, destination: &str, headers: &Headers, body: &[u8]) {
        for (id, subscribed) in self.subscriptions.clone() {
            if subscribed != destination {
                continue;
            }
            self.sent += u32::from(self.fault != Fault::ReusesMessageIds);
            let message_id = self.sent.to_string();
            let length = match self.fault {
                Fault::CountsCharacters => String::from_utf8_lossy(body).chars().count(),
                _ => body.len(),
            };
            let length = length.to_string();
            let mut all = vec![
                ("subscription", id.as_str()),
                ("message-id", message_id.as_str()),
                ("destination", destination),
                ("content-length", length.as_str()),
            ];
            let ours = ["destination", "content-length", "receipt"];
            let theirs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            if self.fault != Fault::DropsUserHeaders {
                all.extend(theirs.filter(|(name, _)| !ours.contains(name)));
            }
            self.send("MESSAGE", &all, body);
            if self.fault == Fault::DeliversTwice {
                self.send("MESSAGE", &all, body);
            }
        }
    }

    fn send(&mut self, command: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut bytes = format!("{command}\n").into_bytes();
        for (name, value) in headers {
            let escape = |text: &str| match self.fault {
                Fault::SendsUnescaped => text.to_owned(),
                _ => text.replace('\\', "\\\\").replace('\n', "\\n").replace(':', "\\c").replace('\r', "\\r"),
            };
            bytes.extend_from_slice(format!("{}:{}\n", escape(name), escape(value)).as_bytes());
        }
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        if self.fault != Fault::ForgetsTheNul || command != "MESSAGE" {
            bytes.push(0);
        }
        // A client that has gone is found out by the next read.
        let _ = self.stream.write_all(&bytes);
    }
}
