//! Dispatching that survives its process: tasks are kept in a ledger, handed over, watched to their
//! end, reviewed, and given to the next agent or a person.
//!
//! | module | what it does |
//! |---|---|
//! | `dispatcher` | what a program sees: open, submit, wait, steer |
//! | `plan` | who is to do a task, and what is missing for it |
//! | `order` | a task as the ledger keeps it, and an agent's terms |
//! | `work` | claim, send, look for, raise what is due, take over |
//! | `effects` | each effect carried out, and looked for |
//! | `agents` | agents that are reached over HTTP or in this process |
//! | `tend` | what the watched issues and agents say, told to the ledger |
//! | `review` | the gates, asked until they say yes or no |
//! | `follow` | wakes those who wait |
//! | `server` | the Gitea that it works on |

mod agents;
mod dispatcher;
mod effects;
mod follow;
mod gates;
mod order;
mod plan;
mod review;
mod server;
mod settings;
mod tend;
mod waiters;
mod work;

pub use agents::{Assignment, Handler};
pub use dispatcher::{Builder, Dispatch, Dispatcher, DispatcherError};
pub use gates::{NamedGate, Question, Verdict};
pub use order::{Gate, Order, Terms};
pub use plan::{AgentOptions, Planned, Refused, Wishes};
pub use server::Server;
pub use settings::{Busy, Policy, Receive, Timing};
