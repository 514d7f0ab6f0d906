//! Numbers, lengths and text as bytes, and back with every step checked.

use super::record::RecordError;

/// Groups of seven bits that a length may have: enough for 2^35, which no record reaches.
const LENGTH_BYTES: usize = 5;

/// Builds a record.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Writer {
        Writer(Vec::with_capacity(bytes))
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    pub(super) fn length(&mut self, length: usize) {
        push_length(&mut self.0, length);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes(text.as_bytes());
    }

    /// The record, closed by the checksum of all of it.
    pub(super) fn sealed(mut self) -> Vec<u8> {
        let checksum = crc32fast::hash(&self.0);
        self.bytes(&checksum.to_be_bytes());
        self.0
    }
}

/// Appends a length in groups of seven bits, lowest first.
pub(super) fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

/// Takes a record apart from its front.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(RecordError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, RecordError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A length, in its one shortest spelling.
    pub(super) fn length(&mut self) -> Result<usize, RecordError> {
        let mut length = 0_u64;
        for group in 0..LENGTH_BYTES {
            let byte = self.byte()?;
            length |= u64::from(byte & 0x7f) << (7 * group);
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || group == 0;
                return usize::try_from(length).ok().filter(|_| is_shortest).ok_or(RecordError::Length);
            }
        }
        Err(RecordError::Length)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(RecordError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, RecordError> {
        let length = self.length()?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| RecordError::NotText)
    }
}
