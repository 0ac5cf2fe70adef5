//! An event of the state machine, as rows.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::group::{Group, Held, Out};
use super::{millis, signed};
use crate::ledger::effect::{self, Repeat, Row};
use crate::ledger::machine::{Command, Effect, Event, Phase, Settled, Timer};
use crate::ledger::store::{LedgerError, Recorded, without_nul};

impl Group<'_> {
    /// Tells a dispatch what happened, and does what follows.
    pub(super) fn record(
        &mut self,
        id: Uuid,
        event: Event,
        evidence: &Value,
    ) -> Result<Recorded, LedgerError> {
        self.dispatch(id)?;
        let Some(Ok(mut held)) = self.held.remove(&id) else {
            return Err(LedgerError::Unknown(format!("dispatch {id}")));
        };
        let came = self.take(id, &mut held, event, evidence);
        self.held.insert(id, Ok(held));
        Ok(came)
    }

    /// Applies an event, and those that follow because effects were called off.
    fn take(&mut self, id: Uuid, held: &mut Held, event: Event, evidence: &Value) -> Recorded {
        let before = (held.state.timer(), held.state.fence);
        let mut alive = false;
        let mut events = vec![event];
        let mut came = None;
        while let Some(event) = events.pop() {
            let fence = event.fence().unwrap_or(held.state.fence);
            let kind = event.kind().as_str();
            let reason = event.reason();
            let Some(commands) = self.apply(held, &event) else {
                let phase = held.state.phase.as_str();
                let body = json!({ "event": kind, "reason": reason, "phase": phase });
                self.note(id, fence, "stale", &body);
                came.get_or_insert(Recorded::Stale);
                continue;
            };
            alive |= matches!(event, Event::SignOfLife { .. });
            let mut body = json!({ "reason": reason, "phase": held.state.phase.as_str() });
            if let Some(body) = body.as_object_mut() {
                if came.is_none() && !evidence.is_null() {
                    body.insert("evidence".to_owned(), evidence.clone());
                }
                if let Event::Settled { fence, effect, how } = &event {
                    body.extend(settled(held, *fence, *effect, how));
                }
            }
            self.note(id, held.state.fence, kind, &body);
            for command in &commands {
                self.carry_out(id, held, command, &mut events);
            }
            came.get_or_insert(Recorded::Applied(held.state.phase));
        }
        if came == Some(Recorded::Stale) {
            return Recorded::Stale;
        }
        held.changed = true;
        let after = (held.state.timer(), held.state.fence);
        // Whoever falls silent must do so anew after every sign of life.
        if before != after || (after.0 == Some(Timer::Grace) && alive) {
            held.run_at = self.timer(held);
        }
        Recorded::Applied(held.state.phase)
    }

    fn apply(&self, held: &mut Held, event: &Event) -> Option<Vec<Command>> {
        let commands = if self.writer.options.without_fence {
            held.state.apply(&event.of(held.state.fence))?
        } else {
            held.state.apply(event)?
        };
        // What others wrote may hold what no database keeps in a text.
        if held.state.reason.contains('\0') {
            held.state.reason = without_nul(&held.state.reason);
        }
        Some(commands)
    }

    /// When the timer of its state goes off.
    fn timer(&self, held: &Held) -> Option<i64> {
        let options = &self.writer.options;
        let after = |time| Some(self.now.saturating_add(millis(time)));
        match held.state.timer()? {
            Timer::Deadline => held.deadline_at,
            Timer::Retry => after(backoff(options.backoff, held.state.retries)),
            Timer::Review => after(options.review),
            Timer::Grace => after(options.grace),
        }
    }

    /// Does what the machine asks for. Effects that are called off are events to come.
    fn carry_out(&mut self, id: Uuid, held: &mut Held, command: &Command, events: &mut Vec<Event>) {
        let text = id.to_string();
        match command {
            Command::BeginAttempt { agent, fence } => {
                let known = self.agent(agent);
                let terms = known.map_or(&Value::Null, |agent| &agent.terms).to_string();
                let time = known.map_or(0, |agent| agent.deadline);
                let time = i64::try_from(time).unwrap_or(i64::MAX);
                held.deadline_at = Some(self.now.saturating_add(time));
                self.changes.begun.push([
                    text.into(),
                    signed(*fence).into(),
                    agent.as_str().into(),
                    self.now.into(),
                    terms.into(),
                ]);
            }
            Command::EndAttempt { fence, outcome } => {
                let outcome = outcome.map_or(Phase::IssueGone.as_str(), |next| next.as_str());
                self.changes.ended.push([
                    text.into(),
                    signed(*fence).into(),
                    self.now.into(),
                    outcome.into(),
                    held.state.reason.as_str().into(),
                ]);
            }
            Command::TakeSlot { agent, fence } => {
                // The claim made sure that there is one.
                if let Some(slot) = self.slots.get_mut(agent).and_then(Vec::pop) {
                    self.changes.taken.push([
                        agent.as_str().into(),
                        slot.into(),
                        text.into(),
                        signed(*fence).into(),
                    ]);
                }
            }
            Command::DrainSlot { fence } => {
                let slot = [text.into(), signed(*fence).into()];
                self.changes.drained.push(slot);
            }
            Command::FreeSlot { fence } => {
                let slot = [text.into(), signed(*fence).into()];
                self.changes.freed.push(slot);
            }
            Command::Send { fence, effect } => {
                let idempotent = held.state.attempt.as_ref().is_some_and(|a| a.idempotent);
                let quarantine = millis(self.writer.options.quarantine);
                // Behind what is not settled, and behind what was settled before.
                let last = held.outbox.iter().map(|out| out.position).max();
                let behind = last.map_or(0, |last| last.saturating_add(1));
                held.outbox.push(Out {
                    id: Uuid::now_v7(),
                    fence: *fence,
                    effect: *effect,
                    nonce: Uuid::new_v4(),
                    row: Row::new(repeat(*effect, idempotent), quarantine),
                    position: self.now.max(behind),
                    owner: None,
                    remote_id: None,
                    new: true,
                    changed: false,
                });
            }
            Command::DropUnsent { fence } => {
                for out in &mut held.outbox {
                    // One on its way already is settled first, and then undone.
                    if out.fence == *fence && out.row.apply(&effect::Event::Drop) {
                        out.changed = true;
                        events.push(Event::Settled {
                            fence: *fence,
                            effect: out.effect,
                            how: Settled::Dropped,
                        });
                    }
                }
            }
        }
    }
}

/// Which effect came to its end, how, and under which number the server has it.
fn settled(held: &Held, fence: u64, effect: Effect, how: &Settled) -> Map<String, Value> {
    let mut is = held.outbox.iter().rev();
    let out = is.find(|out| out.fence == fence && out.effect == effect);
    let mut said = Map::new();
    said.insert("effect".to_owned(), effect.as_str().into());
    said.insert("how".to_owned(), how.as_str().into());
    if let Some(id) = out.and_then(|out| out.remote_id) {
        said.insert("remote_id".to_owned(), id.into());
    }
    said
}

/// How an effect in doubt is treated.
const fn repeat(effect: Effect, idempotent: bool) -> Repeat {
    match effect {
        Effect::Callback => Repeat::SameKey,
        Effect::Post if idempotent => Repeat::SameKey,
        Effect::Post | Effect::Run => Repeat::Never,
        _ => Repeat::LookUp,
    }
}

/// How long to wait before a retry: twice as long each time, up to an hour or the first wait, and
/// up to twice that by chance, so that not all come at once.
fn backoff(first: Duration, retries: u32) -> Duration {
    let waits = ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(first.max(Duration::from_secs(3600)))
        .with_jitter()
        .without_max_times();
    let before = usize::try_from(retries.saturating_sub(1)).unwrap_or(usize::MAX);
    waits.build().nth(before.min(64)).unwrap_or(first)
}
