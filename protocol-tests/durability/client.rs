//! A STOMP client of few words, over TCP or WebSocket. Bodies here have no NUL, and headers nothing to escape.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) struct Client {
    input: BufReader<TcpStream>,
    output: TcpStream,
    is_websocket: bool,
    /// What came and is no whole frame yet.
    came: Vec<u8>,
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
    /// Connects to `tcp://...` or `ws://...`.
    pub(crate) fn connect(address: &str, silence: Duration) -> io::Result<Client> {
        Client::connect_with(address, "", silence)
    }

    /// Connects with further headers, each with the end of its line.
    pub(crate) fn connect_with(address: &str, headers: &str, silence: Duration) -> io::Result<Client> {
        let (scheme, rest) = address.split_once("://").ok_or(io::ErrorKind::InvalidInput)?;
        let host = rest.split('/').next().unwrap_or_default();
        let output = TcpStream::connect(host)?;
        output.set_nodelay(true)?;
        // A broker that says nothing for so long has nothing to say.
        output.set_read_timeout(Some(silence))?;
        let input = BufReader::new(output.try_clone()?);
        let mut client = Client { input, output, is_websocket: scheme == "ws", came: Vec::new() };
        if client.is_websocket {
            client.upgrade(host)?;
        }
        client.send(&format!("CONNECT\naccept-version:1.2\nhost:x\nheart-beat:0,0\n{headers}\n\0"))?;
        let answer = client.read()?;
        match answer.command.as_str() {
            "CONNECTED" => Ok(client),
            other => Err(io::Error::other(format!("{other} in answer to CONNECT"))),
        }
    }

    /// Sends frames as they are, in one packet where there are packets.
    pub(crate) fn send(&mut self, frames: &str) -> io::Result<()> {
        match self.is_websocket {
            true => self.send_packet(1, frames.as_bytes()),
            false => self.output.write_all(frames.as_bytes()),
        }
    }

    /// The next frame. A silence is an error of the kind `WouldBlock`.
    pub(crate) fn read(&mut self) -> io::Result<Frame> {
        let end = loop {
            match self.came.iter().position(|byte| *byte == 0) {
                Some(end) => break end,
                None => self.receive()?,
            }
        };
        let rest = self.came.split_off(end + 1);
        let bytes = std::mem::replace(&mut self.came, rest);
        let text = String::from_utf8_lossy(&bytes[..end]);
        let text = text.trim_start_matches('\n');
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let command = lines.next().unwrap_or_default().to_owned();
        let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Frame { command, headers: lines.filter_map(header).collect(), body: body.to_owned() })
    }

    fn upgrade(&mut self, host: &str) -> io::Result<()> {
        write!(
            self.output,
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: v12.stomp\r\n\r\n"
        )?;
        let mut line = String::new();
        self.input.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 101") {
            return Err(io::Error::other(format!("{line:?} in answer to the upgrade")));
        }
        while line.trim_end() != "" {
            line.clear();
            self.input.read_line(&mut line)?;
        }
        Ok(())
    }

    /// Takes what there is.
    fn receive(&mut self) -> io::Result<()> {
        if !self.is_websocket {
            let came = self.input.fill_buf()?;
            let length = came.len();
            self.came.extend_from_slice(came);
            self.input.consume(length);
            return if length == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) };
        }
        let (opcode, payload) = self.receive_packet()?;
        match opcode {
            0..=2 => self.came.extend_from_slice(&payload),
            8 => return Err(io::ErrorKind::UnexpectedEof.into()),
            9 => self.send_packet(10, &payload)?,
            _ => {}
        }
        Ok(())
    }

    fn receive_packet(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let [first, second] = self.take::<2>()?;
        let length = match second {
            126 => u64::from(u16::from_be_bytes(self.take()?)),
            127 => u64::from_be_bytes(self.take()?),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.input.read_exact(&mut payload)?;
        Ok((first & 0x0f, payload))
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Sends a packet with a mask that changes nothing.
    fn send_packet(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut packet = vec![0x80 | opcode];
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(length @ 0..=125), _) => packet.push(0x80 | length),
            (_, Ok(length)) => {
                packet.push(0x80 | 126);
                packet.extend(length.to_be_bytes());
            }
            _ => {
                packet.push(0x80 | 127);
                packet.extend((payload.len() as u64).to_be_bytes());
            }
        }
        packet.extend([0; 4]);
        packet.extend_from_slice(payload);
        self.output.write_all(&packet)
    }
}
