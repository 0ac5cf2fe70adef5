//! What people and time ask of a whole ledger.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::group::Group;
use super::{count, millis, parse, statements as sql};
use crate::ledger::database::{Fault, Param, Rows};
use crate::ledger::effect;
use crate::ledger::machine::{Event, Phase, Plan};
use crate::ledger::store::LedgerError;

/// No more attempts than that can have been made since the copy was.
const GAP: i64 = 1_000;

/// So many tasks are read at once.
const PAGE: i64 = 1000;

impl Group<'_> {
    /// Lets an agent, or all of them, have no more tasks, or have them again.
    pub(super) async fn pause(&mut self, agent: Option<&str>, paused: bool) -> Result<(), Fault> {
        if let Some(name) = agent {
            self.known(name)?;
        }
        let agent = Param::Text(agent.unwrap_or_default());
        if paused {
            let params = [agent, Param::Int(self.now)];
            self.transaction.execute(sql::PAUSE, &params).await?;
        } else {
            self.transaction.execute(sql::RESUME, &[agent]).await?;
        }
        Ok(())
    }

    /// A repository has another name: what is open about it goes on there. Yields how many
    /// dispatches there were.
    pub(super) async fn relocate(&mut self, from: &str, to: &str) -> Result<usize, Fault> {
        let mut after = Uuid::nil();
        let mut ids = Vec::new();
        loop {
            let last = after.to_string();
            let params = [Param::Text(&last), Param::Int(PAGE)];
            let open: Vec<(String, String)> =
                self.transaction.fetch(sql::OPEN_TASKS, &params).await?;
            let mut moved = Rows::default();
            for (id, task) in &open {
                after = parse(id)?;
                let mut task: Value = serde_json::from_str(task)?;
                let repo = task.get_mut("repo");
                if let Some(Value::String(repo)) = repo
                    && repo.eq_ignore_ascii_case(from)
                {
                    to.clone_into(repo);
                    ids.push(after);
                    moved.push([id.as_str().into(), task.to_string().into()]);
                }
            }
            if !moved.is_empty() {
                let params = [Param::Text(from), Param::Text(to), Param::Rows(&moved)];
                self.transaction.execute(sql::RELOCATE, &params).await?;
            }
            if i64::try_from(open.len()) != Ok(PAGE) {
                break;
            }
        }
        let count = ids.len();
        self.load(ids.iter().copied()).await?;
        for id in ids {
            let state = &self.dispatch(id)?.state;
            let (fence, held) = (state.fence, state.phase == Phase::Held);
            self.note(id, fence, "relocated", &json!({ "from": from, "to": to }));
            if held {
                self.record(id, Event::Release, &Value::Null)?;
            }
        }
        Ok(count)
    }

    /// The ledger is an older copy: fences may be in use that it does not know, effects may have been
    /// sent that it has not sent. Nothing more is done about a dispatch before somebody has looked it
    /// up; yields those to look up.
    pub(super) async fn restored(&mut self) -> Result<Vec<Uuid>, Fault> {
        self.transaction
            .execute(sql::GAP, &[Param::Int(GAP)])
            .await?;
        self.transaction.execute(sql::TURNS, &[]).await?;
        let open: Vec<(String,)> = self.transaction.fetch(sql::OPEN, &[]).await?;
        let open = open.iter().map(|(id,)| parse(id));
        let open = open.collect::<Result<Vec<Uuid>, LedgerError>>()?;
        self.load(open.iter().copied()).await?;
        let now = self.now;
        let mut held = Vec::new();
        for id in open {
            let dispatch = self.dispatch(id)?;
            for out in &mut dispatch.outbox {
                out.changed |= out.row.apply(&effect::Event::Restored { now });
                out.owner = None;
            }
            if dispatch.state.phase != Phase::Held {
                let hold = Event::Hold("the ledger was restored from a copy".to_owned());
                self.record(id, hold, &Value::Null)?;
                held.push(id);
            }
        }
        Ok(held)
    }

    /// Gives what is not handed out another task and plan, and releases it. False: it is handed out,
    /// or has ended.
    pub(super) async fn replan(
        &mut self,
        id: Uuid,
        task: &Value,
        plan: &Plan,
        evidence: &Value,
    ) -> Result<bool, Fault> {
        // As for a submission.
        if self.writer.works {
            for name in &plan.agents {
                self.known(name)?;
            }
        }
        self.load([id]).await?;
        let held = self.dispatch(id)?;
        if !held.state.replan(plan.clone()) {
            return Ok(false);
        }
        held.changed = true;
        let (fence, waits) = (held.state.fence, held.state.phase == Phase::Held);
        let (task, name) = (task.to_string(), id.to_string());
        let params = [Param::Text(&name), Param::Text(&task)];
        self.transaction.execute(sql::REPLAN, &params).await?;
        self.note(id, fence, "replanned", &json!({ "evidence": evidence }));
        if waits {
            self.record(id, Event::Release, &Value::Null)?;
        }
        Ok(true)
    }

    pub(super) async fn prune(&mut self, age: Duration, limit: usize) -> Result<usize, Fault> {
        let before = self.now.saturating_sub(millis(age));
        let params = [Param::Int(before), Param::Int(count(limit))];
        let old: Vec<(String,)> = self.transaction.fetch(sql::PRUNE, &params).await?;
        let pruned = old.len();
        let old: Rows = old.into_iter().map(|(id,)| id).collect();
        self.transaction.write(sql::PRUNE_EVENTS, &old).await?;
        Ok(pruned)
    }
}
