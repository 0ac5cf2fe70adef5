//! What can happen to a dispatch.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::state::{Channel, Effect};
use crate::task::{UnknownName, named};

/// How an effect came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It happened, once.
    Done,
    /// The same, as was seen when it was looked for.
    Found,
    /// It will not happen, for that reason.
    Refused(String),
    /// It cannot be found out whether it happened.
    Ambiguous,
    /// It was called off before it was sent.
    Dropped,
}

impl Settled {
    /// In one word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Found => "found",
            Self::Refused(_) => "refused",
            Self::Ambiguous => "ambiguous",
            Self::Dropped => "dropped",
        }
    }
}

/// Who ended an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closer {
    /// The agent, or the merge of its pull request.
    Agent,
    /// Somebody else, whose decision is accepted and never undone.
    Person,
}

/// What happened. Events about an attempt name its fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A free slot of an agent was found: of the one whose turn it is, or of one that takes its place
    /// because it is busy.
    Claimed {
        /// Whose.
        agent: String,
        /// How that agent takes tasks.
        channel: Channel,
        /// Whether it bears being given the same task twice.
        idempotent: bool,
    },
    /// It cannot be claimed, for that reason.
    Blocked(String),
    /// It is not to be tried before some time, for that reason.
    Postponed(String),
    /// The time to wait for has come.
    Due,
    /// Nothing more may be done, for that reason: the repo moved, say.
    Hold(String),
    /// What held it is over.
    Release,
    /// An effect is settled.
    Settled {
        /// Of which attempt it was.
        fence: u64,
        /// Which one.
        effect: Effect,
        /// How.
        how: Settled,
    },
    /// The agent did something.
    SignOfLife {
        /// The attempt.
        fence: u64,
    },
    /// The task was ended.
    Finished {
        /// The attempt.
        fence: u64,
        /// By whom.
        by: Closer,
    },
    /// The agent says that it failed.
    AgentFailed {
        /// The attempt.
        fence: u64,
        /// Whether the same may well succeed later.
        transient: bool,
        /// Why.
        reason: String,
    },
    /// Every gate passed.
    GatesPassed {
        /// The attempt.
        fence: u64,
    },
    /// A gate failed.
    GatesFailed {
        /// The attempt.
        fence: u64,
        /// Which, and why.
        reason: String,
    },
    /// The time given for the phase is over.
    DeadlinePassed {
        /// The attempt.
        fence: u64,
    },
    /// The process that ran it is dead.
    WorkerLost {
        /// The attempt.
        fence: u64,
    },
    /// Somebody other than the agent took our label off.
    LabelTaken {
        /// The attempt.
        fence: u64,
        /// Who.
        by: String,
    },
    /// Somebody gave the task to another agent by hand.
    Reassigned {
        /// The attempt.
        fence: u64,
        /// To whom.
        agent: String,
        /// By whom.
        by: String,
    },
    /// The agent has been silent for long enough, or says that it stopped.
    Silent {
        /// The attempt.
        fence: u64,
    },
    /// Every effect of the hand-over is settled. Raised by the machine itself.
    Confirmed,
    /// Nothing is open any more and the slot is not draining. Raised by the machine itself.
    Withdrawn,
    /// The issue does not exist.
    IssueGone,
    /// Somebody calls it off.
    Cancel,
    /// Somebody wants it tried again.
    Retry,
}

named! {
    /// The kinds of [`Event`].
    EventKind, "event", {
        /// [`Event::Claimed`].
        Claimed = "claimed",
        /// [`Event::Blocked`].
        Blocked = "blocked",
        /// [`Event::Postponed`].
        Postponed = "postponed",
        /// [`Event::Due`].
        Due = "due",
        /// [`Event::Hold`].
        Hold = "hold",
        /// [`Event::Release`].
        Release = "release",
        /// [`Event::Settled`].
        Settled = "settled",
        /// [`Event::SignOfLife`].
        SignOfLife = "sign of life",
        /// [`Event::Finished`].
        Finished = "finished",
        /// [`Event::AgentFailed`].
        AgentFailed = "agent failed",
        /// [`Event::GatesPassed`].
        GatesPassed = "gates passed",
        /// [`Event::GatesFailed`].
        GatesFailed = "gates failed",
        /// [`Event::DeadlinePassed`].
        DeadlinePassed = "deadline passed",
        /// [`Event::WorkerLost`].
        WorkerLost = "worker lost",
        /// [`Event::LabelTaken`].
        LabelTaken = "label taken",
        /// [`Event::Reassigned`].
        Reassigned = "reassigned",
        /// [`Event::Silent`].
        Silent = "silent",
        /// [`Event::Confirmed`].
        Confirmed = "confirmed",
        /// [`Event::Withdrawn`].
        Withdrawn = "withdrawn",
        /// [`Event::IssueGone`].
        IssueGone = "issue gone",
        /// [`Event::Cancel`].
        Cancel = "cancel",
        /// [`Event::Retry`].
        Retry = "retry",
    }
}

impl Event {
    /// Its kind, by which it is found in the table.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Claimed { .. } => EventKind::Claimed,
            Self::Blocked(_) => EventKind::Blocked,
            Self::Postponed(_) => EventKind::Postponed,
            Self::Due => EventKind::Due,
            Self::Hold(_) => EventKind::Hold,
            Self::Release => EventKind::Release,
            Self::Settled { .. } => EventKind::Settled,
            Self::SignOfLife { .. } => EventKind::SignOfLife,
            Self::Finished { .. } => EventKind::Finished,
            Self::AgentFailed { .. } => EventKind::AgentFailed,
            Self::GatesPassed { .. } => EventKind::GatesPassed,
            Self::GatesFailed { .. } => EventKind::GatesFailed,
            Self::DeadlinePassed { .. } => EventKind::DeadlinePassed,
            Self::WorkerLost { .. } => EventKind::WorkerLost,
            Self::LabelTaken { .. } => EventKind::LabelTaken,
            Self::Reassigned { .. } => EventKind::Reassigned,
            Self::Silent { .. } => EventKind::Silent,
            Self::Confirmed => EventKind::Confirmed,
            Self::Withdrawn => EventKind::Withdrawn,
            Self::IssueGone => EventKind::IssueGone,
            Self::Cancel => EventKind::Cancel,
            Self::Retry => EventKind::Retry,
        }
    }

    /// The attempt that it is about. What is settled is judged by what is open instead, for an
    /// effect may outlive its attempt.
    #[must_use]
    pub const fn fence(&self) -> Option<u64> {
        match self {
            Self::SignOfLife { fence }
            | Self::Finished { fence, .. }
            | Self::AgentFailed { fence, .. }
            | Self::GatesPassed { fence }
            | Self::GatesFailed { fence, .. }
            | Self::DeadlinePassed { fence }
            | Self::WorkerLost { fence }
            | Self::LabelTaken { fence, .. }
            | Self::Reassigned { fence, .. }
            | Self::Silent { fence } => Some(*fence),
            _ => None,
        }
    }

    /// The same about another attempt.
    pub(in crate::ledger) fn of(&self, attempt: u64) -> Self {
        let mut event = self.clone();
        match &mut event {
            Self::SignOfLife { fence }
            | Self::Finished { fence, .. }
            | Self::AgentFailed { fence, .. }
            | Self::GatesPassed { fence }
            | Self::GatesFailed { fence, .. }
            | Self::DeadlinePassed { fence }
            | Self::WorkerLost { fence }
            | Self::LabelTaken { fence, .. }
            | Self::Reassigned { fence, .. }
            | Self::Silent { fence } => *fence = attempt,
            _ => {}
        }
        event
    }

    /// Why it happened, as a dispatch that waits because of it will say.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Blocked(reason)
            | Self::Postponed(reason)
            | Self::Hold(reason)
            | Self::AgentFailed { reason, .. }
            | Self::GatesFailed { reason, .. } => reason.clone(),
            Self::Settled {
                effect,
                how: Settled::Refused(reason),
                ..
            } => format!("{effect} refused: {reason}"),
            Self::Settled {
                effect,
                how: Settled::Ambiguous,
                ..
            } => format!("whether the {effect} arrived is not known"),
            Self::Settled { effect, how, .. } => format!("{effect} {}", how.as_str()),
            Self::Finished { .. } | Self::GatesPassed { .. } => "done".to_owned(),
            Self::LabelTaken { by, .. } => format!("{by} took the label off"),
            Self::Reassigned { agent, by, .. } => format!("{by} gave it to {agent}"),
            Self::Claimed { agent, .. } => format!("claimed for {agent}"),
            Self::WorkerLost { .. } => "the process that ran it was lost".to_owned(),
            Self::DeadlinePassed { .. } => "the deadline passed".to_owned(),
            Self::Release => "released".to_owned(),
            Self::Due => "waited long enough".to_owned(),
            Self::Retry => "to be tried again".to_owned(),
            Self::Cancel => "cancelled".to_owned(),
            other => other.kind().to_string(),
        }
    }
}
