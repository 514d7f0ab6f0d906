//! HTTP hooks against a small application that misbehaves on demand: alone (`calls`), and within a broker (`broker`);
//! and the applications of the examples.

#![allow(clippy::unwrap_used)]

mod authority;
mod broker;
mod calls;
#[path = "../applications/client.rs"]
mod client;
mod examples;
mod server;
