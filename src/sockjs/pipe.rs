//! What lies between a conduit and its application: an ordinary WebSocket connection that is not on any wire.
//!
//! An application behind SockJS so is the same as one behind WebSocket, and packets keep the borders of messages. We are
//! the client there: what we write is masked, by zeros, and what we read is not.

use thiserror::Error;

use crate::websocket::packet::Kind;
use crate::websocket::send;

/// What the application sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent<'b> {
    /// A message.
    Message(&'b str),
    /// Bytes that are no text, which SockJS cannot carry.
    NotText,
    /// A ping, which wants its payload back.
    Ping(&'b [u8]),
    /// The end, with its code and reason where they were given.
    Close(Option<(u16, &'b str)>),
    /// Nothing that matters here.
    Other,
}

/// The application does not speak WebSocket as a server does. That is a fault of the program, not of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an application behind SockJS sent what is no whole WebSocket frame of a server")]
pub struct Foreign;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Reads a frame from the front of `input`; answers with its size. None: there is no whole one yet.
///
/// # Errors
/// It is not such a frame as we write in [`send`].
pub fn read(input: &[u8]) -> Result<Option<(Sent<'_>, usize)>, Foreign> {
    let [first, second, rest @ ..] = input else { return Ok(None) };
    if second & MASKED != 0 || first & 0xf0 != FIN {
        return Err(Foreign);
    }
    let (length, behind) = match second {
        126 => match rest.split_first_chunk::<2>() {
            Some((length, behind)) => (u64::from(u16::from_be_bytes(*length)), behind),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, behind)) => (u64::from_be_bytes(*length), behind),
            None => return Ok(None),
        },
        short => (u64::from(*short), rest),
    };
    let length = usize::try_from(length).map_err(|_| Foreign)?;
    let Some((payload, next)) = behind.split_at_checked(length) else { return Ok(None) };
    Ok(Some((sent(first & 0x0f, payload)?, input.len() - next.len())))
}

/// Appends a message for the application.
pub fn write_message(out: &mut Vec<u8>, message: &str) {
    send::write_as_client(out, Kind::Text, message.as_bytes());
}

/// Appends the answer to a ping.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    send::write_pong_as_client(out, payload);
}

fn sent(opcode: u8, payload: &[u8]) -> Result<Sent<'_>, Foreign> {
    Ok(match opcode {
        // Binary packets that are text all the same lose nothing by being sent as such.
        1 | 2 => std::str::from_utf8(payload).map_or(Sent::NotText, Sent::Message),
        8 => Sent::Close(close(payload)),
        9 => Sent::Ping(payload),
        10 => Sent::Other,
        _ => return Err(Foreign),
    })
}

fn close(payload: &[u8]) -> Option<(u16, &str)> {
    let (code, reason) = payload.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*code), std::str::from_utf8(reason).unwrap_or_default()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::websocket::deflate::Codec;
    use crate::websocket::packet::{Event, Receiver};
    use crate::websocket::{CloseCode, send};

    /// A frame is read once it is whole, and not before.
    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &Sent<'_>) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        let size = bytes.len();
        for cut in 0..size.min(20) {
            assert_eq!(read(&bytes[..cut]), Ok(None));
        }
        bytes.extend_from_slice(b"next");
        assert_eq!(read(&bytes), Ok(Some((expected.clone(), size))));
    }

    #[test]
    fn reads_what_a_server_writes() {
        for length in [0, 1, 125, 126, 65535, 65536] {
            let text = "x".repeat(length);
            check(|out| send::write_packet(out, Kind::Text, text.as_bytes(), None, 0), &Sent::Message(&text));
        }
        check(|out| send::write_packet(out, Kind::Binary, b"text", None, 0), &Sent::Message("text"));
        check(|out| send::write_packet(out, Kind::Binary, b"\xff\0", None, 0), &Sent::NotText);
        check(|out| send::write_ping(out, b"p"), &Sent::Ping(b"p"));
        check(|out| send::write_pong(out, b""), &Sent::Other);
        check(|out| send::write_close(out, CloseCode::from(4500), "slow"), &Sent::Close(Some((4500, "slow"))));
        check(|out| send::write_close(out, CloseCode::from(1005), ""), &Sent::Close(None));
    }

    #[test]
    fn refuses_what_no_server_of_ours_writes() {
        for bytes in [[0x81, 0x80], [0x01, 0], [0xc1, 0], [0x80, 0], [0x83, 0]] {
            assert_eq!(read(&bytes), Err(Foreign), "{bytes:x?}");
        }
    }

    #[test]
    fn writes_what_a_server_reads() {
        let mut bytes = Vec::new();
        write_message(&mut bytes, "Grüße");
        write_pong(&mut bytes, b"p");
        let mut input = &mut bytes[..];
        let (mut receiver, mut codec) = (Receiver::new(false), Codec::new(1));
        let event = receiver.next(&mut input, 100, &mut codec).unwrap();
        assert_eq!(event, Some(Event::Data { kind: Kind::Text, payload: "Grüße".as_bytes(), fin: true }));
        assert_eq!(receiver.next(&mut input, 100, &mut codec).unwrap(), Some(Event::Pong(b"p")));
    }
}
