//! The client's own codec: what it sends as bytes, and a reader that takes nothing but what a strict client would. It
//! shares no code with the broker.

use std::fmt;

/// The protocol version of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V1_0,
    V1_1,
    V1_2,
}

impl Version {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V1_2 => "1.2",
        }
    }
}

/// A frame of either side.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) command: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(command: &str) -> Frame {
        Frame { command: command.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: &str, value: impl fmt::Display) -> Frame {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// The bytes of the frame in a version.
    pub(crate) fn encode(&self, version: Version) -> Vec<u8> {
        let is_plain = matches!(&*self.command, "CONNECT" | "STOMP") || version == Version::V1_0;
        let mut out = format!("{}\n", self.command);
        for (name, value) in &self.headers {
            for (text, end) in [(name, ':'), (value, '\n')] {
                for letter in text.chars() {
                    match letter {
                        '\\' if !is_plain => out.push_str("\\\\"),
                        ':' if !is_plain => out.push_str("\\c"),
                        '\n' if !is_plain => out.push_str("\\n"),
                        other => out.push(other),
                    }
                }
                out.push(end);
            }
        }
        out.push('\n');
        let mut bytes = out.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes.push(0);
        bytes
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.command)?;
        for (name, value) in &self.headers {
            write!(f, " {name}:{}", value.escape_debug())?;
        }
        if !self.body.is_empty() {
            let start = String::from_utf8_lossy(&self.body[..self.body.len().min(60)]).into_owned();
            write!(f, " [{} bytes: {}]", self.body.len(), start.escape_debug())?;
        }
        Ok(())
    }
}

/// Something that came from the broker.
#[derive(Clone, Debug)]
pub(crate) enum Received {
    Frame(Frame),
    Beat,
    Ping(Vec<u8>),
    Close(u16),
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes from the broker to what they say.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) version: Version,
    is_websocket: bool,
    buffer: Vec<u8>,
    closed: bool,
}

impl Reader {
    pub(crate) fn new(is_websocket: bool) -> Reader {
        Reader { version: Version::V1_0, is_websocket, buffer: Vec::new(), closed: false }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next thing that has come as a whole.
    pub(crate) fn next(&mut self) -> Result<Option<Received>, String> {
        if self.closed && !self.buffer.is_empty() {
            return Err("bytes after a close packet".into());
        }
        if self.is_websocket {
            return self.next_packet();
        }
        if self.buffer.first() == Some(&b'\n') {
            self.buffer.remove(0);
            return Ok(Some(Received::Beat));
        }
        match parse(&self.buffer, self.version)? {
            Some((frame, length)) => {
                self.buffer.drain(..length);
                self.adopt(&frame);
                Ok(Some(Received::Frame(frame)))
            }
            None => Ok(None),
        }
    }

    fn next_packet(&mut self) -> Result<Option<Received>, String> {
        let Some((opcode, start, length)) = packet(&self.buffer)? else {
            return Ok(None);
        };
        if self.buffer.len() < start + length {
            return Ok(None);
        }
        let payload: Vec<u8> = self.buffer.drain(..start + length).skip(start).collect();
        match opcode {
            1 | 2 => {
                if opcode == 1 && std::str::from_utf8(&payload).is_err() {
                    return Err("a text packet that is not UTF-8".into());
                }
                if payload == b"\n" {
                    return Ok(Some(Received::Beat));
                }
                match parse(&payload, self.version)? {
                    Some((frame, used)) if used == payload.len() => {
                        self.adopt(&frame);
                        Ok(Some(Received::Frame(frame)))
                    }
                    _ => Err("a packet that is not one frame".into()),
                }
            }
            8 => {
                self.closed = true;
                let code = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                code.map(|code| Some(Received::Close(code))).ok_or_else(|| "a close packet without code".into())
            }
            9 => Ok(Some(Received::Ping(payload))),
            10 => Ok(Some(Received::Beat)),
            _ => Err(format!("an unexpected packet of opcode {opcode}")),
        }
    }

    /// What follows CONNECTED is escaped as its version says.
    fn adopt(&mut self, connected: &Frame) {
        if connected.command == "CONNECTED" {
            self.version = match connected.header("version") {
                Some("1.2") => Version::V1_2,
                Some("1.1") => Version::V1_1,
                _ => Version::V1_0,
            };
        }
    }
}

/// A packet's opcode, where its payload starts, and the payload's length.
fn packet(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, String> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0xf0 != 0x80 {
        return Err(format!("a packet that begins with {first:#x}"));
    }
    if second & 0x80 != 0 {
        return Err("a masked packet".into());
    }
    let found = match (second, rest) {
        (126, [a, b, ..]) => Some((4, usize::from(u16::from_be_bytes([*a, *b])))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            Some((10, usize::try_from(length).map_err(|_| "a packet of absurd length")?))
        }
        (126 | 127, _) => None,
        (length, _) => Some((2, usize::from(*length))),
    };
    Ok(found.map(|(start, length)| (first & 0x0f, start, length)))
}

/// A server's frame at the start of `bytes`, and its length; none if it is not all there.
fn parse(bytes: &[u8], version: Version) -> Result<Option<(Frame, usize)>, String> {
    let mut at = 0;
    let mut lines = Vec::new();
    loop {
        let rest = &bytes[at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| "a header that is not UTF-8")?;
        at += end + 1;
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let (command, headers) = lines.split_first().ok_or("a frame without a command")?;
    if !["CONNECTED", "MESSAGE", "RECEIPT", "ERROR"].contains(command) {
        return Err(format!("the command {command:?}"));
    }
    let mut frame = Frame::new(command);
    for line in headers {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("the header line {line:?}"))?;
        let is_plain = *command == "CONNECTED" || version == Version::V1_0;
        let text = |text: &str| if is_plain { Ok(text.to_owned()) } else { unescape(text, version) };
        frame.headers.push((text(name)?, text(value)?));
    }
    let body = &bytes[at..];
    let length = match frame.header("content-length") {
        Some(length) => length.parse().map_err(|_| "a content-length that is no number")?,
        None if *command == "MESSAGE" => return Err("a MESSAGE without content-length".into()),
        None => match body.iter().position(|byte| *byte == 0) {
            Some(end) => end,
            None => return Ok(None),
        },
    };
    match body.get(length) {
        None => Ok(None),
        Some(0) => {
            frame.body = body[..length].to_vec();
            Ok(Some((frame, at + length + 1)))
        }
        Some(_) => Err("a frame that does not end in NUL".into()),
    }
}

fn unescape(text: &str, version: Version) -> Result<String, String> {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('\\') => out.push('\\'),
                Some('c') => out.push(':'),
                Some('n') => out.push('\n'),
                Some('r') if version == Version::V1_2 => out.push('\r'),
                _ => return Err(format!("a bad escape in {text:?}")),
            },
            ':' | '\r' if version == Version::V1_2 => return Err(format!("no escape in {text:?}")),
            other => out.push(other),
        }
    }
    Ok(out)
}

/// Puts bytes into a client's packets, each of at most `piece` bytes; `fragments` makes them parts of one packet.
pub(crate) fn packets(bytes: &[u8], piece: usize, fragments: bool, mask: [u8; 4]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = bytes.chunks(piece.max(1)).collect();
    let mut out = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let opcode = if fragments && index > 0 { 0 } else { 2 };
        let is_last = !fragments || index + 1 == pieces.len();
        write_packet(&mut out, opcode, is_last, piece, mask);
    }
    out
}

/// A control packet of a client.
pub(crate) fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_packet(&mut out, opcode, true, payload, [1, 2, 3, 4]);
    out
}

fn write_packet(out: &mut Vec<u8>, opcode: u8, is_last: bool, payload: &[u8], mask: [u8; 4]) {
    out.push(if is_last { 0x80 | opcode } else { opcode });
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length => {
            out.push(0x80 | 126);
            out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}
