//! Applications on the real thing: the chat of the examples on the real program, and handlers inside of a test.

#![allow(clippy::unwrap_used)]

mod chat;
mod client;
mod handlers;
mod workers;
