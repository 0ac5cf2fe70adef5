//! Learning what becomes of tasks that were handed out.
//!
//! | module | what it does |
//! |---|---|
//! | `poller` | a round over all repositories |
//! | `place` | one listing per repository and round; which issues must be looked at |
//! | `since` | from which time on changes are asked for |
//! | `observe` | what an issue's history says about an attempt |
//! | `receiver` | webhooks, which make the poller look sooner, and callbacks of HTTP agents |
//! | `parse` | what stands in what is received |
//! | `hints` | that it is time to look, however often it is said |
//!
//! Polling is the truth. A webhook comes at most once, in any order, and is believed only as far as
//! that it is time to look.

mod hints;
mod observe;
mod parse;
mod place;
mod poller;
mod receiver;
mod since;

pub use hints::Hints;
pub use observe::{Case, KnownAgent, Observed, observe};
pub use parse::{callback, callback_path, payload, repository};
pub use poller::{Pace, Seen, Watcher};
pub use receiver::{Callback, CallbackAnswer, Received, Receiver, ReceiverError, Reception};
