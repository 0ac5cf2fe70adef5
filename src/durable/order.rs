//! What the ledger keeps of a task and of an agent, as JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::Wishes;
use super::settings::Busy;
use crate::dispatch::Task;
use crate::ledger::LedgerError;
use crate::ledger::machine::Plan;
use crate::route::AgentSpec;
use crate::task::TaskType;

/// A task as it was submitted, with what was decided about it then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    /// A short title.
    pub title: String,
    /// The whole story.
    pub description: String,
    /// What must hold when it is done.
    pub acceptance_criteria: Vec<String>,
    /// The kind of work, one of [`TaskType`]'s names.
    pub task_type: String,
    /// The repository, `owner/name`.
    pub repo: String,
    /// The issue in it.
    pub issue: Option<u64>,
    /// An endpoint instead of the agent's own.
    pub endpoint: Option<String>,
    /// What must hold before a closed issue counts as done.
    pub gates: Vec<Gate>,
    /// Where the owner wants to be told when a person is asked: a URL, or the name of a function.
    pub callback: Option<String>,
}

impl Order {
    /// Reads what the ledger keeps.
    ///
    /// # Errors
    /// [`LedgerError::Unreadable`] for the task of another kind of program.
    pub fn of(task: &Value) -> Result<Self, LedgerError> {
        Ok(Self::deserialize(task)?)
    }

    /// Repository and issue of what the ledger keeps, without reading all of it.
    #[must_use]
    pub fn place(task: &Value) -> Option<(&str, u64)> {
        Some((task.get("repo")?.as_str()?, task.get("issue")?.as_u64()?))
    }

    /// The task and the wishes that would make it anew, as another kind of work.
    pub(crate) fn again(self, task_type: TaskType, plan: &Plan) -> (Task, Wishes) {
        let task = Task {
            title: self.title,
            description: self.description,
            acceptance_criteria: self.acceptance_criteria,
            task_type: Some(task_type),
            agent: None,
            issue_number: self.issue,
            api_endpoint: self.endpoint,
            max_retries: plan.max_retries,
        };
        let busy = match plan.fallback.is_empty() {
            true => Busy::Queue,
            false => Busy::Fallback,
        };
        let wishes = Wishes {
            when_busy: Some(busy),
            gates: Some(self.gates),
            max_reassignments: Some(plan.max_reassignments),
            repo: Some(self.repo),
            callback: self.callback,
            ..Wishes::default()
        };
        (task, wishes)
    }

    /// The kind of work; of an unknown name ordinary work.
    #[must_use]
    pub fn kind(&self) -> TaskType {
        self.task_type.parse().unwrap_or(TaskType::RoutineCoding)
    }
}

/// What must hold before a task that its agent ended counts as done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "gate", rename_all = "snake_case")]
pub enum Gate {
    /// A pull request that the issue's history links is merged, and the checks of its last commit
    /// succeeded.
    PullRequest {
        /// Whether no checks at all are good enough.
        #[serde(default)]
        without_checks: bool,
    },
    /// The pull request has an official approving review that is neither stale nor dismissed.
    Approved,
    /// Every acceptance criterion is ticked: in the issue's text or in a comment of the agent's.
    Checklist,
    /// An endpoint that answers `{"verdict": "pass" | "fail" | "pending", "reason": …}`.
    Endpoint {
        /// Where.
        url: String,
    },
    /// A function of the program's own, by the name under which it is registered.
    Named {
        /// That name.
        name: String,
    },
}

impl Gate {
    /// What kind of gate it is, as it stands in the ledger.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::PullRequest { .. } => "pull_request",
            Self::Approved => "approved",
            Self::Checklist => "checklist",
            Self::Endpoint { .. } => "endpoint",
            Self::Named { .. } => "named",
        }
    }
}

/// What there is to know to reach an agent. Frozen with each attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// The name that people see.
    pub display_name: String,
    /// The label that makes it begin.
    pub label: Option<String>,
    /// Where it takes tasks over HTTP.
    pub endpoint: Option<String>,
    /// Its account on Gitea.
    pub gitea_user: Option<String>,
    /// How long a request to its endpoint may take, in milliseconds; nothing: 10 s.
    pub timeout: Option<u64>,
    /// Hosts beside its endpoint's on which it may be asked how it goes.
    pub status_hosts: Vec<String>,
}

impl Terms {
    /// Those of an agent of the registry.
    #[must_use]
    pub fn of_spec(spec: &AgentSpec) -> Self {
        Self {
            display_name: spec.display_name.clone(),
            label: spec.gitea_label.clone(),
            endpoint: spec.api_endpoint.clone(),
            ..Self::default()
        }
    }

    /// How long a request to its endpoint may take, or as long as anything else.
    #[must_use]
    pub fn limit(&self, otherwise: Duration) -> Duration {
        self.timeout.map_or(otherwise, Duration::from_millis)
    }

    /// Reads what the ledger keeps.
    ///
    /// # Errors
    /// [`LedgerError::Unreadable`] for those of another kind of program.
    pub fn of(terms: &Value) -> Result<Self, LedgerError> {
        if terms.is_null() {
            return Ok(Self::default());
        }
        Ok(Self::deserialize(terms)?)
    }
}
