//! Stub: replaced by the agents part.
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use uuid::Uuid;

use super::order::Order;

/// What a local agent is given.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Of which dispatch.
    pub id: Uuid,
    /// Of which attempt.
    pub fence: u64,
    /// What is to be done.
    pub order: Order,
}

/// Does a local agent's work: its result, or why it failed.
pub type Handler = Arc<
    dyn Fn(Assignment) -> Pin<Box<dyn Future<Output = Result<Value, String>> + Send>> + Send + Sync,
>;

/// The local agents that this process has.
#[derive(Clone, Default)]
pub struct LocalAgents(Arc<Mutex<HashMap<String, Handler>>>);

impl LocalAgents {
    pub(crate) fn insert(&self, name: &str, handler: Handler) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), handler);
    }

    pub(crate) fn handles(&self, name: &str) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains_key(name)
    }

    pub(crate) fn is_idle(&self) -> bool {
        true
    }
}
