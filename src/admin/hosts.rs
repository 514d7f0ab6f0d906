//! Which hosts may be asked for at the admin port.
//!
//! A page on a name of its own may have that name resolved to this machine, and then read what is told here as if it were its own
//! server's: DNS rebinding. Its requests still name the page's host, and no page can make them name an address or `localhost`.

use std::net::{IpAddr, Ipv6Addr};

/// The names by which we may be asked, besides addresses and this machine's own.
#[derive(Debug)]
pub(super) enum Hosts {
    Any,
    These(Vec<String>),
}

impl Hosts {
    /// Those that are `allowed`, in which `*` is any. Where none are, a port that other machines reach is known to them by names
    /// that we cannot know.
    pub(super) fn new(allowed: &[String], is_local: bool) -> Hosts {
        if allowed.iter().any(|name| name == "*") || (allowed.is_empty() && !is_local) {
            return Hosts::Any;
        }
        Hosts::These(allowed.to_vec())
    }

    /// Whether a request for this host is meant for us. One of HTTP/1.0 may name none.
    pub(super) fn has(&self, asked: Option<&str>) -> bool {
        match (self, asked) {
            (Hosts::Any, _) | (_, None) => true,
            (Hosts::These(names), Some(asked)) => is_among(asked, names),
        }
    }
}

fn is_among(asked: &str, names: &[String]) -> bool {
    let host = without_port(asked).trim_end_matches('.');
    let is_local = |name: &str| name == "localhost" || name.ends_with(".localhost");
    let is_address = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<IpAddr>().is_ok(),
    };
    is_address || is_local(&host.to_ascii_lowercase()) || names.iter().any(|name| name.eq_ignore_ascii_case(host))
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
            for is_local in [true, false] {
                let hosts = Hosts::new(&["broker.internal".to_owned()], is_local);
                assert_eq!(hosts.has(Some(asked)), is_it, "{asked:?}");
            }
        }
        assert!(Hosts::new(&[], true).has(None) && !Hosts::new(&[], true).has(Some("any.example")));
        assert!(Hosts::new(&[], false).has(Some("any.example")), "whatever other machines call it");
        assert!(Hosts::new(&["*".to_owned()], true).has(Some("any.example")));
    }
}
