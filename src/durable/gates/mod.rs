//! Stub: replaced by the gates part.
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::order::Order;
use super::server::Server;
use crate::http::Transport;
use crate::ledger::Watched;

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
pub(crate) struct Review {
    pub(crate) verdict: Verdict,
    /// What each of them went by.
    pub(crate) evidence: Value,
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
}

/// A gate of the program's own: its verdict, and what it goes by.
pub type NamedGate =
    Arc<dyn Fn(Question) -> Pin<Box<dyn Future<Output = (Verdict, Value)> + Send>> + Send + Sync>;

pub(crate) struct Gates<T>(PhantomData<T>);

impl<T: Transport> Gates<T> {
    pub(crate) fn new(_server: Server<T>, _named: Vec<(String, NamedGate)>) -> Self {
        Self(PhantomData)
    }

    pub(crate) async fn judge(&self, _watched: &Watched, _order: &Order) -> Review {
        Review {
            verdict: Verdict::Pending("gates are not there yet".to_owned()),
            evidence: Value::Null,
        }
    }
}
