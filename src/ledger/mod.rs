//! What must survive a crash.
//!
//! [`machine`] is the state machine of a dispatch, without I/O: a state and an event give the next
//! state and what is to be done. [`effect`] is the one of a single request to the outside, which
//! may be sent, may be lost, and must not be repeated blindly. Both are tables ([`machine::TABLE`],
//! [`effect::TABLE`]): the steps are taken from them, and so are the page and the pictures in
//! `docs/state-machine.md` ([`page`]).

pub mod effect;
pub mod machine;
mod page;

pub use page::page;
