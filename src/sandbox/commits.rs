//! Branches, as far as there are any without git, and what is said of their commits.

use serde_json::{Value, json};

use super::access::{Caller, base64};
use super::answer::{Answer, Handled, Page};
use super::ask::Ask;
use super::clock::{self, rfc3339};
use super::hooks::Happened;
use super::repos::Shown;
use super::state::{Event, GiteaVersion, Repo, Site, next};

/// A branch and where it stands. Contents are not kept, only which files it has.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) name: String,
    pub(super) sha: String,
    pub(super) files: Vec<String>,
}

impl Branch {
    pub(super) fn initial(site: &mut Site, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            sha: site.new_sha(),
            files: vec!["README.md".to_owned()],
        }
    }
}

/// What a check says of a commit.
#[derive(Debug)]
pub(super) struct Status {
    id: u64,
    sha: String,
    state: String,
    context: String,
    description: String,
    target_url: String,
    creator: u64,
    created: i64,
}

const STATES: [&str; 6] = [
    "pending", "success", "error", "failure", "warning", "skipped",
];

impl Site {
    /// Forty hexadecimal digits that nothing else has.
    pub(super) fn new_sha(&mut self) -> String {
        let number = next(&mut self.ids.commit);
        let digest = ring::digest::digest(
            &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
            format!("commit {number} of {}", self.url).as_bytes(),
        );
        hexadecimal(digest.as_ref())
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Status {
    pub(super) fn json(&self, site: &Site, repo: &Repo) -> Value {
        json!({
            "id": self.id,
            "status": self.state,
            "target_url": self.target_url,
            "description": self.description,
            "url": format!("{}/statuses/{}", site.api_url(repo), self.sha),
            "context": self.context,
            "creator": site.user_json(self.creator, Shown::WithoutEmail),
            "created_at": rfc3339(self.created),
            "updated_at": rfc3339(self.created),
        })
    }

    /// The payload of a webhook.
    pub(super) fn event_json(&self) -> Value {
        json!({
            "id": self.id,
            "sha": self.sha,
            "state": self.state,
            "context": self.context,
            "description": self.description,
            "target_url": self.target_url,
            "created_at": rfc3339(self.created),
            "updated_at": rfc3339(self.created),
        })
    }
}

impl Repo {
    pub(super) fn branch(&self, name: &str) -> Option<&Branch> {
        self.branches.iter().find(|branch| branch.name == name)
    }

    /// Moves a branch on by a commit, and the open pull requests with it; its new tip. The
    /// reviews of what it was are stale from now on.
    pub(super) fn push(&mut self, site: &mut Site, user: u64, name: &str) -> Option<String> {
        let sha = site.new_sha();
        let branch = self.branches.iter_mut().find(|known| known.name == name)?;
        branch.sha.clone_from(&sha);
        for issue in &mut self.issues {
            let open = issue.closed.is_none();
            let Some(pull) = issue.pull.as_mut().filter(|_| open) else {
                continue;
            };
            if pull.head == name {
                pull.head_sha.clone_from(&sha);
                for review in &mut pull.reviews {
                    review.stale = true;
                }
                issue.record(&mut site.ids, user, Event::Pushed);
                let happened = Happened::Synchronized;
                site.notice(self.id, issue.number, user, happened);
            }
        }
        Some(sha)
    }

    /// A commit by its digits or the name of a branch.
    fn commit(&self, reference: &str) -> Option<String> {
        let known = |sha: &str| {
            let pulls = self.issues.iter().filter_map(|issue| issue.pull.as_ref());
            self.branches.iter().any(|branch| branch.sha == sha)
                || self.statuses.iter().any(|status| status.sha == sha)
                || pulls.into_iter().any(|pull| pull.knows(sha))
        };
        match self.branch(reference) {
            Some(branch) => Some(branch.sha.clone()),
            None => known(reference).then(|| reference.to_owned()),
        }
    }

    pub(super) fn status(&self, id: u64) -> Option<&Status> {
        self.statuses.iter().find(|status| status.id == id)
    }

    /// Of a commit, newest first.
    fn statuses_of(&self, sha: &str) -> Vec<&Status> {
        let of_it = |status: &&Status| status.sha == sha;
        self.statuses.iter().rev().filter(of_it).collect()
    }
}

/// `GET /repos/{o}/{r}/branches` and `…/branches/{name}`.
pub(super) fn branches(site: &Site, repo: &Repo, name: Option<&str>) -> Handled {
    let shown = |branch: &Branch| {
        let url = format!("{}/commit/{}", site.html_url(repo), branch.sha);
        json!({
            "name": branch.name,
            "commit": {"id": branch.sha, "message": "", "url": url},
            "protected": false,
        })
    };
    match name {
        Some(name) => {
            let branch = repo.branch(name).ok_or_else(|| site.not_found())?;
            Ok(Answer::json(200, &shown(branch)))
        }
        None => {
            let all: Vec<Value> = repo.branches.iter().map(shown).collect();
            let total = all.len();
            Ok(Answer::json(200, &all.into()).with("X-Total-Count", total))
        }
    }
}

/// `POST /repos/{o}/{r}/contents/{path}`: a file and the commit that brings it, on a branch that
/// is there or on a new one.
pub(super) fn create_file(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    path: &str,
    ask: &Ask,
) -> Handled {
    let user = caller.known(site)?;
    if !caller.writes(repo) {
        return Err(site.error(
            403,
            "user should have a permission to write to the target branch",
        ));
    }
    repo.not_archived(site)?;
    let fields = ask.object(site)?;
    if base64(fields.text(site, "content")?.unwrap_or_default()).is_none() {
        return Err(site.error(422, "illegal base64 data"));
    }
    let from = match fields.text(site, "branch")? {
        None | Some("") => "main",
        Some(branch) => branch,
    };
    let Some(mut branch) = repo.branch(from).cloned() else {
        return Err(site.error(404, format!("branch does not exist [name: {from}]")));
    };
    if branch.files.iter().any(|known| known == path) {
        let why = format!("repository file already exists [path: {path}]");
        return Err(site.error(422, why));
    }
    branch.files.push(path.to_owned());
    match fields.text(site, "new_branch")? {
        None | Some("") => repo.branches.retain(|known| known.name != from),
        Some(new) if repo.branch(new).is_some() => {
            let why = format!("branch already exists [name: {new}]");
            return Err(site.error(422, why));
        }
        Some(new) => branch.name = new.to_owned(),
    }
    let name = branch.name.clone();
    repo.branches.push(branch);
    let sha = repo.push(site, user, &name);
    let url = format!("{}/contents/{path}?ref={name}", site.api_url(repo));
    let answer = json!({
        "content": {"name": path.rsplit('/').next(), "path": path, "type": "file", "url": url},
        "commit": {"sha": sha, "created": rfc3339(clock::now())},
        "verification": null,
    });
    Ok(Answer::json(201, &answer))
}

/// `POST /repos/{o}/{r}/statuses/{sha}`.
pub(super) fn create_status(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    sha: &str,
    ask: &Ask,
) -> Handled {
    let creator = caller.known(site)?;
    if !caller.writes(repo) {
        return Err(site.error(403, "user should have a permission to write to a repo"));
    }
    let fields = ask.object(site)?;
    let text = |name| {
        let text = fields.text(site, name)?;
        Ok::<_, Answer>(text.unwrap_or_default().trim().to_owned())
    };
    let (state, context) = (text("state")?, text("context")?);
    let (description, target_url) = (text("description")?, text("target_url")?);
    if !STATES.contains(&state.as_str()) {
        return Err(site.error(422, format!("unknown state: {state:?}")));
    }
    let Some(sha) = repo.commit(sha) else {
        return Err(site.not_found());
    };
    let id = next(&mut site.ids.status);
    repo.statuses.push(Status {
        id,
        sha,
        state,
        context: if context.is_empty() {
            "default".to_owned()
        } else {
            context
        },
        description,
        target_url,
        creator,
        created: clock::now(),
    });
    site.notice(repo.id, 0, creator, Happened::Status(id));
    let made = repo.status(id).map(|status| status.json(site, repo));
    Ok(Answer::json(201, &made.unwrap_or(Value::Null)))
}

/// `GET /repos/{o}/{r}/statuses/{sha}` and `…/commits/{ref}/statuses`: newest first.
pub(super) fn list_statuses(site: &Site, repo: &Repo, reference: &str, ask: &Ask) -> Handled {
    let sha = repo.commit(reference).ok_or_else(|| site.not_found())?;
    let all = repo.statuses_of(&sha);
    let total = all.len();
    let page: Vec<Value> = Page::asked(&ask.query)
        .of(all)
        .iter()
        .map(|status| status.json(site, repo))
        .collect();
    Ok(Answer::json(200, &page.into()).with("X-Total-Count", total))
}

/// `GET /repos/{o}/{r}/commits/{ref}/status`: the latest of each context, and all in one word.
pub(super) fn combined_status(
    site: &Site,
    repo: &Repo,
    caller: &Caller,
    reference: &str,
) -> Handled {
    let sha = repo.commit(reference).ok_or_else(|| site.not_found())?;
    let mut latest: Vec<&Status> = Vec::new();
    for status in repo.statuses_of(&sha) {
        if latest.iter().all(|known| known.context != status.context) {
            latest.push(status);
        }
    }
    let has = |states: &[&str]| latest.iter().any(|s| states.contains(&s.state.as_str()));
    let state = if latest.is_empty() && site.version < GiteaVersion::V1_26 {
        ""
    } else if has(&["error", "failure"]) {
        "failure"
    } else if latest.is_empty() || has(&["pending"]) {
        "pending"
    } else {
        "success"
    };
    let statuses: Vec<Value> = latest.iter().map(|s| s.json(site, repo)).collect();
    let (total, commit_url) = (
        statuses.len(),
        format!("{}/commits/{sha}", site.api_url(repo)),
    );
    let combined = json!({
        "state": state,
        "sha": sha,
        "total_count": total,
        "statuses": if total == 0 { Value::Null } else { statuses.into() },
        "repository": repo.json(site, caller),
        "commit_url": commit_url,
        "url": format!("{commit_url}/status"),
    });
    Ok(Answer::json(200, &combined).with("X-Total-Count", total))
}
