//! Task type → agent: who is in the swarm, what each is good at, and who gets what.

use crate::task::{AgentName, Interface, TaskType, UnknownName};

/// What an agent can do and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSpec {
    /// The name by which routes and callers know it.
    pub name: AgentName,
    /// The name that people see.
    pub display_name: String,
    /// The task types it is best at.
    pub strengths: Vec<TaskType>,
    /// The label that makes it pick up an issue.
    pub gitea_label: Option<String>,
    /// How many tasks it may hold at once.
    pub max_concurrent: u32,
    /// How it takes its tasks.
    pub interface: Interface,
    /// Where it takes them, for [`Interface::Api`].
    pub api_endpoint: Option<String>,
}

/// The agents of the swarm. The default holds the four built-in ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry(Vec<AgentSpec>);

impl Registry {
    /// A registry without agents.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// The agent of that name.
    ///
    /// # Errors
    /// [`UnknownName`], which lists the agents that are there.
    pub fn get(&self, name: &AgentName) -> Result<&AgentSpec, UnknownName> {
        self.0
            .iter()
            .find(|spec| spec.name == *name)
            .ok_or_else(|| {
                UnknownName::new(
                    "agent",
                    name.as_str(),
                    self.0.iter().map(|s| s.name.as_str()),
                )
            })
    }

    /// Adds an agent, or replaces the one of the same name.
    pub fn insert(&mut self, spec: AgentSpec) {
        match self.0.iter_mut().find(|known| known.name == spec.name) {
            Some(known) => *known = spec,
            None => self.0.push(spec),
        }
    }

    /// Every agent, in the order of registration.
    pub fn iter(&self) -> impl Iterator<Item = &AgentSpec> {
        self.0.iter()
    }
}

impl Default for Registry {
    fn default() -> Self {
        let spec = |agent: &BuiltIn| AgentSpec {
            name: agent.name.clone(),
            display_name: agent.display_name.to_owned(),
            strengths: TaskType::ALL
                .iter()
                .copied()
                .filter(|task_type| select_agent(*task_type) == agent.name)
                .collect(),
            gitea_label: agent.gitea_label.map(str::to_owned),
            max_concurrent: agent.max_concurrent,
            interface: agent.interface,
            api_endpoint: None,
        };
        Self(BUILT_IN.iter().map(spec).collect())
    }
}

/// What is fixed of an agent that is there from the start.
pub(crate) struct BuiltIn {
    pub(crate) name: AgentName,
    pub(crate) display_name: &'static str,
    pub(crate) gitea_label: Option<&'static str>,
    max_concurrent: u32,
    pub(crate) interface: Interface,
}

/// The built-in agents, in the order of registration.
pub(crate) const BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        name: AgentName::CLAUDE_CODE,
        display_name: "Claude Code",
        gitea_label: Some("claude-ready"),
        max_concurrent: 1,
        interface: Interface::Gitea,
    },
    BuiltIn {
        name: AgentName::KIMI_CODE,
        display_name: "Kimi Code",
        gitea_label: Some("kimi-ready"),
        max_concurrent: 1,
        interface: Interface::Gitea,
    },
    BuiltIn {
        name: AgentName::AGENT_API,
        display_name: "Agent API",
        gitea_label: None,
        max_concurrent: 5,
        interface: Interface::Api,
    },
    BuiltIn {
        name: AgentName::TIMMY,
        display_name: "Timmy",
        gitea_label: None,
        max_concurrent: 1,
        interface: Interface::Local,
    },
];

/// The built-in route of a task type: the agent that is best at it.
///
/// ```
/// use timmy_dispatcher::{route::select_agent, task::{AgentName, TaskType}};
/// assert_eq!(select_agent(TaskType::Triage), AgentName::TIMMY);
/// ```
#[must_use]
pub const fn select_agent(task_type: TaskType) -> AgentName {
    match task_type {
        TaskType::Architecture
        | TaskType::Refactoring
        | TaskType::ComplexReasoning
        | TaskType::CodeReview => AgentName::CLAUDE_CODE,
        TaskType::ParallelImplementation | TaskType::RoutineCoding | TaskType::FastIteration => {
            AgentName::KIMI_CODE
        }
        TaskType::Research | TaskType::Analysis | TaskType::Specialized => AgentName::AGENT_API,
        TaskType::Triage | TaskType::Planning | TaskType::Creative | TaskType::Orchestration => {
            AgentName::TIMMY
        }
    }
}

/// Who gets which task type. The default is [`select_agent`]; single routes can be changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes(Vec<(TaskType, AgentName)>);

impl Routes {
    /// The agent that gets tasks of that type.
    #[must_use]
    pub fn select(&self, task_type: TaskType) -> AgentName {
        let changed = self.0.iter().find(|(known, _)| *known == task_type);
        changed.map_or_else(|| select_agent(task_type), |(_, agent)| agent.clone())
    }

    /// Sends a task type to another agent.
    pub fn set(&mut self, task_type: TaskType, agent: AgentName) {
        match self.0.iter_mut().find(|(known, _)| *known == task_type) {
            Some(route) => route.1 = agent,
            None => self.0.push((task_type, agent)),
        }
    }
}
