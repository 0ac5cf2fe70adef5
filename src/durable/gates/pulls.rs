//! Gates that look at the pull requests of an issue.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Case, Said, Verdict, undecided};
use crate::dispatch::check_repo;
use crate::durable::{Order, Server};
use crate::gitea::{GiteaError, PullRequest, Review, TimelineEntry};
use crate::http::Transport;

/// So many pull requests of an issue are looked at, the last ones.
const PULLS: usize = 10;

/// The pull requests of an issue, asked for once.
pub(super) struct History<'a, T> {
    server: &'a Server<T>,
    order: &'a Order,
    pulls: OnceCell<Result<Vec<Pull>, GiteaError>>,
}

/// A pull request, and where it is.
#[derive(Debug, Clone, PartialEq)]
struct Pull {
    repo: String,
    request: PullRequest,
}

impl Pull {
    fn is_open(&self) -> bool {
        !self.request.merged && self.request.state == "open"
    }

    /// What people call it, from within the issue's repository.
    fn name(&self, order: &Order) -> String {
        let number = self.request.number;
        if self.repo.eq_ignore_ascii_case(&order.repo) {
            format!("pull request #{number}")
        } else {
            format!("pull request {}#{number}", self.repo)
        }
    }

    fn evidence(&self) -> Value {
        json!({
            "repo": self.repo,
            "pull_request": self.request.number,
            "merged": self.request.merged,
            "commit": self.request.head.sha,
        })
    }
}

fn none() -> Said {
    let reason = "no pull request closes the issue".to_owned();
    (Verdict::Failed(reason), Value::Null)
}

impl<'a, T: Transport> History<'a, T> {
    pub(super) fn new(server: &'a Server<T>, order: &'a Order) -> Self {
        Self {
            server,
            order,
            pulls: OnceCell::new(),
        }
    }

    /// Those that close the issue, the last one first; not those that were given up.
    async fn pulls(&self) -> Result<&[Pull], &GiteaError> {
        let asked = self.pulls.get_or_init(|| async {
            let Some(issue) = self.order.issue else {
                return Ok(Vec::new());
            };
            let timeline = self
                .server
                .repository(&self.order.repo)
                .timeline(issue)
                .await?;
            let mut pulls = Vec::new();
            for (repo, number) in closing(&self.order.repo, &timeline) {
                match self.server.repository(&repo).pull_request(number).await {
                    Ok(request) if request.number == 0 => {
                        let why = "the server answered with an empty pull request".to_owned();
                        return Err(GiteaError::NoAnswer(why));
                    }
                    Ok(request) => pulls.push(Pull { repo, request }),
                    // Where it is we may not look, or it is there no longer.
                    Err(error) if error.status() == Some(404) => {}
                    Err(error) => return Err(error),
                }
            }
            pulls.retain(|pull| pull.request.merged || pull.is_open());
            Ok(pulls)
        });
        asked.await.as_deref()
    }

    /// Whether one is merged, and its checks succeeded. Where several are, one is enough.
    pub(super) async fn merged(&self, without_checks: bool) -> Said {
        let pulls = match self.pulls().await {
            Ok(pulls) => pulls,
            Err(error) => return undecided(error),
        };
        let mut best = None;
        for pull in pulls {
            let said = self.checked(pull, without_checks).await;
            best = better(best, said);
        }
        best.unwrap_or_else(none)
    }

    async fn checked(&self, pull: &Pull, without_checks: bool) -> Said {
        let name = pull.name(self.order);
        let mut evidence = pull.evidence();
        if !pull.request.merged {
            return (Verdict::Pending(format!("{name} is not merged")), evidence);
        }
        let repository = self.server.repository(&pull.repo);
        let status = match repository.combined_status(&pull.request.head.sha).await {
            Ok(status) => status,
            Err(error) => return undecided(&error),
        };
        // Without any check the state is pending at one server, and empty at another.
        let any = status.total_count > 0 || !status.statuses.is_empty();
        if let Some(fields) = evidence.as_object_mut() {
            let state = if any { status.state.as_str() } else { "none" };
            fields.insert("checks".to_owned(), state.into());
        }
        let verdict = match status.state.as_str() {
            _ if !any && without_checks => Verdict::Passed,
            _ if !any => Verdict::Pending(format!("{name} is merged, and has no checks")),
            "success" => Verdict::Passed,
            "pending" | "" => Verdict::Pending(format!("the checks of {name} are at work")),
            state => {
                let bad = status
                    .statuses
                    .iter()
                    .filter(|check| check.status != "success");
                let bad: Vec<&str> = bad.map(|check| check.context.as_str()).take(5).collect();
                let bad = bad.join(", ");
                Verdict::Failed(format!("the checks of {name}: {state} ({bad})"))
            }
        };
        (verdict, evidence)
    }

    /// Whether one has an official review that approves it. Where one is merged, that one counts.
    pub(super) async fn approved(&self, case: Case<'_>) -> Said {
        let pulls = match self.pulls().await {
            Ok(pulls) => pulls,
            Err(error) => return undecided(error),
        };
        let merged = pulls.iter().any(|pull| pull.request.merged);
        let mut best = None;
        for pull in pulls.iter().filter(|pull| pull.request.merged == merged) {
            let repository = self.server.repository(&pull.repo);
            let said = match repository.reviews(pull.request.number).await {
                Ok(reviews) => {
                    let agent = case.terms.gitea_user.as_deref().unwrap_or_default();
                    let (verdict, review) = opinion(&reviews, agent, &pull.name(self.order));
                    let mut evidence = pull.evidence();
                    if let Some(fields) = evidence.as_object_mut() {
                        fields.insert("review".to_owned(), json!(review));
                    }
                    (verdict, evidence)
                }
                Err(error) => undecided(&error),
            };
            best = better(best, said);
        }
        best.unwrap_or_else(none)
    }
}

/// The pull requests that an issue's history says close it, the last ones first, each once.
fn closing(home: &str, timeline: &[TimelineEntry]) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in timeline.iter().rev() {
        if entry.kind != "pull_ref" || entry.ref_action != "closes" {
            continue;
        }
        let Some(pull) = entry
            .ref_issue
            .as_ref()
            .filter(|it| it.pull_request.is_some())
        else {
            continue;
        };
        let repo = pull
            .repository
            .as_ref()
            .map(|place| place.full_name.as_str());
        let repo = repo.filter(|repo| !repo.is_empty()).unwrap_or(home);
        let one = (repo.to_owned(), pull.number);
        if check_repo(repo).is_ok() && !found.contains(&one) {
            found.push(one);
        }
    }
    found.truncate(PULLS);
    found
}

/// What the reviews say together: of each official reviewer the last word counts, and the agent's
/// own is none.
fn opinion(reviews: &[Review], agent: &str, name: &str) -> (Verdict, Option<i64>) {
    let mut last: BTreeMap<i64, &Review> = BTreeMap::new();
    for review in reviews {
        let says = matches!(review.state.as_str(), "APPROVED" | "REQUEST_CHANGES");
        if !says || !review.official || review.dismissed || review.user.is(agent) {
            continue;
        }
        let known = last.entry(review.user.id).or_insert(review);
        if known.id < review.id {
            *known = review;
        }
    }
    let mut last = last.values().filter(|review| !review.stale);
    if let Some(approval) = last.clone().find(|review| review.state == "APPROVED") {
        return (Verdict::Passed, Some(approval.id));
    }
    match last.next() {
        Some(review) => {
            let who = &review.user.login;
            let reason = format!("{who} asks for changes in {name}");
            (Verdict::Failed(reason), Some(review.id))
        }
        None => (
            Verdict::Pending(format!("nobody has approved {name}")),
            None,
        ),
    }
}

/// One that passed is better than one that may, and that than one that failed; of equals the first.
fn better(known: Option<Said>, other: Said) -> Option<Said> {
    let rank = |said: &Said| match said.0 {
        Verdict::Passed => 0,
        Verdict::Pending(_) => 1,
        Verdict::Failed(_) => 2,
    };
    match known {
        Some(known) if rank(&known) <= rank(&other) => Some(known),
        _ => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitea::User;

    fn review(id: i64, who: i64, state: &str) -> Review {
        Review {
            id,
            user: User {
                id: who,
                login: format!("user{who}"),
            },
            state: state.to_owned(),
            stale: false,
            dismissed: false,
            official: true,
        }
    }

    #[test]
    fn of_each_official_reviewer_the_last_word_counts() {
        let approved = |reviews: &[Review]| opinion(reviews, "user9", "it").0;
        let passes = |reviews: &[Review]| approved(reviews) == Verdict::Passed;
        let fails = |reviews: &[Review]| matches!(approved(reviews), Verdict::Failed(_));
        let (yes, no) = (review(1, 1, "APPROVED"), review(2, 1, "REQUEST_CHANGES"));
        assert!(passes(std::slice::from_ref(&yes)));
        assert!(fails(&[yes.clone(), no.clone()]));
        assert!(fails(&[no.clone(), yes.clone()])); // in whatever order they are listed
        assert!(passes(&[no.clone(), review(3, 1, "APPROVED")]));
        assert!(passes(&[no.clone(), review(3, 2, "APPROVED")]));
        assert!(passes(&[yes.clone(), review(3, 1, "COMMENT")]));
        let dismissed = Review {
            dismissed: true,
            ..no.clone()
        };
        assert!(passes(&[yes.clone(), dismissed]));
        let worthless = [
            Review {
                official: false,
                ..yes.clone()
            },
            Review {
                dismissed: true,
                ..yes.clone()
            },
            Review {
                stale: true,
                ..yes.clone()
            },
            review(1, 9, "APPROVED"),
            review(1, 1, "COMMENT"),
            review(1, 1, "PENDING"),
            review(1, 1, "REQUEST_REVIEW"),
        ];
        for review in worthless {
            let said = approved(std::slice::from_ref(&review));
            assert!(matches!(said, Verdict::Pending(_)), "{review:?}");
        }
        assert!(!passes(&[Review { stale: true, ..yes }, no]));
        assert!(matches!(approved(&[]), Verdict::Pending(_)));
    }
}
