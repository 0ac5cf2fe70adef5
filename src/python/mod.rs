//! The extension module `timmy.dispatcher._core`: translation between Python and the core.

use pyo3::prelude::*;

mod client;
mod flow;
mod host;
mod infer;
mod runtime;
mod sandbox;
mod seams;
mod values;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    flow::register(module)?;
    infer::register(module)?;
    sandbox::register(module)
}
