//! Who waits for which dispatch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;
use uuid::Uuid;

/// Wakes those who wait for a dispatch when something happened to it.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<Bells>);

#[derive(Debug, Default)]
struct Bells {
    of: HashMap<Uuid, Weak<Notify>>,
    /// With so many of them, those that nobody waits at any more are cleared away.
    sweep_at: usize,
}

impl Waiters {
    /// Rings when something happened to that dispatch.
    pub(super) fn of(&self, id: Uuid) -> Arc<Notify> {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = bells.of.get(&id).and_then(Weak::upgrade) {
            return known;
        }
        if bells.of.len() >= bells.sweep_at {
            bells.of.retain(|_, bell| bell.strong_count() > 0);
            bells.sweep_at = bells.of.len().saturating_mul(2).max(64);
        }
        let bell = Arc::new(Notify::new());
        bells.of.insert(id, Arc::downgrade(&bell));
        bell
    }

    /// Something happened to it.
    pub(super) fn ring(&self, id: Uuid) {
        let bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.of.get(&id).and_then(Weak::upgrade) {
            bell.notify_waiters();
        }
    }
}
