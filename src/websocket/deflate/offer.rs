//! Negotiation: reading what a client offers in `Sec-WebSocket-Extensions`, and choosing.

use super::{Agreement, Options};

/// Chooses the first of a client's offers that can be kept.
///
/// `offers` are the values of the request's `Sec-WebSocket-Extensions` headers in order. The answer holds the value of
/// the response's header. An offer with an unknown, repeated or ill-formed parameter is declined, and the next one
/// tried; no acceptable offer means that the connection goes uncompressed.
pub fn negotiate<'a>(offers: impl IntoIterator<Item = &'a str>, options: &Options) -> Option<(Agreement, String)> {
    if !options.enabled {
        return None;
    }
    let offer = offers.into_iter().flat_map(|value| split(value, ',')).find_map(Offer::parse)?;
    let mut response = String::from("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    if let Some(bits) = offer.server_max_window_bits {
        response.push_str(&format!("; server_max_window_bits={bits}"));
    }
    if let Some(bits) = offer.client_max_window_bits {
        response.push_str(&format!("; client_max_window_bits={bits}"));
    }
    Some((Agreement { server_window_bits: offer.server_max_window_bits.unwrap_or(15) }, response))
}

/// One offer of `permessage-deflate`. The two parameters about context takeover are met by never having any.
#[derive(Default)]
struct Offer {
    server_max_window_bits: Option<u8>,
    /// Only where the client offered it with a value: without one it is a hint that needs no answer.
    client_max_window_bits: Option<u8>,
}

impl Offer {
    /// `extension = token *( ";" token [ "=" ( token | quoted-string ) ] )`, RFC 6455 section 9.1.
    fn parse(text: &str) -> Option<Offer> {
        let mut parts = split(text, ';');
        if parts.next()?.trim_matches(BLANKS) != "permessage-deflate" {
            return None;
        }
        let mut offer = Offer::default();
        let mut seen = [false; 4];
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name, Some(unquote(value.trim_matches(BLANKS))?)),
                None => (part, None),
            };
            let index = match (name.trim_matches(BLANKS), value) {
                ("server_no_context_takeover", None) => 0,
                ("client_no_context_takeover", None) => 1,
                ("server_max_window_bits", Some(value)) => {
                    offer.server_max_window_bits = Some(window_bits(value)?);
                    2
                }
                ("client_max_window_bits", value) => {
                    offer.client_max_window_bits = match value {
                        Some(value) => Some(window_bits(value)?),
                        None => None,
                    };
                    3
                }
                _ => return None,
            };
            // Invariant: every arm above gives an index below the length of `seen`.
            if std::mem::replace(&mut seen[index], true) {
                return None;
            }
        }
        Some(offer)
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// `8` to `15`, without a leading zero.
fn window_bits(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// The text of a token or of a quoted string. Escapes have no use in any value we accept, so they make it ill-formed.
fn unquote(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\'])),
        None => Some(value),
    }
}

/// Splits at a separator that is not within a quoted string.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |letter: char| {
        let was_escaped = std::mem::take(&mut escaped);
        match letter {
            '"' if !was_escaped => quoted = !quoted,
            '\\' if quoted => escaped = !was_escaped,
            _ => return letter == separator && !quoted,
        }
        false
    })
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    /// What an offer is answered with: the answer's own parameters behind the two fixed ones, or `None` for declined.
    fn check(offers: &[&str], expected: Option<(&str, Option<u8>)>) {
        let answer = negotiate(offers.iter().copied(), &Options::default());
        let answer = answer.as_ref().map(|(agreement, response)| {
            let fixed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
            (response.strip_prefix(fixed).expect("the fixed part"), agreement.window_bits())
        });
        assert_eq!(answer, expected, "{offers:?}");
    }

    #[test]
    fn takes_the_first_offer_that_can_be_kept() {
        check(&[], None);
        check(&[""], None);
        check(&["permessage-deflate"], Some(("", Some(15))));
        check(&["permessage-deflate; client_max_window_bits"], Some(("", Some(15))));
        check(&["permessage-deflate;client_max_window_bits=9"], Some(("; client_max_window_bits=9", Some(15))));
        check(&["permessage-deflate; server_max_window_bits=10"], Some(("; server_max_window_bits=10", Some(10))));
        check(&["permessage-deflate; server_max_window_bits=8"], Some(("; server_max_window_bits=8", None)));
        check(&["permessage-deflate; server_max_window_bits=\"12\""], Some(("; server_max_window_bits=12", Some(12))));
        check(&["permessage-deflate ;\tserver_no_context_takeover ; client_no_context_takeover"], Some(("", Some(15))));
        check(&["x-webkit-deflate-frame, permessage-deflate"], Some(("", Some(15))));
        check(&["x; a=\"b, permessage-deflate\""], None);
        check(&["x; a=\"\\\", permessage-deflate\""], None);
        check(&["x", "permessage-deflate"], Some(("", Some(15))));
        check(
            &["permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=11"],
            Some(("; server_max_window_bits=11", Some(11))),
        );
    }

    #[test]
    fn declines_what_it_does_not_understand() {
        for parameter in [
            "unknown",
            "unknown=1",
            "server_no_context_takeover=1",
            "client_no_context_takeover=\"\"",
            "server_max_window_bits",
            "server_max_window_bits=",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=08",
            "server_max_window_bits=+9",
            "server_max_window_bits=\"9",
            "server_max_window_bits=9\"",
            "client_max_window_bits=0",
            "client_max_window_bits=1 5",
            "client_max_window_bits; client_max_window_bits",
            "client_max_window_bits=10; client_max_window_bits=10",
            "server_no_context_takeover; server_no_context_takeover",
            "",
            "=",
        ] {
            check(&[&format!("permessage-deflate; {parameter}")], None);
        }
        check(&["permessage-deflate=1"], None);
        check(&["PerMessage-Deflate2"], None);
    }

    #[test]
    fn agrees_to_nothing_when_compression_is_off() {
        let options = Options { enabled: false, ..Options::default() };
        assert_eq!(negotiate(["permessage-deflate"], &options), None);
    }
}
