//! Hand-over by a label and a comment on a Gitea issue.

use std::time::Duration;

use crate::dispatch::flow::{Attempted, Draft, Steps};
use crate::dispatch::host::{Arg, Cause, Level};
use crate::dispatch::retry::Transient;
use crate::task::DispatchStatus;

/// The limit of one request to Gitea.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(15);
/// The limit of the request that posts an escalation.
const ESCALATION_TIMEOUT: Duration = Duration::from_secs(10);

const NOT_CONFIGURED: &str = "Gitea integration not configured (no token or disabled).";
const BOTH_FAILED: &str = "Failed to apply label and post comment — check Gitea connectivity.";

/// Adds the agent's label, then posts the assignment.
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
    let gitea = match steps.gitea()? {
        None => return steps.failed(draft, NOT_CONFIGURED),
        Some(Err(wrong)) => return steps.failed(draft, &wrong.to_string()),
        Some(Ok(gitea)) => gitea,
    };
    let client = match steps.gitea_client(&gitea, TIMEOUT).await? {
        Ok(client) => client,
        Err(cause) => return steps.failed(draft, &cause.text),
    };
    let mut done = Exchange {
        label: None,
        comment_id: None,
        causes: Vec::new(),
    };
    let to = (&gitea, &client);
    let ended = exchange(steps, agent, &task_type, &spec, to, &mut done).await;
    steps.close(client, ended).await?;

    if done.label.is_none() && done.comment_id.is_none() {
        let mut error = BOTH_FAILED.to_owned();
        for (what, cause) in done
            .causes
            .iter()
            .filter(|(_, cause)| !cause.text.is_empty())
        {
            let separator = if error == BOTH_FAILED { " " } else { "; " };
            error.push_str(&format!("{separator}{what}: {}", cause.text));
        }
        let transient = done
            .causes
            .iter()
            .filter_map(|(_, cause)| cause.transient)
            .reduce(longer);
        let attempted = steps.failed(draft, &error)?;
        return Ok(Attempted {
            transient,
            ..attempted
        });
    }
    let nothing = steps.nothing();
    steps.log(
        Level::Info,
        "Dispatched issue #%s to %s (label=%r, comment=%s)",
        &[
            Arg::Value(steps.issue()),
            Arg::Value(&steps.display_name(&spec)?),
            Arg::Value(done.label.as_ref().unwrap_or(&nothing)),
            Arg::Value(done.comment_id.as_ref().unwrap_or(&nothing)),
        ],
    )?;
    let failed_steps = done
        .causes
        .into_iter()
        .map(|(what, cause)| (what, steps.redact(&cause.text)))
        .collect();
    steps.outcome(Draft {
        status: DispatchStatus::Assigned,
        label_applied: done.label,
        comment_id: done.comment_id,
        failed_steps,
        ..draft
    })
}

struct Exchange<V> {
    label: Option<V>,
    comment_id: Option<V>,
    causes: Vec<(&'static str, Cause<V>)>,
}

// The steps are boxed: a whole flow in one piece is of a size that malloc is slow with.
async fn exchange<S: Steps>(
    steps: &S,
    agent: &S::Value,
    task_type: &S::Value,
    spec: &S::Value,
    (gitea, client): (&S::Gitea, &S::Client),
    done: &mut Exchange<S::Value>,
) -> Result<(), S::Escape> {
    let label = steps.label(agent)?;
    let display_name = steps.display_name(spec)?;
    if let Some(label) = label {
        match Box::pin(steps.apply_label(client, gitea, &label)).await? {
            Ok(()) => {
                steps.log(
                    Level::Info,
                    "Applied label %r to issue #%s for %s",
                    &[
                        Arg::Value(&label),
                        Arg::Value(steps.issue()),
                        Arg::Value(&display_name),
                    ],
                )?;
                done.label = Some(label);
            }
            Err(cause) => {
                steps.log(
                    Level::Warning,
                    "Could not apply label %r to issue #%s",
                    &[Arg::Value(&label), Arg::Value(steps.issue())],
                )?;
                done.causes.push(("label", cause));
            }
        }
    }
    let body = steps.assignment_comment(&display_name, task_type)?;
    match Box::pin(steps.post_comment(client, gitea, &body)).await? {
        Ok(id) => done.comment_id = Some(id),
        Err(cause) => done.causes.push(("comment", cause)),
    }
    Ok(())
}

/// Tells the issue that no agent could take it. Nothing that fails here fails the dispatch.
pub(crate) async fn log_escalation<S: Steps>(
    steps: &S,
    agent: &S::Value,
    error: &S::Value,
    attempts: u64,
) -> Result<(), S::Escape> {
    let Some(gitea) = steps.gitea()? else {
        return Ok(());
    };
    let failure = match gitea {
        Err(wrong) => Some(steps.value(&wrong.to_string())),
        Ok(gitea) => {
            // A replaced step's error has not been cleaned before.
            let body = steps.escalation_comment(agent, &steps.cleaned(error), attempts)?;
            match steps.gitea_client(&gitea, ESCALATION_TIMEOUT).await? {
                Err(cause) => Some(cause.shown),
                Ok(client) => {
                    let posted = steps.post_comment(&client, &gitea, &body).await;
                    // What went wrong with the comment has been logged where it happened.
                    steps.close(client, posted.map(drop)).await?;
                    None
                }
            }
        }
    };
    match failure {
        Some(shown) => steps.log(
            Level::Warning,
            "Failed to post escalation comment: %s",
            &[Arg::Said(&shown)],
        ),
        None => Ok(()),
    }
}

fn longer(a: Transient, b: Transient) -> Transient {
    Transient {
        retry_after: a.retry_after.max(b.retry_after),
    }
}
