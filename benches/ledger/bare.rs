//! The same rows in the same tables by nothing but set-wise SQL, 200 to a transaction: no state
//! machine, no lease, no answers to anybody. What the ledger's figures are a share of.

use std::time::Instant;

use serde_json::json;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Connection, PgConnection, SqliteConnection};
use timmy_dispatcher::ledger::effect::{Event as EffectEvent, Repeat, Row};
use timmy_dispatcher::ledger::machine::{Channel, Closer, Dispatch, Event, Plan};
use uuid::Uuid;

use crate::{AT_ONCE, Failed, submission};

enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A statement in both dialects, and columns for it.
struct Sql(&'static str, &'static str);

impl Database {
    async fn open(at: &str) -> Result<Self, Failed> {
        if !at.starts_with("postgresql:") {
            let mut file = SqliteConnection::connect(&format!("sqlite://{at}")).await?;
            let settings = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON";
            sqlx::raw_sql(settings).execute(&mut file).await?;
            return Ok(Self::Sqlite(file));
        }
        let (url, schema) = at.split_once("?schema=").ok_or("no schema")?;
        let mut server = PgConnection::connect(url).await?;
        let path = format!("SET search_path TO {schema}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(path))
            .execute(&mut server)
            .await?;
        Ok(Self::Postgres(server))
    }

    async fn raw(&mut self, sqlite: &'static str, postgres: &'static str) -> Result<(), Failed> {
        match self {
            Self::Sqlite(file) => sqlx::raw_sql(sqlite).execute(file).await.map(|_| ())?,
            Self::Postgres(server) => sqlx::raw_sql(postgres).execute(server).await.map(|_| ())?,
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), Failed> {
        self.raw("BEGIN IMMEDIATE", "BEGIN").await
    }

    async fn commit(&mut self) -> Result<(), Failed> {
        self.raw("COMMIT", "COMMIT").await
    }

    async fn write(&mut self, sql: &Sql, columns: &[&[String]]) -> Result<(), Failed> {
        match self {
            Self::Sqlite(file) => {
                let mut arguments = SqliteArguments::default();
                let rows: Vec<Vec<&String>> = (0..columns.first().map_or(0, |one| one.len()))
                    .map(|row| columns.iter().map(|column| &column[row]).collect())
                    .collect();
                Arguments::add(&mut arguments, serde_json::to_string(&rows)?)?;
                sqlx::query_with(sql.0, arguments).execute(file).await?;
            }
            Self::Postgres(server) => {
                let mut arguments = PgArguments::default();
                for column in columns {
                    Arguments::add(&mut arguments, *column)?;
                }
                sqlx::query_with(sql.1, arguments).execute(server).await?;
            }
        }
        Ok(())
    }

    async fn read(
        &mut self,
        sqlite: &'static str,
        postgres: &'static str,
    ) -> Result<Vec<String>, Failed> {
        Ok(match self {
            Self::Sqlite(file) => sqlx::query_scalar(sqlite).fetch_all(file).await?,
            Self::Postgres(server) => sqlx::query_scalar(postgres).fetch_all(server).await?,
        })
    }
}

const SUBMIT: Sql = Sql(
    "INSERT INTO dispatches (id, task, state, priority, created_at) \
     SELECT value ->> 0, value ->> 1, value ->> 2, 0, 1 FROM json_each($1)",
    "INSERT INTO dispatches (id, task, state, priority, created_at) \
     SELECT r.id::uuid, r.task::json, r.state::jsonb, 0, 1 \
     FROM unnest($1::text[], $2::text[], $3::text[]) AS r(id, task, state)",
);
const NOTE: Sql = Sql(
    "INSERT INTO events (dispatch_id, fence, kind, at, body) \
     SELECT value ->> 0, 1, 'claimed', 1, value ->> 1 FROM json_each($1)",
    "INSERT INTO events (dispatch_id, fence, kind, at, body) SELECT r.id::uuid, 1, 'claimed', 1, \
     r.body::json FROM unnest($1::text[], $2::text[]) AS r(id, body)",
);
const ATTEMPT: Sql = Sql(
    "INSERT INTO attempts (dispatch_id, fence, agent, started_at, terms) \
     SELECT value ->> 0, 1, 'kimi', 1, 'null' FROM json_each($1)",
    "INSERT INTO attempts (dispatch_id, fence, agent, started_at, terms) \
     SELECT r.id::uuid, 1, 'kimi', 1, 'null' FROM unnest($1::text[]) AS r(id)",
);
const SLOT: Sql = Sql(
    "UPDATE slots SET dispatch_id = r.value ->> 0, fence = 1 FROM json_each($1) AS r \
     WHERE agent = r.value ->> 2 AND slot = r.value ->> 1",
    "UPDATE slots SET dispatch_id = r.id::uuid, fence = 1 \
     FROM unnest($1::text[], $2::text[], $3::text[]) AS r(id, slot, agent) \
     WHERE slots.agent = r.agent AND slots.slot = r.slot::bigint",
);
const MOVE: Sql = Sql(
    "UPDATE dispatches SET state = r.value ->> 1, owner = r.value ->> 0 \
     FROM json_each($1) AS r WHERE dispatches.id = r.value ->> 0",
    "UPDATE dispatches SET state = r.state::jsonb, owner = r.id::uuid \
     FROM unnest($1::text[], $2::text[]) AS r(id, state) WHERE dispatches.id = r.id::uuid",
);
const FINISH: Sql = Sql(
    "UPDATE dispatches SET state = r.value ->> 1, owner = NULL, finished_at = 2 \
     FROM json_each($1) AS r WHERE dispatches.id = r.value ->> 0",
    "UPDATE dispatches SET state = r.state::jsonb, owner = NULL, finished_at = 2 \
     FROM unnest($1::text[], $2::text[]) AS r(id, state) WHERE dispatches.id = r.id::uuid",
);
const SEND: Sql = Sql(
    "INSERT INTO outbox (id, dispatch_id, fence, position, effect, nonce, row) \
     SELECT value ->> 0, value ->> 1, 1, 1, value ->> 2, value ->> 3, value ->> 4 \
     FROM json_each($1)",
    "INSERT INTO outbox (id, dispatch_id, fence, position, effect, nonce, row) SELECT r.id::uuid, \
     r.dispatch::uuid, 1, 1, r.effect, r.nonce::uuid, r.row::jsonb FROM unnest($1::text[], \
     $2::text[], $3::text[], $4::text[], $5::text[]) AS r(id, dispatch, effect, nonce, row)",
);
const DONE: Sql = Sql(
    "UPDATE outbox SET row = r.value ->> 1, remote_id = 1 FROM json_each($1) AS r \
     WHERE outbox.id = r.value ->> 0",
    "UPDATE outbox SET row = r.row::jsonb, remote_id = 1 \
     FROM unnest($1::text[], $2::text[]) AS r(id, row) WHERE outbox.id = r.id::uuid",
);
const END: Sql = Sql(
    "UPDATE attempts SET ended_at = 2, outcome = 'complete', reason = 'done' \
     FROM json_each($1) AS r WHERE dispatch_id = r.value ->> 0 AND fence = 1",
    "UPDATE attempts SET ended_at = 2, outcome = 'complete', reason = 'done' \
     FROM unnest($1::text[]) AS r(id) WHERE dispatch_id = r.id::uuid AND fence = 1",
);
const FREE: Sql = Sql(
    "UPDATE slots SET dispatch_id = NULL, fence = NULL FROM json_each($1) AS r \
     WHERE dispatch_id = r.value ->> 0",
    "UPDATE slots SET dispatch_id = NULL, fence = NULL \
     FROM unnest($1::text[]) AS r(id) WHERE dispatch_id = r.id::uuid",
);

/// The states that a dispatch goes through, made by its own machine.
struct Texts {
    task: String,
    queued: String,
    claimed: String,
    over: String,
    ready: String,
    sending: String,
    done: String,
    body: String,
}

fn texts() -> Result<Texts, Failed> {
    let mut state = Dispatch::new(Plan::new(["kimi"]));
    let queued = serde_json::to_string(&state)?;
    let claimed = Event::Claimed {
        agent: "kimi".to_owned(),
        channel: Channel::Label,
        idempotent: false,
    };
    let _ = state.apply(&claimed);
    let claimed = serde_json::to_string(&state)?;
    state.open.clear();
    let by = Closer::Agent;
    let _ = state.apply(&Event::Finished { fence: 1, by });
    let mut row = Row::new(Repeat::LookUp, 30_000);
    let ready = serde_json::to_string(&row)?;
    let _ = row.apply(&EffectEvent::Send { now: 1 });
    let sending = serde_json::to_string(&row)?;
    let _ = row.apply(&EffectEvent::Taken { now: 2 });
    Ok(Texts {
        task: submission().task.to_string(),
        queued,
        claimed,
        over: serde_json::to_string(&state)?.replace("handing_over", "completed"),
        ready,
        sending,
        done: serde_json::to_string(&row)?,
        body: json!({ "reason": "submitted", "phase": "handing_over" }).to_string(),
    })
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|_| Uuid::now_v7().to_string()).collect()
}

fn all(text: &str, count: usize) -> Vec<String> {
    vec![text.to_owned(); count]
}

async fn send(
    database: &mut Database,
    ready: &str,
    effects: &[String],
    dispatches: &[String],
    kinds: &[&str],
) -> Result<(), Failed> {
    let nonces: Vec<String> = (0..effects.len())
        .map(|_| Uuid::new_v4().to_string())
        .collect();
    let dispatches = vec![dispatches; kinds.len()].concat();
    let kinds: Vec<String> = kinds.iter().flat_map(|kind| all(kind, AT_ONCE)).collect();
    let rows = all(ready, effects.len());
    database
        .write(&SEND, &[effects, &dispatches, &kinds, &nonces, &rows])
        .await
}

/// Submits and claims 200, in two transactions, and may mark the comments as on their way; yields
/// the dispatches and their effects, the comments first.
async fn record(
    database: &mut Database,
    texts: &Texts,
    comments: bool,
) -> Result<(Vec<String>, Vec<String>), Failed> {
    let new = ids(AT_ONCE);
    let bodies = all(&texts.body, AT_ONCE);
    database.begin().await?;
    let (tasks, states) = (all(&texts.task, AT_ONCE), all(&texts.queued, AT_ONCE));
    database.write(&SUBMIT, &[&new, &tasks, &states]).await?;
    database.write(&NOTE, &[&new, &bodies]).await?;
    database.commit().await?;

    database.begin().await?;
    let slots = database
        .read(
            "SELECT CAST(slot AS TEXT) FROM slots WHERE agent = 'kimi' AND dispatch_id IS NULL \
             ORDER BY slot LIMIT 200",
            "SELECT slot::text FROM slots WHERE agent = 'kimi' AND dispatch_id IS NULL \
             ORDER BY slot LIMIT 200 FOR UPDATE SKIP LOCKED",
        )
        .await?;
    let ready = database
        .read(
            "SELECT id FROM dispatches WHERE phase = 'queued' AND agent = 'kimi' \
             ORDER BY priority DESC, id LIMIT 200",
            "SELECT id::text FROM dispatches WHERE phase = 'queued' AND agent = 'kimi' \
             ORDER BY priority DESC, id LIMIT 200 FOR UPDATE SKIP LOCKED",
        )
        .await?;
    let claimed = all(&texts.claimed, AT_ONCE);
    database.write(&MOVE, &[&ready, &claimed]).await?;
    database.write(&ATTEMPT, &[&ready]).await?;
    let agents = all("kimi", AT_ONCE);
    database.write(&SLOT, &[&ready, &slots, &agents]).await?;
    let effects = ids(AT_ONCE * 2);
    send(
        database,
        &texts.ready,
        &effects,
        &ready,
        &["comment", "label"],
    )
    .await?;
    if comments {
        let sending = all(&texts.sending, AT_ONCE);
        database
            .write(&DONE, &[&effects[..AT_ONCE], &sending])
            .await?;
    }
    database.write(&NOTE, &[&ready, &bodies]).await?;
    database.commit().await?;
    Ok((ready, effects))
}

pub(crate) async fn recorded(at: &str, count: usize) -> Result<f64, Failed> {
    let mut database = Database::open(at).await?;
    let texts = texts()?;
    let began = Instant::now();
    for _ in 0..count / AT_ONCE {
        record(&mut database, &texts, false).await?;
    }
    Ok(crate::rate(count, began))
}

/// Whole lives, with the rows and the states that the ledger writes: between two transactions lies
/// what comes from outside, for a request leaves only after its `sending` is kept. Each effect is
/// sent and then done; taking the label off is the third.
pub(crate) async fn lives(at: &str, count: usize) -> Result<f64, Failed> {
    let mut database = Database::open(at).await?;
    let texts = texts()?;
    let bodies = all(&texts.body, AT_ONCE);
    let (sending, done) = (all(&texts.sending, AT_ONCE), all(&texts.done, AT_ONCE));
    let states = all(&texts.claimed, AT_ONCE);
    let began = Instant::now();
    for _ in 0..count / AT_ONCE {
        let (claimed, effects) = record(&mut database, &texts, true).await?;
        let (comments, labels) = effects.split_at(AT_ONCE);
        database.begin().await?;
        database.write(&DONE, &[comments, &done]).await?;
        database.write(&DONE, &[labels, &sending]).await?;
        database.write(&MOVE, &[&claimed, &states]).await?;
        database.write(&NOTE, &[&claimed, &bodies]).await?;
        database.commit().await?;
        // The label is on.
        database.begin().await?;
        database.write(&DONE, &[labels, &done]).await?;
        database.write(&MOVE, &[&claimed, &states]).await?;
        database.write(&NOTE, &[&claimed, &bodies]).await?;
        database.commit().await?;
        // A sign of life.
        database.begin().await?;
        database.write(&MOVE, &[&claimed, &states]).await?;
        database.write(&NOTE, &[&claimed, &bodies]).await?;
        database.commit().await?;
        // The agent is done; the label is to come off.
        database.begin().await?;
        let off = ids(AT_ONCE);
        send(
            &mut database,
            texts.ready.as_str(),
            &off,
            &claimed,
            &["unlabel"],
        )
        .await?;
        database.write(&DONE, &[&off, &sending]).await?;
        database.write(&MOVE, &[&claimed, &states]).await?;
        database.write(&FREE, &[&claimed]).await?;
        database.write(&NOTE, &[&claimed, &bodies]).await?;
        database.commit().await?;
        database.begin().await?;
        database.write(&DONE, &[&off, &done]).await?;
        let over = all(&texts.over, AT_ONCE);
        database.write(&FINISH, &[&claimed, &over]).await?;
        database.write(&END, &[&claimed]).await?;
        database.write(&NOTE, &[&claimed, &bodies]).await?;
        database.commit().await?;
    }
    Ok(crate::rate(count, began))
}

/// The same with nothing but the four transactions that a life could have if no request had to be
/// kept before it leaves and no label taken off.
pub(crate) async fn four(at: &str, count: usize) -> Result<f64, Failed> {
    let mut database = Database::open(at).await?;
    let texts = texts()?;
    let bodies = all(&texts.body, AT_ONCE);
    let began = Instant::now();
    for _ in 0..count / AT_ONCE {
        let (claimed, effects) = record(&mut database, &texts, false).await?;
        database.begin().await?;
        let done = all(&texts.done, AT_ONCE * 2);
        database.write(&DONE, &[&effects, &done]).await?;
        let states = all(&texts.claimed, AT_ONCE);
        database.write(&MOVE, &[&claimed, &states]).await?;
        database.write(&NOTE, &[&claimed, &bodies]).await?;
        database.commit().await?;
        database.begin().await?;
        let states = all(&texts.over, AT_ONCE);
        database.write(&FINISH, &[&claimed, &states]).await?;
        database.write(&END, &[&claimed]).await?;
        database.write(&FREE, &[&claimed]).await?;
        database.write(&NOTE, &[&claimed, &bodies]).await?;
        database.commit().await?;
    }
    Ok(crate::rate(count, began))
}
