//! The steps of a transcript, read into values. The README's language reference describes each.

use std::time::Duration;

use regex_lite::Regex;

use crate::harness::packet;
use crate::scan::{self, Scanner, Text};

/// One line of a transcript: where it stands, what it says, what it means.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) text: String,
    pub(crate) step: Step,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Actor(String, Act),
    Advance(Text),
    /// Expectations of any actors; each actor's arrive in whatever order.
    AnyOrder(Vec<Line>),
    Restart,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Close(Option<u16>),
    Connect(Vec<Field>),
    Drop,
    Expect(Expect),
    Frame(FrameLine),
    Open(Vec<Field>),
    Packet(PacketLine),
    /// Bytes as written; each element is a write of its own.
    Raw {
        writes: Vec<Vec<Text>>,
        binary: bool,
    },
    Resume,
    Stall,
}

/// `name:value`, or `-name` for a header that must be absent.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: Text,
    pub(crate) value: Option<Text>,
}

#[derive(Clone, Debug)]
pub(crate) struct FrameLine {
    pub(crate) command: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) body: Option<Text>,
}

/// A WebSocket packet, right or wrong.
#[derive(Clone, Debug)]
pub(crate) struct PacketLine {
    pub(crate) header: packet::Packet,
    /// Whether the payload is to be compressed, and marked so.
    pub(crate) deflated: bool,
    pub(crate) payload: Text,
}

#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// A heart-beat; `alone`: nothing else is in the message that carries it, where there are messages.
    Beat {
        alone: bool,
        within: Option<Text>,
    },
    Closed(CloseWant),
    /// The connection closes; an ERROR may have come first.
    Ended(CloseWant),
    Frame(Pattern),
    Handshake {
        status: u16,
        fields: Vec<(String, Want)>,
    },
    Nothing(Option<Text>),
    Ping,
    Pong(Text),
    /// An ERROR, or the connection closes without one.
    Refused,
    /// Not even a heart-beat.
    Silence(Text),
    /// This frame, after any others.
    Until(Pattern),
}

#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) command: String,
    pub(crate) headers: Vec<(Text, Want)>,
    pub(crate) body: Option<Want>,
    pub(crate) then_closed: Option<CloseWant>,
}

/// How the connection must close, where the transport tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct CloseWant {
    pub(crate) code: Option<u16>,
    pub(crate) reason: Option<Want>,
}

#[derive(Clone, Debug)]
pub(crate) enum Want {
    Absent,
    /// Present, and another value than this.
    Differs(Text),
    Exactly(Text),
    Matches(Regex),
}

/// All steps, or the number of the line that is wrong and why.
pub(crate) fn parse<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Vec<Line>, (usize, String)> {
    let mut steps: Vec<Line> = Vec::new();
    let mut group: Option<(usize, Vec<Line>)> = None;
    for (number, raw) in lines {
        let text = raw.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if text.strip_prefix("any-order").is_some_and(|rest| rest.trim() == "{") && group.is_none() {
            group = Some((number, Vec::new()));
            continue;
        }
        if text == "}" {
            let Some((start, members)) = group.take() else {
                return Err((number, "`}` closes nothing".to_owned()));
            };
            steps.push(Line { number: start, text: "any-order { .. }".to_owned(), step: Step::AnyOrder(members) });
            continue;
        }
        let step = step(text).map_err(|wrong| (number, wrong))?;
        let line = Line { number, text: text.to_owned(), step };
        match &mut group {
            None => steps.push(line),
            Some((_, members)) => match &line.step {
                Step::Actor(_, Act::Expect(Expect::Frame(Pattern { then_closed: None, .. }))) => members.push(line),
                _ => return Err((number, "any-order takes only lines that expect a frame".to_owned())),
            },
        }
    }
    match group {
        Some((start, _)) => Err((start, "`any-order {` is never closed".to_owned())),
        None => Ok(steps),
    }
}

fn step(text: &str) -> Result<Step, String> {
    let mut scanner = Scanner::new(text);
    let word = scanner.word()?;
    let step = match word.as_str() {
        "advance" => Step::Advance(scanner.value()?),
        "restart" => Step::Restart,
        actor if actor.starts_with(|first: char| first.is_ascii_uppercase()) => {
            Step::Actor(actor.to_owned(), act(&mut scanner)?)
        }
        other => return Err(format!("`{other}` is neither a step nor an actor (actors begin with a capital)")),
    };
    scanner.finish()?;
    Ok(step)
}

fn act(scanner: &mut Scanner<'_>) -> Result<Act, String> {
    let verb = scanner.word()?;
    Ok(match verb.as_str() {
        ">" => Act::Frame(frame_line(scanner)?),
        "<" => Act::Expect(expect(scanner)?),
        "close" => Act::Close(code(scanner)?),
        "connect" => Act::Connect(fields(scanner)?),
        "drop" => Act::Drop,
        "open" => Act::Open(fields(scanner)?),
        "packet" => Act::Packet(packet_line(scanner)?),
        "raw" => Act::Raw { writes: writes(scanner)?, binary: false },
        "raw-binary" => Act::Raw { writes: writes(scanner)?, binary: true },
        "resume" => Act::Resume,
        "stall" => Act::Stall,
        other => return Err(format!("an actor cannot `{other}`")),
    })
}

fn frame_line(scanner: &mut Scanner<'_>) -> Result<FrameLine, String> {
    let command = scanner.word()?;
    let fields = fields(scanner)?;
    let body = if scanner.is_done() { None } else { Some(scanner.value()?) };
    Ok(FrameLine { command, fields, body })
}

/// Headers, as long as they come.
fn fields(scanner: &mut Scanner<'_>) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    while let Some(name) = scanner.field_name()? {
        let value = Some(scanner.field_value()?);
        fields.push(Field { name, value });
        while let Some(name) = scanner.absent_name() {
            fields.push(Field { name, value: None });
        }
    }
    while let Some(name) = scanner.absent_name() {
        fields.push(Field { name, value: None });
        fields.extend(self::fields(scanner)?);
    }
    Ok(fields)
}

fn writes(scanner: &mut Scanner<'_>) -> Result<Vec<Vec<Text>>, String> {
    let mut writes = vec![Vec::new()];
    while !scanner.is_done() {
        for (index, text) in scanner.quoted_pieces()?.into_iter().enumerate() {
            if index > 0 {
                writes.push(Vec::new());
            }
            if let Some(last) = writes.last_mut() {
                last.push(text);
            }
        }
    }
    match writes.iter().all(|write| write.is_empty()) {
        true => Err("raw needs bytes in quotes".to_owned()),
        false => Ok(writes),
    }
}

fn packet_line(scanner: &mut Scanner<'_>) -> Result<PacketLine, String> {
    let opcode = match scanner.word()?.as_str() {
        "continuation" => packet::CONTINUATION,
        "text" => packet::TEXT,
        "binary" => packet::BINARY,
        "close" => packet::CLOSE,
        "ping" => packet::PING,
        "pong" => packet::PONG,
        other => other.parse().map_err(|_| format!("`{other}` is no kind of packet"))?,
    };
    let mut header = packet::Packet::new(opcode, Vec::new());
    let mut deflated = false;
    loop {
        match scanner.bare_word().as_deref() {
            Some("unfinished") => header.fin = false,
            Some("unmasked") => header.masked = false,
            Some("reserved") => header.rsv = 1,
            Some("marked") => header.rsv = packet::COMPRESSED,
            Some("deflated") => deflated = true,
            Some(other) => return Err(format!("a packet cannot be `{other}`")),
            None => break,
        }
    }
    let payload = if scanner.is_done() { Text::empty() } else { scanner.value()? };
    Ok(PacketLine { header, deflated, payload })
}

fn expect(scanner: &mut Scanner<'_>) -> Result<Expect, String> {
    let what = scanner.word()?;
    Ok(match what.as_str() {
        "beat" => {
            let mut word = scanner.bare_word();
            let alone = word.as_deref() == Some("alone");
            if alone {
                word = scanner.bare_word();
            }
            let within = match word.as_deref() {
                None => None,
                Some("within") => Some(scanner.value()?),
                Some(other) => return Err(format!("expected `alone` or `within`, found `{other}`")),
            };
            Expect::Beat { alone, within }
        }
        "closed" => Expect::Closed(close_want(scanner)?),
        "ended" => Expect::Ended(close_want(scanner)?),
        "handshake" => {
            let status = scanner.word()?;
            let status = status.parse().map_err(|_| format!("`{status}` is no HTTP status"))?;
            Expect::Handshake { status, fields: text_wants(scanner)? }
        }
        "nothing" => Expect::Nothing(if scanner.is_done() { None } else { Some(scanner.value()?) }),
        "ping" => Expect::Ping,
        "refused" => Expect::Refused,
        "silence" => Expect::Silence(scanner.value()?),
        "pong" => Expect::Pong(if scanner.is_done() { Text::empty() } else { scanner.value()? }),
        "until" => {
            let command = scanner.word()?;
            Expect::Until(pattern(command, scanner)?)
        }
        _ => Expect::Frame(pattern(what, scanner)?),
    })
}

fn text_wants(scanner: &mut Scanner<'_>) -> Result<Vec<(String, Want)>, String> {
    let literal = |name: Text| name.literal().ok_or("a handshake header has a plain name".to_owned());
    wants(scanner)?.into_iter().map(|(name, want)| Ok((literal(name)?, want))).collect()
}

fn pattern(command: String, scanner: &mut Scanner<'_>) -> Result<Pattern, String> {
    if !command.chars().all(|letter| letter.is_ascii_uppercase()) {
        return Err(format!("`{command}` is no frame and no other thing to expect"));
    }
    let headers = wants(scanner)?;
    let mut body = None;
    let mut then_closed = None;
    if !scanner.is_done() && !scanner.is_at("then ") {
        body = Some(want(scanner.value()?)?);
    }
    if scanner.is_at("then ") {
        scanner.word()?;
        match scanner.word()?.as_str() {
            "closed" => then_closed = Some(close_want(scanner)?),
            other => return Err(format!("expected `then closed`, found `then {other}`")),
        }
    }
    Ok(Pattern { command, headers, body, then_closed })
}

fn wants(scanner: &mut Scanner<'_>) -> Result<Vec<(Text, Want)>, String> {
    let fields = fields(scanner)?;
    fields
        .into_iter()
        .map(|field| {
            let want = match field.value {
                None => Want::Absent,
                Some(value) => want(value)?,
            };
            Ok((field.name, want))
        })
        .collect()
}

/// A bare value between slashes is a regular expression that must match the whole value; one after `!` is what the
/// value must not be.
fn want(value: Text) -> Result<Want, String> {
    if let Some(other) = value.bare().and_then(|bare| bare.strip_prefix('!')) {
        return Ok(Want::Differs(scan::bare_text(other)?));
    }
    let Some(expression) = value.bare().and_then(|bare| bare.strip_prefix('/')?.strip_suffix('/').map(str::to_owned))
    else {
        return Ok(Want::Exactly(value));
    };
    Regex::new(&format!("^(?s:{expression})$"))
        .map(Want::Matches)
        .map_err(|wrong| format!("the expression /{expression}/ is wrong: {wrong}"))
}

/// `[CODE [REASON]]`
fn close_want(scanner: &mut Scanner<'_>) -> Result<CloseWant, String> {
    let code = code(scanner)?;
    let reason = if scanner.is_done() { None } else { Some(want(scanner.value()?)?) };
    Ok(CloseWant { code, reason })
}

fn code(scanner: &mut Scanner<'_>) -> Result<Option<u16>, String> {
    match scanner.bare_word() {
        None => Ok(None),
        Some(word) => word.parse().map(Some).map_err(|_| format!("`{word}` is no close code")),
    }
}

/// `250ms`, `10s`, `1m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let count: u64 = digits.parse().map_err(|_| format!("`{text}` is no time: write 250ms, 10s or 1m"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        "m" => Ok(Duration::from_secs(count.saturating_mul(60))),
        _ => Err(format!("`{text}` is no time: write 250ms, 10s or 1m")),
    }
}
