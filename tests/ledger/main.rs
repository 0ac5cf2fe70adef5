//! The ledger and its state machines.

#![cfg(feature = "ledger")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crashes;
mod machine;
mod page;
mod place;
mod postgres;
mod server;
mod steering;
mod store;
mod troubles;
