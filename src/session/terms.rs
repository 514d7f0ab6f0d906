//! What a NACK asks of the queue.

use std::time::Duration;

use super::fault::{Fault, Violation};
use crate::headers::Headers;
use crate::message::{BadMillis, millis};

/// The delay that a NACK asks for.
pub(super) fn delay_of(headers: &Headers) -> Result<Option<Duration>, Fault> {
    let delay = headers.find("delay").map(|text| millis("delay", text)).transpose()?;
    Ok(delay.map(Duration::from_millis))
}

impl From<BadMillis> for Fault {
    fn from(BadMillis(header): BadMillis) -> Fault {
        Violation::BadMillis(header.into()).into()
    }
}
