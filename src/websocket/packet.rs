//! Receiving: from a client's bytes to events.

use super::{
    CloseCode, Violation,
    deflate::{Codec, InflateError},
    frame::{Frame, PartialHeader, Purpose},
    send,
    utf8::Utf8Check,
};

/// Whether a packet says that it is text. Both kinds carry STOMP; text has been checked to be UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

/// Something the client said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A piece of a packet's payload. An uncompressed packet comes in as many pieces as the network made of it, also
    /// when its frame is incomplete; a text piece may end within a character, though the text as a whole is UTF-8.
    /// A compressed packet comes as one piece.
    Data {
        /// The kind of the packet that the piece belongs to.
        kind: Kind,
        /// The bytes, unmasked and inflated. Empty only where the last piece of a packet adds nothing.
        payload: &'a [u8],
        /// Whether this is the packet's last piece.
        fin: bool,
    },
    /// The client asks for a pong with the same payload.
    Ping(&'a [u8]),
    /// The client answered a ping, or sent a sign of life.
    Pong(&'a [u8]),
    /// The client ends the connection, perhaps with a code and a reason. All that follows is dropped.
    Close(Option<(CloseCode, &'a str)>),
}

/// The receiving half of one connection.
///
/// Feed it with [`Receiver::next`]. It holds heap memory only while a compressed packet or a control frame is
/// incomplete.
#[derive(Debug)]
pub struct Receiver {
    phase: Phase,
    packet: Option<Packet>,
    text: Utf8Check,
    /// Present only while something must be kept from one call to the next.
    held: Option<Box<Held>>,
    deflate: bool,
    /// Whether nobody wants packets any more.
    discards: bool,
}

/// Where in the stream of frames we are.
#[derive(Debug)]
enum Phase {
    Header(PartialHeader),
    Payload(Frame),
    /// The client's close frame has come.
    Closed,
    /// The client broke a rule; it is told the same again if the caller asks again.
    Failed(Violation),
}

/// The packet of which some fragment has begun and the last has not ended.
#[derive(Clone, Copy, Debug)]
struct Packet {
    kind: Kind,
    compressed: bool,
    /// Bytes announced by the headers so far.
    announced: usize,
}

#[derive(Debug, Default)]
struct Held {
    /// A compressed packet's bytes until its last fragment is complete.
    compressed: Vec<u8>,
    /// A control frame's payload that came in pieces.
    control: Vec<u8>,
}

/// An event whose payload may still lie in the receiver or the codec.
enum Step<'i> {
    NeedMore,
    Data { kind: Kind, payload: &'i [u8], fin: bool },
    Inflated { kind: Kind },
    Control { purpose: Purpose, payload: &'i [u8] },
    HeldControl { purpose: Purpose },
}

impl Receiver {
    /// A receiver for a connection whose handshake is just done; `deflate` says whether compression was agreed on.
    pub fn new(deflate: bool) -> Receiver {
        Receiver {
            phase: Phase::Header(PartialHeader::default()),
            packet: None,
            text: Utf8Check::default(),
            held: None,
            deflate,
            discards: false,
        }
    }

    /// From now on packets are dropped, also the one that has begun, and only control frames are events. For a connection that
    /// is being closed: it is read on to see the client's own end.
    pub fn discard_packets(&mut self) {
        self.discards = true;
        if let Some(held) = &mut self.held {
            held.compressed = Vec::new();
        }
    }

    /// Takes bytes from the front of `input` up to the end of the next event, unmasking them in place.
    ///
    /// Call it until it answers `None`: then all of `input` has been taken. No packet may be larger than
    /// `max_packet_bytes`, which is checked as soon as a header announces more. `codec` is used only to inflate.
    ///
    /// # Errors
    /// The client broke a rule. Every later call fails likewise.
    pub fn next<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i mut [u8],
        max_packet_bytes: usize,
        codec: &'e mut Codec,
    ) -> Result<Option<Event<'e>>, Violation> {
        let step = match self.step(input, max_packet_bytes, codec) {
            Ok(step) => step,
            Err(violation) => {
                self.phase = Phase::Failed(violation);
                self.held = None;
                return Err(violation);
            }
        };
        Ok(match step {
            Step::NeedMore => None,
            Step::Data { kind, payload, fin } => Some(Event::Data { kind, payload, fin }),
            Step::Inflated { kind } => Some(Event::Data { kind, payload: codec.inflated(), fin: true }),
            Step::Control { purpose, payload } => Some(control_event(purpose, payload)?),
            Step::HeldControl { purpose } => {
                let payload = self.held.as_ref().map_or(&[][..], |held| &held.control);
                Some(control_event(purpose, payload)?)
            }
        })
    }

    /// Bytes of heap held at the moment, for accounting.
    pub fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| size_of::<Held>() + held.compressed.capacity() + held.control.capacity())
    }

    fn step<'i>(
        &mut self,
        input: &mut &'i mut [u8],
        max_packet_bytes: usize,
        codec: &mut Codec,
    ) -> Result<Step<'i>, Violation> {
        self.release_control();
        loop {
            let next = match &mut self.phase {
                Phase::Header(header) => {
                    let Some(frame) = header.take_from(input)? else {
                        return Ok(Step::NeedMore);
                    };
                    self.admit(&frame, max_packet_bytes)?;
                    self.phase = Phase::Payload(frame);
                    continue;
                }
                Phase::Payload(frame) => {
                    let piece = frame.take_payload(input);
                    let frame = *frame;
                    if piece.is_empty() && frame.remaining > 0 {
                        return Ok(Step::NeedMore);
                    }
                    if frame.remaining == 0 {
                        self.phase = Phase::Header(PartialHeader::default());
                    }
                    if frame.is_control() {
                        self.control_piece(&frame, piece)?
                    } else {
                        self.data_piece(&frame, piece, max_packet_bytes, codec)?
                    }
                }
                Phase::Closed => {
                    *input = &mut [];
                    return Ok(Step::NeedMore);
                }
                Phase::Failed(violation) => return Err(*violation),
            };
            if let Some(step) = next {
                return Ok(step);
            }
        }
    }

    /// Judges a frame's header against the frames before it, and counts what it announces.
    fn admit(&mut self, frame: &Frame, max_packet_bytes: usize) -> Result<(), Violation> {
        if frame.is_control() {
            return Ok(());
        }
        if frame.compressed && !self.deflate {
            return Err(Violation::ReservedBit);
        }
        let kind = match frame.purpose {
            Purpose::Text => Some(Kind::Text),
            Purpose::Binary => Some(Kind::Binary),
            _ => None,
        };
        let mut packet = match (kind, self.packet) {
            (Some(kind), None) => Packet { kind, compressed: frame.compressed, announced: 0 },
            (None, Some(packet)) => packet,
            (Some(_), Some(_)) => return Err(Violation::PacketUnfinished),
            (None, None) => return Err(Violation::NothingToContinue),
        };
        packet.announced = usize::try_from(frame.remaining)
            .ok()
            .and_then(|length| packet.announced.checked_add(length))
            .filter(|total| *total <= max_packet_bytes)
            .ok_or(Violation::PacketTooBig { limit: max_packet_bytes })?;
        self.packet = Some(packet);
        Ok(())
    }

    fn data_piece<'i>(
        &mut self,
        frame: &Frame,
        piece: &'i [u8],
        max_packet_bytes: usize,
        codec: &mut Codec,
    ) -> Result<Option<Step<'i>>, Violation> {
        // Invariant: `admit` has opened a packet before any payload of it is taken.
        let Some(Packet { kind, compressed, .. }) = self.packet else {
            return Err(Violation::NothingToContinue);
        };
        let fin = frame.fin && frame.remaining == 0;
        if fin {
            self.packet = None;
        }
        if self.discards {
            return Ok(None);
        }
        if compressed {
            if fin {
                self.inflate(piece, max_packet_bytes, codec)?;
                if kind == Kind::Text {
                    self.text.feed(codec.inflated())?;
                    self.text.finish()?;
                }
                return Ok(Some(Step::Inflated { kind }));
            }
            self.held.get_or_insert_default().compressed.extend_from_slice(piece);
            return Ok(None);
        }
        if kind == Kind::Text {
            self.text.feed(piece)?;
            if fin {
                self.text.finish()?;
            }
        }
        Ok((fin || !piece.is_empty()).then_some(Step::Data { kind, payload: piece, fin }))
    }

    /// Inflates a packet whose last piece has come; one that came whole is not copied first.
    fn inflate(&mut self, last: &[u8], max_packet_bytes: usize, codec: &mut Codec) -> Result<(), Violation> {
        let inflated = match self.held.take() {
            Some(mut held) => {
                held.compressed.extend_from_slice(last);
                codec.inflate(&held.compressed, max_packet_bytes)
            }
            None => codec.inflate(last, max_packet_bytes),
        };
        inflated.map(drop).map_err(|error| match error {
            InflateError::Damaged => Violation::DamagedDeflate,
            InflateError::TooBig { limit } => Violation::PacketTooBig { limit },
        })
    }

    fn control_piece<'i>(&mut self, frame: &Frame, piece: &'i [u8]) -> Result<Option<Step<'i>>, Violation> {
        let purpose = frame.purpose;
        let begun = self.held.as_ref().is_some_and(|held| !held.control.is_empty());
        if begun || frame.remaining > 0 {
            self.held.get_or_insert_default().control.extend_from_slice(piece);
        }
        if frame.remaining > 0 {
            return Ok(None);
        }
        let step = if begun { Step::HeldControl { purpose } } else { Step::Control { purpose, payload: piece } };
        if purpose == Purpose::Close {
            let payload = self.held.as_ref().filter(|_| begun).map_or(piece, |held| &held.control);
            parse_close(payload)?;
            self.phase = Phase::Closed;
        }
        Ok(Some(step))
    }

    /// Frees the payload of the control frame that the last call handed out.
    fn release_control(&mut self) {
        let in_frame = matches!(&self.phase, Phase::Payload(frame) if frame.is_control());
        if in_frame {
            return;
        }
        if let Some(held) = &mut self.held {
            held.control = Vec::new();
            if held.compressed.is_empty() {
                self.held = None;
            }
        }
    }
}

fn control_event(purpose: Purpose, payload: &[u8]) -> Result<Event<'_>, Violation> {
    Ok(match purpose {
        Purpose::Ping => Event::Ping(payload),
        Purpose::Pong => Event::Pong(payload),
        _ => Event::Close(parse_close(payload)?),
    })
}

fn parse_close(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::CloseTooShort),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !send::may_be_sent(code) {
                return Err(Violation::CloseCodeForbidden(code));
            }
            let reason = std::str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?;
            Ok(Some((CloseCode::from(code), reason)))
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests;
