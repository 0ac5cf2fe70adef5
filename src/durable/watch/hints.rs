//! That it is time to look, however often it is said.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

/// So many repositories are remembered; what comes on top is looked at in the usual time.
const REPOSITORIES: usize = 1_000;
/// So many deliveries are remembered.
const DELIVERIES: usize = 10_000;

/// Repositories in which something happened, most likely.
#[derive(Debug)]
pub struct Hints {
    heap: Arc<Heap>,
    gap: Duration,
    not_before: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Heap {
    repos: Mutex<HashSet<String>>,
    told: Notify,
}

impl Hints {
    /// However many come, they are given out once per gap.
    pub(super) fn new(heap: Arc<Heap>, gap: Duration) -> Self {
        Self {
            heap,
            gap,
            not_before: None,
        }
    }

    /// Waits for hints, and gives all that there are. Nothing is lost when the waiting is given up.
    pub async fn next(&mut self) -> HashSet<String> {
        while self.heap.repos().is_empty() {
            self.heap.told.notified().await;
        }
        if let Some(time) = self.not_before {
            tokio::time::sleep_until(time).await;
        }
        self.not_before = Some(Instant::now() + self.gap);
        std::mem::take(&mut *self.heap.repos())
    }
}

impl Heap {
    fn repos(&self) -> MutexGuard<'_, HashSet<String>> {
        self.repos.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, repo: String) {
        let mut repos = self.repos();
        if repos.len() < REPOSITORIES {
            repos.insert(repo);
        }
        drop(repos);
        self.told.notify_one();
    }
}

/// The last deliveries.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    known: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Deliveries {
    /// Whether it is new; it is known from then on.
    pub(super) fn is_new(&mut self, id: Uuid) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > DELIVERIES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_deliveries_are_known_and_no_more() {
        let mut deliveries = Deliveries::default();
        let id = |number: usize| Uuid::from_u128(number as u128);
        for number in 0..=DELIVERIES {
            assert!(deliveries.is_new(id(number)));
        }
        assert!(!deliveries.is_new(id(DELIVERIES)));
        assert!(!deliveries.is_new(id(1)));
        assert!(deliveries.is_new(id(0))); // forgotten
        assert_eq!(deliveries.known.len(), DELIVERIES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_one_hint_per_gap() {
        let heap = Arc::new(Heap::default());
        let gap = Duration::from_secs(1);
        let mut hints = Hints::new(Arc::clone(&heap), gap);
        let start = Instant::now();
        let flood = |count: usize| (0..count).for_each(|n| heap.put(format!("o/r{}", n % 3)));
        flood(100_000);
        assert_eq!(hints.next().await.len(), 3);
        assert_eq!(start.elapsed(), Duration::ZERO);
        flood(1);
        assert_eq!(hints.next().await, HashSet::from(["o/r0".to_owned()]));
        assert_eq!(start.elapsed(), gap);
        (0..5_000).for_each(|n| heap.put(format!("o/r{n}")));
        assert_eq!(hints.next().await.len(), REPOSITORIES);
        let none = tokio::time::timeout(gap * 10, hints.next()).await;
        assert!(none.is_err());
    }
}
