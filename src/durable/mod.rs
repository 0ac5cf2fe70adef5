//! Dispatching that survives its process: tasks are kept in a ledger, handed over, watched to their
//! end, reviewed, and given to the next agent or a person.
//!
//! | module | what it does |
//! |---|---|
//! | `order` | a task as the ledger keeps it, and an agent's terms |
//! | `server` | the Gitea that it works on |
//! | [`watch`] | what becomes of what was handed out |

mod order;
mod server;
pub mod watch;

pub use order::{Gate, Order, Terms};
pub use server::Server;
