//! The functions of `timmy.dispatcher` that start a flow.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::client::{self, PyClient};
use super::drive::{Flow, Slot};
use super::host::{self, PyHost, retries};
use super::seams::Seams;
use super::values::{PyValue, text_of};
use super::watch::PyWatch;
use crate::channel;
use crate::dispatch::flow;
use crate::gitea;
use crate::http::{Method, Repeat, Request};
use crate::watch;

type Any<'py> = Bound<'py, PyAny>;

fn given(value: Any<'_>) -> Option<PyValue> {
    (!value.is_none()).then(|| value.into())
}

fn started<F>(host: PyHost, running: impl FnOnce(PyHost) -> F) -> Flow
where
    F: Future<Output = PyResult<Py<PyAny>>> + Send + 'static,
{
    let slot = host.slot.clone();
    Flow::new(slot, running(host))
}

#[pymethods]
impl Seams {
    #[new]
    fn new(namespace: Bound<'_, PyDict>, names: Vec<String>) -> PyResult<Self> {
        Self::of(namespace, names)
    }

    #[expect(clippy::too_many_arguments, reason = "the signature of dispatch_task")]
    fn dispatch_task<'py>(
        slf: &Bound<'py, Self>,
        title: Any<'py>,
        description: Any<'py>,
        criteria: Any<'py>,
        task_type: Any<'py>,
        agent: Any<'py>,
        issue: Any<'py>,
        endpoint: Any<'py>,
        max_retries: Any<'py>,
    ) -> PyResult<Flow> {
        let host = PyHost {
            title: title.into(),
            description: description.into(),
            criteria: criteria.into(),
            task_type: given(task_type),
            agent: given(agent),
            issue: issue.into(),
            endpoint: endpoint.into(),
            max_retries: retries(&max_retries)?,
            given_retries: max_retries.into(),
            ..PyHost::new(slf.py(), slf)
        };
        Ok(started(
            host,
            |host| async move { flow::dispatch(&host).await },
        ))
    }

    fn dispatch_via_gitea<'py>(
        slf: &Bound<'py, Self>,
        agent: Any<'py>,
        issue: Any<'py>,
        title: Any<'py>,
        description: Any<'py>,
        criteria: Any<'py>,
    ) -> Flow {
        let host = PyHost {
            title: title.into(),
            description: description.into(),
            criteria: criteria.into(),
            issue: issue.into(),
            ..PyHost::new(slf.py(), slf)
        };
        let agent = PyValue::from(agent);
        started(host, |host| async move {
            Ok(channel::gitea::hand_over(&host, &agent, None)
                .await?
                .outcome)
        })
    }

    fn dispatch_via_api<'py>(
        slf: &Bound<'py, Self>,
        agent: Any<'py>,
        title: Any<'py>,
        description: Any<'py>,
        criteria: Any<'py>,
        issue: Any<'py>,
        endpoint: Any<'py>,
    ) -> Flow {
        let host = PyHost {
            title: title.into(),
            description: description.into(),
            criteria: criteria.into(),
            issue: issue.into(),
            endpoint: endpoint.into(),
            ..PyHost::new(slf.py(), slf)
        };
        let agent = PyValue::from(agent);
        started(host, |host| async move {
            Ok(channel::api::hand_over(&host, &agent, None).await?.outcome)
        })
    }

    fn dispatch_local<'py>(
        slf: &Bound<'py, Self>,
        title: Any<'py>,
        description: Any<'py>,
        issue: Any<'py>,
    ) -> Flow {
        let host = PyHost {
            title: title.into(),
            description: description.into(),
            issue: issue.into(),
            ..PyHost::new(slf.py(), slf)
        };
        started(host, |host| async move {
            Ok(channel::local::hand_over(&host, None)?.outcome)
        })
    }

    fn log_escalation<'py>(
        slf: &Bound<'py, Self>,
        issue: Any<'py>,
        agent: Any<'py>,
        error: Any<'py>,
    ) -> Flow {
        let host = PyHost {
            issue: issue.into(),
            ..PyHost::new(slf.py(), slf)
        };
        let (agent, error) = (PyValue::from(agent), PyValue::from(error));
        started(host, |host| async move {
            host.escalate(&agent, &error, 1).await?;
            Ok(Python::attach(|py| py.None()))
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the signature of _apply_gitea_label"
    )]
    fn apply_gitea_label<'py>(
        slf: &Bound<'py, Self>,
        client: Any<'py>,
        base: Any<'py>,
        repo: Any<'py>,
        headers: Any<'py>,
        issue: Any<'py>,
        label: Any<'py>,
        color: Any<'py>,
    ) -> Flow {
        let host = PyHost {
            issue: issue.into(),
            ..PyHost::new(slf.py(), slf)
        }
        .with_token(&text_of(&base), &headers);
        let client = PyClient::given(&host, client.into(), headers.unbind());
        let (base, repo) = (text_of(&base), text_of(&repo));
        let (label, color) = (PyValue::from(label), PyValue::from(color));
        started(host, |host| async move {
            let driven = (&client, &host);
            let applied =
                gitea::apply_label(&host, &driven, &base, &repo, &host.issue, &label, &color)
                    .await?;
            Python::attach(|py| {
                Ok(applied
                    .is_ok()
                    .into_pyobject(py)?
                    .to_owned()
                    .into_any()
                    .unbind())
            })
        })
    }

    fn post_gitea_comment<'py>(
        slf: &Bound<'py, Self>,
        client: Any<'py>,
        base: Any<'py>,
        repo: Any<'py>,
        headers: Any<'py>,
        issue: Any<'py>,
        body: Any<'py>,
    ) -> Flow {
        let host = PyHost {
            issue: issue.into(),
            ..PyHost::new(slf.py(), slf)
        }
        .with_token(&text_of(&base), &headers);
        let client = PyClient::given(&host, client.into(), headers.unbind());
        let (base, repo, body) = (text_of(&base), text_of(&repo), PyValue::from(body));
        started(host, |host| async move {
            let driven = (&client, &host);
            let posted =
                gitea::post_comment(&host, &driven, &base, &repo, &host.issue, &body).await?;
            Ok(posted.map_or_else(|_| Python::attach(|py| py.None()), |id| id.0))
        })
    }

    fn poll_issue_completion<'py>(
        slf: &Bound<'py, Self>,
        issue: Any<'py>,
        interval: Any<'py>,
        limit: Any<'py>,
    ) -> PyResult<Flow> {
        let (every, longest) = (interval.extract::<f64>()?, limit.extract::<f64>()?);
        let host = PyHost {
            issue: issue.into(),
            ..PyHost::new(slf.py(), slf)
        };
        let (interval, limit) = (PyValue::from(interval), PyValue::from(limit));
        Ok(started(host, |host| async move {
            let watch = PyWatch {
                host,
                interval,
                limit,
            };
            let status = watch::poll(&watch, every, longest).await?;
            watch.host.status(status)
        }))
    }
}

/// The body of the comment that hands a task over.
#[pyfunction]
fn assignment_comment<'py>(
    display_name: Any<'py>,
    task_type: Any<'py>,
    description: Any<'py>,
    criteria: Any<'py>,
) -> PyResult<Py<PyAny>> {
    Ok(host::assignment_comment(display_name, task_type, description, criteria)?.0)
}

/// A variable of the environment; None where it is not set.
#[pyfunction]
fn environment(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

/// A flow of one native request, which comes to (status, headers, body).
#[pyfunction]
fn request(
    method: &str,
    url: String,
    authorization: Option<String>,
    body: Option<Vec<u8>>,
    timeout: f64,
) -> PyResult<Flow> {
    let invalid =
        |_| pyo3::exceptions::PyValueError::new_err("timeout must be a positive number of seconds");
    let timeout = std::time::Duration::try_from_secs_f64(timeout).map_err(invalid)?;
    let method = if method == "GET" {
        Method::Get
    } else {
        Method::Post
    };
    let repeat = if method == Method::Get {
        Repeat::Safe
    } else {
        Repeat::Unsafe
    };
    let request = Request {
        method,
        url,
        authorization,
        headers: Vec::new(),
        body,
        timeout,
        repeat,
    };
    let slot = Arc::<Slot>::default();
    let asked = slot.clone();
    Ok(Flow::new(slot, async move {
        let sent = client::send(&asked, request).await?;
        let answer =
            sent.map_err(|error| pyo3::exceptions::PyConnectionError::new_err(error.to_string()))?;
        Python::attach(|py| {
            let body = pyo3::types::PyBytes::new(py, &answer.body);
            Ok((answer.status, answer.headers, body)
                .into_pyobject(py)?
                .into_any()
                .unbind())
        })
    }))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Seams>()?;
    module.add_class::<Flow>()?;
    module.add_function(wrap_pyfunction!(assignment_comment, module)?)?;
    module.add_function(wrap_pyfunction!(environment, module)?)?;
    module.add_function(wrap_pyfunction!(request, module)?)?;
    module.add_function(wrap_pyfunction!(super::runtime::after_fork, module)?)?;
    module.add_function(wrap_pyfunction!(super::runtime::shut_down, module)?)
}
