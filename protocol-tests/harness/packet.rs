//! RFC 6455 framing, the client's side: packets are written field by field, so that a case can write a wrong one.

use super::deflate;

/// A WebSocket frame as a client puts it on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) fin: bool,
    /// The three reserved bits, as a number from 0 to 7.
    pub(crate) rsv: u8,
    pub(crate) opcode: u8,
    pub(crate) masked: bool,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The reserved bit that RFC 7692 gives a meaning: on the first packet of a compressed message.
pub(crate) const COMPRESSED: u8 = 4;

impl Packet {
    /// A correct client packet.
    pub(crate) fn new(opcode: u8, payload: Vec<u8>) -> Self {
        Packet { fin: true, rsv: 0, opcode, masked: true, payload }
    }

    pub(crate) fn close(code: Option<u16>) -> Self {
        Packet::new(CLOSE, code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // A constant mask is enough to prove that the broker unmasks.
        const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let mut bytes = vec![u8::from(self.fin) << 7 | (self.rsv & 7) << 4 | self.opcode & 15];
        let flag = u8::from(self.masked) << 7;
        match self.payload.len() {
            length @ 0..=125 => bytes.push(flag | length as u8),
            length @ 126..=0xffff => {
                bytes.push(flag | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(flag | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if !self.masked {
            bytes.extend_from_slice(&self.payload);
            return bytes;
        }
        bytes.extend_from_slice(&MASK);
        bytes.extend(self.payload.iter().zip(MASK.iter().cycle()).map(|(octet, mask)| octet ^ mask));
        bytes
    }

    /// The same message, compressed.
    pub(crate) fn deflated(self) -> Self {
        Packet { rsv: COMPRESSED, payload: deflate::deflate(&self.payload), ..self }
    }

    /// A server's packet at the start of `bytes` and its length there; `None` when more is needed. `deflate`: whether
    /// messages may be compressed.
    pub(crate) fn parse(bytes: &[u8], deflate: bool) -> Result<Option<(usize, Packet)>, String> {
        let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
        if second & 0x80 != 0 {
            return Err("a server must not mask its packets".to_owned());
        }
        let (start, length): (usize, usize) = match second {
            126 => match bytes.get(2..4) {
                Some(field) => (4, number(field)),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10) {
                Some(field) => (10, number(field)),
                None => return Ok(None),
            },
            short => (2, usize::from(short)),
        };
        let Some(end) = start.checked_add(length) else { return Err("a packet longer than memory".to_owned()) };
        let Some(payload) = bytes.get(start..end) else { return Ok(None) };
        let packet = Packet {
            fin: first & 0x80 != 0,
            rsv: first >> 4 & 7,
            opcode: first & 15,
            masked: false,
            payload: payload.to_vec(),
        };
        packet.check(deflate)?;
        Ok(Some((end, packet)))
    }

    fn check(&self, deflate: bool) -> Result<(), String> {
        let control = self.opcode & 8 != 0;
        let may_be_compressed = deflate && matches!(self.opcode, TEXT | BINARY);
        match () {
            () if self.rsv == COMPRESSED && may_be_compressed => Ok(()),
            () if self.rsv != 0 => Err("a reserved bit is set, and no extension was agreed".to_owned()),
            () if !matches!(self.opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) => {
                Err(format!("opcode {} is reserved", self.opcode))
            }
            () if control && !self.fin => Err("a fragmented control packet".to_owned()),
            () if control && self.payload.len() > 125 => Err("a control packet over 125 octets".to_owned()),
            () => Ok(()),
        }
    }
}

fn number(field: &[u8]) -> usize {
    field.iter().fold(0, |sum, &octet| sum << 8 | usize::from(octet))
}
