//! Inference and routing for Python.

use std::borrow::Cow;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyInt, PyString, PyTuple, PyType};

use crate::infer::{self, Explanation, Field, Span, Unit};
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

/// The dataclasses that matches are made of, and the members of `TaskType` as `routes()` has them.
type Classes<'py> = (Bound<'py, PyType>, Bound<'py, PyType>, Bound<'py, PyTuple>);

/// A `Match` for every keyword found, by position; its spans count code points.
fn found<'py>(
    title: &Bound<'py, PyString>,
    description: &Bound<'py, PyString>,
    (match_class, span_class, types): &Classes<'py>,
    explain: impl FnOnce(&str, &str) -> Explanation,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = title.py();
    let (title, description) = (text(title), text(description));
    let explanation = explain(&title, &description);
    let explanation = explanation.in_unit(&title, &description, Unit::CodePoints);
    let span = |span: &Span| {
        let field = match span.field {
            Field::Title => intern!(py, "title"),
            Field::Description => intern!(py, "description"),
        };
        frozen(
            span_class,
            [
                (intern!(py, "field"), field.clone().into_any()),
                (intern!(py, "start"), PyInt::new(py, span.start).into_any()),
                (intern!(py, "end"), PyInt::new(py, span.end).into_any()),
            ],
        )
    };
    let matches = explanation.matches.iter().map(|found| {
        let spans = found.spans.iter().map(span).collect::<PyResult<Vec<_>>>()?;
        let keyword = PyString::new(py, &found.keyword);
        let task_type = types.get_item(found.task_type as usize)?;
        frozen(
            match_class,
            [
                (intern!(py, "keyword"), keyword.into_any()),
                (intern!(py, "task_type"), task_type),
                (intern!(py, "spans"), PyTuple::new(py, spans)?.into_any()),
            ],
        )
    });
    PyTuple::new(py, matches.collect::<PyResult<Vec<_>>>()?)
}

/// An instance of a frozen dataclass. Its own constructor sets each field through a function of
/// Python's, which takes longer than the whole search.
fn frozen<'py, const N: usize>(
    class: &Bound<'py, PyType>,
    fields: [(&Bound<'py, PyString>, Bound<'py, PyAny>); N],
) -> PyResult<Bound<'py, PyAny>> {
    static NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = class.py();
    let new = NEW.get_or_try_init(py, || {
        let object = py.get_type::<PyAny>();
        Ok::<_, PyErr>(object.getattr(intern!(py, "__new__"))?.unbind())
    })?;
    let made = new.bind(py).call1((class,))?;
    let attributes = made.getattr(intern!(py, "__dict__"))?;
    let attributes = attributes.cast::<PyDict>()?;
    for (name, value) in fields {
        attributes.set_item(name, value)?;
    }
    Ok(made)
}

/// Every match in a text.
#[pyfunction]
fn matches<'py>(
    title: &Bound<'py, PyString>,
    description: &Bound<'py, PyString>,
    classes: Classes<'py>,
) -> PyResult<Bound<'py, PyTuple>> {
    found(title, description, &classes, infer::explain_task_type)
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

    fn matches<'py>(
        &self,
        title: &Bound<'py, PyString>,
        description: &Bound<'py, PyString>,
        classes: Classes<'py>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        found(title, description, &classes, |title, description| {
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
