//! What goes into a ledger and comes out of it, whichever database keeps it.

use serde_json::Value;
use uuid::Uuid;

use super::effect;
use super::machine::{Channel, Dispatch, Effect, Phase, Plan};

/// How long an agent has for a task where nothing else is said: a day.
const DEADLINE: u64 = 24 * 60 * 60 * 1000;

/// An agent, as far as the ledger is concerned.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Agent {
    /// The name by which plans know it.
    pub name: String,
    /// How it takes tasks.
    pub channel: Channel,
    /// How many it may hold at once, over every process that shares the ledger.
    pub max_concurrent: u32,
    /// How long it has for a task, in milliseconds.
    pub deadline: u64,
    /// Whether it bears being given the same task twice: a handler that may be run again, an endpoint
    /// that honours the idempotency key.
    pub idempotent: bool,
    /// What else there is to know to reach it. Frozen with each attempt; the ledger only keeps it.
    pub terms: Value,
}

impl Agent {
    /// An agent that takes one task at a time and has a day for it.
    #[must_use]
    pub fn new(name: impl Into<String>, channel: Channel) -> Self {
        Self {
            name: name.into(),
            channel,
            max_concurrent: 1,
            deadline: DEADLINE,
            idempotent: false,
            terms: Value::Null,
        }
    }
}

/// A task to be kept. Its id is made here, before the first try: a submission whose answer was
/// lost can be given again and is the same one.
#[derive(Debug, Clone)]
pub struct Submission {
    /// A UUID of version 7.
    pub id: Uuid,
    /// The caller's own key: unique for as long as the ledger keeps the dispatch.
    pub idempotency_key: Option<String>,
    /// What it is about (server, repo and issue): unique while the dispatch is unfinished.
    pub subject: Option<String>,
    /// The task. The ledger only compares it.
    pub task: Value,
    /// Who is to do it.
    pub plan: Plan,
    /// Higher goes first; of equals the older.
    pub priority: i32,
    /// Kept from the beginning, until somebody releases it, for that reason.
    pub hold: Option<String>,
    /// How it came to its plan: kept with the event of its submission.
    pub evidence: Value,
}

impl Submission {
    /// A task with that plan, no keys and priority 0.
    #[must_use]
    pub fn new(task: Value, plan: Plan) -> Self {
        Self {
            id: Uuid::now_v7(),
            idempotency_key: None,
            subject: None,
            task,
            plan,
            priority: 0,
            hold: None,
            evidence: Value::Null,
        }
    }
}

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The dispatch: its own, or the one that was there.
    pub id: Uuid,
    /// Whether it was new.
    pub new: bool,
}

/// A dispatch as the ledger keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: Uuid,
    /// The task that was submitted.
    pub task: Value,
    /// Where it stands.
    pub state: Dispatch,
    /// What it is about.
    pub subject: Option<String>,
    /// The caller's own key.
    pub idempotency_key: Option<String>,
    /// Higher goes first.
    pub priority: i32,
    /// The process that looks after it.
    pub owner: Option<Uuid>,
    /// Why it waits. Empty where it does not.
    pub reason: String,
    /// When it was submitted. Times are the database's, in milliseconds since 1970.
    pub created_at: i64,
    /// When its [`timer`](Dispatch::timer) goes off.
    pub due_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
}

/// Text without NUL, which PostgreSQL has not.
pub(crate) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// An attempt as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct AttemptRecord {
    /// Its fence.
    pub fence: u64,
    /// Whose.
    pub agent: String,
    /// When it was claimed.
    pub started_at: i64,
    /// When it was over.
    pub ended_at: Option<i64>,
    /// What came next.
    pub outcome: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The [`terms`](Agent::terms) of the agent at that time.
    #[serde(skip)]
    pub terms: Value,
}

/// All that the ledger knows of a dispatch.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// Where it stands.
    pub record: Record,
    /// Its attempts, the first one first.
    pub attempts: Vec<AttemptRecord>,
    /// Its effects, the first one first.
    pub effects: Vec<Errand>,
    /// What happened.
    pub entries: Vec<Entry>,
}

/// A dispatch with a live attempt, as it has to be watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// Which dispatch.
    pub id: Uuid,
    /// Which attempt.
    pub fence: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Whether the agent gave a sign of life.
    pub started: bool,
    /// Whether it waits for the agent to fall silent.
    pub draining: bool,
    /// Whose turn it is.
    pub agent: String,
    /// How that agent was reached.
    pub channel: Channel,
    /// The agent's terms, as they were when the attempt began.
    pub terms: Value,
    /// The task.
    pub task: Value,
    /// How often an agent may be tried again after a failure that may pass.
    pub max_retries: u32,
    /// The number of the comment that handed it over, once it is confirmed.
    pub handover: Option<i64>,
}

/// A dispatch that got a slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Which dispatch.
    pub id: Uuid,
    /// Under which fence.
    pub fence: u64,
    /// Whose turn it is.
    pub agent: String,
    /// What is to be done.
    pub task: Value,
}

/// An effect that is the caller's to carry out or to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct Errand {
    /// The row in the outbox.
    pub id: Uuid,
    /// Of which dispatch.
    pub dispatch: Uuid,
    /// Of which attempt.
    pub fence: u64,
    /// What.
    pub effect: Effect,
    /// The agent of that attempt.
    pub agent: String,
    /// The agent's terms, as they were when the attempt began.
    pub terms: Value,
    /// The task.
    pub task: Value,
    /// How often an agent may be tried again after a failure that may pass.
    pub max_retries: u32,
    /// Why the dispatch is where it is.
    pub reason: String,
    /// The number of the comment that handed the attempt over, once it is known.
    pub handover: Option<i64>,
    /// What the server calls the effect itself, once that is known.
    pub remote_id: Option<i64>,
    /// A random number that stands in what is sent, so that it can be found again.
    pub nonce: Uuid,
    /// How it stands; it counts the requests.
    pub row: effect::Row,
}

/// What came of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It led to that phase.
    Applied(Phase),
    /// It was stale, which is recorded, and changed nothing.
    Stale,
}

/// What there is to do, at a glance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Glance {
    /// Dispatches wait to be claimed.
    pub queued: bool,
    /// Timers have gone off.
    pub due: bool,
    /// Effects may be sent.
    pub ready: bool,
    /// Effects are to be looked for.
    pub doubtful: bool,
    /// Processes are dead or silent that look after dispatches.
    pub deserted: bool,
    /// In how many milliseconds there will be more to do, if nothing happens before.
    pub next_in: Option<u64>,
}

/// What can be seen of a ledger from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Its version.
    pub version: i64,
    /// The version that this program works with. With an older one of the ledger's, the rest is
    /// empty.
    pub known: i64,
    /// Of which revision the agents are.
    pub revision: i64,
    /// The agents in force.
    pub agents: Vec<Agent>,
    /// The processes that look after dispatches, the oldest first.
    pub workers: Vec<WorkerRecord>,
}

/// A process that looks after dispatches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Under which name.
    pub id: Uuid,
    /// How much of its lease is left, in milliseconds.
    pub expires_in: u64,
    /// The agents that it can hand tasks to.
    pub handles: Vec<String>,
    /// With which revision of the agents it works; 0 where an older program does not say.
    pub revision: i64,
}

/// An entry of the record of everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its place in the order.
    pub seq: i64,
    /// Of which dispatch.
    pub dispatch: Uuid,
    /// Under which fence.
    pub fence: u64,
    /// What happened.
    pub kind: String,
    /// When, by the database's clock, in milliseconds since 1970.
    pub at: i64,
    /// More of it.
    pub body: Value,
}

/// Why the ledger did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The database failed. Whether the last change was kept is not known; giving it again is safe.
    #[error("the ledger's database: {0}")]
    Database(String),
    /// There is no connection to the database, or the file cannot be opened.
    #[error("no connection to the ledger at {place}: {why}; {advice}")]
    Unreachable {
        /// Where, without a user and a password.
        place: String,
        /// What was said.
        why: String,
        /// What to do.
        advice: &'static str,
    },
    /// The file or the schema is somebody else's.
    #[error("{0} holds tables that are not a ledger's; the ledger needs a place of its own")]
    Foreign(String),
    /// The file was written by a newer version.
    #[error(
        "the ledger has version {found} and this program knows {known}: it needs a newer program"
    )]
    Newer {
        /// The file's.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// No ledger can lie there, or a task or a name cannot be kept.
    #[error("{0}")]
    Unusable(String),
    /// The file is broken.
    #[error("the ledger is damaged ({0}): go back to a copy, then `ledger check --restored`")]
    Damaged(String),
    /// The database's clock and the machine's have parted. Nothing is claimed, looked for or over
    /// before every process has had the time to renew its lease.
    #[error(
        "the ledger's clock jumped by {} s: claims and expiries wait for another {} ms",
        by / 1000, left
    )]
    ClockJumped {
        /// How far, in milliseconds.
        by: i64,
        /// How much longer, in milliseconds.
        left: u64,
    },
    /// The database has no room to write.
    #[error(
        "the ledger's disk is full ({0}): make room, and it goes on by itself; what was acknowledged \
         is kept"
    )]
    Full(String),
    /// What was stored cannot be read.
    #[error("the ledger holds what cannot be read: {0}")]
    Unreadable(String),
    /// The handle came from another process by a fork.
    #[error("the ledger was opened before a fork; open it in the child, and not before the fork")]
    Forked,
    /// A ledger was open in the process that was forked, or this one is open some other way.
    #[error(
        "{0} cannot be opened here: a ledger was open when this process was forked, or this one is \
         open some other way, and SQLite bears neither. Fork before it is opened, or start the child \
         anew: multiprocessing's `spawn` or `forkserver`"
    )]
    Inherited(String),
    /// What this process wrote and was kept is not there any more.
    #[error(
        "the ledger has gone back behind what this process wrote: a copy was restored, or a standby \
         took over that had not got everything; nothing more is done before `timmy-dispatch ledger \
         check --restored` has looked everything up"
    )]
    WentBack,
    /// The process was silent for too long and others look after its dispatches.
    #[error("this process has no lease on the ledger, or lost it: open it again")]
    LeaseLost,
    /// Another process brought other agents or limits.
    #[error(
        "the agents in the ledger are of revision {stored}, this process has revision {ours}: \
         nothing is claimed until it is started with the current ones"
    )]
    OldConfiguration {
        /// What is in force.
        stored: i64,
        /// What this process knows.
        ours: i64,
    },
    /// The key belongs to another task.
    #[error("the idempotency key {key:?} belongs to another task, dispatch {id}")]
    OtherTask {
        /// The key.
        key: String,
        /// Whose it is.
        id: Uuid,
    },
    /// It cannot be tried again beside another dispatch about the same.
    #[error("dispatch {0} is about the same and not finished")]
    Busy(String),
    /// The plan names an agent that is not there.
    #[error("unknown agent {name:?}; known are {known}")]
    UnknownAgent {
        /// Who.
        name: String,
        /// Those who are there.
        known: String,
    },
    /// There is no such dispatch or effect.
    #[error("the ledger has no {0}")]
    Unknown(String),
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        super::database::Fault::from(error).into()
    }
}

impl From<serde_json::Error> for LedgerError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}
