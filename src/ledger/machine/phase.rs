//! Where a dispatch stands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::task::{DispatchStatus, UnknownName, named};

named! {
    /// Where a dispatch stands, more finely than its [`DispatchStatus`].
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Phase, "phase", {
        /// Not handed out; ready as soon as an agent has a slot.
        Queued = "queued",
        /// Not handed out before a time.
        RetryWait = "retry_wait",
        /// Stopped until somebody releases it.
        Held = "held",
        /// The effects of the hand-over are on their way.
        HandingOver = "handing_over",
        /// Every effect of the hand-over is confirmed.
        HandedOver = "handed_over",
        /// The agent gave a sign of life.
        Working = "working",
        /// The agent is done; the gates are asked.
        Reviewing = "reviewing",
        /// The attempt is being taken back, on the way to what comes next.
        Withdrawing = "withdrawing",
        /// Done.
        Completed = "completed",
        /// Called off.
        Cancelled = "cancelled",
        /// Its issue does not exist any more.
        IssueGone = "issue_gone",
        /// A person closed the issue and the gates say no.
        Refused = "refused",
        /// The process that ran it died, and it may not be run twice.
        WorkerLost = "worker_lost",
        /// No agent is left; a person is asked.
        Escalated = "escalated",
        /// The last deadline passed and no agent is left.
        TimedOut = "timed_out",
    }
}

impl Phase {
    /// Whether only a retry leads on from here.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed
                | Self::Cancelled
                | Self::IssueGone
                | Self::Refused
                | Self::WorkerLost
                | Self::Escalated
                | Self::TimedOut
        )
    }

    /// Whether it waits and must say why.
    #[must_use]
    pub const fn is_waiting(self) -> bool {
        matches!(
            self,
            Self::Queued | Self::RetryWait | Self::Held | Self::Withdrawing
        )
    }

    /// The status that goes with it. `None`: with a live attempt it is that of the attempt, assigned
    /// or in progress, and else pending.
    #[must_use]
    pub const fn status(self) -> Option<DispatchStatus> {
        Some(match self {
            Self::Queued | Self::RetryWait => DispatchStatus::Pending,
            Self::Held | Self::Withdrawing => return None,
            Self::HandingOver | Self::HandedOver => DispatchStatus::Assigned,
            Self::Working | Self::Reviewing => DispatchStatus::InProgress,
            Self::Completed => DispatchStatus::Completed,
            Self::Cancelled | Self::IssueGone | Self::Refused | Self::WorkerLost => {
                DispatchStatus::Failed
            }
            Self::Escalated => DispatchStatus::Escalated,
            Self::TimedOut => DispatchStatus::TimedOut,
        })
    }
}

named! {
    /// What comes after a withdrawal.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Next, "next step", {
        /// The next agent of the route.
        NextAgent = "next_agent",
        /// The same agent again, later.
        Later = "later",
        /// Nobody, until it is released.
        Hold = "hold",
        /// The end, with success.
        Complete = "complete",
        /// The end: called off.
        Cancel = "cancel",
        /// The end: a person's decision that the gates do not bear.
        Refuse = "refuse",
        /// The end: the process was lost.
        LoseWorker = "lose_worker",
        /// The end: a person is asked.
        Escalate = "escalate",
        /// The end: out of time.
        TimeOut = "time_out",
    }
}
