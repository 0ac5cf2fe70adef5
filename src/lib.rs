//! The dispatcher of a swarm of coding agents.
//!
//! A task passes through the modules in this order:
//!
//! | module | what it does | feature |
//! |---|---|---|
//! | [`task`] | the vocabulary: task types, statuses, agent names | – |
//! | [`infer`] | text → task type, with the evidence | – (`tables` for TOML) |
//! | [`rank`] | text → how likely each task type is, learned | `rank` |
//! | [`route`] | task type → agent | – |
//! | [`dispatch`] | the flow: validate, route, hand over, retry, escalate | `net` |
//! | [`channel`] | how a task reaches an agent: Gitea, HTTP API, in process | `net` |
//! | [`gitea`] | the Gitea client: labels, comments, issues | `net` |
//! | [`http`] | the one seam to the network | `net` |
//! | [`watch`] | learning that an issue ended | `net` |
//! | [`ledger`] | what must survive a crash: the state machine of a dispatch, and its ledger | `ledger` |
//! | [`durable`] | the dispatcher that forgets nothing: ledger, effects, watching, gates | `durable` |
//! | [`sandbox`] | a Gitea stand-in on a loopback socket | `sandbox` |
//!
//! ```
//! use timmy_dispatcher::{infer::infer_task_type, route::select_agent};
//!
//! let task_type = infer_task_type("Design the LLM router", "");
//! assert_eq!(task_type.as_str(), "architecture");
//! assert_eq!(select_agent(task_type).as_str(), "claude_code");
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(feature = "net")]
pub mod channel;
#[cfg(feature = "net")]
pub mod dispatch;
#[cfg(feature = "durable")]
pub mod durable;
#[cfg(feature = "net")]
pub mod gitea;
#[cfg(feature = "net")]
pub mod http;
pub mod infer;
#[cfg(feature = "ledger")]
pub mod ledger;
#[cfg(feature = "rank")]
pub mod rank;
pub mod route;
pub mod task;
#[cfg(feature = "net")]
pub mod watch;

#[cfg(feature = "python")]
mod python;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(any(feature = "wasm", feature = "wasm-rank"))]
#[expect(unreachable_pub, reason = "wasm-bindgen exports only what is pub")]
mod wasm;

/// The Rust blocks of the README are run as doc tests.
#[cfg(all(doctest, feature = "net", feature = "rank", feature = "tables"))]
#[doc = include_str!("../README.md")]
struct Readme;
