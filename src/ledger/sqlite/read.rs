//! What the ledger holds.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use super::effects::{self, errands};
use super::{count, owners, parse};
use crate::ledger::machine::{Dispatch, Phase, SlotHold};
use crate::ledger::store::{
    Agent, AttemptRecord, Entry, Errand, Glance, LedgerError, Record, Story, Watched,
};

struct Stored {
    id: String,
    task: String,
    state: String,
    subject: Option<String>,
    idempotency_key: Option<String>,
    priority: i32,
    owner: Option<String>,
    created_at: i64,
    run_at: Option<i64>,
    finished_at: Option<i64>,
    /// Taken slots of the agent.
    taken: i64,
    /// The agents in force.
    agents: String,
    /// Lists of agents that processes hand tasks to.
    handled: String,
    /// Agents that get nothing for now.
    pauses: String,
}

impl FromRow<'_, SqliteRow> for Stored {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            task: row.try_get("task")?,
            state: row.try_get("state")?,
            subject: row.try_get("subject")?,
            idempotency_key: row.try_get("idempotency_key")?,
            priority: row.try_get("priority")?,
            owner: row.try_get("owner")?,
            created_at: row.try_get("created_at")?,
            run_at: row.try_get("run_at")?,
            finished_at: row.try_get("finished_at")?,
            taken: row.try_get("taken")?,
            agents: row.try_get("agents")?,
            handled: row.try_get("handled")?,
            pauses: row.try_get("pauses")?,
        })
    }
}

/// The query for [`Stored`] rows, with its end.
macro_rules! records {
    ($end:literal) => {
        concat!(
            "SELECT id, task, state, subject, idempotency_key, priority, owner, created_at, \
             run_at, finished_at, \
             (SELECT count(*) FROM slots WHERE slots.agent = dispatches.agent) AS taken, \
             (SELECT agents FROM agents) AS agents, \
             (SELECT json_group_array(json(handles)) FROM owners \
                 WHERE expires_at > unixepoch('subsec') * 1000) AS handled, \
             (SELECT json_group_array(agent) FROM pauses) AS pauses FROM dispatches ",
            $end
        )
    };
}

fn record(stored: Stored) -> Result<Record, LedgerError> {
    let state: Dispatch = serde_json::from_str(&stored.state)?;
    let reason = match (state.phase, state.agent()) {
        (Phase::Queued, Some(name)) => why_queued(&stored, &state.reason, name)?,
        (phase, _) if phase.is_waiting() => state.reason.clone(),
        _ => String::new(),
    };
    Ok(Record {
        id: parse(&stored.id)?,
        task: serde_json::from_str(&stored.task)?,
        subject: stored.subject,
        idempotency_key: stored.idempotency_key,
        priority: stored.priority,
        owner: stored.owner.as_deref().map(parse).transpose()?,
        created_at: stored.created_at,
        due_at: stored.run_at,
        finished_at: stored.finished_at,
        state,
        reason,
    })
}

/// Why nobody has claimed it.
fn why_queued(stored: &Stored, reason: &str, name: &str) -> Result<String, LedgerError> {
    let agents: Vec<Agent> = serde_json::from_str(&stored.agents)?;
    let handled: Vec<Vec<String>> = serde_json::from_str(&stored.handled)?;
    let pauses: Vec<String> = serde_json::from_str(&stored.pauses)?;
    let Some(agent) = agents.iter().find(|agent| agent.name == name) else {
        return Ok(format!("there is no agent {name} any more"));
    };
    if pauses.iter().any(|paused| paused.is_empty()) {
        return Ok("everything is paused".to_owned());
    }
    if pauses.iter().any(|paused| paused == name) {
        return Ok(format!("{name} is paused"));
    }
    if stored.taken >= i64::from(agent.max_concurrent) {
        let (taken, slots) = (stored.taken, agent.max_concurrent);
        return Ok(format!(
            "no free slot of {name}: {taken} of {slots} are taken"
        ));
    }
    if !handled.iter().flatten().any(|handled| handled == name) {
        return Ok(format!("{reason}; no running process handles {name}"));
    }
    Ok(format!("{reason}; not claimed yet"))
}

pub(super) async fn get(
    connection: &mut SqliteConnection,
    id: Uuid,
) -> Result<Record, LedgerError> {
    let stored: Option<Stored> = sqlx::query_as(records!("WHERE id = ?"))
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    match stored {
        Some(stored) => record(stored),
        None => Err(LedgerError::Unknown(format!("dispatch {id}"))),
    }
}

pub(super) async fn list(
    connection: &mut SqliteConnection,
    finished: bool,
    limit: usize,
) -> Result<Vec<Record>, LedgerError> {
    let stored: Vec<Stored> = sqlx::query_as(records!(
        "WHERE ? OR finished_at IS NULL ORDER BY id DESC LIMIT ?"
    ))
    .bind(finished)
    .bind(count(limit))
    .fetch_all(connection)
    .await?;
    stored.into_iter().map(record).collect()
}

pub(super) async fn story(
    connection: &mut SqliteConnection,
    id: Uuid,
) -> Result<Story, LedgerError> {
    let record = get(connection, id).await?;
    let name = id.to_string();
    type Attempt = (
        i64,
        String,
        i64,
        Option<i64>,
        Option<String>,
        Option<String>,
        String,
    );
    let attempts: Vec<Attempt> = sqlx::query_as(
        "SELECT fence, agent, started_at, ended_at, outcome, reason, terms FROM attempts \
         WHERE dispatch_id = ? ORDER BY fence",
    )
    .bind(&name)
    .fetch_all(&mut *connection)
    .await?;
    let attempts = attempts.into_iter().map(
        |(fence, agent, started_at, ended_at, outcome, reason, terms)| {
            Ok(AttemptRecord {
                fence: u64::try_from(fence).unwrap_or_default(),
                agent,
                started_at,
                ended_at,
                outcome,
                reason,
                terms: serde_json::from_str(&terms)?,
            })
        },
    );
    let attempts = attempts.collect::<Result<_, LedgerError>>()?;
    let stored: Vec<effects::Stored> = sqlx::query_as(errands!(
        "WHERE o.dispatch_id = ? ORDER BY o.fence, o.position"
    ))
    .bind(&name)
    .fetch_all(&mut *connection)
    .await?;
    let effects = stored.iter().map(effects::errand);
    let effects = effects.collect::<Result<_, LedgerError>>()?;
    let stored: Vec<StoredEntry> = sqlx::query_as(
        "SELECT seq, dispatch_id, fence, kind, at, body FROM events WHERE dispatch_id = ? \
         ORDER BY seq",
    )
    .bind(&name)
    .fetch_all(connection)
    .await?;
    let entries = stored.into_iter().map(entry).collect::<Result<_, _>>()?;
    Ok(Story {
        record,
        attempts,
        effects,
        entries,
    })
}

/// id, task, state, terms, handover.
type Live = (String, String, String, String, Option<i64>);

pub(super) async fn watched(
    connection: &mut SqliteConnection,
    owner: Uuid,
) -> Result<Vec<Watched>, LedgerError> {
    let live: Vec<Live> = sqlx::query_as(
        "SELECT d.id, d.task, d.state, a.terms, o.remote_id FROM dispatches AS d \
         JOIN attempts AS a ON a.dispatch_id = d.id AND a.fence = d.fence AND a.ended_at IS NULL \
         LEFT JOIN outbox AS o ON o.dispatch_id = d.id AND o.fence = d.fence \
         AND o.effect = 'comment' AND o.phase IN ('done', 'settling') \
         WHERE d.owner = ? AND d.finished_at IS NULL",
    )
    .bind(owner.to_string())
    .fetch_all(connection)
    .await?;
    let mut watched = Vec::with_capacity(live.len());
    for (id, task, state, terms, handover) in live {
        let state: Dispatch = serde_json::from_str(&state)?;
        let Some(attempt) = state.attempt else {
            continue;
        };
        watched.push(Watched {
            id: parse(&id)?,
            fence: state.fence,
            phase: state.phase,
            started: attempt.started,
            draining: state.slot == SlotHold::Draining,
            agent: attempt.agent,
            channel: attempt.channel,
            terms: serde_json::from_str(&terms)?,
            task: serde_json::from_str(&task)?,
            handover,
        });
    }
    Ok(watched)
}

pub(super) async fn outbox(
    connection: &mut SqliteConnection,
    limit: usize,
) -> Result<Vec<Errand>, LedgerError> {
    let stored: Vec<effects::Stored> =
        sqlx::query_as(errands!("WHERE o.settled = 0 ORDER BY o.id LIMIT ?"))
            .bind(count(limit))
            .fetch_all(connection)
            .await?;
    stored.iter().map(effects::errand).collect()
}

pub(super) async fn glance(connection: &mut SqliteConnection) -> Result<Glance, LedgerError> {
    let now = owners::now(connection).await?;
    let (queued, due, ready, doubtful): (bool, bool, bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM dispatches WHERE phase = 'queued'), \
         EXISTS (SELECT 1 FROM dispatches WHERE run_at <= ?1 AND finished_at IS NULL), \
         EXISTS (SELECT 1 FROM outbox AS o JOIN dispatches AS d ON d.id = o.dispatch_id \
             WHERE o.settled = 0 AND o.phase = 'ready' AND o.not_before <= ?1 \
             AND d.phase <> 'held' AND NOT EXISTS (SELECT 1 FROM outbox AS e WHERE e.settled = 0 \
                 AND e.dispatch_id = o.dispatch_id AND e.fence = o.fence \
                 AND e.position < o.position)), \
         EXISTS (SELECT 1 FROM outbox AS o JOIN dispatches AS d ON d.id = o.dispatch_id \
             WHERE o.settled = 0 AND o.phase IN ('in_doubt', 'settling') \
             AND o.not_before <= ?1 AND d.phase <> 'held')",
    )
    .bind(now)
    .fetch_one(&mut *connection)
    .await?;
    let next: Option<i64> = sqlx::query_scalar(
        "SELECT min(at) FROM ( \
         SELECT min(run_at) AS at FROM dispatches WHERE run_at > ?1 AND finished_at IS NULL \
         UNION ALL SELECT min(not_before) FROM outbox \
             WHERE settled = 0 AND phase = 'ready' AND not_before > ?1 \
         UNION ALL SELECT min(not_before) FROM outbox \
             WHERE settled = 0 AND phase = 'in_doubt' AND not_before > ?1 \
         UNION ALL SELECT min(not_before) FROM outbox \
             WHERE settled = 0 AND phase = 'settling' AND not_before > ?1)",
    )
    .bind(now)
    .fetch_one(connection)
    .await?;
    Ok(Glance {
        queued,
        due,
        ready,
        doubtful,
        deserted: false,
        next_in: next.and_then(|at| u64::try_from(at.saturating_sub(now)).ok()),
    })
}

pub(super) async fn version(connection: &mut SqliteConnection) -> Result<i64, LedgerError> {
    let version = sqlx::query_scalar("SELECT data_version FROM pragma_data_version");
    Ok(version.fetch_one(connection).await?)
}

pub(super) async fn last_event(connection: &mut SqliteConnection) -> Result<i64, LedgerError> {
    let last = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM events");
    Ok(last.fetch_one(connection).await?)
}

/// seq, dispatch, fence, kind, at, body.
type StoredEntry = (i64, String, i64, String, i64, String);

fn entry((seq, dispatch, fence, kind, at, body): StoredEntry) -> Result<Entry, LedgerError> {
    Ok(Entry {
        seq,
        dispatch: parse(&dispatch)?,
        fence: u64::try_from(fence).unwrap_or_default(),
        kind,
        at,
        body: serde_json::from_str(&body)?,
    })
}

pub(super) async fn events(
    connection: &mut SqliteConnection,
    after: i64,
    limit: usize,
) -> Result<Vec<Entry>, LedgerError> {
    let stored: Vec<StoredEntry> = sqlx::query_as(
        "SELECT seq, dispatch_id, fence, kind, at, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
    )
    .bind(after)
    .bind(count(limit))
    .fetch_all(connection)
    .await?;
    stored.into_iter().map(entry).collect()
}
