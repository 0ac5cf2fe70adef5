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
    let Some(url) = steps.endpoint().or(spec.api_endpoint) else {
        return steps.failed(
            draft,
            &format!("No API endpoint configured for agent {}.", name.text()),
        );
    };
    let shown_url = steps.value(&redact_url(&url.text()));
    if let Err(wrong) = check_http_url("the API endpoint", &url.text()) {
        return steps.failed(draft, &wrong.to_string());
    }
    let payload = steps.payload(&name, &task_type)?;
    let failure = match steps.post_to_agent(&url, &payload, TIMEOUT).await {
        Ok(reply) if matches!(reply.status(), Some(200..=202)) => {
            steps.log(
                Level::Info,
                "Dispatched %r to API agent %s at %s",
                &[
                    Arg::Value(&steps.short_title()?),
                    Arg::Value(&name),
                    Arg::Value(&shown_url),
                ],
            )?;
            match steps.response(&reply)? {
                Ok(response) => {
                    return steps.outcome(Draft {
                        status: DispatchStatus::Assigned,
                        response: Some(response),
                        ..draft
                    });
                }
                Err(cause) => Failure::Failed(cause),
            }
        }
        Ok(reply) => {
            let error = format!(
                "API agent returned {}: {}",
                reply.shown_status().text(),
                steps.excerpt(&reply, 200).text()
            );
            let mut attempted = steps.failed(draft, &error)?;
            if reply.status().is_some_and(retry::is_transient) {
                let retry_after = reply
                    .header("retry-after")
                    .as_deref()
                    .and_then(retry::parse_retry_after);
                attempted.transient = Some(retry::Transient { retry_after });
            }
            return Ok(attempted);
        }
        Err(failure) => failure,
    };
    match failure {
        Failure::Escaped(escaped) => Err(escaped),
        Failure::Failed(cause) => {
            steps.log(
                Level::Warning,
                "API dispatch to %s failed: %s",
                &[Arg::Value(&shown_url), Arg::Value(&cause.shown)],
            )?;
            let attempted = steps.failed(draft, &cause.text)?;
            Ok(Attempted {
                transient: cause.transient,
                ..attempted
            })
        }
    }
}
