//! Carrying out what stands in the outbox, and looking for what may have been carried out.
//!
//! [`Effects::carry_out`] makes the request of an errand, [`Effects::look_for`] finds out what came
//! of one in doubt, and [`Effects::conclude`] tells the ledger. A comment bears a mark that only we
//! know until it is there; a label is found in the issue's history; an endpoint gets a key that
//! stays the same however often it is sent.

mod issue;
mod labels;
mod marker;
mod outcome;
mod owner;
mod texts;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use labels::NEEDS_HUMAN;
pub(super) use marker::{MARK, is as is_ours};
pub use outcome::{Held, Outcome};
pub(super) use owner::is_name;
pub use owner::{Callbacks, Escalation, NamedCallback};

use super::agents::{LocalAgents, Receiver};
use super::breaker::{Breakers, Cooling, Health};
use super::order::{Order, Terms};
use super::server::Server;
use crate::gitea::User;
use crate::http::Transport;
use crate::ledger::effect::Phase;
use crate::ledger::machine::{Effect, Event};
use crate::ledger::{Answer, Errand, Ledger, LedgerError};
use issue::OnIssue;
use outcome::Verdict;

/// How effects are carried out.
#[derive(Debug, Clone)]
pub struct EffectSettings {
    /// How long an effect on Gitea may take, and a request to an endpoint that has no time of its
    /// own.
    pub limit: Duration,
    /// How long a server may still carry out a request whose answer was lost; as in the ledger's
    /// [`Options`](crate::ledger::Options::quarantine).
    pub quarantine: Duration,
    /// The first wait after a failure.
    pub backoff: Duration,
    /// How long all dispatches of a repository that is held wait before the effect is tried again,
    /// once they are released.
    pub held: Duration,
    /// Where HTTP agents report.
    pub receiver: Option<Receiver>,
}

impl Default for EffectSettings {
    /// 10 s for an effect, a quarantine of 30 s, a first wait of 1 s, and nobody who listens.
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(10),
            quarantine: Duration::from_secs(30),
            backoff: Duration::from_secs(1),
            held: Duration::from_secs(30),
            receiver: None,
        }
    }
}

/// Carries out errands.
#[derive(Debug)]
pub struct Effects<T> {
    pub(super) server: Server<T>,
    pub(super) ledger: Ledger,
    pub(super) settings: EffectSettings,
    pub(super) local: LocalAgents,
    callbacks: Callbacks,
    pub(super) breakers: Breakers,
    labels: labels::Known,
    /// Our account, from a comment that it wrote.
    writer: Mutex<Option<User>>,
}

impl<T> Effects<T> {
    fn learn(&self, user: &User) {
        if !user.login.is_empty() {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            *writer = Some(user.clone());
        }
    }

    fn known(&self) -> Option<User> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.clone()
    }
}

impl<T: Transport> Effects<T> {
    /// Effects on that server, and by those handlers, for what stands in that ledger.
    #[must_use]
    pub fn new(
        server: Server<T>,
        ledger: Ledger,
        local: LocalAgents,
        settings: EffectSettings,
    ) -> Self {
        Self {
            server,
            ledger,
            local,
            callbacks: Callbacks::default(),
            breakers: Breakers::new(settings.backoff),
            settings,
            labels: labels::Known::default(),
            writer: Mutex::default(),
        }
    }

    /// The same, with functions of the program's own that tell an owner.
    #[must_use]
    pub fn telling(mut self, callbacks: Callbacks) -> Self {
        self.callbacks = callbacks;
        self
    }

    /// How long an errand may take. It may be begun only with more than that left of the lease.
    #[must_use]
    pub fn effect_timeout(&self, errand: &Errand) -> Duration {
        match (errand.effect, Terms::of(&errand.terms)) {
            (Effect::Post, Ok(terms)) => terms.limit(self.settings.limit),
            _ => self.settings.limit,
        }
    }

    /// The destinations that are left alone now, and for how long.
    #[must_use]
    pub fn cooling(&self) -> Vec<(String, Duration)> {
        self.breakers.cooling()
    }

    /// Makes the request of an errand that the ledger counts as sent.
    pub async fn carry_out(&self, errand: &Errand) -> Outcome {
        let (order, terms) = match read(errand) {
            Ok(read) => read,
            Err(error) => return Outcome::refused(error.to_string()),
        };
        match errand.effect {
            Effect::Post => self.post(errand, &order, &terms).await,
            Effect::Run => self.may_run(errand),
            Effect::Callback => self.tell_owner(errand, &order).await,
            _ => self.on_issue(errand, &order, &terms, false).await,
        }
    }

    /// Looks for what an errand in doubt was to do. What is there too often is recorded and removed.
    pub async fn look_for(&self, errand: &Errand) -> Outcome {
        match read(errand) {
            Ok((order, terms)) => self.on_issue(errand, &order, &terms, true).await,
            // Whatever it is, it is not there as far as anybody can tell.
            Err(_) => Outcome::answer(Answer::Found(0, None)),
        }
    }

    /// Tells the ledger what came of an errand. Where a repository is held, the caller holds its
    /// dispatches.
    ///
    /// # Errors
    /// The ledger's; then the errand is in doubt.
    pub async fn conclude(
        &self,
        errand: &Errand,
        outcome: Outcome,
    ) -> Result<Option<Held>, LedgerError> {
        match outcome {
            Outcome::Answer { answer, then } => {
                let phase = self.ledger.answered(errand, answer).await?;
                if phase.is_none() {
                    return Ok(None);
                }
                for (event, evidence) in then {
                    let id = errand.dispatch;
                    self.ledger.record_with(id, event, evidence).await?;
                }
                if errand.effect == Effect::Run && phase == Some(Phase::Done) {
                    self.begin(errand);
                }
                Ok(None)
            }
            Outcome::Held(held) => {
                let wait = Answer::NotTaken(self.settings.held, held.reason.clone());
                self.ledger.answered(errand, wait).await?;
                Ok(Some(held))
            }
            Outcome::IssueGone => {
                self.ledger
                    .record(errand.dispatch, Event::IssueGone)
                    .await?;
                let answer = match errand.row.phase {
                    Phase::Sending => Answer::Refused("the issue does not exist".to_owned()),
                    _ => Answer::Found(0, None),
                };
                self.ledger.answered(errand, answer).await?;
                Ok(None)
            }
        }
    }

    async fn on_issue(
        &self,
        errand: &Errand,
        order: &Order,
        terms: &Terms,
        looking: bool,
    ) -> Outcome {
        let Some(number) = order.issue else {
            return Outcome::refused("the task has no issue: submit it with one");
        };
        let permit = match self.breakers.admit(self.server.base()) {
            Ok(permit) => permit,
            Err(Cooling { wait, why }) => return Outcome::later(wait, why),
        };
        let work = OnIssue {
            effects: self,
            errand,
            order,
            terms,
            repository: self.server.repository(&order.repo),
            number,
        };
        let done = async {
            let done = if looking {
                work.look_for().await
            } else {
                work.carry_out().await
            };
            match done {
                Ok(answer) => (Verdict::Answer(answer), Health::Well),
                Err(trouble) => work.verdict(trouble).await,
            }
        };
        let (verdict, health) = match tokio::time::timeout(self.settings.limit, done).await {
            Ok(done) => done,
            Err(_) => {
                let limit = self.settings.limit.as_secs_f64();
                let why = format!("no answer within {limit} s");
                (Verdict::Answer(Answer::Lost(why)), Health::Ill)
            }
        };
        let Cooling { wait, why } = permit.report(health, verdict.why());
        match verdict {
            // What was not found out is to be found out later.
            Verdict::Answer(Answer::Lost(_)) if looking => Outcome::later(wait, why),
            Verdict::Answer(Answer::Refused(reason)) if looking => Outcome::Held(work.held(reason)),
            Verdict::Answer(answer) => Outcome::answer(answer),
            Verdict::Again(least, _) => Outcome::later(least.max(wait), why),
            Verdict::Held(held) => Outcome::Held(held),
            Verdict::Gone => Outcome::IssueGone,
        }
    }
}

fn read(errand: &Errand) -> Result<(Order, Terms), LedgerError> {
    Ok((Order::of(&errand.task)?, Terms::of(&errand.terms)?))
}
