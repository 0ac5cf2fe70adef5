//! Effects on an issue: comments, and opening it again.

use std::time::Duration;

use serde_json::json;

use super::marker::{is, marked, marker};
use super::outcome::{Held, Trouble, Verdict, deciding, health, preparing};
use super::{Effects, texts};
use crate::dispatch::check_repo;
use crate::durable::breaker::Health;
use crate::durable::order::{Order, Terms};
use crate::gitea::{GiteaError, Repository, User};
use crate::http::Transport;
use crate::ledger::machine::Effect;
use crate::ledger::{Answer, Errand};

/// An errand on an issue, with what it takes to do it.
pub(super) struct OnIssue<'e, T> {
    pub(super) effects: &'e Effects<T>,
    pub(super) errand: &'e Errand,
    pub(super) order: &'e Order,
    pub(super) terms: &'e Terms,
    pub(super) repository: Repository<T>,
    pub(super) number: u64,
}

type Done<V> = Result<V, Trouble>;

impl<T: Transport> OnIssue<'_, T> {
    pub(super) async fn carry_out(&self) -> Done<Answer> {
        match self.errand.effect {
            Effect::Comment | Effect::Withdrawal | Effect::EscalationComment => {
                self.comment().await
            }
            Effect::Label | Effect::EscalationLabel => self.put_label_on().await,
            Effect::Unlabel => self.take_label_off().await,
            Effect::Reopen => self.reopen().await,
            other => Err(Trouble::Impossible(format!(
                "{other} is nothing on an issue"
            ))),
        }
    }

    /// How often it is there, and how the first is called.
    pub(super) async fn look_for(&self) -> Done<Answer> {
        match self.errand.effect {
            Effect::Comment | Effect::Withdrawal | Effect::EscalationComment => {
                self.look_for_comment().await
            }
            Effect::Label | Effect::EscalationLabel => self.look_for_label().await,
            Effect::Unlabel => {
                let on = self.labels_on().await?;
                Ok(Answer::Found(u32::from(on.is_empty()), None))
            }
            Effect::Reopen => self.look_for_reopening().await,
            other => Err(Trouble::Impossible(format!(
                "{other} is nothing on an issue"
            ))),
        }
    }

    async fn comment(&self) -> Done<Answer> {
        let story = match self.errand.effect {
            Effect::EscalationComment => {
                Some(self.effects.ledger.story(self.errand.dispatch).await?)
            }
            _ => None,
        };
        let text = texts::comment(self.errand, self.order, self.terms, story.as_ref());
        let text = self.effects.server.redact(&text);
        let body = format!("{text}\n\n{}", marker(self.errand));
        let comment = self
            .repository
            .post_comment(self.number, &body)
            .await
            .map_err(deciding("comment"))?;
        if comment.id <= 0 {
            let error = GiteaError::NoAnswer("the comment has no id".to_owned());
            return Err(deciding("comment")(error));
        }
        self.effects.learn(&comment.user);
        Ok(Answer::Taken(Some(comment.id)))
    }

    async fn look_for_comment(&self) -> Done<Answer> {
        let me = self.me().await?;
        let comments = self
            .repository
            .comments(self.number)
            .await
            .map_err(preparing("read the comments"))?;
        let ids = marked(&comments, &marker(self.errand), &me);
        let Some((first, surplus)) = ids.split_first() else {
            return Ok(Answer::Found(0, None));
        };
        if !surplus.is_empty() {
            let (dispatch, fence) = (self.errand.dispatch, self.errand.fence);
            let said = json!({
                "effect": self.errand.effect.as_str(),
                "stays": first,
                "removed": surplus,
            });
            let ledger = &self.effects.ledger;
            ledger.note(dispatch, fence, "surplus", said).await?;
            for id in surplus {
                let deleted = self.repository.delete_comment(*id).await;
                deleted.map_err(preparing("remove a surplus comment"))?;
            }
        }
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        Ok(Answer::Found(count, Some(*first)))
    }

    async fn reopen(&self) -> Done<Answer> {
        let issue = self.repository.set_closed(self.number, false).await;
        let issue = issue.map_err(deciding("reopen the issue"))?;
        if issue.is_closed() {
            let backoff = self.effects.settings.backoff;
            return Err(Trouble::Later(backoff, "the issue is still closed"));
        }
        Ok(Answer::Taken(None))
    }

    /// Open, or opened by us since the hand-over: if somebody has closed it again, that is theirs to
    /// decide.
    async fn look_for_reopening(&self) -> Done<Answer> {
        let issue = self.repository.issue(self.number).await;
        let mut done = !issue.map_err(preparing("read the issue"))?.is_closed();
        if let (false, Some(handover)) = (done, self.errand.handover) {
            let me = self.me().await?;
            let history = self.repository.timeline(self.number).await;
            let history = history.map_err(preparing("read the timeline"))?;
            done = history
                .iter()
                .any(|entry| entry.kind == "reopen" && entry.id > handover && is(&entry.user, &me));
        }
        Ok(Answer::Found(u32::from(done), None))
    }

    /// Our own account: from a comment that it wrote where the token may not ask.
    pub(super) async fn me(&self) -> Done<User> {
        match self.effects.server.me().await {
            Ok(me) => Ok(me.clone()),
            Err(error) if error.status() == Some(403) => {
                let known = self.effects.known();
                known.ok_or_else(|| preparing("read our own account")(error))
            }
            Err(error) => Err(preparing("read our own account")(error)),
        }
    }

    /// What follows from a trouble, and how the server took it.
    pub(super) async fn verdict(&self, trouble: Trouble) -> (Verdict, Health) {
        let (tried, error, decisive) = match trouble {
            Trouble::Later(wait, why) => {
                return (Verdict::Again(wait, why.to_owned()), Health::Well);
            }
            Trouble::Impossible(reason) => {
                return (Verdict::Answer(Answer::Refused(reason)), Health::Well);
            }
            Trouble::Ledger => {
                let why = "the ledger did not answer".to_owned();
                return (
                    Verdict::Again(self.effects.settings.backoff, why),
                    Health::Unasked,
                );
            }
            Trouble::Gitea {
                tried,
                error,
                decisive,
            } => (tried, error, decisive),
        };
        let why = format!("cannot {tried}: {error}");
        let again = Verdict::Again(Duration::ZERO, why.clone());
        let lost = match decisive {
            true => Verdict::Answer(Answer::Lost(why)),
            false => Verdict::Again(Duration::ZERO, why),
        };
        let health = health(&error);
        let Some(status) = error.status() else {
            let certain = matches!(error, GiteaError::NotSent(_));
            return (if certain { again } else { lost }, health);
        };
        let verdict = match status {
            300..=399 => Verdict::Held(self.moved(&error)),
            // Issues that are gone, or switched off, look so too.
            404 | 500 => match self.missing().await {
                Some(verdict) => return (verdict, Health::Well),
                None if status == 500 => lost,
                None => again,
            },
            401 | 425 | 429 => again,
            423 => Verdict::Held(self.held(format!(
                "{} is archived (423): unarchive it",
                self.order.repo
            ))),
            408 | 501.. => lost,
            _ => Verdict::Answer(Answer::Refused(self.advice(tried, status, &error))),
        };
        (verdict, health)
    }

    /// Whether the issue is gone, or the repository, asked after a 404 or a 500.
    async fn missing(&self) -> Option<Verdict> {
        let gone = |error: &GiteaError| error.status() == Some(404);
        let error = self.repository.issue(self.number).await.err()?;
        if matches!(error.status(), Some(300..=399)) {
            return Some(Verdict::Held(self.moved(&error)));
        }
        if !gone(&error) {
            return None;
        }
        let repo = &self.order.repo;
        match self.repository.info().await {
            Ok(info) if !info.has_issues => {
                let reason = format!("the issues of {repo} are switched off: switch them on");
                Some(Verdict::Held(self.held(reason)))
            }
            Ok(_) => {
                let again = self.repository.issue(self.number).await.err()?;
                gone(&again).then_some(Verdict::Gone)
            }
            Err(error) if gone(&error) => {
                let reason = format!(
                    "there is no repository {repo} (404), or the token's account may not see it: \
                     give it the right to, or use `repo move` if it has another name"
                );
                Some(Verdict::Held(self.held(reason)))
            }
            Err(error) if matches!(error.status(), Some(300..=399)) => {
                Some(Verdict::Held(self.moved(&error)))
            }
            Err(_) => None,
        }
    }

    pub(super) fn held(&self, reason: String) -> Held {
        Held {
            repo: self.order.repo.clone(),
            reason,
            moved_to: None,
        }
    }

    fn moved(&self, error: &GiteaError) -> Held {
        let repo = &self.order.repo;
        let (status, location) = match error {
            GiteaError::Status {
                status, location, ..
            } => (*status, location.as_deref()),
            _ => (0, None),
        };
        let moved_to = location.and_then(name_in).filter(|name| name != repo);
        let reason = match &moved_to {
            Some(name) => format!(
                "{repo} answers {status}: it is {name} now; `repo move {repo} {name}` goes on"
            ),
            None => format!(
                "{repo} answers {status} with another place: \
                 look where it is and use `repo move`, or correct GITEA_URL"
            ),
        };
        Held {
            repo: repo.clone(),
            reason,
            moved_to,
        }
    }

    fn advice(&self, tried: &str, status: u16, error: &GiteaError) -> String {
        let repo = &self.order.repo;
        let advice = match status {
            403 => format!(
                "unlock the issue, or give the token the scope write:issue (and read:user) and its \
                 account the right to write to {repo}"
            ),
            413 => "the text is too long for the server: shorten the description".to_owned(),
            _ => "see what the server says, and retry".to_owned(),
        };
        let number = self.number;
        format!("cannot {tried} ({repo}#{number}): {error}; {advice}")
    }
}

/// The repository in a place that a server sent: `owner/name`, or nothing.
fn name_in(location: &str) -> Option<String> {
    let (_, behind) = location.split_once("/repos/")?;
    let mut parts = behind.split(['/', '?', '#']);
    let name = format!("{}/{}", parts.next()?, parts.next()?);
    check_repo(&name).is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::name_in;

    #[test]
    fn the_new_name_is_read_from_a_place_and_nothing_else_is() {
        let places = [
            ("/api/v1/repos/timmy/herd/issues/3?x", Some("timmy/herd")),
            ("http://git/api/v1/repos/timmy/herd", Some("timmy/herd")),
            ("/api/v1/repos/timmy", None),
            ("/api/v1/repos/a b/c", None),
            ("/api/v1/repos/../x", None),
            ("https://evil.example/", None),
        ];
        for (place, name) in places {
            assert_eq!(name_in(place).as_deref(), name, "{place}");
        }
    }
}
