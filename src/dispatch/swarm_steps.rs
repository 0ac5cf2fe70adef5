//! The native host of the flow: typed tasks, the transport of a [`Swarm`], tokio's clock.

use std::time::Duration;

use serde::Serialize;

use super::flow::{Draft, Steps};
use super::host::{Failure, Fallible, Host, Step, Value};
use super::settings::ConfigError;
use super::swarm::{DispatchResult, Swarm, Task};
use super::swarm_values::{Client, GiteaPlace, NativeHost, Opaque, gitea_place, secrets_of};
use crate::channel::comment;
use crate::gitea;
use crate::http::{Method, Repeat, Request, Response, Secrets, Transport};
use crate::infer::infer_task_type;
use crate::route::AgentSpec;
use crate::task::{AgentName, DispatchStatus, Interface, TaskType, UnknownName};

/// One task on its way.
pub(crate) struct TaskSteps<'a, T: Transport> {
    swarm: &'a Swarm<T>,
    task: &'a Task,
    issue: Opaque,
    secrets: Secrets,
}

impl<'a, T: Transport> TaskSteps<'a, T> {
    pub(crate) fn new(swarm: &'a Swarm<T>, task: &'a Task) -> Self {
        let issue = task.issue_number.map_or(Opaque::Nothing, Opaque::from);
        let endpoints = swarm.registry.iter();
        let endpoints = endpoints.filter_map(|spec| spec.api_endpoint.as_deref());
        let secrets = secrets_of(
            &swarm.settings,
            endpoints.chain(task.api_endpoint.as_deref()),
        );
        Self {
            swarm,
            task,
            issue,
            secrets,
        }
    }

    fn agent(&self, agent: &Opaque) -> Result<&'a AgentSpec, UnknownName> {
        self.swarm.registry.get(&AgentName::from(agent.text()))
    }
}

impl<T: Transport> NativeHost for TaskSteps<'_, T> {
    fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

impl<T: Transport> Steps for TaskSteps<'_, T> {
    type Outcome = DispatchResult;
    type Gitea = GiteaPlace;
    type Client = Client<T>;

    fn issue(&self) -> &Opaque {
        &self.issue
    }

    fn has_issue(&self) -> bool {
        self.task.issue_number.is_some()
    }

    fn short_title(&self) -> Result<Opaque, UnknownName> {
        Ok(Opaque::Text(self.task.title.chars().take(60).collect()))
    }

    fn explicit_type(&self) -> Option<Opaque> {
        self.task
            .task_type
            .map(|given| Opaque::from(given.as_str()))
    }

    fn explicit_agent(&self) -> Option<Opaque> {
        self.task
            .agent
            .as_ref()
            .map(|given| Opaque::from(given.as_str()))
    }

    fn endpoint(&self) -> Option<Opaque> {
        self.task
            .api_endpoint
            .as_deref()
            .filter(|url| !url.is_empty())
            .map(Opaque::from)
    }

    fn max_retries(&self) -> u64 {
        u64::from(self.task.max_retries)
    }

    fn nothing(&self) -> Opaque {
        Opaque::Nothing
    }

    fn validate(&self) -> Result<Option<DispatchResult>, UnknownName> {
        if !is_blank(&self.task.title) {
            return Ok(None);
        }
        let task_type = self
            .explicit_type()
            .unwrap_or_else(|| Opaque::from(TaskType::RoutineCoding.as_str()));
        let agent = self
            .explicit_agent()
            .unwrap_or_else(|| Opaque::from(AgentName::TIMMY.as_str()));
        let error = Some("`title` is required.".to_owned());
        self.build(Draft {
            error,
            ..Draft::new(task_type, agent)
        })
        .map(Some)
    }

    fn infer(&self) -> Result<Opaque, UnknownName> {
        Ok(Opaque::from(
            infer_task_type(&self.task.title, &self.task.description).as_str(),
        ))
    }

    fn select_agent(&self, task_type: &Opaque) -> Result<Opaque, UnknownName> {
        let agent = self.swarm.routes.select(task_type.text().parse()?);
        Ok(Opaque::from(agent.as_str()))
    }

    fn interface(&self, agent: &Opaque) -> Result<Interface, UnknownName> {
        let interface = self.agent(agent)?.interface;
        Ok(if interface == Interface::Gitea && !self.has_issue() {
            Interface::Local
        } else {
            interface
        })
    }

    fn spec(&self, agent: &Opaque) -> Result<Opaque, UnknownName> {
        self.agent(agent)?;
        Ok(agent.clone())
    }

    fn display_name(&self, agent: &Opaque) -> Result<Opaque, UnknownName> {
        Ok(Opaque::from(self.agent(agent)?.display_name.as_str()))
    }

    fn api_endpoint(&self, agent: &Opaque) -> Result<Option<Opaque>, UnknownName> {
        Ok(self.agent(agent)?.api_endpoint.as_deref().map(Opaque::from))
    }

    fn label(&self, agent: &Opaque) -> Result<Option<Opaque>, UnknownName> {
        Ok(self.agent(agent)?.gitea_label.as_deref().map(Opaque::from))
    }

    fn timmy(&self) -> Result<Opaque, UnknownName> {
        Ok(Opaque::from(AgentName::TIMMY.as_str()))
    }

    fn name_of(&self, named: &Opaque) -> Result<Opaque, UnknownName> {
        Ok(named.clone())
    }

    fn assignment_comment(
        &self,
        display_name: &Opaque,
        task_type: &Opaque,
    ) -> Result<Opaque, UnknownName> {
        let criteria = &self.task.acceptance_criteria;
        let criteria = (!criteria.is_empty()).then(|| criteria.iter().cloned());
        let pieces = comment::assignment(
            display_name.text(),
            task_type.text(),
            self.task.description.clone(),
            criteria,
        );
        Ok(Opaque::Text(comment::join(pieces)))
    }

    fn escalation_comment(
        &self,
        agent: &Opaque,
        error: &Opaque,
        attempts: u64,
    ) -> Result<Opaque, UnknownName> {
        let display_name = self.agent(agent)?.display_name.clone();
        Ok(Opaque::Text(comment::join(comment::escalation(
            display_name,
            attempts.to_string(),
            error.text(),
        ))))
    }

    fn payload(&self, agent: &Opaque, task_type: &Opaque) -> Result<Opaque, UnknownName> {
        #[derive(Serialize)]
        struct Payload<'a> {
            title: &'a str,
            description: &'a str,
            acceptance_criteria: &'a [String],
            issue_number: Option<u64>,
            agent: &'a str,
            task_type: &'a str,
        }
        let (agent, task_type) = (agent.text(), task_type.text());
        let json = serde_json::to_string(&Payload {
            title: &self.task.title,
            description: &self.task.description,
            acceptance_criteria: &self.task.acceptance_criteria,
            issue_number: self.task.issue_number,
            agent: &agent,
            task_type: &task_type,
        });
        Ok(Opaque::Text(json.unwrap_or_default()))
    }

    fn gitea(&self) -> Result<Option<Result<GiteaPlace, ConfigError>>, UnknownName> {
        Ok(gitea_place(&self.swarm.settings))
    }

    async fn gitea_client(&self, gitea: &GiteaPlace, timeout: Duration) -> Step<Client<T>, Self> {
        let (transport, authorization) = (&self.swarm.transport, &gitea.authorization);
        Ok(Ok(Client::new(
            transport.clone(),
            authorization.clone(),
            timeout,
            self.secrets.clone(),
        )))
    }

    async fn close(
        &self,
        _client: Client<T>,
        result: Result<(), UnknownName>,
    ) -> Result<(), UnknownName> {
        result
    }

    async fn post_to_agent<R: Send>(
        &self,
        url: &Opaque,
        payload: &Opaque,
        timeout: Duration,
        read: impl FnOnce(&Response) -> Fallible<R, Self> + Send,
    ) -> Fallible<R, Self> {
        let request = Request {
            method: Method::Post,
            url: url.text(),
            authorization: None,
            headers: Vec::new(),
            body: Some(payload.text().into_bytes()),
            timeout,
            repeat: Repeat::FreshOnly,
        };
        match self.swarm.transport.send(request).await {
            Ok(response) => read(&response),
            Err(error) => Err(Failure::Failed(self.send_error(&error))),
        }
    }

    fn response(&self, reply: &Response) -> Fallible<Opaque, Self> {
        Ok(Opaque::Text(reply.text()))
    }

    async fn apply_label(
        &self,
        client: &Client<T>,
        gitea: &GiteaPlace,
        label: &Opaque,
    ) -> Step<(), Self> {
        let color = Opaque::from(gitea::DEFAULT_COLOR);
        gitea::apply_label(
            self,
            client,
            &gitea.base,
            &gitea.repo,
            &self.issue,
            label,
            &color,
        )
        .await
    }

    async fn post_comment(
        &self,
        client: &Client<T>,
        gitea: &GiteaPlace,
        body: &Opaque,
    ) -> Step<Opaque, Self> {
        gitea::post_comment(self, client, &gitea.base, &gitea.repo, &self.issue, body).await
    }

    fn build(&self, draft: Draft<Opaque>) -> Result<DispatchResult, UnknownName> {
        Ok(DispatchResult {
            task_type: draft.task_type.text().parse()?,
            agent: AgentName::from(draft.agent.text()),
            issue_number: self.task.issue_number,
            status: draft.status,
            comment_id: draft.comment_id.and_then(|id| id.integer()),
            label_applied: draft.label_applied.and_then(Opaque::into_option),
            error: draft.error,
            retry_count: 0,
            failed_steps: draft.failed_steps,
            local: draft.local,
            response: draft.response.map(|body| body.text().into_bytes()),
            #[cfg(feature = "rank")]
            ranking: None,
        })
    }

    fn succeeded(&self, outcome: &DispatchResult) -> Result<bool, UnknownName> {
        Ok(outcome.is_success())
    }

    fn set_retry_count(&self, outcome: &mut DispatchResult, count: u64) -> Result<(), UnknownName> {
        outcome.retry_count = count;
        Ok(())
    }

    fn set_escalated(&self, outcome: &mut DispatchResult) -> Result<(), UnknownName> {
        outcome.status = DispatchStatus::Escalated;
        Ok(())
    }

    fn error_of(&self, outcome: &DispatchResult) -> Result<Opaque, UnknownName> {
        Ok(outcome
            .error
            .as_deref()
            .map_or(Opaque::Nothing, Opaque::from))
    }
}

/// Blank as Python's `str.strip` sees it, which takes U+001C to U+001F for blanks too.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}
