//! Telling the owner that a person is asked.

use serde_json::{Value, json};

use super::{Effects, Outcome};
use crate::durable::agents::Destination;
use crate::durable::breaker::Cooling;
use crate::durable::order::Order;
use crate::http::Transport;
use crate::ledger::{Errand, Story};

impl<T: Transport> Effects<T> {
    /// Posts the story to the owner's URL; any 2xx is an answer.
    pub(super) async fn tell_owner(&self, errand: &Errand, order: &Order) -> Outcome {
        let Some(url) = order.callback.as_deref() else {
            return Outcome::refused("there is nobody to be told: the task has no callback");
        };
        let destination = match Destination::new("the callback", url) {
            Ok(destination) => destination,
            Err(reason) => return Outcome::refused(reason),
        };
        let Ok(story) = self.ledger.story(errand.dispatch).await else {
            return Outcome::later(self.settings.backoff, "the ledger did not answer");
        };
        let body = self.server.redact(&told(errand, order, &story).to_string());
        let key = format!("{}:{}:callback", errand.dispatch, errand.fence);
        let limit = self.settings.limit;
        match self.send(&destination, errand, &key, body, limit).await {
            Err(Cooling { wait, why }) => Outcome::later(wait, why),
            Ok((answer, _)) => Outcome::answer(answer),
        }
    }
}

fn told(errand: &Errand, order: &Order, story: &Story) -> Value {
    json!({
        "event": "escalated",
        "dispatch_id": errand.dispatch.to_string(),
        "fence": errand.fence,
        "status": story.record.state.status().as_str(),
        "reason": errand.reason,
        "title": order.title,
        "repo": order.repo,
        "issue_number": order.issue,
        "task_type": order.kind().as_str(),
        "attempts": story.attempts,
    })
}
