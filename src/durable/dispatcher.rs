//! The dispatcher as a program sees it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::inner::{Inner, Stage};
use super::order::Order;
use super::plan::{Planned, Refused, Wishes, check_named};
use crate::dispatch::{ConfigError, Task};
use crate::http::{Native, Transport};
use crate::ledger::machine::Event;
use crate::ledger::{Entry, Errand, Ledger, LedgerError, Record, Recorded, Story};
use crate::task::TaskType;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DispatcherError {
    /// The task is not taken.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The ledger did not do it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The place where webhooks and callbacks are received cannot be opened.
    #[error("cannot receive webhooks: {0}")]
    Receive(String),
    /// It is not possible where the dispatch stands.
    #[error("dispatch {id} is {phase}: {why}")]
    NotNow {
        /// The dispatch.
        id: Uuid,
        /// Where it stands.
        phase: String,
        /// Why that does not go.
        why: &'static str,
    },
}

/// Dispatches tasks and forgets none. Cheap to clone.
pub struct Dispatcher<T: Transport = Native>(pub(super) Arc<Inner<T>>);

impl<T: Transport> Clone for Dispatcher<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Transport> std::fmt::Debug for Dispatcher<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the place: a URL may hold a password.
        f.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}

impl<T: Transport> Dispatcher<T> {
    /// The ledger's place.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.0.place
    }

    /// The ledger itself.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.0.ledger()
    }

    /// Where webhooks and callbacks are received, where they are.
    #[must_use]
    pub fn received_at(&self) -> Option<SocketAddr> {
        self.0.received_at
    }

    /// What would become of a task, without keeping or sending anything.
    ///
    /// # Errors
    /// [`Refused`], which names what is missing.
    pub fn plan(&self, task: &Task, wishes: &Wishes) -> Result<Planned, Refused> {
        self.0.team.plan(task, wishes)
    }

    /// Keeps a task; when this returns, it is on the disk. A task about an issue that is open here
    /// already is that dispatch.
    ///
    /// # Errors
    /// [`DispatcherError::Refused`] and [`DispatcherError::Ledger`].
    pub async fn submit(
        &self,
        task: &Task,
        wishes: &Wishes,
    ) -> Result<Dispatch<T>, DispatcherError> {
        let submission = self.plan(task, wishes)?.submission(wishes);
        let submitted = self.ledger().submit(submission).await?;
        self.0.wake.notify_one();
        Ok(Dispatch {
            id: submitted.id,
            new: submitted.new,
            dispatcher: self.clone(),
        })
    }

    /// A dispatch that was submitted before.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub async fn dispatch(&self, id: Uuid) -> Result<Dispatch<T>, DispatcherError> {
        self.get(id).await?;
        Ok(Dispatch {
            id,
            new: false,
            dispatcher: self.clone(),
        })
    }

    /// Where a dispatch stands.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub async fn get(&self, id: Uuid) -> Result<Record, DispatcherError> {
        Ok(self.ledger().get(id).await?)
    }

    /// All that is known of a dispatch.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub async fn story(&self, id: Uuid) -> Result<Story, DispatcherError> {
        Ok(self.ledger().story(id).await?)
    }

    /// The newest dispatches first, unfinished ones only or all.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn list(&self, finished: bool, limit: usize) -> Result<Vec<Record>, DispatcherError> {
        Ok(self.ledger().list(finished, limit).await?)
    }

    /// The effects that are not settled.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn outbox(&self, limit: usize) -> Result<Vec<Errand>, DispatcherError> {
        Ok(self.ledger().outbox(limit).await?)
    }

    /// Waits until a dispatch has ended.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub async fn wait(&self, id: Uuid) -> Result<Record, DispatcherError> {
        let changed = self.0.waiters.of(id);
        loop {
            let notified = changed.notified();
            let record = self.get(id).await?;
            if record.state.phase.is_terminal() {
                return Ok(record);
            }
            // Whoever does not work hears of nothing; and a second look does no harm.
            let patience = match self.0.agents.is_empty() {
                true => self.0.team.policy.timing.tick,
                false => Duration::from_secs(5),
            };
            let _ = tokio::time::timeout(patience, notified).await;
        }
    }

    /// Calls a dispatch off. What was handed out is taken back first.
    ///
    /// # Errors
    /// [`DispatcherError::NotNow`] where it has ended.
    pub async fn cancel(&self, id: Uuid) -> Result<Record, DispatcherError> {
        self.steer(id, Event::Cancel, "it has ended").await
    }

    /// Has a dispatch that ended tried again, from the first agent of its route on.
    ///
    /// # Errors
    /// [`DispatcherError::NotNow`] where it has not ended, [`LedgerError::Busy`] where another one
    /// is open about the same issue.
    pub async fn retry(&self, id: Uuid) -> Result<Record, DispatcherError> {
        self.steer(id, Event::Retry, "only what has ended can be tried again")
            .await
    }

    /// Stops everything about a dispatch until it is released.
    ///
    /// # Errors
    /// [`DispatcherError::NotNow`] where it has ended.
    pub async fn hold(&self, id: Uuid, reason: &str) -> Result<Record, DispatcherError> {
        self.steer(id, Event::Hold(reason.to_owned()), "it has ended")
            .await
    }

    /// Lets a dispatch that is held go on.
    ///
    /// # Errors
    /// [`DispatcherError::NotNow`] where it is not held.
    pub async fn release(&self, id: Uuid) -> Result<Record, DispatcherError> {
        self.steer(id, Event::Release, "it is not held").await
    }

    async fn steer(
        &self,
        id: Uuid,
        event: Event,
        why: &'static str,
    ) -> Result<Record, DispatcherError> {
        let ledger = self.ledger();
        let recorded = ledger.record(id, event).await?;
        let record = ledger.get(id).await?;
        self.0.wake.notify_one();
        match recorded {
            Recorded::Applied(_) => Ok(record),
            Recorded::Stale => Err(DispatcherError::NotNow {
                id,
                phase: record.state.phase.to_string(),
                why,
            }),
        }
    }

    /// Gives a dispatch that is not handed out another type, and with it another route, and releases
    /// it where it is held.
    ///
    /// # Errors
    /// [`DispatcherError::NotNow`] where it is handed out or has ended.
    pub async fn retype(&self, id: Uuid, task_type: TaskType) -> Result<Record, DispatcherError> {
        let record = self.get(id).await?;
        let order = Order::of(&record.task)?;
        let before = order.task_type.clone();
        let (task, wishes) = order.again(task_type, &record.state.plan);
        let planned = self.plan(&task, &wishes)?;
        let how = json!({ "task_type": task_type.as_str(), "by": "person", "instead_of": before });
        let ledger = self.ledger();
        let task = json!(planned.order);
        let done = ledger.replan(id, task, planned.plan, how).await?;
        let record = ledger.get(id).await?;
        self.0.wake.notify_one();
        match done {
            true => Ok(record),
            false => Err(DispatcherError::NotNow {
                id,
                phase: record.state.phase.to_string(),
                why: "only what is not handed out gets another type",
            }),
        }
    }

    /// Gives an agent, or all of them, no more tasks, or tasks again; in every process.
    ///
    /// # Errors
    /// [`LedgerError::UnknownAgent`].
    pub async fn pause(&self, agent: Option<String>, paused: bool) -> Result<(), DispatcherError> {
        self.ledger().pause(agent, paused).await?;
        self.0.wake.notify_one();
        Ok(())
    }

    /// A repository has another name: what is open about it goes on there.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn relocate(&self, from: &str, to: &str) -> Result<usize, DispatcherError> {
        check_named(to)?;
        let moved = self.ledger().relocate(from, to).await?;
        self.0.wake.notify_one();
        Ok(moved)
    }

    /// What happened, from behind `after` on; waits until there is something.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn events(&self, after: i64, limit: usize) -> Result<Vec<Entry>, DispatcherError> {
        let ledger = self.ledger();
        let mut changes = ledger.changes();
        loop {
            changes.mark_unchanged();
            let entries = ledger.events(after, limit).await?;
            if !entries.is_empty() || *self.0.stage.borrow() == Stage::Stopped {
                return Ok(entries);
            }
            let _ = tokio::time::timeout(self.0.team.policy.timing.tick, changes.changed()).await;
        }
    }

    /// Claims nothing more, brings what is on its way to its end, for as long as `limit`, and leaves.
    /// Others look after what is open at once. Doing it twice does no harm.
    pub async fn close(&self, limit: Duration) {
        self.0.stage.send_if_modified(|stage| {
            let first = *stage == Stage::Working;
            *stage = Stage::Draining.max(*stage);
            first
        });
        let taken = |tasks: &Mutex<JoinSet<()>>| {
            std::mem::take(&mut *tasks.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let mut tasks = taken(&self.0.tasks);
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, ended).await.is_err() {
            tasks.shutdown().await;
        }
        self.0.stage.send_replace(Stage::Stopped);
        taken(&self.0.last).join_all().await;
        let _ = self.ledger().leave().await;
    }
}

/// A dispatch that was submitted.
pub struct Dispatch<T: Transport = Native> {
    id: Uuid,
    new: bool,
    dispatcher: Dispatcher<T>,
}

impl<T: Transport> std::fmt::Debug for Dispatch<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dispatch({})", self.id)
    }
}

impl<T: Transport> Dispatch<T> {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// Whether it was not there before.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.new
    }

    /// Where it stands.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] once it was pruned.
    pub async fn get(&self) -> Result<Record, DispatcherError> {
        self.dispatcher.get(self.id).await
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] once it was pruned.
    pub async fn wait(&self) -> Result<Record, DispatcherError> {
        self.dispatcher.wait(self.id).await
    }

    /// Calls it off.
    ///
    /// # Errors
    /// [`DispatcherError::NotNow`] where it has ended.
    pub async fn cancel(&self) -> Result<Record, DispatcherError> {
        self.dispatcher.cancel(self.id).await
    }
}
