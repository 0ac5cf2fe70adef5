//! Tasks in, dispatches out.

use std::time::Duration;

use serde_json::json;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::writer::Scene;
use super::{change, count, millis, parse};
use crate::ledger::machine::{Dispatch, Event};
use crate::ledger::store::{Claim, LedgerError, Submission, Submitted};

pub(super) async fn submit(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    submission: &Submission,
) -> Result<Submitted, LedgerError> {
    let known = &scene.writer.agents;
    for name in &submission.plan.agents {
        if !known.iter().any(|agent| agent.name == *name) {
            let known: Vec<&str> = known.iter().map(|agent| agent.name.as_str()).collect();
            return Err(LedgerError::UnknownAgent {
                name: name.clone(),
                known: known.join(", "),
            });
        }
    }
    let task = submission.task.to_string();
    let there: Option<(String, String, bool)> = sqlx::query_as(
        "SELECT id, task, idempotency_key IS ?2 AND ?2 IS NOT NULL FROM dispatches \
         WHERE id = ?1 OR idempotency_key = ?2 OR (subject = ?3 AND finished_at IS NULL) \
         ORDER BY id = ?1 DESC, idempotency_key IS ?2 DESC LIMIT 1",
    )
    .bind(submission.id.to_string())
    .bind(&submission.idempotency_key)
    .bind(&submission.subject)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some((id, stored, same_key)) = there {
        let id = parse(&id)?;
        if let (true, Some(key)) = (same_key && stored != task, &submission.idempotency_key) {
            let key = key.clone();
            return Err(LedgerError::OtherTask { key, id });
        }
        return Ok(Submitted { id, new: false });
    }
    let state = Dispatch::new(submission.plan.clone());
    let id = submission.id.to_string();
    sqlx::query(
        "INSERT INTO dispatches \
         (id, idempotency_key, subject, task, state, priority, created_at, run_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?7, ?7)",
    )
    .bind(&id)
    .bind(&submission.idempotency_key)
    .bind(&submission.subject)
    .bind(&task)
    .bind(serde_json::to_string(&state)?)
    .bind(submission.priority)
    .bind(scene.now)
    .execute(&mut *connection)
    .await?;
    change::note(scene, connection, &id, 0, "submitted", &json!({})).await?;
    Ok(Submitted {
        id: submission.id,
        new: true,
    })
}

pub(super) async fn claim(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    names: &[String],
    limit: usize,
) -> Result<Vec<Claim>, LedgerError> {
    scene.lease()?;
    let stored: i64 = sqlx::query_scalar("SELECT revision FROM agents")
        .fetch_one(&mut *connection)
        .await?;
    if stored != scene.writer.revision {
        return Err(LedgerError::OldConfiguration {
            stored,
            ours: scene.writer.revision,
        });
    }
    let mut claims = Vec::new();
    for agent in &scene.writer.agents {
        if !names.contains(&agent.name) {
            continue;
        }
        let taken: i64 = sqlx::query_scalar("SELECT count(*) FROM slots WHERE agent = ?")
            .bind(&agent.name)
            .fetch_one(&mut *connection)
            .await?;
        let free = i64::from(agent.max_concurrent) - taken;
        let wanted = free.min(count(limit.saturating_sub(claims.len())));
        if wanted <= 0 {
            continue;
        }
        let ready: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT id, task, state FROM dispatches \
             WHERE phase = 'queued' AND agent = ? ORDER BY priority DESC, id LIMIT ?",
        )
        .bind(&agent.name)
        .bind(wanted)
        .fetch_all(&mut *connection)
        .await?;
        for (id, task, state) in ready {
            let mut state: Dispatch = serde_json::from_str(&state)?;
            let event = Event::Claimed {
                channel: agent.channel,
            };
            change::take(scene, connection, &id, &mut state, event).await?;
            claims.push(Claim {
                id: parse::<Uuid>(&id)?,
                fence: state.fence,
                agent: agent.name.clone(),
                task: serde_json::from_str(&task)?,
            });
        }
    }
    Ok(claims)
}

pub(super) async fn prune(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    age: Duration,
    limit: usize,
) -> Result<usize, LedgerError> {
    let old: Vec<String> = sqlx::query_scalar(
        "DELETE FROM dispatches WHERE id IN ( \
             SELECT id FROM dispatches AS old WHERE finished_at <= ? AND NOT EXISTS ( \
                 SELECT 1 FROM outbox WHERE dispatch_id = old.id AND settled = 0 \
             ) ORDER BY finished_at LIMIT ? \
         ) RETURNING id",
    )
    .bind(scene.now.saturating_sub(millis(age)))
    .bind(count(limit))
    .fetch_all(&mut *connection)
    .await?;
    for id in &old {
        sqlx::query("DELETE FROM events WHERE dispatch_id = ?")
            .bind(id)
            .execute(&mut *connection)
            .await?;
    }
    Ok(old.len())
}
