//! The durable dispatcher over the sandbox.

#![cfg(all(feature = "durable", feature = "sandbox"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kills;
mod lives;
mod world;
