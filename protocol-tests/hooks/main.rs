//! HTTP hooks against a small application that misbehaves on demand: alone (`calls`), and within a broker (`broker`).

#![allow(clippy::unwrap_used)]

mod authority;
mod calls;
mod server;
