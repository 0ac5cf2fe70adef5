//! Asks the gates of what its agent ended, until they say yes or no.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use uuid::Uuid;

use super::gates::{Review, Verdict};
use super::inner::{Inner, Stage};
use super::order::Order;
use super::work::reached;
use crate::http::Transport;
use crate::ledger::machine::{Event, Phase};
use crate::ledger::{Ledger, LedgerError};

/// So many are asked about at once.
const AT_ONCE: usize = 8;
/// So many are asked about in one round, so that thousands that wait for a person do not keep the
/// server busy: the new ones, then those that were not asked about for longest.
const MOST: usize = 100;

/// The attempts whose gates have not decided: when they were asked last, and what was kept of it.
type Pending = HashMap<(Uuid, u64), (u64, Value)>;

pub(super) async fn review<T: Transport>(inner: Arc<Inner<T>>) {
    let mut stages = inner.stage.subscribe();
    let mut pending = Pending::new();
    let timing = inner.team.policy.timing;
    for number in 0.. {
        let ledger = inner.ledger();
        if let Err(error) = round(&inner, &ledger, &mut pending, number).await {
            tracing::error!("{error}");
        }
        tokio::select! {
            () = tokio::time::sleep(timing.review_poll) => {}
            () = inner.reviews.notified() => {}
            () = reached(&mut stages, Stage::Draining) => return,
        }
    }
}

async fn round<T: Transport>(
    inner: &Inner<T>,
    ledger: &Ledger,
    pending: &mut Pending,
    number: u64,
) -> Result<(), LedgerError> {
    let mut watched = ledger.watched().await?;
    watched.retain(|one| one.phase == Phase::Reviewing);
    pending.retain(|key, _| watched.iter().any(|one| (one.id, one.fence) == *key));
    watched.sort_by_key(|one| pending.get(&(one.id, one.fence)).map(|(asked, _)| *asked));
    watched.truncate(MOST);
    let reviews = stream::iter(watched).map(|one| async move {
        let order = Order::of(&one.task).unwrap_or_default();
        let review = inner.gates.judge(&one, &order).await;
        (one, review)
    });
    let mut reviews = Box::pin(reviews.buffer_unordered(AT_ONCE));
    while let Some((one, Review { verdict, evidence })) = reviews.next().await {
        let fence = one.fence;
        let event = match verdict {
            Verdict::Passed => Event::GatesPassed { fence },
            Verdict::Failed(reason) => Event::GatesFailed { fence, reason },
            Verdict::Pending(reason) => {
                let body = json!({ "reason": reason, "evidence": evidence });
                // Once is enough, until it changes.
                let known = pending.get(&(one.id, fence));
                if known.is_none_or(|(_, known)| *known != body) {
                    let kept = body.clone();
                    ledger.note(one.id, fence, "gates pending", kept).await?;
                }
                pending.insert((one.id, fence), (number, body));
                continue;
            }
        };
        ledger.record_with(one.id, event, evidence).await?;
    }
    Ok(())
}
