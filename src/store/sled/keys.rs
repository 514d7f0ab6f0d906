//! The keys of the tree: a letter for the kind of value, and a number that counts up.

use super::super::error::StoreError;
use super::stray;

/// The number of the last batch, and how many messages there are after it.
pub(super) const LAST_BATCH: &[u8] = b"b";

/// Several small messages.
pub(super) const CHUNK: u8 = b'c';

/// Which messages of a chunk are settled.
pub(super) const DEAD: u8 = b'd';

/// How far a queue was handed out; the queue's name follows.
pub(super) const MARK: u8 = b'q';

/// One message, or how many pieces it has.
pub(super) const MESSAGE: u8 = b'm';

/// A piece of a large message: its sequence, and the number of the piece.
const PIECE: u8 = b'p';

/// The state of a message.
pub(super) const STATE: u8 = b's';

pub(super) fn chunk(number: u64) -> [u8; 9] {
    numbered(CHUNK, number)
}

pub(super) fn dead(number: u64) -> [u8; 9] {
    numbered(DEAD, number)
}

pub(super) fn message(sequence: u64) -> [u8; 9] {
    numbered(MESSAGE, sequence)
}

pub(super) fn state(sequence: u64) -> [u8; 9] {
    numbered(STATE, sequence)
}

pub(super) fn mark(queue: &str) -> Vec<u8> {
    [&[MARK], queue.as_bytes()].concat()
}

pub(super) fn piece(sequence: u64, piece: u32) -> [u8; 13] {
    let [a, b, c, d, e, f, g, h] = sequence.to_be_bytes();
    let [i, j, k, l] = piece.to_be_bytes();
    [PIECE, a, b, c, d, e, f, g, h, i, j, k, l]
}

/// The number in a key of any kind but a piece's.
pub(super) fn number(key: &[u8]) -> Result<u64, StoreError> {
    let number = key.split_first().and_then(|(_, number)| number.try_into().ok());
    number.map(u64::from_be_bytes).ok_or_else(stray)
}

fn numbered(kind: u8, number: u64) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    [kind, a, b, c, d, e, f, g, h]
}
