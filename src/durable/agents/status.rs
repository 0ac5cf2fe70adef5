//! Asking HTTP agents how it goes, at the place that they named.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use super::post::{ACCEPTED, Destination};
use super::said::{Said, kept};
use crate::dispatch::retry::parse_retry_after;
use crate::durable::breaker::Health;
use crate::durable::effects::Effects;
use crate::durable::order::{Order, Terms};
use crate::http::{Method, Repeat, Request, Response, SendError, Transport};
use crate::ledger::machine::{Channel, Event, Phase};
use crate::ledger::{LedgerError, Watched};

/// No place is asked less often than it wants to be, up to this.
const MOST: Duration = Duration::from_secs(15 * 60);

/// What an agent said of an attempt, for [`Ledger::record_with`](crate::ledger::Ledger::record_with).
#[derive(Debug, Clone, PartialEq)]
pub struct StatusReport {
    /// The dispatch.
    pub dispatch: Uuid,
    /// What happened.
    pub event: Event,
    /// What was said.
    pub evidence: Value,
}

struct Poll {
    /// Where to ask. None: the agent named no place.
    url: Option<String>,
    next: Instant,
}

/// Asks the agents of the live attempts.
pub struct StatusPolls<T> {
    effects: Arc<Effects<T>>,
    interval: Duration,
    known: HashMap<(Uuid, u64), Poll>,
}

impl<T> std::fmt::Debug for StatusPolls<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusPolls")
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}

impl<T: Transport> StatusPolls<T> {
    /// Each agent is asked once per interval, or as seldom as its `Retry-After` says.
    #[must_use]
    pub fn new(effects: Arc<Effects<T>>, interval: Duration) -> Self {
        Self {
            effects,
            interval,
            known: HashMap::new(),
        }
    }

    /// One round: asks those whose turn it is. What is not live any more is forgotten.
    ///
    /// # Errors
    /// The ledger's, where it keeps the places.
    pub async fn look(&mut self, watched: &[Watched]) -> Result<Vec<StatusReport>, LedgerError> {
        let asked = |one: &&Watched| {
            one.channel == Channel::Http && matches!(one.phase, Phase::HandedOver | Phase::Working)
        };
        let live: Vec<&Watched> = watched.iter().filter(asked).collect();
        self.known
            .retain(|key, _| live.iter().any(|one| (one.id, one.fence) == *key));
        let mut reports = Vec::new();
        for one in live {
            let key = (one.id, one.fence);
            let now = Instant::now();
            let url = match self.known.get(&key) {
                Some(poll) if now < poll.next => continue,
                Some(poll) => poll.url.clone(),
                None => self.named(one).await?,
            };
            let Some(at) = url.as_deref() else {
                let next = now + MOST;
                self.known.insert(key, Poll { url, next });
                continue;
            };
            let (report, wait) = self.ask(one, at).await;
            reports.extend(report);
            let next = Instant::now() + wait.clamp(self.interval, MOST.max(self.interval));
            self.known.insert(key, Poll { url, next });
        }
        Ok(reports)
    }

    /// The place that the agent named when it took the task.
    async fn named(&self, one: &Watched) -> Result<Option<String>, LedgerError> {
        let story = self.effects.ledger.story(one.id).await?;
        let mut said = story.entries.iter().rev();
        let accepted = said.find(|entry| entry.kind == ACCEPTED && entry.fence == one.fence);
        let url = accepted.and_then(|entry| entry.body.get("status_url")?.as_str());
        Ok(url.map(str::to_owned))
    }

    async fn ask(&self, one: &Watched, url: &str) -> (Option<StatusReport>, Duration) {
        let Ok(place) = Destination::new("the status URL", url) else {
            return (None, MOST);
        };
        let permit = match self.effects.breakers.admit(&place.origin) {
            Ok(permit) => permit,
            Err(cooling) => return (None, cooling.wait),
        };
        let terms = Terms::of(&one.terms).unwrap_or_default();
        let request = Request {
            method: Method::Get,
            url: self.with_password(one, &terms, url),
            authorization: None,
            headers: Vec::new(),
            body: None,
            timeout: terms.limit(self.effects.settings.limit),
            repeat: Repeat::Safe,
        };
        let sent = self.effects.server.transport().send(request).await;
        let why = match &sent {
            Ok(response) => format!("the status URL answered {}", response.status),
            Err(error) => place.redact(&error.to_string()),
        };
        let wait = permit.report(health(&sent), &why).wait;
        let Ok(response) = sent else {
            return (None, wait);
        };
        let asked = response.header("retry-after").and_then(parse_retry_after);
        let wait = asked.unwrap_or(Duration::ZERO);
        if !(200..300).contains(&response.status) {
            return (None, wait);
        }
        let body = response.json().unwrap_or(Value::Null);
        let said = match Said::read(&body) {
            // Once is enough.
            Said::Working if one.started => Said::Nothing,
            Said::Failed { transient, reason } => Said::Failed {
                transient,
                reason: self.effects.server.redact(&reason),
            },
            said => said,
        };
        let report = said.event(one.fence).map(|event| StatusReport {
            dispatch: one.id,
            event,
            evidence: kept(&body),
        });
        (report, wait)
    }

    /// The endpoint's own user and password, where the place is on the endpoint's host.
    fn with_password(&self, one: &Watched, terms: &Terms, url: &str) -> String {
        let order = Order::of(&one.task).unwrap_or_default();
        let endpoint = order.endpoint.as_deref().or(terms.endpoint.as_deref());
        let endpoint = endpoint.and_then(|endpoint| reqwest::Url::parse(endpoint).ok());
        let (Some(endpoint), Ok(mut place)) = (endpoint, reqwest::Url::parse(url)) else {
            return url.to_owned();
        };
        if endpoint.origin() == place.origin() {
            let _ = place.set_username(endpoint.username());
            let _ = place.set_password(endpoint.password());
        }
        place.into()
    }
}

fn health(sent: &Result<Response, SendError>) -> Health {
    match sent {
        Ok(response) if response.status == 429 || response.status >= 500 => {
            let asked = response.header("retry-after").and_then(parse_retry_after);
            asked.map_or(Health::Ill, Health::Limited)
        }
        Ok(_) | Err(SendError::TooLarge { .. }) => Health::Well,
        Err(_) => Health::Ill,
    }
}
