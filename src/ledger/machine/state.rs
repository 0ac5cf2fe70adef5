//! The state of a dispatch, and what is to be done about it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::event::{Closer, Event};
use super::phase::{Next, Phase};
use super::table::{TABLE, To};
use crate::task::{DispatchStatus, UnknownName, named};

named! {
    /// How an agent takes its tasks, as far as taking them back is concerned.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Channel, "channel", {
        /// By a comment and a label on an issue, which can be taken back.
        Label = "label",
        /// By an HTTP POST.
        Http = "http",
        /// In a process of ours.
        Local = "local",
    }
}

named! {
    /// What a dispatch does to the world outside.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Effect, "effect", {
        /// The comment that hands the task over.
        Comment = "comment",
        /// The label that makes the agent begin.
        Label = "label",
        /// The POST to an agent.
        Post = "post",
        /// The call of a handler of ours.
        Run = "run",
        /// The label taken off again.
        Unlabel = "unlabel",
        /// The comment that takes the task back.
        Withdrawal = "withdrawal",
        /// The issue opened again.
        Reopen = "reopen",
        /// The comment that asks a person.
        EscalationComment = "escalation_comment",
        /// The label that asks a person.
        EscalationLabel = "escalation_label",
        /// The call of the owner's own way to be told.
        Callback = "callback",
    }
}

/// What was asked for: the agents in the order in which they are to be tried, and the limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The route. Never empty where anything can be claimed.
    pub agents: Vec<String>,
    /// How often the task may go to a next agent.
    pub max_reassignments: u32,
    /// How often an agent may be tried again after a failure that may pass.
    pub max_retries: u32,
    /// Those of the route who may take the place of one that has no free slot.
    pub fallback: Vec<String>,
    /// Whether gates decide on the outcome.
    pub gated: bool,
    /// Whether there is an issue to write to.
    pub has_issue: bool,
    /// Whether the owner has a way of their own to be told when a person is asked.
    pub callback: bool,
}

impl Plan {
    /// A route over an issue, with two reassignments, one retry and no gates.
    #[must_use]
    pub fn new<A: Into<String>>(agents: impl IntoIterator<Item = A>) -> Self {
        Self {
            agents: agents.into_iter().map(Into::into).collect(),
            max_reassignments: 2,
            max_retries: 1,
            fallback: Vec::new(),
            gated: false,
            has_issue: true,
            callback: false,
        }
    }
}

/// An agent at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Who.
    pub agent: String,
    /// How it was reached.
    pub channel: Channel,
    /// Whether it bears being given the same task twice.
    pub idempotent: bool,
    /// Whether it gave a sign of life.
    pub started: bool,
    /// Who ended the task, once somebody did.
    pub closed_by: Option<Closer>,
}

/// What a dispatch has of its agent's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotHold {
    /// Nothing.
    #[default]
    None,
    /// One.
    Taken,
    /// One that is kept until the agent is known to have stopped.
    Draining,
}

/// What happens to a dispatch by itself when it stays as it is for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// It is tried again.
    Retry,
    /// The agent's time is over.
    Deadline,
    /// The gates' time is over.
    Review,
    /// The agent counts as silent. Every sign of life begins it anew.
    Grace,
}

/// What is to be done, in the transaction that stores the new state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Record an attempt.
    BeginAttempt {
        /// Whose.
        agent: String,
        /// Under which fence.
        fence: u64,
    },
    /// Record its end.
    EndAttempt {
        /// Which one.
        fence: u64,
        /// How it ended: what comes next, or nothing where the issue is gone.
        outcome: Option<Next>,
    },
    /// Take a free slot of the agent's.
    TakeSlot {
        /// Whose.
        agent: String,
        /// For which attempt.
        fence: u64,
    },
    /// Keep the slot until the agent is silent.
    DrainSlot {
        /// Of which attempt.
        fence: u64,
    },
    /// Give the slot back.
    FreeSlot {
        /// Of which attempt.
        fence: u64,
    },
    /// Write an effect to the outbox, behind those of the same fence.
    Send {
        /// Of which attempt.
        fence: u64,
        /// Which one.
        effect: Effect,
    },
    /// Call off the effects of an attempt that were not sent yet.
    DropUnsent {
        /// Of which attempt.
        fence: u64,
    },
}

/// A dispatch, as far as its life is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    /// Where it stands.
    pub phase: Phase,
    /// Raised by every attempt; results of an older one are stale.
    pub fence: u64,
    /// By how much more than one the next attempt raises it: in a ledger that was restored from a
    /// copy, fences may be in use that it does not know.
    #[serde(default)]
    pub gap: u64,
    /// Why it is where it is. Never empty while it waits.
    pub reason: String,
    /// What was asked for.
    pub plan: Plan,
    /// The place in the route.
    pub at: usize,
    /// How often it went to a next agent.
    pub reassignments: u32,
    /// How often the agent was tried again.
    pub retries: u32,
    /// The live attempt.
    pub attempt: Option<Attempt>,
    /// What it has of the agent's slots.
    pub slot: SlotHold,
    /// What comes after the withdrawal.
    pub next: Option<Next>,
    /// Where it goes on when it is released.
    pub resume: Option<Phase>,
    /// The effects that are not settled, each with its fence.
    pub open: BTreeSet<(u64, Effect)>,
}

impl Dispatch {
    /// A dispatch as it is submitted.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            phase: Phase::Queued,
            fence: 0,
            gap: 0,
            reason: "submitted".to_owned(),
            plan,
            at: 0,
            reassignments: 0,
            retries: 0,
            attempt: None,
            slot: SlotHold::None,
            next: None,
            resume: None,
            open: BTreeSet::new(),
        }
    }

    /// The agent whose turn it is.
    #[must_use]
    pub fn agent(&self) -> Option<&str> {
        self.plan.agents.get(self.at).map(String::as_str)
    }

    /// Its status. While it is held or withdrawn, that of its attempt.
    #[must_use]
    pub fn status(&self) -> DispatchStatus {
        self.phase.status().unwrap_or(match &self.attempt {
            None => DispatchStatus::Pending,
            Some(attempt) if attempt.started => DispatchStatus::InProgress,
            Some(_) => DispatchStatus::Assigned,
        })
    }

    /// Whether an effect that did not happen yet is still to happen. A hand-over is not, once its
    /// attempt is taken back.
    #[must_use]
    pub fn wants(&self, fence: u64, effect: Effect) -> bool {
        let hands_over = matches!(
            effect,
            Effect::Comment | Effect::Label | Effect::Post | Effect::Run
        );
        let live = self.attempt.is_some()
            && self.fence == fence
            && self.phase != Phase::Withdrawing
            && self.resume != Some(Phase::Withdrawing);
        live || !hands_over
    }

    /// Gives it another plan, from whose first agent on it goes; only while it is not handed out.
    #[must_use = "false says that it is handed out, or has ended"]
    pub fn replan(&mut self, plan: Plan) -> bool {
        if self.attempt.is_some() || self.phase.is_terminal() {
            return false;
        }
        self.plan = plan;
        (self.at, self.reassignments, self.retries) = (0, 0, 0);
        true
    }

    /// What it waits for, beside what others do.
    #[must_use]
    pub fn timer(&self) -> Option<Timer> {
        match self.phase {
            Phase::RetryWait => Some(Timer::Retry),
            Phase::HandingOver | Phase::HandedOver | Phase::Working => Some(Timer::Deadline),
            Phase::Reviewing => Some(Timer::Review),
            Phase::Withdrawing | Phase::Held if self.slot == SlotHold::Draining => {
                Some(Timer::Grace)
            }
            _ => None,
        }
    }

    /// The event that says that the time of its [`timer`](Self::timer) has come.
    #[must_use]
    pub fn due(&self) -> Option<Event> {
        let fence = self.fence;
        Some(match self.timer()? {
            Timer::Retry => Event::Due,
            Timer::Deadline | Timer::Review => Event::DeadlinePassed { fence },
            Timer::Grace => Event::Silent { fence },
        })
    }

    /// Takes an event: what is to be done, or `None` where the event is stale or means nothing
    /// here, and then nothing changed.
    #[must_use = "None says that the event was stale"]
    pub fn apply(&mut self, event: &Event) -> Option<Vec<Command>> {
        if matches!(event, Event::Confirmed | Event::Withdrawn) {
            return None; // Only the machine itself knows when.
        }
        let mut commands = Vec::new();
        self.step(event, &mut commands)?;
        while let Some(follows) = self.follows() {
            self.step(&follows, &mut commands)?;
        }
        Some(commands)
    }

    /// What follows from the state by itself.
    fn follows(&self) -> Option<Event> {
        let settled = !self.open.iter().any(|(fence, _)| *fence == self.fence);
        match self.phase {
            Phase::HandingOver if settled => Some(Event::Confirmed),
            Phase::Withdrawing if settled && self.slot != SlotHold::Draining => {
                Some(Event::Withdrawn)
            }
            _ => None,
        }
    }

    fn step(&mut self, event: &Event, commands: &mut Vec<Command>) -> Option<()> {
        if event.fence().is_some_and(|fence| fence != self.fence) {
            return None;
        }
        let row = TABLE.iter().find(|row| row.holds(self, event))?;
        let to = match row.to {
            To::Phase(phase) => phase,
            To::Same => self.phase,
            To::Resumed => self.resume?,
        };
        for action in row.then {
            action.take(self, event, commands);
        }
        self.phase = to;
        if to != Phase::Held {
            self.resume = None;
        }
        if to != Phase::Withdrawing && self.resume != Some(Phase::Withdrawing) {
            self.next = None;
        }
        Some(())
    }
}
