//! Texts with places for what is known of a message and its session.

use std::fmt::Write;

use bytes::Bytes;
use bytestring::ByteString;

use super::json;
use super::request::{Attributes, Captures, SessionFacts};
use crate::headers::Headers;

/// A text in which `{...}` stands for a value: `{user}`, `{session}`, `{transport}`, `{peer}`, `{destination}`, `{time}`
/// (`2026-01-31T12:00:00.000Z`), `{time.ms}` (milliseconds since the beginning of 1970), `{attribute.x}`, `{header.x}`,
/// `{body.x}` (a field of a JSON body), `{reason}` at the end of a session, and `{x}` for the `{x}` of a pattern.
///
/// A brace that does not begin one of that form stands for itself, so that JSON can be written as it is; `{{` is a brace too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: ByteString,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Value),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    User,
    Session,
    Transport,
    Peer,
    Destination,
    Time,
    TimeMs,
    Reason,
    Attribute(String),
    Header(String),
    Body(String),
    Capture(String),
}

/// What a template is for, and so what it can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A message that is on its way.
    Message,
    /// The beginning of a session: there is no message, and nothing was noted yet.
    Beginning,
    /// The end of a session: there is no message.
    End,
}

/// Why a text is no template. Whoever wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name that stands for nothing here.
    #[error("{{{0}}} stands for nothing here")]
    Unknown(ByteString),
    /// A name that the pattern has and the broker too. Whoever trusts what the broker knows must not get what a client wrote.
    #[error("{{{0}}} is also what the broker itself knows; give that part of the pattern another name")]
    Ambiguous(ByteString),
}

/// What a template can tell.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What the pattern's names stand for.
    pub captures: &'a Captures,
    /// The session.
    pub session: &'a SessionFacts,
    /// What the application noted about it.
    pub attributes: &'a Attributes,
    /// The headers of the message, or of CONNECT where there is none.
    pub headers: &'a Headers,
    /// The body of the message.
    pub body: &'a Bytes,
    /// Where the message was sent.
    pub destination: &'a str,
    /// Why the session ended.
    pub reason: Option<&'static str>,
    /// The time of day.
    pub epoch_ms: u64,
}

/// How values are written into the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// As they are.
    Text,
    /// As they stand between the quotes of a JSON string.
    Json,
    /// As a part of a destination: without any of these letters, and not empty.
    Segment([char; 2]),
}

/// A value that the text needs is not there, or cannot stand there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// There is none.
    #[error("there is no {{{0}}}")]
    None(ByteString),
    /// It cannot be one segment of a destination.
    #[error("{{{0}}} cannot stand in a destination")]
    Unfit(ByteString),
}

impl Template {
    /// Reads a template; `names` are those of the pattern it belongs to.
    pub fn parse<'n>(text: &str, names: impl Iterator<Item = &'n ByteString>) -> Result<Template, TemplateError> {
        let names: Vec<&ByteString> = names.collect();
        let mut parts: Vec<Part> = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            let after = from.strip_prefix('{').unwrap_or(from);
            if let Some(after) = after.strip_prefix('{') {
                plain.push('{');
                rest = after;
                continue;
            }
            match name_at(after) {
                Some(name) => {
                    let value = Value::of(name, &names)?;
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Value(value));
                    rest = after.get(name.len() + 1..).unwrap_or_default();
                }
                None => {
                    plain.push('{');
                    rest = after;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template { text: ByteString::from(text.to_owned()), parts })
    }

    /// The same, if all its values can be there in that place: where one never is, its text would never be either.
    pub fn fit_for(self, place: Place) -> Result<Template, TemplateError> {
        let values = self.parts.iter().filter_map(|part| match part {
            Part::Value(value) => Some(value),
            Part::Text(_) => None,
        });
        match values.into_iter().find(|value| !value.can_be(place)) {
            Some(value) => Err(TemplateError::Unknown(value.name())),
            None => Ok(self),
        }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text before the first value.
    pub fn head(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// Whether it has no values.
    pub fn is_plain(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part, Part::Value(_)))
    }

    /// The text with the values in it.
    pub fn render(&self, scene: &Scene<'_>, within: Within) -> Result<String, Missing> {
        let mut out = String::new();
        for part in &self.parts {
            let value = match part {
                Part::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Part::Value(value) => value,
            };
            let found = value.find(scene).ok_or_else(|| Missing::None(value.name()))?;
            match within {
                Within::Text => out.push_str(&found),
                Within::Json => json::escape_into(&mut out, &found),
                Within::Segment(separators) => {
                    let is_unfit = |letter: char| letter.is_control() || separators.contains(&letter);
                    if found.is_empty() || found.contains(is_unfit) {
                        return Err(Missing::Unfit(value.name()));
                    }
                    out.push_str(&found);
                }
            }
        }
        Ok(out)
    }
}

impl Value {
    fn of(name: &str, names: &[&ByteString]) -> Result<Value, TemplateError> {
        let is_captured = names.iter().any(|each| ***each == *name);
        let text = || ByteString::from(name.to_owned());
        match (Value::known(name), is_captured) {
            (Some(_), true) => Err(TemplateError::Ambiguous(text())),
            (Some(value), false) => Ok(value),
            (None, true) => Ok(Value::Capture(name.to_owned())),
            (None, false) => Err(TemplateError::Unknown(text())),
        }
    }

    /// What the broker knows by that name.
    fn known(name: &str) -> Option<Value> {
        let value = match name {
            "user" => Value::User,
            "session" => Value::Session,
            "transport" => Value::Transport,
            "peer" => Value::Peer,
            "destination" => Value::Destination,
            "time" => Value::Time,
            "time.ms" => Value::TimeMs,
            "reason" => Value::Reason,
            _ => match name.split_once('.')? {
                ("attribute", name) if !name.is_empty() => Value::Attribute(name.to_owned()),
                ("header", name) if !name.is_empty() => Value::Header(name.to_owned()),
                ("body", name) if !name.is_empty() => Value::Body(name.to_owned()),
                _ => return None,
            },
        };
        Some(value)
    }

    fn can_be(&self, place: Place) -> bool {
        match self {
            Value::Body(_) | Value::Destination => place == Place::Message,
            Value::Attribute(_) => place != Place::Beginning,
            Value::Reason => place == Place::End,
            _ => true,
        }
    }

    /// What stands between its braces.
    fn name(&self) -> ByteString {
        match self {
            Value::User => "user".into(),
            Value::Session => "session".into(),
            Value::Transport => "transport".into(),
            Value::Peer => "peer".into(),
            Value::Destination => "destination".into(),
            Value::Time => "time".into(),
            Value::TimeMs => "time.ms".into(),
            Value::Reason => "reason".into(),
            Value::Attribute(name) => format!("attribute.{name}").into(),
            Value::Header(name) => format!("header.{name}").into(),
            Value::Body(name) => format!("body.{name}").into(),
            Value::Capture(name) => name.clone().into(),
        }
    }

    fn find(&self, scene: &Scene<'_>) -> Option<String> {
        match self {
            Value::User => scene.session.user.as_deref().map(str::to_owned),
            Value::Session => Some(scene.session.name.to_string()),
            Value::Transport => Some(scene.session.transport.to_owned()),
            Value::Peer => scene.session.peer.as_deref().map(str::to_owned),
            Value::Destination => Some(scene.destination.to_owned()),
            Value::Time => Some(iso(scene.epoch_ms)),
            Value::TimeMs => Some(scene.epoch_ms.to_string()),
            Value::Reason => scene.reason.map(str::to_owned),
            Value::Attribute(name) => scene.attributes.find(name).map(str::to_owned),
            Value::Header(name) => scene.headers.find(name).map(str::to_owned),
            Value::Body(name) => json::field(scene.body, name),
            Value::Capture(name) => scene.captures.find(name).map(str::to_owned),
        }
    }
}

/// The name between this place, behind a brace, and the next closing brace, if it can be one.
fn name_at(after: &str) -> Option<&str> {
    let name = after.get(..after.find('}')?)?;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    let begins_well = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    (begins_well && name.chars().all(is_plain)).then_some(name)
}

/// A time of day in UTC, as ISO 8601 has it.
pub(super) fn iso(epoch_ms: u64) -> String {
    let (days, ms) = (epoch_ms / 86_400_000, epoch_ms % 86_400_000);
    // Howard Hinnant's "civil from days": years that begin in March have their leap day last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let mut text = String::new();
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    // Writing to a text cannot fail.
    let _ = write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000);
    text
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;
    use crate::message::{SessionId, WorkerId};

    fn facts() -> SessionFacts {
        SessionFacts {
            id: SessionId { worker: WorkerId(0), key: 1 },
            name: "s-1".into(),
            user: None,
            transport: "tcp",
            peer: None,
            headers: Headers::default(),
        }
    }

    #[track_caller]
    fn check(text: &str, within: Within, rendered: Result<&str, Missing>) {
        let names: [ByteString; 1] = ["room".into()];
        let template = Template::parse(text, names.iter()).expect("a template");
        let mut attributes = Attributes::default();
        attributes.set("name", Some("A \"quoted\" one"));
        let captures = Captures::new(vec![("room".into(), "red".into())]);
        let scene = Scene {
            captures: &captures,
            session: &facts(),
            attributes: &attributes,
            headers: &Headers::from_iter([("x", "a/b")]),
            body: &Bytes::from_static(br#"{"sender":"Ann"}"#),
            destination: "/app/red",
            reason: None,
            epoch_ms: 951_782_400_001,
        };
        assert_eq!(template.render(&scene, within).as_deref(), rendered.as_deref(), "{text}");
    }

    #[test]
    fn values_take_their_places() {
        check("plain", Within::Text, Ok("plain"));
        check("/topic/{room}/{body.sender}", Within::Segment(['/', '/']), Ok("/topic/red/Ann"));
        check("{time} {time.ms}", Within::Text, Ok("2000-02-29T00:00:00.001Z 951782400001"));
        check("{session}{transport}{destination}", Within::Text, Ok("s-1tcp/app/red"));
        check("{user}", Within::Text, Err(Missing::None("user".into())));
        check("{attribute.other}", Within::Text, Err(Missing::None("attribute.other".into())));
        check("/topic/{header.x}", Within::Segment(['/', '/']), Err(Missing::Unfit("header.x".into())));
        check("{header.x}", Within::Text, Ok("a/b"));
    }

    #[test]
    fn json_is_written_as_it_is() {
        check(r#"{"type":"LEAVE","sender":"{attribute.name}"}"#, Within::Json, {
            Ok(r#"{"type":"LEAVE","sender":"A \"quoted\" one"}"#)
        });
        check(r#"{"a":{"b":1}} {{room} { } {1}"#, Within::Json, Ok(r#"{"a":{"b":1}} {room} { } {1}"#));
    }

    #[test]
    fn refuses_names_of_nothing() {
        for text in ["{rom}", "{attribute.}", "{time.s}", "{body}"] {
            let names: [ByteString; 0] = [];
            assert!(Template::parse(text, names.iter()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_clients_word_does_not_pass_for_the_brokers() {
        for text in ["{user}", "{session}", "{time.ms}", "{header.x}"] {
            let names: [ByteString; 2] = [text.trim_matches(['{', '}']).into(), "room".into()];
            let error = Template::parse(&format!("/topic/{text}"), names.iter()).expect_err(text);
            assert_eq!(error, TemplateError::Ambiguous(names[0].clone()));
            assert!(Template::parse("/topic/{room}", names.iter()).is_ok());
        }
    }

    #[test]
    fn what_is_never_there_is_refused() {
        for (text, message, beginning, end) in [
            ("{user}{session}{transport}{peer}{time}{header.x}", true, true, true),
            ("{body.sender}", true, false, false),
            ("{destination}", true, false, false),
            ("{attribute.name}", true, false, true),
            ("{reason}", false, false, true),
        ] {
            let template = Template::parse(text, [].iter()).expect("a template");
            for (place, fits) in [(Place::Message, message), (Place::Beginning, beginning), (Place::End, end)] {
                assert_eq!(template.clone().fit_for(place).is_ok(), fits, "{text} {place:?}");
            }
        }
    }

    #[test]
    fn dates_are_right_at_their_edges() {
        for (epoch_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_709_164_800_000 - 1, "2024-02-28T23:59:59.999Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso(epoch_ms), text);
        }
    }
}
