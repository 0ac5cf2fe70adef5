//! The life of a dispatch: (state, event) → (state, commands), without I/O.
//!
//! What holds, whatever happens in whatever order:
//!
//! - A dispatch has at most one live attempt, and an attempt at most one slot.
//! - An attempt that ends has been withdrawn first: what it put on the issue is taken back or
//!   settled. Only an issue that is gone ends it at once, for there is nothing left to take back.
//! - The fence only rises. What names another fence changes nothing.
//! - A dispatch that waits says why.
//! - Only a retry leaves a terminal phase, under a new fence.
//!
//! ```
//! use timmy_dispatcher::ledger::machine::{Channel, Dispatch, Event, Phase, Plan};
//!
//! let mut dispatch = Dispatch::new(Plan::new(["claude_code"]));
//! let commands = dispatch.apply(&Event::Claimed {
//!     agent: "claude_code".to_owned(),
//!     channel: Channel::Label,
//!     idempotent: false,
//! }).unwrap();
//! assert_eq!(dispatch.phase, Phase::HandingOver);
//! assert_eq!(dispatch.fence, 1);
//! assert_eq!(commands.len(), 4); // begin the attempt, take the slot, send comment and label
//! assert!(dispatch.apply(&Event::SignOfLife { fence: 7 }).is_none()); // stale: nothing changes
//! ```

mod event;
mod phase;
mod state;
mod table;

pub use event::{Closer, Event, EventKind, Settled};
pub use phase::{Next, Phase};
pub use state::{Attempt, Channel, Command, Dispatch, Effect, Plan, SlotHold, Timer};
pub use table::{Action, Guard, TABLE, To, Transition};
