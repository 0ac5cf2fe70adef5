//! What the issues and the agents say, told to the ledger.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::agents::{LocalReport, Said, StatusPolls, kept};
use super::dispatcher::DispatcherError;
use super::inner::{Inner, Stage};
use super::order::Terms;
use super::settings::Policy;
use super::watch::{
    Callback, CallbackAnswer, Hints, KnownAgent, Pace, Received, Receiver, Reception, Seen, Watcher,
};
use super::work::{hold, reached};
use crate::http::Transport;
use crate::ledger::effect::Phase::InDoubt;
use crate::ledger::machine::{Effect, Event};
use crate::ledger::{Answer, Ledger, LedgerError, Recorded};

/// Opens the place where webhooks and callbacks are received, where there is to be one.
pub(super) async fn receive(
    policy: &Policy,
) -> Result<Option<(Receiver, Received)>, DispatcherError> {
    let Some(receive) = &policy.receive else {
        return Ok(None);
    };
    let reception = Reception::new(receive.address, receive.secret.clone());
    let bound = Receiver::bind(reception).await;
    let bound = bound.map_err(|error| DispatcherError::Receive(error.to_string()))?;
    Ok(Some(bound))
}

pub(super) fn start<T: Transport>(
    inner: &Arc<Inner<T>>,
    received: Option<(Receiver, Received)>,
    tasks: &mut JoinSet<()>,
) {
    let mut hints = None;
    if let Some((receiver, received)) = received {
        tasks.spawn(while_open(Arc::clone(inner), receiver.serve()));
        tasks.spawn(while_open(
            Arc::clone(inner),
            callbacks(Arc::clone(inner), received.callbacks),
        ));
        hints = Some(received.hints);
    }
    tasks.spawn(while_open(
        Arc::clone(inner),
        watch(Arc::clone(inner), hints),
    ));
    tasks.spawn(while_open(Arc::clone(inner), polls(Arc::clone(inner))));
}

/// Until the dispatcher is being closed.
async fn while_open<T: Transport>(inner: Arc<Inner<T>>, task: impl Future<Output = ()>) {
    let mut stages = inner.stage.subscribe();
    tokio::select! {
        () = task => {}
        () = reached(&mut stages, Stage::Draining) => {}
    }
}

/// Tells the ledger; that it fails is in the log, and is seen again in the next round.
async fn tell(ledger: &Ledger, id: Uuid, event: Event, evidence: Value) {
    if let Err(error) = ledger.record_with(id, event, evidence).await {
        tracing::error!("{id}: {error}");
    }
}

/// Looks at the watched issues, in the usual time or when somebody says that it is time.
async fn watch<T: Transport>(inner: Arc<Inner<T>>, mut hints: Option<Hints>) {
    let timing = inner.team.policy.timing;
    let pace = Pace {
        reread: timing.single_read,
        ..Pace::default()
    };
    let mut watcher = None;
    let mut only: Option<HashSet<String>> = None;
    let mut next_whole = Instant::now();
    loop {
        if only.is_none() {
            next_whole = Instant::now() + timing.poll;
        }
        if inner.has_gitea() {
            let watcher = watcher.get_or_insert_with(|| {
                Watcher::new(inner.server.clone(), known_agents(&inner), pace)
            });
            if let Err(error) = look(&inner.ledger(), watcher, only.as_ref()).await {
                tracing::error!("{error}");
            }
        }
        // However many hints come for one repository, the others have their turn.
        only = tokio::select! {
            biased;
            () = tokio::time::sleep_until(next_whole) => None,
            repos = next(&mut hints) => Some(repos),
        };
    }
}

/// One look at all repositories, or at those, and what it showed.
async fn look<T: Transport>(
    ledger: &Ledger,
    watcher: &mut Watcher<T>,
    only: Option<&HashSet<String>>,
) -> Result<(), LedgerError> {
    let watched = ledger.watched().await?;
    let seen = match only {
        None => watcher.look(&watched).await,
        Some(repos) => watcher.look_at(&watched, repos).await,
    };
    for seen in seen {
        match seen {
            Seen::Event {
                id,
                event,
                evidence,
            } => tell(ledger, id, event, evidence).await,
            Seen::Held { repo, reason } => {
                if let Err(error) = hold(ledger, &repo, &reason).await {
                    tracing::error!("{repo}: {error}");
                }
            }
        }
    }
    Ok(())
}

async fn next(hints: &mut Option<Hints>) -> HashSet<String> {
    match hints {
        Some(hints) => hints.next().await,
        None => std::future::pending().await,
    }
}

fn known_agents<T: Transport>(inner: &Inner<T>) -> Vec<KnownAgent> {
    let known = |agent: &crate::ledger::Agent| {
        let terms = Terms::of(&agent.terms).unwrap_or_default();
        KnownAgent {
            name: agent.name.clone(),
            label: terms.label,
            gitea_user: terms.gitea_user,
        }
    };
    inner.agents.iter().map(known).collect()
}

/// Asks HTTP agents how it goes, and tells local ones whose task was taken back.
async fn polls<T: Transport>(inner: Arc<Inner<T>>) {
    let timing = inner.team.policy.timing;
    let mut polls: Option<(Uuid, StatusPolls<T>)> = None;
    loop {
        let engaged = inner.engaged();
        let owner = engaged.ledger.owner();
        let asked = match &mut polls {
            Some((of, polls)) if *of == owner => polls,
            _ => {
                let fresh = StatusPolls::new(Arc::clone(&engaged.effects), timing.poll);
                &mut polls.insert((owner, fresh)).1
            }
        };
        if let Err(error) = poll(&engaged.ledger, &inner, asked).await {
            tracing::error!("{error}");
        }
        let mut changes = engaged.ledger.changes();
        changes.mark_unchanged();
        // A task that was taken back is heard of at once.
        tokio::select! {
            () = tokio::time::sleep(timing.poll) => {}
            _ = changes.changed(), if inner.local.running() > 0 => {
                tokio::time::sleep(timing.tick.min(Duration::from_millis(50))).await;
            }
        }
    }
}

async fn poll<T: Transport>(
    ledger: &Ledger,
    inner: &Inner<T>,
    polls: &mut StatusPolls<T>,
) -> Result<(), LedgerError> {
    let watched = ledger.watched().await?;
    inner.local.keep(&watched);
    for report in polls.look(&watched).await? {
        tell(ledger, report.dispatch, report.event, report.evidence).await;
    }
    Ok(())
}

/// How local agents ended. Goes on until nothing else does: one may have begun while the dispatcher
/// was being closed already.
pub(super) async fn locals<T: Transport>(inner: Arc<Inner<T>>) {
    let reports = inner
        .reports
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let Some(mut reports) = reports else { return };
    let mut stages = inner.stage.subscribe();
    loop {
        let report = tokio::select! {
            biased;
            Some(report) = reports.recv() => report,
            () = reached(&mut stages, Stage::Stopped) => return,
        };
        let LocalReport {
            dispatch,
            event,
            evidence,
        } = report;
        tell(&inner.ledger(), dispatch, event, evidence).await;
        inner.wake.notify_one();
    }
}

/// What agents say by themselves.
async fn callbacks<T: Transport>(inner: Arc<Inner<T>>, mut callbacks: mpsc::Receiver<Callback>) {
    while let Some(callback) = callbacks.recv().await {
        let answer = match heard(&inner.ledger(), &callback).await {
            Ok(answer) => answer,
            Err(LedgerError::Unknown(_)) => CallbackAnswer::Unknown,
            Err(error) => {
                tracing::error!("{}: {error}", callback.id);
                CallbackAnswer::Later
            }
        };
        callback.answer(answer);
        inner.wake.notify_one();
    }
}

async fn heard(ledger: &Ledger, callback: &Callback) -> Result<CallbackAnswer, LedgerError> {
    let (id, fence) = (callback.id, callback.fence);
    let mut record = ledger.get(id).await?;
    let current = record.state.attempt.is_some() && record.state.fence == fence;
    if current && record.state.open.contains(&(fence, Effect::Post)) {
        // Whoever speaks of the task has it, though the answer was lost.
        let story = ledger.story(id).await?;
        let mut effects = story.effects.iter();
        let post = effects.find(|one| one.effect == Effect::Post && one.fence == fence);
        match post {
            Some(post) if post.row.phase == InDoubt => {
                ledger.answered(post, Answer::Taken(None)).await?;
                record = ledger.get(id).await?;
            }
            // The answer is still to be heard.
            _ => return Ok(CallbackAnswer::Later),
        }
    }
    let event = Said::read(&callback.said).event(fence);
    let started = record.state.attempt.is_some_and(|live| live.started);
    let event = match event {
        // What is known already, or says nothing, is no news.
        None => None,
        Some(Event::SignOfLife { .. }) if current && started => None,
        event => event,
    };
    let Some(event) = event else {
        return Ok(match current {
            true => CallbackAnswer::Taken,
            false => CallbackAnswer::Stale,
        });
    };
    let said = kept(&callback.said);
    Ok(match ledger.record_with(id, event, said).await? {
        Recorded::Applied(_) => CallbackAnswer::Taken,
        Recorded::Stale => CallbackAnswer::Stale,
    })
}
