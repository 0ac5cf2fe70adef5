//! What Python describes of a dispatcher and of a task, as JSON.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::dispatch::{Settings, Task};
use crate::durable::{
    AgentOptions, Builder, Busy, Gate, Inference, Policy, Receive, Refused, Timing, Wishes,
};
use crate::http::{Native, Secrets};
use crate::rank::{RankedClassifier, parts};
use crate::route::{AgentSpec, Registry, Routes};
use crate::task::{AgentName, TaskType};

/// A dispatcher.
#[derive(Deserialize)]
pub(super) struct Config {
    ledger: String,
    settings: Gitea,
    registry: Vec<Spec>,
    routes: Vec<(String, String)>,
    agents: Vec<(String, Known)>,
    /// Nothing: the exact rules.
    inference: Option<Ranked>,
    policy: Limits,
    timing: BTreeMap<String, f64>,
    faster: u32,
}

#[derive(Deserialize)]
struct Gitea {
    url: String,
    token: String,
    repo: String,
    enabled: bool,
}

#[derive(Deserialize)]
struct Spec {
    name: String,
    display_name: String,
    strengths: Vec<String>,
    gitea_label: Option<String>,
    max_concurrent: u32,
    interface: String,
    api_endpoint: Option<String>,
}

#[derive(Deserialize)]
struct Known {
    deadline: Option<f64>,
    idempotent: bool,
    gitea_user: Option<String>,
    timeout: Option<f64>,
}

#[derive(Deserialize)]
struct Ranked {
    below: String,
    min_confidence: f64,
    model: String,
}

#[derive(Deserialize)]
struct Limits {
    when_busy: WhenBusy,
    max_reassignments: u32,
    gates: Vec<Gate>,
    callback: Option<String>,
    receive: Option<Receiver>,
    max_in_flight: usize,
}

#[derive(Deserialize)]
struct Receiver {
    address: String,
    secret: String,
    public_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhenBusy {
    Queue,
    Fallback,
}

impl From<WhenBusy> for Busy {
    fn from(given: WhenBusy) -> Self {
        match given {
            WhenBusy::Queue => Self::Queue,
            WhenBusy::Fallback => Self::Fallback,
        }
    }
}

fn refused(why: impl Display) -> Refused {
    Refused(why.to_string())
}

fn seconds(name: &str, value: f64) -> Result<Duration, Refused> {
    match Duration::try_from_secs_f64(value) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(Refused(format!(
            "{name} is {value}; it must be a positive number of seconds"
        ))),
    }
}

fn timing(given: &BTreeMap<String, f64>, faster: u32) -> Result<Timing, Refused> {
    let mut timing = Timing::default().faster(faster);
    for (name, value) in given {
        let field = match name.as_str() {
            "heartbeat" => &mut timing.heartbeat,
            "lease" => &mut timing.lease,
            "request" => &mut timing.request,
            "margin" => &mut timing.margin,
            "quarantine" => &mut timing.quarantine,
            "grace" => &mut timing.grace,
            "deadline" => &mut timing.deadline,
            "review" => &mut timing.review,
            "backoff" => &mut timing.backoff,
            "again" => &mut timing.again,
            "poll" => &mut timing.poll,
            "single_read" => &mut timing.single_read,
            "review_poll" => &mut timing.review_poll,
            "tick" => &mut timing.tick,
            "retention" => &mut timing.retention,
            _ => return Err(Refused(format!("there is no time {name:?}"))),
        };
        *field = seconds(name, *value)?;
    }
    Ok(timing)
}

impl Ranked {
    fn inference(&self) -> Result<Inference, Refused> {
        let model = match self.model.as_str() {
            "" => None,
            path => {
                let unreadable = |why: &dyn Display| Refused(format!("the model {path}: {why}"));
                let bytes = std::fs::read(path).map_err(|why| unreadable(&why))?;
                let model = RankedClassifier::from_bytes(&bytes).map_err(|why| unreadable(&why))?;
                Some(Arc::new(model))
            }
        };
        Ok(Inference::Ranked {
            model,
            min_confidence: parts(self.min_confidence),
            below: self.below.parse().map_err(refused)?,
        })
    }
}

impl Spec {
    fn agent(&self) -> Result<AgentSpec, Refused> {
        let strengths = self.strengths.iter().map(|name| name.parse());
        Ok(AgentSpec {
            strengths: strengths.collect::<Result<_, _>>().map_err(refused)?,
            interface: self.interface.parse().map_err(refused)?,
            name: self.name.as_str().into(),
            display_name: self.display_name.clone(),
            gitea_label: self.gitea_label.clone(),
            max_concurrent: self.max_concurrent,
            api_endpoint: self.api_endpoint.clone(),
        })
    }
}

impl Config {
    pub(super) fn read(json: &str) -> Result<Self, Refused> {
        serde_json::from_str(json)
            .map_err(|why| Refused(format!("a setting cannot be read: {why}")))
    }

    /// What must not be read by people.
    pub(super) fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.add(&self.settings.token);
        secrets.add_url(&self.settings.url);
        if let Some(receive) = &self.policy.receive {
            secrets.add(&receive.secret);
        }
        secrets
    }

    /// Who is there.
    pub(super) fn registry(&self) -> Result<Registry, Refused> {
        let mut registry = Registry::empty();
        for spec in &self.registry {
            registry.insert(spec.agent()?);
        }
        Ok(registry)
    }

    pub(super) fn builder(self, transport: Native) -> Result<Builder, Refused> {
        let registry = self.registry()?;
        let settings = Settings {
            gitea_url: self.settings.url,
            gitea_token: self.settings.token,
            gitea_repo: self.settings.repo,
            gitea_enabled: self.settings.enabled,
        };
        let mut routes = Routes::default();
        for (task_type, agent) in self.routes {
            let task_type: TaskType = task_type.parse().map_err(refused)?;
            routes.set(task_type, agent.into());
        }
        let receive = self.policy.receive.map(|given| {
            let address = given.address.parse().map_err(|_| {
                let address = &given.address;
                Refused(format!(
                    "receive.address is {address:?}; it must be an IP address and a port, such as \
                     127.0.0.1:8765"
                ))
            })?;
            Ok(Receive {
                address,
                secret: given.secret,
                public_url: given.public_url,
            })
        });
        let policy = Policy {
            timing: timing(&self.timing, self.faster)?,
            inference: self
                .inference
                .map_or(Ok(Inference::Exact), |ranked| ranked.inference())?,
            when_busy: self.policy.when_busy.into(),
            max_reassignments: self.policy.max_reassignments,
            gates: self.policy.gates,
            callback: self.policy.callback,
            receive: receive.transpose()?,
            max_in_flight: self.policy.max_in_flight,
        };
        let mut builder = Builder::over(self.ledger, settings, transport)
            .team(registry, routes)
            .policy(policy);
        for (name, known) in self.agents {
            let deadline = known.deadline.map(|time| seconds("deadline", time));
            let timeout = known.timeout.map(|time| seconds("timeout", time));
            let options = AgentOptions {
                deadline: deadline.transpose()?,
                idempotent: known.idempotent,
                gitea_user: known.gitea_user,
                timeout: timeout.transpose()?,
            };
            builder = builder.agent(name, options);
        }
        Ok(builder)
    }
}

/// A task, and what is wanted of its submission.
#[derive(Deserialize)]
pub(super) struct Submission {
    title: String,
    description: String,
    acceptance_criteria: Vec<String>,
    task_type: Option<String>,
    agent: Option<String>,
    issue_number: Option<i64>,
    api_endpoint: Option<String>,
    max_retries: i64,
    inferred: Option<String>,
    wishes: Wanted,
}

#[derive(Deserialize)]
struct Wanted {
    idempotency_key: Option<String>,
    priority: i32,
    route: Vec<String>,
    when_busy: Option<WhenBusy>,
    gates: Option<Vec<Gate>>,
    max_reassignments: Option<u32>,
    repo: Option<String>,
    callback: Option<String>,
}

impl Submission {
    pub(super) fn read(json: &str) -> Result<(Task, Wishes), Refused> {
        let given: Self = serde_json::from_str(json)
            .map_err(|why| Refused(format!("the task cannot be read: {why}")))?;
        let task_type = given.task_type.map(|name| name.parse());
        let inferred = given.inferred.map(|name| name.parse());
        let issue_number = given
            .issue_number
            .map(|number| match u64::try_from(number) {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(Refused(format!("there is no issue {number}"))),
            });
        let task = Task {
            title: given.title,
            description: given.description,
            acceptance_criteria: given.acceptance_criteria,
            task_type: task_type.transpose().map_err(refused)?,
            agent: given.agent.map(AgentName::from),
            issue_number: issue_number.transpose()?,
            api_endpoint: given.api_endpoint,
            max_retries: u32::try_from(given.max_retries)
                .map_err(|_| refused("max_retries must be 0 or more"))?,
        };
        let wanted = given.wishes;
        let wishes = Wishes {
            idempotency_key: wanted.idempotency_key,
            priority: wanted.priority,
            route: wanted.route.into_iter().map(AgentName::from).collect(),
            when_busy: wanted.when_busy.map(Busy::from),
            gates: wanted.gates,
            max_reassignments: wanted.max_reassignments,
            repo: wanted.repo,
            callback: wanted.callback,
            inferred: inferred.transpose().map_err(refused)?,
        };
        Ok((task, wishes))
    }
}
