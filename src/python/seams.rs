//! The names of `timmy.dispatcher`, as they are at the moment of a call.

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::values::PyValue;

/// A name that is made into a Python string once; see [`name!`].
pub(super) type Name = for<'py> fn(Python<'py>) -> &'py Bound<'py, PyString>;

/// The module's namespace, and the functions it was born with.
#[pyclass(frozen)]
pub(super) struct Seams {
    namespace: Py<PyDict>,
    originals: Py<PyDict>,
    sleep: Py<PyAny>,
}

impl Seams {
    /// Takes the namespace and the names whose replacement is to be noticed.
    pub(super) fn of(namespace: Bound<'_, PyDict>, names: Vec<String>) -> PyResult<Self> {
        let originals = PyDict::new(namespace.py());
        for name in names {
            let original = namespace.get_item(&name)?;
            let original = original.ok_or_else(|| PyKeyError::new_err(name.clone()))?;
            originals.set_item(name, original)?;
        }
        let asyncio = namespace.py().import("asyncio")?;
        Ok(Self {
            sleep: asyncio.getattr("sleep")?.unbind(),
            namespace: namespace.unbind(),
            originals: originals.unbind(),
        })
    }

    /// What a name stands for now.
    pub(super) fn get<'py>(&self, py: Python<'py>, name: Name) -> PyResult<Bound<'py, PyAny>> {
        let name = name(py);
        let found = self.namespace.bind(py).get_item(name)?;
        found.ok_or_else(|| PyKeyError::new_err(name.clone().unbind()))
    }

    /// Whether that is asyncio's own sleep, as it was when this was made.
    pub(super) fn is_original_sleep(&self, sleep: &Bound<'_, PyAny>) -> bool {
        sleep.is(&self.sleep)
    }

    /// What somebody put in place of a function, if so.
    pub(super) fn replacement<'py>(
        &self,
        py: Python<'py>,
        name: Name,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let now = self.get(py, name)?;
        let original = self.originals.bind(py).get_item(name(py))?;
        let same = original.is_some_and(|original| now.is(&original));
        Ok((!same).then_some(now))
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
