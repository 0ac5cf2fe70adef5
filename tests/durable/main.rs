//! The dispatcher and its parts over real sockets, against the Gitea stand-in as 1.25 and as 1.26.

#![cfg(all(feature = "durable", feature = "sandbox"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod apart;
mod doctor;
mod effects;
mod failover;
mod faults;
#[path = "../ledger/forwarder.rs"]
#[allow(dead_code, reason = "the ledger's tests need more of it")]
mod forwarder;
mod kills;
mod lives;
mod owner;
mod page;
#[path = "../ledger/postgres.rs"]
#[allow(dead_code, reason = "the ledger's tests need more of it")]
mod postgres;
mod reviews;
mod scene;
mod world;
