//! `_core.DurableDispatcher`: the dispatcher that survives its process, with JSON passed through as
//! text.

mod calls;
mod config;
mod doctor;
mod json;
mod log;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::drive::{Flow, Slot};
use super::mailbox::Results;
use super::runtime;
use super::values::string_of;
use crate::durable::{Dispatcher, DispatcherError, Refused};
use crate::ledger::machine::Phase;
use crate::ledger::{Entry, LedgerError};
use crate::task::UnknownName;
use calls::Function;
use config::{Config, Submission};
pub(super) use log::LogLines;

mod errors {
    pyo3::import_exception!(timmy.dispatcher.durable._errors, DispatcherError);
    pyo3::import_exception!(timmy.dispatcher.durable._errors, Forked);
    pyo3::import_exception!(timmy.dispatcher.durable._errors, LedgerError);
    pyo3::import_exception!(timmy.dispatcher.durable._errors, NotNow);
    pyo3::import_exception!(timmy.dispatcher.durable._errors, OtherTask);
    pyo3::import_exception!(timmy.dispatcher.durable._errors, Refused);
    pyo3::import_exception!(timmy.dispatcher.durable._errors, Unknown);
}

impl From<DispatcherError> for PyErr {
    fn from(error: DispatcherError) -> Self {
        let text = error.to_string();
        match error {
            DispatcherError::Refused(_)
            | DispatcherError::Config(_)
            | DispatcherError::Ledger(
                LedgerError::UnknownAgent { .. } | LedgerError::Unusable(_),
            ) => errors::Refused::new_err(text),
            DispatcherError::NotNow { .. } => errors::NotNow::new_err(text),
            DispatcherError::Ledger(LedgerError::Forked | LedgerError::Inherited(_)) => {
                errors::Forked::new_err(text)
            }
            DispatcherError::Ledger(LedgerError::OtherTask { .. }) => {
                errors::OtherTask::new_err(text)
            }
            DispatcherError::Ledger(LedgerError::Unknown(_)) => errors::Unknown::new_err(text),
            DispatcherError::Ledger(_) => errors::LedgerError::new_err(text),
            DispatcherError::Receive(_) => errors::DispatcherError::new_err(text),
        }
    }
}

/// How long the ledger may take to be closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A dispatcher that is closed when nobody has it any more.
struct Open {
    /// Nothing once it is closed.
    dispatcher: Mutex<Option<Dispatcher>>,
    closed: watch::Sender<bool>,
    tokio: tokio::runtime::Handle,
    process: u32,
}

impl Open {
    fn dispatcher(&self) -> PyResult<Dispatcher> {
        if self.process != std::process::id() {
            return Err(DispatcherError::from(LedgerError::Forked).into());
        }
        let dispatcher = self
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let closed = || errors::DispatcherError::new_err("the dispatcher is closed");
        dispatcher.clone().ok_or_else(closed)
    }

    fn is_closed(&self) -> bool {
        self.process == std::process::id() && *self.closed.borrow()
    }

    /// Goes on if nobody waits for it any more.
    fn close(&self, limit: Duration) -> tokio::task::JoinHandle<()> {
        let taken = self
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let closed = self.closed.clone();
        self.tokio.spawn(async move {
            match taken {
                Some(dispatcher) => {
                    dispatcher.close(limit).await;
                    let mut open = dispatcher.ledger().changes();
                    drop(dispatcher);
                    // Whoever waits has it too, until now.
                    closed.send_replace(true);
                    // A fork must not find the file open any more.
                    let gone = async { while open.changed().await.is_ok() {} };
                    let _ = tokio::time::timeout(PATIENCE, gone).await;
                }
                None => {
                    let _ = closed.subscribe().wait_for(|closed| *closed).await;
                }
            }
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let dispatcher = self
            .dispatcher
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if self.process != std::process::id() {
            // The connections and the proof of life are the parent's, and so are the locks.
            std::mem::forget(dispatcher.take());
            std::mem::forget(std::mem::replace(
                &mut self.closed,
                watch::Sender::new(true),
            ));
        } else if dispatcher.is_some() {
            drop(self.close(Duration::ZERO));
        }
    }
}

/// Closes a dispatcher whose loop is closed: its agents and gates have nowhere to run.
async fn close_with(
    results: Results,
    open: std::sync::Weak<Open>,
    mut closed: watch::Receiver<bool>,
) {
    tokio::select! {
        () = results.closed() => {
            if let Some(open) = open.upgrade() {
                drop(open.close(Duration::ZERO));
            }
        }
        _ = closed.wait_for(|closed| *closed) => {}
    }
}

/// A flow that waits for a future of the core, and what Python makes of its result.
fn flow<T, F>(
    begin: impl FnOnce() -> PyResult<F> + Send + 'static,
    answer: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
) -> Flow
where
    F: Future<Output = Result<T, DispatcherError>> + Send + 'static,
    T: Send + 'static,
{
    let slot = Arc::<Slot>::default();
    let waiting = Arc::clone(&slot);
    Flow::new(slot, async move {
        let future = begin()?;
        let result = waiting.wait(|_| future).await?;
        Python::attach(|py| answer(py, result?))
    })
}

fn text(py: Python<'_>, value: &Value) -> Py<PyAny> {
    PyString::new(py, &value.to_string()).into_any().unbind()
}

fn list<T>(py: Python<'_>, values: &[T], json: impl Fn(&T) -> Value) -> Py<PyAny> {
    text(py, &values.iter().map(json).collect())
}

fn id_of(text: &str) -> PyResult<Uuid> {
    text.parse()
        .map_err(|_| PyValueError::new_err(format!("{text:?} is no id: an id is a UUID")))
}

type Begins = Vec<(String, Py<PyAny>)>;

/// An open dispatcher. `timmy.dispatcher.durable.Dispatcher` is its Python face.
#[pyclass(frozen, module = "timmy.dispatcher._core")]
struct DurableDispatcher(Arc<Open>);

impl DurableDispatcher {
    /// A flow over the dispatcher, which is looked for when the flow begins.
    fn flow<T, F>(
        &self,
        begin: impl FnOnce(Dispatcher) -> F + Send + 'static,
        answer: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> Flow
    where
        F: Future<Output = Result<T, DispatcherError>> + Send + 'static,
        T: Send + 'static,
    {
        let open = Arc::clone(&self.0);
        flow(move || Ok(begin(open.dispatcher()?)), answer)
    }
}

#[pymethods]
impl DurableDispatcher {
    /// A flow that comes to an open dispatcher. A function of `agents`, `gates` and `callbacks` takes
    /// the text of an assignment, a question or an escalation and a function for the answer, and
    /// returns the task that it began.
    #[staticmethod]
    fn open(
        config: &Bound<'_, PyString>,
        works: bool,
        agents: Begins,
        gates: Begins,
        callbacks: Begins,
    ) -> Flow {
        let config = string_of(config);
        let slot = Arc::<Slot>::default();
        let waiting = Arc::clone(&slot);
        Flow::new(slot, async move {
            let config = Config::read(&config).map_err(DispatcherError::from)?;
            let secrets = Arc::new(config.secrets());
            let (results, log_lines) = Python::attach(|py| -> PyResult<_> {
                Ok((runtime::results(py)?, runtime::log_lines(py)?))
            })?;
            log_lines.go_to(results.clone());
            let opening = move |transport| async move {
                let mut builder = config.builder(transport)?;
                for (name, begin) in agents {
                    let function = Function::new(begin, results.clone());
                    let handler = calls::handler(function, Arc::clone(&secrets));
                    builder = builder.local_agent(name, handler);
                }
                for (name, begin) in gates {
                    let function = Function::new(begin, results.clone());
                    builder = builder.gate(name, calls::gate(function, Arc::clone(&secrets)));
                }
                for (name, begin) in callbacks {
                    let function = Function::new(begin, results.clone());
                    builder = builder.callback(name, calls::callback(function));
                }
                let dispatcher = match works {
                    true => builder.open().await?,
                    false => builder.visit().await?,
                };
                // From here on it is closed where it is dropped.
                let open = Arc::new(Open {
                    dispatcher: Mutex::new(Some(dispatcher)),
                    closed: watch::Sender::new(false),
                    tokio: tokio::runtime::Handle::current(),
                    process: std::process::id(),
                });
                let closed = open.closed.subscribe();
                tokio::spawn(close_with(results, Arc::downgrade(&open), closed));
                Ok::<_, DispatcherError>(open)
            };
            let open = waiting.wait(opening).await??;
            Python::attach(|py| Ok(Bound::new(py, Self(open))?.into_any().unbind()))
        })
    }

    fn submit(&self, task: &Bound<'_, PyString>) -> Flow {
        let task = string_of(task);
        let submit = move |dispatcher: Dispatcher| async move {
            let (task, wishes) = Submission::read(&task)?;
            let submitted = dispatcher.submit(&task, &wishes).await?;
            Ok((submitted.id().to_string(), submitted.is_new()))
        };
        self.flow(submit, |py, submitted| {
            Ok(submitted.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// Comes to the whole story of a dispatch that has ended.
    fn wait(&self, id: &str) -> PyResult<Flow> {
        let id = id_of(id)?;
        let mut closed = self.0.closed.subscribe();
        let wait = move |dispatcher: Dispatcher| async move {
            tokio::select! {
                ended = dispatcher.wait(id) => ended?,
                _ = closed.wait_for(|closed| *closed) => return Ok(None),
            };
            dispatcher.story(id).await.map(Some)
        };
        Ok(self.flow(wait, |py, story| match story {
            Some(story) => Ok(text(py, &json::story(&story))),
            None => Err(errors::DispatcherError::new_err(
                "the dispatcher was closed",
            )),
        }))
    }

    fn get(&self, id: &str) -> PyResult<Flow> {
        let id = id_of(id)?;
        let get = move |dispatcher: Dispatcher| async move { dispatcher.get(id).await };
        Ok(self.flow(get, |py, record| Ok(text(py, &json::record(&record)))))
    }

    fn story(&self, id: &str) -> PyResult<Flow> {
        let id = id_of(id)?;
        let story = move |dispatcher: Dispatcher| async move { dispatcher.story(id).await };
        Ok(self.flow(story, |py, story| Ok(text(py, &json::story(&story)))))
    }

    fn list(&self, finished: bool, limit: usize) -> Flow {
        let list_them =
            move |dispatcher: Dispatcher| async move { dispatcher.list(finished, limit).await };
        self.flow(list_them, |py, records| {
            Ok(list(py, &records, json::record))
        })
    }

    /// `what` is one of cancel, retry, hold (for that reason), release.
    fn steer(&self, id: &str, what: &str, reason: &Bound<'_, PyString>) -> PyResult<Flow> {
        let (id, what, reason) = (id_of(id)?, what.to_owned(), string_of(reason));
        let steer = move |dispatcher: Dispatcher| async move {
            match what.as_str() {
                "cancel" => dispatcher.cancel(id).await,
                "retry" => dispatcher.retry(id).await,
                "hold" => dispatcher.hold(id, &reason).await,
                _ => dispatcher.release(id).await,
            }
        };
        Ok(self.flow(steer, |py, record| Ok(text(py, &json::record(&record)))))
    }

    fn retype(&self, id: &str, task_type: String) -> PyResult<Flow> {
        let id = id_of(id)?;
        let retype = move |dispatcher: Dispatcher| async move {
            let task_type = task_type.parse();
            let task_type =
                task_type.map_err(|unknown: UnknownName| Refused(unknown.to_string()))?;
            dispatcher.retype(id, task_type).await
        };
        Ok(self.flow(retype, |py, record| Ok(text(py, &json::record(&record)))))
    }

    /// Where webhooks and callbacks are received.
    fn received_at(&self) -> PyResult<Option<String>> {
        let address = self.0.dispatcher()?.received_at();
        Ok(address.map(|address| address.to_string()))
    }

    fn pause(&self, agent: Option<String>, paused: bool) -> Flow {
        let pause =
            move |dispatcher: Dispatcher| async move { dispatcher.pause(agent, paused).await };
        self.flow(pause, |py, ()| Ok(py.None()))
    }

    fn outbox(&self, limit: usize) -> Flow {
        let outbox = move |dispatcher: Dispatcher| async move { dispatcher.outbox(limit).await };
        self.flow(outbox, |py, errands| Ok(list(py, &errands, json::effect)))
    }

    fn hasten(&self, effect: &str) -> PyResult<Flow> {
        let effect = id_of(effect)?;
        let hasten = move |dispatcher: Dispatcher| async move {
            Ok(dispatcher.ledger().hasten(effect).await?)
        };
        Ok(self.flow(hasten, |py, done| {
            Ok(done.into_pyobject(py)?.to_owned().into_any().unbind())
        }))
    }

    fn abandon(&self, effect: &str) -> PyResult<Flow> {
        let effect = id_of(effect)?;
        let abandon = move |dispatcher: Dispatcher| async move {
            Ok(dispatcher.ledger().abandon(effect).await?)
        };
        Ok(self.flow(abandon, |py, done| {
            Ok(done.into_pyobject(py)?.to_owned().into_any().unbind())
        }))
    }

    /// Comes to pairs of an id and why it stays held.
    fn restored(&self) -> Flow {
        let restored = |dispatcher: Dispatcher| async move { dispatcher.restored().await };
        self.flow(restored, |py, found| {
            let pairs: Vec<(String, Option<String>)> = found
                .into_iter()
                .map(|one| (one.id.to_string(), one.held))
                .collect();
            Ok(pairs.into_pyobject(py)?.into_any().unbind())
        })
    }

    fn relocate(&self, old: String, new: String) -> Flow {
        let relocate =
            move |dispatcher: Dispatcher| async move { dispatcher.relocate(&old, &new).await };
        self.flow(relocate, |py, moved| {
            Ok(moved.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// Comes to an empty list where the dispatcher is closed.
    fn events(&self, after: i64, limit: usize) -> Flow {
        let open = Arc::clone(&self.0);
        let events = move || {
            let mut closed = open.closed.subscribe();
            // In a child it is not closed but somebody else's.
            let dispatcher = match open.is_closed() {
                true => None,
                false => Some(open.dispatcher()?),
            };
            Ok(async move {
                let Some(dispatcher) = dispatcher else {
                    return Ok(Vec::new());
                };
                tokio::select! {
                    events = dispatcher.events(after, limit) => events,
                    _ = closed.wait_for(|closed| *closed) => Ok(Vec::new()),
                }
            })
        };
        flow(events, |py, entries: Vec<Entry>| {
            Ok(list(py, &entries, json::event))
        })
    }

    /// Comes to the number of the newest event.
    fn last_event(&self) -> Flow {
        let last = move |dispatcher: Dispatcher| async move {
            Ok(dispatcher.ledger().last_event().await?)
        };
        self.flow(last, |py, seq| {
            Ok(seq.into_pyobject(py)?.into_any().unbind())
        })
    }

    fn close(&self, timeout: f64) -> PyResult<Flow> {
        let invalid = |_| PyValueError::new_err("timeout must be a number of seconds, 0 or more");
        let limit = Duration::try_from_secs_f64(timeout).map_err(invalid)?;
        let open = Arc::clone(&self.0);
        let close = move || {
            if open.process != std::process::id() {
                return Err(DispatcherError::from(LedgerError::Forked).into());
            }
            let closing = open.close(limit);
            Ok(async move {
                let _ = closing.await;
                Ok::<_, DispatcherError>(())
            })
        };
        Ok(flow(close, |py, ()| Ok(py.None())))
    }
}

/// What would become of a task.
#[pyfunction]
fn plan(
    py: Python<'_>,
    config: &Bound<'_, PyString>,
    task: &Bound<'_, PyString>,
) -> PyResult<Py<PyAny>> {
    let planned = || -> Result<Value, DispatcherError> {
        let config = Config::read(&string_of(config))?;
        let (task, wishes) = Submission::read(&string_of(task))?;
        let registry = config.registry()?;
        let planned = config
            .builder(crate::http::Native::new())?
            .plan(&task, &wishes)?;
        Ok(json::plan(&planned, &registry))
    };
    Ok(text(py, &planned()?))
}

/// The names of the phases.
#[pyfunction]
fn phases() -> Vec<&'static str> {
    Phase::ALL.iter().map(|phase| phase.as_str()).collect()
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<DurableDispatcher>()?;
    doctor::register(module)?;
    module.add_function(wrap_pyfunction!(plan, module)?)?;
    module.add_function(wrap_pyfunction!(phases, module)?)
}
