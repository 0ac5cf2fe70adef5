//! How a ledger is opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// When a commit is about to be made or has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The changes are written, and lost if the process dies now.
    BeforeCommit,
    /// The changes are kept, and nobody was told yet.
    AfterCommit,
}

/// Called around every commit with the names of the changes in it.
type Observer = Arc<dyn Fn(Moment, &[&'static str]) + Send + Sync>;

/// How a ledger is opened.
#[derive(Clone)]
pub struct Options {
    pub(super) lease: Duration,
    pub(super) quarantine: Duration,
    pub(super) grace: Duration,
    pub(super) review: Duration,
    pub(super) backoff: Duration,
    pub(super) observer: Option<Observer>,
    pub(super) without_fence: bool,
    clock: Option<Arc<AtomicI64>>,
}

impl Default for Options {
    /// A lease of 30 s, a quarantine of 30 s, a grace of 10 minutes, 7 days for a review, and a first
    /// wait of 30 s before a retry.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            quarantine: Duration::from_secs(30),
            grace: Duration::from_secs(600),
            review: Duration::from_secs(7 * 24 * 3600),
            backoff: Duration::from_secs(30),
            observer: None,
            without_fence: false,
            clock: None,
        }
    }
}

impl Options {
    /// How long this process may be silent before others take over. Every change renews it, and
    /// [`Ledger::heartbeat`](super::Ledger::heartbeat).
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a server may still carry out a request whose answer was lost.
    #[must_use]
    pub const fn quarantine(mut self, quarantine: Duration) -> Self {
        self.quarantine = quarantine;
        self
    }

    /// How long an agent must be silent after its task was taken back, before its slot is free.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long the gates may take.
    #[must_use]
    pub const fn review(mut self, review: Duration) -> Self {
        self.review = review;
        self
    }

    /// How long to wait before an agent is tried again; twice as long each further time.
    #[must_use]
    pub const fn backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self
    }

    /// For tests: the database's clock is wrong by so many milliseconds.
    #[must_use]
    pub fn clock(mut self, offset: Arc<AtomicI64>) -> Self {
        self.clock = Some(offset);
        self
    }

    pub(super) fn clock_offset(&self) -> i64 {
        self.clock
            .as_ref()
            .map_or(0, |offset| offset.load(Ordering::SeqCst))
    }

    /// For tests, to show that they can fail: neither a lost lease nor a fence keeps anybody from
    /// anything.
    #[must_use]
    pub const fn without_fence(mut self) -> Self {
        self.without_fence = true;
        self
    }

    /// Calls `observer` before and after every commit, on the writer's task; a test can stop the
    /// process there.
    #[must_use]
    pub fn observed(
        mut self,
        observer: impl Fn(Moment, &[&'static str]) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("lease", &self.lease)
            .field("quarantine", &self.quarantine)
            .finish_non_exhaustive()
    }
}
