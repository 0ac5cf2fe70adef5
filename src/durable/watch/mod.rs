//! Learning what becomes of tasks that were handed out.
//!
//! | module | what it does |
//! |---|---|
//! | `poller` | one listing per repository and round; which issues must be looked at |
//! | `observe` | what an issue's history says about an attempt |
//! | `receiver` | webhooks, which make the poller look sooner, and callbacks of HTTP agents |
//! | `parse` | what stands in what is received |
//! | `signature` | who sent it |
//!
//! Polling is the truth. A webhook comes at most once, in any order, and is believed only as far as
//! that it is time to look.

mod observe;
mod poller;
mod since;

pub use observe::{Case, KnownAgent, Observed, observe};
pub use poller::{Pace, Seen, Watcher};
