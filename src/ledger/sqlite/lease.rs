//! How long this process may go on by its own clock, whatever the ledger would say.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::millis;

/// Linux's monotonic clock stands still while the machine sleeps, and the lease does not.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Milliseconds since some moment before the process began.
pub(super) fn ticks() -> i64 {
    let time = clock_gettime(CLOCK);
    time.tv_sec
        .saturating_mul(1000)
        .saturating_add(time.tv_nsec / 1_000_000)
}

#[derive(Debug)]
pub(super) struct Lease {
    length: i64,
    /// In [`ticks`].
    ends: AtomicI64,
}

impl Lease {
    /// One that begins now, before the ledger is told of it: so it ends no later than there.
    pub(super) fn new(length: Duration) -> Self {
        let length = millis(length);
        let ends = AtomicI64::new(ticks().saturating_add(length));
        Self { length, ends }
    }

    /// It was renewed by a transaction that began after that tick and is kept.
    pub(super) fn renewed(&self, began: i64) {
        let ends = began.saturating_add(self.length);
        self.ends.store(ends, Ordering::SeqCst);
    }

    /// Others took over.
    pub(super) fn lost(&self) {
        self.ends.store(i64::MIN, Ordering::SeqCst);
    }

    pub(super) fn left(&self) -> Duration {
        let left = self.ends.load(Ordering::SeqCst).saturating_sub(ticks());
        u64::try_from(left).map_or(Duration::ZERO, Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_runs_out_by_its_own_clock_and_is_renewed_from_the_beginning_of_a_write() {
        let lease = Lease::new(Duration::from_secs(60));
        assert!(lease.left() <= Duration::from_secs(60));
        lease.renewed(ticks() - 59_000);
        assert!(lease.left() <= Duration::from_secs(1));
        lease.renewed(ticks() - 61_000);
        assert_eq!(lease.left(), Duration::ZERO);
        lease.renewed(ticks());
        assert!(lease.left() > Duration::ZERO);
        lease.lost();
        assert_eq!(lease.left(), Duration::ZERO);
    }
}
