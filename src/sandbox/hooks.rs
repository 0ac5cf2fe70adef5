//! Webhooks: which there are, what makes one go out, and what it says.

use std::sync::Arc;

use serde_json::{Value, json};

use super::access::Caller;
use super::answer::{Answer, Handled};
use super::ask::{Ask, Object};
use super::clock::{self, rfc3339};
use super::deliveries::{Delivery, Form};
use super::repos::Shown;
use super::state::{Gitea, GiteaVersion, Repo, Site, next};

/// A webhook of a repo.
#[derive(Debug)]
pub(super) struct Hook {
    id: u64,
    url: String,
    form: Form,
    secret: String,
    events: Vec<&'static str>,
    active: bool,
    created: i64,
    updated: i64,
}

/// The events that a hook can choose, in the names of the API. `issues` and `pull_request` in a
/// request stand for all that begin so; in an answer for their plain ones.
const EVENTS: [&str; 15] = [
    "issues",
    "issue_assign",
    "issue_label",
    "issue_milestone",
    "issue_comment",
    "pull_request",
    "pull_request_assign",
    "pull_request_label",
    "pull_request_milestone",
    "pull_request_comment",
    "pull_request_review",
    "pull_request_review_request",
    "pull_request_sync",
    "push",
    "status",
];

/// Something that webhooks tell of, kept until the request that did it is done.
#[derive(Debug)]
pub(super) struct Notice {
    repo: u64,
    number: u64,
    user: u64,
    what: Happened,
}

#[derive(Debug)]
pub(super) enum Happened {
    /// `opened`, `edited`, `closed`, `reopened`.
    Issue(&'static str),
    Pull(&'static str),
    /// `label_updated` or `label_cleared`.
    Labels(&'static str),
    /// `created` or `edited`, by the row's id.
    Comment(&'static str, u64),
    /// A comment as it was.
    CommentDeleted(Value),
    Synchronized,
    Reviewed(u64),
    /// Whether the request was taken back.
    ReviewRequested(bool),
    Status(u64),
}

/// What goes out: the two names of the event, the event that a hook chose it by, and the payload.
struct Told {
    event: &'static str,
    event_type: &'static str,
    chosen_by: &'static str,
    payload: Value,
}

impl Site {
    /// Notes what happened to an issue or pull request (0 where it concerns none).
    pub(super) fn notice(&mut self, repo: u64, number: u64, user: u64, what: Happened) {
        self.notices.push(Notice {
            repo,
            number,
            user,
            what,
        });
    }
}

impl Gitea {
    /// Makes deliveries of what happened since the last time.
    pub(super) fn take_deliveries(&mut self) -> Vec<Delivery> {
        let notices = std::mem::take(&mut self.site.notices);
        let mut deliveries = Vec::new();
        for notice in notices {
            let repo = self.repos.iter().find(|repo| repo.id == notice.repo);
            let Some(repo) = repo.filter(|repo| !repo.hooks.is_empty()) else {
                continue;
            };
            let Some(told) = notice.told(&self.site, repo) else {
                continue;
            };
            // Go indents by two, and the signature covers each blank.
            let text: Arc<str> = format!("{:#}", told.payload).into();
            for hook in &repo.hooks {
                if hook.active && hook.events.contains(&told.chosen_by) {
                    deliveries.push(Delivery {
                        hook: hook.id,
                        url: hook.url.clone(),
                        form: hook.form,
                        secret: hook.secret.clone(),
                        event: told.event,
                        event_type: told.event_type,
                        payload: Arc::clone(&text),
                    });
                }
            }
        }
        deliveries
    }
}

impl Notice {
    fn told(&self, site: &Site, repo: &Repo) -> Option<Told> {
        let caller = Caller::trusted(site, self.user).unwrap_or(Caller::Nobody);
        let issue = repo.issue(self.number);
        let is_pull = issue.is_some_and(|issue| issue.pull.is_some());
        let (of_issue, of_pull) = ("issues", "pull_request");
        let subject = if is_pull { of_pull } else { of_issue };
        let thing = || -> Option<Value> {
            let issue = issue?;
            match issue.pull_json(site, repo, &caller) {
                Some(pull) => Some(json!({
                    "number": self.number, "pull_request": pull, "requested_reviewer": null,
                    "review": null, "commit_id": "",
                })),
                None => Some(json!({
                    "number": self.number, "issue": issue.json(site, repo, true), "commit_id": "",
                })),
            }
        };
        let on_comment = |comment: Value| -> Option<Value> {
            let issue = issue?.json(site, repo, true);
            Some(json!({"issue": issue, "comment": comment, "is_pull": is_pull}))
        };
        let comment_events = if is_pull {
            "pull_request_comment"
        } else {
            "issue_comment"
        };
        // (event, event type, chosen by, action, payload)
        let (event, event_type, chosen_by, action, payload) = match &self.what {
            Happened::Issue(action) | Happened::Pull(action) => {
                (subject, subject, subject, *action, thing()?)
            }
            Happened::Labels(action) => {
                let kind = if is_pull {
                    "pull_request_label"
                } else {
                    "issue_label"
                };
                (subject, kind, kind, *action, thing()?)
            }
            Happened::Comment(action, row) => {
                let issue = issue?;
                let row = issue.timeline.iter().find(|known| known.id == *row)?;
                let comment = row.comment_json(site, repo, issue)?;
                (
                    "issue_comment",
                    comment_events,
                    comment_events,
                    *action,
                    on_comment(comment)?,
                )
            }
            Happened::CommentDeleted(comment) => {
                let payload = on_comment(comment.clone())?;
                (
                    "issue_comment",
                    comment_events,
                    comment_events,
                    "deleted",
                    payload,
                )
            }
            Happened::Synchronized => {
                let kind = "pull_request_sync";
                (of_pull, kind, kind, "synchronized", thing()?)
            }
            Happened::ReviewRequested(withdrawn) => {
                let kind = "pull_request_review_request";
                let action = if *withdrawn {
                    "review_request_removed"
                } else {
                    "review_requested"
                };
                (of_pull, kind, kind, action, thing()?)
            }
            Happened::Reviewed(id) => {
                let review = issue?.pull.as_ref()?.review(*id)?;
                let mut payload = thing()?;
                payload["review"] = review.event_json();
                let kind = review.event_type();
                let event = match kind {
                    "pull_request_review_approved" => "pull_request_approved",
                    "pull_request_review_rejected" => "pull_request_rejected",
                    _ => "pull_request_comment",
                };
                (event, kind, "pull_request_review", "reviewed", payload)
            }
            Happened::Status(id) => {
                let payload = repo.status(*id)?.event_json();
                ("status", "status", "status", "", payload)
            }
        };
        let mut payload = payload;
        let fields = payload.as_object_mut()?;
        if !action.is_empty() {
            fields.insert("action".to_owned(), action.into());
        }
        fields.insert("repository".to_owned(), repo.json(site, &caller));
        let sender = site.user_json(self.user, Shown::WithoutEmail);
        fields.insert("sender".to_owned(), sender);
        Some(Told {
            event,
            event_type,
            chosen_by,
            payload,
        })
    }
}

impl Hook {
    fn json(&self, site: &Site) -> Value {
        let mut hook = json!({
            "id": self.id,
            "type": "gitea",
            "branch_filter": "",
            // Never the secret.
            "config": {"content_type": self.form.as_str(), "url": self.url},
            "events": self.events,
            "authorization_header": "",
            "active": self.active,
            "updated_at": rfc3339(self.updated),
            "created_at": rfc3339(self.created),
        });
        if site.version >= GiteaVersion::V1_26 {
            hook["name"] = "".into();
        }
        hook
    }
}

/// The events that a request names; without any it is `push`.
fn chosen(fields: &Object) -> Vec<&'static str> {
    let named = fields.get("events").and_then(Value::as_array);
    let named: Vec<String> = named
        .into_iter()
        .flatten()
        .filter_map(|name| Some(name.as_str()?.to_lowercase()))
        .collect();
    if named.is_empty() {
        return vec!["push"];
    }
    let has = |name: &str| named.iter().any(|known| known == name);
    let wanted = |event: &&str| match *event {
        "issues" => has("issues") || has("issues_only"),
        "pull_request" => has("pull_request") || has("pull_request_only"),
        event if event.starts_with("issue_") => has(event) || has("issues"),
        event if event.starts_with("pull_request_") => has(event) || has("pull_request"),
        event => has(event),
    };
    EVENTS.into_iter().filter(|event| wanted(event)).collect()
}

fn setting<'a>(fields: &'a Object, name: &str) -> Option<&'a str> {
    fields.get("config")?.get(name)?.as_str()
}

fn form(site: &Site, text: &str) -> Result<Form, Answer> {
    Form::named(text).ok_or_else(|| site.error(422, "Invalid content type"))
}

/// `GET` and `POST /repos/{o}/{r}/hooks`.
pub(super) fn list_or_create(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    ask: &Ask,
) -> Handled {
    caller.administrator(site, repo)?;
    if ask.method == "GET" {
        let hooks: Vec<Value> = repo.hooks.iter().map(|hook| hook.json(site)).collect();
        let total = hooks.len();
        return Ok(Answer::json(200, &hooks.into()).with("X-Total-Count", total));
    }
    let fields = ask.object(site)?;
    let kind = fields.required(site, "type")?;
    if kind != "gitea" {
        return Err(site.error(422, format!("Invalid hook type: {kind}")));
    }
    let missing = |name| site.error(422, format!("Missing config option: {name}"));
    let url = setting(&fields, "url").ok_or_else(|| missing("url"))?;
    let text = setting(&fields, "content_type").ok_or_else(|| missing("content_type"))?;
    let form = form(site, text)?;
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(site.error(422, "Invalid url"));
    }
    let now = clock::now();
    let hook = Hook {
        id: next(&mut site.ids.hook),
        url: url.to_owned(),
        form,
        secret: setting(&fields, "secret").unwrap_or_default().to_owned(),
        events: chosen(&fields),
        active: fields.flag(site, "active")?.unwrap_or(false),
        created: now,
        updated: now,
    };
    let shown = hook.json(site);
    repo.hooks.push(hook);
    Ok(Answer::json(201, &shown))
}

/// `GET`, `PATCH` and `DELETE /repos/{o}/{r}/hooks/{id}`.
pub(super) fn one(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    id: u64,
    ask: &Ask,
) -> Handled {
    caller.administrator(site, repo)?;
    let Some(hook) = repo.hooks.iter_mut().find(|hook| hook.id == id) else {
        return Err(site.not_found());
    };
    match ask.method {
        "DELETE" => {
            repo.hooks.retain(|hook| hook.id != id);
            return Ok(Answer::empty(204));
        }
        "PATCH" => {
            let fields = ask.object(site)?;
            let form = setting(&fields, "content_type").map(|text| form(site, text));
            hook.form = form.transpose()?.unwrap_or(hook.form);
            if let Some(url) = setting(&fields, "url") {
                url.clone_into(&mut hook.url);
            }
            if let Some(secret) = setting(&fields, "secret") {
                secret.clone_into(&mut hook.secret);
            }
            // As Gitea does: events that are not named again are gone.
            hook.events = chosen(&fields);
            hook.active = fields.flag(site, "active")?.unwrap_or(hook.active);
            hook.updated = clock::now();
        }
        _ => {}
    }
    Ok(Answer::json(200, &hook.json(site)))
}
