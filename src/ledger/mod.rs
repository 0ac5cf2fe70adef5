//! What must survive a crash.
//!
//! [`machine`] is the state machine of a dispatch, without I/O: a state and an event give the next
//! state and what is to be done. [`effect`] is the one of a single request to the outside, which
//! may be sent, may be lost, and must not be repeated blindly. Both are tables ([`machine::TABLE`],
//! [`effect::TABLE`]): the steps are taken from them, and so are the page and the pictures in
//! `docs/state-machine.md` ([`page`]).

//!
//! [`Ledger`] keeps them, in an SQLite file or in PostgreSQL:
//!
//! ```
//! use serde_json::json;
//! use timmy_dispatcher::ledger::machine::{Channel, Phase, Plan};
//! use timmy_dispatcher::ledger::{Agent, Ledger, Options, Submission};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("ledger-{}", uuid::Uuid::now_v7()));
//! # std::fs::create_dir(&folder)?;
//! let kimi = Agent::new("kimi", Channel::Label);
//! let ledger = Ledger::open(folder.join("dispatch.db"), vec![kimi], Options::default()).await?;
//! let task = Submission::new(json!({ "title": "Fix the typo" }), Plan::new(["kimi"]));
//! let first = ledger.submit(task.clone()).await?;
//! assert_eq!(ledger.submit(task).await?.id, first.id); // the same one
//!
//! let claims = ledger.claim(vec!["kimi".to_owned()], 10).await?;
//! assert_eq!(claims[0].id, first.id);
//! assert_eq!(ledger.get(first.id).await?.state.phase, Phase::HandingOver);
//! # std::fs::remove_dir_all(folder)?;
//! # Ok(())
//! # }
//! ```

mod database;
pub mod effect;
mod engine;
mod handle;
mod inspect;
pub mod machine;
mod options;
mod page;
mod store;

pub use handle::{Answer, Ledger};
pub use options::{Moment, Options};
pub use page::page;
#[cfg(feature = "durable")]
pub(crate) use store::without_nul;
pub use store::{
    Agent, AttemptRecord, Claim, Entry, Errand, Glance, Inspection, LedgerError, Record, Recorded,
    Story, Submission, Submitted, Watched, WorkerRecord,
};
