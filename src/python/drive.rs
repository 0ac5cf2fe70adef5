//! A flow of the core as a Python awaitable.
//!
//! The flow leaves in its [`Slot`] what it waits for: a coroutine of httpx or of a replaced
//! function, a future of asyncio. [`Flow`] is awaited by a coroutine function of the module,
//! awaits that object in the flow's place, and moves the flow on with what came of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use pyo3::exceptions::{PyGeneratorExit, PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyIterator;
use pyo3::types::iterator::PySendResult;

use super::runtime::Inside;
use super::values::PyValue;
use crate::http::Native;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the flow leaves what it waits for, and finds what came of it.
#[derive(Default)]
pub(super) struct Slot(Mutex<Exchange>);

#[derive(Default)]
enum Exchange {
    #[default]
    Nothing,
    Asked(Py<PyAny>),
    Answered(PyResult<Py<PyAny>>),
}

impl Slot {
    /// Lets Python await an object.
    pub(super) async fn ask(&self, awaitable: Py<PyAny>) -> PyResult<PyValue> {
        *lock(&self.0) = Exchange::Asked(awaitable);
        let answer = std::future::poll_fn(|_| {
            let mut exchange = lock(&self.0);
            match std::mem::take(&mut *exchange) {
                Exchange::Answered(answer) => Poll::Ready(answer),
                unanswered => {
                    *exchange = unanswered;
                    Poll::Pending
                }
            }
        });
        answer.await.map(PyValue)
    }

    fn asked(&self) -> Option<Py<PyAny>> {
        match std::mem::take(&mut *lock(&self.0)) {
            Exchange::Asked(awaitable) => Some(awaitable),
            _ => None,
        }
    }

    fn answer(&self, answer: PyResult<Py<PyAny>>) {
        *lock(&self.0) = Exchange::Answered(answer);
    }

    /// Lets asyncio wait for a future of the core, which may use the transport of this process.
    /// Cancelled there, it is dropped.
    pub(super) async fn wait<F>(
        &self,
        future: impl FnOnce(Native) -> F + Send + 'static,
    ) -> PyResult<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (done, mut result) = tokio::sync::oneshot::channel();
        let waiting = Python::attach(|py| -> PyResult<Py<PyAny>> {
            let waiting = |transport| {
                let future = future(transport);
                async move {
                    let _ = done.send(future.await);
                }
            };
            Ok(super::runtime::awaitable(py, waiting)?.unbind())
        })?;
        self.ask(waiting).await?;
        result
            .try_recv()
            .map_err(|_| PyRuntimeError::new_err("the dispatcher is shutting down"))
    }
}

type Running = Pin<Box<dyn Future<Output = PyResult<Py<PyAny>>> + Send>>;

/// A flow on its way. Dropped or closed, it ends where it stands.
#[pyclass(frozen)]
pub(super) struct Flow {
    slot: Arc<Slot>,
    /// None while it moves on, and once it has ended.
    resting: Mutex<Option<Resting>>,
}

/// A flow between two moves.
struct Resting {
    running: Running,
    /// The iterator of what the flow waits for, once it has begun.
    awaited: Option<Py<PyIterator>>,
}

/// What an awaited object did.
enum Moved {
    Yielded(Py<PyAny>),
    Ended(PyResult<Py<PyAny>>),
}

impl Flow {
    pub(super) fn new(
        slot: Arc<Slot>,
        running: impl Future<Output = PyResult<Py<PyAny>>> + Send + 'static,
    ) -> Self {
        let resting = Resting {
            running: Box::pin(running),
            awaited: None,
        };
        Self {
            slot,
            resting: Mutex::new(Some(resting)),
        }
    }

    fn has_begun(&self) -> bool {
        let resting = lock(&self.resting);
        resting.as_ref().is_some_and(|flow| flow.awaited.is_some())
    }

    /// Ends the flow where it stands. Not while the lock is held: that runs Python code.
    fn end(&self) {
        let resting = lock(&self.resting).take();
        drop(resting);
    }

    /// Moves the flow on until an object that it waits for yields, or it ends.
    fn go_on(
        &self,
        py: Python<'_>,
        step: impl FnOnce(&Bound<'_, PyIterator>) -> PyResult<Moved>,
    ) -> PyResult<Py<PyAny>> {
        let _inside = Inside::enter()?;
        // No lock is held while Python code runs.
        let resting = lock(&self.resting).take();
        let Some(Resting {
            mut running,
            awaited,
        }) = resting
        else {
            return Err(PyRuntimeError::new_err("the flow has ended"));
        };
        let mut moved = match awaited {
            Some(awaited) => {
                let moved = step(awaited.bind(py))?;
                Some((awaited, moved))
            }
            None => None,
        };
        loop {
            match moved {
                Some((awaited, Moved::Yielded(value))) => {
                    let awaited = Some(awaited);
                    *lock(&self.resting) = Some(Resting { running, awaited });
                    return Ok(value);
                }
                Some((_, Moved::Ended(result))) => self.slot.answer(result),
                None => {}
            }
            let asked = self.poll(py, &mut running)?;
            moved = match iterator_of(asked.into_bound(py)) {
                Ok(awaited) => {
                    let first = send(&awaited)?;
                    Some((awaited.unbind(), first))
                }
                Err(error) => {
                    self.slot.answer(Err(error));
                    None
                }
            };
        }
    }

    /// What the flow waits for next; where it has ended, what it came to as an exception, which is
    /// how an iterator of Python's says so.
    fn poll(&self, py: Python<'_>, running: &mut Running) -> PyResult<Py<PyAny>> {
        // The flow waits for nothing but its slot, so nobody has to wake it.
        let mut context = Context::from_waker(Waker::noop());
        match running.as_mut().poll(&mut context) {
            Poll::Pending => {
                let asked = self.slot.asked();
                asked.ok_or_else(|| PyRuntimeError::new_err("the flow waits for nothing"))
            }
            Poll::Ready(Ok(result)) => Err(PyStopIteration::new_err((result,))),
            // From a coroutine it would look like a result.
            Poll::Ready(Err(error)) if error.is_instance_of::<PyStopIteration>(py) => {
                let raised = PyRuntimeError::new_err("coroutine raised StopIteration");
                raised.set_cause(py, Some(error));
                Err(raised)
            }
            Poll::Ready(Err(error)) => Err(error),
        }
    }
}

/// The iterator behind an awaitable, as `await` takes it.
fn iterator_of(awaitable: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyIterator>> {
    let py = awaitable.py();
    match awaitable.get_type().getattr(intern!(py, "__await__")) {
        Ok(method) => Ok(method.call1((awaitable,))?.cast_into()?),
        // What else can be awaited, and the error for what cannot, is known to Python alone.
        Err(_) => {
            let module = py.import(intern!(py, "timmy.dispatcher._http"))?;
            let coroutine = module.call_method1(intern!(py, "awaited"), (awaitable,))?;
            iterator_of(coroutine)
        }
    }
}

fn send(awaited: &Bound<'_, PyIterator>) -> PyResult<Moved> {
    let py = awaited.py();
    Ok(match awaited.send(py.None().bind(py)) {
        Ok(PySendResult::Next(value)) => Moved::Yielded(value.unbind()),
        Ok(PySendResult::Return(value)) => Moved::Ended(Ok(value.unbind())),
        Err(error) => Moved::Ended(Err(error)),
    })
}

fn throw(awaited: &Bound<'_, PyIterator>, error: PyErr) -> PyResult<Moved> {
    let py = awaited.py();
    let Ok(method) = awaited.getattr(intern!(py, "throw")) else {
        return Ok(Moved::Ended(Err(error)));
    };
    Ok(match method.call1((error.into_value(py),)) {
        Ok(value) => Moved::Yielded(value.unbind()),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
            let value = error.value(py).getattr(intern!(py, "value"))?;
            Moved::Ended(Ok(value.unbind()))
        }
        Err(error) => Moved::Ended(Err(error)),
    })
}

#[pymethods]
impl Flow {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.go_on(py, send)
    }

    /// Throws into what the flow waits for; what comes of that is the flow's to judge.
    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = kind.py();
        let error = PyErr::from_value(value.unwrap_or(kind));
        if let Some(Ok(traceback)) = traceback.map(Bound::cast_into) {
            error.set_traceback(py, Some(traceback));
        }
        if !self.has_begun() {
            self.end();
            return Err(error);
        }
        self.go_on(py, |awaited| throw(awaited, error))
    }

    /// Ends what the flow waits for, and the flow, which may still leave a client.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if !self.has_begun() {
            self.end();
            return Ok(());
        }
        let exit = PyGeneratorExit::new_err(());
        let closed = match self.go_on(py, |awaited| throw(awaited, exit)) {
            Ok(_) => Err(PyRuntimeError::new_err("coroutine ignored GeneratorExit")),
            Err(error) if error.is_instance_of::<PyGeneratorExit>(py) => Ok(()),
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => Ok(()),
            Err(error) => Err(error),
        };
        self.end();
        closed
    }
}
