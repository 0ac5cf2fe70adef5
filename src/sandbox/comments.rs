//! Comments and the timeline that they are rows of.

use serde_json::{Value, json};

use super::access::Caller;
use super::answer::{Answer, Handled, Page};
use super::ask::Ask;
use super::clock::{self, rfc3339};
use super::hooks::Happened;
use super::repos::Shown;
use super::reviews::Review;
use super::state::{Entry, Event, Issue, Repo, Site};

impl Entry {
    /// Its own page and the two that it may be on: `issue_url` or `pull_request_url`.
    fn urls(&self, site: &Site, repo: &Repo, issue: &Issue) -> [String; 3] {
        let page = issue.html_url(site, repo);
        let own = format!("{page}#issuecomment-{}", self.id);
        if issue.pull.is_some() {
            [own, String::new(), page]
        } else {
            [own, page, String::new()]
        }
    }

    /// As a comment; `None` for any other event.
    pub(super) fn comment_json(&self, site: &Site, repo: &Repo, issue: &Issue) -> Option<Value> {
        let Event::Comment(body) = &self.what else {
            return None;
        };
        let [html_url, issue_url, pull_request_url] = self.urls(site, repo, issue);
        Some(json!({
            "id": self.id,
            "html_url": html_url,
            "pull_request_url": pull_request_url,
            "issue_url": issue_url,
            "user": site.user_json(self.user, Shown::WithoutEmail),
            "original_author": "",
            "original_author_id": 0,
            "body": body,
            "assets": [],
            "created_at": rfc3339(self.created),
            "updated_at": rfc3339(self.updated),
        }))
    }

    fn timeline_json(&self, site: &Site, repo: &Repo, issue: &Issue, admin: bool) -> Value {
        let [html_url, issue_url, pull_request_url] = self.urls(site, repo, issue);
        let review_id = match &self.what {
            Event::Reviewed(review)
            | Event::Dismissed(review, _)
            | Event::ReviewRequested { review, .. } => *review,
            _ => 0,
        };
        let review = issue.pull.as_ref().and_then(|pull| pull.review(review_id));
        // A label event says in its body whether the label came ("1") or went ("").
        let (kind, body, label) = match &self.what {
            Event::Comment(body) => ("comment", body.as_str(), None),
            Event::LabelAdded(label) => ("label", "1", Some(*label)),
            Event::LabelRemoved(label) => ("label", "", Some(*label)),
            Event::Closed => ("close", "", None),
            Event::Reopened => ("reopen", "", None),
            Event::Locked(reason) => ("lock", reason.as_str(), None),
            Event::Unlocked => ("unlock", "", None),
            Event::Referenced { .. } => ("pull_ref", "", None),
            Event::Reviewed(_) => ("review", review.map_or("", Review::body), None),
            Event::ReviewRequested { .. } => ("review_request", "", None),
            Event::Dismissed(_, why) => ("dismiss_review", why.as_str(), None),
            Event::Pushed => ("pull_push", "", None),
            Event::Merged(_) => ("merge_pull", "", None),
        };
        let (ref_issue, ref_action) = match &self.what {
            Event::Referenced { pull, closes } => {
                let pull = repo.issue(*pull).map(|pull| pull.json(site, repo, admin));
                (pull, if *closes { "closes" } else { "none" })
            }
            _ => (None, "none"),
        };
        let (assignee, removed) = match &self.what {
            Event::ReviewRequested {
                reviewer,
                withdrawn,
                ..
            } => (
                Some(site.user_json(*reviewer, Shown::WithoutEmail)),
                *withdrawn,
            ),
            _ => (None, false),
        };
        let sha = match &self.what {
            Event::Merged(sha) => sha.as_str(),
            _ => "",
        };
        let label = label.and_then(|id| repo.label(id));
        json!({
            "id": self.id,
            "type": kind,
            "html_url": html_url,
            "pull_request_url": pull_request_url,
            "issue_url": issue_url,
            "user": site.user_json(self.user, Shown::WithoutEmail),
            "body": body,
            "created_at": rfc3339(self.created),
            "updated_at": rfc3339(self.updated),
            "old_project_id": 0,
            "project_id": 0,
            "old_milestone": null,
            "milestone": null,
            "tracked_time": null,
            "old_title": "",
            "new_title": "",
            "old_ref": "",
            "new_ref": "",
            "ref_issue": ref_issue,
            "ref_comment": null,
            "ref_action": ref_action,
            "ref_commit_sha": sha,
            "review_id": review_id,
            "label": label.map(|label| label.json(site, repo)),
            "assignee": assignee,
            "assignee_team": null,
            "removed_assignee": removed,
            "resolve_doer": null,
            "dependent_issue": null,
        })
    }
}

impl Repo {
    /// Comments on an issue and gives the comment's id; `None` where there is no such issue.
    pub(super) fn comment(
        &mut self,
        site: &mut Site,
        user: u64,
        number: u64,
        body: String,
    ) -> Option<u64> {
        let issue = self.issue_mut(number)?;
        let row = issue.record(&mut site.ids, user, Event::Comment(body));
        let happened = Happened::Comment("created", row);
        site.notice(self.id, number, user, happened);
        Some(row)
    }

    pub(super) fn timeline_json(&self, site: &Site, issue: &Issue) -> Vec<Value> {
        let rows = issue.timeline.iter();
        rows.map(|row| row.timeline_json(site, self, issue, true))
            .collect()
    }

    /// Where a comment is: its issue's number, by its own id alone.
    fn issue_of_comment(&self, id: u64) -> Option<&Issue> {
        let is_it = |row: &Entry| row.id == id && matches!(row.what, Event::Comment(_));
        let mut issues = self.issues.iter();
        issues.find(|issue| issue.timeline.iter().any(is_it))
    }

    pub(super) fn comments_json(&self, site: &Site, issue: &Issue) -> Vec<Value> {
        let rows = issue.timeline.iter();
        rows.filter_map(|row| row.comment_json(site, self, issue))
            .collect()
    }

    /// The issue of a comment path. One that does not exist is a 500 there, not a 404, and only an
    /// administrator is told why.
    fn commented(&self, site: &Site, caller: &Caller, number: u64) -> Result<&Issue, Answer> {
        match self.issue(number) {
            Some(issue) if self.has_issues || issue.pull.is_some() => Ok(issue),
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
    repo.comment(site, user, number, body);
    let issue = repo.commented(site, caller, number)?;
    let made = issue.timeline.last();
    let made = made.and_then(|row| row.comment_json(site, repo, issue));
    Ok(Answer::json(201, &made.unwrap_or(Value::Null)))
}

/// `GET`, `PATCH` and `DELETE /repos/{o}/{r}/issues/comments/{id}`: by its author, or by who may
/// write. Neither an edit nor a deletion counts as a change of the issue.
pub(super) fn one(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    id: u64,
    ask: &Ask,
) -> Handled {
    let shown = |site: &Site, repo: &Repo| {
        let issue = repo.issue_of_comment(id)?;
        let row = issue.timeline.iter().find(|row| row.id == id)?;
        Some((issue.number, row.user, row.comment_json(site, repo, issue)?))
    };
    let (number, author, comment) = shown(site, repo).ok_or_else(|| site.not_found())?;
    if ask.method == "GET" {
        return Ok(Answer::json(200, &comment));
    }
    let user = caller.known(site)?;
    if user != author && !caller.writes(repo) {
        return Err(Answer::empty(403));
    }
    let deleted = ask.method == "DELETE";
    let body = if deleted {
        String::new()
    } else {
        repo.not_archived(site)?;
        ask.object(site)?.required(site, "body")?.to_owned()
    };
    let Some(issue) = repo.issue_mut(number) else {
        return Err(site.not_found());
    };
    if deleted {
        issue.timeline.retain(|row| row.id != id);
        let happened = Happened::CommentDeleted(comment);
        site.notice(repo.id, number, user, happened);
        return Ok(Answer::empty(204));
    }
    for row in issue.timeline.iter_mut().filter(|row| row.id == id) {
        row.what = Event::Comment(body.clone());
        row.updated = clock::now();
    }
    let happened = Happened::Comment("edited", id);
    site.notice(repo.id, number, user, happened);
    let (_, _, comment) = shown(site, repo).ok_or_else(|| site.not_found())?;
    Ok(Answer::json(200, &comment))
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
        .map(|row| row.timeline_json(site, repo, issue, caller.admin()))
        .collect();
    let total = events.len();
    let body = if events.is_empty() {
        Value::Null
    } else {
        events.into()
    };
    Ok(Answer::json(200, &body).with("X-Total-Count", total))
}
