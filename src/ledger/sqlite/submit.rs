//! Tasks in, dispatches out.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::writer::Scene;
use super::{change, count, millis, parse};
use crate::ledger::machine::{Dispatch, Event, Phase};
use crate::ledger::store::{Agent, Claim, LedgerError, Submission, Submitted};

fn known(scene: &Scene<'_>, name: &str) -> Result<(), LedgerError> {
    let known = &scene.writer.agents;
    if known.iter().any(|agent| agent.name == name) {
        return Ok(());
    }
    let known: Vec<&str> = known.iter().map(|agent| agent.name.as_str()).collect();
    Err(LedgerError::UnknownAgent {
        name: name.to_owned(),
        known: known.join(", "),
    })
}

pub(super) async fn submit(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    submission: &Submission,
) -> Result<Submitted, LedgerError> {
    for name in &submission.plan.agents {
        known(scene, name)?;
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
         (id, idempotency_key, subject, task, state, priority, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
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
    let handles = serde_json::to_string(names)?;
    sqlx::query("UPDATE owners SET handles = ?1 WHERE id = ?2 AND handles <> ?1")
        .bind(handles)
        .bind(scene.writer.owner.to_string())
        .execute(&mut *connection)
        .await?;
    let paused: Vec<String> = sqlx::query_scalar("SELECT agent FROM pauses")
        .fetch_all(&mut *connection)
        .await?;
    if paused.iter().any(String::is_empty) {
        return Ok(Vec::new());
    }
    let mut free = Vec::new();
    for agent in &scene.writer.agents {
        let taken: i64 = sqlx::query_scalar("SELECT count(*) FROM slots WHERE agent = ?")
            .bind(&agent.name)
            .fetch_one(&mut *connection)
            .await?;
        let left = match paused.contains(&agent.name) {
            true => 0,
            false => i64::from(agent.max_concurrent) - taken,
        };
        free.push((agent, left));
    }
    let mut claims = Vec::new();
    let wanted = |claims: &Vec<Claim>| count(limit.saturating_sub(claims.len()));
    for (agent, left) in &mut free {
        let limit = (*left).min(wanted(&claims));
        if limit <= 0 || !names.contains(&agent.name) {
            continue;
        }
        let ready: Vec<Ready> = sqlx::query_as(
            "SELECT id, task, state FROM dispatches \
             WHERE phase = 'queued' AND agent = ? ORDER BY priority DESC, id LIMIT ?",
        )
        .bind(&agent.name)
        .bind(limit)
        .fetch_all(&mut *connection)
        .await?;
        for ready in ready {
            claims.push(hand_to(scene, connection, ready, agent).await?);
            *left -= 1;
        }
    }
    if wanted(&claims) == 0 {
        return Ok(claims);
    }
    // What is left waits for agents that are busy.
    let waiting: Vec<Ready> = sqlx::query_as(
        "SELECT id, task, state FROM dispatches \
         WHERE phase = 'queued' AND fallback = 1 ORDER BY priority DESC, id LIMIT ?",
    )
    .bind(wanted(&claims).saturating_mul(4))
    .fetch_all(&mut *connection)
    .await?;
    for ready in waiting {
        let state: Dispatch = serde_json::from_str(&ready.2)?;
        let has_slot = |name: &str| free.iter().any(|(a, left)| a.name == name && *left > 0);
        if wanted(&claims) == 0 || state.agent().is_some_and(has_slot) {
            continue;
        }
        let stands_in = state.plan.fallback.iter().find_map(|name| {
            free.iter()
                .position(|(agent, left)| agent.name == *name && *left > 0 && names.contains(name))
        });
        if let Some((agent, left)) = stands_in.and_then(|place| free.get_mut(place)) {
            claims.push(hand_to(scene, connection, ready, agent).await?);
            *left -= 1;
        }
    }
    Ok(claims)
}

/// id, task, state.
type Ready = (String, String, String);

async fn hand_to(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    (id, task, state): Ready,
    agent: &Agent,
) -> Result<Claim, LedgerError> {
    let mut state: Dispatch = serde_json::from_str(&state)?;
    let event = Event::Claimed {
        agent: agent.name.clone(),
        channel: agent.channel,
        idempotent: agent.idempotent,
    };
    change::take(scene, connection, &id, &mut state, event, &Value::Null).await?;
    Ok(Claim {
        id: parse::<Uuid>(&id)?,
        fence: state.fence,
        agent: agent.name.clone(),
        task: serde_json::from_str(&task)?,
    })
}

/// Raises what the time has come for, and yields how many there were.
pub(super) async fn due(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    limit: usize,
) -> Result<usize, LedgerError> {
    scene.lease()?;
    let due: Vec<(String, String)> = sqlx::query_as(
        "SELECT id, state FROM dispatches \
         WHERE run_at <= ? AND finished_at IS NULL ORDER BY run_at LIMIT ?",
    )
    .bind(scene.now)
    .bind(count(limit))
    .fetch_all(&mut *connection)
    .await?;
    let raised = due.len();
    for (id, state) in due {
        let mut state: Dispatch = serde_json::from_str(&state)?;
        if let Some(event) = state.due() {
            change::take(scene, connection, &id, &mut state, event, &Value::Null).await?;
        }
    }
    Ok(raised)
}

/// Lets an agent, or all of them, have no more tasks, or have them again.
pub(super) async fn pause(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    agent: Option<&str>,
    paused: bool,
) -> Result<(), LedgerError> {
    if let Some(name) = agent {
        known(scene, name)?;
    }
    let agent = agent.unwrap_or_default();
    if paused {
        sqlx::query("INSERT INTO pauses (agent, since) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(agent)
            .bind(scene.now)
            .execute(connection)
            .await?;
    } else {
        sqlx::query("DELETE FROM pauses WHERE agent = ?")
            .bind(agent)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// A repository has another name: what is open about it goes on there. Yields how many there were.
pub(super) async fn relocate(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    from: &str,
    to: &str,
) -> Result<usize, LedgerError> {
    let moved: Vec<(String, String)> = sqlx::query_as(
        "UPDATE dispatches SET task = json_set(task, '$.repo', ?2), \
         subject = replace(subject, '/' || lower(?1) || '#', '/' || lower(?2) || '#') \
         WHERE finished_at IS NULL AND lower(task ->> '$.repo') = lower(?1) RETURNING id, state",
    )
    .bind(from)
    .bind(to)
    .fetch_all(&mut *connection)
    .await?;
    let count = moved.len();
    for (id, state) in moved {
        let mut state: Dispatch = serde_json::from_str(&state)?;
        let body = json!({ "from": from, "to": to });
        change::note(scene, connection, &id, state.fence, "relocated", &body).await?;
        if state.phase == Phase::Held {
            let event = Event::Release;
            change::take(scene, connection, &id, &mut state, event, &Value::Null).await?;
        }
    }
    Ok(count)
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
