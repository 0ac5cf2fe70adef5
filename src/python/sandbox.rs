//! `_core.SandboxServer`: the sandbox, with JSON passed through as text.

use std::time::Duration;

use pyo3::exceptions::{PyKeyError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use serde_json::Value;

use crate::sandbox::{DeliveryFault, Fault, Sandbox, SandboxBuilder, SandboxError};

/// `(method, path, headers, body, status)`.
type Recorded<'py> = (
    String,
    String,
    Vec<(String, String)>,
    Bound<'py, PyBytes>,
    Option<u16>,
);

/// `(hook, event, event type, id, url, payload, status, error)`.
type Delivered = (
    u64,
    String,
    String,
    String,
    String,
    String,
    Option<u16>,
    Option<String>,
);

/// A running Gitea stand-in. `timmy.dispatcher.sandbox.Sandbox` is its Python face.
#[pyclass(frozen, module = "timmy.dispatcher._core")]
struct SandboxServer {
    sandbox: Sandbox,
    process: u32,
}

impl From<SandboxError> for PyErr {
    fn from(error: SandboxError) -> Self {
        let text = error.to_string();
        match error {
            SandboxError::Start(_) => PyOSError::new_err(text),
            SandboxError::UnknownRepo(_) | SandboxError::UnknownIssue { .. } => {
                PyKeyError::new_err(text)
            }
            _ => PyValueError::new_err(text),
        }
    }
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|why| PyValueError::new_err(format!("{seconds} seconds: {why}")))
}

impl SandboxServer {
    /// After a fork the server's thread is not there and its lock may be held for ever.
    fn sandbox(&self) -> PyResult<&Sandbox> {
        if self.process == std::process::id() {
            return Ok(&self.sandbox);
        }
        let why = "this sandbox belongs to the process that started it; start one here";
        Err(pyo3::exceptions::PyRuntimeError::new_err(why))
    }
}

#[pymethods]
impl SandboxServer {
    #[new]
    #[pyo3(signature = (*, gitea, token, owner, host, port, webhook_hosts))]
    fn new(
        py: Python<'_>,
        gitea: &str,
        token: String,
        owner: String,
        host: &str,
        port: u16,
        webhook_hosts: &str,
    ) -> PyResult<Self> {
        let host = host
            .parse()
            .map_err(|_| PyValueError::new_err(format!("no IP address: {host:?}")))?;
        let builder: SandboxBuilder = Sandbox::builder()
            .version(gitea.parse()?)
            .token(token)
            .owner(owner)
            .host(host)
            .port(port)
            .webhook_hosts(webhook_hosts);
        let sandbox = py.detach(|| builder.start())?;
        let process = std::process::id();
        Ok(Self { sandbox, process })
    }

    #[getter]
    fn url(&self) -> &str {
        self.sandbox.url()
    }

    /// Closes every connection and the socket. Nothing in a forked process.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.sandbox.stop());
    }

    fn create_repo(&self, name: &str) -> PyResult<String> {
        Ok(self.sandbox()?.create_repo(name)?)
    }

    fn create_issue(&self, repo: &str, title: &str, body: &str) -> PyResult<u64> {
        Ok(self.sandbox()?.create_issue(repo, title, body)?)
    }

    fn create_label(&self, repo: &str, name: &str, color: &str) -> PyResult<u64> {
        Ok(self.sandbox()?.create_label(repo, name, color)?)
    }

    fn create_comment(&self, repo: &str, number: u64, body: &str) -> PyResult<u64> {
        Ok(self.sandbox()?.create_comment(repo, number, body)?)
    }

    fn close_issue(&self, repo: &str, number: u64) -> PyResult<()> {
        Ok(self.sandbox()?.close_issue(repo, number)?)
    }

    fn reopen_issue(&self, repo: &str, number: u64) -> PyResult<()> {
        Ok(self.sandbox()?.reopen_issue(repo, number)?)
    }

    fn lock_issue(&self, repo: &str, number: u64) -> PyResult<()> {
        Ok(self.sandbox()?.lock_issue(repo, number)?)
    }

    fn rename_repo(&self, repo: &str, name: &str) -> PyResult<String> {
        Ok(self.sandbox()?.rename_repo(repo, name)?)
    }

    fn rename_user(&self, login: &str, new: &str) -> PyResult<()> {
        Ok(self.sandbox()?.rename_user(login, new)?)
    }

    fn archive_repo(&self, repo: &str) -> PyResult<()> {
        Ok(self.sandbox()?.archive_repo(repo)?)
    }

    fn set_issues_enabled(&self, repo: &str, enabled: bool) -> PyResult<()> {
        Ok(self.sandbox()?.set_issues_enabled(repo, enabled)?)
    }

    fn set_private(&self, repo: &str, private: bool) -> PyResult<()> {
        Ok(self.sandbox()?.set_private(repo, private)?)
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "extracted from a Python list"
    )]
    fn create_user(&self, login: &str, token: &str, scopes: Vec<String>) -> PyResult<()> {
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        Ok(self.sandbox()?.create_user(login, token, &scopes)?)
    }

    fn add_writer(&self, repo: &str, login: &str) -> PyResult<()> {
        Ok(self.sandbox()?.add_writer(repo, login)?)
    }

    /// `body` is JSON or nothing.
    fn act(&self, login: &str, method: &str, path: &str, body: Option<&str>) -> PyResult<String> {
        let body = body.map_or(Ok(Value::Null), serde_json::from_str);
        let body = body.map_err(|why| PyValueError::new_err(why.to_string()))?;
        Ok(self.sandbox()?.act(login, method, path, &body)?.to_string())
    }

    fn push(&self, repo: &str, branch: &str) -> PyResult<String> {
        Ok(self.sandbox()?.push(repo, branch)?)
    }

    fn create_pull(&self, repo: &str, title: &str, body: &str, head: &str) -> PyResult<u64> {
        Ok(self.sandbox()?.create_pull(repo, title, body, head)?)
    }

    fn pull(&self, repo: &str, number: u64) -> PyResult<String> {
        Ok(self.sandbox()?.pull(repo, number)?.to_string())
    }

    fn merge_pull(&self, repo: &str, number: u64) -> PyResult<()> {
        Ok(self.sandbox()?.merge_pull(repo, number)?)
    }

    fn review_pull(
        &self,
        repo: &str,
        number: u64,
        login: &str,
        event: &str,
        body: &str,
    ) -> PyResult<u64> {
        let sandbox = self.sandbox()?;
        Ok(sandbox.review_pull(repo, number, login, event, body)?)
    }

    fn set_status(&self, repo: &str, commit: &str, context: &str, state: &str) -> PyResult<()> {
        Ok(self.sandbox()?.set_status(repo, commit, context, state)?)
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "extracted from a Python list"
    )]
    fn create_hook(
        &self,
        repo: &str,
        url: &str,
        secret: &str,
        events: Vec<String>,
    ) -> PyResult<u64> {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        Ok(self.sandbox()?.create_hook(repo, url, secret, &events)?)
    }

    fn delete_comment(&self, repo: &str, id: u64) -> PyResult<()> {
        Ok(self.sandbox()?.delete_comment(repo, id)?)
    }

    fn delete_issue(&self, repo: &str, number: u64) -> PyResult<()> {
        Ok(self.sandbox()?.delete_issue(repo, number)?)
    }

    fn timeline(&self, repo: &str, number: u64) -> PyResult<String> {
        let timeline = self.sandbox()?.timeline(repo, number)?;
        Ok(Value::from(timeline).to_string())
    }

    fn deliveries(&self) -> PyResult<Vec<Delivered>> {
        let deliveries = self.sandbox()?.deliveries();
        let delivered = deliveries.into_iter().map(|sent| {
            (
                sent.hook,
                sent.event,
                sent.event_type,
                sent.id,
                sent.url,
                sent.payload,
                sent.status,
                sent.error,
            )
        });
        Ok(delivered.collect())
    }

    fn wait_for_deliveries(&self, py: Python<'_>, count: usize, timeout: f64) -> PyResult<bool> {
        let (sandbox, timeout) = (self.sandbox()?, seconds(timeout)?);
        Ok(py.detach(|| sandbox.wait_for_deliveries(count, timeout)))
    }

    fn wait_for_late_effects(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let (sandbox, timeout) = (self.sandbox()?, seconds(timeout)?);
        Ok(py.detach(|| sandbox.wait_for_late_effects(timeout)))
    }

    /// `kind` is one of lose, repeat (so many times), overtake.
    #[pyo3(signature = (kind, *, repeat=0, event=None, skip=0, times=None))]
    fn delivery_fault(
        &self,
        kind: &str,
        repeat: u32,
        event: Option<&str>,
        skip: u64,
        times: Option<u64>,
    ) -> PyResult<()> {
        let mut fault = match kind {
            "lose" => DeliveryFault::lose(),
            "repeat" => DeliveryFault::repeat(repeat),
            "overtake" => DeliveryFault::overtake(),
            other => {
                let why = format!("no kind of fault: {other:?}");
                return Err(PyValueError::new_err(why));
            }
        };
        if let Some(event) = event {
            fault = fault.event(event);
        }
        if let Some(times) = times {
            fault = fault.times(times);
        }
        Ok(self.sandbox()?.delivery_fault(fault.skip(skip))?)
    }

    fn duplicate_label(&self, repo: &str, name: &str) -> PyResult<u64> {
        Ok(self.sandbox()?.duplicate_label(repo, name)?)
    }

    fn page_2_label(&self, repo: &str, name: &str) -> PyResult<u64> {
        Ok(self.sandbox()?.page_2_label(repo, name)?)
    }

    fn issue(&self, repo: &str, number: u64) -> PyResult<String> {
        Ok(self.sandbox()?.issue(repo, number)?.to_string())
    }

    fn labels(&self, repo: &str) -> PyResult<String> {
        let labels = self.sandbox()?.labels(repo)?;
        Ok(Value::from(labels).to_string())
    }

    fn issue_labels(&self, repo: &str, number: u64) -> PyResult<String> {
        let labels = self.sandbox()?.issue_labels(repo, number)?;
        Ok(Value::from(labels).to_string())
    }

    fn comments(&self, repo: &str, number: u64) -> PyResult<String> {
        let comments = self.sandbox()?.comments(repo, number)?;
        Ok(Value::from(comments).to_string())
    }

    fn requests<'py>(&self, py: Python<'py>) -> PyResult<Vec<Recorded<'py>>> {
        let requests = self.sandbox()?.requests();
        let recorded = requests.into_iter().map(|request| {
            let body = PyBytes::new(py, &request.body);
            (
                request.method,
                request.path,
                request.headers,
                body,
                request.status,
            )
        });
        Ok(recorded.collect())
    }

    fn clear_requests(&self) -> PyResult<()> {
        self.sandbox()?.clear_requests();
        Ok(())
    }

    fn wait_for_requests(&self, py: Python<'_>, count: usize, timeout: f64) -> PyResult<bool> {
        let (sandbox, timeout) = (self.sandbox()?, seconds(timeout)?);
        Ok(py.detach(|| sandbox.wait_for_requests(count, timeout)))
    }

    /// `kind` is one of delay, hold, status, replace, zeroed_issue, redirect, drop, reset,
    /// truncate, huge, drip; `amount` is its seconds, status or bytes.
    #[pyo3(signature = (
        kind, *, amount=None, method=None, path=None, skip=0, times=None, after_effect=false,
        commit_late=None, commit_at_release=false, message=None, body=None, location=None, headers=Vec::new(),
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of one Python call"
    )]
    fn fault(
        &self,
        kind: &str,
        amount: Option<f64>,
        method: Option<&str>,
        path: Option<&str>,
        skip: u64,
        times: Option<u64>,
        after_effect: bool,
        commit_late: Option<f64>,
        commit_at_release: bool,
        message: Option<&str>,
        body: Option<Vec<u8>>,
        location: Option<&str>,
        headers: Vec<(String, String)>,
    ) -> PyResult<()> {
        let missing = |what: &str| PyValueError::new_err(format!("{kind} needs {what}"));
        let number = || amount.ok_or_else(|| missing("an amount"));
        // Python gives these as whole numbers in range; what is not becomes what is refused.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates"
        )]
        let status = || number().map(|status| status as u16);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates"
        )]
        let bytes = || number().map(|bytes| bytes as u64);
        let mut fault = match kind {
            "delay" => Fault::delay(seconds(number()?)?),
            "hold" => Fault::hold(),
            "status" => Fault::status(status()?),
            "replace" => Fault::status(200),
            "zeroed_issue" => Fault::zeroed_issue(),
            "redirect" => {
                Fault::redirect(status()?, location.ok_or_else(|| missing("a location"))?)
            }
            "drop" => Fault::drop_connection(),
            "reset" => Fault::reset_connection(),
            "truncate" => match amount {
                None => Fault::truncated(),
                Some(_) => Fault::truncated_after(usize::try_from(bytes()?).unwrap_or(usize::MAX)),
            },
            "huge" => Fault::huge(bytes()?),
            "drip" => Fault::drip(seconds(number()?)?),
            other => {
                return Err(PyValueError::new_err(format!(
                    "no kind of fault: {other:?}"
                )));
            }
        };
        if let Some(method) = method {
            fault = fault.method(method);
        }
        if let Some(path) = path {
            fault = fault.path(path);
        }
        if let Some(times) = times {
            fault = fault.times(times);
        }
        if after_effect {
            fault = fault.after_effect();
        }
        if let Some(time) = commit_late {
            fault = fault.commit_late(seconds(time)?);
        }
        if commit_at_release {
            fault = fault.commit_at_release();
        }
        if let Some(message) = message {
            fault = fault.message(message);
        }
        if let Some(body) = body {
            fault = fault.body(body);
        }
        for (name, value) in &headers {
            fault = fault.header(name, value);
        }
        Ok(self.sandbox()?.fault(fault.skip(skip))?)
    }

    fn clear_faults(&self) -> PyResult<()> {
        self.sandbox()?.clear_faults();
        Ok(())
    }

    fn release(&self) -> PyResult<()> {
        self.sandbox()?.release();
        Ok(())
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<SandboxServer>()
}
