//! What of a SEND its receivers get to see.

use super::Options;
use crate::destination::Destination;
use crate::message::{Content, END_OF_BROWSING, Terms};
use crate::stomp::{OWN_HEADERS, Send};

/// Headers that speak to the broker about this one frame: they never pass (M1).
const OF_THE_FRAME: [&str; 2] = ["receipt", "transaction"];

/// The content of a SEND. `terms` is what it asks of a queue.
pub(super) fn content_of(send: Send, terms: Option<Box<Terms>>, options: &Options) -> Content {
    let says = |name| send.headers.find(name) == Some("true");
    let exclude_origin = says("exclude-self");
    let mandatory = says("mandatory");
    let is_text = may_be_text(send.headers.find("content-type")) && std::str::from_utf8(&send.body).is_ok();
    let mut headers = send.headers;
    headers.keep_first_of_each();
    headers.retain(|name, value| passes(name, options) && (name, value) != END_OF_BROWSING);
    Content {
        destination: Destination::new(send.destination),
        headers,
        body: send.body,
        is_text,
        exclude_origin,
        mandatory,
        terms,
    }
}

/// Whether receivers see a header (M1). Our own names are spelled in one way; secrets are secret in any spelling.
fn passes(name: &str, options: &Options) -> bool {
    let is_private = |private: &str| private.eq_ignore_ascii_case(name);
    !OWN_HEADERS.contains(&name)
        && !OF_THE_FRAME.contains(&name)
        && !options.private_headers.iter().any(|private| is_private(private))
}

/// Whether a body of this type is text if it is UTF-8 (H6). Types that are text by definition need not say `text/`.
fn may_be_text(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else {
        return true;
    };
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let kind = kind.trim();
    let is_utf8 = |parameter: &str| {
        let charset = strip_prefix(parameter.trim(), "charset=").map(|name| name.trim_matches('"'));
        charset.is_some_and(|charset| is_one_of(charset, &["utf-8", "utf8", "us-ascii"]))
    };
    let is_text = |subtype: &str| {
        let suffix = subtype.rsplit_once('+').map_or(subtype, |(_, suffix)| suffix);
        is_one_of(suffix, &["json", "xml", "javascript"])
    };
    kind.is_empty()
        || strip_prefix(kind, "text/").is_some()
        || strip_prefix(kind, "application/").is_some_and(is_text)
        || parameters.split(';').any(is_utf8)
}

fn is_one_of(text: &str, known: &[&str]) -> bool {
    known.iter().any(|known| text.eq_ignore_ascii_case(known))
}

/// What follows a prefix, in whatever case of letters that is written.
fn strip_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h6_text_by_content_type() {
        for text in [
            "text/plain",
            "Text/HTML; charset=UTF-8",
            "application/json",
            "application/vnd.api+json",
            "application/atom+xml;type=feed",
            "application/x-custom; charset=\"utf-8\"",
            "",
        ] {
            assert!(may_be_text(Some(text)), "{text}");
        }
        for binary in ["application/octet-stream", "image/png", "application/notjson", "image/png;charset=latin1"] {
            assert!(!may_be_text(Some(binary)), "{binary}");
        }
        assert!(may_be_text(None));
    }
}
