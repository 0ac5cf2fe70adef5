//! One transaction with the changes of many callers. What they need is read with a few statements,
//! the machines work on it in memory, and what came of it is written with a few statements.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use super::writer::Writer;
use super::{parse, signed, statements as sql};
use crate::ledger::database::{Fault, Param, Rows, Transaction};
use crate::ledger::effect::Row;
use crate::ledger::machine::{Dispatch, Effect};
use crate::ledger::store::{Agent, LedgerError};

/// A dispatch that a transaction works on. On PostgreSQL it has the row to itself.
pub(super) struct Held {
    pub(super) state: Dispatch,
    pub(super) run_at: Option<i64>,
    pub(super) deadline_at: Option<i64>,
    pub(super) changed: bool,
    /// What its row says beside the state; `None` where that was not read.
    pub(super) kept: Option<Kept>,
    /// Its effects that are not settled, and new ones.
    pub(super) outbox: Vec<Out>,
}

/// What is searched for in the row of a dispatch. Where it stays as it is, the indexes stay so too.
#[derive(PartialEq, Eq)]
pub(super) struct Kept {
    owner: Option<String>,
    run_at: Option<i64>,
    deadline_at: Option<i64>,
    finished: bool,
}

/// A row of the outbox.
pub(super) struct Out {
    pub(super) id: Uuid,
    pub(super) fence: u64,
    pub(super) effect: Effect,
    pub(super) nonce: Uuid,
    pub(super) row: Row,
    pub(super) position: i64,
    pub(super) owner: Option<Uuid>,
    pub(super) remote_id: Option<i64>,
    pub(super) new: bool,
    pub(super) changed: bool,
}

/// id, dispatch, fence, effect, nonce, row, position, owner, remote id.
pub(super) type StoredOut = (
    String,
    String,
    i64,
    String,
    String,
    String,
    i64,
    Option<String>,
    Option<i64>,
);

/// id, state, owner, timer, deadline.
pub(super) type StoredDispatch = (String, String, Option<String>, Option<i64>, Option<i64>);

/// What is to be written, beside dispatches and effects that changed.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) dispatches: Rows,
    pub(super) begun: Rows,
    pub(super) ended: Rows,
    pub(super) taken: Rows,
    pub(super) drained: Rows,
    pub(super) freed: Rows,
    pub(super) events: Rows,
}

pub(super) struct Group<'g> {
    pub(super) writer: &'g Writer,
    pub(super) transaction: Transaction<'g>,
    /// The database's time, in milliseconds since 1970.
    pub(super) now: i64,
    /// The revision of the agents in force.
    pub(super) revision: i64,
    /// The number of the transaction; 0 where nobody can ask for it.
    pub(super) number: i64,
    /// Whether others took over from this process.
    pub(super) lost: bool,
    /// Why nothing is claimed and nothing expires for now.
    pub(super) paused: Option<LedgerError>,
    /// One that cannot be read is an error to those who want it, and to nobody else.
    pub(super) held: HashMap<Uuid, Result<Held, LedgerError>>,
    /// Free slots of agents, of which a claim takes the last.
    pub(super) slots: HashMap<String, Vec<i64>>,
    pub(super) changes: Changes,
}

impl Held {
    pub(super) const fn new(state: Dispatch) -> Self {
        Self {
            state,
            run_at: None,
            deadline_at: None,
            changed: false,
            kept: None,
            outbox: Vec::new(),
        }
    }
}

fn out(stored: &StoredOut) -> Result<Out, LedgerError> {
    let (id, _, fence, effect, nonce, row, position, owner, remote_id) = stored;
    Ok(Out {
        id: parse(id)?,
        fence: u64::try_from(*fence).unwrap_or_default(),
        effect: parse(effect)?,
        nonce: parse(nonce)?,
        row: serde_json::from_str(row)?,
        position: *position,
        owner: owner.as_deref().map(parse).transpose()?,
        remote_id: *remote_id,
        new: false,
        changed: false,
    })
}

impl Group<'_> {
    /// What looks after dispatches needs a lease.
    pub(super) fn lease(&self) -> Result<(), LedgerError> {
        if self.lost && !self.writer.options.without_fence {
            Err(LedgerError::LeaseLost)
        } else {
            Ok(())
        }
    }

    /// What depends on the time needs a clock that can be trusted, too.
    pub(super) fn clock(&self) -> Result<(), LedgerError> {
        self.lease()?;
        self.paused.clone().map_or(Ok(()), Err)
    }

    /// An agent, as this process knows it.
    pub(super) fn agent(&self, name: &str) -> Option<&Agent> {
        self.writer.agents.iter().find(|agent| agent.name == name)
    }

    /// Appends to the record of everything.
    pub(super) fn note(&mut self, id: Uuid, fence: u64, kind: &str, body: &Value) {
        self.changes.events.push([
            id.to_string().into(),
            signed(fence).into(),
            kind.into(),
            self.now.into(),
            body.to_string().into(),
        ]);
    }

    /// Reads those dispatches, with their effects that are not settled, and keeps other writers
    /// off them.
    pub(super) async fn load(&mut self, ids: impl IntoIterator<Item = Uuid>) -> Result<(), Fault> {
        let mut wanted: Vec<Uuid> = ids
            .into_iter()
            .filter(|id| !self.held.contains_key(id))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let wanted: Rows = wanted.iter().map(Uuid::to_string).collect();
        let stored: Vec<StoredDispatch> = self.transaction.unpack_for(sql::LOAD, &wanted).await?;
        self.hold(stored)?;
        let open: Vec<StoredOut> = self.transaction.unpack_for(sql::LOAD_OPEN, &wanted).await?;
        for stored in &open {
            self.keep(stored)?;
        }
        Ok(())
    }

    pub(super) fn hold(&mut self, stored: Vec<StoredDispatch>) -> Result<(), LedgerError> {
        for (id, state, owner, run_at, deadline_at) in stored {
            let held = serde_json::from_str::<Dispatch>(&state)
                .map(|state| Held {
                    run_at,
                    deadline_at,
                    kept: Some(Kept {
                        owner,
                        run_at,
                        deadline_at,
                        finished: state.phase.is_terminal(),
                    }),
                    ..Held::new(state)
                })
                .map_err(LedgerError::from);
            self.held.insert(parse(&id)?, held);
        }
        Ok(())
    }

    /// Puts an effect to its dispatch, where that is loaded.
    pub(super) fn keep(&mut self, stored: &StoredOut) -> Result<(), LedgerError> {
        let Some(held) = self.held.get_mut(&parse(&stored.1)?) else {
            return Ok(());
        };
        match (out(stored), &mut *held) {
            (Ok(out), Ok(dispatch)) => {
                if !dispatch.outbox.iter().any(|other| other.id == out.id) {
                    dispatch.outbox.push(out);
                }
            }
            (Err(error), Ok(_)) => *held = Err(error),
            (_, Err(_)) => {}
        }
        Ok(())
    }

    pub(super) fn dispatch(&mut self, id: Uuid) -> Result<&mut Held, LedgerError> {
        match self.held.get_mut(&id) {
            Some(Ok(held)) => Ok(held),
            Some(Err(error)) => Err(error.clone()),
            None => Err(LedgerError::Unknown(format!("dispatch {id}"))),
        }
    }

    pub(super) fn effect(&mut self, dispatch: Uuid, id: Uuid) -> Result<&mut Out, LedgerError> {
        let held = self.dispatch(dispatch)?;
        let out = held.outbox.iter_mut().find(|out| out.id == id);
        out.ok_or_else(|| LedgerError::Unknown(format!("effect {id}")))
    }

    /// Writes what has changed, so that statements see it.
    pub(super) async fn flush(&mut self) -> Result<(), Fault> {
        let changes = std::mem::take(&mut self.changes);
        let mut updated = Rows::default();
        let mut stepped = Rows::default();
        let mut sent = Rows::default();
        let mut moved = Rows::default();
        for (id, held) in &mut self.held {
            let Ok(held) = held else { continue };
            if std::mem::take(&mut held.changed) {
                let state = serde_json::to_string(&held.state)?;
                // Whoever moves a live dispatch looks after it from now on, if it may look after
                // any.
                let owner = match (self.lost, held.state.attempt.as_ref(), &held.kept) {
                    (true, _, Some(kept)) => kept.owner.clone(),
                    (_, attempt, _) => attempt.map(|_| self.writer.owner.to_string()),
                };
                let keeps = Kept {
                    owner,
                    run_at: held.run_at,
                    deadline_at: held.deadline_at,
                    finished: held.state.phase.is_terminal(),
                };
                if held.kept.as_ref() == Some(&keeps) {
                    stepped.push([id.to_string().into(), state.into()]);
                } else {
                    updated.push([
                        id.to_string().into(),
                        state.into(),
                        i64::from(keeps.finished).into(),
                        keeps.owner.clone().into(),
                        keeps.run_at.into(),
                        keeps.deadline_at.into(),
                    ]);
                    // Where others took over it is theirs to say who the owner is.
                    held.kept = (!self.lost).then_some(keeps);
                }
            }
            for out in &mut held.outbox {
                let new = std::mem::take(&mut out.new);
                let changed = std::mem::take(&mut out.changed);
                if !new && !changed {
                    continue;
                }
                let row = serde_json::to_string(&out.row)?;
                let owner = out.owner.map(|owner| owner.to_string());
                if new {
                    sent.push([
                        out.id.to_string().into(),
                        id.to_string().into(),
                        signed(out.fence).into(),
                        out.position.into(),
                        out.effect.as_str().into(),
                        out.nonce.to_string().into(),
                        row.into(),
                        owner.into(),
                        out.remote_id.into(),
                    ]);
                } else {
                    moved.push([
                        out.id.to_string().into(),
                        row.into(),
                        owner.into(),
                        out.remote_id.into(),
                    ]);
                }
            }
        }
        let transaction = &mut self.transaction;
        let new = transaction.write(sql::SUBMIT, &changes.dispatches).await?;
        if usize::try_from(new) != Ok(changes.dispatches.len()) {
            // Another writer has brought one of them meanwhile: next time it is found.
            return Err(Fault::Again("submitted at the same time".to_owned()));
        }
        if !updated.is_empty() {
            let lost = i64::from(self.lost);
            let params = [
                Param::Int(self.now),
                Param::Int(lost),
                Param::Rows(&updated),
            ];
            transaction.execute(sql::UPDATE, &params).await?;
        }
        transaction.write(sql::STEP, &stepped).await?;
        transaction
            .write(sql::BEGIN_ATTEMPTS, &changes.begun)
            .await?;
        transaction.write(sql::END_ATTEMPTS, &changes.ended).await?;
        transaction.write(sql::TAKE_SLOTS, &changes.taken).await?;
        transaction
            .write(sql::DRAIN_SLOTS, &changes.drained)
            .await?;
        transaction.write(sql::FREE_SLOTS, &changes.freed).await?;
        transaction.write(sql::SEND, &sent).await?;
        transaction.write(sql::MOVE, &moved).await?;
        if !changes.events.is_empty() {
            transaction.mark_events().await?;
            transaction.write(sql::NOTE, &changes.events).await?;
        }
        Ok(())
    }
}
