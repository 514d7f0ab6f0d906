//! A STOMP client of few words, over TCP. Bodies here have no NUL, and headers nothing to escape.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) struct Client {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

pub(crate) struct Frame {
    pub(crate) command: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Frame {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(each, _)| each == name).map(|(_, value)| value.as_str())
    }
}

impl Client {
    pub(crate) fn connect(address: &str, silence: Duration) -> io::Result<Client> {
        Client::connect_with(address, "", silence)
    }

    /// Connects with further headers, each with the end of its line.
    pub(crate) fn connect_with(address: &str, headers: &str, silence: Duration) -> io::Result<Client> {
        let output = TcpStream::connect(address)?;
        output.set_nodelay(true)?;
        // A broker that says nothing for so long has nothing to say.
        output.set_read_timeout(Some(silence))?;
        let mut client = Client { input: BufReader::new(output.try_clone()?), output };
        client.send(&format!("CONNECT\naccept-version:1.2\nhost:x\nheart-beat:0,0\n{headers}\n\0"))?;
        let answer = client.read()?;
        match answer.command.as_str() {
            "CONNECTED" => Ok(client),
            other => Err(io::Error::other(format!("{other} in answer to CONNECT"))),
        }
    }

    /// Sends frames as they are.
    pub(crate) fn send(&mut self, frames: &str) -> io::Result<()> {
        self.output.write_all(frames.as_bytes())
    }

    /// The next frame. A silence is an error of the kind `WouldBlock`.
    pub(crate) fn read(&mut self) -> io::Result<Frame> {
        let mut bytes = Vec::new();
        self.input.read_until(0, &mut bytes)?;
        if bytes.pop() != Some(0) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_start_matches('\n');
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let command = lines.next().unwrap_or_default().to_owned();
        let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Frame { command, headers: lines.filter_map(header).collect(), body: body.to_owned() })
    }
}
