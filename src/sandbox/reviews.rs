//! Reviews of pull requests, and what becomes of them.

use serde_json::{Value, json};

use super::access::Caller;
use super::answer::{Answer, Handled, Page};
use super::ask::{Ask, Object};
use super::clock::{self, rfc3339};
use super::hooks::Happened;
use super::pulls::Pull;
use super::repos::Shown;
use super::state::{Access, Event, Issue, Repo, Site, next};

/// What a reviewer said, or is asked to say.
#[derive(Debug)]
pub(super) struct Review {
    id: u64,
    user: u64,
    pub(super) verdict: Verdict,
    body: String,
    /// The commit that was looked at; empty where the review is only asked for.
    pub(super) commit: String,
    /// The branch has moved on since.
    pub(super) stale: bool,
    /// By somebody who may write, and their last.
    official: bool,
    dismissed: bool,
    at: i64,
    /// Its row of the timeline; 0 while it is not handed in.
    row: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Approved,
    RequestChanges,
    Comment,
    Pending,
    Requested,
}

impl Verdict {
    fn of(event: &str) -> Self {
        match event {
            "APPROVED" | "APPROVE" => Self::Approved,
            "REQUEST_CHANGES" => Self::RequestChanges,
            "COMMENT" => Self::Comment,
            _ => Self::Pending,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "APPROVED",
            Self::RequestChanges => "REQUEST_CHANGES",
            Self::Comment => "COMMENT",
            Self::Pending => "PENDING",
            Self::Requested => "REQUEST_REVIEW",
        }
    }

    /// Whether it says yes or no.
    const fn decides(self) -> bool {
        matches!(self, Self::Approved | Self::RequestChanges)
    }
}

impl Pull {
    /// Who was asked, or decided, last first asked; Gitea lists both as requested.
    pub(super) fn reviewers(&self) -> impl Iterator<Item = u64> {
        let counts =
            |review: &&Review| review.verdict.decides() || review.verdict == Verdict::Requested;
        let mut users = Vec::new();
        for review in self.reviews.iter().filter(counts) {
            if !users.contains(&review.user) {
                users.push(review.user);
            }
        }
        users.into_iter()
    }

    pub(super) fn review(&self, id: u64) -> Option<&Review> {
        self.reviews.iter().find(|review| review.id == id)
    }

    /// Makes room for a verdict: of each reviewer the last one counts.
    fn supersede(&mut self, user: u64, verdict: Verdict) {
        if verdict != Verdict::Pending {
            let request = |r: &Review| r.user == user && r.verdict == Verdict::Requested;
            self.reviews.retain(|review| !request(review));
        }
        if verdict.decides() {
            for review in self.reviews.iter_mut().filter(|r| r.user == user) {
                review.official = false;
                review.dismissed |= review.verdict.decides();
            }
        }
    }
}

impl Review {
    pub(super) fn json(&self, site: &Site, repo: &Repo, issue: &Issue) -> Value {
        let url = issue.html_url(site, repo);
        json!({
            "id": self.id,
            "user": site.user_json(self.user, Shown::ToAdmin),
            "team": null,
            "state": self.verdict.as_str(),
            "body": self.body,
            "commit_id": self.commit,
            "stale": self.stale,
            "official": self.official,
            "dismissed": self.dismissed,
            "comments_count": 0,
            "submitted_at": rfc3339(self.at),
            "updated_at": rfc3339(self.at),
            "html_url": if self.row == 0 { String::new() } else { format!("{url}#issuecomment-{}", self.row) },
            "pull_request_url": url,
        })
    }

    /// What a webhook tells of it.
    pub(super) fn event_json(&self) -> Value {
        json!({"type": self.event_type(), "content": self.body})
    }

    /// Its `X-Gitea-Event-Type`.
    pub(super) fn event_type(&self) -> &'static str {
        match self.verdict {
            Verdict::Approved => "pull_request_review_approved",
            Verdict::RequestChanges => "pull_request_review_rejected",
            _ => "pull_request_review_comment",
        }
    }

    pub(super) fn body(&self) -> &str {
        &self.body
    }

    /// A pending review is its author's alone.
    fn seen_by(&self, caller: &Caller) -> bool {
        self.verdict != Verdict::Pending
            || matches!(caller, Caller::User { id, admin, .. } if *admin || *id == self.user)
    }
}

/// `GET /repos/{o}/{r}/pulls/{n}/reviews`.
pub(super) fn list(site: &Site, repo: &Repo, caller: &Caller, number: u64, ask: &Ask) -> Handled {
    let (issue, pull) = repo.pull_or_404(site, number)?;
    let seen: Vec<&Review> = pull.reviews.iter().filter(|r| r.seen_by(caller)).collect();
    let total = seen.len();
    let page = Page::asked(&ask.query).of(seen);
    let reviews: Vec<Value> = page.iter().map(|r| r.json(site, repo, issue)).collect();
    Ok(Answer::json(200, &reviews.into()).with("X-Total-Count", total))
}

fn shown(site: &Site, repo: &Repo, caller: &Caller, number: u64, id: u64) -> Handled {
    let (issue, pull) = repo.pull_or_404(site, number)?;
    let review = pull.review(id).filter(|review| review.seen_by(caller));
    let review = review.ok_or_else(|| site.not_found())?;
    Ok(Answer::json(200, &review.json(site, repo, issue)))
}

/// `GET /repos/{o}/{r}/pulls/{n}/reviews/{id}`.
pub(super) fn get(site: &Site, repo: &Repo, caller: &Caller, number: u64, id: u64) -> Handled {
    shown(site, repo, caller, number, id)
}

/// What a review says, as far as it may.
fn verdict(
    site: &Site,
    issue: &Issue,
    user: u64,
    fields: &Object,
) -> Result<(Verdict, String), Answer> {
    let verdict = Verdict::of(fields.text(site, "event")?.unwrap_or_default());
    let body = fields.text(site, "body")?.unwrap_or_default();
    let own = issue.poster == user;
    let why = match verdict {
        Verdict::Approved if own => "approve your own pull is not allowed",
        Verdict::RequestChanges if own => "reject your own pull is not allowed",
        Verdict::RequestChanges if body.trim().is_empty() => {
            "review event REQUEST_CHANGES requires a body"
        }
        Verdict::Comment if body.trim().is_empty() => {
            "review event COMMENT requires a body or a comment"
        }
        _ => return Ok((verdict, body.to_owned())),
    };
    Err(site.error(422, why))
}

/// `POST /repos/{o}/{r}/pulls/{n}/reviews` hands one in, or with `pending` begins one;
/// `POST …/reviews/{id}` hands in what was begun.
pub(super) fn submit(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    number: u64,
    pending: Option<u64>,
    ask: &Ask,
) -> Handled {
    let user = caller.known(site)?;
    let writes = caller.writes(repo);
    let (issue, pull) = repo.pull_or_404(site, number)?;
    let fields = ask.object(site)?;
    let (verdict, body) = verdict(site, issue, user, &fields)?;
    let begun = |review: &Review| review.user == user && review.verdict == Verdict::Pending;
    if let Some(id) = pending {
        let review = pull.review(id).ok_or_else(|| site.not_found())?;
        if !begun(review) {
            return Err(site.error(422, "only a pending review can be submitted"));
        }
    }
    let commit = match fields.text(site, "commit_id")? {
        None | Some("") => pull.head_sha.clone(),
        Some(commit) => commit.to_owned(),
    };
    // A reviewer has one review that is not handed in yet; it is the one that is gone on with.
    let known = pull.reviews.iter().find(|review| begun(review));
    let id = known.map_or_else(|| next(&mut site.ids.review), |review| review.id);
    let Some(issue) = repo.issue_mut(number) else {
        return Err(site.not_found());
    };
    let row = match verdict {
        Verdict::Pending => 0,
        _ => issue.record(&mut site.ids, user, Event::Reviewed(id)),
    };
    if let Some(pull) = &mut issue.pull {
        pull.supersede(user, verdict);
        pull.reviews.retain(|review| review.id != id);
        pull.reviews.push(Review {
            id,
            user,
            verdict,
            body,
            stale: commit != pull.head_sha,
            commit,
            official: verdict.decides() && writes,
            dismissed: false,
            at: clock::now(),
            row,
        });
    }
    if verdict != Verdict::Pending {
        site.notice(repo.id, number, user, Happened::Reviewed(id));
    }
    shown(site, repo, caller, number, id)
}

/// `DELETE /repos/{o}/{r}/pulls/{n}/reviews/{id}`.
pub(super) fn delete(
    site: &Site,
    repo: &mut Repo,
    caller: &Caller,
    number: u64,
    id: u64,
) -> Handled {
    let user = caller.known(site)?;
    shown(site, repo, caller, number, id)?;
    let Some(pull) = repo.issue_mut(number).and_then(|issue| issue.pull.as_mut()) else {
        return Err(site.not_found());
    };
    let own = |review: &Review| review.id == id && review.user == user;
    if !caller.admin() && !pull.reviews.iter().any(own) {
        return Err(Answer::empty(403));
    }
    pull.reviews.retain(|review| review.id != id);
    Ok(Answer::empty(204))
}

/// `POST …/reviews/{id}/dismissals` and `…/undismissals`.
pub(super) fn dismiss(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    number: u64,
    id: u64,
    dismissed: bool,
    ask: &Ask,
) -> Handled {
    let user = caller.known(site)?;
    if !caller.administers(repo) {
        return Err(site.error(403, "Must be repo admin"));
    }
    shown(site, repo, caller, number, id)?;
    let why = if dismissed {
        let fields = ask.object(site)?;
        fields.text(site, "message")?.unwrap_or_default().to_owned()
    } else {
        String::new()
    };
    let Some(issue) = repo.issue_mut(number) else {
        return Err(site.not_found());
    };
    let closed = issue.closed.is_some();
    let reviews = issue.pull.iter_mut().flat_map(|pull| &mut pull.reviews);
    let Some(review) = reviews.into_iter().find(|review| review.id == id) else {
        return Err(site.not_found());
    };
    if !review.verdict.decides() {
        let why =
            "not need to dismiss this review because it's type is not Approve or change request";
        return Err(site.error(403, why));
    }
    if dismissed && closed {
        return Err(site.error(
            403,
            "can't dismiss a review associated to a closed or merged PR",
        ));
    }
    if review.dismissed != dismissed {
        review.dismissed = dismissed;
        if dismissed {
            issue.record(&mut site.ids, user, Event::Dismissed(id, why));
        }
    }
    shown(site, repo, caller, number, id)
}

/// `POST` and `DELETE /repos/{o}/{r}/pulls/{n}/requested_reviewers`.
pub(super) fn request(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    number: u64,
    ask: &Ask,
) -> Handled {
    let user = caller.known(site)?;
    let (issue, _) = repo.pull_or_404(site, number)?;
    let (poster, closed) = (issue.poster, issue.closed.is_some());
    if !caller.writes(repo) && poster != user {
        return Err(site.error(422, "doer can't choose reviewer"));
    }
    let fields = ask.object(site)?;
    let names = fields.get("reviewers").and_then(Value::as_array);
    let mut reviewers = Vec::new();
    for name in names.into_iter().flatten().filter_map(Value::as_str) {
        let Some(reviewer) = site.user_named(name) else {
            return Err(site.error(404, format!("User '{name}' not exist")));
        };
        if reviewer.id == poster {
            return Err(site.error(422, "poster of pr can't be reviewer"));
        }
        reviewers.push(reviewer.id);
    }
    if closed && !reviewers.is_empty() {
        return Err(site.error(403, "can't request review for a closed or merged PR"));
    }
    let (adding, mut asked) = (ask.method == "POST", Vec::new());
    for reviewer in reviewers {
        let official = repo.access(reviewer).is_some_and(|a| a >= Access::Write);
        let Some(issue) = repo.issue_mut(number) else {
            return Err(site.not_found());
        };
        let Some(pull) = &mut issue.pull else {
            continue;
        };
        let open = |r: &Review| r.user == reviewer && r.verdict == Verdict::Requested;
        if pull.reviews.iter().any(open) == adding {
            continue;
        }
        let review = if adding {
            let id = next(&mut site.ids.review);
            if official {
                for review in pull.reviews.iter_mut().filter(|r| r.user == reviewer) {
                    review.official = false;
                }
            }
            pull.reviews.push(Review {
                id,
                user: reviewer,
                verdict: Verdict::Requested,
                body: String::new(),
                commit: String::new(),
                stale: false,
                official,
                dismissed: false,
                at: clock::now(),
                row: 0,
            });
            asked.push(id);
            id
        } else {
            pull.reviews.retain(|review| !open(review));
            0
        };
        let event = Event::ReviewRequested {
            reviewer,
            review,
            withdrawn: !adding,
        };
        issue.record(&mut site.ids, user, event);
        site.notice(repo.id, number, user, Happened::ReviewRequested(!adding));
    }
    if !adding {
        return Ok(Answer::empty(204));
    }
    let (issue, pull) = repo.pull_or_404(site, number)?;
    let made = pull.reviews.iter().filter(|r| asked.contains(&r.id));
    let made: Vec<Value> = made.map(|r| r.json(site, repo, issue)).collect();
    Ok(Answer::json(201, &made.into()))
}
