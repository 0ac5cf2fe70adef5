//! An event of the state machine, as rows.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::millis;
use super::writer::Scene;
use super::{repeat, signed};
use crate::ledger::effect::{self, Row};
use crate::ledger::machine::{Command, Dispatch, Effect, Event, Phase, Settled, Timer};
use crate::ledger::store::{LedgerError, Recorded};

/// Appends to the record of everything.
pub(super) async fn note(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    id: &str,
    fence: u64,
    kind: &str,
    body: &Value,
) -> Result<(), LedgerError> {
    sqlx::query("INSERT INTO events (dispatch_id, fence, kind, at, body) VALUES (?, ?, ?, ?, ?)")
        .bind(id)
        .bind(signed(fence))
        .bind(kind)
        .bind(scene.now)
        .bind(body.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn load(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<Option<Dispatch>, LedgerError> {
    let state: Option<String> = sqlx::query_scalar("SELECT state FROM dispatches WHERE id = ?")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Ok(state
        .map(|state| serde_json::from_str(&state))
        .transpose()?)
}

/// Tells a dispatch what happened, and does what follows.
pub(super) async fn record(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    id: Uuid,
    event: &Event,
    evidence: &Value,
) -> Result<Recorded, LedgerError> {
    let id = id.to_string();
    let Some(mut state) = load(connection, &id).await? else {
        return Err(LedgerError::Unknown(format!("dispatch {id}")));
    };
    if *event == Event::Retry && state.phase.is_terminal() {
        subject_is_free(connection, &id).await?;
    }
    take(scene, connection, &id, &mut state, event.clone(), evidence).await
}

/// Another dispatch may have been submitted for the same subject since this one ended.
async fn subject_is_free(connection: &mut SqliteConnection, id: &str) -> Result<(), LedgerError> {
    let other: Option<String> = sqlx::query_scalar(
        "SELECT other.id FROM dispatches AS ours JOIN dispatches AS other \
         ON other.subject = ours.subject AND other.finished_at IS NULL \
         WHERE ours.id = ? AND ours.finished_at IS NOT NULL",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?;
    match other {
        Some(other) => Err(LedgerError::Busy(other)),
        None => Ok(()),
    }
}

/// Applies an event, and those that follow because effects were called off.
pub(super) async fn take(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    id: &str,
    state: &mut Dispatch,
    event: Event,
    evidence: &Value,
) -> Result<Recorded, LedgerError> {
    let before = (state.timer(), state.fence);
    let mut alive = false;
    let mut events = vec![event];
    let mut outcome = None;
    while let Some(event) = events.pop() {
        let fence = event.fence().unwrap_or(state.fence);
        let kind = event.kind().as_str();
        let reason = event.reason();
        let Some(commands) = state.apply(&event) else {
            let body = json!({ "event": kind, "reason": reason, "phase": state.phase.as_str() });
            note(scene, connection, id, fence, "stale", &body).await?;
            outcome.get_or_insert(Recorded::Stale);
            continue;
        };
        alive |= matches!(event, Event::SignOfLife { .. });
        let mut body = json!({ "reason": reason, "phase": state.phase.as_str() });
        if let (None, false, Some(body)) = (&outcome, evidence.is_null(), body.as_object_mut()) {
            body.insert("evidence".to_owned(), evidence.clone());
        }
        note(scene, connection, id, state.fence, kind, &body).await?;
        for command in &commands {
            for (fence, effect) in carry_out(scene, connection, id, state, command).await? {
                events.push(Event::Settled {
                    fence,
                    effect,
                    how: Settled::Dropped,
                });
            }
        }
        outcome.get_or_insert(Recorded::Applied(state.phase));
    }
    if outcome == Some(Recorded::Stale) {
        return Ok(Recorded::Stale);
    }
    let timer = match state.timer() {
        // Whoever falls silent must do so anew after every sign of life.
        Some(Timer::Grace) if alive => Due::at(scene, state),
        _ if before == (state.timer(), state.fence) => Due::Unchanged,
        _ => Due::at(scene, state),
    };
    store(scene, connection, id, state, timer).await?;
    Ok(Recorded::Applied(state.phase))
}

/// When the timer of a state goes off.
enum Due {
    /// When it did before.
    Unchanged,
    /// When the agent's time is over.
    Deadline,
    /// Then, or never.
    At(Option<i64>),
}

impl Due {
    fn at(scene: &Scene<'_>, state: &Dispatch) -> Self {
        let options = &scene.writer.options;
        let after = |time| Self::At(Some(scene.now.saturating_add(millis(time))));
        match state.timer() {
            None => Self::At(None),
            Some(Timer::Deadline) => Self::Deadline,
            Some(Timer::Retry) => after(backoff(options.backoff, state.retries)),
            Some(Timer::Review) => after(options.review),
            Some(Timer::Grace) => after(options.grace),
        }
    }
}

/// How long to wait before a retry: twice as long each time, up to an hour or the first wait, and
/// up to twice that by chance, so that not all come at once.
fn backoff(first: Duration, retries: u32) -> Duration {
    let waits = ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(first.max(Duration::from_secs(3600)))
        .with_jitter()
        .without_max_times();
    let before = usize::try_from(retries.saturating_sub(1)).unwrap_or(usize::MAX);
    waits.build().nth(before.min(64)).unwrap_or(first)
}

async fn store(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    id: &str,
    state: &Dispatch,
    due: Due,
) -> Result<(), LedgerError> {
    // Whoever moves a live dispatch looks after it from now on, if it may look after any.
    let owner = state
        .attempt
        .is_some()
        .then(|| scene.writer.owner.to_string());
    let finished = state.phase.is_terminal().then_some(scene.now);
    let (kind, at) = match due {
        Due::Unchanged => (0, None),
        Due::Deadline => (1, None),
        Due::At(at) => (2, at),
    };
    sqlx::query(
        "UPDATE dispatches SET state = ?1, owner = CASE WHEN ?5 THEN owner ELSE ?2 END, \
         finished_at = CASE WHEN ?3 IS NULL THEN NULL ELSE coalesce(finished_at, ?3) END, \
         run_at = CASE ?6 WHEN 0 THEN run_at WHEN 1 THEN deadline_at ELSE ?7 END \
         WHERE id = ?4",
    )
    .bind(serde_json::to_string(state)?)
    .bind(owner)
    .bind(finished)
    .bind(id)
    .bind(scene.lost)
    .bind(kind)
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Does what the machine asks for; yields the effects that were called off.
async fn carry_out(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    id: &str,
    state: &Dispatch,
    command: &Command,
) -> Result<Vec<(u64, Effect)>, LedgerError> {
    match command {
        Command::BeginAttempt { agent, fence } => {
            let known = scene.agent(agent);
            sqlx::query(
                "INSERT INTO attempts (dispatch_id, fence, agent, started_at, terms) \
                 VALUES (?, ?, ?, ?, ?)",
            )
            .bind(id)
            .bind(signed(*fence))
            .bind(agent)
            .bind(scene.now)
            .bind(known.map_or(&Value::Null, |agent| &agent.terms).to_string())
            .execute(&mut *connection)
            .await?;
            let time = known.map_or(0, |agent| agent.deadline);
            let time = i64::try_from(time).unwrap_or(i64::MAX);
            sqlx::query("UPDATE dispatches SET deadline_at = ? WHERE id = ?")
                .bind(scene.now.saturating_add(time))
                .bind(id)
                .execute(connection)
                .await?;
        }
        Command::EndAttempt { fence, outcome } => {
            sqlx::query(
                "UPDATE attempts SET ended_at = ?, outcome = ?, reason = ? \
                 WHERE dispatch_id = ? AND fence = ?",
            )
            .bind(scene.now)
            .bind(outcome.map_or(Phase::IssueGone.as_str(), |next| next.as_str()))
            .bind(&state.reason)
            .bind(id)
            .bind(signed(*fence))
            .execute(connection)
            .await?;
        }
        Command::TakeSlot { agent, fence } => {
            // The lowest number that is free: the claim made sure that there is one.
            sqlx::query(
                "INSERT INTO slots (agent, slot, dispatch_id, fence) \
                 SELECT ?1, min(number), ?2, ?3 FROM ( \
                     SELECT 1 AS number UNION ALL SELECT slot + 1 FROM slots WHERE agent = ?1 \
                 ) WHERE number NOT IN (SELECT slot FROM slots WHERE agent = ?1)",
            )
            .bind(agent)
            .bind(id)
            .bind(signed(*fence))
            .execute(connection)
            .await?;
        }
        Command::DrainSlot { fence } => {
            sqlx::query("UPDATE slots SET draining = 1 WHERE dispatch_id = ? AND fence = ?")
                .bind(id)
                .bind(signed(*fence))
                .execute(connection)
                .await?;
        }
        Command::FreeSlot { fence } => {
            sqlx::query("DELETE FROM slots WHERE dispatch_id = ? AND fence = ?")
                .bind(id)
                .bind(signed(*fence))
                .execute(connection)
                .await?;
        }
        Command::Send { fence, effect } => {
            let idempotent = state.attempt.as_ref().is_some_and(|live| live.idempotent);
            let repeat = repeat(*effect, idempotent);
            let row = Row::new(repeat, millis(scene.writer.options.quarantine));
            sqlx::query(
                "INSERT INTO outbox (id, dispatch_id, fence, position, effect, nonce, row) \
                 SELECT ?1, ?2, ?3, count(*), ?4, ?5, ?6 FROM outbox \
                 WHERE dispatch_id = ?2 AND fence = ?3",
            )
            .bind(Uuid::now_v7().to_string())
            .bind(id)
            .bind(signed(*fence))
            .bind(effect.as_str())
            .bind(Uuid::new_v4().to_string())
            .bind(serde_json::to_string(&row)?)
            .execute(connection)
            .await?;
        }
        Command::DropUnsent { fence } => return drop_unsent(connection, id, *fence).await,
    }
    Ok(Vec::new())
}

async fn drop_unsent(
    connection: &mut SqliteConnection,
    id: &str,
    fence: u64,
) -> Result<Vec<(u64, Effect)>, LedgerError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT id, effect, row FROM outbox WHERE dispatch_id = ? AND fence = ? AND settled = 0",
    )
    .bind(id)
    .bind(signed(fence))
    .fetch_all(&mut *connection)
    .await?;
    let mut dropped = Vec::new();
    for (row_id, effect, row) in rows {
        let mut row: Row = serde_json::from_str(&row)?;
        if !row.apply(&effect::Event::Drop) {
            continue; // On its way already: it is settled first, and then undone.
        }
        sqlx::query("UPDATE outbox SET row = ? WHERE id = ?")
            .bind(serde_json::to_string(&row)?)
            .bind(row_id)
            .execute(&mut *connection)
            .await?;
        dropped.push((fence, super::parse(&effect)?));
    }
    Ok(dropped)
}
