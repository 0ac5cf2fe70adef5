//! Agents that are functions of this process.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::said::{bounded, kept};
use crate::durable::effects::{Effects, Outcome};
use crate::durable::order::Order;
use crate::http::Transport;
use crate::ledger::machine::{Closer, Event};
use crate::ledger::{Answer, Errand, Watched};

/// How long a handler whose task was taken back may go on.
const GRACE: Duration = Duration::from_secs(10);

/// A task for a handler.
#[derive(Debug, Clone)]
pub struct LocalTask {
    /// What is to be done.
    pub order: Order,
    /// How often an agent may be tried again after a failure that may pass.
    pub max_retries: u32,
    /// The dispatch.
    pub dispatch: Uuid,
    /// The attempt.
    pub fence: u64,
    /// Says when the task was taken back.
    pub cancelled: Cancelled,
}

/// Says when a task was taken back.
#[derive(Debug, Clone)]
pub struct Cancelled(watch::Receiver<bool>);

impl Cancelled {
    /// Whether it was.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is.
    pub async fn cancelled(&mut self) {
        if self.0.wait_for(|cancelled| *cancelled).await.is_err() {
            // Nobody is left who could take it back.
            std::future::pending::<()>().await;
        }
    }
}

/// Why a handler failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFailure {
    /// Why.
    pub reason: String,
    /// Whether the same may well succeed later.
    pub transient: bool,
    /// Whether nobody knows how far it came: as when its process is lost, it is run again only where
    /// it may be.
    pub lost: bool,
}

impl<S: Into<String>> From<S> for LocalFailure {
    /// A failure for good.
    fn from(reason: S) -> Self {
        Self {
            reason: reason.into(),
            transient: false,
            lost: false,
        }
    }
}

/// How a handler ended, for [`Ledger::record_with`](crate::ledger::Ledger::record_with).
#[derive(Debug, Clone, PartialEq)]
pub struct LocalReport {
    /// The dispatch.
    pub dispatch: Uuid,
    /// What happened.
    pub event: Event,
    /// Its result.
    pub evidence: Value,
}

/// Where the ends of handlers are reported.
pub type LocalReports = mpsc::UnboundedReceiver<LocalReport>;

type Ending = Pin<Box<dyn Future<Output = Result<Value, LocalFailure>> + Send>>;
type Handler = Arc<dyn Fn(LocalTask) -> Ending + Send + Sync>;

/// The handlers of this process. Cheap to clone.
#[derive(Clone)]
pub struct LocalAgents(Arc<Inner>);

struct Inner {
    handlers: Mutex<HashMap<String, Handler>>,
    running: Mutex<HashMap<(Uuid, u64), watch::Sender<bool>>>,
    reports: mpsc::UnboundedSender<LocalReport>,
    grace: Duration,
}

impl std::fmt::Debug for LocalAgents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalAgents").field(&self.names()).finish()
    }
}

impl LocalAgents {
    /// None so far, and where their ends will be reported.
    #[must_use]
    pub fn new() -> (Self, LocalReports) {
        Self::with_grace(GRACE)
    }

    /// As [`new`](Self::new), with how long a handler may go on once its task was taken back, before
    /// it is dropped.
    #[must_use]
    pub fn with_grace(grace: Duration) -> (Self, LocalReports) {
        let (reports, receiver) = mpsc::unbounded_channel();
        let inner = Inner {
            handlers: Mutex::default(),
            running: Mutex::default(),
            reports,
            grace,
        };
        (Self(Arc::new(inner)), receiver)
    }

    /// Registers the function that does an agent's work.
    pub fn register<F, R>(&self, agent: impl Into<String>, handler: F)
    where
        F: Fn(LocalTask) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, LocalFailure>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |task| Box::pin(handler(task)));
        let mut handlers = lock(&self.0.handlers);
        handlers.insert(agent.into(), handler);
    }

    /// Those who are registered.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = lock(&self.0.handlers).keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// Whether the agent is registered.
    #[must_use]
    pub fn has(&self, agent: &str) -> bool {
        lock(&self.0.handlers).contains_key(agent)
    }

    /// Tells every handler whose attempt is not among these, or is being taken back, to stop. After
    /// the grace it is dropped; its end is then reported as [`Event::Silent`].
    pub fn keep(&self, watched: &[Watched]) {
        let running = lock(&self.0.running);
        for ((dispatch, fence), stop) in running.iter() {
            let live = watched
                .iter()
                .any(|one| one.id == *dispatch && one.fence == *fence && is_live(one));
            if !live {
                stop.send_replace(true);
            }
        }
    }

    /// How many handlers are at work.
    #[must_use]
    pub fn running(&self) -> usize {
        lock(&self.0.running).len()
    }

    fn begin(&self, errand: &Errand) {
        let Some(handler) = lock(&self.0.handlers).get(&errand.agent).cloned() else {
            return;
        };
        let (dispatch, fence) = (errand.dispatch, errand.fence);
        let (stop, stopped) = watch::channel(false);
        lock(&self.0.running).insert((dispatch, fence), stop);
        let task = LocalTask {
            order: Order::of(&errand.task).unwrap_or_default(),
            max_retries: errand.max_retries,
            dispatch,
            fence,
            cancelled: Cancelled(stopped.clone()),
        };
        // The call itself may panic too, before it is a future.
        let work = tokio::spawn(async move { handler(task).await });
        let here = self.clone();
        tokio::spawn(async move {
            let (event, evidence) = here.end(work, Cancelled(stopped), fence).await;
            let report = LocalReport {
                dispatch,
                event,
                evidence,
            };
            // Nobody listens any more: the process is on its way out.
            let _ = here.0.reports.send(report);
            // Only now: who waits for the last one to end must find its report.
            lock(&here.0.running).remove(&(dispatch, fence));
        });
    }

    async fn end(
        &self,
        mut work: JoinHandle<Result<Value, LocalFailure>>,
        mut stopped: Cancelled,
        fence: u64,
    ) -> (Event, Value) {
        let ended = tokio::select! {
            ended = &mut work => ended,
            () = stopped.cancelled() => {
                if tokio::time::timeout(self.0.grace, &mut work).await.is_err() {
                    work.abort();
                    let _ = work.await;
                }
                return (Event::Silent { fence }, Value::Null);
            }
        };
        // Whatever it says, it was taken back before.
        if stopped.is_cancelled() {
            return (Event::Silent { fence }, Value::Null);
        }
        let by = Closer::Agent;
        let failed = |transient, reason: &str| Event::AgentFailed {
            fence,
            transient,
            reason: bounded(reason),
        };
        match ended {
            Ok(Ok(result)) => (Event::Finished { fence, by }, kept(&result)),
            Ok(Err(failure)) if failure.lost => (Event::WorkerLost { fence }, Value::Null),
            Ok(Err(failure)) => (failed(failure.transient, &failure.reason), Value::Null),
            Err(error) if error.is_panic() => {
                let reason = match error.into_panic().downcast::<String>() {
                    Ok(text) => format!("the handler panicked: {text}"),
                    Err(other) => match other.downcast::<&str>() {
                        Ok(text) => format!("the handler panicked: {text}"),
                        Err(_) => "the handler panicked".to_owned(),
                    },
                };
                (failed(false, &reason), Value::Null)
            }
            Err(_) => (failed(true, "the process was shutting down"), Value::Null),
        }
    }
}

fn is_live(watched: &Watched) -> bool {
    use crate::ledger::machine::Phase;
    !watched.draining && watched.phase != Phase::Withdrawing
}

fn lock<V>(mutex: &Mutex<V>) -> std::sync::MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Transport> Effects<T> {
    /// A handler that is there takes the task. It begins when the ledger knows that it was taken: an
    /// end that came before would be stale.
    pub(in crate::durable) fn may_run(&self, errand: &Errand) -> Outcome {
        if !self.local.has(&errand.agent) {
            // Another process may have it.
            let why = format!("this process has no handler for {}", errand.agent);
            return Outcome::later(self.settings.backoff, why);
        }
        let fence = errand.fence;
        Outcome::Answer {
            answer: Answer::Taken(None),
            then: vec![(Event::SignOfLife { fence }, Value::Null)],
        }
    }

    pub(in crate::durable) fn begin(&self, errand: &Errand) {
        self.local.begin(errand);
    }
}
