//! Inference and routing for Python.

use std::borrow::Cow;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::infer::{self, Explanation, Unit};
use crate::route::{Registry, select_agent};
use crate::task::TaskType;

/// The text of a string; a lone surrogate becomes U+FFFD, which matches nothing either.
pub(super) fn text<'a>(string: &'a Bound<'_, PyString>) -> Cow<'a, str> {
    match string.to_str() {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(super::values::string_of(string)),
    }
}

/// The index in `routes()` of the type of a text.
#[pyfunction]
fn infer_task_type(title: &Bound<'_, PyString>, description: &Bound<'_, PyString>) -> usize {
    infer::infer_task_type(&text(title), &text(description)) as usize
}

type SpanParts = (&'static str, usize, usize);
type MatchParts = (String, usize, Vec<SpanParts>);

/// Keyword, type and spans in code points of every match.
fn parts(
    title: &Bound<'_, PyString>,
    description: &Bound<'_, PyString>,
    explain: impl FnOnce(&str, &str) -> Explanation,
) -> Vec<MatchParts> {
    let (title, description) = (text(title), text(description));
    let explanation = explain(&title, &description);
    let explanation = explanation.in_unit(&title, &description, Unit::CodePoints);
    let matches = explanation.matches.into_iter().map(|found| {
        let spans = found.spans.iter();
        let spans = spans.map(|span| (span.field.as_str(), span.start, span.end));
        (found.keyword, found.task_type as usize, spans.collect())
    });
    matches.collect()
}

/// Every match in a text.
#[pyfunction]
fn matches(title: &Bound<'_, PyString>, description: &Bound<'_, PyString>) -> Vec<MatchParts> {
    parts(title, description, infer::explain_task_type)
}

pub(super) fn invalid(error: impl std::fmt::Display) -> PyErr {
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

    fn infer(&self, title: &Bound<'_, PyString>, description: &Bound<'_, PyString>) -> usize {
        self.0.infer(&text(title), &text(description)) as usize
    }

    fn matches(
        &self,
        title: &Bound<'_, PyString>,
        description: &Bound<'_, PyString>,
    ) -> Vec<MatchParts> {
        parts(title, description, |title, description| {
            self.0.explain(title, description)
        })
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
    module.add_function(wrap_pyfunction!(matches, module)?)?;
    module.add_function(wrap_pyfunction!(routes, module)?)?;
    module.add_function(wrap_pyfunction!(agents, module)?)
}
