//! Whether what came is what a line expects. Header order does not matter, and further headers are allowed.

use crate::harness::{Carrier, Close, Handshake};
use crate::names::Names;
use crate::script::{CloseWant, Pattern, Want};
use crate::wire::{Frame, excerpt};

/// Compares a frame with a line; on success the line's variables are bound. On failure nothing is.
pub(crate) fn frame(pattern: &Pattern, frame: &Frame, carrier: Carrier, names: &mut Names<'_>) -> Result<(), String> {
    if frame.command != pattern.command {
        return Err(format!("{} instead of {}", frame.command, pattern.command));
    }
    let mut bindings: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, want) in &pattern.headers {
        let name = names.fill_str(name)?;
        let value = match name.as_str() {
            "@carrier" => Some(carrier.name()),
            _ => frame.header(&name),
        };
        compare(&format!("header `{name}`"), want, value.map(str::as_bytes), names, &mut bindings)?;
    }
    if let Some(want) = &pattern.body {
        compare("the body", want, Some(&frame.body), names, &mut bindings)?;
    }
    for (name, value) in bindings {
        names.bind(&name, value);
    }
    Ok(())
}

/// Compares the answer to a WebSocket handshake with a line.
pub(crate) fn handshake(
    status: u16,
    fields: &[(String, Want)],
    came: &Handshake,
    names: &mut Names<'_>,
) -> Result<(), String> {
    if came.status != status {
        return Err(format!("status {} instead of {status}", came.status));
    }
    let mut bindings = Vec::new();
    for (name, want) in fields {
        compare(&format!("header `{name}`"), want, came.header(name).map(str::as_bytes), names, &mut bindings)?;
    }
    for (name, value) in bindings {
        names.bind(&name, value);
    }
    Ok(())
}

/// Compares how a connection ended with what a line names. Without codes on this transport, any end will do.
pub(crate) fn close(want: &CloseWant, came: &Close, tells_codes: bool, names: &Names<'_>) -> Result<(), String> {
    if !tells_codes {
        return Ok(());
    }
    match (want.code, came.code) {
        (Some(want), Some(code)) if code != want => {
            return Err(format!("close code {code} (\"{}\") instead of {want}", came.reason));
        }
        (Some(want), None) => return Err(format!("closed without a code instead of with {want}")),
        _ => {}
    }
    match &want.reason {
        Some(reason) => compare("the close reason", reason, Some(came.reason.as_bytes()), names, &mut Vec::new()),
        None => Ok(()),
    }
}

fn compare(
    what: &str,
    want: &Want,
    value: Option<&[u8]>,
    names: &Names<'_>,
    bindings: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), String> {
    let Some(value) = value else {
        return match want {
            Want::Absent => Ok(()),
            _ => Err(format!("{what} is missing")),
        };
    };
    let shown = excerpt(value);
    match want {
        Want::Absent => Err(format!("{what} must be absent and is \"{shown}\"")),
        Want::Matches(expression) => match std::str::from_utf8(value) {
            Ok(text) if expression.is_match(text) => Ok(()),
            _ => Err(format!("{what} is \"{shown}\" and does not match /{}/", expression.as_str())),
        },
        Want::Differs(text) => match names.fill(text)? == value {
            true => Err(format!("{what} is \"{shown}\", which it must not be")),
            false => Ok(()),
        },
        Want::Exactly(text) => {
            if let Some(name) = text.variable() {
                let earlier = bindings.iter().find(|(bound, _)| bound == name).map(|(_, value)| value.as_slice());
                match earlier.or_else(|| names.variable(name)) {
                    None => {
                        bindings.push((name.to_owned(), value.to_vec()));
                        return Ok(());
                    }
                    Some(bound) if bound == value => return Ok(()),
                    Some(bound) => return Err(format!("{what} is \"{shown}\" and not \"{}\"", excerpt(bound))),
                }
            }
            let wanted = names.fill(text)?;
            match wanted == value {
                true => Ok(()),
                false => Err(format!("{what} is \"{shown}\" and not \"{}\"", excerpt(&wanted))),
            }
        }
    }
}
