//! Routes: what is sent to one destination goes on to another, by configuration alone.

use bytes::Bytes;
use bytestring::ByteString;

use super::address::Address;
use super::request::Attributes;
use super::template::{Missing, Scene, Template, TemplateError, Within};
use crate::destination::{Destination, Kind, Spaces};
use crate::headers::Headers;
use crate::message::{BadMillis, Content, Terms};

/// Headers that the broker writes itself, or that speak to it about one frame: no application sets them.
pub const RESERVED_HEADERS: [&str; 12] = [
    "destination",
    "message-id",
    "subscription",
    "ack",
    "content-length",
    "redelivered",
    "redelivery-count",
    "receipt",
    "receipt-id",
    "transaction",
    "login",
    "passcode",
];

/// Sends what comes to one destination on to another, body untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it takes.
    pub from: Address,
    /// Where that goes. The values in it are single segments: what a client writes cannot leave its place.
    pub to: Template,
    /// Headers that the message gets, over those of the client. Without its value a header is left out, the client's too.
    pub headers: Vec<(ByteString, Template)>,
    /// Attributes that the session gets. Without its value an attribute stays as it is.
    pub set: Vec<(ByteString, Template)>,
}

/// A message that is sent when a session begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Where to.
    pub to: Template,
    /// Its headers. Without its value a header is left out.
    pub headers: Vec<(ByteString, Template)>,
    /// The `content-type` of the body. If it is JSON, values are written as they stand in JSON strings.
    pub content_type: Option<ByteString>,
    /// The body. Where a value of it, or of `to`, is missing there is no message: a session that never joined does not leave.
    pub body: Template,
}

/// Why a template cannot say where messages go. Whoever wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToError {
    /// It is no template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Its beginning, up to the first value, does not say under which prefix the destinations are.
    #[error("{0:?} does not begin with one of the prefixes and a whole segment")]
    NoPrefix(ByteString),
    /// It leads to an application destination again, or to a temporary queue, which only its session can name.
    #[error("{0:?} leads to an application destination or a temporary queue")]
    Circle(ByteString),
}

/// Why a message cannot take its route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Detour {
    /// A value is missing, or does not fit.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The values would lead under another prefix than the route names.
    #[error("the route to {0} would lead elsewhere")]
    Elsewhere(ByteString),
    /// A header of the route asks for something in a way that nobody understands.
    #[error(transparent)]
    Millis(#[from] BadMillis),
}

/// Reads where messages go.
pub fn parse_to<'n>(
    text: &str,
    names: impl Iterator<Item = &'n ByteString>,
    spaces: &Spaces,
) -> Result<Template, ToError> {
    let template = Template::parse(text, names)?;
    let says = |error: fn(ByteString) -> ToError| error(ByteString::from(text.to_owned()));
    let space = spaces.resolve(template.head()).ok_or_else(|| says(ToError::NoPrefix))?;
    if matches!(space.kind, Kind::Application | Kind::TemporaryQueue) {
        return Err(says(ToError::Circle));
    }
    // `/topic{x}` would let the value decide which prefix it is.
    let ends_whole = template.is_plain() || template.head().ends_with(['/', space.separator]) || {
        let rest = template.head().get(space.prefix.len()..).unwrap_or_default();
        rest.contains(['/', space.separator])
    };
    match ends_whole {
        true => Ok(template),
        false => Err(says(ToError::NoPrefix)),
    }
}

impl Route {
    /// The attributes of the session once the message has passed.
    pub fn note(&self, scene: &Scene<'_>) -> Attributes {
        let mut attributes = scene.attributes.clone();
        for (name, template) in &self.set {
            if let Ok(value) = template.render(scene, Within::Text) {
                attributes.set(name, Some(&value));
            }
        }
        attributes
    }

    /// The message as it goes on.
    pub fn send_on(&self, scene: &Scene<'_>, content: Content, spaces: &Spaces) -> Result<Content, Detour> {
        let destination = render_to(&self.to, scene, spaces)?;
        let headers = match self.headers.is_empty() {
            true => content.headers,
            false => {
                let kept =
                    content.headers.iter().filter(|(name, _)| !self.headers.iter().any(|(own, _)| *own == *name));
                let kept: Vec<_> = kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                kept.into_iter().chain(stamps(&self.headers, scene)).collect()
            }
        };
        // What the route itself asks counts as what the client asks.
        let terms = terms_at(&destination, &headers, spaces)?;
        Ok(Content { destination, headers, terms, ..content })
    }
}

/// What these headers ask where the message goes.
pub fn terms_at(
    destination: &Destination,
    headers: &Headers,
    spaces: &Spaces,
) -> Result<Option<Box<Terms>>, BadMillis> {
    match spaces.resolve(destination.as_str()).map(|space| space.kind) {
        Some(Kind::Queue | Kind::TemporaryQueue) => Terms::of_queue(headers),
        Some(Kind::Topic) => Ok(Terms::of_topic(headers)),
        Some(Kind::User | Kind::Application) | None => Ok(None),
    }
}

impl Announcement {
    /// The message, if all that it says is known.
    pub fn content(&self, scene: &Scene<'_>, spaces: &Spaces) -> Option<Content> {
        let destination = render_to(&self.to, scene, spaces).ok()?;
        let is_json = self.content_type.as_deref().is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
        let body = self.body.render(scene, if is_json { Within::Json } else { Within::Text }).ok()?;
        let kind = self.content_type.iter().map(|kind| ("content-type".to_owned(), kind.to_string()));
        let headers: Headers = kind.chain(stamps(&self.headers, scene)).collect();
        let terms = terms_at(&destination, &headers, spaces).ok()?;
        Some(Content { terms, ..plain_content(destination, headers, Bytes::from(body)) })
    }
}

/// A message of the broker's own making.
pub fn plain_content(destination: Destination, headers: Headers, body: Bytes) -> Content {
    let is_text = std::str::from_utf8(&body).is_ok();
    Content { destination, headers, body, is_text, exclude_origin: false, mandatory: false, terms: None }
}

fn stamps(headers: &[(ByteString, Template)], scene: &Scene<'_>) -> Vec<(String, String)> {
    let rendered =
        headers.iter().map(|(name, template)| Some((name.to_string(), template.render(scene, Within::Text).ok()?)));
    rendered.flatten().collect()
}

fn render_to(to: &Template, scene: &Scene<'_>, spaces: &Spaces) -> Result<Destination, Detour> {
    let wanted = spaces.resolve(to.head());
    let separators = ['/', wanted.map_or('/', |space| space.separator)];
    let destination = to.render(scene, Within::Segment(separators))?;
    // A value could also complete a longer prefix than the one that the route names.
    match spaces.resolve(&destination) {
        Some(found) if wanted == Some(found) => Ok(Destination::new(destination)),
        _ => Err(Detour::Elsewhere(to.as_str().to_owned().into())),
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests;
