//! Tasks in.

use std::collections::HashMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::group::{Group, Held};
use super::{parse, statements as sql};
use crate::ledger::database::{Fault, Param, Rows};
use crate::ledger::machine::{Dispatch, Event};
use crate::ledger::store::{LedgerError, Submission, Submitted};

/// The dispatches that submissions may turn out to be.
#[derive(Default)]
pub(super) struct Twins {
    tasks: HashMap<Uuid, Value>,
    keys: HashMap<String, Uuid>,
    /// Of unfinished ones.
    subjects: HashMap<String, Uuid>,
}

impl Group<'_> {
    pub(super) async fn twins<'s>(
        &mut self,
        submissions: impl Iterator<Item = &'s Submission>,
    ) -> Result<Twins, Fault> {
        let mut wanted = Rows::default();
        for submission in submissions.filter(|submission| has_keys_for_all(submission)) {
            wanted.push([
                submission.id.to_string().into(),
                submission.idempotency_key.clone().into(),
                submission.subject.clone().into(),
            ]);
        }
        let there: Vec<(String, String, Option<String>, Option<String>)> =
            self.transaction.fetch_for(sql::TWINS, &wanted).await?;
        let mut twins = Twins::default();
        for (id, task, key, subject) in there {
            twins.add(parse(&id)?, serde_json::from_str(&task)?, key, subject);
        }
        Ok(twins)
    }

    pub(super) fn known(&self, name: &str) -> Result<(), LedgerError> {
        if self.agent(name).is_some() {
            return Ok(());
        }
        let known = self.writer.agents.iter().map(|agent| agent.name.as_str());
        Err(LedgerError::UnknownAgent {
            name: name.to_owned(),
            known: known.collect::<Vec<_>>().join(", "),
        })
    }

    /// Another dispatch may have been submitted for the same subject since this one ended.
    pub(super) async fn busy(&mut self, id: Uuid) -> Result<(), Fault> {
        let id = id.to_string();
        let other: Option<(String,)> = self
            .transaction
            .first(sql::BUSY, &[Param::Text(&id)])
            .await?;
        match other {
            Some((other,)) => Err(Fault::Final(LedgerError::Busy(other))),
            None => Ok(()),
        }
    }

    pub(super) fn submit(
        &mut self,
        twins: &mut Twins,
        submission: &Submission,
    ) -> Result<Submitted, LedgerError> {
        // Whoever only visits may have come before any of those who work, and know others than they.
        if self.writer.works {
            for name in &submission.plan.agents {
                self.known(name)?;
            }
        }
        if !has_keys_for_all(submission) {
            let why = "a key cannot hold the character NUL";
            return Err(LedgerError::Unusable(why.to_owned()));
        }
        let id = submission.id;
        if let Some(twin) = twins.of(submission)? {
            return Ok(Submitted {
                id: twin,
                new: false,
            });
        }
        let state = Dispatch::new(submission.plan.clone());
        self.changes.dispatches.push([
            id.to_string().into(),
            submission.idempotency_key.clone().into(),
            submission.subject.clone().into(),
            submission.task.to_string().into(),
            serde_json::to_string(&state)?.into(),
            i64::from(submission.priority).into(),
            self.now.into(),
        ]);
        self.held.insert(id, Ok(Held::new(state)));
        let body = match &submission.evidence {
            Value::Null => json!({}),
            evidence => json!({ "evidence": evidence }),
        };
        self.note(id, 0, "submitted", &body);
        if let Some(reason) = &submission.hold {
            self.record(id, Event::Hold(reason.clone()), &Value::Null)?;
        }
        twins.add(
            id,
            submission.task.clone(),
            submission.idempotency_key.clone(),
            submission.subject.clone(),
        );
        Ok(Submitted { id, new: true })
    }
}

/// PostgreSQL keeps no NUL in a text.
fn has_keys_for_all(submission: &Submission) -> bool {
    let keys = [&submission.idempotency_key, &submission.subject];
    !keys.into_iter().flatten().any(|key| key.contains('\0'))
}

impl Twins {
    fn add(&mut self, id: Uuid, task: Value, key: Option<String>, subject: Option<String>) {
        self.tasks.insert(id, task);
        if let Some(key) = key {
            self.keys.insert(key, id);
        }
        if let Some(subject) = subject {
            self.subjects.insert(subject, id);
        }
    }

    /// The one that a submission is: by its id, its key or its subject.
    fn of(&self, submission: &Submission) -> Result<Option<Uuid>, LedgerError> {
        let own = self.tasks.get_key_value(&submission.id).map(|(id, _)| *id);
        let key = submission.idempotency_key.as_ref();
        let keyed = key.and_then(|key| self.keys.get(key).copied());
        let subject = submission.subject.as_ref();
        let about = subject.and_then(|subject| self.subjects.get(subject).copied());
        let Some(id) = own.or(keyed).or(about) else {
            return Ok(None);
        };
        match key {
            Some(key) if keyed == Some(id) && self.tasks.get(&id) != Some(&submission.task) => {
                let key = key.clone();
                Err(LedgerError::OtherTask { key, id })
            }
            _ => Ok(Some(id)),
        }
    }
}
