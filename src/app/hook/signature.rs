//! Signs what a hook sends, and checks signatures: so an application knows that a request came from its broker, just
//! now, as it was.
//!
//! The header is `Gumboot-Signature: t=<seconds>,v1=<hex>`: the time of signing in seconds since 1970, and one `v1` for
//! each secret. A `v1` is the HMAC-SHA256, in lower-case hexadecimal, of these bytes:
//!
//! ```text
//! <seconds> LF
//! <name>:<value> LF        for each header whose name begins with gumboot-, but for the signature: the name in lower
//!                          case, the lines sorted by their names
//! LF
//! <the body>
//! ```
//!
//! The headers are part of it because in the mode `raw` they say who sent a message: were only the body signed, whoever
//! saw one request could send it again in another's name.

use std::fmt;
use std::time::Duration;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The header that carries the signature.
pub const HEADER: &str = "gumboot-signature";

/// What the names of signed headers begin with.
const SIGNED: &str = "gumboot-";

/// A key that the broker shares with an application. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// These bytes, which should be 32 that nobody can guess.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(bytes.into())
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none, which protects nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn mac(&self, seconds: u64, request: &Signed<'_>) -> Hmac<Sha256> {
        // Invariant: HMAC takes keys of every length.
        #[allow(clippy::expect_used)]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(format!("{seconds}\n").as_bytes());
        for (name, value) in &request.headers {
            for part in [name.as_bytes(), b":", value, b"\n"] {
                mac.update(part);
            }
        }
        mac.update(b"\n");
        mac.update(request.body);
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The part of a request that is signed.
#[derive(Clone, Debug)]
pub struct Signed<'r> {
    headers: Vec<(String, &'r [u8])>,
    body: &'r [u8],
}

impl<'r> Signed<'r> {
    /// Takes all headers of a request, in any order, and leaves out those that are not signed.
    pub fn new<N: AsRef<str>>(headers: impl IntoIterator<Item = (N, &'r [u8])>, body: &'r [u8]) -> Signed<'r> {
        let lower = headers.into_iter().map(|(name, value)| (name.as_ref().to_ascii_lowercase(), value));
        let mut headers: Vec<(String, &[u8])> =
            lower.filter(|(name, _)| name.starts_with(SIGNED) && name != HEADER).collect();
        headers.sort();
        Signed { headers, body }
    }

    /// The value of the signature's header: one `v1` for each secret, in their order.
    pub fn sign(&self, secrets: &[Secret], seconds: u64) -> String {
        let mut value = format!("t={seconds}");
        for secret in secrets {
            value.push_str(",v1=");
            value.push_str(&HEXLOWER.encode(&secret.mac(seconds, self).finalize().into_bytes()));
        }
        value
    }

    /// Checks the value of the signature's header: one `v1` of it must be right for one of the secrets. `now_seconds`
    /// is the time since 1970, and `tolerance` how far from it the time of signing may be: 5 minutes are usual.
    ///
    /// How long it takes does not tell how much of a wrong signature is right.
    ///
    /// # Errors
    /// See [`Distrust`]: the request is then not to be believed.
    pub fn verify(
        &self,
        value: &str,
        secrets: &[Secret],
        now_seconds: u64,
        tolerance: Duration,
    ) -> Result<(), Distrust> {
        let (seconds, macs) = parse(value).ok_or(Distrust::Malformed)?;
        let is_right =
            |secret: &Secret| macs.iter().any(|mac| secret.mac(seconds, self).verify_slice(mac.as_slice()).is_ok());
        if !secrets.iter().any(is_right) {
            return Err(Distrust::Wrong);
        }
        let distance = Duration::from_secs(now_seconds.abs_diff(seconds));
        if distance > tolerance { Err(Distrust::TooOld { distance, tolerance }) } else { Ok(()) }
    }
}

/// Why a signature is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// The header is not `t=<seconds>,v1=<hex>`.
    #[error("the signature is not written as t=<seconds>,v1=<hex>")]
    Malformed,
    /// It was made with another secret, or for another request.
    #[error("the signature is not one of this request by a known secret")]
    Wrong,
    /// It is right, but from another time: the request may have been recorded and sent again.
    #[error("the signature is {distance:?} away from now, more than {tolerance:?}")]
    TooOld {
        /// How far.
        distance: Duration,
        /// How far is allowed.
        tolerance: Duration,
    },
}

/// Signatures in one header beyond these are not looked at.
const MOST_SIGNATURES: usize = 8;

/// Items with names of other versions are passed over, so that there can be some one day.
fn parse(value: &str) -> Option<(u64, Vec<Vec<u8>>)> {
    let mut seconds = None;
    let mut macs = Vec::new();
    for item in value.split(',') {
        match item.trim().split_once('=')? {
            ("t", time) if seconds.is_none() && time.bytes().all(|byte| byte.is_ascii_digit()) => {
                seconds = Some(time.parse().ok()?);
            }
            ("t", _) => return None,
            ("v1", mac) if macs.len() < MOST_SIGNATURES => macs.push(HEXLOWER.decode(mac.as_bytes()).ok()?),
            _ => {}
        }
    }
    Some((seconds?, macs))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;
    const MINUTES: Duration = Duration::from_secs(300);
    const HEADERS: [(&str, &[u8]); 4] = [
        ("Gumboot-User", b"bob"),
        ("Content-Type", b"text/plain"),
        ("gumboot-event", b"message"),
        ("Gumboot-Signature", b"t=1"),
    ];

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    /// The expected value was computed by another implementation: `hmac.new(b"s3cret", b"1700000000\ngumboot-event:"
    /// b"message\ngumboot-user:bob\n\nhello", "sha256")` in Python.
    #[test]
    fn signs_as_documented() {
        let signed = Signed::new(HEADERS, b"hello").sign(&[secret("s3cret")], NOW);
        assert_eq!(signed, "t=1700000000,v1=f494783a7b15d1b8e17fb1b9ac09d9573423ff5b432924a69e615a5e21dad1da");
    }

    #[test]
    fn each_secret_signs_and_any_may_check() {
        let request = Signed::new(HEADERS, b"hello");
        let both = request.sign(&[secret("new"), secret("old")], NOW);
        for (known, outcome) in [
            (vec![secret("old")], Ok(())),
            (vec![secret("new")], Ok(())),
            (vec![secret("other"), secret("new")], Ok(())),
            (vec![secret("other")], Err(Distrust::Wrong)),
            (vec![], Err(Distrust::Wrong)),
        ] {
            assert_eq!(request.verify(&both, &known, NOW, MINUTES), outcome, "{} secrets", known.len());
        }
    }

    #[test]
    fn whatever_was_changed_is_found() {
        let value = Signed::new(HEADERS, b"hello").sign(&[secret("s")], NOW);
        let verify = |request: Signed<'_>, value: &str, now: u64| request.verify(value, &[secret("s")], now, MINUTES);
        let as_sent = || Signed::new(HEADERS, b"hello");
        let other_user = Signed::new([("gumboot-user", b"eve".as_slice()), ("gumboot-event", b"message")], b"hello");
        let late = Err(Distrust::TooOld { distance: Duration::from_secs(301), tolerance: MINUTES });
        for (request, value, now, outcome) in [
            (as_sent(), value.clone(), NOW, Ok(())),
            (as_sent(), value.clone(), NOW + 300, Ok(())),
            (as_sent(), value.clone(), NOW + 301, late),
            (as_sent(), value.clone(), NOW - 301, late),
            (as_sent(), value.replace("t=1700000000", "t=1700000001"), NOW, Err(Distrust::Wrong)),
            (as_sent(), format!("v0=odd,{value}"), NOW, Ok(())),
            (Signed::new(HEADERS, b"hello!"), value.clone(), NOW, Err(Distrust::Wrong)),
            (other_user, value.clone(), NOW, Err(Distrust::Wrong)),
            (as_sent(), format!("t={NOW}"), NOW, Err(Distrust::Wrong)),
            (as_sent(), format!("t={NOW},v1=00"), NOW, Err(Distrust::Wrong)),
            (as_sent(), format!("t={NOW},v1=zz"), NOW, Err(Distrust::Malformed)),
            (as_sent(), format!("{value},t={NOW}"), NOW, Err(Distrust::Malformed)),
            (as_sent(), value.replace("t=", "t=+"), NOW, Err(Distrust::Malformed)),
            (as_sent(), String::new(), NOW, Err(Distrust::Malformed)),
        ] {
            assert_eq!(verify(request, &value, now), outcome, "{value} at {now}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", secret("s3cret")), "Secret(..)");
    }
}
