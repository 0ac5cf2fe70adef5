//! What an existing queue on PostgreSQL does: a row for each job, which a worker takes with
//! `FOR UPDATE SKIP LOCKED` and marks as done. No attempts, no effects, no events.

use std::time::Instant;

use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use crate::Failed;

const WORKERS: usize = 16;

/// Jobs a second: each is inserted, taken and done, in three transactions.
pub(crate) async fn rate(url: &str, count: usize) -> Result<f64, Failed> {
    let mut first = PgConnection::connect(url).await?;
    sqlx::raw_sql(
        "CREATE TABLE jobs (id bigserial PRIMARY KEY, state text NOT NULL, task jsonb NOT NULL); \
         CREATE INDEX ON jobs (id) WHERE state = 'ready'",
    )
    .execute(&mut first)
    .await?;
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let mut connection = PgConnection::connect(url).await?;
        workers.spawn(async move {
            for _ in 0..count / WORKERS {
                sqlx::query(
                    "INSERT INTO jobs (state, task) VALUES ('ready', '{\"title\": \"Fix\"}')",
                )
                .execute(&mut connection)
                .await?;
                // The others may have locked all that are ready this moment.
                let id: i64 = loop {
                    let taken = sqlx::query_scalar(
                        "UPDATE jobs SET state = 'running' WHERE id = (SELECT id FROM jobs \
                         WHERE state = 'ready' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) \
                         RETURNING id",
                    );
                    if let Some(id) = taken.fetch_optional(&mut connection).await? {
                        break id;
                    }
                };
                sqlx::query("UPDATE jobs SET state = 'done' WHERE id = $1")
                    .bind(id)
                    .execute(&mut connection)
                    .await?;
            }
            Ok::<_, sqlx::Error>(())
        });
    }
    for done in workers.join_all().await {
        done?;
    }
    Ok(crate::rate(count, began))
}
