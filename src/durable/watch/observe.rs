//! What the history of an issue says about the attempt that waits for it. No I/O.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::durable::Terms;
use crate::durable::effects::MARK;
use crate::gitea::{TimelineEntry, User};
use crate::ledger::Watched;
use crate::ledger::machine::{Closer, Event, Phase};

/// So many seconds after a merge the server may take to close what it closes.
const CLOSES_WITHIN: i64 = 60;
/// What an agent writes, on a line of its own, when it has stopped.
const STOPPED: &str = "/stopped";

/// An agent, as far as others can be told apart by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownAgent {
    /// Its name in plans.
    pub name: String,
    /// The label that makes it begin.
    pub label: Option<String>,
    /// Its account.
    pub gitea_user: Option<String>,
}

/// An attempt, and what is needed to understand what others do to its issue.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The attempt, as it stood before the history was asked for.
    pub watched: &'a Watched,
    /// The terms of its agent.
    pub terms: &'a Terms,
    /// Our own account.
    pub me: &'a User,
    /// Every agent there is.
    pub agents: &'a [KnownAgent],
    /// The greatest number in the history that was looked at before, under the same fence; 0 where
    /// none was.
    pub seen: i64,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// What happened to the dispatch, each with its evidence, in this order.
    pub events: Vec<(Event, Value)>,
    /// The greatest number in the history.
    pub seen: i64,
}

/// Reads an issue's history, which must have been asked for after the attempt was looked up.
///
/// Only what came after the comment that handed the task over counts. What the phase already says
/// is not said again, so that no event is stale when it is recorded; of what contradicts itself
/// (closed and opened again, a label taken off and put back) the last word counts.
///
/// **Whose.** The agent is known by its account. One without an account of its own in its terms is
/// taken to be whoever is not us where the label is taken off; a comment may then be anybody's and
/// says nothing, and who closes the issue is a person. An agent that shares our account is told
/// apart by the marker in our comments, and by that we close no issue.
#[must_use]
pub fn observe(case: &Case<'_>, timeline: &[TimelineEntry]) -> Observed {
    let Some(handover) = case.watched.handover else {
        return Observed::default();
    };
    // By number, each once: pages may overlap where something was removed between them.
    let news: BTreeMap<i64, &TimelineEntry> = timeline
        .iter()
        .filter(|entry| entry.id > handover)
        .map(|entry| (entry.id, entry))
        .collect();
    let mut observed = Observed {
        events: Vec::new(),
        seen: news.keys().next_back().copied().unwrap_or(handover),
    };
    let signs = || news.values().copied().filter(|entry| case.is_sign(entry));
    let fence = case.watched.fence;
    match case.watched.phase {
        Phase::HandingOver if !case.watched.started => {
            if let Some(sign) = signs().next() {
                observed.push(Event::SignOfLife { fence }, evidence(sign));
            }
        }
        Phase::HandedOver | Phase::Working => {
            if let Some((by, evidence)) = case.closed(&news, timeline) {
                observed.push(Event::Finished { fence, by }, evidence);
                return observed;
            }
            if let Some(sign) = signs().next().filter(|_| !case.watched.started) {
                observed.push(Event::SignOfLife { fence }, evidence(sign));
            }
            let taken = || case.label_taken(&news);
            if let Some((event, entry)) = case.reassigned(&news).or_else(taken) {
                observed.push(event, evidence(entry));
            }
        }
        _ if case.watched.draining => {
            if let Some(last) = signs().rfind(|entry| entry.id > case.seen) {
                let event = if says_stopped(last) {
                    Event::Silent { fence }
                } else {
                    Event::SignOfLife { fence }
                };
                observed.push(event, evidence(last));
            }
        }
        _ => {}
    }
    observed
}

impl Observed {
    fn push(&mut self, event: Event, evidence: Value) {
        self.events.push((event, evidence));
    }
}

type News<'a> = BTreeMap<i64, &'a TimelineEntry>;

impl Case<'_> {
    fn is_me(&self, user: &User) -> bool {
        user.id == self.me.id
    }

    /// Whether the agent works under our account.
    fn shared(&self) -> bool {
        self.terms
            .gitea_user
            .as_ref()
            .is_some_and(|user| self.me.is(user))
    }

    fn is_agent(&self, user: &User) -> bool {
        self.terms
            .gitea_user
            .as_ref()
            .is_some_and(|agent| user.is(agent))
    }

    /// Whether it takes our label off or puts it on.
    fn is_our_label(&self, entry: &TimelineEntry) -> bool {
        let ours = self.terms.label.as_deref();
        entry.kind == "label" && ours.is_some() && label(entry) == ours
    }

    /// Whether it is the agent who took our label off. Where we share its account that cannot be
    /// told while we take it off ourselves.
    fn agent_took_label(&self, entry: &TimelineEntry) -> bool {
        let taken = self.is_our_label(entry) && entry.body.is_empty();
        taken
            && if self.terms.gitea_user.is_none() {
                !self.is_me(&entry.user)
            } else {
                self.is_agent(&entry.user) && !(self.shared() && self.watched.draining)
            }
    }

    /// Whether the agent did it, and not one of us in its name.
    fn is_sign(&self, entry: &TimelineEntry) -> bool {
        match entry.kind.as_str() {
            "label" => self.agent_took_label(entry),
            "comment" => {
                self.is_agent(&entry.user) && !(self.shared() && entry.body.contains(MARK))
            }
            "pull_ref" | "commit_ref" | "close" => self.is_agent(&entry.user),
            // The only one who opens an issue again in its name may be ourselves.
            "reopen" => self.is_agent(&entry.user) && !self.shared(),
            _ => false,
        }
    }

    /// Who ended the task, where it is ended.
    fn closed(&self, news: &News<'_>, timeline: &[TimelineEntry]) -> Option<(Closer, Value)> {
        let ends = |kind: &str| matches!(kind, "close" | "reopen" | "merge_pull");
        let last = news.values().rfind(|entry| ends(&entry.kind))?;
        if last.kind == "reopen" {
            return None;
        }
        let mut evidence = evidence(last);
        if let Some(pull) = timeline.iter().find(|entry| closes_by_merge(entry, last)) {
            if let (Some(fields), Some(pull)) = (evidence.as_object_mut(), &pull.ref_issue) {
                fields.insert("pull_request".to_owned(), pull.number.into());
            }
            return Some((Closer::Agent, evidence));
        }
        let by = if last.kind == "merge_pull" || self.is_agent(&last.user) {
            Closer::Agent
        } else {
            Closer::Person
        };
        Some((by, evidence))
    }

    /// Whether somebody put another agent's label on, and neither we nor they themselves undid it.
    fn reassigned<'a>(&self, news: &News<'a>) -> Option<(Event, &'a TimelineEntry)> {
        let ours = self.terms.label.as_deref();
        let others = |entry: &TimelineEntry| {
            let label = label(entry).filter(|label| Some(*label) != ours)?;
            self.agents.iter().find(|agent| {
                agent.name != self.watched.agent && agent.label.as_deref() == Some(label)
            })
        };
        let mut found = None;
        for entry in news.values().copied().filter(|entry| entry.kind == "label") {
            let Some(agent) = others(entry) else {
                continue;
            };
            if !entry.body.is_empty() {
                // Ours may be that of an earlier attempt, come late.
                if !self.is_me(&entry.user) {
                    found = Some((agent, entry));
                }
            } else if let Some((known, put)) = found
                && known.label == agent.label
                && !is_begun(known, put, entry)
            {
                found = None;
            }
        }
        let (agent, entry) = found?;
        let event = Event::Reassigned {
            fence: self.watched.fence,
            agent: agent.name.clone(),
            by: account(&entry.user),
        };
        Some((event, entry))
    }

    /// Whether our label is off, and somebody else than the agent took it.
    fn label_taken<'a>(&self, news: &News<'a>) -> Option<(Event, &'a TimelineEntry)> {
        let last = news
            .values()
            .copied()
            .rfind(|entry| self.is_our_label(entry))?;
        if !last.body.is_empty() || self.agent_took_label(last) {
            return None;
        }
        let event = Event::LabelTaken {
            fence: self.watched.fence,
            by: account(&last.user),
        };
        Some((event, last))
    }
}

/// Whether taking the label off again means that the other agent has begun, and not that whoever
/// put it on thought better of it.
fn is_begun(agent: &KnownAgent, put: &TimelineEntry, off: &TimelineEntry) -> bool {
    match &agent.gitea_user {
        Some(user) => off.user.is(user),
        None => off.user.id != put.user.id,
    }
}

/// Whether this names a pull request whose merge closed the issue.
fn closes_by_merge(reference: &TimelineEntry, close: &TimelineEntry) -> bool {
    if reference.kind != "pull_ref" || reference.ref_action != "closes" {
        return false;
    }
    let pull = reference
        .ref_issue
        .as_ref()
        .and_then(|issue| issue.pull_request.as_ref());
    let Some(pull) = pull.filter(|pull| pull["merged"] == true) else {
        return false;
    };
    let merged: Option<Timestamp> = pull["merged_at"].as_str().and_then(|at| at.parse().ok());
    match (merged, close.created_at.parse::<Timestamp>()) {
        (Some(merged), Ok(closed)) => {
            (0..=CLOSES_WITHIN).contains(&(closed.as_second() - merged.as_second()))
        }
        // A server that does not say when.
        _ => true,
    }
}

fn says_stopped(entry: &TimelineEntry) -> bool {
    let stopped = |line: &str| line.trim().eq_ignore_ascii_case(STOPPED);
    entry.kind == "comment" && entry.body.lines().any(stopped)
}

fn label(entry: &TimelineEntry) -> Option<&str> {
    entry.label.as_ref().map(|label| label.name.as_str())
}

/// The name of an account, fit to stand in a comment.
fn account(user: &User) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = user.login.as_str();
    if name.is_empty() || name.len() > 100 || !name.chars().all(fits) {
        return "somebody".to_owned();
    }
    name.to_owned()
}

fn evidence(entry: &TimelineEntry) -> Value {
    json!({
        "entry": entry.id,
        "kind": entry.kind.chars().take(100).collect::<String>(),
        "by": account(&entry.user),
        "at": entry.created_at.chars().take(100).collect::<String>(),
    })
}
