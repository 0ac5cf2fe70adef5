//! Inference and routing for Python.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::infer::{self, Explanation, Field, Unit, infer_task_type as infer};
use crate::route::{Registry, select_agent};
use crate::task::TaskType;

/// The text of a string; a lone surrogate becomes U+FFFD, which matches nothing either.
fn text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(super::values::string_of(value.cast::<PyString>()?))
}

/// The name of the type of a text.
#[pyfunction]
fn infer_task_type(
    title: &Bound<'_, PyAny>,
    description: &Bound<'_, PyAny>,
) -> PyResult<&'static str> {
    Ok(infer(&text(title)?, &text(description)?).as_str())
}

type SpanParts = (&'static str, usize, usize);
type Parts = (
    &'static str,
    String,
    Vec<(String, &'static str, Vec<SpanParts>)>,
);

/// Task type, agent, and (keyword, type, spans in code points) of every match.
fn parts(explanation: &Explanation, title: &str, description: &str) -> Parts {
    let matches = explanation.matches.iter().map(|found| {
        let spans = found.spans.iter().map(|span| {
            let text = if span.field == Field::Title {
                title
            } else {
                description
            };
            let span = span.in_unit(text, Unit::CodePoints);
            (span.field.as_str(), span.start, span.end)
        });
        (
            found.keyword.clone(),
            found.task_type.as_str(),
            spans.collect(),
        )
    });
    (
        explanation.task_type.as_str(),
        explanation.agent.as_str().to_owned(),
        matches.collect(),
    )
}

#[pyfunction]
fn explain_task_type(title: &Bound<'_, PyAny>, description: &Bound<'_, PyAny>) -> PyResult<Parts> {
    let (title, description) = (text(title)?, text(description)?);
    Ok(parts(
        &infer::explain_task_type(&title, &description),
        &title,
        &description,
    ))
}

fn invalid(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A signal table of one's own.
#[pyclass(frozen)]
struct Classifier(infer::Classifier);

#[pymethods]
impl Classifier {
    #[new]
    fn new(signals: Vec<(String, Vec<String>)>, default: &str) -> PyResult<Self> {
        let mut table = Vec::with_capacity(signals.len());
        for (task_type, keywords) in signals {
            table.push((task_type.parse::<TaskType>().map_err(invalid)?, keywords));
        }
        let default = default.parse().map_err(invalid)?;
        infer::Classifier::new(table, default)
            .map(Self)
            .map_err(invalid)
    }

    #[staticmethod]
    fn built_in() -> Self {
        Self(infer::Classifier::built_in())
    }

    #[staticmethod]
    fn from_toml(text: &str) -> PyResult<Self> {
        infer::Classifier::from_toml(text)
            .map(Self)
            .map_err(invalid)
    }

    fn infer(
        &self,
        title: &Bound<'_, PyAny>,
        description: &Bound<'_, PyAny>,
    ) -> PyResult<&'static str> {
        Ok(self.0.infer(&text(title)?, &text(description)?).as_str())
    }

    fn explain(&self, title: &Bound<'_, PyAny>, description: &Bound<'_, PyAny>) -> PyResult<Parts> {
        let (title, description) = (text(title)?, text(description)?);
        Ok(parts(
            &self.0.explain(&title, &description),
            &title,
            &description,
        ))
    }
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
    module.add_class::<Classifier>()?;
    module.add_function(wrap_pyfunction!(infer_task_type, module)?)?;
    module.add_function(wrap_pyfunction!(explain_task_type, module)?)?;
    module.add_function(wrap_pyfunction!(routes, module)?)?;
    module.add_function(wrap_pyfunction!(agents, module)?)
}
