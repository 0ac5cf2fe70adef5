//! The Dispatcher's parts against the Gitea stand-in, in both of its modes.

#![cfg(all(feature = "durable", feature = "sandbox"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gates;
mod observe;
mod receiver;
mod scene;
mod troubles;
mod watch;
