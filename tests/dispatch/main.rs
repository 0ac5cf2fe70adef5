//! Hand-overs from Rust over real sockets, held against the Gitea stand-in as 1.25 and as 1.26.

#![cfg(all(feature = "net", feature = "sandbox"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod channels;
mod differences;
mod faults;
#[cfg(feature = "rank")]
mod ranked;

use timmy_dispatcher::dispatch::{Settings, Swarm, Task};
use timmy_dispatcher::sandbox::{GiteaVersion, RecordedRequest, Sandbox};

/// A stand-in with the repo `timmy/swarm` and one issue, and a swarm whose settings lead there.
struct Wire {
    gitea: Sandbox,
    repo: String,
    number: u64,
    swarm: Swarm,
}

impl Wire {
    fn new(version: GiteaVersion) -> Self {
        let gitea = Sandbox::builder().version(version).start().unwrap();
        let repo = gitea.create_repo("swarm").unwrap();
        let number = gitea.create_issue(&repo, "Design it", "").unwrap();
        let swarm = Swarm::new(settings(&gitea, &repo));
        Self {
            gitea,
            repo,
            number,
            swarm,
        }
    }

    /// One for each version.
    fn both() -> impl Iterator<Item = Self> {
        GiteaVersion::ALL.iter().copied().map(Self::new)
    }

    /// The same with a repo and an issue as they were at first, without faults and requests. Making
    /// a swarm for each case would read the machine's certificates each time.
    fn renew(&mut self) {
        self.gitea.clear_faults();
        self.gitea.clear_requests();
        let old = self.repo.split_once('/').unwrap().1;
        self.repo = self.gitea.create_repo(&format!("{old}x")).unwrap();
        self.number = self.gitea.create_issue(&self.repo, "x", "").unwrap();
        self.swarm.settings.gitea_repo.clone_from(&self.repo);
    }

    /// A task for Kimi on the issue, tried once.
    fn task(&self) -> Task {
        Task {
            max_retries: 0,
            ..Task::new("Fix it").issue(self.number)
        }
    }

    fn host(&self) -> String {
        self.gitea.address().to_string()
    }

    /// The requests as `METHOD what`, the path from the repo on.
    fn sequence(&self) -> Vec<String> {
        let root = format!("/api/v1/repos/{}", self.repo);
        let shown = |one: RecordedRequest| {
            let path = one.path.strip_prefix(&root).unwrap_or(&one.path);
            format!("{} {path}", one.method)
        };
        self.gitea.requests().into_iter().map(shown).collect()
    }

    fn labels(&self, name: &str) -> Vec<u64> {
        let labels = self.gitea.labels(&self.repo).unwrap();
        let named = labels.iter().filter(|label| label["name"] == name);
        named.map(|label| label["id"].as_u64().unwrap()).collect()
    }

    fn issue_labels(&self, number: u64) -> Vec<u64> {
        let labels = self.gitea.issue_labels(&self.repo, number).unwrap();
        let ids = labels.iter().map(|label| label["id"].as_u64().unwrap());
        ids.collect()
    }

    fn comments(&self) -> Vec<String> {
        let comments = self.gitea.comments(&self.repo, self.number).unwrap();
        let bodies = comments.iter().map(|one| one["body"].as_str().unwrap());
        bodies.map(str::to_owned).collect()
    }
}

fn settings(gitea: &Sandbox, repo: &str) -> Settings {
    Settings {
        gitea_url: gitea.url().to_owned(),
        gitea_token: gitea.token().to_owned(),
        gitea_repo: repo.to_owned(),
        gitea_enabled: true,
    }
}
