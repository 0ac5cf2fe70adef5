//! What a working process does: claim, send, look for, raise what is due, take over.

use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::inner::{Engaged, Inner, Stage};
use super::watch::{Received, Receiver};
use super::{follow, review, tend};
use crate::http::Transport;
use crate::ledger::machine::{Event, Phase};
use crate::ledger::{Answer, Errand, Ledger, LedgerError};

/// So many rows are taken at a time.
const BATCH: usize = 100;
/// After a failure of the ledger it is left alone for so long.
const PAUSE: Duration = Duration::from_secs(1);
/// How often what is old is removed.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// Waits until a stage is reached.
pub(super) async fn reached(stages: &mut watch::Receiver<Stage>, stage: Stage) {
    let _ = stages.wait_for(|now| *now >= stage).await;
}

/// Begins the work.
pub(super) fn start<T: Transport>(inner: &Arc<Inner<T>>, received: Option<(Receiver, Received)>) {
    let mut tasks = inner.tasks.lock().unwrap_or_else(PoisonError::into_inner);
    tasks.spawn(work(Arc::clone(inner)));
    let mut last = inner.last.lock().unwrap_or_else(PoisonError::into_inner);
    last.spawn(follow::follow(Arc::clone(inner)));
    last.spawn(tend::locals(Arc::clone(inner)));
    tasks.spawn(review::review(Arc::clone(inner)));
    tend::start(inner, received, &mut tasks);
}

struct Worker<T: Transport> {
    inner: Arc<Inner<T>>,
    engaged: Engaged<T>,
    stages: watch::Receiver<Stage>,
    /// Effects on their way.
    flying: JoinSet<()>,
    beat: Instant,
    pruned: Option<Instant>,
    /// The state of the ledger in which nothing more could be claimed.
    exhausted: Option<i64>,
    /// Whether it was said that the configuration is old.
    said_old: bool,
}

async fn work<T: Transport>(inner: Arc<Inner<T>>) {
    let mut worker = Worker {
        engaged: inner.engaged(),
        stages: inner.stage.subscribe(),
        inner,
        flying: JoinSet::new(),
        beat: Instant::now(),
        pruned: None,
        exhausted: None,
        said_old: false,
    };
    loop {
        let wait = match worker.round().await {
            Ok(wait) => wait,
            Err(LedgerError::LeaseLost) => {
                tracing::warn!("the lease on the ledger was lost; entering it anew");
                worker.reenter().await
            }
            Err(error) => {
                tracing::error!("{error}");
                PAUSE
            }
        };
        let stage = *worker.stages.borrow_and_update();
        if stage >= Stage::Draining && worker.is_done().await {
            return;
        }
        let mut changes = worker.engaged.ledger.changes();
        changes.mark_unchanged();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = changes.changed() => {}
            () = worker.inner.wake.notified() => {}
            _ = worker.stages.changed() => {}
            Some(_) = worker.flying.join_next() => {}
        }
    }
}

impl<T: Transport> Worker<T> {
    /// Does what there is to do, and yields how long there will be nothing.
    async fn round(&mut self) -> Result<Duration, LedgerError> {
        while self.flying.try_join_next().is_some() {}
        let timing = self.inner.team.policy.timing;
        if self.beat.elapsed() >= timing.heartbeat {
            self.engaged.ledger.heartbeat().await?;
            self.beat = Instant::now();
        }
        let glance = self.engaged.ledger.glance().await?;
        if glance.deserted {
            self.engaged.ledger.take_over().await?;
        }
        if glance.due {
            self.engaged.ledger.due(BATCH).await?;
        }
        let working = *self.stages.borrow() == Stage::Working;
        // The first time in any case: it says who is handled here.
        if working && (glance.queued || self.exhausted.is_none()) {
            self.claim().await?;
        }
        let free = self.free();
        if (glance.ready || glance.queued) && free > 0 {
            for errand in self.engaged.ledger.send(free).await? {
                self.fly(errand, false);
            }
        }
        let free = self.free();
        if glance.doubtful && free > 0 {
            for errand in self.engaged.ledger.doubtful(free).await? {
                self.fly(errand, true);
            }
        }
        if working && self.pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY) {
            self.pruned = Some(Instant::now());
            while self.engaged.ledger.prune(timing.retention, BATCH).await? == BATCH {}
        }
        let next = glance.next_in.map_or(timing.tick, Duration::from_millis);
        Ok(next.min(timing.tick))
    }

    async fn claim(&mut self) -> Result<(), LedgerError> {
        // What could not be claimed can be claimed only after something has changed.
        if self.exhausted == Some(self.engaged.ledger.version().await?) {
            return Ok(());
        }
        let handled = self.inner.handled();
        match self.engaged.ledger.claim(handled, BATCH).await {
            Ok(claims) => {
                self.exhausted = match claims.len() {
                    BATCH.. => None,
                    _ => Some(self.engaged.ledger.version().await?),
                };
                for claim in claims {
                    tracing::info!("claimed {} for {}", claim.id, claim.agent);
                }
                self.said_old = false;
                Ok(())
            }
            Err(error @ LedgerError::OldConfiguration { .. }) => {
                if !self.said_old {
                    tracing::error!("{error}");
                }
                self.said_old = true;
                self.exhausted = Some(self.engaged.ledger.version().await?);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn free(&self) -> usize {
        let most = self.inner.team.policy.max_in_flight;
        most.saturating_sub(self.flying.len())
    }

    fn fly(&mut self, errand: Errand, look: bool) {
        let (inner, engaged) = (Arc::clone(&self.inner), self.engaged.clone());
        self.flying.spawn(async move {
            if let Err(error) = carry(&inner, &engaged, &errand, look).await {
                // It stays as it is; who looks for it then finds out.
                tracing::error!("{} of {}: {error}", errand.effect, errand.dispatch);
            }
        });
    }

    async fn reenter(&mut self) -> Duration {
        // What was on its way is in doubt for whoever took over, and must not go on here.
        self.flying.shutdown().await;
        match self.inner.reenter().await {
            Ok(()) => {
                self.engaged = self.inner.engaged();
                self.exhausted = None;
                Duration::ZERO
            }
            Err(error) => {
                tracing::error!("{error}");
                PAUSE
            }
        }
    }

    /// Whether nothing of ours is on its way any more.
    async fn is_done(&mut self) -> bool {
        while self.flying.try_join_next().is_some() {}
        let ready = self
            .engaged
            .ledger
            .glance()
            .await
            .is_ok_and(|glance| glance.ready);
        self.flying.is_empty() && !ready && self.inner.local.running() == 0
    }
}

/// Goes on with an effect for as long as the lease lasts: who was asleep in the middle of it, and
/// wakes after others took over, takes no further step.
async fn leased<V>(ledger: &Ledger, effect: impl Future<Output = V>) -> Option<V> {
    let mut effect = std::pin::pin!(effect);
    std::future::poll_fn(|context| match ledger.lease_left() {
        Duration::ZERO => Poll::Ready(None),
        _ => effect.as_mut().poll(context).map(Some),
    })
    .await
}

/// Carries an effect out, or looks for it, and keeps what came of it.
async fn carry<T: Transport>(
    inner: &Inner<T>,
    engaged: &Engaged<T>,
    errand: &Errand,
    look: bool,
) -> Result<(), LedgerError> {
    let Engaged { ledger, effects } = engaged;
    let timing = inner.team.policy.timing;
    let needed = effects.effect_timeout(errand) + timing.margin;
    if ledger.lease_left() < needed {
        ledger.heartbeat().await?;
    }
    if ledger.lease_left() < needed {
        // By now others may look after it.
        let later = Answer::NotTaken(timing.tick, "the lease was about to end".to_owned());
        ledger.answered(errand, later).await?;
        return Ok(());
    }
    let effect = async {
        match look {
            false => effects.carry_out(errand).await,
            true => effects.look_for(errand).await,
        }
    };
    let Some(outcome) = leased(ledger, effect).await else {
        // Whoever took over looks for it.
        return Ok(());
    };
    if let Some(held) = effects.conclude(errand, outcome).await? {
        hold(ledger, &held.repo, &held.reason).await?;
    }
    Ok(())
}

/// Holds everything that is open about a repository.
pub(super) async fn hold(ledger: &Ledger, repo: &str, reason: &str) -> Result<(), LedgerError> {
    let evidence = json!({ "repo": repo });
    for record in ledger.list(false, usize::MAX).await? {
        let of = record.task.get("repo").and_then(Value::as_str);
        let about = of.is_some_and(|of| of.eq_ignore_ascii_case(repo));
        if about && record.state.phase != Phase::Held {
            let event = Event::Hold(reason.to_owned());
            ledger
                .record_with(record.id, event, evidence.clone())
                .await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Options;

    #[tokio::test]
    async fn without_a_lease_an_effect_takes_no_step() {
        let file = std::env::temp_dir().join(format!("leased-{}.db", uuid::Uuid::now_v7()));
        let holds = Ledger::open(&file, Vec::new(), Options::default());
        assert_eq!(leased(&holds.await.unwrap(), async { 1 }).await, Some(1));
        // Who visits has none.
        let lost = Ledger::visit(&file, Options::default()).await.unwrap();
        let step = async { unreachable!("it is not polled") };
        assert_eq!(leased::<u8>(&lost, step).await, None);
        std::fs::remove_file(file).unwrap();
    }
}
