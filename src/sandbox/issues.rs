//! Issues: creating, reading, listing, closing.

use serde_json::{Value, json};

use super::access::Caller;
use super::answer::{Answer, Handled, Page};
use super::ask::Ask;
use super::clock::{self, rfc3339};
use super::repos::Shown;
use super::state::{Event, GiteaVersion, Issue, Repo, Site, next};

impl Issue {
    /// As served; an administrator is shown more of the poster.
    pub(super) fn json(&self, site: &Site, repo: &Repo, admin: bool) -> Value {
        let shown = if admin { Shown::ToAdmin } else { Shown::Plain };
        let owner = site.login(repo.owner);
        let is_comment = |event: &Event| matches!(event, Event::Comment(_));
        let comments = self
            .timeline
            .iter()
            .filter(|row| is_comment(&row.what))
            .count();
        let mut issue = json!({
            "id": self.id,
            "url": format!("{}/issues/{}", site.api_url(repo), self.number),
            "html_url": format!("{}/issues/{}", site.html_url(repo), self.number),
            "number": self.number,
            "user": site.user_json(self.poster, shown),
            "original_author": "",
            "original_author_id": 0,
            "title": self.title,
            "body": self.body,
            "ref": "",
            "assets": [],
            "labels": repo.issue_labels_json(site, self),
            "milestone": null,
            "assignee": null,
            "assignees": null,
            "state": if self.closed.is_some() { "closed" } else { "open" },
            "is_locked": self.locked,
            "comments": comments,
            "created_at": rfc3339(self.created),
            "updated_at": rfc3339(self.updated),
            "closed_at": self.closed.map(rfc3339),
            "due_date": null,
            "time_estimate": 0,
            "pull_request": null,
            "repository": {
                "id": repo.id,
                "name": repo.name,
                "owner": owner,
                "full_name": format!("{owner}/{}", repo.name),
            },
            "pin_order": 0,
        });
        if let (GiteaVersion::V1_26, Some(fields)) = (site.version, issue.as_object_mut()) {
            fields.insert("content_version".to_owned(), self.content_version.into());
        }
        issue
    }
}

/// The issue that Gitea answers with, under 200, when it failed inside.
pub(super) fn zeroed() -> Value {
    json!({
        "id": 0,
        "url": "",
        "html_url": "",
        "number": 0,
        "user": null,
        "original_author": "",
        "original_author_id": 0,
        "title": "",
        "body": "",
        "ref": "",
        "assets": null,
        "labels": null,
        "milestone": null,
        "assignee": null,
        "assignees": null,
        "state": "",
        "is_locked": false,
        "comments": 0,
        "created_at": clock::NEVER,
        "updated_at": clock::NEVER,
        "closed_at": null,
        "due_date": null,
        "time_estimate": 0,
        "pull_request": null,
        "repository": null,
        "pin_order": 0,
    })
}

impl Repo {
    /// Opens an issue and gives its number.
    pub(super) fn add_issue(&mut self, site: &mut Site, user: u64, title: &str, body: &str) -> u64 {
        let number = self.issues.iter().map(|issue| issue.number).max();
        let (number, now) = (number.unwrap_or(0) + 1, clock::now());
        self.issues.push(Issue {
            id: next(&mut site.ids.issue),
            number,
            poster: user,
            title: title.to_owned(),
            body: body.to_owned(),
            closed: None,
            locked: false,
            created: now,
            updated: now,
            content_version: 0,
            labels: Vec::new(),
            timeline: Vec::new(),
        });
        number
    }
}

/// `POST /repos/{o}/{r}/issues`.
pub(super) fn create(site: &mut Site, repo: &mut Repo, caller: &Caller, ask: &Ask) -> Handled {
    let user = caller.known(site)?;
    repo.not_archived(site)?;
    let fields = ask.object(site)?;
    let title = fields.required(site, "title")?;
    let body = fields.text(site, "body")?.unwrap_or_default();
    let closed = fields.flag(site, "closed")?.unwrap_or(false);
    if !repo.has_issues {
        return Err(site.not_found());
    }
    let labels: Vec<u64> = fields
        .get("labels")
        .and_then(Value::as_array)
        .map(|ids| ids.iter().filter_map(Value::as_u64).collect())
        .unwrap_or_default();
    let number = repo.add_issue(site, user, title, body);
    // Labels of somebody who may not write are dropped without a word.
    if caller.writes(repo) {
        repo.attach(site, user, number, &labels);
    }
    if let (true, Some(issue)) = (closed, repo.issue_mut(number)) {
        issue.set_closed(&mut site.ids, user, true);
    }
    shown(site, repo, caller, number, 201)
}

fn shown(site: &Site, repo: &Repo, caller: &Caller, number: u64, status: u16) -> Handled {
    match repo.issue(number) {
        Some(issue) if repo.has_issues => Ok(Answer::json(
            status,
            &issue.json(site, repo, caller.admin()),
        )),
        _ => Err(site.not_found()),
    }
}

/// `GET /repos/{o}/{r}/issues/{n}`.
pub(super) fn get(site: &Site, repo: &Repo, caller: &Caller, number: u64) -> Handled {
    shown(site, repo, caller, number, 200)
}

/// `PATCH /repos/{o}/{r}/issues/{n}`: archived repos take it.
pub(super) fn edit(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    number: u64,
    ask: &Ask,
) -> Handled {
    let user = caller.known(site)?;
    let fields = ask.object(site)?;
    let (writes, has_issues) = (caller.writes(repo), repo.has_issues);
    let Some(issue) = repo.issue_mut(number).filter(|_| has_issues) else {
        return Err(site.not_found());
    };
    if !writes && issue.poster != user {
        return Err(Answer::empty(403));
    }
    let title = fields
        .text(site, "title")?
        .filter(|title| !title.is_empty());
    let body = fields.text(site, "body")?;
    let state = fields.text(site, "state")?;
    // 1.25 has no content version and takes every edit.
    let expected = fields.number(site, "content_version")?;
    let stale = expected.is_some_and(|expected| expected != issue.content_version);
    if site.version >= GiteaVersion::V1_26 && body.is_some() && stale {
        return Err(site.error(409, "content version mismatch"));
    }
    if let Some(title) = title {
        issue.title = title.to_owned();
        issue.updated = clock::now();
    }
    if let Some(body) = body.filter(|body| *body != issue.body) {
        issue.body = body.to_owned();
        issue.content_version += 1;
        issue.updated = clock::now();
    }
    match state {
        None => {}
        Some("open") => issue.set_closed(&mut site.ids, user, false),
        Some("closed") => issue.set_closed(&mut site.ids, user, true),
        Some(other) => return Err(site.error(412, format!("unknown state: {other}"))),
    }
    shown(site, repo, caller, number, 201)
}

/// `GET /repos/{o}/{r}/issues`.
pub(super) fn list(site: &Site, repo: &Repo, caller: &Caller, ask: &Ask) -> Handled {
    let query = &ask.query;
    let (since, before) = (ask.time(site, "since")?, ask.time(site, "before")?);
    let kind = query.get("type");
    // With issues switched off, pulls alone are left to list.
    if kind == Some("issues") && !repo.has_issues {
        return Err(site.not_found());
    }
    let wanted_state = query.get("state").unwrap_or("open");
    // Names that do not exist are dropped, and with none left nothing is filtered. Of several
    // labels of one name the issue must have each.
    let names: Vec<&str> = query.get("labels").unwrap_or("").split(',').collect();
    let wanted_labels: Vec<u64> = repo
        .labels
        .iter()
        .filter(|label| names.contains(&label.name.as_str()))
        .map(|label| label.id)
        .collect();
    let mut found: Vec<&Issue> = repo
        .issues
        .iter()
        .filter(|_| repo.has_issues && kind != Some("pulls"))
        .filter(|issue| match wanted_state {
            "all" => true,
            "closed" => issue.closed.is_some(),
            _ => issue.closed.is_none(),
        })
        .filter(|issue| since.is_none_or(|since| issue.updated >= since))
        .filter(|issue| before.is_none_or(|before| issue.updated <= before))
        .filter(|issue| {
            wanted_labels
                .iter()
                .all(|label| issue.labels.contains(label))
        })
        .collect();
    found.sort_by_key(|issue| std::cmp::Reverse((issue.created, issue.id)));
    let (total, page) = (found.len(), Page::asked(query));
    let issues: Vec<Value> = page
        .of(found)
        .iter()
        .map(|issue| issue.json(site, repo, caller.admin()))
        .collect();
    let mut answer = Answer::json(200, &issues.into()).with("X-Total-Count", total);
    let url = format!("{}/issues", site.api_url(repo));
    if let Some(link) = page.link(&url, query, total) {
        answer.set("Link", link);
    }
    Ok(answer)
}

/// `PUT` and `DELETE /repos/{o}/{r}/issues/{n}/lock`.
pub(super) fn lock(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    number: u64,
    ask: &Ask,
) -> Handled {
    let user = caller.known(site)?;
    if !caller.writes(repo) {
        return Err(site.error(403, "write permission is required"));
    }
    let (locked, event) = if ask.method == "PUT" {
        let fields = ask.object(site)?;
        let reason = fields.text(site, "lock_reason")?.unwrap_or_default();
        (true, Event::Locked(reason.to_owned()))
    } else {
        (false, Event::Unlocked)
    };
    let Some(issue) = repo.issue_mut(number) else {
        return Err(site.not_found());
    };
    if issue.locked != locked {
        issue.locked = locked;
        issue.record(&mut site.ids, user, event);
    }
    Ok(Answer::empty(204))
}
