//! The Python host of the flow: every step goes through the name that stands for it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyBaseException, PyTypeError, PyUnicodeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::client::PyClient;
use super::drive::Slot;
use super::reply::PyReply;
use super::seams::{Name, Seams, call};
use super::values::{PyValue, cause_of, is_ordinary, text_of};
use crate::channel;
use crate::dispatch::flow::Attempted;
use crate::dispatch::host::{Arg, Cause, Host, Level};
use crate::dispatch::settings::{ConfigError, api_base, check_repo};
use crate::http::Secrets;
use crate::task::DispatchStatus;

/// So much of a title is shown in the log, in code points.
pub(super) const SHOWN_TITLE: usize = 60;

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
    /// What `infer_task_type` made of the text, unless it is replaced.
    pub(super) inferred: OnceLock<PyValue>,
    pub(super) token: OnceLock<String>,
    pub(super) secrets: Mutex<Secrets>,
}

/// Gitea, as the settings describe it at this moment.
pub(super) struct PyGitea {
    pub(super) base: String,
    pub(super) repo: PyValue,
    pub(super) authorization: String,
    pub(super) headers: Py<PyAny>,
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
            inferred: OnceLock::new(),
            token: OnceLock::new(),
            secrets: Mutex::default(),
        }
    }

    /// Keeps what an exchange needs to get in out of everything that people read.
    pub(super) fn hide(&self, token: Option<&str>, url: &str) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = token {
            secrets.add(token);
        }
        secrets.add_url(url);
    }

    pub(super) fn call(&self, name: Name, arguments: &[&PyValue]) -> PyResult<PyValue> {
        Python::attach(|py| Ok(call(py, &self.seams.get().get(py, name)?, arguments)?.into()))
    }

    /// The coroutine of a replaced function, if it is replaced.
    pub(super) fn replaced(
        &self,
        name: Name,
        arguments: &[&PyValue],
    ) -> PyResult<Option<Py<PyAny>>> {
        Python::attach(|py| match self.seams.get().replacement(py, name)? {
            Some(function) => Ok(Some(call(py, &function, arguments)?.unbind())),
            None => Ok(None),
        })
    }

    pub(super) fn is_replaced(&self, name: Name) -> PyResult<bool> {
        Python::attach(|py| Ok(self.seams.get().replacement(py, name)?.is_some()))
    }

    pub(super) fn member(&self, py: Python<'_>, status: DispatchStatus) -> PyResult<Py<PyAny>> {
        let members = self.seams.get().get(py, name!("DispatchStatus"))?;
        let name = match status {
            DispatchStatus::Pending => intern!(py, "PENDING"),
            DispatchStatus::Assigned => intern!(py, "ASSIGNED"),
            DispatchStatus::InProgress => intern!(py, "IN_PROGRESS"),
            DispatchStatus::Completed => intern!(py, "COMPLETED"),
            DispatchStatus::Failed => intern!(py, "FAILED"),
            DispatchStatus::Escalated => intern!(py, "ESCALATED"),
            DispatchStatus::TimedOut => intern!(py, "TIMED_OUT"),
        };
        Ok(members.getattr(name)?.unbind())
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
            let authorization = ["token ", &token].concat();
            let headers = PyDict::new(py);
            headers.set_item(intern!(py, "Authorization"), &authorization)?;
            headers.set_item(intern!(py, "Content-Type"), intern!(py, "application/json"))?;
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
    pub(super) fn cleaned_document(&self, py: Python<'_>, document: PyValue) -> PyResult<PyValue> {
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

    pub(super) async fn with_helper(
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
            let mut arguments = Vec::with_capacity(1 + args.len());
            arguments.push(template_of(py, template));
            for arg in args {
                arguments.push(match arg {
                    Arg::Number(number) => number.into_pyobject(py)?.into_any(),
                    Arg::Value(value) => value.0.bind(py).clone(),
                    Arg::Said(value) => self.shown(value).0.into_bound(py),
                });
            }
            let method = match level {
                Level::Info => intern!(py, "info"),
                Level::Warning => intern!(py, "warning"),
                Level::Error => intern!(py, "error"),
            };
            logger.call_method1(method, PyTuple::new(py, arguments)?)?;
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
        self.slot.wait(|_| future).await
    }

    fn value(&self, text: &str) -> PyValue {
        Python::attach(|py| PyValue::string(py, text))
    }

    fn number(&self, number: i64) -> PyValue {
        Python::attach(|py| PyValue::number(py, number))
    }

    fn redact(&self, text: &str) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.redact(text)
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

    pub(super) async fn elsewhere(&self, called: Py<PyAny>) -> PyResult<Attempted<Py<PyAny>>> {
        Ok(Attempted {
            outcome: self.slot.ask(called).await?.0,
            transient: None,
        })
    }

    /// The failure of a replaced helper, which does not say why.
    pub(super) fn unexplained(&self) -> Cause<PyValue> {
        self.cause("")
    }

    pub(super) fn clean(&self, cause: Cause<PyValue>) -> Cause<PyValue> {
        Cause {
            text: self.redact(&cause.text),
            ..cause
        }
    }
}

/// The template of a log line as a string of Python's, made once.
fn template_of<'py>(py: Python<'py>, template: &'static str) -> Bound<'py, PyAny> {
    /// Templates are few and each stands at one place, so the place tells them apart.
    static MADE: Mutex<Vec<(&str, Py<PyString>)>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let known = made
        .iter()
        .find(|(known, _)| std::ptr::eq(*known, template));
    if let Some((_, string)) = known {
        return string.bind(py).clone().into_any();
    }
    let string = PyString::new(py, template);
    made.push((template, string.clone().unbind()));
    string.into_any()
}

/// The body of the comment that hands a task over.
pub(super) fn assignment_comment<'py>(
    display_name: Bound<'py, PyAny>,
    task_type: Bound<'py, PyAny>,
    description: Bound<'py, PyAny>,
    criteria: Bound<'py, PyAny>,
) -> PyResult<PyValue> {
    let py = criteria.py();
    // An iterator is true even where nothing comes of it.
    let given = if criteria.is_truthy()? {
        Some(criteria.try_iter()?.collect::<PyResult<Vec<_>>>()?)
    } else {
        None
    };
    join(
        py,
        channel::comment::assignment(display_name, task_type, description, given),
    )
}

/// Joins the pieces of a comment as an f-string would.
pub(super) fn join<'py>(
    py: Python<'py>,
    pieces: Vec<channel::comment::Piece<Bound<'py, PyAny>>>,
) -> PyResult<PyValue> {
    use channel::comment::Piece;
    let mut template = String::new();
    let mut given = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Piece::Words(words) => {
                for (place, part) in words.split('%').enumerate() {
                    template.push_str(if place > 0 { "%%" } else { "" });
                    template.push_str(part);
                }
            }
            Piece::Given(object) => {
                template.push_str("%s");
                given.push(object);
            }
        }
    }
    let joined = PyString::new(py, &template).rem(PyTuple::new(py, given)?)?;
    Ok(joined.into())
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
