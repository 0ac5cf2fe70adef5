//! A connection to either database, and statements that are written in both dialects beside each
//! other. What they are for is the engine's; here is only how they get there.

mod connect;
mod fault;
mod inherited;
mod migrate;
mod rows;

use serde::de::DeserializeOwned;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{
    Arguments as _, AssertSqlSafe, Connection as _, FromRow, PgConnection, Postgres, Sqlite,
    SqliteConnection,
};
use uuid::Uuid;

pub(super) use connect::{Database, Place};
pub(super) use fault::{Fault, UNWRITABLE};
pub(super) use rows::{Column, Rows};

/// One statement in both dialects, with the same parameters in the same order. [`Rows`] are one
/// parameter for SQLite (a JSON array of arrays) and as many for PostgreSQL as they have columns
/// (arrays), so they come last.
#[derive(Clone, Copy)]
pub(super) struct Sql {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

impl Sql {
    /// One that both understand.
    pub(super) const fn both(text: &'static str) -> Self {
        Self {
            sqlite: text,
            postgres: text,
        }
    }
}

/// A parameter.
pub(super) enum Param<'p> {
    Text(&'p str),
    Int(i64),
    Rows(&'p Rows),
}

/// A row of an answer; whatever both dialects can give it.
pub(super) trait Answer:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Answer for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres {
        connection: PgConnection,
        /// The beginning of every transaction. Behind a pooler the settings are made there, for the
        /// next transaction may be another server's.
        begin: String,
        /// Whether statements are kept by name, which a pooler's next server would not know.
        persistent: bool,
    },
}

/// A transaction; dropped, it is rolled back.
pub(super) enum Transaction<'c> {
    Sqlite(sqlx::Transaction<'c, Sqlite>),
    Postgres {
        transaction: sqlx::Transaction<'c, Postgres>,
        persistent: bool,
    },
}

/// What a transaction is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Read,
    Write,
}

impl Connection {
    pub(super) async fn begin(&mut self, mode: Mode) -> Result<Transaction<'_>, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(connection) => Transaction::Sqlite(
                connection
                    .begin_with(match mode {
                        Mode::Read => "BEGIN",
                        Mode::Write => "BEGIN IMMEDIATE",
                    })
                    .await?,
            ),
            Self::Postgres {
                connection,
                begin,
                persistent,
            } => Transaction::Postgres {
                transaction: connection.begin_with(AssertSqlSafe(begin.clone())).await?,
                persistent: *persistent,
            },
        })
    }

    /// Whether a process's transaction was kept whose end was not heard of. `None`: nobody knows.
    ///
    /// Each counts its turn in the process's row. (The status of a transaction would not do: a
    /// number that was lost in a crash is given to somebody else's.)
    pub(super) async fn was_kept(&mut self, owner: Uuid, turn: i64) -> Result<Option<bool>, Fault> {
        // The lock waits for a session that has not noticed yet that nobody listens.
        const TURN: Sql = Sql::both("SELECT turn FROM owners WHERE id = $1::uuid FOR UPDATE");
        let owner = owner.to_string();
        let mut transaction = self.begin(Mode::Write).await?;
        let last: Option<(i64,)> = transaction.first(TURN, &[Param::Text(&owner)]).await?;
        transaction.end().await?;
        Ok(last.map(|(last,)| last >= turn))
    }

    pub(super) async fn close(self) {
        let _ = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres { connection, .. } => connection.close().await,
        };
    }
}

/// How a commit went.
pub(super) enum Commit {
    Kept,
    /// The connection broke: `was_kept` tells of that transaction, later. With what was said.
    Doubtful(i64, String),
}

impl Transaction<'_> {
    /// Commits the transaction of that number.
    pub(super) async fn commit(self, id: i64) -> Result<Commit, Fault> {
        match self.end().await.map_err(Fault::from) {
            Ok(()) => Ok(Commit::Kept),
            Err(Fault::Lost(error)) => Ok(Commit::Doubtful(id, error)),
            Err(fault) => Err(fault),
        }
    }

    /// The end of one after which nobody asks.
    pub(super) async fn end(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres { transaction, .. } => transaction.commit().await,
        }
    }

    /// Before events are appended. On PostgreSQL the numbers of events are given out before the
    /// transactions are kept that brought them, in another order: whoever reads must stop before
    /// the first number that a running one may have. A shared lock tells which, for as long as the
    /// transaction runs: 16 bits for the schema, 48 for the number.
    pub(super) async fn mark_events(&mut self) -> Result<(), Fault> {
        const MARK: Sql = Sql::both(
            "SELECT pg_advisory_xact_lock_shared( \
                 ((hashtext(current_schema())::bigint & 65535) << 48) | last_value) \
             FROM events_seq_seq",
        );
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres { .. } => self.execute(MARK, &[]).await.map(drop),
        }
    }

    /// The last event that may be read: behind it are some that are not kept yet and may come to
    /// stand before others that are. `None`: it is the last that there is.
    pub(super) async fn end_of_events(&mut self) -> Result<Option<i64>, Fault> {
        // In this order: who marks its events after the second statement has higher numbers than
        // the first found.
        const LAST: Sql =
            Sql::both("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_seq_seq");
        const RUNNING: Sql = Sql::both(
            "SELECT min(((classid::bigint & 65535) << 32) | objid::bigint) FROM pg_locks \
             WHERE locktype = 'advisory' AND mode = 'ShareLock' AND objsubid = 1 \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND classid::bigint >> 16 = hashtext(current_schema())::bigint & 65535",
        );
        if let Self::Sqlite(_) = self {
            return Ok(None);
        }
        let last: Option<(i64,)> = self.first(LAST, &[]).await?;
        let running: Option<(Option<i64>,)> = self.first(RUNNING, &[]).await?;
        let last = last.map_or(0, |(last,)| last);
        Ok(Some(match running.and_then(|(running,)| running) {
            Some(running) => running.min(last),
            None => last,
        }))
    }

    /// The rows of the answer.
    pub(super) async fn fetch<T: Answer>(
        &mut self,
        sql: Sql,
        params: &[Param<'_>],
    ) -> Result<Vec<T>, Fault> {
        Ok(match self {
            Self::Sqlite(transaction) => {
                sqlx::query_as_with(sql.sqlite, sqlite_arguments(params)?)
                    .fetch_all(&mut **transaction)
                    .await?
            }
            Self::Postgres {
                transaction,
                persistent,
            } => {
                sqlx::query_as_with(sql.postgres, postgres_arguments(params)?)
                    .persistent(*persistent)
                    .fetch_all(&mut **transaction)
                    .await?
            }
        })
    }

    /// The only row of the answer, if it has one.
    pub(super) async fn first<T: Answer>(
        &mut self,
        sql: Sql,
        params: &[Param<'_>],
    ) -> Result<Option<T>, Fault> {
        Ok(self.fetch(sql, params).await?.into_iter().next())
    }

    /// How many rows it changed.
    pub(super) async fn execute(&mut self, sql: Sql, params: &[Param<'_>]) -> Result<u64, Fault> {
        Ok(match self {
            Self::Sqlite(transaction) => sqlx::query_with(sql.sqlite, sqlite_arguments(params)?)
                .execute(&mut **transaction)
                .await?
                .rows_affected(),
            Self::Postgres {
                transaction,
                persistent,
            } => sqlx::query_with(sql.postgres, postgres_arguments(params)?)
                .persistent(*persistent)
                .execute(&mut **transaction)
                .await?
                .rows_affected(),
        })
    }

    /// The rows of the answer to a packed statement: SQLite gives them as one JSON array of arrays,
    /// for each row by itself is handed from its thread to ours, which takes longer than to make it.
    pub(super) async fn unpack<T: Answer + DeserializeOwned>(
        &mut self,
        sql: Sql,
        params: &[Param<'_>],
    ) -> Result<Vec<T>, Fault> {
        if let Self::Postgres { .. } = self {
            return self.fetch(sql, params).await;
        }
        let packed: Option<(String,)> = self.first(sql, params).await?;
        Ok(match packed {
            Some((rows,)) => serde_json::from_str(&rows)?,
            None => Vec::new(),
        })
    }

    /// The same about those; nothing where there are none.
    pub(super) async fn unpack_for<T: Answer + DeserializeOwned>(
        &mut self,
        sql: Sql,
        rows: &Rows,
    ) -> Result<Vec<T>, Fault> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.unpack(sql, &[Param::Rows(rows)]).await
    }

    /// The rows of the answer about those; nothing where there are none.
    pub(super) async fn fetch_for<T: Answer>(
        &mut self,
        sql: Sql,
        rows: &Rows,
    ) -> Result<Vec<T>, Fault> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.fetch(sql, &[Param::Rows(rows)]).await
    }

    /// Writes rows; nothing where there are none.
    pub(super) async fn write(&mut self, sql: Sql, rows: &Rows) -> Result<u64, Fault> {
        if rows.is_empty() {
            return Ok(0);
        }
        self.execute(sql, &[Param::Rows(rows)]).await
    }
}

fn sqlite_arguments(params: &[Param<'_>]) -> Result<SqliteArguments, Fault> {
    let mut arguments = SqliteArguments::default();
    for param in params {
        match param {
            Param::Text(text) => arguments.add(*text),
            Param::Int(number) => arguments.add(*number),
            Param::Rows(rows) => arguments.add(rows.json()?),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn postgres_arguments(params: &[Param<'_>]) -> Result<PgArguments, Fault> {
    let mut arguments = PgArguments::default();
    for param in params {
        match param {
            Param::Text(text) => arguments.add(*text),
            Param::Int(number) => arguments.add(*number),
            Param::Rows(rows) => {
                for column in rows.columns() {
                    match column {
                        Column::Text(texts) => arguments.add(texts),
                        Column::Int(numbers) => arguments.add(numbers),
                    }
                    .map_err(sqlx::Error::Encode)?;
                }
                Ok(())
            }
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
