//! A stand-in with an issue, a ledger with a dispatch about it, and the effects between them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use timmy_dispatcher::dispatch::Settings;
use timmy_dispatcher::durable::agents::{LocalAgents, LocalReports};
use timmy_dispatcher::durable::effects::{EffectSettings, Effects, Held};
use timmy_dispatcher::durable::{Order, Server, Terms};
use timmy_dispatcher::http::Native;
use timmy_dispatcher::ledger::machine::{Channel, Effect, Phase, Plan};
use timmy_dispatcher::ledger::{Agent, Errand, Ledger, Options, Record, Submission};
use timmy_dispatcher::sandbox::{GiteaVersion, Sandbox};
use uuid::Uuid;

/// Whose token the dispatcher has: an account that may write, and is no administrator.
pub(crate) const ME: &str = "dispatcher";
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";

pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("durable-test-{}", Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct Scene {
    pub(crate) gitea: Sandbox,
    pub(crate) repo: String,
    pub(crate) number: u64,
    pub(crate) ledger: Ledger,
    pub(crate) effects: Arc<Effects<Native>>,
    pub(crate) local: LocalAgents,
    pub(crate) reports: LocalReports,
    pub(crate) settings: EffectSettings,
    _folder: Folder,
}

pub(crate) fn both() -> impl Iterator<Item = GiteaVersion> {
    GiteaVersion::ALL.iter().copied()
}

fn agents(gitea: &Sandbox, idempotent: bool) -> Vec<Agent> {
    let agent = |name: &str, channel, terms: Terms| Agent {
        max_concurrent: 100,
        idempotent,
        terms: serde_json::to_value(terms).unwrap(),
        ..Agent::new(name, channel)
    };
    let by_label = |name: &str, label: &str| Terms {
        display_name: name.to_owned(),
        label: Some(label.to_owned()),
        gitea_user: Some("kimi".to_owned()),
        ..Terms::default()
    };
    let over_http = Terms {
        endpoint: Some(format!("{}/agent/api", gitea.url())),
        timeout: Some(2000),
        ..Terms::default()
    };
    vec![
        agent("kimi", Channel::Label, by_label("Kimi Code", "kimi-ready")),
        agent("claude", Channel::Label, by_label("Claude", "claude-ready")),
        agent("api", Channel::Http, over_http),
        agent("timmy", Channel::Local, Terms::default()),
    ]
}

impl Scene {
    pub(crate) async fn new(version: GiteaVersion) -> Self {
        Self::with(version, false, EffectSettings::default()).await
    }

    pub(crate) async fn with(
        version: GiteaVersion,
        idempotent: bool,
        settings: EffectSettings,
    ) -> Self {
        let gitea = Sandbox::builder().version(version).start().unwrap();
        let repo = gitea.create_repo("swarm").unwrap();
        let number = gitea.create_issue(&repo, "Design it", "").unwrap();
        let scopes = ["write:issue", "read:user", "read:repository"];
        gitea.create_user(ME, TOKEN, &scopes).unwrap();
        gitea.add_writer(&repo, ME).unwrap();
        gitea.create_user("kimi", "kimi-token", &scopes).unwrap();
        gitea.add_writer(&repo, "kimi").unwrap();
        let folder = Folder::new();
        let options = Options::default()
            .quarantine(Duration::ZERO)
            .grace(Duration::ZERO);
        let agents = agents(&gitea, idempotent);
        let ledger = Ledger::open(folder.0.join("dispatch.db"), agents, options)
            .await
            .unwrap();
        let settings = EffectSettings {
            quarantine: Duration::ZERO,
            backoff: Duration::from_millis(1),
            held: Duration::ZERO,
            ..settings
        };
        let (local, reports) = LocalAgents::with_grace(Duration::from_millis(1));
        let effects = effects(&gitea, &repo, TOKEN, &ledger, &local, &settings);
        Self {
            gitea,
            repo,
            number,
            ledger,
            effects,
            local,
            reports,
            settings,
            _folder: folder,
        }
    }

    /// Effects as after a start of the process: nothing is remembered.
    pub(crate) fn again(&self) -> Arc<Effects<Native>> {
        self.as_who_has(TOKEN)
    }

    pub(crate) fn as_who_has(&self, token: &str) -> Arc<Effects<Native>> {
        let Self {
            gitea,
            repo,
            ledger,
            local,
            settings,
            ..
        } = self;
        effects(gitea, repo, token, ledger, local, settings)
    }

    pub(crate) fn order(&self) -> Order {
        Order {
            title: "Design it".to_owned(),
            description: "Design the router".to_owned(),
            acceptance_criteria: vec!["Failover works".to_owned()],
            task_type: "architecture".to_owned(),
            repo: self.repo.clone(),
            issue: Some(self.number),
            ..Order::default()
        }
    }

    /// Submits it for these agents and claims it.
    pub(crate) async fn begin(&self, order: &Order, plan: Plan) -> Uuid {
        let names = plan.agents.clone();
        let submission = Submission::new(serde_json::to_value(order).unwrap(), plan);
        let id = self.ledger.submit(submission).await.unwrap().id;
        let claims = self.ledger.claim(names, 1).await.unwrap();
        assert_eq!(claims[0].id, id);
        id
    }

    pub(crate) async fn hand_to_kimi(&self) -> Uuid {
        self.begin(&self.order(), Plan::new(["kimi"])).await
    }

    pub(crate) async fn get(&self, id: Uuid) -> Record {
        self.ledger.get(id).await.unwrap()
    }

    pub(crate) async fn phase(&self, id: Uuid) -> Phase {
        self.get(id).await.state.phase
    }

    /// The one errand whose turn it is.
    pub(crate) async fn next(&self) -> Errand {
        let mut errands = self.ledger.send(10).await.unwrap();
        assert_eq!(errands.len(), 1);
        errands.remove(0)
    }

    pub(crate) async fn conclude(&self, errand: &Errand) {
        let outcome = self.effects.carry_out(errand).await;
        self.effects.conclude(errand, outcome).await.unwrap();
    }

    /// Sends what is to be sent, once; yields what that was.
    pub(crate) async fn send(&self) -> Vec<Effect> {
        let mut sent = Vec::new();
        for errand in self.ledger.send(100).await.unwrap() {
            sent.push(errand.effect);
            self.conclude(&errand).await;
        }
        sent
    }

    /// Looks for what is in doubt, once.
    pub(crate) async fn look(&self) -> Vec<Held> {
        let mut held = Vec::new();
        for errand in self.ledger.doubtful(100).await.unwrap() {
            let outcome = self.effects.look_for(&errand).await;
            held.extend(self.effects.conclude(&errand, outcome).await.unwrap());
        }
        held
    }

    /// Goes on until nothing stands in the outbox.
    pub(crate) async fn settle(&self) {
        let began = Instant::now();
        while !self.ledger.outbox(1).await.unwrap().is_empty() {
            self.send().await;
            assert_eq!(self.look().await, []);
            let left = self.ledger.outbox(10).await.unwrap();
            assert!(began.elapsed() < Duration::from_secs(30), "{left:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn comments(&self) -> Vec<Value> {
        self.gitea.comments(&self.repo, self.number).unwrap()
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        let bodies = self.comments().into_iter();
        bodies
            .map(|one| one["body"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The names of the labels on the issue.
    pub(crate) fn labels(&self) -> Vec<String> {
        let labels = self.gitea.issue_labels(&self.repo, self.number).unwrap();
        let names = labels.iter().map(|one| one["name"].as_str().unwrap());
        names.map(str::to_owned).collect()
    }

    /// The ids of the repository's labels of that name.
    pub(crate) fn ids(&self, name: &str) -> Vec<u64> {
        let labels = self.gitea.labels(&self.repo).unwrap();
        let named = labels.iter().filter(|one| one["name"] == name);
        named.map(|one| one["id"].as_u64().unwrap()).collect()
    }

    /// Takes a label off the issue in somebody's name.
    pub(crate) fn take_off(&self, login: &str, name: &str) {
        let (label, repo, number) = (self.ids(name)[0], &self.repo, self.number);
        let path = format!("/repos/{repo}/issues/{number}/labels/{label}");
        let taken = self.gitea.act(login, "DELETE", &path, &Value::Null);
        taken.unwrap();
    }

    /// How often a label was put on the issue.
    pub(crate) fn added(&self) -> usize {
        let history = self.gitea.timeline(&self.repo, self.number).unwrap();
        let added = history
            .iter()
            .filter(|one| one["type"] == "label" && one["body"] == "1");
        added.count()
    }

    /// How many requests of that method ended so.
    pub(crate) fn count(&self, method: &str, end: &str) -> usize {
        let requests = self.gitea.requests();
        let path = |path: &str| path.split('?').next().unwrap().to_owned();
        let asked = requests
            .iter()
            .filter(|one| one.method == method && path(&one.path).ends_with(end));
        asked.count()
    }

    /// The kinds of what is recorded, with their bodies.
    pub(crate) async fn entries(&self, id: Uuid, kind: &str) -> Vec<Value> {
        let story = self.ledger.story(id).await.unwrap();
        let entries = story.entries.into_iter().filter(|one| one.kind == kind);
        entries.map(|one| one.body).collect()
    }
}

fn effects(
    gitea: &Sandbox,
    repo: &str,
    token: &str,
    ledger: &Ledger,
    local: &LocalAgents,
    settings: &EffectSettings,
) -> Arc<Effects<Native>> {
    let server = Server::new(
        &Settings {
            gitea_url: gitea.url().to_owned(),
            gitea_token: token.to_owned(),
            gitea_repo: repo.to_owned(),
            gitea_enabled: true,
        },
        Arc::new(Native::new()),
        settings.limit,
    );
    let (ledger, local) = (ledger.clone(), local.clone());
    Arc::new(Effects::new(
        server.unwrap(),
        ledger,
        local,
        settings.clone(),
    ))
}
