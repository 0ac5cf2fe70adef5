//! One look at every repository with watched issues.

use std::collections::{HashMap, HashSet};
use std::hash::RandomState;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::observe::KnownAgent;
use super::place::Place;
use crate::durable::{Order, Server};
use crate::gitea::User;
use crate::http::Transport;
use crate::ledger::Watched;
use crate::ledger::machine::{Channel, Event, Phase};

/// How often and how much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// So long a change may take from the time that it bears to the moment it can be seen. Less than
    /// 2 s is taken for 2 s, for times are whole seconds.
    pub overlap: Duration,
    /// Each watched issue is read singly once in this time, and so is each repository.
    pub reread: Duration,
    /// So many issues of a repository are looked at in one round; the others wait for the next.
    pub most: usize,
    /// So many repositories are looked at at once, each with so many requests.
    pub at_once: usize,
}

impl Pace {
    pub(super) fn overlap(&self) -> Duration {
        self.overlap.max(Duration::from_secs(2))
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            overlap: Duration::from_secs(5),
            reread: Duration::from_secs(60 * 60),
            most: 200,
            at_once: 8,
        }
    }
}

/// What a look showed.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// Something happened to a dispatch.
    Event {
        /// Which.
        id: Uuid,
        /// What.
        event: Event,
        /// What it is known by.
        evidence: Value,
    },
    /// Nothing can be done in a repository, and a person must see to it.
    Held {
        /// `owner/name`.
        repo: String,
        /// Why; where it has moved, the new name.
        reason: String,
    },
}

/// Looks at the issues of live attempts. What it remembers is only to save requests: a new one
/// looks at each issue once and sees the same.
#[derive(Debug)]
pub struct Watcher<T> {
    server: Server<T>,
    agents: Vec<KnownAgent>,
    pace: Pace,
    marks: RandomState,
    repos: HashMap<String, Place>,
}

/// An attempt and its issue.
pub(super) struct Subject<'a> {
    pub(super) watched: &'a Watched,
    pub(super) number: u64,
}

/// What all repositories share in a round.
pub(super) struct Round<'a> {
    pub(super) me: &'a User,
    pub(super) agents: &'a [KnownAgent],
    pub(super) pace: Pace,
    pub(super) marks: &'a RandomState,
    pub(super) now: Instant,
}

impl Round<'_> {
    /// The issues that wait longest, as many as one round may look at.
    pub(super) fn first(&self, waiting: impl Iterator<Item = (Instant, u64)>) -> Vec<u64> {
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable();
        waiting.truncate(self.pace.most);
        waiting.into_iter().map(|(_, number)| number).collect()
    }
}

impl<T: Transport> Watcher<T> {
    /// Watches a server; the agents are all there are, by which labels and accounts are known.
    #[must_use]
    pub fn new(server: Server<T>, agents: Vec<KnownAgent>, pace: Pace) -> Self {
        Self {
            server,
            agents,
            pace,
            marks: RandomState::new(),
            repos: HashMap::new(),
        }
    }

    /// Looks at every repository with one of these attempts, which are all there are to watch:
    /// what is not among them is forgotten. They must have been looked up just before.
    ///
    /// What a failing server does not answer is looked at in the next round; that it fails is in
    /// the log.
    pub async fn look(&mut self, watched: &[Watched]) -> Vec<Seen> {
        self.round(watched, None).await
    }

    /// As [`look`](Self::look), but asks only about these repositories, of which a hint came.
    pub async fn look_at(&mut self, watched: &[Watched], repos: &HashSet<String>) -> Vec<Seen> {
        let repos = repos.iter().map(|repo| repo.to_lowercase()).collect();
        self.round(watched, Some(&repos)).await
    }

    async fn round(&mut self, watched: &[Watched], only: Option<&HashSet<String>>) -> Vec<Seen> {
        let mut subjects: HashMap<&str, Vec<Subject<'_>>> = HashMap::new();
        for watched in watched.iter().filter(|watched| is_watched(watched)) {
            if let Some((repo, number)) = Order::place(&watched.task) {
                let subject = Subject { watched, number };
                subjects.entry(repo).or_default().push(subject);
            }
        }
        self.repos
            .retain(|repo, _| subjects.contains_key(repo.as_str()));
        if let Some(only) = only {
            subjects.retain(|repo, _| only.contains(&repo.to_lowercase()));
        }
        if subjects.is_empty() {
            return Vec::new();
        }
        let me = match self.server.me().await {
            Ok(me) => me,
            Err(error) => {
                tracing::warn!("cannot watch: whose the token is cannot be found out: {error}");
                return Vec::new();
            }
        };
        for repo in subjects.keys() {
            if !self.repos.contains_key(*repo) {
                self.repos.insert((*repo).to_owned(), Place::default());
            }
        }
        let round = &Round {
            me,
            agents: &self.agents,
            pace: self.pace,
            marks: &self.marks,
            now: Instant::now(),
        };
        let looks = self.repos.iter_mut().filter_map(|(name, place)| {
            let subjects = subjects.remove(name.as_str())?;
            let repository = self.server.repository(name);
            Some(async move { place.look(round, &repository, &subjects).await })
        });
        let looks: Vec<_> = looks.collect();
        let mut looks = stream::iter(looks).buffer_unordered(self.pace.at_once.max(1));
        let mut seen = Vec::new();
        while let Some(more) = looks.next().await {
            seen.extend(more);
        }
        seen
    }
}

/// Whether looking can show anything: only what was handed over by a comment has a place in the
/// issue's history from which on it counts.
fn is_watched(watched: &Watched) -> bool {
    watched.channel == Channel::Label
        && watched.handover.is_some()
        && (watched.phase != Phase::Held || watched.draining)
}
