//! The Python host of the flow: every step goes through the name that stands for it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyBaseException, PyTypeError, PyUnicodeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::client::{self, PyClient};
use super::drive::Slot;
use super::seams::{Name, Seams, call};
use super::values::{PyReply, PyValue, cause_of, first, is_ordinary, text_of};
use crate::channel;
use crate::dispatch::flow::{Attempted, Draft, Steps};
use crate::dispatch::host::{Arg, Cause, Failure, Fallible, Host, Level, Step, Value};
use crate::dispatch::settings::{ConfigError, api_base, check_repo};
use crate::gitea;
use crate::http::Secrets;
use crate::task::{DispatchStatus, Interface};

/// So much of a title is shown in the log, in code points.
const SHOWN_TITLE: usize = 60;

/// One hand-over as Python asked for it. What was not given is None.
pub(super) struct PyHost {
    pub(super) seams: Py<Seams>,
    pub(super) slot: Arc<Slot>,
    pub(super) title: PyValue,
    pub(super) description: PyValue,
    pub(super) criteria: PyValue,
    pub(super) task_type: Option<PyValue>,
    pub(super) agent: Option<PyValue>,
    pub(super) issue: PyValue,
    pub(super) endpoint: PyValue,
    pub(super) max_retries: u64,
    /// As the caller wrote it.
    pub(super) given_retries: PyValue,
    pub(super) token: OnceLock<String>,
    pub(super) secrets: Mutex<Secrets>,
}

/// Gitea, as the settings describe it at this moment.
pub(super) struct PyGitea {
    pub(super) base: String,
    pub(super) repo: PyValue,
    pub(super) authorization: String,
    headers: Py<PyAny>,
}

impl PyHost {
    pub(super) fn new(py: Python<'_>, seams: &Bound<'_, Seams>) -> Self {
        Self {
            seams: seams.clone().unbind(),
            slot: Arc::default(),
            title: PyValue::none(py),
            description: PyValue::none(py),
            criteria: PyValue::none(py),
            task_type: None,
            agent: None,
            issue: PyValue::none(py),
            endpoint: PyValue::none(py),
            max_retries: 0,
            given_retries: PyValue::none(py),
            token: OnceLock::new(),
            secrets: Mutex::default(),
        }
    }

    /// Keeps what an exchange needs to get in out of everything that people read.
    fn hide(&self, token: Option<&str>, url: &str) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = token {
            secrets.add(token);
        }
        secrets.add_url(url);
    }

    fn call(&self, name: Name, arguments: &[&PyValue]) -> PyResult<PyValue> {
        Python::attach(|py| Ok(call(py, &self.seams.get().get(py, name)?, arguments)?.into()))
    }

    /// The coroutine of a replaced function, if it is replaced.
    fn replaced(&self, name: Name, arguments: &[&PyValue]) -> PyResult<Option<Py<PyAny>>> {
        Python::attach(|py| match self.seams.get().replacement(py, name)? {
            Some(function) => Ok(Some(call(py, &function, arguments)?.unbind())),
            None => Ok(None),
        })
    }

    fn is_replaced(&self, name: Name) -> PyResult<bool> {
        Python::attach(|py| Ok(self.seams.get().replacement(py, name)?.is_some()))
    }

    fn member(&self, py: Python<'_>, status: DispatchStatus) -> PyResult<Py<PyAny>> {
        let members = self.seams.get().get(py, name!("DispatchStatus"))?;
        Ok(members.call1((status.as_str(),))?.unbind())
    }

    /// The settings' addresses and token, without a look at whether they are in use.
    pub(super) fn place(&self) -> PyResult<Result<PyGitea, ConfigError>> {
        Python::attach(|py| {
            let settings = self.seams.get().get(py, name!("settings"))?;
            let url = settings.getattr(intern!(py, "gitea_url"))?;
            let repo = settings.getattr(intern!(py, "gitea_repo"))?;
            let token = text_of(&settings.getattr(intern!(py, "gitea_token"))?);
            let _ = self.token.set(token.clone());
            self.hide(Some(&token), &text_of(&url));
            // A mock's attribute is no text; it goes where the reference would put it.
            let base = if url.is_instance_of::<PyString>() {
                match api_base(&text_of(&url)) {
                    Ok(base) => base,
                    Err(wrong) => return Ok(Err(wrong)),
                }
            } else {
                format!("{}/api/v1", text_of(&url))
            };
            if repo.is_instance_of::<PyString>()
                && let Err(wrong) = check_repo(&text_of(&repo))
            {
                return Ok(Err(wrong));
            }
            let authorization = format!("token {token}");
            let headers = PyDict::new(py);
            headers.set_item(intern!(py, "Authorization"), &authorization)?;
            headers.set_item(intern!(py, "Content-Type"), "application/json")?;
            Ok(Ok(PyGitea {
                base,
                repo: repo.into(),
                authorization,
                headers: headers.into_any().unbind(),
            }))
        })
    }

    /// What a server or an exception said, without secrets. Only texts and exceptions are looked into.
    fn shown(&self, value: &PyValue) -> PyValue {
        Python::attach(|py| {
            let object = value.0.bind(py);
            if object.is_instance_of::<PyString>() {
                return self.cleaned(value);
            }
            if !object.is_instance_of::<PyBaseException>() {
                return value.clone();
            }
            // A handler may look into an exception; a UnicodeError holds the whole text.
            let parts = object.repr().map(|repr| text_of(&repr)).unwrap_or_default();
            if object.is_instance_of::<PyUnicodeError>() || self.redact(&parts) != parts {
                return self.value(&self.redact(&text_of(object)));
            }
            self.cleaned(value)
        })
    }

    /// An agent's document without what it was told to let us in, should it repeat that.
    fn cleaned_document(&self, py: Python<'_>, document: PyValue) -> PyResult<PyValue> {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if secrets.is_empty() {
            return Ok(document);
        }
        let json = py.import("json")?;
        // What is no JSON is a mock's.
        let Ok(text) = json.call_method1("dumps", (&document.0,)) else {
            return Ok(document);
        };
        match secrets.without(&text_of(&text)) {
            Some(clean) => Ok(json.call_method1("loads", (clean,))?.into()),
            None => Ok(document),
        }
    }

    async fn with_helper(
        &self,
        name: Name,
        client: &PyClient,
        gitea: &PyGitea,
        last: &PyValue,
    ) -> PyResult<PyValue> {
        let opened = client.open_for_helper().await?;
        let base = self.value(&gitea.base);
        let headers = Python::attach(|py| PyValue(gitea.headers.clone_ref(py)));
        let arguments = [&opened, &base, &gitea.repo, &headers, &self.issue, last];
        let called = Python::attach(|py| -> PyResult<Py<PyAny>> {
            Ok(call(py, &self.seams.get().get(py, name)?, &arguments)?.unbind())
        })?;
        self.slot.ask(called).await
    }

    pub(super) fn with_token(self, base: &str, headers: &Bound<'_, PyAny>) -> Self {
        self.hide(None, base);
        // The helpers get their token inside the headers.
        if let Ok(value) = headers.get_item("Authorization") {
            let text = text_of(&value);
            let token = text
                .split_once(' ')
                .map_or(text.as_str(), |(_, token)| token);
            self.hide(Some(token), "");
        }
        self
    }
}

impl Host for PyHost {
    type Value = PyValue;
    type Escape = PyErr;
    type Reply = PyReply;

    fn log(&self, level: Level, template: &'static str, args: &[Arg<'_, PyValue>]) -> PyResult<()> {
        Python::attach(|py| {
            let logger = self.seams.get().get(py, name!("logger"))?;
            let mut arguments = vec![PyString::intern(py, template).into_any()];
            for arg in args {
                arguments.push(match arg {
                    Arg::Number(number) => number.into_pyobject(py)?.into_any(),
                    Arg::Value(value) => value.0.bind(py).clone(),
                    Arg::Said(value) => self.shown(value).0.into_bound(py),
                });
            }
            let method = match level {
                Level::Info => "info",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            logger.call_method1(method, pyo3::types::PyTuple::new(py, arguments)?)?;
            Ok(())
        })
    }

    async fn sleep(&self, duration: Duration) -> PyResult<()> {
        let sleeping = Python::attach(|py| -> PyResult<Py<PyAny>> {
            let asyncio = self.seams.get().get(py, name!("asyncio"))?;
            Ok(asyncio
                .call_method1(intern!(py, "sleep"), (duration.as_secs_f64(),))?
                .unbind())
        })?;
        self.slot.ask(sleeping).await?;
        Ok(())
    }

    async fn wait<F>(&self, future: F) -> PyResult<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (done, result) = tokio::sync::oneshot::channel();
        let waiting = Python::attach(|py| -> PyResult<Py<PyAny>> {
            let waiting = async move {
                let _ = done.send(future.await);
            };
            Ok(super::runtime::awaitable(py, waiting)?.unbind())
        })?;
        self.slot.ask(waiting).await?;
        let mut result = result;
        result.try_recv().map_err(|_| {
            pyo3::exceptions::PyRuntimeError::new_err("the dispatcher is shutting down")
        })
    }

    fn value(&self, text: &str) -> PyValue {
        Python::attach(|py| PyValue::string(py, text))
    }

    fn number(&self, number: i64) -> PyValue {
        Python::attach(|py| PyValue(pyo3::types::PyInt::new(py, number).into_any().unbind()))
    }

    fn redact(&self, text: &str) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.redact(text)
    }
}

impl Steps for PyHost {
    type Outcome = Py<PyAny>;
    type Gitea = PyGitea;
    type Client = PyClient;

    fn issue(&self) -> &PyValue {
        &self.issue
    }

    fn has_issue(&self) -> bool {
        Python::attach(|py| !self.issue.0.bind(py).is_none())
    }

    fn short_title(&self) -> PyResult<PyValue> {
        Python::attach(|py| {
            let title = self.title.0.bind(py);
            // The usual title is short, and cut to itself.
            if title.is_exact_instance_of::<PyString>() && title.len()? <= SHOWN_TITLE {
                return Ok(self.title.clone());
            }
            first(title, SHOWN_TITLE)
        })
    }

    fn explicit_type(&self) -> Option<PyValue> {
        self.task_type.clone()
    }

    fn explicit_agent(&self) -> Option<PyValue> {
        self.agent.clone()
    }

    fn endpoint(&self) -> Option<PyValue> {
        Python::attach(|py| {
            self.endpoint
                .is_true(py)
                .unwrap_or(true)
                .then(|| self.endpoint.clone())
        })
    }

    fn max_retries(&self) -> u64 {
        self.max_retries
    }

    fn nothing(&self) -> PyValue {
        Python::attach(PyValue::none)
    }

    fn validate(&self) -> PyResult<Option<Py<PyAny>>> {
        // `dispatch_task` did, before it looked for strangers.
        Ok(None)
    }

    fn infer(&self) -> PyResult<PyValue> {
        self.call(name!("infer_task_type"), &[&self.title, &self.description])
    }

    fn select_agent(&self, task_type: &PyValue) -> PyResult<PyValue> {
        self.call(name!("select_agent"), &[task_type])
    }

    fn interface(&self, agent: &PyValue) -> PyResult<Interface> {
        let strategy = self.call(name!("_select_dispatch_strategy"), &[agent, &self.issue])?;
        Python::attach(|py| {
            let is = |name: &str| strategy.0.bind(py).eq(name);
            Ok(if is("gitea")? {
                Interface::Gitea
            } else if is("api")? {
                Interface::Api
            } else {
                Interface::Local
            })
        })
    }

    fn spec(&self, agent: &PyValue) -> PyResult<PyValue> {
        Python::attach(|py| {
            let registry = self.seams.get().get(py, name!("AGENT_REGISTRY"))?;
            Ok(registry.get_item(&agent.0)?.into())
        })
    }

    fn display_name(&self, spec: &PyValue) -> PyResult<PyValue> {
        Python::attach(|py| Ok(spec.0.bind(py).getattr(intern!(py, "display_name"))?.into()))
    }

    fn api_endpoint(&self, spec: &PyValue) -> PyResult<Option<PyValue>> {
        Python::attach(|py| {
            let endpoint = PyValue::from(spec.0.bind(py).getattr(intern!(py, "api_endpoint"))?);
            Ok(endpoint.is_true(py)?.then_some(endpoint))
        })
    }

    fn label(&self, agent: &PyValue) -> PyResult<Option<PyValue>> {
        let label = self.call(name!("_select_label"), &[agent])?;
        Python::attach(|py| Ok(label.is_true(py)?.then_some(label)))
    }

    fn timmy(&self) -> PyResult<PyValue> {
        Python::attach(|py| {
            Ok(self
                .seams
                .get()
                .get(py, name!("AgentType"))?
                .getattr(intern!(py, "TIMMY"))?
                .into())
        })
    }

    fn name_of(&self, named: &PyValue) -> PyResult<PyValue> {
        Python::attach(|py| {
            let named = named.0.bind(py);
            match named.getattr(intern!(py, "value")) {
                Ok(name) => Ok(name.into()),
                // A host's own agent may be registered under plain text.
                Err(_) if named.is_instance_of::<PyString>() => Ok(named.clone().into()),
                Err(error) => Err(error),
            }
        })
    }

    fn assignment_comment(&self, display_name: &PyValue, task_type: &PyValue) -> PyResult<PyValue> {
        self.call(
            name!("_format_assignment_comment"),
            &[display_name, task_type, &self.description, &self.criteria],
        )
    }

    fn escalation_comment(
        &self,
        agent: &PyValue,
        error: &PyValue,
        attempts: u64,
    ) -> PyResult<PyValue> {
        let display_name = self.display_name(&self.spec(agent)?)?;
        Python::attach(|py| {
            let attempts = PyValue(attempts.into_pyobject(py)?.into_any().unbind());
            join(
                py,
                channel::comment::escalation(display_name, attempts, error.clone()),
            )
        })
    }

    fn payload(&self, agent: &PyValue, task_type: &PyValue) -> PyResult<PyValue> {
        let task_type = self.name_of(task_type)?;
        Python::attach(|py| {
            let payload = PyDict::new(py);
            payload.set_item(intern!(py, "title"), &self.title.0)?;
            payload.set_item(intern!(py, "description"), &self.description.0)?;
            payload.set_item(intern!(py, "acceptance_criteria"), &self.criteria.0)?;
            payload.set_item(intern!(py, "issue_number"), &self.issue.0)?;
            payload.set_item(intern!(py, "agent"), &agent.0)?;
            payload.set_item(intern!(py, "task_type"), &task_type.0)?;
            Ok(payload.into_any().into())
        })
    }

    fn gitea(&self) -> PyResult<Option<Result<PyGitea, ConfigError>>> {
        let in_use = Python::attach(|py| -> PyResult<bool> {
            let settings = self.seams.get().get(py, name!("settings"))?;
            Ok(settings
                .getattr(intern!(py, "gitea_enabled"))?
                .is_truthy()?
                && settings.getattr(intern!(py, "gitea_token"))?.is_truthy()?)
        })?;
        if in_use {
            self.place().map(Some)
        } else {
            Ok(None)
        }
    }

    async fn gitea_client(&self, gitea: &PyGitea, timeout: Duration) -> Step<PyClient, Self> {
        let headers = Python::attach(|py| gitea.headers.clone_ref(py));
        let client = PyClient::new(
            self,
            timeout,
            Some(gitea.authorization.clone()),
            Some(headers),
        );
        match client.open_if_chosen().await.map_err(client::failure) {
            Ok(_) => Ok(Ok(client)),
            Err(Failure::Failed(cause)) => Ok(Err(self.clean(cause))),
            Err(Failure::Escaped(escaped)) => Err(escaped),
        }
    }

    async fn close(&self, client: PyClient, result: PyResult<()>) -> PyResult<()> {
        if client.exit(result.as_ref().err()).await? {
            return Ok(());
        }
        result
    }

    async fn post_to_agent<T: Send>(
        &self,
        url: &PyValue,
        payload: &PyValue,
        timeout: Duration,
        read: impl FnOnce(&PyReply) -> Fallible<T, Self> + Send,
    ) -> Fallible<T, Self> {
        self.hide(None, &url.text());
        let client = PyClient::new(self, timeout, None, None);
        let posted = match client.post_document(self, url, payload).await {
            Ok(reply) => read(&reply),
            Err(failure) => Err(failure),
        };
        let raised = client::raised(&posted);
        client
            .exit(raised.as_ref())
            .await
            .map_err(client::failure)?;
        posted.map_err(|failure| match failure {
            Failure::Failed(cause) => Failure::Failed(self.clean(cause)),
            escaped => escaped,
        })
    }

    fn response(&self, reply: &PyReply) -> Fallible<PyValue, Self> {
        let read = |py: Python<'_>| self.cleaned_document(py, reply.document(py)?);
        Python::attach(read).map_err(|error| {
            let mut failure = client::failure(error);
            if let (Failure::Failed(cause), PyReply::Native(answer)) = (&mut failure, reply) {
                cause.text += &gitea::answer::encoding(answer).unwrap_or_default();
            }
            failure
        })
    }

    async fn apply_label(
        &self,
        client: &PyClient,
        gitea: &PyGitea,
        label: &PyValue,
    ) -> Step<(), Self> {
        if self.is_replaced(name!("_apply_gitea_label"))? {
            let applied = self
                .with_helper(name!("_apply_gitea_label"), client, gitea, label)
                .await?;
            let applied = Python::attach(|py| applied.is_true(py))?;
            return Ok(if applied {
                Ok(())
            } else {
                Err(self.unexplained())
            });
        }
        let color = self.value(gitea::DEFAULT_COLOR);
        let repo = gitea.repo.text();
        gitea::apply_label(
            self,
            &(client, self),
            &gitea.base,
            &repo,
            &self.issue,
            label,
            &color,
        )
        .await
    }

    async fn post_comment(
        &self,
        client: &PyClient,
        gitea: &PyGitea,
        body: &PyValue,
    ) -> Step<PyValue, Self> {
        if self.is_replaced(name!("_post_gitea_comment"))? {
            let id = self
                .with_helper(name!("_post_gitea_comment"), client, gitea, body)
                .await?;
            let given = Python::attach(|py| !id.0.bind(py).is_none());
            return Ok(if given {
                Ok(id)
            } else {
                Err(self.unexplained())
            });
        }
        gitea::post_comment(
            self,
            &(client, self),
            &gitea.base,
            &gitea.repo.text(),
            &self.issue,
            body,
        )
        .await
    }

    fn build(&self, draft: Draft<PyValue>) -> PyResult<Py<PyAny>> {
        Python::attach(|py| {
            let fields = PyDict::new(py);
            fields.set_item(intern!(py, "task_type"), &draft.task_type.0)?;
            fields.set_item(intern!(py, "agent"), &draft.agent.0)?;
            fields.set_item(intern!(py, "issue_number"), &self.issue.0)?;
            fields.set_item(intern!(py, "status"), self.member(py, draft.status)?)?;
            if let Some(id) = &draft.comment_id {
                fields.set_item(intern!(py, "comment_id"), &id.0)?;
            }
            if let Some(label) = &draft.label_applied {
                fields.set_item(intern!(py, "label_applied"), &label.0)?;
            }
            if let Some(error) = &draft.error {
                fields.set_item(intern!(py, "error"), error)?;
            }
            let metadata = PyDict::new(py);
            if let Some(response) = &draft.response {
                metadata.set_item(intern!(py, "response"), &response.0)?;
            }
            if draft.local {
                metadata.set_item(intern!(py, "local"), true)?;
                metadata.set_item(intern!(py, "description"), &self.description.0)?;
            }
            if !draft.failed_steps.is_empty() {
                let steps = PyDict::new(py);
                for (step, reason) in &draft.failed_steps {
                    steps.set_item(
                        step,
                        if reason.is_empty() {
                            "failed"
                        } else {
                            reason.as_str()
                        },
                    )?;
                }
                metadata.set_item(intern!(py, "failed_steps"), steps)?;
            }
            fields.set_item(intern!(py, "metadata"), metadata)?;
            Ok(self
                .seams
                .get()
                .get(py, name!("DispatchResult"))?
                .call((), Some(&fields))?
                .unbind())
        })
    }

    fn succeeded(&self, outcome: &Py<PyAny>) -> PyResult<bool> {
        Python::attach(|py| {
            outcome
                .bind(py)
                .getattr(intern!(py, "success"))?
                .is_truthy()
        })
    }

    fn set_retry_count(&self, outcome: &mut Py<PyAny>, count: u64) -> PyResult<()> {
        Python::attach(|py| outcome.bind(py).setattr("retry_count", count))
    }

    fn set_escalated(&self, outcome: &mut Py<PyAny>) -> PyResult<()> {
        Python::attach(|py| {
            outcome
                .bind(py)
                .setattr("status", self.member(py, DispatchStatus::Escalated)?)
        })
    }

    fn error_of(&self, outcome: &Py<PyAny>) -> PyResult<PyValue> {
        Python::attach(|py| Ok(outcome.bind(py).getattr(intern!(py, "error"))?.into()))
    }

    async fn via_gitea(&self, agent: &PyValue) -> PyResult<Attempted<Py<PyAny>>> {
        let arguments = [
            agent,
            &self.issue,
            &self.title,
            &self.description,
            &self.criteria,
        ];
        match self.replaced(name!("_dispatch_via_gitea"), &arguments)? {
            Some(called) => self.elsewhere(called).await,
            None => channel::gitea::hand_over(self, agent, self.explicit_type().as_ref()).await,
        }
    }

    async fn via_api(&self, agent: &PyValue) -> PyResult<Attempted<Py<PyAny>>> {
        let arguments = [
            agent,
            &self.title,
            &self.description,
            &self.criteria,
            &self.issue,
            &self.endpoint,
        ];
        match self.replaced(name!("_dispatch_via_api"), &arguments)? {
            Some(called) => self.elsewhere(called).await,
            None => channel::api::hand_over(self, agent, self.explicit_type().as_ref()).await,
        }
    }

    async fn locally(&self) -> PyResult<Attempted<Py<PyAny>>> {
        match self.replaced(
            name!("_dispatch_local"),
            &[&self.title, &self.description, &self.criteria, &self.issue],
        )? {
            Some(called) => self.elsewhere(called).await,
            None => channel::local::hand_over(self, self.explicit_type().as_ref()),
        }
    }

    fn log_attempt(&self, outcome: &Py<PyAny>, attempt: u64) -> PyResult<()> {
        let (result, attempt) = Python::attach(|py| -> PyResult<_> {
            let attempt = attempt.into_pyobject(py)?.into_any();
            Ok((PyValue(outcome.clone_ref(py)), PyValue::from(attempt)))
        })?;
        let arguments = [&self.title, &result, &attempt, &self.given_retries];
        self.call(name!("_log_dispatch_result"), &arguments)?;
        Ok(())
    }

    async fn log_escalation(
        &self,
        agent: &PyValue,
        error: &PyValue,
        attempts: u64,
    ) -> PyResult<()> {
        let known = Python::attach(|py| error.is_true(py))?;
        let error = if known {
            error.clone()
        } else {
            self.value("unknown error")
        };
        if let Some(called) =
            self.replaced(name!("_log_escalation"), &[&self.issue, agent, &error])?
        {
            self.slot.ask(called).await?;
            return Ok(());
        }
        self.escalate(agent, &error, attempts).await
    }
}

impl PyHost {
    /// The member of `DispatchStatus`.
    pub(super) fn status(&self, status: DispatchStatus) -> PyResult<Py<PyAny>> {
        Python::attach(|py| self.member(py, status))
    }

    /// Posts the escalation; whatever ordinary exception comes of it is only logged.
    pub(super) async fn escalate(
        &self,
        agent: &PyValue,
        error: &PyValue,
        attempts: u64,
    ) -> PyResult<()> {
        let Err(raised) = channel::gitea::log_escalation(self, agent, error, attempts).await else {
            return Ok(());
        };
        let ordinary = Python::attach(|py| is_ordinary(py, &raised));
        if !ordinary {
            return Err(raised);
        }
        let shown = Python::attach(|py| cause_of(py, raised).shown);
        self.log(
            Level::Warning,
            "Failed to post escalation comment: %s",
            &[Arg::Said(&shown)],
        )
    }

    async fn elsewhere(&self, called: Py<PyAny>) -> PyResult<Attempted<Py<PyAny>>> {
        Ok(Attempted {
            outcome: self.slot.ask(called).await?.0,
            transient: None,
        })
    }

    /// The failure of a replaced helper, which does not say why.
    fn unexplained(&self) -> Cause<PyValue> {
        self.cause("")
    }

    fn clean(&self, cause: Cause<PyValue>) -> Cause<PyValue> {
        Cause {
            text: self.redact(&cause.text),
            ..cause
        }
    }
}

/// Joins the pieces of a comment as an f-string would.
pub(super) fn join(
    py: Python<'_>,
    pieces: Vec<channel::comment::Piece<PyValue>>,
) -> PyResult<PyValue> {
    use channel::comment::Piece;
    let parts = PyList::empty(py);
    for piece in pieces {
        match piece {
            Piece::Words(words) => parts.append(words)?,
            Piece::Given(given) => parts.append(given.0.bind(py).str()?)?,
        }
    }
    Ok(PyString::new(py, "")
        .call_method1(intern!(py, "join"), (parts,))?
        .into())
}

/// A whole number that may not be negative.
pub(super) fn retries(given: &Bound<'_, PyAny>) -> PyResult<u64> {
    let number: i64 = given.extract().map_err(|_| {
        PyTypeError::new_err(format!(
            "max_retries must be an integer, not {}",
            text_of(given)
        ))
    })?;
    u64::try_from(number).map_err(|_| {
        pyo3::exceptions::PyValueError::new_err(format!(
            "max_retries must not be negative, but is {number}"
        ))
    })
}
