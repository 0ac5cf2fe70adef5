//! Telling the owner that a person is asked.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Effects, Outcome};
use crate::durable::agents::{Destination, bounded};
use crate::durable::breaker::{Cooling, Health};
use crate::durable::order::Order;
use crate::http::Transport;
use crate::ledger::{Answer, AttemptRecord, Errand, Story};

/// What the owner is told: nobody is left who could do it, and a person is asked.
#[derive(Debug, Clone)]
pub struct Escalation {
    /// Of which dispatch.
    pub id: Uuid,
    /// Of which attempt, the last one; with the id it is a key for what must not be done twice.
    pub fence: u64,
    /// Why.
    pub reason: String,
    /// What was to be done.
    pub order: Order,
    /// How often an agent may be tried again after a failure that may pass.
    pub max_retries: u32,
    /// Who tried, the first one first.
    pub attempts: Vec<AttemptRecord>,
}

/// A function of the program's own that tells the owner. An error says why that was not possible: it
/// is called again later. It is also called again where it is not known whether it came to its end.
pub type NamedCallback = Arc<
    dyn Fn(Escalation) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync,
>;

type Telling = JoinHandle<Result<(), String>>;

/// The functions of a process that tell an owner, by their names. Cheap to clone.
#[derive(Clone, Default)]
pub struct Callbacks {
    named: Arc<HashMap<String, NamedCallback>>,
    /// Those that take their time, by dispatch and attempt.
    running: Arc<Mutex<HashMap<(Uuid, u64), Telling>>>,
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks")
            .field("named", &self.named.keys())
            .finish_non_exhaustive()
    }
}

impl FromIterator<(String, NamedCallback)> for Callbacks {
    fn from_iter<I: IntoIterator<Item = (String, NamedCallback)>>(named: I) -> Self {
        Self {
            named: Arc::new(named.into_iter().collect()),
            running: Arc::default(),
        }
    }
}

/// Whether a callback is the name of a function, and no URL.
pub(in crate::durable) fn is_name(callback: &str) -> bool {
    !callback.contains("://")
}

impl<T: Transport> Effects<T> {
    /// Posts the story to the owner's URL, where any 2xx is an answer, or calls the function of that
    /// name.
    pub(super) async fn tell_owner(&self, errand: &Errand, order: &Order) -> Outcome {
        let Some(callback) = order.callback.as_deref() else {
            return Outcome::refused("there is nobody to be told: the task has no callback");
        };
        let Ok(story) = self.ledger.story(errand.dispatch).await else {
            return Outcome::later(self.settings.backoff, "the ledger did not answer");
        };
        if is_name(callback) {
            return self.call_owner(errand, order, callback, story).await;
        }
        let destination = match Destination::new("the callback", callback) {
            Ok(destination) => destination,
            Err(reason) => return Outcome::refused(reason),
        };
        let body = self.server.redact(&told(errand, order, &story).to_string());
        let key = format!("{}:{}:callback", errand.dispatch, errand.fence);
        let limit = self.settings.limit;
        match self.send(&destination, errand, &key, body, limit).await {
            Err(Cooling { wait, why }) => Outcome::later(wait, why),
            Ok((answer, _)) => Outcome::answer(answer),
        }
    }

    /// One that takes its time goes on, and is not begun a second time by this process.
    async fn call_owner(
        &self,
        errand: &Errand,
        order: &Order,
        name: &str,
        story: Story,
    ) -> Outcome {
        let Some(function) = self.callbacks.named.get(name) else {
            // Another process may have it.
            let why = format!("no running process has the callback {name}");
            return Outcome::later(self.settings.backoff, why);
        };
        let permit = match self.breakers.admit(&format!("the callback {name}")) {
            Ok(permit) => permit,
            Err(Cooling { wait, why }) => return Outcome::later(wait, why),
        };
        let key = (errand.dispatch, errand.fence);
        let running = || {
            let running = self.callbacks.running.lock();
            running.unwrap_or_else(PoisonError::into_inner)
        };
        let begun = running().remove(&key);
        let mut task = begun.unwrap_or_else(|| {
            tokio::spawn(function(Escalation {
                id: errand.dispatch,
                fence: errand.fence,
                reason: errand.reason.clone(),
                order: order.clone(),
                max_retries: errand.max_retries,
                attempts: story.attempts,
            }))
        });
        let failed = match tokio::time::timeout(self.settings.limit, &mut task).await {
            Ok(Ok(Ok(()))) => {
                permit.report(Health::Well, "");
                return Outcome::answer(Answer::Taken(None));
            }
            Ok(Ok(Err(why))) => bounded(&self.server.redact(&why)),
            Ok(Err(_)) => format!("the callback {name} broke off"),
            Err(_) => {
                running().insert(key, task);
                let why = format!("the callback {name} is at work");
                return Outcome::answer(Answer::Lost(why));
            }
        };
        let Cooling { wait, why } = permit.report(Health::Ill, &failed);
        Outcome::later(wait, why)
    }
}

fn told(errand: &Errand, order: &Order, story: &Story) -> Value {
    json!({
        "event": "escalated",
        "dispatch_id": errand.dispatch.to_string(),
        "fence": errand.fence,
        "status": story.record.state.status().as_str(),
        "reason": errand.reason,
        "title": order.title,
        "repo": order.repo,
        "issue_number": order.issue,
        "task_type": order.kind().as_str(),
        "attempts": story.attempts,
    })
}
