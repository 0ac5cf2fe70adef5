//! Dispatches to agents, and what the time brings.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use super::group::{Group, Held};
use super::{count, parse, statements as sql};
use crate::ledger::database::{Fault, Param, Sql};
use crate::ledger::machine::{Dispatch, Event};
use crate::ledger::store::{Agent, Claim, LedgerError};

/// What a caller asks for.
pub(super) struct Wish<'w> {
    pub(super) agents: &'w [String],
    pub(super) limit: usize,
    pub(super) claims: Vec<Claim>,
}

impl Wish<'_> {
    fn left(&self) -> usize {
        self.limit.saturating_sub(self.claims.len())
    }

    fn wants(&self, agent: &str) -> bool {
        self.left() > 0 && self.agents.iter().any(|name| name == agent)
    }
}

/// id, task, state.
type Ready = (String, String, String);

impl Group<'_> {
    /// Gives dispatches that are ready to those who ask for them, as far as agents have slots.
    pub(super) async fn claim(&mut self, wishes: &mut [Wish<'_>]) -> Result<(), Fault> {
        self.clock()?;
        if self.revision != self.writer.revision {
            return Err(Fault::Final(LedgerError::OldConfiguration {
                stored: self.revision,
                ours: self.writer.revision,
            }));
        }
        self.handles(wishes).await?;
        let paused: Vec<(String,)> = self.transaction.fetch(sql::PAUSES, &[]).await?;
        if paused.iter().any(|(name,)| name.is_empty()) {
            return Ok(());
        }
        let agents = &self.writer.agents;
        let agents = || {
            let active = |agent: &&Agent| !paused.iter().any(|(name,)| *name == agent.name);
            agents.iter().filter(active)
        };
        for agent in agents() {
            let wanted = wishes.iter().filter(|wish| wish.wants(&agent.name));
            let wanted = wanted.map(Wish::left).sum();
            if wanted == 0 {
                continue;
            }
            let free = self.free(agent, wanted).await?;
            let ready = self.ready(sql::READY, Some(&agent.name), free).await?;
            for ready in ready {
                let wish = wishes.iter_mut().find(|wish| wish.wants(&agent.name));
                if let Some(wish) = wish {
                    wish.claims.extend(self.hand_to(ready, agent)?);
                }
            }
        }
        // What is left waits for agents that are busy.
        let wanted: usize = wishes.iter().map(Wish::left).sum();
        if wanted == 0 {
            return Ok(());
        }
        let waiting = self
            .ready(sql::READY_FALLBACK, None, wanted.saturating_mul(4))
            .await?;
        if waiting.is_empty() {
            return Ok(());
        }
        self.flush().await?;
        let mut free: HashMap<&str, usize> = HashMap::new();
        for agent in agents() {
            let slots = if wishes.iter().any(|wish| wish.wants(&agent.name)) {
                self.free(agent, wanted).await?
            } else {
                self.has_free(agent).await?.into()
            };
            free.insert(&agent.name, slots);
        }
        for ready in waiting {
            let Ok(state) = serde_json::from_str::<Dispatch>(&ready.2) else {
                continue;
            };
            let has_slot = |name: &str| free.get(name).is_some_and(|slots| *slots > 0);
            if state.agent().is_some_and(has_slot) {
                continue;
            }
            let stands_in = state.plan.fallback.iter().find_map(|name| {
                let wish = wishes.iter().position(|wish| wish.wants(name))?;
                let agent = agents().find(|agent| agent.name == *name)?;
                has_slot(name).then_some((wish, agent))
            });
            let Some((wish, agent)) = stands_in else {
                continue;
            };
            if let Some(slots) = free.get_mut(agent.name.as_str()) {
                *slots -= 1;
            }
            if let Some(wish) = wishes.get_mut(wish) {
                wish.claims.extend(self.hand_to(ready, agent)?);
            }
        }
        Ok(())
    }

    /// Lets others know for which agents this process hands out tasks.
    async fn handles(&mut self, wishes: &[Wish<'_>]) -> Result<(), Fault> {
        let named = |agent: &&Agent| wishes.iter().any(|wish| wish.agents.contains(&agent.name));
        let handles = self.writer.agents.iter().filter(named);
        let handles: Vec<&str> = handles.map(|agent| agent.name.as_str()).collect();
        let handles = serde_json::to_string(&handles)?;
        let owner = self.writer.owner.to_string();
        let params = [Param::Text(&handles), Param::Text(&owner)];
        self.transaction.execute(sql::HANDLES, &params).await?;
        Ok(())
    }

    /// Has so many free slots of an agent ready, or as many as there are.
    async fn free(&mut self, agent: &Agent, wanted: usize) -> Result<usize, Fault> {
        let params = [
            Param::Text(&agent.name),
            Param::Int(i64::from(agent.max_concurrent)),
            Param::Int(count(wanted)),
        ];
        let free: Vec<(i64,)> = self.transaction.unpack(sql::FREE, &params).await?;
        let free: Vec<i64> = free.into_iter().rev().map(|(slot,)| slot).collect();
        let there = free.len();
        self.slots.insert(agent.name.clone(), free);
        Ok(there)
    }

    async fn has_free(&mut self, agent: &Agent) -> Result<bool, Fault> {
        let most = i64::from(agent.max_concurrent);
        let params = [Param::Text(&agent.name), Param::Int(most)];
        let free: Option<(i64,)> = self.transaction.first(sql::HAS_FREE, &params).await?;
        Ok(free.is_some())
    }

    async fn ready(
        &mut self,
        sql: Sql,
        agent: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Ready>, Fault> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut params = vec![Param::Int(count(limit))];
        params.extend(agent.map(Param::Text));
        self.transaction.unpack(sql, &params).await
    }

    /// `None`: it cannot be read, and stays where it is.
    fn hand_to(
        &mut self,
        (id, task, state): Ready,
        agent: &Agent,
    ) -> Result<Option<Claim>, LedgerError> {
        let id: Uuid = parse(&id)?;
        let (Ok(state), Ok(task)) = (serde_json::from_str(&state), serde_json::from_str(&task))
        else {
            return Ok(None);
        };
        self.held.insert(id, Ok(Held::new(state)));
        let event = Event::Claimed {
            agent: agent.name.clone(),
            channel: agent.channel,
            idempotent: agent.idempotent,
        };
        self.record(id, event, &Value::Null)?;
        Ok(Some(Claim {
            id,
            fence: self.dispatch(id)?.state.fence,
            agent: agent.name.clone(),
            task,
        }))
    }

    /// Raises what the time has come for, and yields how many there were.
    pub(super) async fn due(&mut self, limit: usize) -> Result<usize, Fault> {
        self.clock()?;
        let params = [Param::Int(self.now), Param::Int(count(limit))];
        let due: Vec<(String,)> = self.transaction.fetch(sql::TIMERS, &params).await?;
        let mut ids = Vec::with_capacity(due.len());
        for (id,) in &due {
            ids.push(parse::<Uuid>(id)?);
        }
        self.load(ids.iter().copied()).await?;
        for id in ids {
            let event = match self.dispatch(id) {
                Ok(held) => held.state.due(),
                Err(_) => None,
            };
            if let Some(event) = event {
                self.record(id, event, &Value::Null)?;
            }
        }
        Ok(due.len())
    }
}
