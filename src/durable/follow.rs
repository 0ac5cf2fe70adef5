//! Follows the record of everything, so that those who wait are woken, and who reviews.

use std::sync::Arc;

use serde_json::Value;

use super::inner::{Inner, Stage};
use super::work::reached;
use crate::http::Transport;
use crate::ledger::Entry;
use crate::ledger::machine::Phase;

/// So many entries are read at a time.
const BATCH: usize = 500;

pub(super) async fn follow<T: Transport>(inner: Arc<Inner<T>>) {
    let mut stages = inner.stage.subscribe();
    let tick = inner.team.policy.timing.tick;
    let mut after = None;
    loop {
        let ledger = inner.ledger();
        let mut changes = ledger.changes();
        changes.mark_unchanged();
        // Whoever waited before has looked at the ledger itself.
        let from = match after {
            Some(from) => from,
            None => ledger.last_event().await.unwrap_or_default(),
        };
        after = Some(from);
        match ledger.events(from, BATCH).await {
            Ok(entries) => {
                for entry in &entries {
                    inner.waiters.ring(entry.dispatch);
                    if begins_review(entry) {
                        inner.reviews.notify_one();
                    }
                }
                if let Some(last) = entries.last() {
                    after = Some(last.seq);
                    continue;
                }
            }
            Err(error) => tracing::error!("{error}"),
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(tick) => {}
            () = reached(&mut stages, Stage::Stopped) => return,
        }
    }
}

/// Whether there may be something to review since then that was not there before.
fn begins_review(entry: &Entry) -> bool {
    let phase = entry.body.get("phase").and_then(Value::as_str);
    phase == Some(Phase::Reviewing.as_str()) || entry.kind == "taken over"
}
