//! The outbox.

use std::collections::HashMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::group::{Group, StoredOut};
use super::{count, millis, parse, read, statements as sql};
use crate::ledger::database::{Fault, Param, Rows, Sql};
use crate::ledger::effect::{self, Event, Phase};
use crate::ledger::handle::Answer;
use crate::ledger::machine::{self, Effect, Settled};
use crate::ledger::store::{Errand, LedgerError, without_nul};

/// Which dispatch an effect is of.
pub(super) type Whose = HashMap<Uuid, Uuid>;

impl Group<'_> {
    /// The dispatches of those effects.
    pub(super) async fn whose(&mut self, ids: impl Iterator<Item = Uuid>) -> Result<Whose, Fault> {
        let wanted: Rows = ids.map(|id| id.to_string()).collect();
        let stored: Vec<(String, String)> = self.transaction.fetch_for(sql::WHOSE, &wanted).await?;
        let mut whose = Whose::new();
        for (id, dispatch) in stored {
            whose.insert(parse(&id)?, parse(&dispatch)?);
        }
        Ok(whose)
    }

    /// Loads those of the effects that are settled already; their dispatches are loaded.
    pub(super) async fn load_settled(
        &mut self,
        effects: impl Iterator<Item = (Uuid, Uuid)>,
    ) -> Result<(), Fault> {
        let settled = effects.filter(|(id, dispatch)| match self.held.get(dispatch) {
            Some(Ok(held)) => !held.outbox.iter().any(|out| out.id == *id),
            _ => false,
        });
        let settled: Rows = settled.map(|(id, _)| id.to_string()).collect();
        let settled: Vec<StoredOut> = self.transaction.unpack_for(sql::LOAD_OUT, &settled).await?;
        for stored in &settled {
            self.keep(stored)?;
        }
        Ok(())
    }

    /// The effects whose turn it is, each behind those of its attempt that came before it.
    pub(super) async fn send(&mut self, limit: usize) -> Result<Vec<Errand>, Fault> {
        self.lease()?;
        let due = self.errands(sql::DUE, limit).await?;
        let mut moved = Rows::default();
        let mut errands = Vec::new();
        let owner = self.writer.owner;
        for mut errand in due {
            if !errand.row.apply(&Event::Send { now: self.now }) {
                continue;
            }
            if let Ok(out) = self.effect(errand.dispatch, errand.id) {
                out.row = errand.row.clone();
                out.owner = Some(owner);
            }
            moved.push([
                errand.id.to_string().into(),
                serde_json::to_string(&errand.row)?.into(),
                owner.to_string().into(),
                errand.remote_id.into(),
            ]);
            errands.push(errand);
        }
        self.transaction.write(sql::MOVE, &moved).await?;
        Ok(errands)
    }

    /// The effects that are to be looked for now; for those that cannot be, what then follows is
    /// done.
    pub(super) async fn doubtful(&mut self, limit: usize) -> Result<Vec<Errand>, Fault> {
        self.clock()?;
        let mut errands = self.errands(sql::DOUBTFUL, limit).await?;
        let now = self.now;
        let hopeless = errands.extract_if(.., |errand| errand.row.apply(&Event::Due { now }));
        let hopeless: Vec<Errand> = hopeless.collect();
        self.load(hopeless.iter().map(|errand| errand.dispatch))
            .await?;
        for errand in hopeless {
            self.moved(
                errand.dispatch,
                errand.id,
                &Event::Due { now },
                String::new(),
            )?;
        }
        Ok(errands)
    }

    /// What a process was sending that is dead, or whose lease ended at that time. Yields the
    /// dispatches, loaded.
    pub(super) async fn lose(&mut self, owner: &str, at: i64) -> Result<Vec<Uuid>, Fault> {
        let sending: Vec<StoredOut> = self
            .transaction
            .unpack(sql::SENDING, &[Param::Text(owner)])
            .await?;
        let mut dispatches = Vec::with_capacity(sending.len());
        for stored in &sending {
            dispatches.push(parse(&stored.1)?);
        }
        dispatches.sort_unstable();
        dispatches.dedup();
        self.load(dispatches.iter().copied()).await?;
        for stored in &sending {
            let (id, dispatch): (Uuid, Uuid) = (parse(&stored.0)?, parse(&stored.1)?);
            let Ok(out) = self.effect(dispatch, id) else {
                continue;
            };
            let run = out.effect == Effect::Run;
            let why = "the process that sent it was lost".to_owned();
            self.moved(dispatch, id, &Event::Lost { now: at }, why)?;
            // What ran in a process ends with it.
            if run {
                self.moved(dispatch, id, &Event::Abandon, String::new())?;
            }
        }
        Ok(dispatches)
    }

    /// Hastens an effect that waits, or gives one up.
    pub(super) fn steer(
        &mut self,
        whose: &Whose,
        id: Uuid,
        event: &Event,
    ) -> Result<bool, LedgerError> {
        let unknown = || LedgerError::Unknown(format!("effect {id}"));
        let dispatch = whose.get(&id).copied().ok_or_else(unknown)?;
        let out = self.effect(dispatch, id)?;
        let (effect, fence) = (out.effect, out.fence);
        if !out.row.clone().apply(event) {
            return Ok(false);
        }
        let body = json!({ "effect": effect.as_str() });
        self.note(dispatch, fence, event.kind().as_str(), &body);
        self.moved(dispatch, id, event, String::new())?;
        Ok(true)
    }

    pub(super) fn answered(
        &mut self,
        dispatch: Uuid,
        id: Uuid,
        sends: u32,
        answer: &Answer,
    ) -> Result<Option<Phase>, LedgerError> {
        let now = self.now;
        let without_fence = self.writer.options.without_fence;
        let (event, remote_id, reason) = match answer {
            Answer::Taken(remote) => (Event::Taken { now }, *remote, String::new()),
            Answer::NotTaken(wait, why) => {
                let again = now.saturating_add(millis(*wait));
                (Event::NotTaken { again }, None, why.clone())
            }
            Answer::Refused(reason) => (Event::Refused, None, reason.clone()),
            Answer::Lost(why) => (Event::Lost { now }, None, why.clone()),
            Answer::Found(found, remote) => {
                let (began, found) = (now, *found);
                (Event::LookedFor { began, found }, *remote, String::new())
            }
        };
        let out = self.effect(dispatch, id)?;
        let (effect, fence) = (out.effect, out.fence);
        // An answer to a request that somebody else has repeated meanwhile says nothing about
        // theirs.
        let stale = out.row.sends != sends && !without_fence;
        if stale || !out.row.clone().apply(&event) {
            let body = json!({ "effect": effect.as_str() });
            self.note(dispatch, fence, "stale answer", &body);
            return Ok(None);
        }
        out.remote_id = remote_id.or(out.remote_id);
        let phase = self.moved(dispatch, id, &event, reason)?;
        // It may have been taken back while it was on its way, or in doubt.
        if phase == Phase::Ready && !self.dispatch(dispatch)?.state.wants(fence, effect) {
            return Ok(Some(self.moved(
                dispatch,
                id,
                &Event::Drop,
                String::new(),
            )?));
        }
        Ok(Some(phase))
    }

    /// Moves an effect on, and tells its dispatch where it has come to its end.
    fn moved(
        &mut self,
        dispatch: Uuid,
        id: Uuid,
        event: &Event,
        reason: String,
    ) -> Result<effect::Phase, LedgerError> {
        let out = self.effect(dispatch, id)?;
        if out.row.apply(event) {
            out.owner = None;
            out.changed = true;
            if !matches!(event, Event::Due { .. } | Event::Hasten) {
                out.row.why = without_nul(&reason);
            }
        }
        let (fence, effect, phase) = (out.fence, out.effect, out.row.phase);
        let found = matches!(event, Event::LookedFor { found: 1.., .. });
        let told = match (event, phase) {
            (Event::Lost { .. }, Phase::InDoubt) => Some("in doubt"),
            (Event::LookedFor { .. }, Phase::Ready) => Some("not found"),
            _ => None,
        };
        if let Some(kind) = told {
            let body = json!({ "effect": effect.as_str(), "reason": reason });
            self.note(dispatch, fence, kind, &body);
        }
        let how = match phase {
            Phase::Done if found => Settled::Found,
            Phase::Done => Settled::Done,
            Phase::Refused => Settled::Refused(reason),
            Phase::Ambiguous => Settled::Ambiguous,
            Phase::Dropped => Settled::Dropped,
            _ => return Ok(phase),
        };
        let event = machine::Event::Settled { fence, effect, how };
        self.record(dispatch, event, &Value::Null)?;
        Ok(phase)
    }

    async fn errands(&mut self, sql: Sql, limit: usize) -> Result<Vec<Errand>, Fault> {
        let params = [Param::Int(self.now), Param::Int(count(limit))];
        read::errands(&mut self.transaction, sql, &params).await
    }
}
