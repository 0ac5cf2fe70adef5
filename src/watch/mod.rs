//! Learning that an issue ended, by asking for it again and again.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::dispatch::host::{Arg, Failure, Fallible, Host, IssueState, Level, Reply, Value};
use crate::dispatch::settings::ConfigError;
use crate::task::DispatchStatus;

/// The limit of one question.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// So many equal refusals in a row end the waiting.
const REFUSALS: u32 = 3;
/// What is left of the time is rounded up to a whole interval when it lacks less than this.
const TOLERANCE: f64 = 0.05;
/// Sums of intervals miss the limit by less than this, in seconds.
const INSTANT: f64 = 1e-9;
/// Where sleeps are replaced, real time counts from here on, in seconds.
const STALL: f64 = 1.0;

/// What watching one issue needs besides a host.
pub(crate) trait Watched: Host {
    fn issue(&self) -> &Self::Value;
    /// The longest wait, as the log shows it.
    fn shown_limit(&self) -> &Self::Value;
    /// The issue's address, or why there is none.
    fn issue_url(&self) -> Result<Result<String, ConfigError>, Self::Escape>;
    /// Asks and reads the answer before the client's life ends; `None` where the client kept
    /// what went wrong to itself.
    fn ask<T: Send>(
        &self,
        url: &str,
        read: impl FnOnce(&Self::Reply) -> Fallible<T, Self> + Send,
    ) -> impl Future<Output = Fallible<Option<T>, Self>> + Send
    where
        Self: Sized;
    /// Whether sleeping takes its time; a replaced sleep takes none.
    fn sleeps_really(&self) -> bool;
    /// Sleeps for one interval, or for the part of it that is left.
    fn pause(&self, rest: Option<f64>) -> impl Future<Output = Result<(), Self::Escape>> + Send;
}

/// What an answer says.
enum Seen<V> {
    Closed,
    Nothing,
    /// A status that does not pass, and why in words.
    Refusal(u16, V),
}

/// Asks every `interval` seconds whether the issue is closed, for at most `limit` seconds.
pub(crate) async fn poll<W: Watched>(
    watched: &W,
    interval: f64,
    limit: f64,
) -> Result<DispatchStatus, W::Escape> {
    let issue = watched.issue();
    let url = match watched.issue_url()? {
        Ok(url) => url,
        Err(wrong) => {
            let wrong = watched.value(&wrong.to_string());
            watched.log(
                Level::Warning,
                "Stopped waiting for issue #%s: %s",
                &[Arg::Value(issue), Arg::Said(&wrong)],
            )?;
            return Ok(DispatchStatus::Failed);
        }
    };
    let started = Instant::now();
    let mut slept = 0.0_f64;
    let mut refusals: (u16, u32) = (0, 0);
    loop {
        let left = || {
            // A replaced sleep takes no time, so what was asked for counts as well; and then what
            // the machine needed in between does not, for it would change what is asked for.
            let real = started.elapsed().as_secs_f64();
            if watched.sleeps_really() || real > slept + STALL {
                limit - real.max(slept)
            } else {
                limit - slept
            }
        };
        if left() <= INSTANT {
            break;
        }
        let read = |reply: &W::Reply| {
            Ok(match reply.status() {
                Some(200) => match reply.issue_state()? {
                    IssueState::Closed => {
                        watched.log(
                            Level::Info,
                            "Issue #%s closed — task completed",
                            &[Arg::Value(issue)],
                        )?;
                        Seen::Closed
                    }
                    IssueState::Open | IssueState::NoAnswer => Seen::Nothing,
                },
                Some(status @ (401 | 403 | 404 | 410)) => {
                    let refusal = watched.refusal(reply, &format!("issue #{}", issue.text()));
                    Seen::Refusal(status, refusal.shown)
                }
                _ => Seen::Nothing,
            })
        };
        match watched.ask(&url, read).await {
            Ok(Some(Seen::Closed)) => return Ok(DispatchStatus::Completed),
            Ok(Some(Seen::Refusal(status, said))) => {
                let before = if refusals.0 == status { refusals.1 } else { 0 };
                refusals = (status, before + 1);
                if refusals.1 >= REFUSALS {
                    watched.log(
                        Level::Warning,
                        "Stopped waiting for issue #%s: %s, three times in a row",
                        &[Arg::Value(issue), Arg::Said(&said)],
                    )?;
                    return Ok(DispatchStatus::Failed);
                }
            }
            Ok(Some(Seen::Nothing) | None) => refusals = (0, 0),
            Err(Failure::Failed(cause)) => {
                refusals = (0, 0);
                watched.log(
                    Level::Warning,
                    "Poll error for issue #%s: %s",
                    &[Arg::Value(issue), Arg::Said(&cause.shown)],
                )?;
            }
            Err(Failure::Escaped(escaped)) => return Err(escaped),
        }
        let left = left();
        if left <= INSTANT {
            break;
        }
        if left + TOLERANCE < interval {
            // After the last sleep nothing is asked.
            watched.pause(Some(left)).await?;
            break;
        }
        watched.pause(None).await?;
        slept += interval;
    }
    watched.log(
        Level::Warning,
        "Timed out waiting for issue #%s after %ss",
        &[Arg::Value(issue), Arg::Value(watched.shown_limit())],
    )?;
    Ok(DispatchStatus::TimedOut)
}
