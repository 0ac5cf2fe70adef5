//! The extension module `timmy.dispatcher._core`: translation between Python and the core.

use pyo3::prelude::*;

/// A name of Python's, made into a string of Python's at its first use.
macro_rules! name {
    ($text:literal) => {{
        fn name(py: pyo3::Python<'_>) -> &pyo3::Bound<'_, pyo3::types::PyString> {
            pyo3::intern!(py, $text)
        }
        name as super::seams::Name
    }};
}

mod client;
mod drive;
mod durable;
mod flow;
mod host;
mod infer;
mod label;
mod mailbox;
mod rank;
mod reply;
mod runtime;
mod sandbox;
mod seams;
mod steps;
mod values;
mod watch;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    durable::register(module)?;
    flow::register(module)?;
    infer::register(module)?;
    rank::register(module)?;
    sandbox::register(module)
}
