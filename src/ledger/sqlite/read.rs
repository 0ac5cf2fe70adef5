//! What the ledger holds.

use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::{count, parse};
use crate::ledger::machine::{Dispatch, Phase};
use crate::ledger::store::{Agent, Entry, LedgerError, Record};

/// id, task, state, owner, taken slots of the agent, the agents in force.
type Stored = (String, String, String, Option<String>, i64, String);

/// The query for [`Stored`] rows, with its end.
macro_rules! records {
    ($end:literal) => {
        concat!(
            "SELECT id, task, state, owner, \
             (SELECT count(*) FROM slots WHERE slots.agent = dispatches.agent), \
             (SELECT agents FROM agents) FROM dispatches ",
            $end
        )
    };
}

fn record(stored: &Stored) -> Result<Record, LedgerError> {
    let (id, task, state, owner, taken, agents) = stored;
    let state: Dispatch = serde_json::from_str(state)?;
    let agents: Vec<Agent> = serde_json::from_str(agents)?;
    let reason = match (state.phase, state.agent()) {
        (Phase::Queued, Some(name)) => match agents.iter().find(|agent| agent.name == name) {
            None => format!("there is no agent {name} any more"),
            Some(agent) if *taken >= i64::from(agent.max_concurrent) => {
                format!(
                    "no free slot of {name}: {taken} of {} are taken",
                    agent.max_concurrent
                )
            }
            Some(_) => format!("{}; not claimed yet", state.reason),
        },
        (phase, _) if phase.is_waiting() => state.reason.clone(),
        _ => String::new(),
    };
    Ok(Record {
        id: parse(id)?,
        task: serde_json::from_str(task)?,
        owner: owner.as_deref().map(parse).transpose()?,
        state,
        reason,
    })
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
        Some(stored) => record(&stored),
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
    stored.iter().map(record).collect()
}

pub(super) async fn events(
    connection: &mut SqliteConnection,
    after: i64,
    limit: usize,
) -> Result<Vec<Entry>, LedgerError> {
    let stored: Vec<(i64, String, i64, String, i64, String)> = sqlx::query_as(
        "SELECT seq, dispatch_id, fence, kind, at, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
    )
    .bind(after)
    .bind(count(limit))
    .fetch_all(connection)
    .await?;
    let entry =
        |(seq, dispatch, fence, kind, at, body): (i64, String, i64, String, i64, String)| {
            Ok(Entry {
                seq,
                dispatch: parse(&dispatch)?,
                fence: u64::try_from(fence).unwrap_or_default(),
                kind,
                at,
                body: serde_json::from_str(&body)?,
            })
        };
    stored.into_iter().map(entry).collect()
}
