//! What is stored of a message, and its form on disk.
//!
//! The form is the same in every engine and in exports. A record begins with a byte for its kind, and ends with the CRC-32 of
//! everything before; numbers are big-endian, lengths are in groups of seven bits, lowest first. Reading checks everything:
//! what a disk gives back is not trusted more than what a peer sends.

use bytes::Bytes;
use bytestring::ByteString;

use super::wire::{Reader, Writer};
use crate::headers::Headers;
use crate::message::{MessageId, WorkerId};

/// First byte of a [`MessageRecord`]. Other kinds of records will have other first bytes.
const MESSAGE: u8 = 1;

/// First byte of a [`StateRecord`].
const STATE: u8 = 2;

/// First byte of a [`MarkRecord`].
const MARK: u8 = 3;

const IS_TEXT: u8 = 1;
const HAS_EXPIRY: u8 = 2;
const HAS_DELIVERY: u8 = 4;
const HAS_GROUP: u8 = 8;
const HAS_TOPIC: u8 = 16;
const IS_BINDING: u8 = 32;
const ALL_FLAGS: u8 = IS_TEXT | HAS_EXPIRY | HAS_DELIVERY | HAS_GROUP | HAS_TOPIC | IS_BINDING;

/// One thing that a store holds.
#[expect(clippy::large_enum_variant, reason = "records are looked at one at a time, so a box for each would only cost")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A message of a queue.
    Message(MessageRecord),
    /// What became of a message since; comes right after its message in a scan.
    State(StateRecord),
    /// How far a queue was handed out; these come first in a scan.
    Mark(MarkRecord),
}

/// A message as it waits in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRecord {
    /// Its place among all messages of the store; never used twice at a time. From [`Sequences`](super::Sequences).
    pub sequence: u64,
    /// The queue, by the name that the broker's core gives it.
    pub queue: ByteString,
    /// What it was sent to, where that is not its queue: what a durable subscription keeps. Of a binding, what it takes.
    pub topic: Option<ByteString>,
    /// This is no message, but says that its queue is that of a durable subscription. It comes before its messages.
    pub is_binding: bool,
    /// `message-id` on the wire, the same before and after a restart.
    pub id: MessageId,
    /// The headers that receivers get to see.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    /// Whether the body may travel in a WebSocket text packet.
    pub is_text: bool,
    /// When the broker took it, in milliseconds since 1970.
    pub enqueued_at: u64,
    /// When it is no longer wanted, in milliseconds since 1970.
    pub expires_at: Option<u64>,
    /// Before when it is not to be delivered, in milliseconds since 1970.
    pub deliver_at: Option<u64>,
    /// 0 to 9 where the queue has priorities; kept as it is.
    pub priority: u8,
    /// The group whose messages go to one consumer.
    pub group: Option<ByteString>,
}

/// What a store remembers of a message beyond the message. The newest one holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateRecord {
    /// The message.
    pub sequence: u64,
    /// How often it was handed out before.
    pub redeliveries: u32,
    /// How often it was refused.
    pub refused: u32,
    /// Before when it is not to be handed out again, in milliseconds since 1970; zero for at once.
    pub not_before: u64,
}

/// How far the messages of a queue may have been handed out. The newest one holds.
///
/// That a message was handed out is not written down each time: this is, and well ahead. Without it nobody could tell after a
/// crash which messages are certainly delivered for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRecord {
    /// The queue.
    pub queue: ByteString,
    /// No message of a higher sequence was handed out; zero for none at all, which is as good as no mark.
    pub up_to: u64,
}

/// Why bytes are no record. All of them are the disk's fault, or that of whoever wrote the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end before the record does.
    #[error("the record is cut short")]
    Truncated,
    /// There are bytes after the end.
    #[error("the record is longer than it says")]
    TooLong,
    /// The checksum is that of other bytes.
    #[error("the checksum does not match")]
    Checksum,
    /// No version of the format so far has this kind of record.
    #[error("unknown kind of record {0}")]
    UnknownKind(u8),
    /// A flag that no version of the format so far has.
    #[error("unknown flags {0:#04x}")]
    UnknownFlags(u8),
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    NotText,
    /// A length that no record can have.
    #[error("a length out of range")]
    Length,
    /// It was found where another record should be.
    #[error("it is the record of another message")]
    Misplaced,
}

impl MessageRecord {
    /// Bytes that this message takes in a store, roughly; for limits.
    pub fn footprint(&self) -> usize {
        const FIXED: usize = 64;
        FIXED + self.queue.len() + self.headers.footprint() + self.body.len()
    }
}

impl Record {
    /// The sequence of the message that this is about; none for a mark.
    pub fn sequence(&self) -> Option<u64> {
        match self {
            Record::Message(message) => Some(message.sequence),
            Record::State(state) => Some(state.sequence),
            Record::Mark(_) => None,
        }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Record::Message(message) => encode_message(message),
            Record::State(state) => encode_state(state),
            Record::Mark(mark) => encode_mark(mark),
        }
    }

    /// Reads the stored form, all of `bytes`. The record has memory of its own: headers and body apart, so that dropping the
    /// body frees it.
    pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
        let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(RecordError::Truncated)?;
        if crc32fast::hash(content) != u32::from_be_bytes(*checksum) {
            return Err(RecordError::Checksum);
        }
        let mut reader = Reader::new(content);
        let record = match reader.byte()? {
            MESSAGE => Record::Message(decode_message(&mut reader)?),
            STATE => Record::State(decode_state(&mut reader)?),
            MARK => Record::Mark(MarkRecord { up_to: reader.number()?, queue: ByteString::from(reader.text()?) }),
            kind => return Err(RecordError::UnknownKind(kind)),
        };
        if reader.is_empty() { Ok(record) } else { Err(RecordError::TooLong) }
    }
}

/// The stored form of a message, without a copy of the message.
pub(super) fn encode_message(message: &MessageRecord) -> Vec<u8> {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = flag(message.is_text, IS_TEXT)
        | flag(message.expires_at.is_some(), HAS_EXPIRY)
        | flag(message.deliver_at.is_some(), HAS_DELIVERY)
        | flag(message.group.is_some(), HAS_GROUP)
        | flag(message.topic.is_some(), HAS_TOPIC)
        | flag(message.is_binding, IS_BINDING);
    let mut writer = Writer::with_capacity(message.footprint());
    writer.byte(MESSAGE);
    writer.byte(flags);
    writer.byte(message.priority);
    writer.number(message.sequence);
    writer.bytes(&message.id.boot.to_be_bytes());
    writer.bytes(&message.id.worker.0.to_be_bytes());
    writer.number(message.id.sequence);
    writer.number(message.enqueued_at);
    [message.expires_at, message.deliver_at].into_iter().flatten().for_each(|time| writer.number(time));
    writer.text(&message.queue);
    [&message.group, &message.topic].into_iter().flatten().for_each(|text| writer.text(text));
    writer.length(message.headers.len());
    for (name, value) in message.headers.iter() {
        writer.text(name);
        writer.text(value);
    }
    writer.length(message.body.len());
    writer.bytes(&message.body);
    writer.sealed()
}

/// The stored form of a state.
pub(super) fn encode_state(state: &StateRecord) -> Vec<u8> {
    let mut writer = Writer::with_capacity(32);
    writer.byte(STATE);
    writer.number(state.sequence);
    writer.bytes(&state.redeliveries.to_be_bytes());
    writer.bytes(&state.refused.to_be_bytes());
    writer.number(state.not_before);
    writer.sealed()
}

/// The stored form of a mark.
pub(super) fn encode_mark(mark: &MarkRecord) -> Vec<u8> {
    let mut writer = Writer::with_capacity(32 + mark.queue.len());
    writer.byte(MARK);
    writer.number(mark.up_to);
    writer.text(&mark.queue);
    writer.sealed()
}

fn decode_message(reader: &mut Reader<'_>) -> Result<MessageRecord, RecordError> {
    let flags = reader.byte()?;
    if flags & !ALL_FLAGS != 0 {
        return Err(RecordError::UnknownFlags(flags));
    }
    let priority = reader.byte()?;
    let sequence = reader.number()?;
    let id = MessageId {
        boot: u32::from_be_bytes(reader.array()?),
        worker: WorkerId(u16::from_be_bytes(reader.array()?)),
        sequence: reader.number()?,
    };
    let enqueued_at = reader.number()?;
    let expires_at = if flags & HAS_EXPIRY != 0 { Some(reader.number()?) } else { None };
    let deliver_at = if flags & HAS_DELIVERY != 0 { Some(reader.number()?) } else { None };
    let queue = ByteString::from(reader.text()?);
    let group = if flags & HAS_GROUP != 0 { Some(ByteString::from(reader.text()?)) } else { None };
    let topic = if flags & HAS_TOPIC != 0 { Some(ByteString::from(reader.text()?)) } else { None };
    // Each header takes two bytes at least, so a wrong count ends with the bytes and cannot ask for memory.
    let count = reader.length()?;
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((reader.text()?, reader.text()?));
    }
    let headers = Headers::from_iter(headers);
    let length = reader.length()?;
    let body = Bytes::copy_from_slice(reader.bytes(length)?);
    Ok(MessageRecord {
        sequence,
        queue,
        topic,
        is_binding: flags & IS_BINDING != 0,
        id,
        headers,
        body,
        is_text: flags & IS_TEXT != 0,
        enqueued_at,
        expires_at,
        deliver_at,
        priority,
        group,
    })
}

fn decode_state(reader: &mut Reader<'_>) -> Result<StateRecord, RecordError> {
    Ok(StateRecord {
        sequence: reader.number()?,
        redeliveries: u32::from_be_bytes(reader.array()?),
        refused: u32::from_be_bytes(reader.array()?),
        not_before: reader.number()?,
    })
}

#[cfg(test)]
impl MessageRecord {
    /// One for tests.
    pub(super) fn sample(sequence: u64, length: usize) -> MessageRecord {
        MessageRecord {
            sequence,
            queue: "orders".into(),
            topic: None,
            is_binding: false,
            id: MessageId { boot: 1, worker: WorkerId(2), sequence: 3 },
            headers: Headers::default(),
            body: Bytes::from(vec![b'x'; length]),
            is_text: true,
            enqueued_at: 5,
            expires_at: None,
            deliver_at: None,
            priority: 9,
            group: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> MessageRecord {
        MessageRecord {
            topic: Some("/topic/a".into()),
            headers: Headers::from_iter([("a:b", "1"), ("", ""), ("a:b", "ä\n")]),
            body: Bytes::from(vec![0, 255, 10]),
            expires_at: Some(u64::MAX),
            group: Some("g".into()),
            ..MessageRecord::sample(7, 0)
        }
    }

    fn records() -> [Record; 5] {
        let bare = MessageRecord {
            headers: Headers::default(),
            body: Bytes::new(),
            is_text: false,
            expires_at: None,
            deliver_at: Some(0),
            group: None,
            topic: None,
            is_binding: true,
            ..message()
        };
        let large = MessageRecord { body: Bytes::from(vec![b'x'; 70_000]), ..message() };
        let state = StateRecord { sequence: 7, redeliveries: 4, refused: 2, not_before: u64::MAX };
        let mark = MarkRecord { queue: "orders".into(), up_to: 99 };
        let messages = [message(), bare, large].map(Record::Message);
        let [message, bare, large] = messages;
        [message, bare, large, Record::State(state), Record::Mark(mark)]
    }

    #[test]
    fn records_read_back() {
        for record in records() {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        for record in records().into_iter().filter(|record| record.encode().len() < 1000) {
            let bytes = record.encode();
            for at in 0..bytes.len() {
                assert!(Record::decode(&bytes[..at]).is_err(), "cut at {at}");
                let mut changed = bytes.clone();
                changed[at] ^= 0x40;
                assert_eq!(Record::decode(&changed), Err(RecordError::Checksum), "changed at {at}");
            }
        }
    }

    /// What a wrong byte means when the checksum is right: no panic, no memory asked for by a length, and no other record.
    #[test]
    fn wrong_bytes_below_a_right_checksum_are_told_apart() {
        for record in records().into_iter().filter(|record| record.encode().len() < 1000) {
            let bytes = record.encode();
            let content = &bytes[..bytes.len() - 4];
            for at in 0..content.len() {
                for wrong in [0, 0x7f, 0xff] {
                    let mut changed = content.to_vec();
                    changed[at] = wrong;
                    let checksum = crc32fast::hash(&changed);
                    changed.extend_from_slice(&checksum.to_be_bytes());
                    if let Ok(other) = Record::decode(&changed) {
                        assert_eq!(other.encode(), changed, "byte {at} as {wrong}");
                    }
                }
                let mut cut = content[..at].to_vec();
                let checksum = crc32fast::hash(&cut);
                cut.extend_from_slice(&checksum.to_be_bytes());
                assert_eq!(Record::decode(&cut), Err(RecordError::Truncated), "cut at {at}");
            }
        }
    }

    #[test]
    fn later_kinds_have_a_name() {
        let mut later = vec![77];
        later.extend_from_slice(&crc32fast::hash(&[77]).to_be_bytes());
        assert_eq!(Record::decode(&later), Err(RecordError::UnknownKind(77)));
    }
}
