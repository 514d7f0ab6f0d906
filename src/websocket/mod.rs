//! The server's side of WebSocket (RFC 6455) with compression (RFC 7692), as pure functions over bytes.
//!
//! Nothing here knows a socket, a clock or a runtime: the caller brings bytes and takes bytes away.
//!
//! - [`handshake::accept`] judges an HTTP request and gives the `101` response, or a [`handshake::Rejection`] that
//!   says what the client should change. [`origin`] holds the rules for browsers from elsewhere.
//! - [`packet::Receiver`] turns what the client sends into events. It keeps nothing of an uncompressed packet: pieces
//!   are unmasked where they lie and handed out at once, so an idle connection costs no heap.
//! - [`send`] writes what the server sends, the header always apart from the payload, so that one encoding can be
//!   shared by many connections.
//! - [`deflate`] negotiates compression and does it, with one [`deflate::Codec`] for all connections of a thread.
//! - [`draft76`] is what browsers spoke before there was RFC 6455, for who asks for it.
//!
//! A *packet* is what RFC 6455 calls a message: the word message is taken by STOMP. A *frame* is a fragment of a packet
//! or a control frame, as in RFC 6455, and is not seen outside of this module.
//!
//! ```
//! use gumboot::websocket::{deflate::Codec, packet::{Event, Kind, Receiver}, Options};
//!
//! let options = Options::default();
//! let mut codec = Codec::new(options.deflate.level);
//! let mut receiver = Receiver::new(false);
//! // A text packet with the payload `Hi`, masked by the key 1, 2, 3, 4.
//! let mut bytes = [0x81, 0x82, 1, 2, 3, 4, b'H' ^ 1, b'i' ^ 2];
//! let mut input = &mut bytes[..];
//! let event = receiver.next(&mut input, options.max_packet_bytes, &mut codec).unwrap();
//! assert_eq!(event, Some(Event::Data { kind: Kind::Text, payload: b"Hi", fin: true }));
//! ```

pub mod deflate;
pub mod draft76;
mod frame;
pub mod handshake;
mod mask;
pub mod origin;
pub mod packet;
pub mod send;
mod utf8;
mod violation;

pub use tungstenite::protocol::frame::coding::CloseCode;
pub use violation::Violation;

/// What an operator can choose about WebSocket connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The largest packet a client may send, in bytes of payload over all its fragments. A compressed packet may be no
    /// larger than this both as it comes and inflated. Larger: the connection is closed with 1009. Default: 17 MiB, which is room for the largest STOMP frame.
    pub max_packet_bytes: usize,
    /// Compression. Default: see [`deflate::Options`].
    pub deflate: deflate::Options,
    /// Origins that may connect in addition to those of [`origin::check`]'s own rules: the same origin as the server's,
    /// and any loopback origin while the server listens on a loopback address. Default: none.
    pub allowed_origins: Vec<origin::Pattern>,
    /// The sub-protocols we speak. The first of the client's list that is also here is taken, so the order of this list
    /// has no meaning. Default: `v12.stomp`, `v11.stomp`, `v10.stomp`.
    pub subprotocols: Vec<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_packet_bytes: 17 * 1024 * 1024,
            deflate: deflate::Options::default(),
            allowed_origins: Vec::new(),
            subprotocols: ["v12.stomp", "v11.stomp", "v10.stomp"].map(String::from).to_vec(),
        }
    }
}
