//! The steps of a hand-over in Python: each goes through the name that stands for it.

use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::client::{self, PyClient};
use super::host::{PyGitea, PyHost, SHOWN_TITLE, assignment_comment, join};
use super::label;
use super::reply::PyReply;
use super::values::{PyValue, failure, first};
use crate::channel;
use crate::dispatch::flow::{Attempted, Draft, Steps};
use crate::dispatch::host::{Failure, Fallible, Host, Step, Value};
use crate::dispatch::settings::ConfigError;
use crate::gitea;
use crate::task::{DispatchStatus, Interface};

/// The `value` of a member of an enum.
fn value_of<'py>(member: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = member.py();
    // What that looks up, of a member that is text.
    if member.is_instance_of::<PyString>()
        && let Ok(value) = member.getattr(intern!(py, "_value_"))
    {
        return Ok(value);
    }
    member.getattr(intern!(py, "value"))
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
        let infer = || self.call(name!("infer_task_type"), &[&self.title, &self.description]);
        if self.is_replaced(name!("infer_task_type"))? {
            return infer();
        }
        if let Some(known) = self.inferred.get() {
            return Ok(known.clone());
        }
        let inferred = infer()?;
        let _ = self.inferred.set(inferred.clone());
        Ok(inferred)
    }

    fn select_agent(&self, task_type: &PyValue) -> PyResult<PyValue> {
        self.call(name!("select_agent"), &[task_type])
    }

    fn interface(&self, agent: &PyValue) -> PyResult<Interface> {
        let strategy = self.call(name!("_select_dispatch_strategy"), &[agent, &self.issue])?;
        Python::attach(|py| {
            let is = |name| strategy.0.bind(py).eq(name);
            Ok(if is(intern!(py, "gitea"))? {
                Interface::Gitea
            } else if is(intern!(py, "api"))? {
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
            match value_of(named) {
                // A host's own agent may be registered under plain text.
                Err(_) if named.is_instance_of::<PyString>() => Ok(named.clone().into()),
                value => Ok(value?.into()),
            }
        })
    }

    fn assignment_comment(&self, display_name: &PyValue, task_type: &PyValue) -> PyResult<PyValue> {
        let arguments = [display_name, task_type, &self.description, &self.criteria];
        if self.is_replaced(name!("_format_assignment_comment"))? {
            return self.call(name!("_format_assignment_comment"), &arguments);
        }
        Python::attach(|py| {
            let bound = |value: &PyValue| value.0.bind(py).clone();
            assignment_comment(
                bound(display_name),
                value_of(task_type.0.bind(py))?,
                bound(&self.description),
                bound(&self.criteria),
            )
        })
    }

    fn escalation_comment(
        &self,
        agent: &PyValue,
        error: &PyValue,
        attempts: u64,
    ) -> PyResult<PyValue> {
        let display_name = self.display_name(&self.spec(agent)?)?;
        Python::attach(|py| {
            let (agent, error) = (display_name.0.into_bound(py), error.0.bind(py).clone());
            let attempts = attempts.into_pyobject(py)?.into_any();
            join(py, channel::comment::escalation(agent, attempts, error))
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
        match client.open_if_chosen().await.map_err(failure) {
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
        client.exit(raised.as_ref()).await.map_err(failure)?;
        posted.map_err(|failure| match failure {
            Failure::Failed(cause) => Failure::Failed(self.clean(cause)),
            escaped => escaped,
        })
    }

    fn response(&self, reply: &PyReply) -> Fallible<PyValue, Self> {
        let read = |py: Python<'_>| self.cleaned_document(py, reply.document(py)?);
        Python::attach(read).map_err(|error| {
            let mut failure = failure(error);
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
        if let Some(applied) = label::apply_natively(self, client, gitea, label).await? {
            return Ok(applied);
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
        Python::attach(|py| outcome.bind(py).setattr(intern!(py, "retry_count"), count))
    }

    fn set_escalated(&self, outcome: &mut Py<PyAny>) -> PyResult<()> {
        Python::attach(|py| {
            outcome.bind(py).setattr(
                intern!(py, "status"),
                self.member(py, DispatchStatus::Escalated)?,
            )
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
