//! What is done with a ledger, whichever database keeps it: one writer per process, whose
//! transactions hold as many changes as are waiting, so that many share one `fsync`.

mod change;
mod claim;
mod effects;
mod group;
mod lease;
mod owners;
mod read;
mod statements;
mod submit;
mod upkeep;
mod waiting;
mod writer;

use std::str::FromStr;
use std::time::Duration;

use super::store::LedgerError;

pub(super) use lease::Lease;
pub(super) use owners::{Alive, enter, hold, in_force, workers};
pub(super) use read::Reader;
pub(super) use writer::{Asked, Outcome, Request, Writer};

fn parse<T: FromStr>(text: &str) -> Result<T, LedgerError>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| LedgerError::Unreadable(error.to_string()))
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Fences fit: both databases count as far as an `i64`.
fn signed(fence: u64) -> i64 {
    i64::try_from(fence).unwrap_or(i64::MAX)
}
