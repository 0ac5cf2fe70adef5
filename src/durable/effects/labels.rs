//! Labels put on an issue and taken off again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::issue::OnIssue;
use super::marker::is;
use super::outcome::{Trouble, deciding, preparing};
use crate::gitea::{Creating, DEFAULT_COLOR, Label};
use crate::http::Transport;
use crate::ledger::Answer;
use crate::ledger::machine::Effect;

/// The label that asks a person.
pub const NEEDS_HUMAN: &str = "needs-human";
/// Orange, as things are that wait for somebody.
const NEEDS_HUMAN_COLOR: &str = "#d93f0b";
/// Labels whose ids are remembered.
const REMEMBERED: usize = 1024;

type Done<V> = Result<V, Trouble>;

/// The ids of labels by repository and name. A lower id of a name cannot come later.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<(String, String), i64>>);

impl Known {
    fn get(&self, key: &(String, String)) -> Option<i64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).copied()
    }

    fn set(&self, key: (String, String), id: Option<i64>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        match id {
            Some(id) => known.insert(key, id),
            None => known.remove(&key),
        };
    }
}

impl<T: Transport> OnIssue<'_, T> {
    fn label(&self) -> Done<(&str, &'static str)> {
        if self.errand.effect == Effect::EscalationLabel {
            return Ok((NEEDS_HUMAN, NEEDS_HUMAN_COLOR));
        }
        let agent = &self.errand.agent;
        match self.terms.label.as_deref() {
            Some(label) if !label.is_empty() => Ok((label, DEFAULT_COLOR)),
            _ => Err(Trouble::Impossible(format!(
                "{agent} has no label to be given tasks by: configure one"
            ))),
        }
    }

    /// Adds the label, by its id. A label that somebody deleted meanwhile is ignored with a 200; then
    /// it is looked up anew.
    pub(super) async fn put_label_on(&self) -> Done<Answer> {
        let (name, color) = self.label()?;
        let key = (self.order.repo.to_lowercase(), name.to_owned());
        for _ in 0..2 {
            let id = self.label_id(&key, color).await?;
            let added = self.repository.add_label(self.number, id).await;
            let added = added.map_err(deciding("add the label"))?;
            if added.iter().any(|label| label.id == id) {
                return Ok(Answer::Taken(None));
            }
            self.effects.labels.set(key.clone(), None);
        }
        let backoff = self.effects.settings.backoff;
        Err(Trouble::Later(backoff, "the label is not on"))
    }

    async fn label_id(&self, key: &(String, String), color: &str) -> Done<i64> {
        if let Some(id) = self.effects.labels.get(key) {
            return Ok(id);
        }
        let (repo, name) = (&self.order.repo, &key.1);
        let mut creating = Creating::begin(self.effects.server.base(), repo, name).await;
        if let Some(id) = self.lowest(name).await? {
            self.effects.labels.set(key.clone(), Some(id));
            return Ok(id);
        }
        creating.asked();
        let created = match self.repository.create_label(name, color).await {
            Ok(created) => created,
            // It may be there in a moment: looking too soon would make a second one.
            Err(error) if error.is_doubtful() => {
                let quarantine = self.effects.settings.quarantine;
                let why = "whether the label was made is not known";
                return Err(Trouble::Later(quarantine, why));
            }
            Err(error) => {
                creating.refused();
                return Err(preparing("create the label")(error));
            }
        };
        // Another process may have made one at the same time.
        let id = self.lowest(name).await?.unwrap_or(created.id);
        creating.made(id);
        self.effects.labels.set(key.clone(), Some(id));
        Ok(id)
    }

    /// Names are not unique; the lowest id counts.
    async fn lowest(&self, name: &str) -> Done<Option<i64>> {
        let labels = self.repository.labels().await;
        let labels = labels.map_err(preparing("list the labels"))?;
        let named = labels.iter().filter(|label| label.name == name);
        Ok(named.map(|label| label.id).min())
    }

    /// Whether our account has put it on since the hand-over, though it may be off again: an agent
    /// may take it off when it begins.
    pub(super) async fn look_for_label(&self) -> Done<Answer> {
        let (name, _) = self.label()?;
        let Some(since) = self.since().await? else {
            let on = self.labels_on().await?;
            return Ok(Answer::Found(u32::from(!on.is_empty()), None));
        };
        let me = self.me().await?;
        let history = self.repository.timeline(self.number).await;
        let history = history.map_err(preparing("read the timeline"))?;
        let done = history.iter().any(|entry| {
            let named = entry.label.as_ref().is_some_and(|label| label.name == name);
            entry.kind == "label"
                && entry.body == "1"
                && named
                && entry.id > since
                && is(&entry.user, &me)
        });
        Ok(Answer::Found(u32::from(done), None))
    }

    /// The comment that goes before the label.
    async fn since(&self) -> Done<Option<i64>> {
        if self.errand.effect == Effect::Label {
            return Ok(self.errand.handover);
        }
        let story = self.effects.ledger.story(self.errand.dispatch).await?;
        let asked = story.effects.iter().find(|other| {
            other.fence == self.errand.fence && other.effect == Effect::EscalationComment
        });
        Ok(asked.and_then(|comment| comment.remote_id))
    }

    /// The labels of that name that are on the issue: there may be several.
    pub(super) async fn labels_on(&self) -> Done<Vec<Label>> {
        let (name, _) = self.label()?;
        let issue = self.repository.issue(self.number).await;
        let mut labels = issue.map_err(preparing("read the issue"))?.labels;
        labels.retain(|label| label.name == name);
        Ok(labels)
    }

    /// Takes every label of the name off, and makes sure of it.
    pub(super) async fn take_label_off(&self) -> Done<Answer> {
        let on = self.labels_on().await?;
        for label in &on {
            let removed = self.repository.remove_label(self.number, label.id).await;
            removed.map_err(deciding("take the label off"))?;
        }
        if !on.is_empty() && !self.labels_on().await?.is_empty() {
            let backoff = self.effects.settings.backoff;
            return Err(Trouble::Later(backoff, "the label is still on"));
        }
        Ok(Answer::Taken(None))
    }
}
