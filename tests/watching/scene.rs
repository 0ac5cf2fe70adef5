//! A sandbox with people and agents, and tasks that were handed over in it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use timmy_dispatcher::dispatch::Settings;
use timmy_dispatcher::durable::watch::{KnownAgent, Pace, Seen, Watcher};
use timmy_dispatcher::durable::{Order, Server, Terms};
use timmy_dispatcher::http::Native;
use timmy_dispatcher::ledger::Watched;
use timmy_dispatcher::ledger::machine::{Channel, Event, Phase};
use timmy_dispatcher::sandbox::{GiteaVersion, Sandbox};
use uuid::Uuid;

/// `timmy` is us, `kimi` and `claude` are agents, `alice` is a person.
pub(crate) struct Scene {
    pub(crate) gitea: Sandbox,
    pub(crate) repo: String,
    pub(crate) kimi_ready: u64,
    pub(crate) claude_ready: u64,
    /// How long a request may take.
    pub(crate) timeout: Duration,
    /// Making one takes longer than a hundred requests.
    native: Arc<Native>,
}

pub(crate) fn scenes() -> impl Iterator<Item = Scene> {
    GiteaVersion::ALL.iter().map(|version| Scene::new(*version))
}

impl Scene {
    pub(crate) fn new(version: GiteaVersion) -> Self {
        let gitea = Sandbox::builder().version(version).start().unwrap();
        let repo = gitea.create_repo("swarm").unwrap();
        for user in ["kimi", "claude", "alice"] {
            gitea
                .create_user(user, &format!("{user}-token"), &["write:issue"])
                .unwrap();
            gitea.add_writer(&repo, user).unwrap();
        }
        let label = |name| gitea.create_label(&repo, name, "#0af").unwrap();
        let (kimi_ready, claude_ready) = (label("kimi-ready"), label("claude-ready"));
        Self {
            gitea,
            repo,
            kimi_ready,
            claude_ready,
            timeout: Duration::from_secs(20),
            native: Arc::new(Native::new()),
        }
    }

    pub(crate) fn server(&self) -> Server<Native> {
        let settings = Settings {
            gitea_url: self.gitea.url().to_owned(),
            gitea_token: self.gitea.token().to_owned(),
            gitea_repo: self.repo.clone(),
            gitea_enabled: true,
        };
        Server::new(&settings, Arc::clone(&self.native), self.timeout).unwrap()
    }

    pub(crate) fn watcher(&self, pace: Pace) -> Watcher<Native> {
        let agent = |name: &str| KnownAgent {
            name: name.to_owned(),
            label: Some(format!("{name}-ready")),
            gitea_user: Some(name.to_owned()),
        };
        Watcher::new(self.server(), vec![agent("kimi"), agent("claude")], pace)
    }

    /// An issue that is handed to kimi.
    pub(crate) fn handed_over(&self) -> Watched {
        let number = self.gitea.create_issue(&self.repo, "a task", "").unwrap();
        self.hand_over(number, 1)
    }

    pub(crate) fn hand_over(&self, number: u64, fence: u64) -> Watched {
        let mark = "on it, please\n\n<!-- timmy-dispatch:x -->";
        let comment = self.gitea.create_comment(&self.repo, number, mark).unwrap();
        self.label("timmy", number, self.kimi_ready);
        let order = Order {
            title: "a task".to_owned(),
            repo: self.repo.clone(),
            issue: Some(number),
            ..Order::default()
        };
        Watched {
            id: Uuid::now_v7(),
            fence,
            phase: Phase::HandedOver,
            started: false,
            draining: false,
            agent: "kimi".to_owned(),
            channel: Channel::Label,
            terms: serde_json::to_value(kimi()).unwrap(),
            task: serde_json::to_value(order).unwrap(),
            max_retries: 1,
            handover: Some(i64::try_from(comment).unwrap()),
        }
    }

    pub(crate) fn act(&self, who: &str, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/repos/{}{path}", self.repo);
        self.gitea.act(who, method, &path, body).unwrap()
    }

    pub(crate) fn comment(&self, who: &str, number: u64, text: &str) {
        let path = format!("/issues/{number}/comments");
        self.act(who, "POST", &path, &json!({ "body": text }));
    }

    pub(crate) fn state(&self, who: &str, number: u64, state: &str) {
        let path = format!("/issues/{number}");
        self.act(who, "PATCH", &path, &json!({ "state": state }));
    }

    pub(crate) fn label(&self, who: &str, number: u64, label: u64) {
        let path = format!("/issues/{number}/labels");
        self.act(who, "POST", &path, &json!({ "labels": [label] }));
    }

    pub(crate) fn unlabel(&self, who: &str, number: u64, label: u64) {
        let path = format!("/issues/{number}/labels/{label}");
        self.act(who, "DELETE", &path, &Value::Null);
    }

    /// A pull request of somebody's.
    pub(crate) fn pull(&self, who: &str, branch: &str, body: &str) -> u64 {
        self.gitea.push(&self.repo, branch).unwrap();
        let pull = json!({ "title": branch, "body": body, "head": branch, "base": "main" });
        self.act(who, "POST", "/pulls", &pull)["number"]
            .as_u64()
            .unwrap()
    }

    /// `METHOD path` of the requests since they were last cleared, without the repository.
    pub(crate) fn requests(&self) -> Vec<String> {
        let own = format!("/api/v1/repos/{}", self.repo);
        let requests = self.gitea.requests();
        let shown = requests.iter().map(|request| {
            let path = request.path.strip_prefix(&own).unwrap_or(&request.path);
            format!("{} {path}", request.method)
        });
        shown.collect()
    }
}

/// The terms of kimi.
pub(crate) fn kimi() -> Terms {
    Terms {
        label: Some("kimi-ready".to_owned()),
        gitea_user: Some("kimi".to_owned()),
        ..Terms::default()
    }
}

pub(crate) fn number(watched: &Watched) -> u64 {
    watched.task["issue"].as_u64().unwrap()
}

/// Looked at again in the very next round, and nothing singly.
pub(crate) fn at_once() -> Pace {
    Pace {
        overlap: Duration::ZERO,
        ..Pace::default()
    }
}

pub(crate) fn events(seen: &[Seen]) -> Vec<Event> {
    let event = |seen: &Seen| match seen {
        Seen::Event { event, .. } => event.clone(),
        Seen::Held { repo, reason } => panic!("{repo} is held: {reason}"),
    };
    seen.iter().map(event).collect()
}

pub(crate) fn held(seen: &[Seen]) -> Vec<&str> {
    let reason = |seen: &'_ Seen| match seen {
        Seen::Held { reason, .. } => Some(reason.clone()),
        Seen::Event { .. } => None,
    };
    assert!(seen.iter().all(|seen| reason(seen).is_some()), "{seen:?}");
    let reasons = seen.iter().filter_map(|seen| match seen {
        Seen::Held { reason, .. } => Some(reason.as_str()),
        Seen::Event { .. } => None,
    });
    reasons.collect()
}
