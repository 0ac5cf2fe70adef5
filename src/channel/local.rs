//! Hand-over to Timmy itself, in this process.

use crate::dispatch::flow::{Attempted, Draft, Steps};
use crate::dispatch::host::{Arg, Level};
use crate::task::DispatchStatus;

/// Takes the task. Carrying it out is the business of whoever embeds this.
pub(crate) fn hand_over<S: Steps>(
    steps: &S,
    explicit_type: Option<&S::Value>,
) -> Result<Attempted<S::Outcome>, S::Escape> {
    let task_type = match explicit_type {
        Some(given) => given.clone(),
        None => steps.infer()?,
    };
    steps.log(
        Level::Info,
        "Timmy handling task locally: %r (issue #%s)",
        &[Arg::Value(&steps.short_title()?), Arg::Value(steps.issue())],
    )?;
    let draft = Draft::new(task_type, steps.timmy()?);
    steps.outcome(Draft {
        status: DispatchStatus::Assigned,
        local: true,
        ..draft
    })
}
