//! The outbox.

use serde_json::Value;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use super::writer::Scene;
use super::{Answer, change, count, millis, parse};
use crate::ledger::effect::{Event, Phase, Row};
use crate::ledger::machine::{self, Dispatch, Effect, Settled};
use crate::ledger::store::{Errand, LedgerError};

/// A row of the outbox, with what there is to know to carry it out.
pub(super) struct Stored {
    id: String,
    dispatch_id: String,
    fence: i64,
    effect: String,
    nonce: String,
    row: String,
    remote_id: Option<i64>,
    handover: Option<i64>,
    agent: Option<String>,
    terms: Option<String>,
    task: String,
    state: String,
}

impl FromRow<'_, SqliteRow> for Stored {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            dispatch_id: row.try_get("dispatch_id")?,
            fence: row.try_get("fence")?,
            effect: row.try_get("effect")?,
            nonce: row.try_get("nonce")?,
            row: row.try_get("row")?,
            remote_id: row.try_get("remote_id")?,
            handover: row.try_get("handover")?,
            agent: row.try_get("agent")?,
            terms: row.try_get("terms")?,
            task: row.try_get("task")?,
            state: row.try_get("state")?,
        })
    }
}

/// The query for [`Stored`] rows of the outbox `o` and its dispatch `d`, with its end.
macro_rules! errands {
    ($end:literal) => {
        concat!(
            "SELECT o.id, o.dispatch_id, o.fence, o.effect, o.nonce, o.row, o.remote_id, \
             h.remote_id AS handover, a.agent, a.terms, d.task, d.state \
             FROM outbox AS o JOIN dispatches AS d ON d.id = o.dispatch_id \
             LEFT JOIN attempts AS a ON a.dispatch_id = o.dispatch_id AND a.fence = o.fence \
             LEFT JOIN outbox AS h ON h.dispatch_id = o.dispatch_id AND h.fence = o.fence \
             AND h.effect = 'comment' ",
            $end
        )
    };
}
pub(super) use errands;

pub(super) fn errand(stored: &Stored) -> Result<Errand, LedgerError> {
    let state: Dispatch = serde_json::from_str(&stored.state)?;
    let terms = stored.terms.as_deref().map(serde_json::from_str);
    Ok(Errand {
        id: parse(&stored.id)?,
        dispatch: parse(&stored.dispatch_id)?,
        fence: u64::try_from(stored.fence).unwrap_or_default(),
        effect: parse(&stored.effect)?,
        agent: stored.agent.clone().unwrap_or_default(),
        terms: terms.transpose()?.unwrap_or_default(),
        task: serde_json::from_str(&stored.task)?,
        reason: state.reason,
        handover: stored.handover,
        remote_id: stored.remote_id,
        nonce: parse(&stored.nonce)?,
        row: serde_json::from_str(&stored.row)?,
    })
}

async fn keep(
    connection: &mut SqliteConnection,
    id: Uuid,
    row: &Row,
    owner: Option<Uuid>,
) -> Result<(), LedgerError> {
    sqlx::query("UPDATE outbox SET row = ?, owner = ? WHERE id = ?")
        .bind(serde_json::to_string(row)?)
        .bind(owner.map(|owner| owner.to_string()))
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The effects whose turn it is, each behind those of its attempt that came before it.
pub(super) async fn send(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    limit: usize,
) -> Result<Vec<Errand>, LedgerError> {
    scene.lease()?;
    let due: Vec<Stored> = sqlx::query_as(errands!(
        "WHERE o.settled = 0 AND o.phase = 'ready' AND o.not_before <= ? AND d.phase <> 'held' \
         AND NOT EXISTS (SELECT 1 FROM outbox AS e WHERE e.settled = 0 \
             AND e.dispatch_id = o.dispatch_id AND e.fence = o.fence AND e.position < o.position) \
         ORDER BY o.not_before, o.id LIMIT ?"
    ))
    .bind(scene.now)
    .bind(count(limit))
    .fetch_all(&mut *connection)
    .await?;
    let mut errands = Vec::new();
    for stored in due {
        let mut errand = errand(&stored)?;
        if errand.row.apply(&Event::Send { now: scene.now }) {
            keep(connection, errand.id, &errand.row, Some(scene.writer.owner)).await?;
            errands.push(errand);
        }
    }
    Ok(errands)
}

/// The effects that are to be looked for now; for those that cannot be, what then follows is done.
pub(super) async fn doubtful(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    limit: usize,
) -> Result<Vec<Errand>, LedgerError> {
    scene.lease()?;
    let due: Vec<Stored> = sqlx::query_as(errands!(
        "WHERE o.settled = 0 AND o.phase IN ('in_doubt', 'settling') AND o.not_before <= ? \
         AND d.phase <> 'held' ORDER BY o.not_before, o.id LIMIT ?"
    ))
    .bind(scene.now)
    .bind(count(limit))
    .fetch_all(&mut *connection)
    .await?;
    let mut errands = Vec::new();
    for stored in due {
        let mut errand = errand(&stored)?;
        if errand.row.apply(&Event::Due { now: scene.now }) {
            keep(connection, errand.id, &errand.row, None).await?;
            settled(scene, connection, &errand, String::new()).await?;
        } else {
            errands.push(errand);
        }
    }
    Ok(errands)
}

/// What a dead process was sending is in doubt.
pub(super) async fn lose(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    owner: &str,
) -> Result<(), LedgerError> {
    let lost: Vec<Stored> = sqlx::query_as(errands!(
        "WHERE o.owner = ? AND o.settled = 0 AND o.phase = 'sending'"
    ))
    .bind(owner)
    .fetch_all(&mut *connection)
    .await?;
    for stored in lost {
        let mut errand = errand(&stored)?;
        if !errand.row.apply(&Event::Lost { now: scene.now }) {
            continue;
        }
        // What ran in a process ends with it.
        if errand.effect == Effect::Run {
            let _ = errand.row.apply(&Event::Abandon);
        }
        keep(connection, errand.id, &errand.row, None).await?;
        settled(scene, connection, &errand, String::new()).await?;
    }
    Ok(())
}

/// Hastens an effect that waits, or gives one up.
pub(super) async fn steer(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    id: Uuid,
    event: Event,
) -> Result<bool, LedgerError> {
    let mut errand = load(connection, id).await?;
    if !errand.row.apply(&event) {
        return Ok(false);
    }
    keep(connection, id, &errand.row, None).await?;
    let dispatch = errand.dispatch.to_string();
    let body = serde_json::json!({ "effect": errand.effect.as_str() });
    let kind = event.kind().as_str();
    change::note(scene, connection, &dispatch, errand.fence, kind, &body).await?;
    settled(scene, connection, &errand, String::new()).await?;
    Ok(true)
}

async fn load(connection: &mut SqliteConnection, id: Uuid) -> Result<Errand, LedgerError> {
    let stored: Option<Stored> = sqlx::query_as(errands!("WHERE o.id = ?"))
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    match stored {
        Some(stored) => errand(&stored),
        None => Err(LedgerError::Unknown(format!("effect {id}"))),
    }
}

pub(super) async fn answered(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    id: Uuid,
    sends: u32,
    answer: &Answer,
) -> Result<Option<Phase>, LedgerError> {
    let mut errand = load(connection, id).await?;
    let now = scene.now;
    let (event, remote_id, reason) = match answer {
        Answer::Taken(remote) => (Event::Taken { now }, *remote, String::new()),
        Answer::NotTaken(wait) => {
            let again = now.saturating_add(millis(*wait));
            (Event::NotTaken { again }, None, String::new())
        }
        Answer::Refused(reason) => (Event::Refused, None, reason.clone()),
        Answer::Lost => (Event::Lost { now }, None, String::new()),
        Answer::Found(found, remote) => {
            let (began, found) = (now, *found);
            (Event::LookedFor { began, found }, *remote, String::new())
        }
    };
    // An answer to a request that somebody else has repeated meanwhile says nothing about theirs.
    if errand.row.sends != sends || !errand.row.apply(&event) {
        let body = serde_json::json!({ "effect": errand.effect.as_str() });
        let dispatch = errand.dispatch.to_string();
        change::note(
            scene,
            connection,
            &dispatch,
            errand.fence,
            "stale answer",
            &body,
        )
        .await?;
        return Ok(None);
    }
    // It may have been taken back while it was on its way, or in doubt.
    if errand.row.phase == Phase::Ready {
        let state = change::load(connection, &errand.dispatch.to_string()).await?;
        if state.is_some_and(|state| !state.wants(errand.fence, errand.effect)) {
            let _ = errand.row.apply(&Event::Drop);
        }
    }
    keep(connection, id, &errand.row, None).await?;
    if remote_id.is_some() {
        sqlx::query("UPDATE outbox SET remote_id = ? WHERE id = ?")
            .bind(remote_id)
            .bind(id.to_string())
            .execute(&mut *connection)
            .await?;
    }
    settled(scene, connection, &errand, reason).await?;
    Ok(Some(errand.row.phase))
}

/// Tells the dispatch, where the effect has come to its end.
async fn settled(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    errand: &Errand,
    reason: String,
) -> Result<(), LedgerError> {
    let how = match errand.row.phase {
        Phase::Done => Settled::Done,
        Phase::Refused => Settled::Refused(reason),
        Phase::Ambiguous => Settled::Ambiguous,
        Phase::Dropped => Settled::Dropped,
        _ => return Ok(()),
    };
    let (fence, effect): (u64, Effect) = (errand.fence, errand.effect);
    let event = machine::Event::Settled { fence, effect, how };
    change::record(scene, connection, errand.dispatch, &event, &Value::Null).await?;
    Ok(())
}
