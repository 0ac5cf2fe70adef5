//! Learning that an issue ended, by asking for it again and again.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::dispatch::host::{Arg, Failure, Fallible, Host, IssueState, Level, Reply};
use crate::dispatch::settings::ConfigError;
use crate::task::DispatchStatus;

/// The limit of one question.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// So many equal refusals in a row end the waiting.
const REFUSALS: u32 = 3;
/// What is left of the time is rounded up to a whole interval when it lacks less than this.
const TOLERANCE: f64 = 0.05;

/// What watching one issue needs besides a host.
pub(crate) trait Watched: Host {
    fn issue(&self) -> &Self::Value;
    /// The longest wait, as the log shows it.
    fn shown_limit(&self) -> &Self::Value;
    /// The issue's address, or why there is none.
    fn issue_url(&self) -> Result<Result<String, ConfigError>, Self::Escape>;
    fn ask(&self, url: &str) -> impl Future<Output = Fallible<Self::Reply, Self>> + Send
    where
        Self: Sized;
    /// Sleeps for one interval, or for the part of it that is left.
    fn pause(&self, rest: Option<f64>) -> impl Future<Output = Result<(), Self::Escape>> + Send;
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
                &[Arg::Value(issue), Arg::Value(&wrong)],
            )?;
            return Ok(DispatchStatus::Failed);
        }
    };
    let started = Instant::now();
    let mut slept = 0.0_f64;
    let mut refusals: (u16, u32) = (0, 0);
    loop {
        // A replaced sleep takes no time, so what was asked for counts as well.
        if started.elapsed().as_secs_f64().max(slept) >= limit {
            break;
        }
        match watched.ask(&url).await {
            Ok(reply) => match reply.status() {
                Some(200) => {
                    refusals = (0, 0);
                    match reply.issue_state() {
                        Ok(IssueState::Closed) => {
                            watched.log(
                                Level::Info,
                                "Issue #%s closed — task completed",
                                &[Arg::Value(issue)],
                            )?;
                            return Ok(DispatchStatus::Completed);
                        }
                        Ok(IssueState::Open | IssueState::NoAnswer) => {}
                        Err(cause) => poll_error(watched, &cause.shown)?,
                    }
                }
                Some(status @ (401 | 403 | 404 | 410)) => {
                    refusals = (
                        status,
                        if refusals.0 == status {
                            refusals.1 + 1
                        } else {
                            1
                        },
                    );
                    if refusals.1 >= REFUSALS {
                        let subject =
                            format!("issue #{}", crate::dispatch::host::Value::text(issue));
                        let cause = watched.refusal(&reply, &subject);
                        watched.log(
                            Level::Warning,
                            "Stopped waiting for issue #%s: %s, three times in a row",
                            &[Arg::Value(issue), Arg::Value(&cause.shown)],
                        )?;
                        return Ok(DispatchStatus::Failed);
                    }
                }
                _ => refusals = (0, 0),
            },
            Err(Failure::Failed(cause)) => {
                refusals = (0, 0);
                poll_error(watched, &cause.shown)?;
            }
            Err(Failure::Escaped(escaped)) => return Err(escaped),
        }
        let left = limit - started.elapsed().as_secs_f64().max(slept);
        if left <= 0.0 {
            break;
        }
        if left + TOLERANCE >= interval {
            watched.pause(None).await?;
            slept += interval;
        } else {
            watched.pause(Some(left)).await?;
            break;
        }
    }
    watched.log(
        Level::Warning,
        "Timed out waiting for issue #%s after %ss",
        &[Arg::Value(issue), Arg::Value(watched.shown_limit())],
    )?;
    Ok(DispatchStatus::TimedOut)
}

fn poll_error<W: Watched>(watched: &W, shown: &W::Value) -> Result<(), W::Escape> {
    watched.log(
        Level::Warning,
        "Poll error for issue #%s: %s",
        &[Arg::Value(watched.issue()), Arg::Value(shown)],
    )
}
