//! Gumboot, a STOMP broker over WebSocket and TCP.

pub mod destination;
pub mod hash;
pub mod headers;
pub mod message;
pub mod stomp;
