//! How results reach an event loop: a queue, and a bell that the loop listens to.
//!
//! The bell is a socket that the loop watches, so whoever rings it needs no GIL. A loop that
//! cannot watch sockets (Windows has one) is called from a thread of tokio's instead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pyo3::exceptions::{PyNotImplementedError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use super::runtime::Inside;

/// What is to be done in the thread of the loop. An error is what a callback of the loop raises.
pub(super) type Job = Box<dyn FnOnce(Python<'_>) -> PyResult<()> + Send>;

/// Where the results for one event loop go.
#[derive(Clone)]
pub(super) enum Results {
    /// The loop owns its mailbox: once it is closed, results are dropped.
    #[cfg(unix)]
    Mailbox(Weak<Mailbox>),
    /// A loop that is called.
    Call(Arc<Py<PyAny>>),
}

impl Results {
    /// Leaves a job, which the loop does soon; false where it is known to be closed. Called from a
    /// task of tokio's.
    pub(super) fn post(&self, job: Job) -> bool {
        match self {
            #[cfg(unix)]
            Self::Mailbox(mailbox) => match mailbox.upgrade() {
                Some(mailbox) => mailbox.post(job),
                None => return false,
            },
            Self::Call(event_loop) => {
                let event_loop = event_loop.clone();
                tokio::task::spawn_blocking(move || call(&event_loop, job));
            }
        }
        true
    }

    /// Ends when the loop is closed; never for a loop of which that cannot be known.
    pub(super) async fn closed(self) {
        match self {
            #[cfg(unix)]
            Self::Mailbox(mailbox) => {
                let open = mailbox.upgrade().map(|mailbox| mailbox.open.subscribe());
                if let Some(mut open) = open {
                    while open.changed().await.is_ok() {}
                }
            }
            Self::Call(_) => std::future::pending().await,
        }
    }
}

fn call(event_loop: &Py<PyAny>, job: Job) {
    Python::attach(|py| {
        let callback = Bound::new(py, Callback(Mutex::new(Some(job))));
        // The only way this fails is a closed loop, whose tasks are gone.
        let _ = callback.and_then(|callback| {
            event_loop.call_method1(py, intern!(py, "call_soon_threadsafe"), (callback,))
        });
    });
}

/// A job as something that a loop can call.
#[pyclass(frozen)]
struct Callback(Mutex<Option<Job>>);

#[pymethods]
impl Callback {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let job = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        in_loop(py, job)
    }
}

/// Does all jobs in the thread of their loop; the first error is what is raised.
fn in_loop(py: Python<'_>, jobs: impl IntoIterator<Item = Job>) -> PyResult<()> {
    // The interpreter ends, and nobody waits any longer.
    let Ok(_inside) = Inside::enter() else {
        return Ok(());
    };
    let mut all = Ok(());
    for job in jobs {
        let done = job(py);
        all = all.and(done);
    }
    all
}

/// The results for one event loop, and the bell.
#[cfg(unix)]
pub(super) struct Mailbox {
    jobs: Mutex<Vec<Job>>,
    bell: socket::Bell,
    /// Gone with the mailbox, which is how others hear of it.
    open: tokio::sync::watch::Sender<()>,
}

#[cfg(unix)]
impl Mailbox {
    fn jobs(&self) -> MutexGuard<'_, Vec<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, job: Job) {
        let was_empty = {
            let mut jobs = self.jobs();
            jobs.push(job);
            jobs.len() == 1
        };
        // Where there was one, the bell has rung, and who answers it finds both.
        if was_empty {
            self.bell.ring();
        }
    }
}

/// What the loop calls when the bell rang.
#[cfg(unix)]
#[pyclass(frozen)]
struct Listener(Arc<Mailbox>);

#[cfg(unix)]
#[pymethods]
impl Listener {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.0.bell.silence();
        let jobs = std::mem::take(&mut *self.0.jobs());
        in_loop(py, jobs)
    }
}

/// The mailboxes of the loops of a process, by the loop's address.
#[derive(Clone, Default)]
pub(super) struct Mailboxes(Arc<Mutex<HashMap<usize, Kept>>>);

struct Kept {
    results: Results,
    /// Keeps the callback alive that forgets the loop when it is gone.
    _weak: Py<PyWeakrefReference>,
}

/// Forgets a loop's mailbox. Its address may be another loop's afterwards.
#[pyclass(frozen)]
struct Forget {
    mailboxes: Mailboxes,
    address: usize,
}

#[pymethods]
impl Forget {
    fn __call__(&self, _weak: &Bound<'_, PyAny>) {
        let forgotten = self.mailboxes.lock().remove(&self.address);
        drop(forgotten);
    }
}

impl Mailboxes {
    /// Not held while Python code runs, which may run other threads.
    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the results for the running loop go.
    pub(super) fn of(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<Results> {
        let address = event_loop.as_ptr() as usize;
        if let Some(kept) = self.lock().get(&address) {
            return Ok(kept.results.clone());
        }
        let py = event_loop.py();
        let called = || Results::Call(Arc::new(event_loop.clone().unbind()));
        let forget = Forget {
            mailboxes: self.clone(),
            address,
        };
        let weak = match PyWeakrefReference::new_with(event_loop, Bound::new(py, forget)?) {
            Ok(weak) => weak.unbind(),
            Err(error) if error.is_instance_of::<PyTypeError>(py) => return Ok(called()),
            Err(error) => return Err(error),
        };
        let Some(results) = watched(event_loop)? else {
            return Ok(called());
        };
        let kept = Kept {
            results: results.clone(),
            _weak: weak,
        };
        let replaced = self.lock().insert(address, kept);
        drop(replaced);
        Ok(results)
    }
}

/// A mailbox whose bell the loop watches, where it can watch one.
#[cfg(unix)]
fn watched(event_loop: &Bound<'_, PyAny>) -> PyResult<Option<Results>> {
    let py = event_loop.py();
    let mailbox = Arc::new(Mailbox {
        jobs: Mutex::default(),
        bell: socket::Bell::new()?,
        open: tokio::sync::watch::Sender::new(()),
    });
    let results = Results::Mailbox(Arc::downgrade(&mailbox));
    let descriptor = mailbox.bell.descriptor();
    let listener = Bound::new(py, Listener(mailbox))?;
    match event_loop.call_method1(intern!(py, "add_reader"), (descriptor, listener)) {
        Ok(_) => Ok(Some(results)),
        Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn watched(_event_loop: &Bound<'_, PyAny>) -> PyResult<Option<Results>> {
    Ok(None)
}

#[cfg(unix)]
mod socket {
    use std::io::{self, Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    /// Two ends of a socket.
    pub(super) struct Bell {
        rung: UnixStream,
        heard: UnixStream,
    }

    impl Bell {
        pub(super) fn new() -> io::Result<Self> {
            let (rung, heard) = UnixStream::pair()?;
            rung.set_nonblocking(true)?;
            heard.set_nonblocking(true)?;
            Ok(Self { rung, heard })
        }

        pub(super) fn descriptor(&self) -> i32 {
            self.heard.as_raw_fd()
        }

        /// A full socket has rung already.
        pub(super) fn ring(&self) {
            let _ = (&self.rung).write(&[0]);
        }

        pub(super) fn silence(&self) {
            let _ = (&self.heard).read(&mut [0; 64]);
        }
    }
}
