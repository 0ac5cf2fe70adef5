//! Comments and the timeline that they are rows of.

use serde_json::{Value, json};

use super::access::Caller;
use super::answer::{Answer, Handled, Page};
use super::ask::Ask;
use super::clock::rfc3339;
use super::repos::Shown;
use super::state::{Entry, Event, Issue, Repo, Site};

impl Entry {
    fn urls(&self, site: &Site, repo: &Repo, issue: &Issue) -> (String, String) {
        let issue_url = format!("{}/issues/{}", site.html_url(repo), issue.number);
        (format!("{issue_url}#issuecomment-{}", self.id), issue_url)
    }

    /// As a comment; `None` for any other event.
    fn comment_json(&self, site: &Site, repo: &Repo, issue: &Issue) -> Option<Value> {
        let Event::Comment(body) = &self.what else {
            return None;
        };
        let (html_url, issue_url) = self.urls(site, repo, issue);
        Some(json!({
            "id": self.id,
            "html_url": html_url,
            "pull_request_url": "",
            "issue_url": issue_url,
            "user": site.user_json(self.user, Shown::WithoutEmail),
            "original_author": "",
            "original_author_id": 0,
            "body": body,
            "assets": [],
            "created_at": rfc3339(self.created),
            "updated_at": rfc3339(self.created),
        }))
    }

    fn timeline_json(&self, site: &Site, repo: &Repo, issue: &Issue) -> Value {
        let (html_url, issue_url) = self.urls(site, repo, issue);
        // A label event says in its body whether the label came ("1") or went ("").
        let (kind, body, label) = match &self.what {
            Event::Comment(body) => ("comment", body.as_str(), None),
            Event::LabelAdded(label) => ("label", "1", Some(*label)),
            Event::LabelRemoved(label) => ("label", "", Some(*label)),
            Event::Closed => ("close", "", None),
            Event::Reopened => ("reopen", "", None),
            Event::Locked(reason) => ("lock", reason.as_str(), None),
            Event::Unlocked => ("unlock", "", None),
        };
        let label = label.and_then(|id| repo.label(id));
        json!({
            "id": self.id,
            "type": kind,
            "html_url": html_url,
            "pull_request_url": "",
            "issue_url": issue_url,
            "user": site.user_json(self.user, Shown::WithoutEmail),
            "body": body,
            "created_at": rfc3339(self.created),
            "updated_at": rfc3339(self.created),
            "old_project_id": 0,
            "project_id": 0,
            "old_milestone": null,
            "milestone": null,
            "tracked_time": null,
            "old_title": "",
            "new_title": "",
            "old_ref": "",
            "new_ref": "",
            "ref_issue": null,
            "ref_comment": null,
            "ref_action": "none",
            "ref_commit_sha": "",
            "review_id": 0,
            "label": label.map(|label| label.json(site, repo)),
            "assignee": null,
            "assignee_team": null,
            "removed_assignee": false,
            "resolve_doer": null,
            "dependent_issue": null,
        })
    }
}

impl Repo {
    pub(super) fn comments_json(&self, site: &Site, issue: &Issue) -> Vec<Value> {
        let rows = issue.timeline.iter();
        rows.filter_map(|row| row.comment_json(site, self, issue))
            .collect()
    }

    /// The issue of a comment path. One that does not exist is a 500 there, not a 404, and only an
    /// administrator is told why.
    fn commented(&self, site: &Site, caller: &Caller, number: u64) -> Result<&Issue, Answer> {
        match self.issue(number) {
            Some(issue) if self.has_issues => Ok(issue),
            Some(_) => Err(site.not_found()),
            None => {
                let why = if caller.admin() {
                    let id = self.id;
                    format!("issue does not exist [id: 0, repo_id: {id}, index: {number}]")
                } else {
                    String::new()
                };
                Err(site.error(500, why))
            }
        }
    }
}

/// `POST /repos/{o}/{r}/issues/{n}/comments`: reading the repo is enough to comment.
pub(super) fn create(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    number: u64,
    ask: &Ask,
) -> Handled {
    let user = caller.known(site)?;
    repo.not_archived(site)?;
    let fields = ask.object(site)?;
    let body = fields.required(site, "body")?.to_owned();
    let issue = repo.commented(site, caller, number)?;
    if issue.locked && !caller.writes(repo) {
        return Err(site.error(403, "You cannot comment on a locked issue."));
    }
    if let Some(issue) = repo.issue_mut(number) {
        issue.record(&mut site.ids, user, Event::Comment(body));
    }
    let issue = repo.commented(site, caller, number)?;
    let made = issue.timeline.last();
    let made = made.and_then(|row| row.comment_json(site, repo, issue));
    Ok(Answer::json(201, &made.unwrap_or(Value::Null)))
}

/// Rows between `since` and `before`, both inclusive.
fn rows<'a>(
    site: &Site,
    issue: &'a Issue,
    ask: &Ask,
) -> Result<impl Iterator<Item = &'a Entry>, Answer> {
    let (since, before) = (ask.time(site, "since")?, ask.time(site, "before")?);
    Ok(issue.timeline.iter().filter(move |row| {
        since.is_none_or(|since| row.created >= since)
            && before.is_none_or(|before| row.created <= before)
    }))
}

/// `GET /repos/{o}/{r}/issues/{n}/comments`: never paged.
pub(super) fn list(site: &Site, repo: &Repo, caller: &Caller, number: u64, ask: &Ask) -> Handled {
    let issue = repo.commented(site, caller, number)?;
    let rows = rows(site, issue, ask)?;
    let comments: Vec<Value> = rows
        .filter_map(|row| row.comment_json(site, repo, issue))
        .collect();
    let total = comments.len();
    Ok(Answer::json(200, &comments.into()).with("X-Total-Count", total))
}

/// `GET /repos/{o}/{r}/issues/{n}/timeline`: paged, its total is that of the page, and an empty
/// page is `null`.
pub(super) fn timeline(
    site: &Site,
    repo: &Repo,
    caller: &Caller,
    number: u64,
    ask: &Ask,
) -> Handled {
    let issue = repo.commented(site, caller, number)?;
    let rows = rows(site, issue, ask)?;
    let page = Page::asked(&ask.query).of(rows);
    let events: Vec<Value> = page
        .iter()
        .map(|row| row.timeline_json(site, repo, issue))
        .collect();
    let total = events.len();
    let body = if events.is_empty() {
        Value::Null
    } else {
        events.into()
    };
    Ok(Answer::json(200, &body).with("X-Total-Count", total))
}
