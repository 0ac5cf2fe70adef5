//! Issues: creating, reading, listing, closing.

use serde_json::{Value, json};

use super::access::Caller;
use super::answer::{Answer, Handled, Page};
use super::ask::Ask;
use super::clock::{self, rfc3339};
use super::hooks::Happened;
use super::pulls::Pull;
use super::repos::Shown;
use super::state::{Event, GiteaVersion, Issue, Repo, Site, next};

impl Issue {
    /// Its page; that of a pull request is under `pulls`.
    pub(super) fn html_url(&self, site: &Site, repo: &Repo) -> String {
        let kind = if self.pull.is_some() {
            "pulls"
        } else {
            "issues"
        };
        format!("{}/{kind}/{}", site.html_url(repo), self.number)
    }

    fn is_merged(&self) -> bool {
        self.pull.as_ref().is_some_and(|pull| pull.merged.is_some())
    }

    /// Whether it is in the `state` that a list asks for.
    pub(super) fn is(&self, state: &str) -> bool {
        match state {
            "all" => true,
            "closed" => self.closed.is_some(),
            _ => self.closed.is_none(),
        }
    }

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
        let html_url = self.html_url(site, repo);
        let pull = self.pull.as_ref().map(|pull| pull.brief_json(&html_url));
        let mut issue = json!({
            "id": self.id,
            "url": format!("{}/issues/{}", site.api_url(repo), self.number),
            "html_url": html_url,
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
            "pull_request": pull,
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
    /// Opens an issue, or a pull request, and gives its number.
    pub(super) fn add_issue(
        &mut self,
        site: &mut Site,
        user: u64,
        title: &str,
        body: &str,
        pull: Option<Pull>,
    ) -> u64 {
        let (number, now) = (next(&mut self.last_number), clock::now());
        let happened = match pull {
            Some(_) => Happened::Pull("opened"),
            None => Happened::Issue("opened"),
        };
        site.notice(self.id, number, user, happened);
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
            pull,
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
    let number = repo.add_issue(site, user, title, body, None);
    // Labels of somebody who may not write are dropped without a word.
    if caller.writes(repo) {
        repo.attach(site, user, number, &labels);
    }
    if closed {
        repo.set_closed(site, user, number, true);
    }
    shown(site, repo, caller, number, 201)
}

fn shown(site: &Site, repo: &Repo, caller: &Caller, number: u64, status: u16) -> Handled {
    match repo.issue(number) {
        Some(issue) if repo.has_issues || issue.pull.is_some() => Ok(Answer::json(
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
    let (writes, has_issues, id) = (caller.writes(repo), repo.has_issues, repo.id);
    let served = |issue: &&mut Issue| has_issues || issue.pull.is_some();
    let Some(issue) = repo.issue_mut(number).filter(served) else {
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
    let title = title.filter(|title| *title != issue.title);
    let body = body.filter(|body| *body != issue.body);
    if let Some(title) = title {
        title.clone_into(&mut issue.title);
    }
    if let Some(body) = body {
        body.clone_into(&mut issue.body);
        issue.content_version += 1;
    }
    if title.is_some() || body.is_some() {
        issue.updated = clock::now();
        let happened = if issue.pull.is_some() {
            Happened::Pull("edited")
        } else {
            Happened::Issue("edited")
        };
        site.notice(id, number, user, happened);
        repo.refer(site, user, number);
    }
    match state {
        None => {}
        Some("open") if repo.issue(number).is_some_and(Issue::is_merged) => {
            return Err(site.error(
                412,
                "cannot change state of this pull request, it was already merged",
            ));
        }
        Some("open") => repo.set_closed(site, user, number, false),
        Some("closed") => repo.set_closed(site, user, number, true),
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
        .filter(|issue| match (issue.pull.is_some(), kind) {
            (true, Some("issues")) | (false, Some("pulls")) => false,
            (true, _) => true,
            (false, _) => repo.has_issues,
        })
        .filter(|issue| issue.is(wanted_state))
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
    let url = format!("{}/issues", site.api_url(repo));
    Ok(page.listed(&url, query, issues, total))
}

/// `DELETE /repos/{o}/{r}/issues/{n}`: by who administers the repo.
pub(super) fn delete(site: &Site, repo: &mut Repo, caller: &Caller, number: u64) -> Handled {
    caller.administrator(site, repo)?;
    if repo.issue(number).is_none() {
        return Err(site.not_found());
    }
    repo.issues.retain(|issue| issue.number != number);
    Ok(Answer::empty(204))
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
