//! The store: what every engine must do, what the committer does when one fails, and what is left after a kill or a power cut.
//!
//! `STORE_CUTS=200 cargo test --test store` cuts the power, and kills, that often instead of a few times.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod child;
mod command;
mod committer;
mod contract;
mod failing;
mod kill;
mod opened;
mod power;
mod redb_disk;
mod support;
mod transfer;
mod workload;
