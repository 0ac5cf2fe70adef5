//! Pull requests: issues with a branch, that close other issues when they are merged.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::access::Caller;
use super::answer::{Answer, Handled, Page};
use super::ask::Ask;
use super::clock::{self, rfc3339};
use super::hooks::Happened;
use super::issues;
use super::repos::Shown;
use super::reviews::Review;
use super::state::{Event, GiteaVersion, Issue, Repo, Site, next};

/// What a pull request is beside the issue that it also is.
#[derive(Debug)]
pub(super) struct Pull {
    id: u64,
    /// The branch that is to be merged, and its tip.
    pub(super) head: String,
    pub(super) head_sha: String,
    base: String,
    merge_base: String,
    changed_files: usize,
    pub(super) merged: Option<Merge>,
    pub(super) reviews: Vec<Review>,
}

#[derive(Debug)]
pub(super) struct Merge {
    sha: String,
    by: u64,
    at: i64,
}

impl Pull {
    /// Whether a commit belongs to it, though no branch stands there any more.
    pub(super) fn knows(&self, sha: &str) -> bool {
        self.head_sha == sha
            || self.merge_base == sha
            || self.merged.as_ref().is_some_and(|merge| merge.sha == sha)
            || self.reviews.iter().any(|review| review.commit == sha)
    }

    /// What an issue tells of being a pull request.
    pub(super) fn brief_json(&self, html_url: &str) -> Value {
        json!({
            "merged": self.merged.is_some(),
            "merged_at": self.merged.as_ref().map(|merge| rfc3339(merge.at)),
            "draft": false,
            "html_url": html_url,
        })
    }
}

impl Issue {
    /// As a pull request; `None` where it is an issue only.
    pub(super) fn pull_json(&self, site: &Site, repo: &Repo, caller: &Caller) -> Option<Value> {
        let pull = self.pull.as_ref()?;
        let issue = self.json(site, repo, caller.admin());
        let html_url = self.html_url(site, repo);
        let repo_json = repo.json(site, caller);
        let branch = |name: &str, sha: &str| json!({"label": name, "ref": name, "sha": sha, "repo_id": repo.id, "repo": repo_json});
        let base = repo.branch(&pull.base);
        let base_sha = base.map_or(pull.merge_base.as_str(), |branch| &branch.sha);
        let merge = pull.merged.as_ref();
        let reviewers: Vec<Value> = pull
            .reviewers()
            .map(|id| site.user_json(id, Shown::WithoutEmail))
            .collect();
        let mut shown = json!({
            "id": pull.id,
            // Gitea gives the page here, not the API's address.
            "url": html_url,
            "number": self.number,
            "assignee": null,
            "assignees": [],
            "requested_reviewers": reviewers,
            "requested_reviewers_teams": [],
            "draft": false,
            "additions": pull.changed_files,
            "deletions": 0,
            "changed_files": pull.changed_files,
            "html_url": html_url,
            "diff_url": format!("{html_url}.diff"),
            "patch_url": format!("{html_url}.patch"),
            "mergeable": true,
            "merged": merge.is_some(),
            "merged_at": merge.map(|merge| rfc3339(merge.at)),
            "merge_commit_sha": merge.map(|merge| &merge.sha),
            "merged_by": merge.map(|merge| site.user_json(merge.by, Shown::WithoutEmail)),
            "allow_maintainer_edit": site.version >= GiteaVersion::V1_26,
            "base": branch(&pull.base, base_sha),
            "head": branch(&pull.head, &pull.head_sha),
            "merge_base": pull.merge_base,
        });
        let fields = shown.as_object_mut()?;
        for same in [
            "user",
            "title",
            "body",
            "labels",
            "milestone",
            "state",
            "is_locked",
            "comments",
            "due_date",
            "created_at",
            "updated_at",
            "closed_at",
            "pin_order",
            "content_version",
        ] {
            if let Some(value) = issue.get(same) {
                fields.insert(same.to_owned(), value.clone());
            }
        }
        let reviewed = |event: &Event| matches!(event, Event::Reviewed(_));
        let reviewed = self
            .timeline
            .iter()
            .filter(|row| reviewed(&row.what))
            .count();
        if reviewed > 0 {
            fields.insert("review_comments".to_owned(), reviewed.into());
        }
        Some(shown)
    }
}

/// The issues that a text names as `#7`, and whether a keyword before says that they are closed.
fn references(text: &str) -> BTreeMap<u64, bool> {
    const KEYWORDS: [&str; 9] = [
        "close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved",
    ];
    let mut found = BTreeMap::new();
    let mut before = "";
    for word in text.split_whitespace() {
        let number = word
            .trim_start_matches(['(', '[', '"', '\''])
            .strip_prefix('#');
        let digits = number.map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit());
            rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
        });
        if let Some(number) = digits.and_then(|digits| digits.parse().ok()) {
            let keyword = before.trim_end_matches(':').to_ascii_lowercase();
            *found.entry(number).or_insert(false) |= KEYWORDS.contains(&keyword.as_str());
        }
        before = word;
    }
    found
}

impl Repo {
    fn pull(&self, number: u64) -> Option<(&Issue, &Pull)> {
        let issue = self.issue(number)?;
        Some((issue, issue.pull.as_ref()?))
    }

    /// A pull request, or Gitea's 404.
    pub(super) fn pull_or_404(&self, site: &Site, number: u64) -> Result<(&Issue, &Pull), Answer> {
        self.pull(number).ok_or_else(|| site.not_found())
    }

    /// Notes a pull request in the timelines of the issues that it names, each once.
    pub(super) fn refer(&mut self, site: &mut Site, user: u64, pull: u64) {
        let Some((issue, _)) = self.pull(pull) else {
            return;
        };
        let named = references(&format!("{}\n{}", issue.title, issue.body));
        for (number, closes) in named {
            let known = |event: &Event| {
                matches!(event, Event::Referenced { pull: known, closes: how }
                    if *known == pull && *how == closes)
            };
            if let Some(issue) = self.issue_mut(number).filter(|issue| issue.number != pull)
                && !issue.timeline.iter().any(|row| known(&row.what))
            {
                issue.record(&mut site.ids, user, Event::Referenced { pull, closes });
            }
        }
    }
}

/// `POST /repos/{o}/{r}/pulls`, from a branch of the same repo.
pub(super) fn create(site: &mut Site, repo: &mut Repo, caller: &Caller, ask: &Ask) -> Handled {
    let user = caller.known(site)?;
    repo.not_archived(site)?;
    let fields = ask.object(site)?;
    let title = fields.required(site, "title")?;
    let (head, base) = (
        fields.required(site, "head")?,
        fields.required(site, "base")?,
    );
    let body = fields.text(site, "body")?.unwrap_or_default();
    let (Some(from), Some(to)) = (repo.branch(head), repo.branch(base)) else {
        return Err(site.not_found());
    };
    if head == base {
        return Err(site.error(
            422,
            "Invalid PullRequest: There are no changes between the head and the base",
        ));
    }
    let open = repo.issues.iter().filter(|issue| issue.closed.is_none());
    let mut open = open.filter_map(|issue| issue.pull.as_ref());
    if open.any(|pull| pull.head == head && pull.base == base) {
        let why = "pull request already exists for these targets";
        return Err(site.error(409, why));
    }
    let new_file = |file: &&String| !to.files.contains(file);
    let pull = Pull {
        id: next(&mut site.ids.pull),
        head: head.to_owned(),
        head_sha: from.sha.clone(),
        base: base.to_owned(),
        merge_base: to.sha.clone(),
        changed_files: from.files.iter().filter(new_file).count(),
        merged: None,
        reviews: Vec::new(),
    };
    let number = repo.add_issue(site, user, title, body, Some(pull));
    repo.refer(site, user, number);
    shown(site, repo, caller, number, 201)
}

fn shown(site: &Site, repo: &Repo, caller: &Caller, number: u64, status: u16) -> Handled {
    let (issue, _) = repo.pull_or_404(site, number)?;
    let shown = issue.pull_json(site, repo, caller);
    Ok(Answer::json(status, &shown.unwrap_or(Value::Null)))
}

/// `GET /repos/{o}/{r}/pulls/{n}`.
pub(super) fn get(site: &Site, repo: &Repo, caller: &Caller, number: u64) -> Handled {
    shown(site, repo, caller, number, 200)
}

/// `PATCH /repos/{o}/{r}/pulls/{n}`: as of the issue that it is.
pub(super) fn edit(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    number: u64,
    ask: &Ask,
) -> Handled {
    repo.pull_or_404(site, number)?;
    issues::edit(site, repo, caller, number, ask)?;
    shown(site, repo, caller, number, 201)
}

/// `GET /repos/{o}/{r}/pulls`, newest first.
pub(super) fn list(site: &Site, repo: &Repo, caller: &Caller, ask: &Ask) -> Handled {
    let state = ask.query.get("state").unwrap_or("open");
    let issues = repo
        .issues
        .iter()
        .rev()
        .filter(|issue| issue.pull.is_some());
    let found: Vec<&Issue> = issues.filter(|issue| issue.is(state)).collect();
    let (total, page) = (found.len(), Page::asked(&ask.query));
    let pulls: Vec<Value> = page
        .of(found)
        .iter()
        .filter_map(|issue| issue.pull_json(site, repo, caller))
        .collect();
    let url = format!("{}/pulls", site.api_url(repo));
    Ok(page.listed(&url, &ask.query, pulls, total))
}

/// `GET /repos/{o}/{r}/pulls/{n}/merge`: 204 where it is merged, else 404.
pub(super) fn is_merged(site: &Site, repo: &Repo, number: u64) -> Handled {
    match repo.pull_or_404(site, number)?.1.merged {
        Some(_) => Ok(Answer::empty(204)),
        None => Err(site.not_found()),
    }
}

/// `POST /repos/{o}/{r}/pulls/{n}/merge`. The issues that it names with a keyword are closed at
/// once, where Gitea takes a moment.
pub(super) fn merge(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    number: u64,
    ask: &Ask,
) -> Handled {
    let user = caller.known(site)?;
    let (writes, (issue, pull)) = (caller.writes(repo), repo.pull_or_404(site, number)?);
    let fields = ask.object(site)?;
    let way = match fields.text(site, "Do")? {
        Some(way) => way,
        None => fields.required(site, "do")?,
    };
    const WAYS: [&str; 5] = [
        "merge",
        "rebase",
        "rebase-merge",
        "squash",
        "fast-forward-only",
    ];
    if !WAYS.contains(&way) {
        return Err(site.error(422, "[Do]: In"));
    }
    if pull.merged.is_some() {
        return Err(Answer::empty(405));
    }
    if issue.closed.is_some() {
        return Err(site.not_found());
    }
    if !writes {
        return Err(site.error(405, "User not allowed to merge PR"));
    }
    let expected = fields.text(site, "head_commit_id")?.unwrap_or_default();
    if !expected.is_empty() && expected != pull.head_sha {
        let why = format!("head target is out of date [expected: {expected}]");
        return Err(site.error(409, why));
    }
    let (base, named) = (
        pull.base.clone(),
        references(&format!("{}\n{}", issue.title, issue.body)),
    );
    let files = repo.branch(&pull.head).map(|branch| branch.files.clone());
    let sha = repo.push(site, user, &base).unwrap_or_default();
    if let Some(branch) = repo.branches.iter_mut().find(|known| known.name == base) {
        branch.files = files.unwrap_or_default();
    }
    if let Some(issue) = repo.issue_mut(number) {
        let at = clock::now();
        issue.record(&mut site.ids, user, Event::Merged(sha.clone()));
        issue.closed = Some(at);
        if let Some(pull) = &mut issue.pull {
            pull.merged = Some(Merge { sha, by: user, at });
        }
    }
    site.notice(repo.id, number, user, Happened::Pull("closed"));
    for (named, closes) in named {
        let an_issue = repo.issue(named).is_some_and(|issue| issue.pull.is_none());
        if closes && an_issue {
            repo.set_closed(site, user, named, true);
        }
    }
    Ok(Answer::empty(200))
}

#[cfg(test)]
mod tests {
    use super::references;

    #[test]
    fn references_are_found_with_their_keywords() {
        let found: Vec<_> = references("Fixes: #12, and see (#7).\nresolves #3 #4 closes # x#5")
            .into_iter()
            .collect();
        assert_eq!(found, [(3, true), (4, false), (7, false), (12, true)]);
        assert!(references("").is_empty());
    }
}
