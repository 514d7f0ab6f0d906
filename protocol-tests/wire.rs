//! The suite's own STOMP codec, written from the specification and sharing nothing with any broker.
//!
//! Encoding does what a line of a transcript says and no more. Decoding is strict about what a *server* may send:
//! a broker that is sloppy here fails the case it was sloppy in.

use std::fmt;

use crate::transcript::Version;

/// One STOMP frame, its headers unescaped and in wire order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) command: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    /// The value that counts: the first entry of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.command)?;
        for (name, value) in &self.headers {
            write!(out, " {}:{}", name.escape_debug(), excerpt(value.as_bytes()))?;
        }
        match self.body.is_empty() {
            true => Ok(()),
            false => write!(out, " \"{}\"", excerpt(&self.body)),
        }
    }
}

/// Bytes as a person can read them on one line.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 300;
    let text: String = String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes)).escape_debug().collect();
    match bytes.len() > SHOWN {
        true => format!("{text}... ({} bytes)", bytes.len()),
        false => text,
    }
}

/// How a line of a frame ends: CR LF is allowed to clients from 1.2 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineEnd {
    Lf,
    CrLf,
}

/// The bytes of a client frame, its NUL included. `CONNECT` and `STOMP` are never escaped.
pub(crate) fn encode(frame: &Frame, version: Version, end: LineEnd) -> Vec<u8> {
    let end: &[u8] = if end == LineEnd::CrLf { b"\r\n" } else { b"\n" };
    let escaped = !matches!(frame.command.as_str(), "CONNECT" | "STOMP");
    let mut bytes = frame.command.clone().into_bytes();
    bytes.extend_from_slice(end);
    for (name, value) in &frame.headers {
        for (text, stop) in [(name, b":".as_slice()), (value, end)] {
            match escaped {
                true => bytes.extend_from_slice(escape(text, version).as_bytes()),
                false => bytes.extend_from_slice(text.as_bytes()),
            }
            bytes.extend_from_slice(stop);
        }
    }
    bytes.extend_from_slice(end);
    bytes.extend_from_slice(&frame.body);
    bytes.push(0);
    bytes
}

fn escape(text: &str, version: Version) -> String {
    if version == Version::V1_0 {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            ':' => out.push_str("\\c"),
            '\r' if version == Version::V1_2 => out.push_str("\\r"),
            other => out.push(other),
        }
    }
    out
}

fn unescape(text: &str, version: Version) -> Result<String, String> {
    if version == Version::V1_0 {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == ':' {
            return Err(format!("an unescaped colon in `{}`", text.escape_debug()));
        }
        if character != '\\' {
            out.push(character);
            continue;
        }
        out.push(match (characters.next(), version) {
            (Some('n'), _) => '\n',
            (Some('c'), _) => ':',
            (Some('\\'), _) => '\\',
            (Some('r'), Version::V1_2) => '\r',
            (other, _) => return Err(format!("an undefined escape: backslash, then {other:?}")),
        });
    }
    Ok(out)
}

/// What a server's byte stream is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Frame(Frame),
    /// An end-of-line between frames: a heart-beat, or what follows a frame.
    EndOfLine,
}

/// Cuts a server's byte stream into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    held: Vec<u8>,
    /// None until CONNECTED: what comes before it is not unescaped.
    version: Option<Version>,
}

impl Decoder {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The version whose escapes and line ends count from now on.
    pub(crate) fn speak(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// Whether the stream stops inside a frame.
    pub(crate) fn is_within_a_frame(&self) -> bool {
        !self.held.is_empty()
    }

    /// The next item, `None` when more bytes are needed, or what the server did wrong.
    pub(crate) fn item(&mut self) -> Result<Option<Item>, String> {
        match self.held.first() {
            None => return Ok(None),
            Some(b'\n') => {
                self.held.drain(..1);
                return Ok(Some(Item::EndOfLine));
            }
            Some(b'\r') => {
                return match self.held.get(1) {
                    None => Ok(None),
                    Some(b'\n') => {
                        self.held.drain(..2);
                        Ok(Some(Item::EndOfLine))
                    }
                    Some(_) => Err("a carriage return between frames without a line feed".to_owned()),
                };
            }
            Some(_) => {}
        }
        let Some((used, frame)) = parse(&self.held, self.version)? else { return Ok(None) };
        self.held.drain(..used);
        Ok(Some(Item::Frame(frame)))
    }
}

/// One whole frame at the start of `bytes` and how many bytes it takes.
fn parse(bytes: &[u8], version: Option<Version>) -> Result<Option<(usize, Frame)>, String> {
    let mut lines = Lines { bytes, at: 0, version };
    let Some(command) = lines.next_line()? else { return Ok(None) };
    if !matches!(command, "CONNECTED" | "MESSAGE" | "RECEIPT" | "ERROR") {
        return Err(format!("`{}` is no frame a server may send", command.escape_debug()));
    }
    let mut headers = Vec::new();
    loop {
        let Some(line) = lines.next_line()? else { return Ok(None) };
        if line.is_empty() {
            break;
        }
        headers.push(header(line, command, version)?);
    }
    let mut frame = Frame { command: command.to_owned(), headers, body: Vec::new() };
    let rest = bytes.get(lines.at..).unwrap_or_default();
    let Some(length) = body_length(&frame, rest)? else { return Ok(None) };
    let Some(body) = rest.get(..length) else { return Ok(None) };
    match rest.get(length) {
        None => return Ok(None),
        Some(0) => frame.body = body.to_vec(),
        Some(other) => {
            return Err(format!("{command}: octet {other} where the NUL must stand, after {length} octets of body"));
        }
    }
    if !frame.body.is_empty() && matches!(command, "CONNECTED" | "RECEIPT") {
        return Err(format!("{command} has a body: \"{}\"", excerpt(&frame.body)));
    }
    Ok(Some((lines.at + length + 1, frame)))
}

fn header(line: &str, command: &str, version: Option<Version>) -> Result<(String, String), String> {
    let Some((name, value)) = line.split_once(':') else {
        return Err(format!("{command}: a header line without a colon: `{}`", line.escape_debug()));
    };
    if name.is_empty() {
        return Err(format!("{command}: a header without a name: `{}`", line.escape_debug()));
    }
    match version {
        Some(version) if command != "CONNECTED" => Ok((
            unescape(name, version).map_err(|wrong| format!("{command}: {wrong}"))?,
            unescape(value, version).map_err(|wrong| format!("{command}: header `{name}`: {wrong}"))?,
        )),
        _ => Ok((name.to_owned(), value.to_owned())),
    }
}

/// How long the body is: as announced, or up to the first NUL.
fn body_length(frame: &Frame, rest: &[u8]) -> Result<Option<usize>, String> {
    match frame.header("content-length") {
        None => Ok(rest.iter().position(|&octet| octet == 0)),
        Some(text) if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()) => {
            text.parse().map(Some).map_err(|_| format!("content-length:{text} is out of all bounds"))
        }
        Some(text) => Err(format!("content-length:{} is no octet count", text.escape_debug())),
    }
}

struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    version: Option<Version>,
}

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Result<Option<&'a str>, String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&octet| octet == b'\n') else {
            return match rest.contains(&0) {
                true => Err(format!("a NUL before the headers end: \"{}\"", excerpt(self.bytes))),
                false => Ok(None),
            };
        };
        let mut line = rest.get(..length).unwrap_or_default();
        self.at += length + 1;
        if let (Some(b'\r'), Some(Version::V1_2) | None) = (line.last(), self.version) {
            line = line.get(..length - 1).unwrap_or_default();
        }
        let line = std::str::from_utf8(line).map_err(|_| format!("a header that is not UTF-8: {}", excerpt(line)))?;
        // A carriage return is data to 1.0 and 1.1, and may stand in no line of 1.2.
        let is_wrong = line.contains('\0') || line.contains('\r') && self.version == Some(Version::V1_2);
        match is_wrong {
            true => Err(format!("a NUL or a bare carriage return in a header line: `{}`", line.escape_debug())),
            false => Ok(Some(line)),
        }
    }
}
