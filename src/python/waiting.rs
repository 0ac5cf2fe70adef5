//! What a task of asyncio waits for while the core works: a future of Python's in front of one of the
//! core's.
//!
//! asyncio awaits whatever behaves as its own `Future` does. That one has its loop go round once
//! more before the task goes on; this one lets the task go on in the callback that brings the result.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::exceptions::asyncio::{CancelledError, InvalidStateError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::mailbox::Results;

/// Comes to None, once the core's future has ended. Cancelled or forgotten, it drops that one.
#[pyclass(frozen)]
pub(super) struct Waiting {
    event_loop: Py<PyAny>,
    /// By this asyncio knows a future, and that it is being awaited.
    blocking: AtomicBool,
    state: Arc<Mutex<State>>,
    work: AbortHandle,
    process: u32,
}

#[derive(Default)]
struct State {
    outcome: Outcome,
    callbacks: Vec<Callback>,
}

#[derive(Default)]
enum Outcome {
    #[default]
    Pending,
    Done,
    /// With what the panic said.
    Panicked(String),
    /// With the message that the cancellation was given.
    Cancelled(Py<PyAny>),
}

/// What is called at the end, in which context, with which future.
struct Callback {
    function: Py<PyAny>,
    context: Option<Py<PyAny>>,
    future: Py<Waiting>,
}

/// Not held while Python code runs.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets how it ended, unless it has; the callbacks are then the caller's to call.
fn end(state: &Mutex<State>, outcome: Outcome) -> Option<Vec<Callback>> {
    let mut state = lock(state);
    if !matches!(state.outcome, Outcome::Pending) {
        return None;
    }
    state.outcome = outcome;
    Some(std::mem::take(&mut state.callbacks))
}

/// Ends it in the thread of its loop.
fn complete(py: Python<'_>, state: &Mutex<State>, outcome: Outcome) -> PyResult<()> {
    for callback in end(state, outcome).into_iter().flatten() {
        let (function, future) = (callback.function, callback.future);
        match callback.context {
            Some(context) => {
                context.call_method1(py, intern!(py, "run"), (function, future))?;
            }
            None => {
                function.call1(py, (future,))?;
            }
        }
    }
    Ok(())
}

impl Waiting {
    /// Spawns a future on tokio; its end reaches the loop by way of `results`.
    pub(super) fn spawn<'py, F>(
        event_loop: Bound<'py, PyAny>,
        results: Results,
        tokio: &Handle,
        future: F,
    ) -> PyResult<Bound<'py, Self>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let state = Arc::<Mutex<State>>::default();
        let ended = Arc::clone(&state);
        let work = tokio.spawn(async move {
            let outcome = match AssertUnwindSafe(future).catch_unwind().await {
                Ok(()) => Outcome::Done,
                Err(panic) => Outcome::Panicked(said(panic.as_ref())),
            };
            results.post(Box::new(move |py| complete(py, &ended, outcome)));
        });
        let waiting = Self {
            event_loop: event_loop.clone().unbind(),
            blocking: AtomicBool::new(false),
            state,
            work: work.abort_handle(),
            process: std::process::id(),
        };
        Bound::new(event_loop.py(), waiting)
    }

    fn done(&self) -> bool {
        !matches!(lock(&self.state).outcome, Outcome::Pending)
    }

    fn call_soon(&self, py: Python<'_>, callback: Callback) -> PyResult<()> {
        let keywords = PyDict::new(py);
        if let Some(context) = callback.context {
            keywords.set_item(intern!(py, "context"), context)?;
        }
        let event_loop = self.event_loop.bind(py);
        let arguments = (callback.function, callback.future);
        event_loop.call_method(intern!(py, "call_soon"), arguments, Some(&keywords))?;
        Ok(())
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("something that is no text").to_owned()
}

/// What a task of asyncio asks of a future.
#[pymethods]
impl Waiting {
    #[getter(_asyncio_future_blocking)]
    fn blocking(&self) -> bool {
        self.blocking.load(Ordering::Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.blocking.store(blocking, Ordering::Relaxed);
    }

    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    #[pyo3(signature = (function, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        function: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let this = slf.get();
        let callback = Callback {
            function,
            context,
            future: slf.clone().unbind(),
        };
        {
            let mut state = lock(&this.state);
            if matches!(state.outcome, Outcome::Pending) {
                state.callbacks.push(callback);
                return Ok(());
            }
        }
        this.call_soon(slf.py(), callback)
    }

    /// As asyncio does it, the callbacks are called soon, not now.
    #[pyo3(signature = (msg=None))]
    fn cancel(&self, py: Python<'_>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let message = msg.unwrap_or_else(|| py.None());
        let Some(callbacks) = end(&self.state, Outcome::Cancelled(message)) else {
            return Ok(false);
        };
        self.work.abort();
        for callback in callbacks {
            self.call_soon(py, callback)?;
        }
        Ok(true)
    }

    fn result(&self, py: Python<'_>) -> PyResult<()> {
        Err(match &lock(&self.state).outcome {
            Outcome::Done => return Ok(()),
            Outcome::Pending => InvalidStateError::new_err("Result is not set."),
            Outcome::Panicked(text) => {
                PyRuntimeError::new_err(format!("the core panicked: {text}"))
            }
            Outcome::Cancelled(message) if message.is_none(py) => CancelledError::new_err(()),
            Outcome::Cancelled(message) => CancelledError::new_err((message.clone_ref(py),)),
        })
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: Bound<'_, Self>) -> PyResult<Option<Bound<'_, Self>>> {
        if slf.get().done() {
            return slf.get().result(slf.py()).map(|()| None);
        }
        slf.get().set_blocking(true);
        Ok(Some(slf))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        if let Ok(state) = self.state.try_lock() {
            for callback in &state.callbacks {
                visit.call(&callback.function)?;
                visit.call(&callback.context)?;
                visit.call(&callback.future)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let callbacks = std::mem::take(&mut lock(&self.state).callbacks);
        drop(callbacks);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // In a forked child the work is nobody's, and a lock of tokio's may be held for ever.
        if !self.done() && self.process == std::process::id() {
            self.work.abort();
        }
    }
}
