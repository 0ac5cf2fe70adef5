//! What the sandbox's owner does to it beyond repos and issues: pull requests, reviews, checks,
//! webhooks, and anything that the API can do, in anybody's name.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Value, json};

use super::access::Caller;
use super::ask::Ask;
use super::deliveries::{DeliveryFault, RecordedDelivery};
use super::routes;
use super::server::World;
use super::{Sandbox, SandboxError, id_of};

impl Sandbox {
    /// Does what a request to the API by this user would, whose token has every scope: without a
    /// socket, not recorded, past all faults. The path is what follows `/api/v1`; `Value::Null` is
    /// no body, and what an answer without one gives.
    ///
    /// ```
    /// # use timmy_dispatcher::sandbox::Sandbox;
    /// # use serde_json::{Value, json};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let gitea = Sandbox::builder().start()?;
    /// let repo = gitea.create_repo("swarm")?;
    /// gitea.create_issue(&repo, "Design the LLM router", "")?;
    /// gitea.create_user("kimi", "kimi-token", &["write:issue"])?;
    /// let comment = gitea.act(
    ///     "kimi",
    ///     "POST",
    ///     &format!("/repos/{repo}/issues/1/comments"),
    ///     &json!({"body": "on it"}),
    /// )?;
    /// assert_eq!(comment["user"]["login"], "kimi");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where there is no such user, or Gitea refuses it; the error has its status and message.
    pub fn act(
        &self,
        login: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, SandboxError> {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut ask = Ask::new(method, path, text.as_bytes());
        ask.content_type = Some("application/json");
        let answer = self.shared.change(|world: &mut World| {
            let site = &world.gitea.site;
            let user = site.user_named(login).map(|user| user.id);
            let caller = user.and_then(|user| Caller::trusted(site, user))?;
            Some(routes::answer_to(&mut world.gitea, &caller, &ask))
        });
        let answer =
            answer.ok_or_else(|| SandboxError::Refused(format!("there is no user {login:?}")))?;
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        if answer.status < 300 {
            return Ok(said);
        }
        let message = said["message"].as_str().unwrap_or_default();
        Err(SandboxError::Refused(format!(
            "{} {message}",
            answer.status
        )))
    }

    /// As the owner, on a repo that is there.
    fn on(
        &self,
        repo: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, SandboxError> {
        id_of(&self.shared.world(), repo)?;
        let owner = self.login();
        self.act(&owner, method, &format!("/repos/{repo}{path}"), body)
    }

    /// The owner's login, which may have been changed since the start.
    fn login(&self) -> String {
        let world = self.shared.world();
        world.gitea.site.login(self.owner_id).to_owned()
    }

    /// Makes a branch with a new file off `main`, or adds one to it where it is there already, and
    /// gives the commit's digits. The reviews of its open pull requests become stale.
    ///
    /// # Errors
    /// Where there is no such repo.
    pub fn push(&self, repo: &str, branch: &str) -> Result<String, SandboxError> {
        let known = self.change(repo, |_, repo| repo.branch(branch).is_some())?;
        let file = format!(
            "/contents/file-{}.txt",
            self.change(repo, |site, _| site.new_sha())?
        );
        let body = if known {
            json!({"content": "", "branch": branch})
        } else {
            json!({"content": "", "new_branch": branch})
        };
        let made = self.on(repo, "POST", &file, &body)?;
        Ok(made["commit"]["sha"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    /// Opens a pull request from a branch to `main` and gives its number; numbers are shared with
    /// issues. `Closes #7` in its body closes that issue when it is merged.
    ///
    /// # Errors
    /// Where there is no such repo or branch, or the branch has one open.
    pub fn create_pull(
        &self,
        repo: &str,
        title: &str,
        body: &str,
        head: &str,
    ) -> Result<u64, SandboxError> {
        let pull = json!({"title": title, "body": body, "head": head, "base": "main"});
        Ok(number_in(
            &self.on(repo, "POST", "/pulls", &pull)?,
            "number",
        ))
    }

    /// A pull request as served.
    ///
    /// # Errors
    /// Where there is no such repo or pull request.
    pub fn pull(&self, repo: &str, number: u64) -> Result<Value, SandboxError> {
        self.on(repo, "GET", &format!("/pulls/{number}"), &Value::Null)
    }

    /// Merges a pull request and closes the issues that it says it closes.
    ///
    /// # Errors
    /// Where there is no such repo or pull request, or it is merged or closed already.
    pub fn merge_pull(&self, repo: &str, number: u64) -> Result<(), SandboxError> {
        let path = format!("/pulls/{number}/merge");
        self.on(repo, "POST", &path, &json!({"Do": "merge"}))
            .map(drop)
    }

    /// Reviews a pull request in a user's name and gives the review's id. The event is `APPROVED`,
    /// `REQUEST_CHANGES`, `COMMENT` or `PENDING`; it is official where the user may write.
    ///
    /// # Errors
    /// Where there is no such repo, pull request or user, and what Gitea refuses: to approve one's
    /// own, or to ask for changes without saying which.
    pub fn review_pull(
        &self,
        repo: &str,
        number: u64,
        login: &str,
        event: &str,
        body: &str,
    ) -> Result<u64, SandboxError> {
        id_of(&self.shared.world(), repo)?;
        let path = format!("/repos/{repo}/pulls/{number}/reviews");
        let review = json!({"event": event, "body": body});
        Ok(number_in(&self.act(login, "POST", &path, &review)?, "id"))
    }

    /// Says how a check of a commit went: `pending`, `success`, `error`, `failure`, `warning` or
    /// `skipped`. The commit is given by its digits or by a branch.
    ///
    /// # Errors
    /// Where there is no such repo or commit, or the state is none.
    pub fn set_status(
        &self,
        repo: &str,
        commit: &str,
        context: &str,
        state: &str,
    ) -> Result<(), SandboxError> {
        let status = json!({"state": state, "context": context});
        let path = format!("/statuses/{commit}");
        self.on(repo, "POST", &path, &status).map(drop)
    }

    /// Makes an active webhook that sends JSON and gives its id. See
    /// [`webhook_hosts`](super::SandboxBuilder::webhook_hosts) for where it may send to.
    ///
    /// # Errors
    /// Where there is no such repo, or the URL is none.
    pub fn create_hook(
        &self,
        repo: &str,
        url: &str,
        secret: &str,
        events: &[&str],
    ) -> Result<u64, SandboxError> {
        let config = json!({"url": url, "content_type": "json", "secret": secret});
        let hook = json!({"type": "gitea", "config": config, "events": events, "active": true});
        Ok(number_in(&self.on(repo, "POST", "/hooks", &hook)?, "id"))
    }

    /// Removes a comment, as a moderator would.
    ///
    /// # Errors
    /// Where there is no such repo or comment.
    pub fn delete_comment(&self, repo: &str, id: u64) -> Result<(), SandboxError> {
        let path = format!("/issues/comments/{id}");
        self.on(repo, "DELETE", &path, &Value::Null).map(drop)
    }

    /// Removes an issue; its number does not come back.
    ///
    /// # Errors
    /// Where there is no such repo or issue.
    pub fn delete_issue(&self, repo: &str, number: u64) -> Result<(), SandboxError> {
        let path = format!("/issues/{number}");
        self.on(repo, "DELETE", &path, &Value::Null).map(drop)
    }

    /// The whole timeline of an issue or pull request as served, oldest first.
    ///
    /// # Errors
    /// Where there is no such repo or issue.
    pub fn timeline(&self, repo: &str, number: u64) -> Result<Vec<Value>, SandboxError> {
        self.read_issue(repo, number, |site, repo, issue| {
            repo.timeline_json(site, issue)
        })
    }

    /// Orders a fault of webhooks.
    ///
    /// # Errors
    /// Where it would repeat one more than 1,000 times.
    pub fn delivery_fault(&self, fault: DeliveryFault) -> Result<(), SandboxError> {
        fault.check()?;
        self.shared.world().post.order(fault);
        Ok(())
    }

    /// Every webhook that was sent, or that could not be, in order; of very many the last 10,000.
    #[must_use]
    pub fn deliveries(&self) -> Vec<RecordedDelivery> {
        self.shared.world().post.all()
    }

    /// Waits until so many webhooks are done with since the start, arrived or not; false where
    /// that takes longer than `timeout`.
    #[must_use = "false says that they were not"]
    pub fn wait_for_deliveries(&self, count: usize, timeout: Duration) -> bool {
        self.wait_until(timeout, |world| world.post.count() >= count)
    }

    /// Waits until no effect is still to come late ([`commit_late`](super::Fault::commit_late));
    /// false where that takes longer than `timeout`.
    #[must_use = "false says that some are still to come"]
    pub fn wait_for_late_effects(&self, timeout: Duration) -> bool {
        self.wait_until(timeout, |world| world.late == 0)
    }

    pub(super) fn wait_until(&self, timeout: Duration, true_now: impl Fn(&World) -> bool) -> bool {
        let world = self.shared.world();
        let changed = &self.shared.changed;
        let waited = changed.wait_timeout_while(world, timeout, |world| !true_now(world));
        let (world, _) = waited.unwrap_or_else(PoisonError::into_inner);
        true_now(&world)
    }
}

fn number_in(answer: &Value, field: &str) -> u64 {
    answer[field].as_u64().unwrap_or_default()
}
