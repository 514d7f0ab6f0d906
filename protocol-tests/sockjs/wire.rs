//! A client of either kind of WebSocket, or of plain TCP, byte by byte: for what no well-behaved client does.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use crate::{Broker, PATIENCE, read_head};

/// How a client comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Tcp,
    WebSocket,
    SockJs,
}

pub(crate) const WAYS: [Way; 3] = [Way::Tcp, Way::WebSocket, Way::SockJs];

/// The opcode of a text packet that is its own last fragment, and that of a close frame.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const CLOSE: u8 = 0x88;

pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    way: Way,
}

/// A frame of a client. Its key is 0, which leaves it readable.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [header(first, payload.len()), payload.to_vec()].concat()
}

/// The beginning of a frame of a client.
pub(crate) fn header(first: u8, length: usize) -> Vec<u8> {
    let mut bytes = match length {
        0..=125 => vec![first, 0x80 | length as u8],
        126..=0xffff => [&[first, 0x80 | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, 0x80 | 127][..], &(length as u64).to_be_bytes()].concat(),
    };
    bytes.extend([0; 4]);
    bytes
}

impl Client {
    /// A connection whose handshake is over.
    pub(crate) fn dial(broker: &Broker, way: Way) -> Client {
        let path = match way {
            Way::Tcp => {
                let stream = TcpStream::connect(broker.server.tcp_addresses()[0]).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return Client { reader: BufReader::new(stream), way };
            }
            Way::WebSocket => "/ws",
            Way::SockJs => "/ws/0/s/websocket",
        };
        let mut client = Client { reader: BufReader::new(broker.dial()), way };
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        client.write(request.as_bytes());
        assert!(read_head(&mut client.reader).starts_with("HTTP/1.1 101 "));
        if way == Way::SockJs {
            assert_eq!(client.packet(), (1, b"o".to_vec()));
        }
        client
    }

    /// A client that is through with CONNECT.
    pub(crate) fn connect(broker: &Broker, way: Way) -> Client {
        let mut client = Client::dial(broker, way);
        client.say("CONNECT\naccept-version:1.2\n\n\0");
        assert!(client.hear().starts_with("CONNECTED\n"));
        client
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    /// Sends a frame of STOMP.
    pub(crate) fn say(&mut self, text: &str) {
        let bytes = self.written(text);
        self.write(&bytes);
    }

    /// As this client writes it.
    pub(crate) fn written(&self, text: &str) -> Vec<u8> {
        match self.way {
            Way::Tcp => text.as_bytes().to_vec(),
            Way::WebSocket => frame(TEXT, text.as_bytes()),
            Way::SockJs => frame(TEXT, serde_json::to_string(&[text]).unwrap().as_bytes()),
        }
    }

    /// Reads a frame of STOMP.
    pub(crate) fn hear(&mut self) -> String {
        if self.way == Way::Tcp {
            let mut bytes = Vec::new();
            std::io::BufRead::read_until(&mut self.reader, 0, &mut bytes).unwrap();
            return String::from_utf8(bytes).unwrap().trim_start_matches('\n').to_owned();
        }
        let (opcode, payload) = self.packet();
        assert_eq!(opcode, 1);
        let text = String::from_utf8(payload).unwrap();
        if self.way == Way::SockJs { crate::messages(&text).remove(0) } else { text }
    }

    /// Reads a frame of WebSocket: its opcode and its payload.
    pub(crate) fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.reader.read_exact(&mut head).unwrap();
        let length = match head[1] {
            127 => panic!("nothing here is so long"),
            126 => {
                let mut long = [0; 2];
                self.reader.read_exact(&mut long).unwrap();
                usize::from(u16::from_be_bytes(long))
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.reader.read_exact(&mut payload).unwrap();
        (head[0] & 0x0f, payload)
    }

    /// Reads the end of the connection: for WebSocket the close frame with this code, and then in any case that the broker closes
    /// its side, which it does in good order.
    pub(crate) fn expect_end(&mut self, code: u16) {
        if self.way != Way::Tcp {
            let (opcode, payload) = self.packet();
            assert_eq!((opcode, &payload[..2]), (8, &code.to_be_bytes()[..]));
        }
        assert_eq!(self.reader.read(&mut [0]).unwrap(), 0, "more than the end");
    }
}
