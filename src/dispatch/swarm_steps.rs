//! The native host of the flow: typed tasks, the transport of a [`Swarm`], tokio's clock.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::flow::{Draft, Steps};
use super::host::{
    Arg, Body, Cause, Failure, Fallible, GiteaClient, Host, IssueState, LabelPage, Level, Read,
    Reply, Step, Value,
};
use super::settings::{ConfigError, Settings, api_base, check_repo};
use super::swarm::{DispatchResult, Swarm, Task};
use crate::channel::comment;
use crate::gitea::{self, answer};
use crate::http::{Method, Repeat, Request, Response, Secrets, SendError, Transport};
use crate::infer::infer_task_type;
use crate::route::AgentSpec;
use crate::task::{AgentName, DispatchStatus, Interface, TaskType, UnknownName};
use crate::watch::{self, Watched};

/// Text, a number, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opaque {
    Nothing,
    Text(String),
    Number(i64),
}

impl From<u64> for Opaque {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or_else(|_| Self::Text(number.to_string()), Self::Number)
    }
}

impl From<&str> for Opaque {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Value for Opaque {
    fn text(&self) -> String {
        match self {
            Self::Nothing => "None".to_owned(),
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }

    fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    fn integer(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

impl Opaque {
    fn repr(&self) -> String {
        match self {
            Self::Text(text) => format!("'{}'", text.escape_debug()),
            other => other.text(),
        }
    }

    fn into_option(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            other => Some(other.text()),
        }
    }
}

impl Reply for Response {
    type Value = Opaque;
    type Escape = UnknownName;

    fn status(&self) -> Option<u16> {
        Some(self.status)
    }

    fn shown_status(&self) -> Opaque {
        Opaque::Number(i64::from(self.status))
    }

    fn header(&self, name: &str) -> Option<String> {
        Response::header(self, name).map(str::to_owned)
    }

    fn text(&self, limit: usize) -> Read<Opaque, Self> {
        Ok(Opaque::Text(
            Response::text(self).chars().take(limit).collect(),
        ))
    }

    fn labels_named(&self, name: &Opaque) -> Read<LabelPage<Opaque>, Self> {
        let page = answer::labels_named(self, &name.text()).map_err(|e| unreadable(self, &e))?;
        Ok(LabelPage {
            ids: page.ids.into_iter().map(Opaque::Number).collect(),
            entries: page.entries,
            found_last: page.found_last,
        })
    }

    fn id(&self) -> Read<Option<Opaque>, Self> {
        answer::id(self)
            .map(|id| id.map(Opaque::Number))
            .map_err(|e| unreadable(self, &e))
    }

    fn lacks_label(&self, id: &Opaque) -> bool {
        id.integer().is_some_and(|id| answer::lacks_label(self, id))
    }

    fn issue_state(&self) -> Read<IssueState, Self> {
        answer::issue_state(self).map_err(|e| unreadable(self, &e))
    }
}

fn unreadable(reply: &Response, error: &serde_json::Error) -> Failure<Opaque, UnknownName> {
    let text = answer::unreadable(reply, error);
    Failure::Failed(Cause {
        shown: Opaque::Text(text.clone()),
        text,
        transient: None,
    })
}

/// Gitea, as the settings describe it.
pub(crate) struct GiteaPlace {
    base: String,
    repo: String,
    authorization: String,
}

fn gitea_place(settings: &Settings) -> Option<Result<GiteaPlace, ConfigError>> {
    if !settings.gitea_enabled || settings.gitea_token.is_empty() {
        return None;
    }
    Some(api_base(&settings.gitea_url).and_then(|base| {
        check_repo(&settings.gitea_repo)?;
        let authorization = format!("token {}", settings.gitea_token);
        Ok(GiteaPlace {
            base,
            repo: settings.gitea_repo.clone(),
            authorization,
        })
    }))
}

/// Gitea over a transport.
pub(crate) struct Client<T> {
    transport: Arc<T>,
    authorization: String,
    timeout: Duration,
    secrets: Secrets,
}

fn post_body(body: &Body<'_, Opaque>) -> (Vec<u8>, Repeat) {
    #[derive(Serialize)]
    struct NewLabel {
        name: String,
        color: String,
    }
    #[derive(Serialize)]
    struct AddLabel {
        labels: [i64; 1],
    }
    #[derive(Serialize)]
    struct Comment {
        body: String,
    }
    let (json, repeat) = match body {
        Body::NewLabel { name, color } => (
            serde_json::to_vec(&NewLabel {
                name: name.text(),
                color: color.text(),
            }),
            Repeat::Unsafe,
        ),
        Body::AddLabel { id } => (
            serde_json::to_vec(&AddLabel {
                labels: [id.integer().unwrap_or_default()],
            }),
            Repeat::Safe,
        ),
        Body::Comment { text } => (
            serde_json::to_vec(&Comment { body: text.text() }),
            Repeat::Unsafe,
        ),
    };
    (json.unwrap_or_default(), repeat)
}

impl<T: Transport> Client<T> {
    async fn send<H: Host<Value = Opaque, Reply = Response>>(
        &self,
        method: Method,
        url: &str,
        body: Option<(Vec<u8>, Repeat)>,
    ) -> Fallible<Response, H> {
        let (body, repeat) =
            body.map_or((None, Repeat::Safe), |(body, repeat)| (Some(body), repeat));
        let authorization = Some(self.authorization.clone());
        let request = Request {
            method,
            url: url.to_owned(),
            authorization,
            body,
            timeout: self.timeout,
            repeat,
        };
        let sent = self.transport.send(request).await;
        sent.map_err(|error| Failure::Failed(send_failure(&error, &self.secrets)))
    }
}

fn send_failure(error: &SendError, secrets: &Secrets) -> Cause<Opaque> {
    let text = secrets.redact(&error.to_string());
    Cause {
        shown: Opaque::Text(text.clone()),
        transient: error.is_transient().then(Default::default),
        text,
    }
}

/// What the settings, and whatever else names a URL, hold that must not be read.
fn secrets_of<'a>(settings: &Settings, urls: impl Iterator<Item = &'a str>) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.add(&settings.gitea_token);
    secrets.add_url(&settings.gitea_url);
    urls.for_each(|url| secrets.add_url(url));
    secrets
}

impl<T: Transport, H: Host<Value = Opaque, Reply = Response>> GiteaClient<H> for Client<T> {
    async fn get(&self, url: &str) -> Fallible<Response, H> {
        self.send::<H>(Method::Get, url, None).await
    }

    async fn post(&self, url: &str, body: Body<'_, Opaque>) -> Fallible<Response, H> {
        self.send::<H>(Method::Post, url, Some(post_body(&body)))
            .await
    }
}

fn render(template: &str, args: &[Arg<'_, Opaque>]) -> String {
    let mut out = String::new();
    let mut args = args.iter();
    let mut parts = template.split('%');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let repr = part.starts_with('r');
        match args.next() {
            Some(Arg::Number(number)) => out.push_str(&number.to_string()),
            Some(Arg::Value(value) | Arg::Said(value)) if repr => out.push_str(&value.repr()),
            Some(Arg::Value(value) | Arg::Said(value)) => out.push_str(&value.text()),
            None => {}
        }
        out.push_str(part.get(1..).unwrap_or_default());
    }
    out
}

fn emit(level: Level, template: &str, args: &[Arg<'_, Opaque>]) {
    match level {
        Level::Info => tracing::info!("{}", render(template, args)),
        Level::Warning => tracing::warn!("{}", render(template, args)),
        Level::Error => tracing::error!("{}", render(template, args)),
    }
}

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

impl<T: Transport> Host for TaskSteps<'_, T> {
    type Value = Opaque;
    type Escape = UnknownName;
    type Reply = Response;

    fn log(
        &self,
        level: Level,
        template: &'static str,
        args: &[Arg<'_, Opaque>],
    ) -> Result<(), UnknownName> {
        emit(level, template, args);
        Ok(())
    }

    async fn sleep(&self, duration: Duration) -> Result<(), UnknownName> {
        tokio::time::sleep(duration).await;
        Ok(())
    }

    async fn wait<F>(&self, future: F) -> Result<F::Output, UnknownName>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Ok(future.await)
    }

    fn value(&self, text: &str) -> Opaque {
        Opaque::from(text)
    }

    fn number(&self, number: i64) -> Opaque {
        Opaque::Number(number)
    }

    fn redact(&self, text: &str) -> String {
        self.secrets.redact(text)
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
        Ok(Ok(Client {
            transport: self.swarm.transport.clone(),
            authorization: gitea.authorization.clone(),
            timeout,
            secrets: self.secrets.clone(),
        }))
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
fn is_blank(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// One issue that is waited for.
pub(crate) struct Watch<'a, T: Transport> {
    swarm: &'a Swarm<T>,
    issue: Opaque,
    limit: Opaque,
    interval: f64,
    secrets: Secrets,
}

impl<'a, T: Transport> Watch<'a, T> {
    pub(crate) fn new(swarm: &'a Swarm<T>, issue: Opaque, interval: f64, limit: f64) -> Self {
        Self {
            swarm,
            issue,
            limit: Opaque::Text(limit.to_string()),
            interval,
            secrets: secrets_of(&swarm.settings, std::iter::empty()),
        }
    }
}

impl<T: Transport> Host for Watch<'_, T> {
    type Value = Opaque;
    type Escape = UnknownName;
    type Reply = Response;

    fn log(
        &self,
        level: Level,
        template: &'static str,
        args: &[Arg<'_, Opaque>],
    ) -> Result<(), UnknownName> {
        emit(level, template, args);
        Ok(())
    }

    async fn sleep(&self, duration: Duration) -> Result<(), UnknownName> {
        tokio::time::sleep(duration).await;
        Ok(())
    }

    async fn wait<F>(&self, future: F) -> Result<F::Output, UnknownName>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Ok(future.await)
    }

    fn value(&self, text: &str) -> Opaque {
        Opaque::from(text)
    }

    fn number(&self, number: i64) -> Opaque {
        Opaque::Number(number)
    }

    fn redact(&self, text: &str) -> String {
        self.secrets.redact(text)
    }
}

impl<T: Transport> Watched for Watch<'_, T> {
    fn issue(&self) -> &Opaque {
        &self.issue
    }

    fn shown_limit(&self) -> &Opaque {
        &self.limit
    }

    fn issue_url(&self) -> Result<Result<String, ConfigError>, UnknownName> {
        let settings = &self.swarm.settings;
        Ok(api_base(&settings.gitea_url).and_then(|base| {
            check_repo(&settings.gitea_repo)?;
            Ok(gitea::issue_url(
                &base,
                &settings.gitea_repo,
                &self.issue.text(),
            ))
        }))
    }

    async fn ask<R: Send>(
        &self,
        url: &str,
        read: impl FnOnce(&Response) -> Fallible<R, Self> + Send,
    ) -> Fallible<Option<R>, Self> {
        let client = Client {
            transport: self.swarm.transport.clone(),
            authorization: format!("token {}", self.swarm.settings.gitea_token),
            timeout: watch::TIMEOUT,
            secrets: self.secrets.clone(),
        };
        let answer = client.send::<Self>(Method::Get, url, None).await?;
        read(&answer).map(Some)
    }

    fn sleeps_really(&self) -> bool {
        true
    }

    async fn pause(&self, rest: Option<f64>) -> Result<(), UnknownName> {
        let seconds = rest.unwrap_or(self.interval).max(0.0);
        self.sleep(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
            .await
    }
}
