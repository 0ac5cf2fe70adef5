//! Dispatching that survives its process: tasks are kept in a ledger, handed over, watched to their
//! end, reviewed, and given to the next agent or a person.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use timmy_dispatcher::dispatch::{Settings, Task};
//! use timmy_dispatcher::durable::{Builder, Wishes};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let dispatcher = Builder::new("dispatch.db", Settings::from_env()).open().await?;
//! let task = Task::new("Design the LLM router").issue(1072);
//! let dispatch = dispatcher.submit(&task, &Wishes::default()).await?;
//! let record = dispatch.wait().await?;
//! println!("{}: {}", record.state.status(), record.state.reason);
//! dispatcher.close(Duration::from_secs(30)).await;
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `builder`, `dispatcher` | what a program sees: open; submit, wait, steer |
//! | `inner` | what all parts of an open dispatcher share |
//! | `settings` | times, limits and policies |
//! | `decide` | what kind of work a task is |
//! | `plan` | who is to do a task, and what is missing for it |
//! | `order` | a task as the ledger keeps it, and an agent's terms |
//! | `work` | claim, send, look for, raise what is due, take over |
//! | [`effects`] | each effect carried out, and looked for |
//! | [`agents`] | agents that are reached over HTTP or in this process |
//! | `tend` | what the issues and the agents say, told to the ledger |
//! | [`watch`] | what becomes of what was handed out; webhooks and callbacks |
//! | `review`, [`gates`] | what must hold before a task counts as done |
//! | `follow`, `waiters` | who waits for a dispatch is woken |
//! | `restored` | a ledger that was restored from an older copy |
//! | `hmac` | who sent something |
//! | `server`, `breaker` | the Gitea that it works on, and when a destination is left alone |
//! | `doctor` | says what is wrong around it, and what to do |

pub mod agents;
mod breaker;
mod builder;
mod decide;
mod dispatcher;
mod doctor;
pub mod effects;
mod follow;
pub mod gates;
mod hmac;
mod inner;
mod order;
mod plan;
mod restored;
mod review;
mod server;
mod settings;
mod tend;
mod waiters;
pub mod watch;
mod work;

pub use builder::Builder;
pub use dispatcher::{Dispatch, Dispatcher, DispatcherError};
pub use doctor::{Finding, Severity};
pub use effects::{Escalation, NamedCallback};
pub use gates::{NamedGate, Question, Verdict};
pub use order::{Gate, Order, Terms};
pub use plan::{AgentOptions, Planned, Refused, Wishes};
pub use restored::Restored;
pub use server::Server;
pub use settings::{Busy, Policy, Receive, Timing};

pub use crate::rank::{Below, Inference};
