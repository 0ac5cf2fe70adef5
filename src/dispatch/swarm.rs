//! Dispatching from Rust: a task in, a result out.

use crate::dispatch::settings::Settings;
use crate::dispatch::swarm_steps::TaskSteps;
use crate::dispatch::swarm_values::Opaque;
use crate::dispatch::swarm_watch::Watch;
use crate::http::{Native, Transport};
#[cfg(feature = "rank")]
use crate::rank::{Inference, RankedDecision};
use crate::route::{Registry, Routes};
use crate::task::{AgentName, DispatchStatus, TaskType, UnknownName};
use crate::{dispatch::flow, watch};

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Task {
    /// A short title. A blank one is refused.
    pub title: String,
    /// The whole story.
    pub description: String,
    /// What must hold when it is done.
    pub acceptance_criteria: Vec<String>,
    /// The kind of work, where the caller knows it.
    pub task_type: Option<TaskType>,
    /// The agent, where the caller chose it.
    pub agent: Option<AgentName>,
    /// The issue to hand over on.
    pub issue_number: Option<u64>,
    /// An endpoint instead of the agent's own.
    pub api_endpoint: Option<String>,
    /// How often to try again.
    pub max_retries: u32,
}

impl Task {
    /// A task with that title, tried again once.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            max_retries: 1,
            ..Self::default()
        }
    }

    /// Sets the description.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Adds an acceptance criterion.
    #[must_use]
    pub fn criterion(mut self, criterion: impl Into<String>) -> Self {
        self.acceptance_criteria.push(criterion.into());
        self
    }

    /// Sets the issue.
    #[must_use]
    pub const fn issue(mut self, number: u64) -> Self {
        self.issue_number = Some(number);
        self
    }
}

/// How a hand-over ended.
#[derive(Debug, Clone, PartialEq)]
pub struct DispatchResult {
    /// The kind of work.
    pub task_type: TaskType,
    /// Who got it, or should have.
    pub agent: AgentName,
    /// The issue.
    pub issue_number: Option<u64>,
    /// Where it stands.
    pub status: DispatchStatus,
    /// The comment that hands it over.
    pub comment_id: Option<i64>,
    /// The label that was added.
    pub label_applied: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// How many further attempts were made.
    pub retry_count: u64,
    /// Steps that failed although the whole succeeded: `("label", reason)`.
    pub failed_steps: Vec<(&'static str, String)>,
    /// The body that an API agent answered with.
    pub response: Option<Vec<u8>>,
    /// Whether this very process has it.
    pub local: bool,
    /// What ranking made of it, where it was asked; with the reason why it is pending, where
    /// somebody must say the type.
    #[cfg(feature = "rank")]
    pub ranking: Option<RankedDecision>,
}

impl DispatchResult {
    /// Of a task that went nowhere.
    fn unsent(task: &Task, task_type: TaskType, agent: AgentName, status: DispatchStatus) -> Self {
        Self {
            task_type,
            agent: task.agent.clone().unwrap_or(agent),
            issue_number: task.issue_number,
            status,
            comment_id: None,
            label_applied: None,
            error: None,
            retry_count: 0,
            failed_steps: Vec::new(),
            response: None,
            local: false,
            #[cfg(feature = "rank")]
            ranking: None,
        }
    }

    /// Whether the task reached its agent.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.status.is_success()
    }
}

/// The agents, the routes to them and the way there.
#[derive(Clone)]
pub struct Swarm<T: Transport = Native> {
    /// Where Gitea is.
    pub settings: Settings,
    /// Who is there.
    pub registry: Registry,
    /// Who gets what.
    pub routes: Routes,
    /// How the type of a task is found that has none.
    #[cfg(feature = "rank")]
    pub inference: Inference,
    pub(crate) transport: std::sync::Arc<T>,
}

impl Swarm {
    /// The built-in agents and routes over the native transport.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::over(Native::new(), settings)
    }
}

impl<T: Transport> Swarm<T> {
    /// The built-in agents and routes over a transport of one's own.
    #[must_use]
    pub fn over(transport: T, settings: Settings) -> Self {
        Self {
            settings,
            registry: Registry::default(),
            routes: Routes::default(),
            #[cfg(feature = "rank")]
            inference: Inference::default(),
            transport: std::sync::Arc::new(transport),
        }
    }

    /// Hands a task over. Must run inside a tokio runtime. Where ranking is to ask, nothing is sent:
    /// the result is pending.
    ///
    /// # Errors
    /// [`UnknownName`] for an agent that is not in the registry. Everything else that goes wrong
    /// is a result: failed, or escalated once the attempts are used up.
    pub async fn try_dispatch(&self, task: &Task) -> Result<DispatchResult, UnknownName> {
        #[cfg(feature = "rank")]
        if task.task_type.is_none()
            && !super::swarm_steps::is_blank(&task.title)
            && let Some(ranked) = self.inference.decide(&task.title, &task.description)
        {
            let title: String = task.title.chars().take(60).collect();
            tracing::info!("Ranked task {title:?}: {ranked}");
            let mut result = self.dispatch_ranked(task, &ranked).await?;
            result.ranking = Some(ranked);
            return Ok(result);
        }
        flow::dispatch(&TaskSteps::new(self, task)).await
    }

    #[cfg(feature = "rank")]
    async fn dispatch_ranked(
        &self,
        task: &Task,
        ranked: &RankedDecision,
    ) -> Result<DispatchResult, UnknownName> {
        let task_type = ranked.task_type;
        if ranked.asks() {
            let agent = self.routes.select(task_type);
            let pending = DispatchResult::unsent(task, task_type, agent, DispatchStatus::Pending);
            self.registry.get(&pending.agent)?;
            return Ok(pending);
        }
        let task = Task {
            task_type: Some(task_type),
            ..task.clone()
        };
        flow::dispatch(&TaskSteps::new(self, &task)).await
    }

    /// As [`Swarm::try_dispatch`]; an unknown agent is a failed result too.
    pub async fn dispatch(&self, task: &Task) -> DispatchResult {
        self.try_dispatch(task).await.unwrap_or_else(|unknown| {
            let task_type = task.task_type.unwrap_or(TaskType::RoutineCoding);
            let failed = DispatchStatus::Failed;
            DispatchResult {
                error: Some(unknown.to_string()),
                ..DispatchResult::unsent(task, task_type, AgentName::TIMMY, failed)
            }
        })
    }

    /// Waits until an issue is closed: completed, timed out, or failed where the server refused
    /// three times in a row. Both times are in seconds.
    pub async fn wait_for_completion(
        &self,
        issue: u64,
        interval: f64,
        limit: f64,
    ) -> DispatchStatus {
        let watch = Watch::new(self, Opaque::from(issue), interval, limit);
        watch::poll(&watch, interval, limit)
            .await
            .unwrap_or(DispatchStatus::Failed)
    }
}
