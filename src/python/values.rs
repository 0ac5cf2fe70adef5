//! Python objects as the flow carries them, and exceptions as causes.

use pyo3::exceptions::{PyException, PyOSError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PySlice, PyString};

use crate::dispatch::host::{Cause, Failure, Value};
use crate::dispatch::retry::Transient;
use crate::http::redact_userinfo;

/// Any Python object.
pub(super) struct PyValue(pub(super) Py<PyAny>);

impl Clone for PyValue {
    fn clone(&self) -> Self {
        Python::attach(|py| Self(self.0.clone_ref(py)))
    }
}

impl From<Bound<'_, PyAny>> for PyValue {
    fn from(object: Bound<'_, PyAny>) -> Self {
        Self(object.unbind())
    }
}

impl PyValue {
    pub(super) fn string(py: Python<'_>, text: &str) -> Self {
        Self(PyString::new(py, text).into_any().unbind())
    }

    pub(super) fn number(py: Python<'_>, number: i64) -> Self {
        Self(PyInt::new(py, number).into_any().unbind())
    }

    pub(super) fn none(py: Python<'_>) -> Self {
        Self(py.None())
    }

    pub(super) fn is_true(&self, py: Python<'_>) -> PyResult<bool> {
        self.0.bind(py).is_truthy()
    }
}

impl Value for PyValue {
    fn text(&self) -> String {
        Python::attach(|py| text_of(self.0.bind(py)))
    }

    fn is_text(&self) -> bool {
        Python::attach(|py| self.0.bind(py).is_instance_of::<PyString>())
    }

    fn integer(&self) -> Option<i64> {
        Python::attach(|py| {
            self.0
                .bind(py)
                .cast::<PyInt>()
                .ok()
                .and_then(|number| number.extract().ok())
        })
    }
}

/// `str(object)`, each lone surrogate as U+FFFD.
pub(super) fn text_of(object: &Bound<'_, PyAny>) -> String {
    object
        .str()
        .map_or_else(|_| String::new(), |text| string_of(&text))
}

/// The characters of a string, whatever its class's `__str__` says; each lone surrogate as U+FFFD.
pub(super) fn string_of(text: &Bound<'_, PyString>) -> String {
    if let Ok(valid) = text.to_str() {
        return valid.to_owned();
    }
    let encoded = text.call_method1("encode", ("utf-8", "surrogatepass"));
    let mut bytes: Vec<u8> = encoded
        .and_then(|bytes| bytes.extract())
        .unwrap_or_default();
    // In this encoding a surrogate is ED A0..BF xx, which no valid text holds.
    let mut at = 0;
    while at + 2 < bytes.len() {
        if let Some([0xED, 0xA0..=0xBF, _]) = bytes.get(at..at + 3)
            && let Some(three) = bytes.get_mut(at..at + 3)
        {
            three.copy_from_slice("\u{FFFD}".as_bytes());
            at += 2;
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `object[:count]`.
pub(super) fn first(object: &Bound<'_, PyAny>, count: usize) -> PyResult<PyValue> {
    let slice = object.py().get_type::<PySlice>().call1((count,))?;
    Ok(object.get_item(slice)?.into())
}

/// The cause that stands for an exception.
pub(super) fn cause_of(py: Python<'_>, error: PyErr) -> Cause<PyValue> {
    let transient = is_transient(py, &error).then(Transient::default);
    let value = error.into_value(py).into_bound(py).into_any();
    let text = redact_userinfo(&text_of(&value));
    Cause {
        text,
        shown: PyValue::from(value),
        transient,
    }
}

/// Whether an exception is one that a step may fail with; the others leave the flow.
pub(super) fn is_ordinary(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyException>(py)
}

fn is_transient(py: Python<'_>, error: &PyErr) -> bool {
    if error.is_instance_of::<PyOSError>(py) {
        return true;
    }
    let mro = error.get_type(py).mro();
    let mut of_httpx = false;
    for class in mro.iter() {
        let name = class
            .getattr(intern!(py, "__name__"))
            .map(|name| text_of(&name))
            .unwrap_or_default();
        match name.as_str() {
            // Asking again does not mend these.
            "UnsupportedProtocol" | "LocalProtocolError" => return false,
            "TransportError" => of_httpx = true,
            _ => {}
        }
    }
    of_httpx
}

/// An ordinary exception fails the step; a cancellation and its like leave the flow.
pub(super) fn failure(error: PyErr) -> Failure<PyValue, PyErr> {
    Python::attach(|py| {
        if is_ordinary(py, &error) {
            Failure::Failed(cause_of(py, error))
        } else {
            Failure::Escaped(error)
        }
    })
}
