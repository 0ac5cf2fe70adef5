//! Hand-over by an HTTP POST to an agent's own endpoint.

use std::time::Duration;

use crate::dispatch::flow::{Attempted, Draft, Steps};
use crate::dispatch::host::{Arg, Failure, Level, Reply, Value};
use crate::dispatch::retry;
use crate::dispatch::settings::check_http_url;
use crate::http::redact_url;
use crate::task::DispatchStatus;

/// The limit of the request.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Posts the task to the endpoint given, or to the agent's own.
pub(crate) async fn hand_over<S: Steps>(
    steps: &S,
    agent: &S::Value,
    explicit_type: Option<&S::Value>,
) -> Result<Attempted<S::Outcome>, S::Escape> {
    let spec = steps.spec(agent)?;
    let task_type = match explicit_type {
        Some(given) => given.clone(),
        None => steps.infer()?,
    };
    let draft = Draft::new(task_type.clone(), agent.clone());
    let name = steps.name_of(agent)?;
    let url = match steps.endpoint() {
        Some(given) => Some(given),
        None => steps.api_endpoint(&spec)?,
    };
    let Some(url) = url else {
        return steps.failed(
            draft,
            &format!("No API endpoint configured for agent {}.", name.text()),
        );
    };
    let clean = redact_url(&url.text());
    let shown_url = if clean == url.text() {
        url.clone()
    } else {
        steps.value(&clean)
    };
    // What is no text goes where it is put.
    if url.is_text()
        && let Err(wrong) = check_http_url("the API endpoint", &url.text())
    {
        return steps.failed(draft, &wrong.to_string());
    }
    let payload = steps.payload(&name, &task_type)?;
    let read = |reply: &S::Reply| {
        if matches!(reply.status(), Some(200..=202)) {
            steps.log(
                Level::Info,
                "Dispatched %r to API agent %s at %s",
                &[
                    Arg::Value(&steps.short_title()?),
                    Arg::Value(&name),
                    Arg::Said(&shown_url),
                ],
            )?;
            return Ok(steps.outcome(Draft {
                status: DispatchStatus::Assigned,
                response: Some(steps.response(reply)?),
                ..Draft::new(task_type.clone(), agent.clone())
            })?);
        }
        let text = steps.excerpt(reply, 200)?;
        let error = format!(
            "API agent returned {}: {}",
            reply.shown_status().text(),
            text.text()
        );
        let failed = steps.failed(Draft::new(task_type.clone(), agent.clone()), &error)?;
        let transient = reply.status().filter(|status| retry::is_transient(*status));
        Ok(Attempted {
            transient: transient.map(|_| retry::Transient {
                retry_after: reply
                    .header("retry-after")
                    .as_deref()
                    .and_then(retry::parse_retry_after),
            }),
            ..failed
        })
    };
    match steps.post_to_agent(&url, &payload, TIMEOUT, read).await {
        Ok(attempted) => Ok(attempted),
        Err(Failure::Escaped(escaped)) => Err(escaped),
        Err(Failure::Failed(cause)) => {
            steps.log(
                Level::Warning,
                "API dispatch to %s failed: %s",
                &[Arg::Said(&shown_url), Arg::Said(&cause.shown)],
            )?;
            let attempted = steps.failed(draft, &cause.text)?;
            Ok(Attempted {
                transient: cause.transient,
                ..attempted
            })
        }
    }
}
