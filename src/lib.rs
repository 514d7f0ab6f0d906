//! Gumboot, a STOMP broker over WebSocket and TCP.

pub mod broker;
pub mod config;
pub mod destination;
pub mod hash;
pub mod headers;
pub mod log;
pub mod message;
pub mod server;
pub mod session;
pub mod stomp;
pub mod transport;
pub mod websocket;
pub mod worker;
