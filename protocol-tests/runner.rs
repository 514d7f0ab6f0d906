//! Plays one transcript against a broker, line by line.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::actor::{Actor, Seen};
use crate::expect;
use crate::harness::{Harness, HarnessError, Opening, Piece, Scope, World, packet::Packet};
use crate::names::Names;
use crate::profile::Profile;
use crate::replay::{self, Mode, Random};
use crate::scan::Text;
use crate::script::{self, Act, CloseWant, Expect, Field, FrameLine, Line, PacketLine, Pattern, Step};
use crate::transcript::{Case, Version};
use crate::wire::{self, Frame, LineEnd};

/// Where a run left its transcript.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// The line of the file.
    pub(crate) line: usize,
    /// What came instead of what the line says.
    pub(crate) came: String,
    pub(crate) mode: Mode,
}

/// Why a run has no verdict of pass.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Passed,
    Failed(Failure),
    /// The harness cannot do a step; says which.
    Impossible(String),
}

/// Plays `case` once.
pub(crate) fn run(case: &Case, version: Version, mode: Mode, harness: &dyn Harness, profile: &Profile) -> Outcome {
    let scope = if case.is_alone() { Scope::Own } else { Scope::Shared };
    let world = match harness.world(scope) {
        Ok(world) => world,
        Err(error @ HarnessError::Unsupported(_)) => return Outcome::Impossible(error.to_string()),
        Err(error) => {
            let line = case.lines.first().map_or(1, |line| line.number);
            return Outcome::Failed(Failure { line, came: error.to_string(), mode });
        }
    };
    let seed = match mode {
        Mode::Cuts { seed } => seed,
        _ => 0,
    };
    let mut stage = Stage {
        world,
        profile,
        version,
        mode,
        random: Random::new(seed),
        names: Names::new(profile, version),
        actors: BTreeMap::new(),
    };
    for line in &case.lines {
        match stage.play(line) {
            Ok(()) => {}
            Err(Stop::Differs { line, came }) => return Outcome::Failed(Failure { line, came, mode }),
            Err(Stop::Impossible(what)) => return Outcome::Impossible(what),
        }
    }
    Outcome::Passed
}

enum Stop {
    Differs { line: usize, came: String },
    Impossible(String),
}

/// What a single step may end in; the line number is added by `play`.
enum Trouble {
    Differs(String),
    Impossible(String),
}

impl From<String> for Trouble {
    fn from(came: String) -> Self {
        Trouble::Differs(came)
    }
}

impl From<HarnessError> for Trouble {
    fn from(error: HarnessError) -> Self {
        match error {
            HarnessError::Unsupported(_) => Trouble::Impossible(error.to_string()),
            _ => Trouble::Differs(error.to_string()),
        }
    }
}

struct Stage<'a> {
    world: Box<dyn World>,
    profile: &'a Profile,
    version: Version,
    mode: Mode,
    random: Random,
    names: Names<'a>,
    actors: BTreeMap<String, Actor>,
}

impl Stage<'_> {
    fn play(&mut self, line: &Line) -> Result<(), Stop> {
        let done = match &line.step {
            Step::Actor(actor, act) => self.act(actor, act),
            Step::Advance(by) => self.advance(by),
            Step::AnyOrder(members) => return self.any_order(members),
            Step::Restart => self.restart(),
        };
        done.map_err(|trouble| at_line(line.number, trouble))
    }

    fn advance(&mut self, by: &Text) -> Result<(), Trouble> {
        let by = self.time(by)?;
        self.world.advance(by);
        Ok(())
    }

    /// No connection survives it.
    fn restart(&mut self) -> Result<(), Trouble> {
        self.actors.clear();
        Ok(self.world.restart()?)
    }

    fn act(&mut self, name: &str, act: &Act) -> Result<(), Trouble> {
        match act {
            Act::Open(fields) => self.open(name, fields),
            Act::Connect(fields) => self.connect(name, fields),
            Act::Drop => {
                self.actor(name)?;
                self.actors.remove(name);
                Ok(())
            }
            Act::Frame(line) => self.send_frame(name, line),
            Act::Raw { writes, binary } => self.send_raw(name, writes, *binary),
            Act::Packet(line) => self.send_packet(name, line),
            Act::Close(code) => {
                self.actor(name)?.link.close(*code);
                Ok(())
            }
            Act::Stall => {
                self.actor(name)?.link.stall();
                Ok(())
            }
            Act::Resume => {
                self.actor(name)?.link.resume();
                Ok(())
            }
            Act::Expect(expect) => self.expect(name, expect),
        }
    }

    fn actor(&mut self, name: &str) -> Result<&mut Actor, Trouble> {
        self.actors.get_mut(name).ok_or_else(|| Trouble::Differs(format!("{name} has no connection")))
    }

    fn open(&mut self, name: &str, fields: &[Field]) -> Result<(), Trouble> {
        let protocols = Some(self.version.protocol().to_owned());
        let mut opening = Opening { protocols, ..Opening::default() };
        for field in fields {
            let key = self.names.fill_str(&field.name)?;
            let value = field.value.as_ref().map(|value| self.names.fill_str(value)).transpose()?;
            match (key.as_str(), value) {
                ("protocols", value) => opening.protocols = value.filter(|value| !value.is_empty()),
                ("deflate", Some(value)) => opening.deflate = value == "true",
                (_, Some(value)) => opening.headers.push((key, value)),
                (_, None) => {}
            }
        }
        let link = self.world.connect(&opening)?;
        self.actors.insert(name.to_owned(), Actor::new(link));
        Ok(())
    }

    /// Opens the transport and logs in; the session must speak the version under test.
    fn connect(&mut self, name: &str, fields: &[Field]) -> Result<(), Trouble> {
        self.open(name, &[])?;
        let mut frame = self.frame("CONNECT", fields, None)?;
        let says_versions = fields.iter().any(|field| field.name.literal().as_deref() == Some("accept-version"));
        if self.version != Version::V1_0 && !says_versions {
            frame.headers.insert(0, ("accept-version".to_owned(), self.version.name().to_owned()));
        }
        self.hand_over(name, &frame)?;
        let seen = self.next(name, |seen| matches!(seen, Seen::Frame(..)))?;
        match &seen {
            Seen::Frame(frame, _) if frame.command == "CONNECTED" => {
                let version = frame.header("version").unwrap_or("1.0");
                match version == self.version.name() {
                    true => Ok(()),
                    false => Err(Trouble::Differs(format!("connected, but with version {version}"))),
                }
            }
            other => Err(Trouble::Differs(other.describe())),
        }
    }

    fn send_frame(&mut self, name: &str, line: &FrameLine) -> Result<(), Trouble> {
        let body = line.body.as_ref().map(|body| self.names.fill(body)).transpose()?;
        let frame = self.frame(&line.command, &line.fields, body)?;
        self.hand_over(name, &frame)
    }

    /// The frame of a line. CONNECT and STOMP get the profile's headers, unless the line names them.
    fn frame(&self, command: &str, fields: &[Field], body: Option<Vec<u8>>) -> Result<Frame, Trouble> {
        let mut frame = Frame { command: command.to_owned(), headers: Vec::new(), body: body.unwrap_or_default() };
        let mut named = Vec::new();
        for field in fields {
            let key = self.names.fill_str(&field.name)?;
            named.push(key.clone());
            match &field.value {
                Some(value) if key == "content-length" && value.bare() == Some("auto") => {
                    frame.headers.push((key, frame.body.len().to_string()));
                }
                Some(value) => frame.headers.push((key, self.names.fill_str(value)?)),
                None => {}
            }
        }
        if matches!(command, "CONNECT" | "STOMP") {
            for (key, value) in &self.profile.connect {
                // Virtual hosts came with 1.1.
                let is_known = key != "host" || self.version != Version::V1_0;
                if is_known && !named.contains(key) {
                    frame.headers.push((key.clone(), value.clone()));
                }
            }
        }
        Ok(frame)
    }

    fn hand_over(&mut self, name: &str, frame: &Frame) -> Result<(), Trouble> {
        let opens = matches!(frame.command.as_str(), "CONNECT" | "STOMP");
        let end = match self.mode == Mode::CrLf && !opens {
            true => LineEnd::CrLf,
            false => LineEnd::Lf,
        };
        let bytes = wire::encode(frame, self.version, end);
        let (mode, is_first) = (self.mode, !self.actor(name)?.has_spoken);
        let pieces = replay::pieces(mode, bytes, is_first, &mut self.random);
        let actor = self.actor(name)?;
        actor.has_spoken = true;
        actor.link.send(&pieces);
        Ok(())
    }

    fn send_raw(&mut self, name: &str, writes: &[Vec<Text>], binary: bool) -> Result<(), Trouble> {
        let mut pieces = Vec::new();
        for write in writes {
            let mut bytes = Vec::new();
            for text in write {
                bytes.extend(self.names.fill(text)?);
            }
            pieces.push(if binary { Piece::Binary(bytes) } else { Piece::Plain(bytes) });
        }
        let actor = self.actor(name)?;
        actor.has_spoken = true;
        actor.link.send(&pieces);
        Ok(())
    }

    fn send_packet(&mut self, name: &str, line: &PacketLine) -> Result<(), Trouble> {
        let payload = self.names.fill(&line.payload)?;
        let packet = Packet { payload, ..line.header.clone() };
        let packet = if line.deflated { packet.deflated() } else { packet };
        self.actor(name)?.link.send(&[Piece::Packet(packet)]);
        Ok(())
    }

    fn expect(&mut self, name: &str, expect: &Expect) -> Result<(), Trouble> {
        match expect {
            Expect::Frame(pattern) => self.expect_frame(name, pattern),
            Expect::Nothing(time) => {
                let patience = match time {
                    Some(time) => self.time(time)?,
                    None => self.profile.timing.quiet,
                };
                self.expect_nothing(name, patience, |seen| matches!(seen, Seen::Frame(..)))
            }
            Expect::Silence(time) => {
                let patience = self.time(time)?;
                self.expect_nothing(name, patience, |seen| matches!(seen, Seen::Frame(..) | Seen::Beat(_)))
            }
            Expect::Closed(want) => self.expect_closed(name, want),
            Expect::Ended(want) => {
                let seen = self.next(name, |seen| matches!(seen, Seen::Frame(..)))?;
                match &seen {
                    Seen::Frame(frame, _) if frame.command == "ERROR" => self.expect_closed(name, want),
                    seen => self.check_closed(name, want, seen),
                }
            }
            Expect::Refused => match self.next(name, |seen| matches!(seen, Seen::Frame(..)))? {
                Seen::Frame(frame, _) if frame.command == "ERROR" => Ok(()),
                Seen::Closed(_) => Ok(()),
                other => Err(Trouble::Differs(other.describe())),
            },
            Expect::Beat { alone, within } => self.expect_beat(name, *alone, within.as_ref()),
            Expect::Ping => match self.next(name, |seen| matches!(seen, Seen::Frame(..) | Seen::Ping))? {
                Seen::Ping => Ok(()),
                other => Err(Trouble::Differs(other.describe())),
            },
            Expect::Until(pattern) => self.expect_until(name, pattern),
            Expect::Handshake { status, fields } => {
                let actor = self.actors.get(name).ok_or_else(|| format!("{name} has no connection"))?;
                match actor.link.handshake() {
                    Some(came) => Ok(expect::handshake(*status, fields, came, &mut self.names)?),
                    None => Err(Trouble::Impossible("this transport has no handshake".to_owned())),
                }
            }
            Expect::Pong(payload) => {
                let payload = self.names.fill(payload)?;
                match self.next(name, |seen| matches!(seen, Seen::Frame(..) | Seen::Pong(_)))? {
                    Seen::Pong(came) if came == payload => Ok(()),
                    other => Err(Trouble::Differs(other.describe())),
                }
            }
        }
    }

    fn expect_frame(&mut self, name: &str, pattern: &Pattern) -> Result<(), Trouble> {
        let seen = self.next(name, |seen| matches!(seen, Seen::Frame(..)))?;
        let Seen::Frame(frame, carrier) = &seen else { return Err(Trouble::Differs(seen.describe())) };
        expect::frame(pattern, frame, *carrier, &mut self.names)
            .map_err(|wrong| Trouble::Differs(format!("{frame}\n{wrong}")))?;
        match &pattern.then_closed {
            Some(want) => self.expect_closed(name, want),
            None => Ok(()),
        }
    }

    /// Passes over other frames, all of them within the patience for one.
    fn expect_until(&mut self, name: &str, pattern: &Pattern) -> Result<(), Trouble> {
        let deadline = self.world.now() + self.profile.timing.frame;
        let mut passed = 0;
        loop {
            let left = deadline.saturating_duration_since(self.world.now());
            let seen = self.see(name, left, |seen| matches!(seen, Seen::Frame(..)))?;
            let Seen::Frame(frame, carrier) = &seen else {
                return Err(Trouble::Differs(format!("{} other frames, then {}", passed, seen.describe())));
            };
            if expect::frame(pattern, frame, *carrier, &mut self.names).is_ok() {
                break;
            }
            passed += 1;
        }
        match &pattern.then_closed {
            Some(want) => self.expect_closed(name, want),
            None => Ok(()),
        }
    }

    fn expect_beat(&mut self, name: &str, alone: bool, within: Option<&Text>) -> Result<(), Trouble> {
        let patience = match within {
            Some(within) => self.time(within)?,
            None => self.profile.timing.frame,
        };
        match self.see(name, patience, |seen| matches!(seen, Seen::Frame(..) | Seen::Beat(_)))? {
            Seen::Beat(Some(false)) if alone => {
                Err(Trouble::Differs("a heart-beat that is no text message of its own".to_owned()))
            }
            Seen::Beat(_) => Ok(()),
            other => Err(Trouble::Differs(other.describe())),
        }
    }

    fn expect_nothing(&mut self, name: &str, patience: Duration, wanted: fn(&Seen) -> bool) -> Result<(), Trouble> {
        match self.see(name, patience, wanted)? {
            Seen::Silence => Ok(()),
            other => Err(Trouble::Differs(other.describe())),
        }
    }

    fn expect_closed(&mut self, name: &str, want: &CloseWant) -> Result<(), Trouble> {
        let seen = self.next(name, |seen| matches!(seen, Seen::Frame(..)))?;
        self.check_closed(name, want, &seen)
    }

    fn check_closed(&mut self, name: &str, want: &CloseWant, seen: &Seen) -> Result<(), Trouble> {
        match seen {
            Seen::Closed(close) => {
                let tells_codes = self.actor(name)?.link.tells_close_codes();
                Ok(expect::close(want, close, tells_codes, &self.names)?)
            }
            other => Err(Trouble::Differs(format!("not closed, but {}", other.describe()))),
        }
    }

    /// Every actor's frames of the group, each matched by one line that is still open.
    fn any_order(&mut self, members: &[Line]) -> Result<(), Stop> {
        let mut open: Vec<(&Line, &String, &Pattern)> = members
            .iter()
            .filter_map(|line| match &line.step {
                Step::Actor(actor, Act::Expect(Expect::Frame(pattern))) => Some((line, actor, pattern)),
                _ => None,
            })
            .collect();
        while let Some(&(line, actor, _)) = open.first() {
            let seen = self
                .next(actor, |seen| matches!(seen, Seen::Frame(..)))
                .map_err(|trouble| at_line(line.number, trouble))?;
            let Seen::Frame(frame, carrier) = &seen else {
                return Err(Stop::Differs { line: line.number, came: seen.describe() });
            };
            let names = &mut self.names;
            let fits = |&(_, other, pattern): &(&Line, &String, &Pattern)| {
                other == actor && expect::frame(pattern, frame, *carrier, names).is_ok()
            };
            match open.iter().position(fits) {
                Some(index) => drop(open.remove(index)),
                None => {
                    let came = format!("{frame}\nno line of the group that is still open expects it");
                    return Err(Stop::Differs { line: line.number, came });
                }
            }
        }
        Ok(())
    }

    fn next(&mut self, name: &str, wanted: fn(&Seen) -> bool) -> Result<Seen, Trouble> {
        self.see(name, self.profile.timing.frame, wanted)
    }

    fn see(&mut self, name: &str, patience: Duration, wanted: fn(&Seen) -> bool) -> Result<Seen, Trouble> {
        match self.actors.get_mut(name) {
            Some(actor) => Ok(actor.next(self.world.as_ref(), patience, wanted)),
            None => Err(Trouble::Differs(format!("{name} has no connection"))),
        }
    }

    fn time(&self, text: &Text) -> Result<Duration, Trouble> {
        Ok(script::duration(&self.names.fill_str(text)?)?)
    }
}

fn at_line(line: usize, trouble: Trouble) -> Stop {
    match trouble {
        Trouble::Differs(came) => Stop::Differs { line, came },
        Trouble::Impossible(what) => Stop::Impossible(what),
    }
}
