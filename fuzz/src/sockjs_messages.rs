//! What a SockJS client can send, and what its application can: nothing makes the readers panic, take more than there is,
//! or lose a character on the way there and back.

use gumboot::sockjs::framing::{self, json};
use gumboot::sockjs::pipe;

/// The input is read as messages of a client, and as packets of an application.
pub fn target(data: &[u8]) {
    if let Some(messages) = read(data) {
        let written: Vec<String> = messages.iter().map(|message| encoded(message)).collect();
        let frame = framing::messages(written.iter().map(String::as_str));
        let again = frame.strip_prefix('a').and_then(|array| read(array.as_bytes()));
        assert_eq!(again, Some(messages));
    }
    let mut rest = data;
    while let Ok(Some((_, size))) = pipe::read(rest) {
        assert!(size >= 2);
        rest = rest.split_at_checked(size).map(|(_, rest)| rest).unwrap_or_else(|| panic!("{size} of {}", rest.len()));
    }
}

fn read(input: &[u8]) -> Option<Vec<String>> {
    let mut messages = Vec::new();
    json::read_messages(input, |message| messages.push(message.to_owned())).ok()?;
    Some(messages)
}

fn encoded(message: &str) -> String {
    let mut out = String::new();
    json::write_string(message, &mut out);
    out
}
