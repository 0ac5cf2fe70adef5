//! Which processes look after dispatches, and how it is known that one does not any more.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::writer::{Scene, Writer};
use super::{change, effects, millis, parse};
use crate::ledger::machine::{Attempt, Channel, Event};
use crate::ledger::store::{Agent, LedgerError};

/// A locked file. The lock ends with the process, however it ends, so that another one that gets
/// it knows that the first is dead.
#[derive(Debug)]
pub(super) struct Alive {
    _file: File,
    path: PathBuf,
}

impl Alive {
    pub(super) fn new(ledger: &Path, owner: Uuid) -> io::Result<Self> {
        let path = lock_of(ledger, owner);
        let file = File::create(&path)?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(Self { _file: file, path })
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn lock_of(ledger: &Path, owner: Uuid) -> PathBuf {
    let mut path = ledger.as_os_str().to_owned();
    path.push(format!("-owner-{owner}"));
    path.into()
}

/// Whether the process is dead for certain. One that cannot be looked at may be alive.
fn is_dead(ledger: &Path, owner: Uuid) -> bool {
    match File::open(lock_of(ledger, owner)) {
        Ok(file) => match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        },
        // It removes its file when it leaves.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The database's time, in milliseconds since 1970.
pub(super) async fn now(connection: &mut SqliteConnection) -> Result<i64, LedgerError> {
    let now = sqlx::query_scalar("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)");
    Ok(now.fetch_one(connection).await?)
}

/// Makes the process known, and its agents the ones in force. Yields their revision.
pub(super) async fn enter(
    connection: &mut SqliteConnection,
    owner: Uuid,
    agents: &[Agent],
    lease: Duration,
) -> Result<i64, LedgerError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let now = now(&mut transaction).await?;
    sqlx::query("INSERT INTO owners (id, expires_at) VALUES (?, ?)")
        .bind(owner.to_string())
        .bind(now.saturating_add(millis(lease)))
        .execute(&mut *transaction)
        .await?;
    let agents = serde_json::to_string(agents)?;
    sqlx::query("UPDATE agents SET revision = revision + 1, agents = ?1 WHERE agents <> ?1")
        .bind(&agents)
        .execute(&mut *transaction)
        .await?;
    let revision = sqlx::query_scalar("SELECT revision FROM agents")
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(revision)
}

/// The agents that are in force, for who does not bring any.
pub(super) async fn in_force(
    connection: &mut SqliteConnection,
) -> Result<(i64, Vec<Agent>), LedgerError> {
    let (revision, agents): (i64, String) = sqlx::query_as("SELECT revision, agents FROM agents")
        .fetch_one(connection)
        .await?;
    Ok((revision, serde_json::from_str(&agents)?))
}

/// Takes an orderly leave: others need not wait for the lease to pass.
pub(super) async fn leave(
    connection: &mut SqliteConnection,
    owner: Uuid,
) -> Result<(), LedgerError> {
    sqlx::query("UPDATE owners SET expires_at = 0 WHERE id = ?")
        .bind(owner.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The beginning of every transaction: the time, and the lease renewed.
pub(super) async fn scene<'w>(
    writer: &'w Writer,
    connection: &mut SqliteConnection,
) -> Result<Scene<'w>, LedgerError> {
    let now = now(connection).await?;
    let renewed = sqlx::query("UPDATE owners SET expires_at = ? WHERE id = ?")
        .bind(now.saturating_add(millis(writer.options.lease)))
        .bind(writer.owner.to_string())
        .execute(connection)
        .await?;
    Ok(Scene {
        writer,
        now,
        lost: renewed.rows_affected() == 0,
    })
}

/// What a handler of a dead process was working on.
async fn lose_local(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<(), LedgerError> {
    let Some(mut state) = change::load(connection, id).await? else {
        return Ok(());
    };
    let local = |attempt: &Attempt| attempt.channel == Channel::Local;
    if state.attempt.as_ref().is_some_and(local) {
        let event = Event::WorkerLost { fence: state.fence };
        change::take(scene, connection, id, &mut state, event, &Value::Null).await?;
    }
    Ok(())
}

/// Whether somebody is to be taken over from.
pub(super) async fn deserted(
    connection: &mut SqliteConnection,
    ledger: &Path,
    owner: Uuid,
) -> Result<bool, LedgerError> {
    let now = now(connection).await?;
    let others: Vec<(String, i64)> =
        sqlx::query_as("SELECT id, expires_at FROM owners WHERE id <> ?")
            .bind(owner.to_string())
            .fetch_all(connection)
            .await?;
    for (other, expires_at) in others {
        if expires_at <= now || is_dead(ledger, parse(&other)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn take_over(
    scene: &Scene<'_>,
    connection: &mut SqliteConnection,
) -> Result<usize, LedgerError> {
    scene.lease()?;
    let others: Vec<(String, i64)> =
        sqlx::query_as("SELECT id, expires_at FROM owners WHERE id <> ?")
            .bind(scene.writer.owner.to_string())
            .fetch_all(&mut *connection)
            .await?;
    let mut taken = 0;
    for (other, expires_at) in others {
        let id: Uuid = parse(&other)?;
        if expires_at > scene.now && !is_dead(&scene.writer.place, id) {
            continue;
        }
        let dispatches: Vec<String> = sqlx::query_scalar(
            "UPDATE dispatches SET owner = ? WHERE owner = ? AND finished_at IS NULL RETURNING id",
        )
        .bind(scene.writer.owner.to_string())
        .bind(&other)
        .fetch_all(&mut *connection)
        .await?;
        effects::lose(scene, connection, &other).await?;
        for dispatch in dispatches {
            lose_local(scene, connection, &dispatch).await?;
            let body = serde_json::json!({ "from": other, "to": scene.writer.owner.to_string() });
            change::note(scene, connection, &dispatch, 0, "taken over", &body).await?;
        }
        sqlx::query("DELETE FROM owners WHERE id = ?")
            .bind(&other)
            .execute(&mut *connection)
            .await?;
        let _ = std::fs::remove_file(lock_of(&scene.writer.place, id));
        taken += 1;
    }
    Ok(taken)
}
