//! What came of an errand.

use std::time::Duration;

use serde_json::Value;

use crate::durable::breaker::Health;
use crate::gitea::GiteaError;
use crate::ledger::machine::Event;
use crate::ledger::{Answer, LedgerError};

/// What came of carrying an errand out, or of looking for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// For [`Ledger::answered`](crate::ledger::Ledger::answered).
    Answer {
        /// What became of it.
        answer: Answer,
        /// What the answer tells beside, each with how it is known; to be recorded behind it.
        then: Vec<(Event, Value)>,
    },
    /// Nothing can be done in the repository. All its dispatches are to be held.
    Held(Held),
    /// The issue does not exist, and the repository does.
    IssueGone,
}

impl Outcome {
    pub(crate) const fn answer(answer: Answer) -> Self {
        Self::Answer {
            answer,
            then: Vec::new(),
        }
    }

    pub(crate) fn later(wait: Duration, why: impl Into<String>) -> Self {
        Self::answer(Answer::NotTaken(wait, why.into()))
    }

    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::answer(Answer::Refused(reason.into()))
    }
}

/// Why nothing can be done in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which, `owner/name`.
    pub repo: String,
    /// Why, and what to do about it.
    pub reason: String,
    /// What it is called now, where it has moved.
    pub moved_to: Option<String>,
}

/// What stopped an effect on its way.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A request came to nothing.
    Gitea {
        /// What was tried, behind "cannot".
        tried: &'static str,
        error: GiteaError,
        /// Whether the request was to have the effect; of any other it does not matter whether it
        /// arrived.
        decisive: bool,
    },
    /// To be tried again, not before that time, and why.
    Later(Duration, &'static str),
    /// It cannot be done, for that reason.
    Impossible(String),
    /// The ledger failed.
    Ledger,
}

impl From<LedgerError> for Trouble {
    fn from(_: LedgerError) -> Self {
        Self::Ledger
    }
}

/// For a request that changes nothing, or nothing that matters.
pub(super) fn preparing(tried: &'static str) -> impl Fn(GiteaError) -> Trouble {
    move |error| Trouble::Gitea {
        tried,
        error,
        decisive: false,
    }
}

/// For the request that has the effect.
pub(super) fn deciding(tried: &'static str) -> impl Fn(GiteaError) -> Trouble {
    move |error| Trouble::Gitea {
        tried,
        error,
        decisive: true,
    }
}

/// What to answer, before it is known how long to wait.
#[derive(Debug)]
pub(super) enum Verdict {
    Answer(Answer),
    Again(Duration, String),
    Held(Held),
    Gone,
}

impl Verdict {
    /// What came between; empty where nothing did.
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Again(_, why) | Self::Answer(Answer::NotTaken(_, why) | Answer::Lost(why)) => why,
            _ => "",
        }
    }
}

/// How the server took it.
pub(super) fn health(error: &GiteaError) -> Health {
    match (error, error.retry_after()) {
        (GiteaError::Status { status, .. }, Some(wait)) if matches!(*status, 429 | 503) => {
            Health::Limited(wait)
        }
        // A dead token is asked no more often than a dead server.
        _ if error.is_transient() => Health::Ill,
        _ => Health::Well,
    }
}
