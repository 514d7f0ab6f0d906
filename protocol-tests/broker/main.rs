//! The broker core as its driver sees it: several shards, commands in, effects out.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod browse;
mod durable;
mod ends;
mod harness;
mod model;
mod paging;
mod policies;
mod queues;
mod starvation;
mod subscriptions;
mod temporary;
mod topics;
mod transactions;
mod users;
