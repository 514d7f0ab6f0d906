//! Which hosts may be asked for at the admin port.
//!
//! A page on a name of its own may have that name resolved to this machine, and then read what is told here as if it were its own
//! server's: DNS rebinding. Its requests still name the page's host, and no page can make them name an address or `localhost`.

use std::net::{IpAddr, Ipv6Addr};

/// Whether a request for this host is meant for us: it names none, an address, this machine, or one of `allowed`, in which `*` is
/// any.
pub(super) fn is_ours(asked: Option<&str>, allowed: &[String]) -> bool {
    let Some(asked) = asked else { return true };
    let host = without_port(asked).trim_end_matches('.');
    let is_local = |name: &str| name == "localhost" || name.ends_with(".localhost");
    let is_address = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<IpAddr>().is_ok(),
    };
    let is_allowed = |name: &String| name == "*" || name.eq_ignore_ascii_case(host);
    is_address || is_local(&host.to_ascii_lowercase()) || allowed.iter().any(is_allowed)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_page_can_be_called_and_what_is_allowed() {
        for (asked, is_it) in [
            ("localhost:15672", true),
            ("LocalHost", true),
            ("localhost.", true),
            ("broker.localhost:1", true),
            ("127.0.0.1:15672", true),
            ("10.0.0.7", true),
            ("[::1]:15672", true),
            ("[::1]", true),
            ("broker.internal:15672", true),
            ("Broker.Internal", true),
            ("evil.example:15672", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("notlocalhost", false),
            ("127.0.0.1.evil.example", false),
            ("[::1].evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_ours(Some(asked), &["broker.internal".to_owned()]), is_it, "{asked:?}");
        }
        assert!(is_ours(None, &[]) && is_ours(Some("any.example"), &["*".to_owned()]));
    }
}
