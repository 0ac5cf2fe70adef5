//! A sandbox with a repo and agents' accounts, a folder for a ledger, and dispatchers over them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use timmy_dispatcher::dispatch::{Settings, Task};
use timmy_dispatcher::durable::{AgentOptions, Builder, Dispatcher, Policy, Timing, Wishes};
use timmy_dispatcher::ledger::Record;
use timmy_dispatcher::ledger::machine::Phase;
use timmy_dispatcher::sandbox::{GiteaVersion, Sandbox};
use timmy_dispatcher::task::AgentName;
use uuid::Uuid;

/// Long enough for anything, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const VERSIONS: [GiteaVersion; 2] = [GiteaVersion::V1_26, GiteaVersion::V1_25];

pub(crate) struct World {
    pub(crate) gitea: Sandbox,
    pub(crate) repo: String,
    folder: PathBuf,
    place: PathBuf,
}

impl World {
    pub(crate) fn new(version: GiteaVersion) -> Self {
        let gitea = Sandbox::builder().version(version).start().unwrap();
        let repo = gitea.create_repo("swarm").unwrap();
        for login in ["kimi", "claude", "eve"] {
            let scopes = ["write:issue", "write:repository"];
            let token = format!("{login}-token");
            gitea.create_user(login, &token, &scopes).unwrap();
            gitea.add_writer(&repo, login).unwrap();
        }
        let folder = std::env::temp_dir().join(format!("durable-test-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let place = folder.join("dispatch.db");
        Self {
            gitea,
            repo,
            folder,
            place,
        }
    }

    /// The same with its ledger at that URL.
    pub(crate) fn at(mut self, url: &str) -> Self {
        self.place = url.into();
        self
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.place.clone()
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            gitea_url: self.gitea.url().to_owned(),
            gitea_token: self.gitea.token().to_owned(),
            gitea_repo: self.repo.clone(),
            gitea_enabled: true,
        }
    }

    /// Fifty times as fast, but with patience where a busy machine would need it.
    pub(crate) fn policy() -> Policy {
        Policy {
            timing: Timing {
                request: Duration::from_secs(2),
                quarantine: Duration::from_millis(300),
                lease: Duration::from_secs(20),
                grace: Duration::from_millis(200),
                ..Timing::default().faster(50)
            },
            ..Policy::default()
        }
    }

    pub(crate) fn builder(&self, policy: Policy) -> Builder {
        self.builder_at(&self.place, policy)
    }

    /// With another ledger.
    pub(crate) fn builder_at(&self, ledger: &Path, policy: Policy) -> Builder {
        let account = |login: &str| AgentOptions {
            gitea_user: Some(login.to_owned()),
            ..AgentOptions::default()
        };
        Builder::new(ledger, self.settings())
            .policy(policy)
            .agent(AgentName::KIMI_CODE, account("kimi"))
            .agent(AgentName::CLAUDE_CODE, account("claude"))
    }

    pub(crate) async fn open(&self) -> Dispatcher {
        self.builder(Self::policy()).open().await.unwrap()
    }

    /// A task for Kimi on an issue of its own.
    pub(crate) fn task(&self, title: &str) -> Task {
        let issue = self.gitea.create_issue(&self.repo, title, "").unwrap();
        let mut task = Task::new(title).issue(issue);
        task.agent = Some(AgentName::KIMI_CODE);
        task
    }

    pub(crate) fn comments(&self, issue: u64) -> Vec<String> {
        let comments = self.gitea.comments(&self.repo, issue).unwrap();
        let body = |comment: &Value| comment["body"].as_str().unwrap().to_owned();
        comments.iter().map(body).collect()
    }

    pub(crate) fn labels(&self, issue: u64) -> Vec<String> {
        let labels = self.gitea.issue_labels(&self.repo, issue).unwrap();
        let name = |label: &Value| label["name"].as_str().unwrap().to_owned();
        labels.iter().map(name).collect()
    }

    pub(crate) fn is_closed(&self, issue: u64) -> bool {
        self.gitea.issue(&self.repo, issue).unwrap()["state"] == "closed"
    }

    pub(crate) fn say(&self, login: &str, issue: u64, text: &str) {
        let path = format!("/repos/{}/issues/{issue}/comments", self.repo);
        self.gitea
            .act(login, "POST", &path, &json!({ "body": text }))
            .unwrap();
    }

    pub(crate) fn close(&self, login: &str, issue: u64) {
        let path = format!("/repos/{}/issues/{issue}", self.repo);
        self.gitea
            .act(login, "PATCH", &path, &json!({ "state": "closed" }))
            .unwrap();
    }

    /// Takes a label off in somebody's name.
    pub(crate) fn unlabel(&self, login: &str, issue: u64, name: &str) {
        for label in self.gitea.issue_labels(&self.repo, issue).unwrap() {
            if label["name"] == name {
                let path = format!("/repos/{}/issues/{issue}/labels/{}", self.repo, label["id"]);
                self.gitea
                    .act(login, "DELETE", &path, &Value::Null)
                    .unwrap();
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits until a dispatch is in a phase, and says where it was instead if it never is.
/// Submits a task and waits until an agent has it.
pub(crate) async fn handed_over(dispatcher: &Dispatcher, task: &Task, wishes: &Wishes) -> Uuid {
    let id = dispatcher.submit(task, wishes).await.unwrap().id();
    until(dispatcher, id, Phase::HandedOver).await;
    id
}

pub(crate) async fn until(dispatcher: &Dispatcher, id: Uuid, phase: Phase) -> Record {
    eventually(dispatcher, id, |record| record.state.phase == phase).await
}

pub(crate) async fn eventually(
    dispatcher: &Dispatcher,
    id: Uuid,
    holds: impl Fn(&Record) -> bool,
) -> Record {
    let began = Instant::now();
    loop {
        let record = dispatcher.get(id).await.unwrap();
        if holds(&record) {
            return record;
        }
        if began.elapsed() > PATIENCE {
            let story = dispatcher.story(id).await.unwrap();
            panic!("it did not come to that: {story:#?}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The end of a dispatch.
pub(crate) async fn ended(dispatcher: &Dispatcher, id: Uuid) -> Record {
    match tokio::time::timeout(PATIENCE, dispatcher.wait(id)).await {
        Ok(record) => record.unwrap(),
        Err(_) => {
            let story = dispatcher.story(id).await.unwrap();
            panic!("it does not end: {story:#?}");
        }
    }
}
