//! The ledger and its state machines.

#![cfg(feature = "ledger")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crashes;
mod forwarder;
mod machine;
mod page;
mod place;
mod postgres;
mod reach;
mod server;
mod steering;
mod store;
mod troubles;
