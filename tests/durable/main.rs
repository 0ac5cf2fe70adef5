//! The dispatcher's parts over real sockets, held against the Gitea stand-in as 1.25 and as 1.26.

#![cfg(all(feature = "durable", feature = "sandbox"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod effects;
mod owner;
mod scene;
