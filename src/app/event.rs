//! What is told about sessions to those who may listen.

use bytes::Bytes;

use super::json;
use super::request::{Occasion, SessionFacts};
use super::route::plain_content;
use super::template::iso;
use crate::destination::Destination;
use crate::headers::Headers;
use crate::message::Content;

/// The message that tells `topic` what happened: a JSON object of texts, with the keys `event`, `session`, `user`, `transport`,
/// `peer`, `destination`, `reason` and `time`; those that have no value are left out.
pub fn event(
    topic: &Destination,
    occasion: Occasion,
    destination: &Destination,
    session: &SessionFacts,
    epoch_ms: u64,
) -> Content {
    let reason = match occasion {
        Occasion::Disconnected { reason } => Some(reason),
        _ => None,
    };
    let destination = Some(destination.as_str()).filter(|destination| !destination.is_empty());
    let time = iso(epoch_ms);
    let fields = [
        ("event", Some(occasion.name())),
        ("session", Some(&*session.name)),
        ("user", session.user.as_deref()),
        ("transport", Some(session.transport)),
        ("peer", session.peer.as_deref()),
        ("destination", destination),
        ("reason", reason),
        ("time", Some(&time)),
    ];
    let mut body = String::from("{");
    for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        if body.len() > 1 {
            body.push(',');
        }
        body.push('"');
        body.push_str(name);
        body.push_str("\":\"");
        json::escape_into(&mut body, value);
        body.push('"');
    }
    body.push('}');
    let headers = Headers::from_iter([("content-type", "application/json")]);
    plain_content(topic.clone(), headers, Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{SessionId, WorkerId};

    #[test]
    fn tells_what_is_known() {
        let session = SessionFacts {
            id: SessionId { worker: WorkerId(0), key: 1 },
            name: "s-1".into(),
            user: Some("a \"b\"".into()),
            transport: "tcp",
            peer: None,
            headers: Headers::default(),
        };
        let (topic, none) = (Destination::new("/events/all"), Destination::new(""));
        let content = event(&topic, Occasion::Disconnected { reason: "disconnect" }, &none, &session, 0);
        assert_eq!(content.destination, topic);
        let body = r#"{"event":"disconnected","session":"s-1","user":"a \"b\"","transport":"tcp","reason":"disconnect","time":"1970-01-01T00:00:00.000Z"}"#;
        assert_eq!(content.body, body);
    }
}
