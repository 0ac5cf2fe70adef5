//! The outbox.

use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::writer::Scene;
use super::{Answer, change, count, millis, parse};
use crate::ledger::effect::{Event, Phase, Row};
use crate::ledger::machine::{self, Effect, Settled};
use crate::ledger::store::{Errand, LedgerError};

/// id, dispatch, fence, effect, nonce, row.
type Stored = (String, String, i64, String, String, String);

fn errand(stored: &Stored) -> Result<Errand, LedgerError> {
    let (id, dispatch, fence, effect, nonce, row) = stored;
    Ok(Errand {
        id: parse(id)?,
        dispatch: parse(dispatch)?,
        fence: u64::try_from(*fence).unwrap_or_default(),
        effect: parse(effect)?,
        nonce: parse(nonce)?,
        row: serde_json::from_str(row)?,
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
    let due: Vec<Stored> = sqlx::query_as(
        "SELECT o.id, o.dispatch_id, o.fence, o.effect, o.nonce, o.row \
         FROM outbox AS o JOIN dispatches AS d ON d.id = o.dispatch_id \
         WHERE o.settled = 0 AND o.phase = 'ready' AND o.not_before <= ? AND d.phase <> 'held' \
         AND NOT EXISTS (SELECT 1 FROM outbox AS e WHERE e.settled = 0 \
             AND e.dispatch_id = o.dispatch_id AND e.fence = o.fence AND e.position < o.position) \
         ORDER BY o.not_before, o.id LIMIT ?",
    )
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
    let due: Vec<Stored> = sqlx::query_as(
        "SELECT o.id, o.dispatch_id, o.fence, o.effect, o.nonce, o.row \
         FROM outbox AS o JOIN dispatches AS d ON d.id = o.dispatch_id \
         WHERE o.settled = 0 AND o.phase IN ('in_doubt', 'settling') AND o.not_before <= ? \
         AND d.phase <> 'held' ORDER BY o.not_before, o.id LIMIT ?",
    )
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
    let lost: Vec<Stored> = sqlx::query_as(
        "SELECT id, dispatch_id, fence, effect, nonce, row FROM outbox \
         WHERE owner = ? AND settled = 0 AND phase = 'sending'",
    )
    .bind(owner)
    .fetch_all(&mut *connection)
    .await?;
    for stored in lost {
        let mut errand = errand(&stored)?;
        if errand.row.apply(&Event::Lost { now: scene.now }) {
            keep(connection, errand.id, &errand.row, None).await?;
        }
    }
    Ok(())
}

pub(super) async fn answered(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    id: Uuid,
    sends: u32,
    answer: &Answer,
) -> Result<Option<Phase>, LedgerError> {
    let stored: Option<Stored> = sqlx::query_as(
        "SELECT id, dispatch_id, fence, effect, nonce, row FROM outbox WHERE id = ?",
    )
    .bind(id.to_string())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(stored) = stored else {
        return Err(LedgerError::Unknown(format!("effect {id}")));
    };
    let mut errand = errand(&stored)?;
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
    change::record(scene, connection, errand.dispatch, &event).await?;
    Ok(())
}
