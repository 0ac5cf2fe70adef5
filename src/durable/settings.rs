//! Times, limits and policies of the dispatcher.

use std::net::SocketAddr;
use std::time::Duration;

use super::order::Gate;
use super::plan::Refused;
use crate::rank::Inference;

/// How long everything takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a process says that it lives.
    pub heartbeat: Duration,
    /// How long it may be silent before others look after its dispatches.
    pub lease: Duration,
    /// How long a request to Gitea, and so an effect, may take.
    pub request: Duration,
    /// How much more of the lease than that must be left when an effect begins.
    pub margin: Duration,
    /// How long a server may still carry out a request whose answer was lost.
    pub quarantine: Duration,
    /// How long an agent must be silent after its task was taken back.
    pub grace: Duration,
    /// How long an agent has for a task, where it has no time of its own.
    pub deadline: Duration,
    /// How long the gates may take.
    pub review: Duration,
    /// The first wait before an agent is tried again.
    pub backoff: Duration,
    /// The first wait before a request that failed is tried again.
    pub again: Duration,
    /// How often watched issues are looked at.
    pub poll: Duration,
    /// How often each of them is read singly, to find those that were deleted.
    pub single_read: Duration,
    /// How often gates are asked.
    pub review_poll: Duration,
    /// How soon a change by another process is noticed.
    pub tick: Duration,
    /// How long what has ended is kept.
    pub retention: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let hour = 3600;
        Self {
            heartbeat: Duration::from_secs(5),
            lease: Duration::from_secs(30),
            request: Duration::from_secs(10),
            margin: Duration::from_secs(2),
            quarantine: Duration::from_secs(25),
            grace: Duration::from_secs(600),
            deadline: Duration::from_secs(24 * hour),
            review: Duration::from_secs(7 * 24 * hour),
            backoff: Duration::from_secs(30),
            again: Duration::from_secs(1),
            poll: Duration::from_secs(15),
            single_read: Duration::from_secs(hour),
            review_poll: Duration::from_secs(60),
            tick: Duration::from_millis(250),
            retention: Duration::from_secs(90 * 24 * hour),
        }
    }
}

impl Timing {
    /// Everything that many times as fast, what has ended is kept as long; for tests and demos.
    #[must_use]
    pub fn faster(self, times: u32) -> Self {
        let times = times.max(1);
        Self {
            heartbeat: self.heartbeat / times,
            lease: self.lease / times,
            request: self.request / times,
            margin: self.margin / times,
            quarantine: self.quarantine / times,
            grace: self.grace / times,
            deadline: self.deadline / times,
            review: self.review / times,
            backoff: self.backoff / times,
            again: self.again / times,
            poll: self.poll / times,
            single_read: self.single_read / times,
            review_poll: self.review_poll / times,
            tick: self.tick / times,
            retention: self.retention,
        }
    }

    /// Refuses times with which no effect could ever begin, or no lease be kept.
    pub(super) fn check(&self) -> Result<(), Refused> {
        if self.request + self.margin >= self.lease {
            return Err(Refused(format!(
                "the lease of {:?} must be longer than a request and the margin together, {:?}: \
                 nothing could be sent",
                self.lease,
                self.request + self.margin
            )));
        }
        if self.heartbeat * 2 > self.lease {
            return Err(Refused(format!(
                "the heartbeat of {:?} must be at most half of the lease of {:?}: it would lapse",
                self.heartbeat, self.lease
            )));
        }
        Ok(())
    }
}

/// What happens to a task whose agent has no free slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Busy {
    /// It waits.
    #[default]
    Queue,
    /// The next agent of its route that is good at such tasks and has a free slot takes it.
    Fallback,
}

/// Where webhooks and callbacks are received.
#[derive(Clone, PartialEq, Eq)]
pub struct Receive {
    /// The address to listen at.
    pub address: SocketAddr,
    /// The secret that Gitea signs its webhooks with, and agents their callbacks.
    pub secret: String,
    /// The address under which agents reach it, such as `https://timmy.example/hooks`.
    pub public_url: Option<String>,
}

impl std::fmt::Debug for Receive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receive")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What holds for every task that does not say otherwise, and the limits of the process.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How long everything takes.
    pub timing: Timing,
    /// How the type of a task is found.
    pub inference: Inference,
    /// What happens to a task whose agent is busy.
    pub when_busy: Busy,
    /// How often a task may go to a next agent.
    pub max_reassignments: u32,
    /// What must hold before a closed issue counts as done.
    pub gates: Vec<Gate>,
    /// Where the owner wants to be told when a person is asked: a URL, or the name of a function.
    pub callback: Option<String>,
    /// Where webhooks and callbacks are received, if anywhere.
    pub receive: Option<Receive>,
    /// So many effects are carried out at once.
    pub max_in_flight: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timing: Timing::default(),
            inference: Inference::default(),
            when_busy: Busy::default(),
            max_reassignments: 2,
            gates: Vec::new(),
            callback: None,
            receive: None,
            max_in_flight: 32,
        }
    }
}
