//! Inference and routing for Python.

use pyo3::prelude::*;

use crate::infer::infer_task_type as infer;
use crate::route::{Registry, select_agent};
use crate::task::TaskType;

/// The name of the type of a text.
#[pyfunction]
fn infer_task_type(
    title: &Bound<'_, PyAny>,
    description: &Bound<'_, PyAny>,
) -> PyResult<&'static str> {
    let text = |value: &Bound<'_, PyAny>| -> PyResult<String> {
        // TypeError for what is no text.
        value.cast::<pyo3::types::PyString>()?;
        Ok(super::values::text_of(value))
    };
    Ok(infer(&text(title)?, &text(description)?).as_str())
}

/// `(task type, agent)` of every route.
#[pyfunction]
fn routes() -> Vec<(&'static str, String)> {
    let route = |task_type: &TaskType| {
        (
            task_type.as_str(),
            select_agent(*task_type).as_str().to_owned(),
        )
    };
    TaskType::ALL.iter().map(route).collect()
}

type Agent = (
    String,
    String,
    Vec<&'static str>,
    Option<String>,
    u32,
    &'static str,
);

/// Name, display name, strengths, label, limit and interface of every built-in agent.
#[pyfunction]
fn agents() -> Vec<Agent> {
    let registry = Registry::default();
    let agent = |spec: &crate::route::AgentSpec| {
        (
            spec.name.as_str().to_owned(),
            spec.display_name.clone(),
            spec.strengths
                .iter()
                .map(|strength| strength.as_str())
                .collect(),
            spec.gitea_label.clone(),
            spec.max_concurrent,
            spec.interface.as_str(),
        )
    };
    registry.iter().map(agent).collect()
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(infer_task_type, module)?)?;
    module.add_function(wrap_pyfunction!(routes, module)?)?;
    module.add_function(wrap_pyfunction!(agents, module)?)
}
