//! The tables, and how an older file gets them.

use sqlx::{Connection, SqliteConnection};

use crate::ledger::store::LedgerError;

/// "Timm" in ASCII: says whose file it is.
const APPLICATION_ID: i64 = 0x5469_6d6d;

/// Each leads from the version before it to its own. They are only ever added to.
const MIGRATIONS: &[&str] = &[include_str!("0001_ledger.sql")];

/// Brings a file to the current version, in one transaction; refuses a foreign or newer one.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    path: &str,
) -> Result<(), LedgerError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let application: i64 = sqlx::query_scalar("SELECT application_id FROM pragma_application_id")
        .fetch_one(&mut *transaction)
        .await?;
    let version: i64 = sqlx::query_scalar("SELECT user_version FROM pragma_user_version")
        .fetch_one(&mut *transaction)
        .await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *transaction)
        .await?;
    if application != APPLICATION_ID && (tables > 0 || application != 0 || version != 0) {
        return Err(LedgerError::Foreign(path.to_owned()));
    }
    if version > known {
        return Err(LedgerError::Newer {
            found: version,
            known,
        });
    }
    let done = usize::try_from(version).unwrap_or_default();
    if done == MIGRATIONS.len() {
        return Ok(());
    }
    for migration in MIGRATIONS.get(done..).unwrap_or_default() {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
    }
    // A pragma takes no parameter.
    let stamp = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {known}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(stamp))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}
