//! Which processes look after dispatches, and how it is known that one does not any more.
//!
//! A lease says so everywhere. Death is known at once where there is a proof: on one machine a lock
//! on a file, which ends with the process, however it ends; on PostgreSQL a lock of the process's
//! session. The second proves only that the connection is dead: what such a process was sending is
//! in doubt from the end of its lease on, for until then it may still begin.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uuid::Uuid;

use super::group::Group;
use super::{millis, parse, statements as sql};
use crate::ledger::database::{Connection, Fault, Mode, Param, Place, Rows, Transaction};
use crate::ledger::machine::{Attempt, Channel, Event};
use crate::ledger::options::Options;
use crate::ledger::store::{Agent, LedgerError, WorkerRecord};

/// So many dispatches at most are taken over in one transaction, so that the first can be looked
/// after at once.
const BATCH: i64 = 200;

/// A locked file.
#[derive(Debug)]
pub(in crate::ledger) struct Alive {
    _file: File,
    path: PathBuf,
}

impl Alive {
    pub(in crate::ledger) fn new(ledger: &Path, owner: Uuid) -> io::Result<Self> {
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
fn is_dead(place: &Place, owner: Uuid) -> bool {
    let Place::File(ledger) = place else {
        return false;
    };
    match File::open(lock_of(ledger, owner)) {
        Ok(file) => match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        },
        // It removes its file when it leaves.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Has the session hold its proof, for as long as it lives.
pub(in crate::ledger) async fn hold(connection: &mut Connection, owner: Uuid) -> Result<(), Fault> {
    let mut transaction = connection.begin(Mode::Write).await?;
    let owner = owner.to_string();
    for sql in [sql::LET_GO, sql::NAME, sql::HOLD, sql::HERE] {
        transaction.execute(sql, &[Param::Text(&owner)]).await?;
    }
    transaction.end().await?;
    Ok(())
}

/// Makes the process known, and its agents the ones in force. Yields their revision.
pub(in crate::ledger) async fn enter(
    connection: &mut Connection,
    owner: Uuid,
    agents: &[Agent],
    options: &Options,
    session: bool,
) -> Result<i64, Fault> {
    let mut transaction = connection.begin(Mode::Write).await?;
    let (now, _) = scene(&mut transaction, options).await?;
    let owner = owner.to_string();
    let params = [
        Param::Text(&owner),
        Param::Int(now),
        Param::Int(now.saturating_add(millis(options.lease))),
        Param::Int(session.into()),
    ];
    transaction.execute(sql::ENTER, &params).await?;
    let text = serde_json::to_string(agents)?;
    transaction
        .execute(sql::AGENTS, &[Param::Text(&text)])
        .await?;
    let mut slots = Rows::default();
    for agent in agents {
        let most = i64::from(agent.max_concurrent);
        slots.push([agent.name.as_str().into(), most.into()]);
    }
    transaction.write(sql::MAKE_SLOTS, &slots).await?;
    let (_, revision) = scene(&mut transaction, options).await?;
    let params = [Param::Int(revision), Param::Text(&owner)];
    transaction.execute(sql::REVISION, &params).await?;
    transaction.end().await?;
    Ok(revision)
}

/// The processes that look after dispatches.
pub(in crate::ledger) async fn workers(
    transaction: &mut Transaction<'_>,
    place: &Place,
    options: &Options,
) -> Result<Vec<WorkerRecord>, Fault> {
    let (now, _) = scene(transaction, options).await?;
    let living: Vec<(String, i64, String, i64)> =
        transaction.fetch(sql::WORKERS, &[Param::Int(now)]).await?;
    let mut workers = Vec::with_capacity(living.len());
    for (id, expires_at, handles, revision) in living {
        let id = parse(&id)?;
        if !is_dead(place, id) {
            workers.push(WorkerRecord {
                id,
                expires_in: u64::try_from(expires_at.saturating_sub(now)).unwrap_or_default(),
                handles: serde_json::from_str(&handles)?,
                revision,
            });
        }
    }
    Ok(workers)
}

/// The agents that are in force, for who does not bring any.
pub(in crate::ledger) async fn in_force(
    transaction: &mut Transaction<'_>,
) -> Result<(i64, Vec<Agent>), Fault> {
    let agents: Option<(i64, String)> = transaction.first(sql::IN_FORCE, &[]).await?;
    let (revision, agents) = agents.unwrap_or_else(|| (0, "[]".to_owned()));
    Ok((revision, serde_json::from_str(&agents)?))
}

/// Takes an orderly leave: others need not wait for the lease to pass.
pub(super) async fn leave(transaction: &mut Transaction<'_>, owner: Uuid) -> Result<(), Fault> {
    let owner = owner.to_string();
    transaction
        .execute(sql::LEAVE, &[Param::Text(&owner)])
        .await?;
    Ok(())
}

/// The database's time, and the revision of the agents in force.
pub(super) async fn scene(
    transaction: &mut Transaction<'_>,
    options: &Options,
) -> Result<(i64, i64), Fault> {
    let scene: Option<(i64, i64)> = transaction.first(sql::SCENE, &[]).await?;
    let gone = || LedgerError::Unreadable("the agents in force are gone".to_owned());
    let (now, revision) = scene.ok_or_else(gone)?;
    Ok((now.saturating_add(options.clock_offset()), revision))
}

/// id, expiry, whether it was taken over from before, whether its session is dead.
type Other = (String, i64, i64, i64);

/// Whether somebody is to be taken over from.
pub(super) async fn deserted(
    transaction: &mut Transaction<'_>,
    place: &Place,
    owner: Uuid,
    now: i64,
) -> Result<bool, Fault> {
    let owner = owner.to_string();
    let others: Vec<Other> = transaction
        .fetch(sql::LOOK_AT_OTHERS, &[Param::Text(&owner)])
        .await?;
    for (other, expires_at, gone, session) in others {
        if gone != 0 || session != 0 || expires_at <= now || is_dead(place, parse(&other)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Group<'_> {
    pub(super) async fn take_over(&mut self) -> Result<usize, Fault> {
        self.lease()?;
        let ours = self.writer.owner.to_string();
        let others: Vec<Other> = self
            .transaction
            .fetch(sql::OTHERS, &[Param::Text(&ours)])
            .await?;
        let mut taken = 0;
        for (other, expires_at, gone, session) in others {
            let id: Uuid = parse(&other)?;
            let expired = expires_at <= self.now && self.paused.is_none();
            let dead = is_dead(&self.writer.place, id);
            if gone == 0 && session == 0 && !dead && !expired {
                continue;
            }
            taken += 1;
            if gone == 0 {
                // From here on nothing that it writes as an owner is kept.
                self.transaction
                    .execute(sql::GONE, &[Param::Text(&other)])
                    .await?;
                let from = if dead {
                    self.now
                } else {
                    self.now.max(expires_at)
                };
                for dispatch in self.lose(&other, from).await? {
                    self.adopt(dispatch, &other)?;
                }
                self.flush().await?;
            }
            let params = [Param::Text(&ours), Param::Text(&other), Param::Int(BATCH)];
            let dispatches: Vec<(String, String)> =
                self.transaction.fetch(sql::TAKE_OVER, &params).await?;
            let local = dispatches.iter().filter(|(_, channel)| channel == "local");
            let local = local.filter_map(|(dispatch, _)| parse(dispatch).ok());
            self.load(local).await?;
            for (dispatch, _) in &dispatches {
                self.adopt(parse(dispatch)?, &other)?;
            }
            self.flush().await?;
            if i64::try_from(dispatches.len()) != Ok(BATCH) {
                self.transaction
                    .execute(sql::REMOVE, &[Param::Text(&other)])
                    .await?;
                if let Place::File(ledger) = &self.writer.place {
                    let _ = std::fs::remove_file(lock_of(ledger, id));
                }
            }
        }
        Ok(taken)
    }
    /// Looks after a dispatch of a process that is gone. What a handler was working on there is lost.
    fn adopt(&mut self, dispatch: Uuid, from: &str) -> Result<(), LedgerError> {
        let body = json!({ "from": from, "to": self.writer.owner.to_string() });
        self.note(dispatch, 0, "taken over", &body);
        let Ok(held) = self.dispatch(dispatch) else {
            return Ok(()); // Not loaded: nothing about it changes.
        };
        held.changed = true;
        let fence = held.state.fence;
        let local = |attempt: &Attempt| attempt.channel == Channel::Local;
        if held.state.attempt.as_ref().is_some_and(local) {
            self.record(dispatch, Event::WorkerLost { fence }, &Value::Null)?;
        }
        Ok(())
    }
}
