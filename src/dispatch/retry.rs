//! How long to wait between two attempts.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The longest `Retry-After` that is kept.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// A failure that may pass by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transient {
    /// What the server asked to wait.
    pub retry_after: Option<Duration>,
}

/// The waits of one dispatch: 0.25 s doubling to 8 s, each with a jitter of up to its own length.
pub(crate) struct Waits(ExponentialBackoff);

impl Waits {
    pub(crate) fn new() -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(250))
            .with_max_delay(Duration::from_secs(8))
            .without_max_times()
            .with_jitter();
        Self(waits.build())
    }

    pub(crate) fn next(&mut self, failure: Transient) -> Duration {
        let own = self.0.next().unwrap_or(Duration::from_secs(8));
        failure
            .retry_after
            .map_or(own, |asked| asked.min(MAX_RETRY_AFTER).max(own))
    }
}

/// The value of a `Retry-After` header: seconds, or an HTTP date.
pub(crate) fn parse_retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let when = httpdate::parse_http_date(value).ok()?;
    Some(
        when.duration_since(std::time::SystemTime::now())
            .unwrap_or_default(),
    )
}

/// Whether a status says that the same request may well succeed a little later.
pub(crate) const fn is_transient(status: u16) -> bool {
    status == 429 || status >= 500
}
