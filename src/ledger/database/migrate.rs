//! The tables, and how an older ledger gets them.

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::fault::STANDBY;
use super::{Connection, Fault, Mode, Param, Place, Sql, Transaction};
use crate::ledger::store::LedgerError;

/// "Timm" in ASCII: says whose file it is.
const APPLICATION_ID: i64 = 0x5469_6d6d;

/// Each leads from the version before it to its own. They are only ever added to.
const SQLITE: &[&str] = &[
    include_str!("sqlite/0001_ledger.sql"),
    include_str!("sqlite/0002_slots_and_owners.sql"),
    include_str!("sqlite/0003_revisions.sql"),
    include_str!("sqlite/0004_outbox.sql"),
];
const POSTGRES: &[&str] = &[
    include_str!("postgres/0001_ledger.sql"),
    include_str!("postgres/0002_revisions.sql"),
    include_str!("postgres/0003_turns.sql"),
    include_str!("postgres/0004_outbox.sql"),
];

/// What is left to be done for a ledger of that version.
fn since(
    version: i64,
    migrations: &'static [&'static str],
) -> Result<(&'static [&'static str], i64), LedgerError> {
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if version > known {
        return Err(LedgerError::Newer {
            found: version,
            known,
        });
    }
    let done = usize::try_from(version).unwrap_or_default();
    Ok((migrations.get(done..).unwrap_or_default(), known))
}

/// The version of a file and the one that this program works with; refuses a foreign or newer one.
pub(super) async fn sqlite_version(
    connection: &mut SqliteConnection,
    place: &Place,
) -> Result<Result<(i64, i64), LedgerError>, sqlx::Error> {
    let (application, version, tables): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT application_id FROM pragma_application_id), \
         (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)",
    )
    .fetch_one(connection)
    .await?;
    if application != APPLICATION_ID && (tables > 0 || application != 0 || version != 0) {
        return Ok(Err(LedgerError::Foreign(place.to_string())));
    }
    Ok(since(version, SQLITE).map(|(_, known)| (version, known)))
}

/// Brings a file to the current version, in one transaction; refuses a foreign or newer one.
pub(super) async fn sqlite(
    connection: &mut SqliteConnection,
    place: &Place,
) -> Result<(), LedgerError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let (version, _) = sqlite_version(&mut transaction, place).await??;
    let (missing, known) = since(version, SQLITE)?;
    if missing.is_empty() {
        return Ok(());
    }
    for migration in missing {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
    }
    // A pragma takes no parameter.
    let stamp = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {known}");
    sqlx::raw_sql(AssertSqlSafe(stamp))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// The same for a schema; `None` where there is none, or nothing in it.
pub(super) async fn postgres_version(
    connection: &mut Connection,
    schema: &str,
    place: &Place,
) -> Result<Option<(i64, i64)>, LedgerError> {
    let mut transaction = connection.begin(Mode::Read).await.map_err(Fault::from)?;
    let (version, _) = version_of_schema(&mut transaction, schema, place).await?;
    transaction.end().await.map_err(Fault::from)?;
    let (_, known) = since(version, POSTGRES)?;
    Ok((version > 0).then_some((version, known)))
}

/// The version of what is in a schema, 0 for nothing, and whether there is one.
async fn version_of_schema(
    transaction: &mut Transaction<'_>,
    schema: &str,
    place: &Place,
) -> Result<(i64, bool), LedgerError> {
    const LOOK: Sql = Sql::both(
        "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace($1)), \
         to_regclass($1 || '.ledger_version')::text, to_regnamespace($1)::text",
    );
    const VERSION: Sql = Sql::both("SELECT version FROM ledger_version");
    let there: Option<(i64, Option<String>, Option<String>)> =
        transaction.first(LOOK, &[Param::Text(schema)]).await?;
    let (relations, ledger, there) = there.unwrap_or_default();
    let version: Option<(i64,)> = match ledger {
        Some(_) => transaction.first(VERSION, &[]).await?,
        None => (relations == 0).then_some((0,)),
    };
    match version {
        Some((version,)) => Ok((version, there.is_some())),
        None => Err(LedgerError::Foreign(place.to_string())),
    }
}

/// Brings a schema to the current version. All of it is one transaction, its lock too, so that it goes through a
/// pooler.
pub(super) async fn postgres(
    connection: &mut Connection,
    schema: &str,
    place: &Place,
) -> Result<(), LedgerError> {
    const LOCK: Sql =
        Sql::both("SELECT 1 FROM pg_advisory_xact_lock(hashtextextended($1, 1953066605))");
    const STAMP: Sql = Sql::both("UPDATE ledger_version SET version = $1");
    const READS: Sql =
        Sql::both("SELECT 'it only reads' WHERE current_setting('transaction_read_only') = 'on'");
    let mut transaction = connection.begin(Mode::Write).await?;
    let reads: Option<(String,)> = transaction.first(READS, &[]).await?;
    if let Some((why,)) = reads {
        let (place, advice) = (place.to_string(), STANDBY);
        return Err(LedgerError::Unreachable { place, why, advice });
    }
    transaction.execute(LOCK, &[Param::Text(schema)]).await?;
    let (version, has_schema) = version_of_schema(&mut transaction, schema, place).await?;
    let (missing, known) = since(version, POSTGRES)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !has_schema {
        run(&mut transaction, format!("CREATE SCHEMA {schema}")).await?;
    }
    for migration in missing {
        run(&mut transaction, (*migration).to_owned()).await?;
    }
    transaction.execute(STAMP, &[Param::Int(known)]).await?;
    transaction.end().await.map_err(Fault::from)?;
    Ok(())
}

async fn run(transaction: &mut Transaction<'_>, statements: String) -> Result<(), Fault> {
    if let Transaction::Postgres { transaction, .. } = transaction {
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}
