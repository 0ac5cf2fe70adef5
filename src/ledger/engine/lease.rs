//! How long this process may go on by its own clock, whatever the ledger would say, and whether the
//! ledger's clock can be trusted.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::millis;
use crate::ledger::store::LedgerError;

/// Linux's monotonic clock stands still while the machine sleeps, and the lease does not.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// So far apart the two clocks may be before nothing is left to the ledger's, in milliseconds.
const TOLERANCE: i64 = 5_000;

/// Milliseconds since some moment before the process began.
pub(in crate::ledger) fn ticks() -> i64 {
    let time = clock_gettime(CLOCK);
    time.tv_sec
        .saturating_mul(1000)
        .saturating_add(time.tv_nsec / 1_000_000)
}

#[derive(Debug)]
pub(in crate::ledger) struct Lease {
    length: i64,
    /// In [`ticks`].
    ends: AtomicI64,
    clock: Mutex<Clock>,
}

/// The last times of both clocks, and until when the ledger's is not trusted, in [`ticks`].
#[derive(Debug, Default)]
struct Clock {
    last: Option<(i64, i64)>,
    jumped: i64,
    until: i64,
}

impl Lease {
    /// One that begins now, before the ledger is told of it: so it ends no later than there.
    pub(in crate::ledger) fn new(length: Duration) -> Self {
        let length = millis(length);
        Self {
            length,
            ends: AtomicI64::new(ticks().saturating_add(length)),
            clock: Mutex::default(),
        }
    }

    /// It was renewed by a transaction that began after that tick and is kept.
    pub(super) fn renewed(&self, began: i64) {
        let ends = began.saturating_add(self.length);
        self.ends.store(ends, Ordering::SeqCst);
    }

    /// Others took over.
    pub(in crate::ledger) fn lost(&self) {
        self.ends.store(i64::MIN, Ordering::SeqCst);
    }

    pub(in crate::ledger) fn left(&self) -> Duration {
        let left = self.ends.load(Ordering::SeqCst).saturating_sub(ticks());
        u64::try_from(left).map_or(Duration::ZERO, Duration::from_millis)
    }

    /// Compares the ledger's clock, which says `now`, with the machine's. Where they have parted
    /// everybody is given one lease to renew theirs before anything is held to be over.
    pub(super) fn compare(&self, now: i64, ticks: i64) {
        let Ok(mut clock) = self.clock.lock() else {
            return;
        };
        if let Some((last, at)) = clock.last {
            let jumped = now.saturating_sub(last) - ticks.saturating_sub(at);
            if jumped.saturating_abs() > TOLERANCE {
                clock.jumped = jumped;
                clock.until = ticks.saturating_add(self.length);
            }
        }
        clock.last = Some((now, ticks));
    }

    /// Why the ledger's clock is not trusted, and for how much longer.
    pub(in crate::ledger) fn distrust(&self) -> Option<LedgerError> {
        let clock = self.clock.lock().ok()?;
        let left = clock.until.saturating_sub(ticks());
        (left > 0).then(|| LedgerError::ClockJumped {
            by: clock.jumped,
            left: left.unsigned_abs(),
        })
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

    #[test]
    fn a_clock_that_jumps_is_not_trusted_for_one_lease() {
        for jump in [-3_600_000, -5_001, 5_001, 3_600_000] {
            let lease = Lease::new(Duration::from_secs(30));
            let (now, tick) = (1_700_000_000_000, ticks());
            lease.compare(now, tick);
            lease.compare(now + 4_000, tick); // A slow answer is no jump.
            lease.compare(now, tick);
            assert_eq!(lease.distrust(), None);
            lease.compare(now + jump, tick);
            let why = lease.distrust();
            assert!(
                matches!(why, Some(LedgerError::ClockJumped { by, left })
                    if by == jump && left <= 30_000),
                "{why:?}"
            );
            lease.compare(now + jump + 1, tick + 1); // It goes on from there.
            assert!(lease.distrust().is_some());
        }
        let lease = Lease::new(Duration::ZERO);
        lease.compare(0, 0);
        lease.compare(i64::MAX, 1);
        assert_eq!(lease.distrust(), None);
    }
}
