//! Why something waits, as it is found out when somebody asks.

use super::{owners, statements as sql};
use crate::ledger::database::{Fault, Param, Transaction};
use crate::ledger::effect::{self, Repeat, Row};
use crate::ledger::machine::{Dispatch, Phase};
use crate::ledger::options::Options;
use crate::ledger::store::{Agent, LedgerError};

/// What there is to know of everybody, to tell why something waits.
pub(super) struct Around {
    /// The database's time.
    now: i64,
    /// Whether any process does the work.
    worked: bool,
    agents: Vec<Agent>,
    /// Agents that processes hand tasks to.
    handled: Vec<String>,
    /// Agents that get nothing for now.
    pauses: Vec<String>,
}

pub(super) async fn around(
    transaction: &mut Transaction<'_>,
    options: &Options,
) -> std::result::Result<Around, Fault> {
    let (now, _) = owners::scene(transaction, options).await?;
    let (_, agents) = owners::in_force(transaction).await?;
    let lists: Vec<(String,)> = transaction.fetch(sql::HANDLED, &[Param::Int(now)]).await?;
    let worked = !lists.is_empty();
    let mut handled = Vec::new();
    for (list,) in lists {
        handled.extend(serde_json::from_str::<Vec<String>>(&list)?);
    }
    let pauses: Vec<(String,)> = transaction.fetch(sql::PAUSES, &[]).await?;
    Ok(Around {
        now,
        worked,
        agents,
        handled,
        pauses: pauses.into_iter().map(|(agent,)| agent).collect(),
    })
}

impl Around {
    /// Why it waits; empty where it does not. `taken` are the slots of its agent, `effect` is the one
    /// whose turn it is and its row, `gates` what they wait for.
    pub(super) fn why(
        &self,
        state: &Dispatch,
        taken: i64,
        effect: Option<&str>,
        gates: Option<String>,
    ) -> Result<String, LedgerError> {
        let own = match (state.phase, state.agent()) {
            (Phase::Queued, Some(name)) => why_queued(self, taken, &state.reason, name),
            (Phase::Reviewing, _) => gates.map_or_else(String::new, |why| format!("gates: {why}")),
            (phase, _) if phase.is_waiting() => state.reason.clone(),
            _ => String::new(),
        };
        // Nothing is sent while it is held.
        let effect = effect.filter(|_| state.phase != Phase::Held);
        let effect = effect.and_then(|effect| effect.split_once(' '));
        let waits = match effect {
            Some((name, row)) => self.why_unsettled(state, name, &serde_json::from_str(row)?),
            None => None,
        };
        Ok(match waits {
            None => own,
            Some(why) if own.is_empty() && !state.phase.is_terminal() => why,
            // How it came to its end is still the first thing to know.
            Some(why) if own.is_empty() => format!("{}; {why}", state.reason),
            Some(why) => format!("{own}; {why}"),
        })
    }

    /// Why an effect is not settled yet; nothing where it is on its way, or about to be.
    fn why_unsettled(&self, state: &Dispatch, effect: &str, row: &Row) -> Option<String> {
        let agent = state.attempt.as_ref().map_or("", |live| &live.agent);
        let agent = if agent.is_empty() {
            String::new()
        } else {
            format!(" for {agent}")
        };
        let effect = format!("the {}{agent}", effect.replace('_', " "));
        let said = if row.why.is_empty() {
            String::new()
        } else {
            format!(": {}", row.why)
        };
        let time = clock(row.not_before);
        let early = row.not_before > self.now;
        Some(match row.phase {
            effect::Phase::Ready if early => format!("{effect} waits until {time}{said}"),
            effect::Phase::InDoubt if early => {
                let then = match row.repeat {
                    Repeat::LookUp => "looked for",
                    Repeat::SameKey => "sent again",
                    Repeat::Never => "given up",
                };
                format!("whether {effect} arrived is not known; it is {then} after {time}{said}")
            }
            effect::Phase::Settling if early => {
                format!("{effect} was sent more than once; it is looked at again after {time}")
            }
            effect::Phase::Ready | effect::Phase::InDoubt if !self.worked => {
                format!("{effect} waits for a process that does the work")
            }
            _ => return None,
        })
    }
}

/// The time of the day, rounded up.
fn clock(milliseconds: i64) -> String {
    let seconds = milliseconds.saturating_add(999).div_euclid(1000);
    let (hours, minutes) = (seconds.div_euclid(3600), seconds.div_euclid(60));
    format!(
        "{:02}:{:02}:{:02} UTC",
        hours.rem_euclid(24),
        minutes.rem_euclid(60),
        seconds.rem_euclid(60)
    )
}

/// Why nobody has claimed it.
fn why_queued(around: &Around, taken: i64, reason: &str, name: &str) -> String {
    let Some(agent) = around.agents.iter().find(|agent| agent.name == name) else {
        return match around.agents.is_empty() {
            true => format!("{reason}; no process has come yet that does the work"),
            false => format!("there is no agent {name} any more"),
        };
    };
    if around.pauses.iter().any(String::is_empty) {
        return "everything is paused".to_owned();
    }
    if around.pauses.iter().any(|paused| paused == name) {
        return format!("{name} is paused");
    }
    if !around.handled.iter().any(|handled| handled == name) {
        return format!("{reason}; no running process handles {name}");
    }
    if taken >= i64::from(agent.max_concurrent) {
        let slots = agent.max_concurrent;
        return format!("no free slot of {name}: {taken} of {slots} are taken");
    }
    format!("{reason}; not claimed yet")
}
