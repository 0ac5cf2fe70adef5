//! The tokio runtime behind Python: one per process, gone before the interpreter is.
//!
//! The stock runtime of pyo3-async-runtimes does not survive `fork`, and at exit its threads meet
//! an interpreter that is shutting down. This one belongs to a process id and is shut down by
//! `atexit`. Its thread never waits for the GIL: results go to the mailbox of their event loop,
//! which the loop empties itself.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::ThreadId;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::prelude::*;
use pyo3_async_runtimes::TaskLocals;
use pyo3_async_runtimes::generic::{self, ContextExt};
use tokio::runtime::Handle;

use super::durable::LogLines;
use super::mailbox::{Mailboxes, Results};
use crate::http::Native;

struct Process {
    id: u32,
    tokio: tokio::runtime::Runtime,
    transport: Native,
    mailboxes: Mailboxes,
    log_lines: LogLines,
}

/// Taken only with the GIL held and never while it is released, so a fork finds it free.
static PROCESS: Mutex<Option<Process>> = Mutex::new(None);

/// Who is inside a flow, and whether the interpreter is ending. Locked as [`PROCESS`] is.
struct Flows {
    inside: usize,
    /// The thread that ends the interpreter, once it does.
    ended_by: Option<ThreadId>,
}

impl Flows {
    const NONE: Self = Self {
        inside: 0,
        ended_by: None,
    };
}

static FLOWS: Mutex<Flows> = Mutex::new(Flows::NONE);
static LEFT: Condvar = Condvar::new();

fn flows() -> MutexGuard<'static, Flows> {
    FLOWS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets who was inside a flow; called in a forked child, which has none of their threads.
#[pyfunction]
pub(super) fn after_fork() {
    *flows() = Flows::NONE;
}

/// Holds the interpreter's end up while this thread runs Python code from within a flow.
///
/// An interpreter that ends kills every other thread that asks for the GIL, and a thread must not
/// be killed below a Rust frame: that aborts the process.
pub(super) struct Inside(());

impl Inside {
    /// # Errors
    /// `CancelledError`, which nobody reports, in a daemon thread while the interpreter ends.
    pub(super) fn enter() -> PyResult<Self> {
        let mut flows = flows();
        match flows.ended_by {
            Some(thread) if thread != std::thread::current().id() => {
                Err(CancelledError::new_err(ENDING))
            }
            _ => {
                flows.inside += 1;
                Ok(Self(()))
            }
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut flows = flows();
        flows.inside = flows.inside.saturating_sub(1);
        // Nobody waits before; waking nobody is a system call too.
        if flows.ended_by.is_some() {
            LEFT.notify_all();
        }
    }
}

const ENDING: &str = "the interpreter is shutting down";
/// The longest that the interpreter's end is held up, by each of two reasons.
const PATIENCE: Duration = Duration::from_secs(2);

fn with_process<T>(f: impl FnOnce(&Process) -> T) -> PyResult<T> {
    let mut current = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    let id = std::process::id();
    if let Some(process) = current.as_ref().filter(|process| process.id == id) {
        return Ok(f(process));
    }
    if flows().ended_by.is_some() {
        return Err(PyRuntimeError::new_err(ENDING));
    }
    // A forked child has the parent's memory but none of its threads: nothing to join or drop.
    std::mem::forget(current.take());
    let started = start(id)
        .map_err(|error| PyRuntimeError::new_err(format!("cannot start threads: {error}")))?;
    Ok(f(current.insert(started)))
}

fn start(id: u32) -> std::io::Result<Process> {
    let log_lines = LogLines::default();
    let of_threads = log_lines.clone();
    // One thread carries more requests than Python can make, and is woken less often than two.
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("timmy-dispatcher")
        .on_thread_start(move || of_threads.come_from_this_thread())
        .enable_all()
        .build()?;
    Ok(Process {
        id,
        tokio,
        transport: Native::new(),
        mailboxes: Mailboxes::default(),
        log_lines,
    })
}

/// Where the results for the running loop go.
pub(super) fn results(py: Python<'_>) -> PyResult<Results> {
    let running = pyo3_async_runtimes::get_running_loop(py)?;
    let mailboxes = with_process(|process| process.mailboxes.clone())?;
    mailboxes.of(&running)
}

/// Where the log lines of this process's tasks go.
pub(super) fn log_lines(_py: Python<'_>) -> PyResult<LogLines> {
    with_process(|process| process.log_lines.clone())
}

/// Ends the runtime for good; called by `atexit`. Work in flight is dropped.
#[pyfunction]
pub(super) fn shut_down(py: Python<'_>) {
    flows().ended_by = Some(std::thread::current().id());
    py.detach(|| {
        let others_inside = |flows: &mut Flows| flows.inside > 0;
        drop(LEFT.wait_timeout_while(flows(), PATIENCE, others_inside));
    });
    let current = PROCESS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let Some(process) = current else { return };
    if process.id != std::process::id() {
        std::mem::forget(process);
        return;
    }
    py.detach(move || {
        process.tokio.shutdown_timeout(PATIENCE);
    });
}

/// What pyo3-async-runtimes spawns on.
struct OfThisProcess;

struct Spawned(Option<tokio::task::JoinHandle<()>>);
struct SpawnError(Option<tokio::task::JoinError>);

impl generic::JoinError for SpawnError {
    fn is_panic(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(tokio::task::JoinError::is_panic)
    }

    fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        match self.0.map(tokio::task::JoinError::try_into_panic) {
            Some(Ok(panic)) => panic,
            _ => Box::new("no panic"),
        }
    }
}

impl Future for Spawned {
    type Output = Result<(), SpawnError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.as_mut() {
            Some(handle) => Pin::new(handle)
                .poll(context)
                .map_err(|error| SpawnError(Some(error))),
            None => Poll::Ready(Ok(())),
        }
    }
}

tokio::task_local! {
    static RESULTS: Results;
}

thread_local! {
    /// Where what is being spawned from Python runs, and where its results go: pyo3-async-runtimes
    /// does not pass the loop on.
    static SPAWNING_FOR: RefCell<Option<(Handle, Results)>> = const { RefCell::new(None) };
}

impl generic::Runtime for OfThisProcess {
    type JoinError = SpawnError;
    type JoinHandle = Spawned;

    fn spawn<F>(future: F) -> Spawned
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Ok(results) = RESULTS.try_with(Clone::clone) {
            return Spawned(Some(tokio::spawn(RESULTS.scope(results, future))));
        }
        let spawn = |(tokio, results): (Handle, _)| tokio.spawn(RESULTS.scope(results, future));
        Spawned(SPAWNING_FOR.take().map(spawn))
    }

    fn spawn_blocking<F>(job: F) -> Spawned
    where
        F: FnOnce() + Send + 'static,
    {
        let job = Box::new(move |_: Python<'_>| {
            job();
            Ok(())
        });
        let _left = RESULTS.try_with(|results| results.post(job));
        Spawned(None)
    }
}

impl ContextExt for OfThisProcess {
    fn scope<F, R>(_locals: TaskLocals, future: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        Box::pin(future)
    }

    fn get_task_locals() -> Option<TaskLocals> {
        None
    }
}

/// An event loop as seen from one of its own callbacks, which is where results are handed over.
#[pyclass(frozen)]
struct OwnLoop(Py<PyAny>);

#[pymethods]
impl OwnLoop {
    fn create_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0
            .bind(py)
            .call_method0(pyo3::intern!(py, "create_future"))
    }

    /// Calls at once: the thread is the right one already.
    #[staticmethod]
    #[pyo3(signature = (callback, *args, **_kwargs))]
    fn call_soon_threadsafe(
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, pyo3::types::PyTuple>,
        _kwargs: Option<&Bound<'_, pyo3::types::PyDict>>,
    ) -> PyResult<()> {
        callback.call1(args).map(drop)
    }
}

/// Runs a future of the core, which may use the transport of this process, and gives asyncio a
/// future that completes with it.
pub(super) fn awaitable<'py, F>(
    py: Python<'py>,
    future: impl FnOnce(Native) -> F,
) -> PyResult<Bound<'py, PyAny>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let running = pyo3_async_runtimes::get_running_loop(py)?;
    let (tokio, transport, mailboxes) = with_process(|process| {
        let tokio = process.tokio.handle().clone();
        (tokio, process.transport.clone(), process.mailboxes.clone())
    })?;
    SPAWNING_FOR.set(Some((tokio, mailboxes.of(&running)?)));
    let locals = TaskLocals::new(Bound::new(py, OwnLoop(running.unbind()))?.into_any());
    let future = future(transport);
    generic::future_into_py_with_locals::<OfThisProcess, _, _>(py, locals, async move {
        future.await;
        Ok(())
    })
}
