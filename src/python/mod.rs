//! The extension module `timmy.dispatcher._core`: translation between Python and the core.

use pyo3::prelude::*;

mod infer;
mod sandbox;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    infer::register(module)?;
    sandbox::register(module)?;
    Ok(())
}
