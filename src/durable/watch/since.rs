//! From which time on changes are asked for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use tokio::time::Instant;

/// A time so far ahead of our own clock is somebody's mistake, or worse: changes before it would
/// not be seen.
const AHEAD: i64 = 24 * 60 * 60;

/// The greatest time that a server gave, by its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watermark {
    /// In seconds since 1970.
    at: i64,
    /// When it was first seen.
    seen: Instant,
}

impl Watermark {
    /// Takes note of a time; `now` is when it was read.
    pub(super) fn raise(watermark: &mut Option<Self>, updated_at: &str, now: Instant) {
        // One that is no help as the first: everything is listed, and then there are others.
        let at = seconds(updated_at)
            .filter(|at| (0..=ours() + AHEAD).contains(at))
            .unwrap_or(0);
        if watermark.is_none_or(|known| known.at < at) {
            *watermark = Some(Self { at, seen: now });
        }
    }

    /// Whether nothing new can bear that time: it is further back than what comes late.
    pub(super) fn is_past(self, updated_at: &str, overlap: Duration) -> bool {
        let overlap = i64::try_from(overlap.as_secs()).unwrap_or(i64::MAX);
        seconds(updated_at).is_some_and(|at| at.saturating_add(overlap) < self.at)
    }

    /// The time from which on to ask.
    ///
    /// What bears a time can come to be seen later, by as much as the overlap. So as long as the
    /// greatest time is not older than that, what bears an earlier one is asked for too. Later on
    /// there is nothing new but what bears a greater time, and the last changes, which may be
    /// many, need not be listed for ever.
    pub(super) fn since(self, now: Instant, overlap: Duration) -> String {
        let since = if now.saturating_duration_since(self.seen) <= overlap {
            let overlap = i64::try_from(overlap.as_secs()).unwrap_or(i64::MAX);
            self.at.saturating_sub(overlap).max(0)
        } else {
            self.at + 1
        };
        Timestamp::from_second(since)
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .to_string()
    }
}

/// A time of the server's, whatever its time zone.
fn seconds(text: &str) -> Option<i64> {
    let at: Timestamp = text.parse().ok()?;
    Some(at.as_second())
}

fn ours() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_overlap_is_asked_for_until_it_has_passed() {
        let mut watermark = None;
        Watermark::raise(&mut watermark, "2026-11-25T10:00:00+01:00", Instant::now());
        Watermark::raise(&mut watermark, "2026-11-25T08:59:59Z", Instant::now());
        Watermark::raise(&mut watermark, "no time", Instant::now());
        let overlap = Duration::from_secs(5);
        let since = || watermark.unwrap().since(Instant::now(), overlap);
        assert_eq!(since(), "2026-11-25T08:59:55Z");
        let is_past = |at| watermark.unwrap().is_past(at, overlap);
        assert!(is_past("2026-11-25T08:59:54Z"));
        assert!(!is_past("2026-11-25T08:59:55Z"));
        assert!(!is_past("?"));
        tokio::time::advance(overlap).await;
        assert_eq!(since(), "2026-11-25T08:59:55Z");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(since(), "2026-11-25T09:00:01Z");
    }

    #[test]
    fn a_time_far_ahead_is_not_believed() {
        let mut watermark = None;
        Watermark::raise(&mut watermark, "2099-01-01T00:00:00Z", Instant::now());
        Watermark::raise(&mut watermark, "9999-12-31T23:59:59Z", Instant::now());
        let since = |watermark: Option<Watermark>| {
            watermark
                .unwrap()
                .since(Instant::now(), Duration::from_secs(2))
        };
        assert_eq!(since(watermark), "1970-01-01T00:00:00Z");
        Watermark::raise(&mut watermark, "2026-11-25T09:00:00Z", Instant::now());
        Watermark::raise(&mut watermark, "2099-01-01T00:00:00Z", Instant::now());
        assert_eq!(since(watermark), "2026-11-25T08:59:58Z");
    }
}
