//! The names of `timmy.dispatcher`, as they are at the moment of a call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::{PyKeyError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::runtime::Inside;
use super::values::PyValue;

/// The module's namespace, and the functions it was born with.
#[pyclass(frozen)]
pub(super) struct Seams {
    namespace: Py<PyDict>,
    originals: HashMap<String, Py<PyAny>>,
}

impl Seams {
    /// Takes the namespace and the names whose replacement is to be noticed.
    pub(super) fn of(namespace: Bound<'_, PyDict>, names: Vec<String>) -> PyResult<Self> {
        let mut originals = HashMap::new();
        for name in names {
            let original = namespace
                .get_item(&name)?
                .ok_or_else(|| PyKeyError::new_err(name.clone()))?;
            originals.insert(name, original.unbind());
        }
        Ok(Self {
            namespace: namespace.unbind(),
            originals,
        })
    }
}

impl Seams {
    /// What a name stands for now.
    pub(super) fn get<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let found = self
            .namespace
            .bind(py)
            .get_item(PyString::intern(py, name))?;
        found.ok_or_else(|| PyKeyError::new_err(name.to_owned()))
    }

    /// What somebody put in place of a function, if so.
    pub(super) fn replacement<'py>(
        &self,
        py: Python<'py>,
        name: &str,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let now = self.get(py, name)?;
        let same = self
            .originals
            .get(name)
            .is_some_and(|original| now.is(original.bind(py)));
        Ok((!same).then_some(now))
    }
}

/// Where the flow leaves what it waits for, and finds what came of it.
#[derive(Default)]
pub(super) struct Slot {
    asked: Mutex<Option<Py<PyAny>>>,
    answer: Mutex<Option<PyResult<Py<PyAny>>>>,
}

impl Slot {
    /// Lets the coroutine that drives the flow await an object.
    pub(super) async fn ask(&self, awaitable: Py<PyAny>) -> PyResult<PyValue> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(awaitable);
        let answer = std::future::poll_fn(|_| {
            let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
            answer
                .take()
                .map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        });
        answer.await.map(PyValue)
    }

    pub(super) fn take_asked(&self) -> Option<Py<PyAny>> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(super) fn put_answer(&self, answer: PyResult<Py<PyAny>>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

type Running = std::pin::Pin<Box<dyn Future<Output = PyResult<Py<PyAny>>> + Send>>;

/// A flow on its way, moved on by a Python coroutine that awaits what it asks for.
#[pyclass(frozen)]
pub(super) struct Flow {
    slot: Arc<Slot>,
    running: Mutex<Option<Running>>,
    result: Mutex<Option<Py<PyAny>>>,
}

impl Flow {
    pub(super) fn new(
        slot: Arc<Slot>,
        running: impl Future<Output = PyResult<Py<PyAny>>> + Send + 'static,
    ) -> Self {
        Self {
            slot,
            running: Mutex::new(Some(Box::pin(running))),
            result: Mutex::new(None),
        }
    }

    fn advance(&self) -> PyResult<Option<Py<PyAny>>> {
        let _inside = Inside::enter()?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(future) = running.as_mut() else {
            return Err(PyRuntimeError::new_err("the flow has ended"));
        };
        // The flow waits for nothing but its slot, so nobody has to wake it.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Pending => match self.slot.take_asked() {
                Some(asked) => Ok(Some(asked)),
                None => Err(PyRuntimeError::new_err("the flow waits for nothing")),
            },
            std::task::Poll::Ready(result) => {
                *running = None;
                *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result?);
                Ok(None)
            }
        }
    }
}

#[pymethods]
impl Flow {
    /// The first object to await, or None where the flow has ended.
    fn start(&self) -> PyResult<Option<Py<PyAny>>> {
        self.advance()
    }

    /// Moves on with what came of the object awaited.
    fn send(&self, value: Py<PyAny>) -> PyResult<Option<Py<PyAny>>> {
        self.slot.put_answer(Ok(value));
        self.advance()
    }

    /// Moves on with the exception that came of it.
    fn throw(&self, error: Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        self.slot.put_answer(Err(PyErr::from_value(error)));
        self.advance()
    }

    /// What the flow came to.
    fn result(&self) -> PyResult<Py<PyAny>> {
        let result = self
            .result
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        result.ok_or_else(|| PyRuntimeError::new_err("the flow has not ended"))
    }

    /// Drops a flow that will not be moved on.
    fn close(&self) {
        drop(
            self.running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }
}

/// Calls with positional arguments.
pub(super) fn call<'py>(
    py: Python<'py>,
    function: &Bound<'py, PyAny>,
    arguments: &[&PyValue],
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = PyTuple::new(py, arguments.iter().map(|argument| argument.0.bind(py)))?;
    function.call1(arguments)
}
