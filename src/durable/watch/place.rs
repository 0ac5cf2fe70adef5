//! One look at one repository.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::observe::{Case, observe};
use super::poller::{Round, Seen, Subject};
use super::since::Watermark;
use crate::dispatch::settings::check_repo;
use crate::durable::Terms;
use crate::gitea::{GiteaError, Issue, Repository, TimelineEntry};
use crate::http::Transport;
use crate::ledger::Watched;
use crate::ledger::machine::{Event, Phase};

/// What is remembered of a repository.
#[derive(Debug, Default)]
pub(super) struct Place {
    watermark: Option<Watermark>,
    issues: HashMap<u64, Known>,
    told: HashMap<Uuid, Told>,
    /// When the repository itself is to be read.
    reread: Option<Instant>,
    /// The server wants to be left alone until then.
    quiet_until: Option<Instant>,
    /// It was not there the last time.
    missing: bool,
    failing: bool,
}

/// What is remembered of an issue.
#[derive(Debug)]
struct Known {
    /// Of its state, labels and comments when it was last listed.
    mark: Option<u64>,
    /// Since when its history is to be read.
    due: Option<Instant>,
    /// And once more then: until the overlap has passed the same second may bring more.
    settles: Option<Instant>,
    /// When it is to be read singly.
    reread: Instant,
    /// It was not there the last time.
    missing: bool,
}

/// What was told of an attempt.
#[derive(Debug, Clone, Copy)]
struct Told {
    fence: u64,
    /// Whether its hand-over was confirmed.
    whole: bool,
    seen: i64,
}

/// Why a look at a repository ended early.
enum Stop {
    Failed(GiteaError),
    Held(String),
}

impl From<GiteaError> for Stop {
    fn from(error: GiteaError) -> Self {
        Self::Failed(error)
    }
}

type Looked<V> = Result<V, Stop>;

impl Place {
    pub(super) async fn look<T: Transport>(
        &mut self,
        round: &Round<'_>,
        repository: &Repository<T>,
        subjects: &[Subject<'_>],
    ) -> Vec<Seen> {
        self.take_in(round, subjects);
        if self.quiet_until.is_some_and(|until| round.now < until) {
            return Vec::new();
        }
        let mut seen = Vec::new();
        let ended = self
            .look_around(round, repository, subjects, &mut seen)
            .await;
        let repo = repository.name();
        match ended {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("{repo} can be watched again");
                }
                self.quiet_until = None;
            }
            Err(Stop::Failed(error)) => {
                let wait = error.retry_after().map(|wait| wait.min(round.pace.reread));
                self.quiet_until = wait.map(|wait| round.now + wait);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!("{repo} cannot be watched: {error}");
                }
            }
            Err(Stop::Held(reason)) => {
                // What is held already need not be told so in every round.
                if subjects
                    .iter()
                    .any(|subject| subject.watched.phase != Phase::Held)
                {
                    let repo = repo.to_owned();
                    seen.push(Seen::Held { repo, reason });
                }
            }
        }
        seen
    }

    /// Remembers new issues and forgets those that are not watched any more.
    fn take_in(&mut self, round: &Round<'_>, subjects: &[Subject<'_>]) {
        let numbers: HashSet<u64> = subjects.iter().map(|subject| subject.number).collect();
        self.issues.retain(|number, _| numbers.contains(number));
        let ids: HashSet<Uuid> = subjects.iter().map(|subject| subject.watched.id).collect();
        self.told.retain(|id, _| ids.contains(id));
        for Subject { watched, number } in subjects {
            let known = self.issues.entry(*number).or_insert_with(|| {
                // Spread over the whole time, so that not all are read at once.
                let hash = round.marks.hash_one(number) % 1024;
                let share = u32::try_from(hash).unwrap_or_default();
                Known {
                    mark: None,
                    due: None,
                    settles: None,
                    reread: round.now + round.pace.reread * share / 1024,
                    missing: false,
                }
            });
            let told = self.told.get(&watched.id);
            let unknown = told.is_none_or(|told| {
                told.fence != watched.fence || (!told.whole && is_whole(watched))
            });
            if unknown || known.settles.is_some_and(|settles| settles <= round.now) {
                known.due.get_or_insert(round.now);
            }
        }
    }

    async fn look_around<T: Transport>(
        &mut self,
        round: &Round<'_>,
        repository: &Repository<T>,
        subjects: &[Subject<'_>],
        seen: &mut Vec<Seen>,
    ) -> Looked<()> {
        if self.reread.is_none_or(|reread| reread <= round.now) {
            self.read_repository(round, repository).await?;
        }
        if self.watermark.is_none() {
            // The last one that was handed over bears the latest time, most likely.
            let mut latest: Vec<_> = subjects.iter().collect();
            latest.sort_unstable_by_key(|subject| std::cmp::Reverse(subject.watched.handover));
            let latest: Vec<u64> = latest
                .iter()
                .map(|subject| subject.number)
                .take(1)
                .collect();
            self.read_singly(round, repository, latest, subjects, seen)
                .await?;
        }
        self.list(round, repository).await?;
        let singly = self.issues.iter();
        let singly = singly.filter_map(|(number, known)| {
            (known.reread <= round.now).then_some((known.reread, *number))
        });
        let singly = round.first(singly);
        self.read_singly(round, repository, singly, subjects, seen)
            .await?;
        self.read_histories(round, repository, subjects, seen).await
    }

    /// Whether anything can be done in the repository.
    async fn read_repository<T: Transport>(
        &mut self,
        round: &Round<'_>,
        repository: &Repository<T>,
    ) -> Looked<()> {
        self.reread = None;
        match repository.info().await {
            // The server's own error, with everything empty.
            Ok(info) if info.id == 0 => {
                let why = "the server answered with an empty repository".to_owned();
                Err(Stop::Failed(GiteaError::NoAnswer(why)))
            }
            Ok(info) if info.archived => Err(Stop::Held("the repository is archived".to_owned())),
            Ok(info) if !info.has_issues => Err(Stop::Held(
                "the repository's issues are switched off".to_owned(),
            )),
            Ok(_) => {
                self.missing = false;
                self.reread = Some(round.now + round.pace.reread);
                Ok(())
            }
            // Once may be a proxy's mistake.
            Err(error) if error.status() == Some(404) && self.missing => Err(Stop::Held(
                "the repository is not there, or we may not see it".to_owned(),
            )),
            Err(error) => {
                self.missing = error.status() == Some(404);
                Err(stopped(repository.name(), error))
            }
        }
    }

    /// One listing of what changed.
    async fn list<T: Transport>(
        &mut self,
        round: &Round<'_>,
        repository: &Repository<T>,
    ) -> Looked<()> {
        let Some(watermark) = self.watermark else {
            return Ok(()); // The first issue is missing.
        };
        let since = watermark.since(round.now, round.pace.overlap());
        let issues = match repository.issues_since(Some(&since)).await {
            Ok(issues) if issues.iter().any(|issue| issue.number == 0) => {
                let why = "the server listed an empty issue".to_owned();
                return Err(Stop::Failed(GiteaError::NoAnswer(why)));
            }
            Ok(issues) => issues,
            Err(error) => {
                if error.status() == Some(404) {
                    self.read_repository(round, repository).await?;
                }
                return Err(stopped(repository.name(), error));
            }
        };
        for issue in &issues {
            self.compare(round, issue);
        }
        Ok(())
    }

    /// Whether an issue is as it was, and what time it is at the server.
    fn compare(&mut self, round: &Round<'_>, issue: &Issue) {
        let now = Instant::now();
        Watermark::raise(&mut self.watermark, &issue.updated_at, now);
        let Some(known) = self.issues.get_mut(&issue.number) else {
            return;
        };
        let mark = mark(round.marks, issue);
        if known.mark.replace(mark) != Some(mark) {
            known.due.get_or_insert(round.now);
            let overlap = round.pace.overlap();
            let past = self
                .watermark
                .is_some_and(|known| known.is_past(&issue.updated_at, overlap));
            known.settles = (!past).then(|| now + overlap);
        }
    }

    /// Reads issues one by one, which shows those that were deleted.
    async fn read_singly<T: Transport>(
        &mut self,
        round: &Round<'_>,
        repository: &Repository<T>,
        numbers: Vec<u64>,
        subjects: &[Subject<'_>],
        seen: &mut Vec<Seen>,
    ) -> Looked<()> {
        let mut missing = Vec::new();
        let mut issues = stream::iter(numbers)
            .map(|number| async move { (number, repository.issue(number).await) })
            .buffer_unordered(round.pace.at_once.max(1));
        while let Some((number, issue)) = issues.next().await {
            match issue {
                Ok(issue) => {
                    if let Some(known) = self.issues.get_mut(&number) {
                        known.missing = false;
                        known.reread = round.now + round.pace.reread;
                    }
                    self.compare(round, &issue);
                }
                Err(error) if error.status() == Some(404) => missing.push(number),
                Err(error) => return Err(stopped(repository.name(), error)),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.read_repository(round, repository).await?;
        for number in missing {
            let Some(known) = self.issues.get_mut(&number) else {
                continue;
            };
            // Again in the next round.
            known.reread = round.now;
            if !std::mem::replace(&mut known.missing, true) {
                continue;
            }
            for subject in subjects.iter().filter(|subject| subject.number == number) {
                seen.push(Seen::Event {
                    id: subject.watched.id,
                    event: Event::IssueGone,
                    evidence: json!({ "issue": number, "status": 404 }),
                });
            }
        }
        Ok(())
    }

    /// Reads the histories of the issues where something may have happened, those that wait longest
    /// first.
    async fn read_histories<T: Transport>(
        &mut self,
        round: &Round<'_>,
        repository: &Repository<T>,
        subjects: &[Subject<'_>],
        seen: &mut Vec<Seen>,
    ) -> Looked<()> {
        let mut of: HashMap<u64, Vec<&Watched>> = HashMap::new();
        for subject in subjects.iter().filter(|subject| tells(subject.watched)) {
            of.entry(subject.number).or_default().push(subject.watched);
        }
        let due = self
            .issues
            .iter()
            .filter(|(number, known)| !known.missing && of.contains_key(number));
        let due = round.first(due.filter_map(|(number, known)| Some((known.due?, *number))));
        let mut failed = None;
        let mut doubtful = Vec::new();
        let mut histories = stream::iter(due)
            .map(|number| async move { (number, repository.timeline(number).await) })
            .buffer_unordered(round.pace.at_once.max(1));
        while let Some((number, history)) = histories.next().await {
            match history {
                Ok(history) => {
                    let watched = of.get(&number).map(Vec::as_slice).unwrap_or_default();
                    self.tell(round, number, watched, &history, seen);
                }
                // The history of an issue that is not there is an error of the server's.
                Err(error) if matches!(error.status(), Some(404 | 500)) => {
                    doubtful.push(number);
                    failed = Some(error);
                }
                Err(error) => return Err(stopped(repository.name(), error)),
            }
        }
        drop(histories);
        self.read_singly(round, repository, doubtful, subjects, seen)
            .await?;
        failed.map_or(Ok(()), |error| Err(Stop::Failed(error)))
    }

    /// Says what a history says about the attempts at its issue.
    fn tell(
        &mut self,
        round: &Round<'_>,
        number: u64,
        attempts: &[&Watched],
        history: &[TimelineEntry],
        seen: &mut Vec<Seen>,
    ) {
        let Some(known) = self.issues.get_mut(&number) else {
            return;
        };
        known.due = None;
        known.missing = false;
        if known.settles.is_some_and(|settles| settles <= round.now) {
            known.settles = None;
        }
        for watched in attempts {
            let terms = match Terms::of(&watched.terms) {
                Ok(terms) => terms,
                Err(error) => {
                    tracing::error!("the terms of {} cannot be read: {error}", watched.id);
                    continue;
                }
            };
            let before = self.told.get(&watched.id);
            let before = before.filter(|told| told.fence == watched.fence);
            let case = Case {
                watched,
                terms: &terms,
                me: round.me,
                agents: round.agents,
                seen: before.map_or(0, |told| told.seen),
            };
            let observed = observe(&case, history);
            if !observed.events.is_empty() {
                // Until the ledger has it; then the phase says so and it is not told again.
                known.due = Some(round.now);
            }
            let told = Told {
                fence: watched.fence,
                whole: is_whole(watched),
                seen: observed.seen,
            };
            self.told.insert(watched.id, told);
            for (event, mut evidence) in observed.events {
                if let Some(fields) = evidence.as_object_mut() {
                    fields.insert("issue".to_owned(), number.into());
                }
                let id = watched.id;
                seen.push(Seen::Event {
                    id,
                    event,
                    evidence,
                });
            }
        }
    }
}

/// Whether an issue's history can say anything about it.
fn tells(watched: &Watched) -> bool {
    match watched.phase {
        Phase::HandingOver => !watched.started,
        Phase::HandedOver | Phase::Working => true,
        _ => watched.draining,
    }
}

/// Whether everything that happens counts, and not only signs of life.
fn is_whole(watched: &Watched) -> bool {
    watched.phase != Phase::HandingOver
}

/// What of an issue changes when something happens to it.
fn mark(marks: &RandomState, issue: &Issue) -> u64 {
    let mut labels: Vec<i64> = issue.labels.iter().map(|label| label.id).collect();
    labels.sort_unstable();
    let Issue {
        state,
        closed_at,
        comments,
        updated_at,
        ..
    } = issue;
    marks.hash_one((state, closed_at, labels, comments, updated_at))
}

/// What a redirect says, and else that it failed.
fn stopped(repo: &str, error: GiteaError) -> Stop {
    let GiteaError::Status {
        status: status @ (301 | 307 | 308),
        location,
        ..
    } = &error
    else {
        return Stop::Failed(error);
    };
    match location.as_deref().and_then(repository_in) {
        Some(new) if new.eq_ignore_ascii_case(repo) => {
            // The server itself has moved, to https perhaps.
            Stop::Failed(error)
        }
        Some(new) => Stop::Held(format!(
            "the repository answers {status}: it has moved to {new}"
        )),
        None => Stop::Held(format!("the repository answers {status}: it has moved")),
    }
}

/// The repository that an address of the API names.
fn repository_in(location: &str) -> Option<String> {
    let (_, path) = location.split_once("/repos/")?;
    let mut parts = path.split(['/', '?', '#']);
    let repo = format!("{}/{}", parts.next()?, parts.next()?);
    check_repo(&repo).is_ok().then_some(repo)
}
