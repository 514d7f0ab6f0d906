//! What of a SEND its receivers get to see.

use super::Options;
use crate::destination::Destination;
use crate::message::{Content, Terms};
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
    headers.retain(|name, _| passes(name, options));
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
    let lower = content_type.to_ascii_lowercase();
    let (kind, parameters) = lower.split_once(';').unwrap_or((&lower, ""));
    let kind = kind.trim();
    let is_utf8 = |parameter: &str| {
        let charset = parameter.trim().strip_prefix("charset=").map(|name| name.trim_matches('"'));
        matches!(charset, Some("utf-8" | "utf8" | "us-ascii"))
    };
    kind.is_empty()
        || kind.starts_with("text/")
        || ["json", "xml", "javascript"].iter().any(|text| {
            let subtype = kind.strip_prefix("application/").unwrap_or_default();
            subtype == *text || subtype.strip_suffix(text).is_some_and(|rest| rest.ends_with('+'))
        })
        || parameters.split(';').any(is_utf8)
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
