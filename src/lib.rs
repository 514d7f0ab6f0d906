//! Gumboot, a STOMP broker over WebSocket and TCP.

pub mod hash;
pub mod headers;
pub mod websocket;
