//! Adding a label where no request goes through Python: the list and the addition are asked for one
//! after the other in the thread of the requests, and the event loop is woken once for both.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};

use super::client::PyClient;
use super::host::{PyGitea, PyHost};
use super::values::PyValue;
use crate::dispatch::host::{Arg, Cause, Host, Level, Step, Value};
use crate::dispatch::{Client, NativeHost, Opaque};
use crate::gitea;
use crate::http::{Native, Secrets};

/// The host of the step in that thread. Python's log is written afterwards.
struct Apart {
    secrets: Secrets,
    lines: Mutex<Vec<Line>>,
}

struct Line {
    level: Level,
    template: &'static str,
    arguments: Vec<Argument>,
}

enum Argument {
    Number(u64),
    Value(Opaque),
    Said(Opaque),
}

impl NativeHost for Apart {
    fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    fn note(&self, level: Level, template: &'static str, args: &[Arg<'_, Opaque>]) {
        let kept = args.iter().map(|arg| match arg {
            Arg::Number(number) => Argument::Number(*number),
            Arg::Value(value) => Argument::Value((*value).clone()),
            Arg::Said(value) => Argument::Said((*value).clone()),
        });
        let line = Line {
            level,
            template,
            arguments: kept.collect(),
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }
}

/// A plain string or integer of Python's; None for what looks at itself in a way of its own.
fn plain(value: &PyValue) -> Option<Opaque> {
    Python::attach(|py| {
        let value = value.0.bind(py);
        if value.is_exact_instance_of::<PyInt>() {
            return value.extract().ok().map(Opaque::Number);
        }
        let text = value.cast_exact::<PyString>().ok()?;
        text.to_str().ok().map(Opaque::from)
    })
}

fn of_python(py: Python<'_>, value: &Opaque) -> PyValue {
    match value {
        Opaque::Nothing => PyValue::none(py),
        Opaque::Text(text) => PyValue::string(py, text),
        Opaque::Number(number) => PyValue::number(py, *number),
    }
}

fn write(host: &PyHost, line: &Line) -> PyResult<()> {
    let values = Python::attach(|py| {
        let values = line.arguments.iter().map(|argument| match argument {
            Argument::Number(_) => PyValue::none(py),
            Argument::Value(value) | Argument::Said(value) => of_python(py, value),
        });
        values.collect::<Vec<_>>()
    });
    let args = line.arguments.iter().zip(&values);
    let args = args.map(|(argument, value)| match argument {
        Argument::Number(number) => Arg::Number(*number),
        Argument::Value(_) => Arg::Value(value),
        Argument::Said(_) => Arg::Said(value),
    });
    host.log(line.level, line.template, &args.collect::<Vec<_>>())
}

/// Makes sure that the label exists and adds it to the issue; None where that is left to the steps in
/// Python.
pub(super) async fn apply_natively(
    host: &PyHost,
    client: &PyClient,
    gitea: &PyGitea,
    label: &PyValue,
) -> PyResult<Option<Result<(), Cause<PyValue>>>> {
    let (Some(label), Some(issue)) = (plain(label), plain(&host.issue)) else {
        return Ok(None);
    };
    // What goes wrong with a client is those steps' to tell.
    if !matches!(client.open_if_chosen().await, Ok(None)) {
        return Ok(None);
    }
    let secrets = host
        .secrets
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let (base, repo) = (gitea.base.clone(), gitea.repo.text());
    let (authorization, timeout) = (gitea.authorization.clone(), client.timeout());
    let apply = move |transport: Native| {
        Box::pin(async move {
            let client = Client::new(Arc::new(transport), authorization, timeout, secrets.clone());
            let apart = Apart {
                secrets,
                lines: Mutex::default(),
            };
            let color = Opaque::from(gitea::DEFAULT_COLOR);
            let applied: Step<(), Apart> =
                gitea::apply_label(&apart, &client, &base, &repo, &issue, &label, &color).await;
            (applied, apart.lines)
        })
    };
    let (applied, lines) = host.slot.wait(apply).await?;
    for line in lines.into_inner().unwrap_or_else(PoisonError::into_inner) {
        write(host, &line)?;
    }
    let applied = applied.map_err(|unknown| PyRuntimeError::new_err(unknown.to_string()))?;
    Ok(Some(applied.map_err(|cause| Cause {
        shown: Python::attach(|py| of_python(py, &cause.shown)),
        text: cause.text,
        transient: cause.transient,
    })))
}
