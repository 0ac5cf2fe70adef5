//! The flow of one hand-over: validate, route, hand over, retry, escalate.
//!
//! [`Steps`] holds every step under a name. The default of a step is the core's own function; the
//! Python host puts a replaced function in its place, and may call the default from there.

use std::future::Future;
use std::time::Duration;

use super::host::{Arg, Fallible, Host, Level, Step};
use super::retry::{Transient, Waits};
use super::settings::ConfigError;
use crate::channel::{api, gitea, local};
use crate::task::{DispatchStatus, Interface};

/// A result to be.
pub(crate) struct Draft<V> {
    pub(crate) task_type: V,
    pub(crate) agent: V,
    pub(crate) status: DispatchStatus,
    pub(crate) comment_id: Option<V>,
    pub(crate) label_applied: Option<V>,
    pub(crate) error: Option<String>,
    /// What an API agent answered.
    pub(crate) response: Option<V>,
    /// Handed to this very process.
    pub(crate) local: bool,
    /// Steps that failed although the whole succeeded, with the reason.
    pub(crate) failed_steps: Vec<(&'static str, String)>,
}

impl<V> Draft<V> {
    pub(crate) const fn new(task_type: V, agent: V) -> Self {
        Self {
            task_type,
            agent,
            status: DispatchStatus::Failed,
            comment_id: None,
            label_applied: None,
            error: None,
            response: None,
            local: false,
            failed_steps: Vec::new(),
        }
    }
}

/// The outcome of one attempt, and whether its failure may pass by itself.
pub(crate) struct Attempted<O> {
    pub(crate) outcome: O,
    pub(crate) transient: Option<Transient>,
}

/// The steps of a hand-over, and what they are about.
pub(crate) trait Steps: Host {
    type Outcome: Send + Sync;
    /// Where Gitea is and how to get in.
    type Gitea: Send + Sync;
    type Client: Send + Sync;

    // What the caller gave.
    fn issue(&self) -> &Self::Value;
    fn has_issue(&self) -> bool;
    fn short_title(&self) -> Result<Self::Value, Self::Escape>;
    fn explicit_type(&self) -> Option<Self::Value>;
    fn explicit_agent(&self) -> Option<Self::Value>;
    fn endpoint(&self) -> Option<Self::Value>;
    fn max_retries(&self) -> u64;
    fn nothing(&self) -> Self::Value;

    // Deciding.
    fn validate(&self) -> Result<Option<Self::Outcome>, Self::Escape>;
    fn infer(&self) -> Result<Self::Value, Self::Escape>;
    fn select_agent(&self, task_type: &Self::Value) -> Result<Self::Value, Self::Escape>;
    fn interface(&self, agent: &Self::Value) -> Result<Interface, Self::Escape>;
    /// What is registered of an agent; an attribute of it is read when it is needed.
    fn spec(&self, agent: &Self::Value) -> Result<Self::Value, Self::Escape>;
    fn display_name(&self, spec: &Self::Value) -> Result<Self::Value, Self::Escape>;
    fn api_endpoint(&self, spec: &Self::Value) -> Result<Option<Self::Value>, Self::Escape>;
    fn label(&self, agent: &Self::Value) -> Result<Option<Self::Value>, Self::Escape>;
    fn timmy(&self) -> Result<Self::Value, Self::Escape>;
    /// The name of an agent or a task type as text.
    fn name_of(&self, named: &Self::Value) -> Result<Self::Value, Self::Escape>;

    // Writing.
    fn assignment_comment(
        &self,
        display_name: &Self::Value,
        task_type: &Self::Value,
    ) -> Result<Self::Value, Self::Escape>;
    fn escalation_comment(
        &self,
        agent: &Self::Value,
        error: &Self::Value,
        attempts: u64,
    ) -> Result<Self::Value, Self::Escape>;
    fn payload(
        &self,
        agent: &Self::Value,
        task_type: &Self::Value,
    ) -> Result<Self::Value, Self::Escape>;

    // Gitea and HTTP. `None`: switched off or without a token.
    fn gitea(&self) -> Result<Option<Result<Self::Gitea, ConfigError>>, Self::Escape>;
    fn gitea_client(
        &self,
        gitea: &Self::Gitea,
        timeout: Duration,
    ) -> impl Future<Output = Step<Self::Client, Self>> + Send
    where
        Self: Sized;
    /// Ends a client's life, whatever `result` it came to. The client may keep what escaped.
    fn close(
        &self,
        client: Self::Client,
        result: Result<(), Self::Escape>,
    ) -> impl Future<Output = Result<(), Self::Escape>> + Send
    where
        Self: Sized;
    /// Posts to an agent and reads its answer before the client's life ends.
    fn post_to_agent<T: Send>(
        &self,
        url: &Self::Value,
        payload: &Self::Value,
        timeout: Duration,
        read: impl FnOnce(&Self::Reply) -> Fallible<T, Self> + Send,
    ) -> impl Future<Output = Fallible<T, Self>> + Send
    where
        Self: Sized;
    /// The body of an API agent's answer.
    fn response(&self, reply: &Self::Reply) -> Fallible<Self::Value, Self>
    where
        Self: Sized;
    fn apply_label(
        &self,
        client: &Self::Client,
        gitea: &Self::Gitea,
        label: &Self::Value,
    ) -> impl Future<Output = Step<(), Self>> + Send
    where
        Self: Sized;
    fn post_comment(
        &self,
        client: &Self::Client,
        gitea: &Self::Gitea,
        body: &Self::Value,
    ) -> impl Future<Output = Step<Self::Value, Self>> + Send
    where
        Self: Sized;

    // Results.
    fn build(&self, draft: Draft<Self::Value>) -> Result<Self::Outcome, Self::Escape>;
    fn succeeded(&self, outcome: &Self::Outcome) -> Result<bool, Self::Escape>;
    fn set_retry_count(&self, outcome: &mut Self::Outcome, count: u64) -> Result<(), Self::Escape>;
    fn set_escalated(&self, outcome: &mut Self::Outcome) -> Result<(), Self::Escape>;
    fn error_of(&self, outcome: &Self::Outcome) -> Result<Self::Value, Self::Escape>;

    // The channels, the log of an attempt and the escalation: the names a caller may replace.
    fn via_gitea(
        &self,
        agent: &Self::Value,
    ) -> impl Future<Output = Result<Attempted<Self::Outcome>, Self::Escape>> + Send
    where
        Self: Sized,
    {
        async { gitea::hand_over(self, agent, self.explicit_type().as_ref()).await }
    }
    fn via_api(
        &self,
        agent: &Self::Value,
    ) -> impl Future<Output = Result<Attempted<Self::Outcome>, Self::Escape>> + Send
    where
        Self: Sized,
    {
        async { api::hand_over(self, agent, self.explicit_type().as_ref()).await }
    }
    fn locally(&self) -> impl Future<Output = Result<Attempted<Self::Outcome>, Self::Escape>> + Send
    where
        Self: Sized,
    {
        async { local::hand_over(self, self.explicit_type().as_ref()) }
    }
    fn log_attempt(&self, outcome: &Self::Outcome, attempt: u64) -> Result<(), Self::Escape>
    where
        Self: Sized,
    {
        log_attempt(self, outcome, attempt)
    }
    fn log_escalation(
        &self,
        agent: &Self::Value,
        error: &Self::Value,
        attempts: u64,
    ) -> impl Future<Output = Result<(), Self::Escape>> + Send
    where
        Self: Sized,
    {
        async move { gitea::log_escalation(self, agent, error, attempts).await }
    }

    /// An attempt with that result.
    fn outcome(&self, draft: Draft<Self::Value>) -> Result<Attempted<Self::Outcome>, Self::Escape> {
        Ok(Attempted {
            outcome: self.build(draft)?,
            transient: None,
        })
    }
    /// A failed attempt with that reason.
    fn failed(
        &self,
        draft: Draft<Self::Value>,
        error: &str,
    ) -> Result<Attempted<Self::Outcome>, Self::Escape> {
        self.outcome(Draft {
            error: Some(self.redact(error)),
            ..draft
        })
    }
}

/// Takes a task to its agent.
pub(crate) async fn dispatch<S: Steps>(steps: &S) -> Result<S::Outcome, S::Escape> {
    if let Some(refused) = steps.validate()? {
        return Ok(refused);
    }
    let task_type = match steps.explicit_type() {
        Some(given) => given,
        None => steps.infer()?,
    };
    let agent = match steps.explicit_agent() {
        Some(given) => given,
        None => steps.select_agent(&task_type)?,
    };
    steps.log(
        Level::Info,
        "Dispatching task %r → %s (type=%s, issue=#%s)",
        &[
            Arg::Value(&steps.short_title()?),
            Arg::Value(&steps.name_of(&agent)?),
            Arg::Value(&steps.name_of(&task_type)?),
            Arg::Value(steps.issue()),
        ],
    )?;
    let interface = steps.interface(&agent)?;
    let mut waits = None;
    let mut attempt = 0;
    let mut outcome = loop {
        let Attempted {
            mut outcome,
            transient,
        } = match interface {
            Interface::Gitea => Box::pin(steps.via_gitea(&agent)).await?,
            Interface::Api => Box::pin(steps.via_api(&agent)).await?,
            Interface::Local => steps.locally().await?,
        };
        steps.set_retry_count(&mut outcome, attempt)?;
        if steps.succeeded(&outcome)? {
            return Ok(outcome);
        }
        steps.log_attempt(&outcome, attempt)?;
        if attempt >= steps.max_retries() {
            break outcome;
        }
        attempt += 1;
        if let Some(transient) = transient {
            let waits = waits.get_or_insert_with(Waits::new);
            steps.sleep(waits.next(transient)).await?;
        }
    };
    let attempts = attempt + 1;
    steps.set_escalated(&mut outcome)?;
    let error = steps.error_of(&outcome)?;
    steps.log(
        Level::Error,
        "Task %r escalated after %d failed attempt(s): %s",
        &[
            Arg::Value(&steps.short_title()?),
            Arg::Number(attempts),
            Arg::Said(&error),
        ],
    )?;
    if steps.has_issue() {
        Box::pin(steps.log_escalation(&agent, &error, attempts)).await?;
    }
    Ok(outcome)
}

/// Writes a failed attempt to the log.
pub(crate) fn log_attempt<S: Steps>(
    steps: &S,
    outcome: &S::Outcome,
    attempt: u64,
) -> Result<(), S::Escape> {
    if steps.succeeded(outcome)? {
        return Ok(());
    }
    let title = steps.short_title()?;
    if attempt > 0 {
        steps.log(
            Level::Info,
            "Retry %d/%d for task %r",
            &[
                Arg::Number(attempt),
                Arg::Number(steps.max_retries()),
                Arg::Value(&title),
            ],
        )?;
    }
    steps.log(
        Level::Warning,
        "Dispatch attempt %d failed for task %r: %s",
        &[
            Arg::Number(attempt + 1),
            Arg::Value(&title),
            Arg::Said(&steps.error_of(outcome)?),
        ],
    )
}
