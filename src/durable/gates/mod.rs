//! What must hold before a task that its agent ended counts as done.
//!
//! | gate | passes | fails | else pending |
//! |---|---|---|---|
//! | pull request | one that closes the issue is merged, its checks succeeded | there is none, or they failed | not merged, checks at work or none |
//! | approved | an official review approves it, neither stale nor dismissed | there is no pull request, or changes are asked for | |
//! | checklist | every acceptance criterion is ticked | one is not | |
//! | endpoint, named | it says so | it says so | it says so, or does not answer |
//!
//! A server that fails decides nothing: the gate is pending, with that as its reason.

mod ask;
mod checklist;
mod pulls;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::order::{Gate, Order, Terms};
use super::server::Server;
use crate::gitea::GiteaError;
use crate::http::Transport;
use crate::ledger::Watched;
use pulls::History;

/// So much of a reason is kept, in characters.
const REASON: usize = 500;

/// What a gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It does not hold, for that reason.
    Failed(String),
    /// It is not known yet, for that reason.
    Pending(String),
}

/// What the gates say together.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    /// Passed where all did, failed where one did.
    pub verdict: Verdict,
    /// What each of them said, and went by.
    pub evidence: Value,
}

/// What a gate of the program's own is asked about.
#[derive(Debug, Clone)]
pub struct Question {
    /// Of which dispatch.
    pub id: Uuid,
    /// Of which attempt.
    pub fence: u64,
    /// Whose work it is.
    pub agent: String,
    /// What was to be done.
    pub order: Order,
    /// How often an agent may be tried again after a failure that may pass.
    pub max_retries: u32,
}

/// A gate of the program's own: its verdict, and what it goes by.
pub type NamedGate =
    Arc<dyn Fn(Question) -> Pin<Box<dyn Future<Output = Said> + Send>> + Send + Sync>;

/// A verdict, and what it goes by.
type Said = (Verdict, Value);

/// The gates of a process.
pub struct Gates<T> {
    server: Server<T>,
    named: HashMap<String, NamedGate>,
    /// Functions that take their time, by dispatch, attempt and name.
    running: Mutex<HashMap<(Uuid, u64, String), JoinHandle<Said>>>,
}

/// What is reviewed.
#[derive(Clone, Copy)]
struct Case<'a> {
    watched: &'a Watched,
    order: &'a Order,
    terms: &'a Terms,
}

impl<T> std::fmt::Debug for Gates<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gates")
            .field("named", &self.named.keys())
            .finish_non_exhaustive()
    }
}

impl<T: Transport> Gates<T> {
    /// Gates that look at a server, and the program's own by their names.
    #[must_use]
    pub fn new(server: Server<T>, named: Vec<(String, NamedGate)>) -> Self {
        Self {
            server,
            named: named.into_iter().collect(),
            running: Mutex::default(),
        }
    }

    /// Asks every gate of a task that its agent ended. Asked again, it asks all of them again.
    pub async fn judge(&self, watched: &Watched, order: &Order) -> Review {
        let terms = Terms::of(&watched.terms).unwrap_or_default();
        let case = Case {
            watched,
            order,
            terms: &terms,
        };
        let history = History::new(&self.server, order);
        let mut verdicts = Vec::with_capacity(order.gates.len());
        let mut evidence = Vec::with_capacity(order.gates.len());
        for gate in &order.gates {
            let (verdict, by) = match gate {
                Gate::PullRequest { without_checks } => history.merged(*without_checks).await,
                Gate::Approved => history.approved(case).await,
                Gate::Checklist => checklist::judge(&self.server, case).await,
                Gate::Endpoint { url } => ask::endpoint(&self.server, url, case).await,
                Gate::Named { name } => self.ask_named(name, case).await,
            };
            let verdict = verdict.bounded();
            evidence.push(verdict.shown(gate, &by));
            verdicts.push(verdict);
        }
        Review {
            verdict: together(&verdicts),
            evidence: evidence.into(),
        }
    }
}

impl Verdict {
    /// With a reason that is fit to stand in a comment.
    fn bounded(self) -> Self {
        let fit = |reason: String| -> String {
            let clean = |c: char| if c.is_control() { ' ' } else { c };
            reason.chars().map(clean).take(REASON).collect()
        };
        match self {
            Self::Passed => Self::Passed,
            Self::Failed(reason) => Self::Failed(fit(reason)),
            Self::Pending(reason) => Self::Pending(fit(reason)),
        }
    }

    fn shown(&self, gate: &Gate, by: &Value) -> Value {
        // Not an endpoint's address, in which a password may stand.
        let name = match gate {
            Gate::Named { name } => Some(name),
            _ => None,
        };
        let (verdict, reason) = match self {
            Self::Passed => ("passed", None),
            Self::Failed(reason) => ("failed", Some(reason)),
            Self::Pending(reason) => ("pending", Some(reason)),
        };
        json!({ "gate": gate.kind(), "name": name, "verdict": verdict, "reason": reason, "by": by })
    }
}

/// All must pass; one that fails decides.
fn together(verdicts: &[Verdict]) -> Verdict {
    let failed = |verdict: &Verdict| match verdict {
        Verdict::Failed(reason) => Some(reason.clone()),
        _ => None,
    };
    let pending = |verdict: &Verdict| match verdict {
        Verdict::Pending(reason) => Some(reason.clone()),
        _ => None,
    };
    let failed: Vec<String> = verdicts.iter().filter_map(failed).collect();
    let pending: Vec<String> = verdicts.iter().filter_map(pending).collect();
    match (failed.is_empty(), pending.is_empty()) {
        (false, _) => Verdict::Failed(failed.join("; ")),
        (true, false) => Verdict::Pending(pending.join("; ")),
        (true, true) => Verdict::Passed,
    }
    .bounded()
}

/// A server that fails decides nothing.
fn undecided(error: &GiteaError) -> Said {
    let verdict = Verdict::Pending(format!("the server cannot be asked: {error}"));
    (verdict, Value::Null)
}
