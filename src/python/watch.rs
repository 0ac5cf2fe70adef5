//! The Python host of waiting for an issue.

use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::client::{self, PyClient};
use super::host::PyHost;
use super::reply::PyReply;
use super::values::{PyValue, failure};
use crate::dispatch::host::{Arg, Fallible, Host, Level, Value};
use crate::dispatch::settings::ConfigError;
use crate::gitea;
use crate::watch::{self, Watched};

/// One issue that Python waits for.
pub(super) struct PyWatch {
    pub(super) host: PyHost,
    pub(super) interval: PyValue,
    pub(super) limit: PyValue,
}

impl Host for PyWatch {
    type Value = PyValue;
    type Escape = PyErr;
    type Reply = PyReply;

    fn log(&self, level: Level, template: &'static str, args: &[Arg<'_, PyValue>]) -> PyResult<()> {
        self.host.log(level, template, args)
    }

    async fn sleep(&self, duration: Duration) -> PyResult<()> {
        self.host.sleep(duration).await
    }

    async fn wait<F>(&self, future: F) -> PyResult<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.host.wait(future).await
    }

    fn value(&self, text: &str) -> PyValue {
        self.host.value(text)
    }

    fn number(&self, number: i64) -> PyValue {
        self.host.number(number)
    }

    fn redact(&self, text: &str) -> String {
        self.host.redact(text)
    }
}

impl Watched for PyWatch {
    fn issue(&self) -> &PyValue {
        &self.host.issue
    }

    fn shown_limit(&self) -> &PyValue {
        &self.limit
    }

    fn issue_url(&self) -> PyResult<Result<String, ConfigError>> {
        Ok(self.host.place()?.map(|gitea| {
            gitea::issue_url(&gitea.base, &gitea.repo.text(), &self.host.issue.text(), "")
        }))
    }

    async fn ask<T: Send>(
        &self,
        url: &str,
        read: impl FnOnce(&PyReply) -> Fallible<T, Self> + Send,
    ) -> Fallible<Option<T>, Self> {
        let authorization = format!("token {}", self.host.token.get().map_or("", String::as_str));
        let headers = Python::attach(|py| -> PyResult<Py<PyAny>> {
            let headers = PyDict::new(py);
            headers.set_item("Authorization", &authorization)?;
            Ok(headers.into_any().unbind())
        })?;
        let client = PyClient::new(
            &self.host,
            watch::TIMEOUT,
            Some(authorization),
            Some(headers),
        );
        let asked = match client.fetch(&self.host, url).await {
            Ok(reply) => read(&reply).map(Some),
            Err(failure) => Err(failure),
        };
        let raised = client::raised(&asked);
        if client.exit(raised.as_ref()).await.map_err(failure)? {
            return Ok(None);
        }
        asked
    }

    fn sleeps_really(&self) -> bool {
        Python::attach(|py| {
            let seams = self.host.seams.get();
            let sleep = seams
                .get(py, name!("asyncio"))
                .and_then(|asyncio| asyncio.getattr(intern!(py, "sleep")));
            sleep.is_ok_and(|sleep| seams.is_original_sleep(&sleep))
        })
    }

    async fn pause(&self, rest: Option<f64>) -> PyResult<()> {
        let sleeping = Python::attach(|py| -> PyResult<Py<PyAny>> {
            let asyncio = self.host.seams.get().get(py, name!("asyncio"))?;
            let sleeping = match rest {
                Some(rest) => asyncio.call_method1(intern!(py, "sleep"), (rest,))?,
                None => asyncio.call_method1(intern!(py, "sleep"), (&self.interval.0,))?,
            };
            Ok(sleeping.unbind())
        })?;
        self.host.slot.ask(sleeping).await?;
        Ok(())
    }
}
