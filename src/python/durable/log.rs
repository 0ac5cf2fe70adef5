//! What the dispatcher has to say, as lines of Python's log.
//!
//! Python code runs in the thread of an event loop alone, so a line waits in the mailbox of one.

use std::cell::OnceCell;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::python::mailbox::Results;

/// The loops that lines may go to, the newest last; one list for each process, as a lock may be held
/// while a process forks.
#[derive(Clone, Default)]
pub(crate) struct LogLines(Arc<Mutex<Vec<Results>>>);

thread_local! {
    static OF_THIS_THREAD: OnceCell<LogLines> = const { OnceCell::new() };
}

impl LogLines {
    /// Takes the lines of what runs in this thread.
    pub(crate) fn come_from_this_thread(&self) {
        OF_THIS_THREAD.with(|lines| {
            let _ = lines.set(self.clone());
        });
    }

    /// Has lines logged in that loop from now on.
    pub(super) fn go_to(&self, results: Results) {
        let _ = tracing::subscriber::set_global_default(ToPython);
        let mut loops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loops.push(results);
    }

    fn post(&self, level: u8, text: &str) {
        let mut loops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(newest) = loops.last() {
            let text = text.to_owned();
            if newest.post(Box::new(move |py| log(py, level, &text))) {
                return;
            }
            loops.pop();
        }
    }
}

fn log(py: Python<'_>, level: u8, text: &str) -> PyResult<()> {
    let calls = py.import("timmy.dispatcher.durable._calls")?;
    calls.call_method1("log", (level, text))?;
    Ok(())
}

/// Passes on what the dispatcher says, and nothing of the libraries that it uses.
struct ToPython;

impl Subscriber for ToPython {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let own = metadata.target().starts_with("timmy_dispatcher::durable");
        own && metadata.is_event() && *metadata.level() <= Level::INFO
    }

    fn event(&self, event: &Event<'_>) {
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            _ => 20,
        };
        let mut line = Line::default();
        event.record(&mut line);
        let _ = OF_THIS_THREAD.try_with(|lines| {
            if let Some(lines) = lines.get() {
                lines.post(level, &line.0);
            }
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
