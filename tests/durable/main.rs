//! The dispatcher and its parts over real sockets, against the Gitea stand-in as 1.25 and as 1.26.

#![cfg(all(feature = "durable", feature = "sandbox"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod doctor;
mod effects;
mod faults;
mod kills;
mod lives;
mod owner;
mod page;
mod reviews;
mod scene;
mod world;
