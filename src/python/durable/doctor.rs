//! What can be said of a dispatcher and its ledger without opening them.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;
use serde_json::{Value, json};

use super::config::Config;
use super::{flow, list, string_of, text};
use crate::durable::{DispatcherError, Finding};
use crate::ledger::{Inspection, Ledger};
use crate::python::drive::{Flow, Slot};

fn finding(finding: &Finding) -> Value {
    json!({
        "check": finding.check,
        "severity": finding.severity.as_str(),
        "found": finding.found,
        "advice": finding.advice,
    })
}

fn inspection(seen: &Inspection) -> Value {
    let workers = seen.workers.iter().map(|worker| {
        json!({
            "id": worker.id.to_string(),
            "expires_in": worker.expires_in,
            "handles": worker.handles,
            "revision": worker.revision,
        })
    });
    let agents = seen.agents.iter().map(|agent| agent.name.as_str());
    json!({
        "version": seen.version,
        "known": seen.known,
        "revision": seen.revision,
        "agents": agents.collect::<Vec<_>>(),
        "workers": workers.collect::<Vec<_>>(),
    })
}

/// What is wrong around a dispatcher.
#[pyfunction]
fn examine(config: &Bound<'_, PyString>) -> Flow {
    let config = string_of(config);
    let slot = Arc::<Slot>::default();
    let waiting = Arc::clone(&slot);
    Flow::new(slot, async move {
        let examining = move |transport| async move {
            let builder = Config::read(&config)?.builder(transport)?;
            Ok::<_, DispatcherError>(builder.examine().await)
        };
        let findings = waiting.wait(examining).await??;
        Python::attach(|py| Ok(list(py, &findings, finding)))
    })
}

/// What can be seen of a ledger; None where there is none.
#[pyfunction]
fn inspect_ledger(place: String) -> Flow {
    let begin = move || Ok(async move { Ok(Ledger::inspect(place).await?) });
    flow(begin, |py, seen: Option<Inspection>| {
        Ok(seen.map_or_else(|| py.None(), |seen| text(py, &inspection(&seen))))
    })
}

/// Where a ledger is, as it may be shown.
#[pyfunction]
fn ledger_place(place: PathBuf) -> PyResult<String> {
    let located = Ledger::locate(&place).map_err(DispatcherError::from);
    Ok(located.map(|(shown, _)| shown)?)
}

/// What is wrong with the file of a ledger.
#[pyfunction]
fn check_ledger(place: String) -> Flow {
    let begin = move || Ok(async move { Ok(Ledger::check(place).await?) });
    flow(begin, |py, wrong: Vec<String>| Ok(text(py, &json!(wrong))))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(examine, module)?)?;
    module.add_function(wrap_pyfunction!(inspect_ledger, module)?)?;
    module.add_function(wrap_pyfunction!(ledger_place, module)?)?;
    module.add_function(wrap_pyfunction!(check_ledger, module)?)
}
