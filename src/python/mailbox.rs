//! How results reach an event loop: a queue, and a bell that the loop listens to.
//!
//! The bell is a socket that the loop watches, so whoever rings it needs no GIL. A loop that
//! cannot watch sockets (Windows has one) is called from a thread of tokio's instead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::{PyNotImplementedError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use super::runtime::Inside;

/// What is to be done in the thread of the loop.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The results for one event loop.
pub(super) struct Mailbox {
    jobs: Mutex<Vec<Job>>,
    bell: Bell,
}

enum Bell {
    #[cfg(unix)]
    Socket(socket::Bell),
    Call(Py<PyAny>),
}

impl Mailbox {
    fn with(bell: Bell) -> Arc<Self> {
        Arc::new(Self {
            jobs: Mutex::default(),
            bell,
        })
    }

    /// Leaves a job, which the loop does soon. Called from a task of tokio's.
    pub(super) fn post(self: &Arc<Self>, job: Job) {
        let was_empty = {
            let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.push(job);
            jobs.len() == 1
        };
        // Whoever finds jobs has rung the bell, or will be found by whoever answers it.
        if !was_empty {
            return;
        }
        match &self.bell {
            #[cfg(unix)]
            Bell::Socket(bell) => bell.ring(),
            Bell::Call(_) => {
                let mailbox = self.clone();
                tokio::task::spawn_blocking(move || mailbox.call());
            }
        }
    }

    fn call(self: Arc<Self>) {
        Python::attach(|py| {
            let Bell::Call(event_loop) = &self.bell else {
                return;
            };
            let listener = Bound::new(py, Listener(self.clone()));
            // The only way this fails is a closed loop, whose tasks are gone.
            let _ = listener.and_then(|listener| {
                event_loop.call_method1(py, "call_soon_threadsafe", (listener,))
            });
        });
    }
}

/// What the loop calls when the bell rang.
#[pyclass(frozen)]
struct Listener(Arc<Mailbox>);

#[pymethods]
impl Listener {
    fn __call__(&self) {
        // The interpreter ends, and nobody waits any longer.
        let Ok(_inside) = Inside::enter() else {
            return;
        };
        match &self.0.bell {
            #[cfg(unix)]
            Bell::Socket(bell) => bell.silence(),
            Bell::Call(_) => {}
        }
        let jobs = {
            let mut jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *jobs)
        };
        for job in jobs {
            job();
        }
    }
}

/// The mailboxes of the loops of a process.
#[derive(Clone, Default)]
pub(super) struct Mailboxes(Arc<Mutex<HashMap<usize, Kept>>>);

struct Kept {
    mailbox: Arc<Mailbox>,
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
    /// Held only between calls into Python, which may run other threads.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mailbox of the running loop.
    pub(super) fn of(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Mailbox>> {
        let address = event_loop.as_ptr() as usize;
        if let Some(kept) = self.lock().get(&address) {
            return Ok(kept.mailbox.clone());
        }
        let py = event_loop.py();
        let forget = Forget {
            mailboxes: self.clone(),
            address,
        };
        let made = PyWeakrefReference::new_with(event_loop, Bound::new(py, forget)?);
        let weak = match made {
            Ok(weak) => weak.unbind(),
            Err(error) if error.is_instance_of::<PyTypeError>(py) => {
                return Ok(Mailbox::with(Bell::Call(event_loop.clone().unbind())));
            }
            Err(error) => return Err(error),
        };
        let Some(mailbox) = watched(event_loop)? else {
            return Ok(Mailbox::with(Bell::Call(event_loop.clone().unbind())));
        };
        let kept = Kept {
            mailbox: mailbox.clone(),
            _weak: weak,
        };
        let replaced = self.lock().insert(address, kept);
        drop(replaced);
        Ok(mailbox)
    }
}

/// A mailbox whose bell the loop watches, where it can watch one.
#[cfg(unix)]
fn watched(event_loop: &Bound<'_, PyAny>) -> PyResult<Option<Arc<Mailbox>>> {
    let py = event_loop.py();
    let bell = socket::Bell::new()?;
    let descriptor = bell.descriptor();
    let mailbox = Mailbox::with(Bell::Socket(bell));
    let listener = Bound::new(py, Listener(mailbox.clone()))?;
    match event_loop.call_method1("add_reader", (descriptor, listener)) {
        Ok(_) => Ok(Some(mailbox)),
        Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn watched(_event_loop: &Bound<'_, PyAny>) -> PyResult<Option<Arc<Mailbox>>> {
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
