//! What the ledger holds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use uuid::Uuid;

use super::lease::{Lease, ticks};
use super::waiting::{Around, around};
use super::{count, millis, owners, parse, statements as sql};
use crate::ledger::database::{Connection, Database, Fault, Mode, Param, Sql, Transaction};
use crate::ledger::machine::{Dispatch, SlotHold};
use crate::ledger::options::Options;
use crate::ledger::store::{
    Agent, AttemptRecord, Entry, Errand, Glance, LedgerError, Record, Story, Watched,
};

/// A database that does not answer for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to read with.
pub(in crate::ledger) struct Reader {
    database: Database,
    connection: Mutex<Option<Connection>>,
    owner: Uuid,
    lease: Arc<Lease>,
    options: Options,
}

/// Does something in a transaction; again where the connection is gone.
macro_rules! read {
    ($reader:expr, |$transaction:ident| $work:expr) => {{
        let reader: &Reader = $reader;
        let began = ticks();
        loop {
            let mut connection = reader.connection.lock().await;
            let work = async {
                let open = match &mut *connection {
                    Some(open) => open,
                    closed => closed.insert(reader.database.connect(false).await?),
                };
                let mut transaction = open.begin(Mode::Read).await?;
                let $transaction = &mut transaction;
                let answer = $work.await;
                transaction.end().await?;
                answer
            };
            let came = tokio::time::timeout(PATIENCE, work).await;
            let came = came.unwrap_or_else(|_| Err(Fault::Lost("it does not answer".to_owned())));
            let late = ticks() > began.saturating_add(millis(PATIENCE));
            match came {
                Err(Fault::Lost(_)) if !late => *connection = None,
                came => break came.map_err(LedgerError::from),
            }
        }
    }};
}

type Result<T> = std::result::Result<T, LedgerError>;

impl Reader {
    pub(in crate::ledger) fn new(
        database: Database,
        connection: Connection,
        owner: Uuid,
        lease: Arc<Lease>,
        options: Options,
    ) -> Self {
        Self {
            database,
            connection: Mutex::new(Some(connection)),
            owner,
            lease,
            options,
        }
    }

    pub(in crate::ledger) async fn close(&self) {
        let connection = self.connection.lock().await.take();
        if let Some(connection) = connection {
            connection.close().await;
        }
    }

    pub(in crate::ledger) async fn get(&self, id: Uuid) -> Result<Record> {
        read!(self, |transaction| get(transaction, &self.options, id))
    }

    pub(in crate::ledger) async fn list(
        &self,
        finished: bool,
        limit: usize,
    ) -> Result<Vec<Record>> {
        read!(self, |transaction| list(
            transaction,
            &self.options,
            finished,
            limit
        ))
    }

    pub(in crate::ledger) async fn story(&self, id: Uuid) -> Result<Story> {
        read!(self, |transaction| story(transaction, &self.options, id))
    }

    pub(in crate::ledger) async fn watched(&self) -> Result<Vec<Watched>> {
        read!(self, |transaction| watched(transaction, self.owner))
    }

    pub(in crate::ledger) async fn outbox(&self, limit: usize) -> Result<Vec<Errand>> {
        read!(self, |transaction| outbox(transaction, limit))
    }

    pub(in crate::ledger) async fn agents(&self) -> Result<Vec<Agent>> {
        let (_, agents) = read!(self, |transaction| owners::in_force(transaction))?;
        Ok(agents)
    }

    pub(in crate::ledger) async fn events(&self, after: i64, limit: usize) -> Result<Vec<Entry>> {
        read!(self, |transaction| events(transaction, after, limit))
    }

    pub(in crate::ledger) async fn last_event(&self) -> Result<i64> {
        read!(self, |transaction| last_event(transaction))
    }

    pub(in crate::ledger) async fn version(&self) -> Result<i64> {
        read!(self, |transaction| version(transaction))
    }

    /// Nothing depends on the time while the clock cannot be trusted.
    pub(in crate::ledger) async fn glance(&self) -> Result<Glance> {
        let owner = self.owner;
        let database = &self.database;
        let mut glance = read!(self, |transaction| glance(
            transaction,
            &self.options,
            database,
            owner
        ))?;
        if let Some(LedgerError::ClockJumped { left, .. }) = self.lease.distrust() {
            glance.queued = false;
            glance.due = false;
            glance.doubtful = false;
            glance.deserted = false;
            glance.next_in = Some(glance.next_in.map_or(left, |next| next.min(left)));
        }
        Ok(glance)
    }
}

/// id, task, state, subject, idempotency key, priority, owner, created, timer, finished, taken slots
/// of the agent, its first effect that is not settled, what its gates wait for.
type StoredRecord = (
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    i64,
    Option<String>,
    i64,
    Option<i64>,
    Option<i64>,
    i64,
    Option<String>,
    Option<String>,
);

fn record(stored: StoredRecord, around: &Around) -> Result<Record> {
    let (
        id,
        task,
        state,
        subject,
        key,
        priority,
        owner,
        created_at,
        due_at,
        finished_at,
        taken,
        effect,
        gates,
    ) = stored;
    let state: Dispatch = serde_json::from_str(&state)?;
    let reason = around.why(&state, taken, effect.as_deref(), gates)?;
    Ok(Record {
        id: parse(&id)?,
        task: serde_json::from_str(&task)?,
        subject,
        idempotency_key: key,
        priority: i32::try_from(priority).unwrap_or_default(),
        owner: owner.as_deref().map(parse).transpose()?,
        created_at,
        due_at,
        finished_at,
        state,
        reason,
    })
}

async fn get(
    transaction: &mut Transaction<'_>,
    options: &Options,
    id: Uuid,
) -> std::result::Result<Record, Fault> {
    let name = id.to_string();
    let stored = transaction.first(sql::GET, &[Param::Text(&name)]).await?;
    let unknown = || LedgerError::Unknown(format!("dispatch {id}"));
    let stored: StoredRecord = stored.ok_or_else(unknown)?;
    Ok(record(stored, &around(transaction, options).await?)?)
}

async fn list(
    transaction: &mut Transaction<'_>,
    options: &Options,
    finished: bool,
    limit: usize,
) -> std::result::Result<Vec<Record>, Fault> {
    let around = around(transaction, options).await?;
    let sql = if finished { sql::LIST } else { sql::LIST_OPEN };
    let stored: Vec<StoredRecord> = transaction.fetch(sql, &[Param::Int(count(limit))]).await?;
    let records = stored.into_iter().map(|stored| record(stored, &around));
    Ok(records.collect::<Result<_>>()?)
}

/// fence, agent, started, ended, outcome, reason, terms.
type StoredAttempt = (
    i64,
    String,
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
    String,
);

async fn story(
    transaction: &mut Transaction<'_>,
    options: &Options,
    id: Uuid,
) -> std::result::Result<Story, Fault> {
    let record = get(transaction, options, id).await?;
    let name = id.to_string();
    let whose = [Param::Text(&name)];
    let stored: Vec<StoredAttempt> = transaction.fetch(sql::ATTEMPTS, &whose).await?;
    let mut attempts = Vec::with_capacity(stored.len());
    for (fence, agent, started_at, ended_at, outcome, reason, terms) in stored {
        attempts.push(AttemptRecord {
            fence: u64::try_from(fence).unwrap_or_default(),
            agent,
            started_at,
            ended_at,
            outcome,
            reason,
            terms: serde_json::from_str(&terms)?,
        });
    }
    let effects = errands(transaction, sql::EFFECTS, &whose).await?;
    let stored: Vec<StoredEntry> = transaction.fetch(sql::STORY, &whose).await?;
    let entries = stored.into_iter().map(entry).collect::<Result<_>>()?;
    Ok(Story {
        record,
        attempts,
        effects,
        entries,
    })
}

/// id, task, state, terms, handover.
type Live = (String, String, String, String, Option<i64>);

async fn watched(
    transaction: &mut Transaction<'_>,
    owner: Uuid,
) -> std::result::Result<Vec<Watched>, Fault> {
    let owner = owner.to_string();
    let live: Vec<Live> = transaction
        .fetch(sql::WATCHED, &[Param::Text(&owner)])
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
            max_retries: state.plan.max_retries,
            handover,
        });
    }
    Ok(watched)
}

async fn outbox(
    transaction: &mut Transaction<'_>,
    limit: usize,
) -> std::result::Result<Vec<Errand>, Fault> {
    errands(transaction, sql::OUTBOX, &[Param::Int(count(limit))]).await
}

/// id, dispatch, fence, effect, nonce, row, remote id, handover, agent, terms, task, reason, retries.
pub(super) type StoredErrand = (
    String,
    String,
    i64,
    String,
    String,
    String,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
    String,
    String,
    i64,
);

pub(super) async fn errands(
    transaction: &mut Transaction<'_>,
    sql: Sql,
    params: &[Param<'_>],
) -> std::result::Result<Vec<Errand>, Fault> {
    let stored: Vec<StoredErrand> = transaction.unpack(sql, params).await?;
    let errands = stored.into_iter().map(errand);
    Ok(errands.collect::<Result<_>>()?)
}

fn errand(stored: StoredErrand) -> Result<Errand> {
    let (
        id,
        dispatch,
        fence,
        effect,
        nonce,
        row,
        remote_id,
        handover,
        agent,
        terms,
        task,
        reason,
        max_retries,
    ) = stored;
    let terms = terms.as_deref().map(serde_json::from_str);
    Ok(Errand {
        id: parse(&id)?,
        dispatch: parse(&dispatch)?,
        fence: u64::try_from(fence).unwrap_or_default(),
        effect: parse(&effect)?,
        agent: agent.unwrap_or_default(),
        terms: terms.transpose()?.unwrap_or_default(),
        task: serde_json::from_str(&task)?,
        max_retries: u32::try_from(max_retries).unwrap_or_default(),
        reason,
        handover,
        remote_id,
        nonce: parse(&nonce)?,
        row: serde_json::from_str(&row)?,
    })
}

async fn glance(
    transaction: &mut Transaction<'_>,
    options: &Options,
    database: &Database,
    owner: Uuid,
) -> std::result::Result<Glance, Fault> {
    let (now, _) = owners::scene(transaction, options).await?;
    let there: Option<(i64, i64, i64, i64)> =
        transaction.first(sql::GLANCE, &[Param::Int(now)]).await?;
    let (queued, due, ready, doubtful) = there.unwrap_or_default();
    let next: Option<(Option<i64>,)> = transaction.first(sql::NEXT, &[Param::Int(now)]).await?;
    let next = next.and_then(|(next,)| next);
    Ok(Glance {
        queued: queued != 0,
        due: due != 0,
        ready: ready != 0,
        doubtful: doubtful != 0,
        deserted: owners::deserted(transaction, database.place(), owner, now).await?,
        next_in: next.and_then(|at| u64::try_from(at.saturating_sub(now)).ok()),
    })
}

async fn version(transaction: &mut Transaction<'_>) -> std::result::Result<i64, Fault> {
    let version: Option<(i64,)> = transaction.first(sql::VERSION, &[]).await?;
    Ok(version.map_or(0, |(version,)| version))
}

/// seq, dispatch, fence, kind, at, body.
type StoredEntry = (i64, String, i64, String, i64, String);

fn entry((seq, dispatch, fence, kind, at, body): StoredEntry) -> Result<Entry> {
    Ok(Entry {
        seq,
        dispatch: parse(&dispatch)?,
        fence: u64::try_from(fence).unwrap_or_default(),
        kind,
        at,
        body: serde_json::from_str(&body)?,
    })
}

async fn last_event(transaction: &mut Transaction<'_>) -> std::result::Result<i64, Fault> {
    if let Some(end) = transaction.end_of_events().await? {
        return Ok(end);
    }
    let last: Option<(i64,)> = transaction.first(sql::LAST_EVENT, &[]).await?;
    Ok(last.map_or(0, |(last,)| last))
}

async fn events(
    transaction: &mut Transaction<'_>,
    after: i64,
    limit: usize,
) -> std::result::Result<Vec<Entry>, Fault> {
    let end = last_event(transaction).await?;
    let params = [Param::Int(after), Param::Int(end), Param::Int(count(limit))];
    let stored: Vec<StoredEntry> = transaction.fetch(sql::EVENTS, &params).await?;
    Ok(stored.into_iter().map(entry).collect::<Result<_>>()?)
}
