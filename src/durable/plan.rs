//! Who is to do a task, in which order, and what there is to say against it before it is kept.

use serde_json::{Value, json};
use uuid::Uuid;

use super::decide::decide;
use super::effects::is_name;
use super::order::{Gate, Order, Terms};
use super::settings::{Busy, Policy};
use crate::dispatch::{Settings, Task, api_base, check_http_url, check_repo};
use crate::ledger::machine::{Channel, Plan};
use crate::ledger::{Agent, Submission, without_nul};
use crate::route::{AgentSpec, Registry, Routes};
use crate::task::{AgentName, Interface, TaskType};

/// What is wanted of one submission beside the task itself. What is not given is the policy's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// A key of the caller's own: submitted again under it, it is the same dispatch.
    pub idempotency_key: Option<String>,
    /// Higher goes first.
    pub priority: i32,
    /// The agents in the order in which they are to be tried, instead of the route.
    pub route: Vec<AgentName>,
    /// What happens while its agent is busy.
    pub when_busy: Option<Busy>,
    /// What must hold before it counts as done.
    pub gates: Option<Vec<Gate>>,
    /// How often it may go to a next agent.
    pub max_reassignments: Option<u32>,
    /// Another repository than that of the settings.
    pub repo: Option<String>,
    /// Where the owner wants to be told when a person is asked: a URL, or the name of a function of
    /// [`Builder::callback`](super::Builder::callback).
    pub callback: Option<String>,
    /// The type that rules of the caller's own found: it goes before the policy's inference, and
    /// behind the task's type, which a person said.
    pub inferred: Option<TaskType>,
}

/// Why a task is not taken. The text names what is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub(crate) String);

/// Who there is, what each is good at, and where Gitea is.
#[derive(Debug, Clone)]
pub(crate) struct Team {
    pub(crate) settings: Settings,
    pub(crate) registry: Registry,
    pub(crate) routes: Routes,
    pub(crate) policy: Policy,
}

/// A task that can be submitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// What will be kept of it.
    pub order: Order,
    /// Who is to do it, and the limits.
    pub plan: Plan,
    /// How it was decided: what the ledger keeps with the submission.
    pub decided: Value,
    /// Why nobody gets it before a person has said more.
    pub hold: Option<String>,
    pub(crate) subject: Option<String>,
}

impl Planned {
    /// As the ledger takes it.
    pub(crate) fn submission(self, wishes: &Wishes) -> Submission {
        Submission {
            id: Uuid::now_v7(),
            idempotency_key: wishes.idempotency_key.clone(),
            subject: self.subject,
            task: json!(self.order),
            plan: self.plan,
            priority: wishes.priority,
            hold: self.hold,
            evidence: self.decided,
        }
    }
}

impl Team {
    /// Decides what kind of work it is and who does it, or says what is missing.
    pub(crate) fn plan(&self, task: &Task, wishes: &Wishes) -> Result<Planned, Refused> {
        if task.title.trim().is_empty() {
            return Err(Refused("`title` is required.".to_owned()));
        }
        if wishes.idempotency_key.as_deref() == Some("") {
            let empty = "`idempotency_key` is empty; leave it out, or give each task its own";
            return Err(Refused(empty.to_owned()));
        }
        let decided = decide(&self.policy.inference, task, wishes.inferred);
        let task_type = decided.task_type;
        let route = self.route(task, task_type, wishes);
        for name in &route {
            self.check(name, task)?;
        }
        let repo = wishes.repo.as_ref().unwrap_or(&self.settings.gitea_repo);
        let has_issue = task.issue_number.is_some();
        let mut subject = None;
        if let Some(issue) = task.issue_number {
            let base = self.gitea()?;
            match &wishes.repo {
                Some(named) => check_named(named)?,
                None => check_repo(repo).map_err(|wrong| Refused(wrong.to_string()))?,
            }
            subject = Some(format!("{base}/{}#{issue}", repo.to_lowercase()));
        }
        let gates = wishes.gates.as_ref().unwrap_or(&self.policy.gates).clone();
        if !has_issue
            && let Some(gate) = gates.iter().find(|gate| {
                matches!(
                    gate,
                    Gate::PullRequest { .. } | Gate::Approved | Gate::Checklist
                )
            })
        {
            let kind = gate.kind();
            return Err(Refused(format!(
                "the gate {kind:?} needs an issue; give `issue_number`"
            )));
        }
        let callback = wishes
            .callback
            .clone()
            .or_else(|| self.policy.callback.clone());
        match callback.as_deref().map(str::trim) {
            Some("") => return Err(Refused("`callback` is a URL or a name".to_owned())),
            Some(url) if !is_name(url) => {
                check_http_url("the callback", url).map_err(|wrong| Refused(wrong.to_string()))?;
            }
            _ => {}
        }
        let busy = wishes.when_busy.unwrap_or(self.policy.when_busy);
        let stands_in = |name: &&AgentName| {
            let spec = self.registry.get(name);
            spec.is_ok_and(|spec| spec.strengths.contains(&task_type))
        };
        let fallback = match busy {
            Busy::Queue => Vec::new(),
            Busy::Fallback => route
                .iter()
                .skip(1)
                .filter(stands_in)
                .map(ToString::to_string)
                .collect(),
        };
        let plan = Plan {
            max_reassignments: wishes
                .max_reassignments
                .unwrap_or(self.policy.max_reassignments),
            max_retries: task.max_retries,
            fallback,
            gated: !gates.is_empty(),
            has_issue,
            callback: callback.is_some(),
            ..Plan::new(route.iter().map(ToString::to_string))
        };
        let criteria = task.acceptance_criteria.iter();
        let order = Order {
            title: without_nul(&task.title),
            description: without_nul(&task.description),
            acceptance_criteria: criteria.map(|one| without_nul(one)).collect(),
            task_type: task_type.as_str().to_owned(),
            repo: repo.clone(),
            issue: task.issue_number,
            endpoint: task.api_endpoint.clone(),
            gates,
            callback,
        };
        Ok(Planned {
            order,
            plan,
            decided: decided.how,
            hold: decided.ask,
            subject,
        })
    }

    /// The agent that was chosen or that the routes name, and behind it whoever else is good at it.
    fn route(&self, task: &Task, task_type: TaskType, wishes: &Wishes) -> Vec<AgentName> {
        if !wishes.route.is_empty() {
            return wishes.route.clone();
        }
        let first = task
            .agent
            .clone()
            .unwrap_or_else(|| self.routes.select(task_type));
        let good = self.registry.iter().filter(|spec| {
            spec.strengths.contains(&task_type)
                && spec.name != first
                && self.check(&spec.name, task).is_ok()
        });
        let others: Vec<AgentName> = good.map(|spec| spec.name.clone()).collect();
        std::iter::once(first).chain(others).collect()
    }

    /// Whether an agent can be reached with that task.
    fn check(&self, name: &AgentName, task: &Task) -> Result<(), Refused> {
        let spec = self
            .registry
            .get(name)
            .map_err(|unknown| Refused(unknown.to_string()))?;
        match spec.interface {
            Interface::Gitea => {
                if task.issue_number.is_none() {
                    return Err(Refused(format!(
                        "{name} takes tasks by a label on an issue; give `issue_number`"
                    )));
                }
                if spec.gitea_label.is_none() {
                    return Err(Refused(format!(
                        "{name} has no label; give it `gitea_label`"
                    )));
                }
            }
            Interface::Api => {
                let endpoint = task.api_endpoint.as_ref().or(spec.api_endpoint.as_ref());
                let Some(endpoint) = endpoint else {
                    return Err(Refused(format!(
                        "No API endpoint configured for agent {name}."
                    )));
                };
                check_http_url("the API endpoint", endpoint)
                    .map_err(|wrong| Refused(wrong.to_string()))?;
            }
            Interface::Local => {}
        }
        Ok(())
    }

    /// The address of Gitea, where it can be used.
    fn gitea(&self) -> Result<String, Refused> {
        let settings = &self.settings;
        if !settings.gitea_enabled {
            return Err(Refused("Gitea is switched off: GITEA_ENABLED".to_owned()));
        }
        if settings.gitea_token.is_empty() {
            return Err(Refused(
                "there is no token for Gitea: set GITEA_TOKEN".to_owned(),
            ));
        }
        let base = api_base(&settings.gitea_url).map_err(|wrong| Refused(wrong.to_string()))?;
        Ok(crate::http::redact_url(&base))
    }
}

/// A repository that was named, and is not that of the settings.
pub(super) fn check_named(repo: &str) -> Result<(), Refused> {
    let why = |_| Refused(format!("the repository {repo:?} must be owner/name"));
    check_repo(repo).map_err(why)
}

/// What the ledger has to know of an agent.
pub(crate) fn ledger_agent(spec: &AgentSpec, own: &AgentOptions, policy: &Policy) -> Agent {
    let terms = Terms {
        gitea_user: own.gitea_user.clone(),
        timeout: own.timeout.map(millis),
        ..Terms::of_spec(spec)
    };
    Agent {
        name: spec.name.to_string(),
        channel: match spec.interface {
            Interface::Gitea => Channel::Label,
            Interface::Api => Channel::Http,
            Interface::Local => Channel::Local,
        },
        max_concurrent: spec.max_concurrent,
        deadline: millis(own.deadline.unwrap_or(policy.timing.deadline)),
        idempotent: own.idempotent,
        terms: json!(terms),
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What durable dispatching knows of an agent beside its [`AgentSpec`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentOptions {
    /// How long it has for a task; nothing: the policy's [`deadline`](super::Timing::deadline).
    pub deadline: Option<std::time::Duration>,
    /// Whether it bears being given the same task twice: a handler that may be run again after its
    /// process was lost, an endpoint that honours `Idempotency-Key`.
    pub idempotent: bool,
    /// Its account on Gitea, by which its signs of life are known.
    pub gitea_user: Option<String>,
    /// How long a request to its endpoint may take.
    pub timeout: Option<std::time::Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team() -> Team {
        Team {
            settings: Settings {
                gitea_url: "http://me:pw@git.example/".to_owned(),
                gitea_token: "t0ken!".to_owned(),
                gitea_repo: "Timmy/Swarm".to_owned(),
                gitea_enabled: true,
            },
            registry: Registry::default(),
            routes: Routes::default(),
            policy: Policy::default(),
        }
    }

    #[test]
    fn the_route_begins_with_the_best_agent_and_the_subject_names_no_password() {
        let mut team = team();
        let mut spec = team.registry.get(&AgentName::CLAUDE_CODE).unwrap().clone();
        spec.name = "claude_two".into();
        team.registry.insert(spec);
        let task = Task::new("Design the LLM router").issue(7);
        let planned = team.plan(&task, &Wishes::default()).unwrap();
        assert_eq!(planned.order.task_type, "architecture");
        assert_eq!(planned.plan.agents, ["claude_code", "claude_two"]);
        assert_eq!(planned.plan.fallback, Vec::<String>::new());
        let subject = planned.subject.unwrap();
        assert!(
            subject.ends_with("/timmy/swarm#7") && !subject.contains("pw"),
            "{subject}"
        );

        let planned = team.plan(&Task::new("a\0b").issue(7), &Wishes::default());
        assert_eq!(planned.unwrap().order.title, "a\u{fffd}b");
        let wishes = Wishes {
            when_busy: Some(Busy::Fallback),
            ..Wishes::default()
        };
        let planned = team.plan(&task, &wishes).unwrap();
        assert_eq!(planned.plan.fallback, ["claude_two"]);
    }

    #[test]
    fn what_is_missing_is_named_before_anything_is_kept() {
        let said = |change: &dyn Fn(&mut Team), task: Task| {
            let mut team = team();
            change(&mut team);
            team.plan(&task, &Wishes::default())
                .unwrap_err()
                .to_string()
        };
        let nothing = |_: &mut Team| ();
        let design = || Task::new("Design the router");
        assert_eq!(said(&nothing, Task::new(" ")), "`title` is required.");
        assert!(said(&nothing, design()).contains("give `issue_number`"));
        let research = Task::new("Research competitors").issue(1);
        assert_eq!(
            said(&nothing, research),
            "No API endpoint configured for agent agent_api."
        );
        let no_token = |team: &mut Team| team.settings.gitea_token.clear();
        assert!(said(&no_token, design().issue(1)).contains("GITEA_TOKEN"));
        let elsewhere = Wishes {
            repo: Some("swarm".to_owned()),
            ..Wishes::default()
        };
        let refused = team().plan(&design().issue(1), &elsewhere).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the repository \"swarm\" must be owner/name"
        );
        let no_repo = |team: &mut Team| team.settings.gitea_repo.clear();
        assert!(said(&no_repo, design().issue(1)).contains("GITEA_REPO"));
        let off = |team: &mut Team| team.settings.gitea_enabled = false;
        assert!(said(&off, design().issue(1)).contains("GITEA_ENABLED"));
        let mut eve = design().issue(1);
        eve.agent = Some("eve".into());
        assert!(said(&nothing, eve).contains("unknown agent \"eve\""));
    }
}
