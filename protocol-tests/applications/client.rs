//! A client over TCP that is no more than it takes to look at what an application does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A loaded machine may be slow; a broker that works never is this slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// A frame that the broker sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) command: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Frame {
    /// The value of a header; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// One session.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    receipts: u32,
    /// What the broker called the session.
    pub(crate) session: String,
}

impl Client {
    /// Connects with these headers, beside those that must be.
    pub(crate) fn connect(address: &str, headers: &[(&str, &str)]) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client { stream: BufReader::new(stream), receipts: 0, session: String::new() };
        client.write("CONNECT", &[&[("accept-version", "1.2")], headers].concat(), "");
        let connected = client.expect("CONNECTED");
        client.session = connected.header("session").to_owned();
        client
    }

    /// Sends a frame.
    pub(crate) fn write(&mut self, command: &str, headers: &[(&str, &str)], body: &str) {
        let mut text = format!("{command}\n");
        for (name, value) in headers {
            text += &format!("{name}:{}\n", value.replace('\\', "\\\\").replace('\n', "\\n").replace(':', "\\c"));
        }
        self.stream.get_mut().write_all(format!("{text}\n{body}\0").as_bytes()).unwrap();
    }

    /// Sends a frame, and waits for its RECEIPT; what comes before that is given back.
    pub(crate) fn request(&mut self, command: &str, headers: &[(&str, &str)], body: &str) -> Vec<Frame> {
        self.receipts += 1;
        let receipt = format!("receipt-{}", self.receipts);
        self.write(command, &[headers, &[("receipt", &receipt)]].concat(), body);
        let mut before = Vec::new();
        loop {
            let frame = self.read();
            match frame.command.as_str() {
                "RECEIPT" => {
                    assert_eq!(frame.header("receipt-id"), receipt);
                    return before;
                }
                "ERROR" => panic!("{frame:?}"),
                _ => before.push(frame),
            }
        }
    }

    /// Subscribes, and waits until that is in force.
    pub(crate) fn subscribe(&mut self, id: &str, destination: &str) -> Vec<Frame> {
        self.request("SUBSCRIBE", &[("id", id), ("destination", destination)], "")
    }

    /// The next frame, which must be this.
    pub(crate) fn expect(&mut self, command: &str) -> Frame {
        let frame = self.read();
        assert_eq!(frame.command, command, "{frame:?}");
        frame
    }

    /// The body of the next frame, which must be a MESSAGE.
    pub(crate) fn body(&mut self) -> String {
        self.expect("MESSAGE").body
    }

    /// The next frame.
    pub(crate) fn read(&mut self) -> Frame {
        let mut line = String::new();
        while line.trim().is_empty() {
            line.clear();
            assert_ne!(self.stream.read_line(&mut line).unwrap(), 0, "the broker closed the connection");
        }
        let command = line.trim().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end_matches('\n').split_once(':') else { break };
            let value = value.replace("\\c", ":").replace("\\n", "\n").replace("\\\\", "\\");
            headers.entry(name.to_owned()).or_insert(value);
        }
        let body = match headers.get("content-length") {
            Some(length) => {
                let mut body = vec![0; length.parse::<usize>().unwrap() + 1];
                self.stream.read_exact(&mut body).unwrap();
                body
            }
            None => {
                let mut body = Vec::new();
                self.stream.read_until(0, &mut body).unwrap();
                body
            }
        };
        let body = String::from_utf8(body).unwrap().trim_end_matches('\0').to_owned();
        Frame { command, headers, body }
    }
}
