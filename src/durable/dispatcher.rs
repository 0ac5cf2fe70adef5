//! The dispatcher as a program sees it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::agents::{LocalAgents, LocalFailure, LocalReports, LocalTask, Receiver};
use super::effects::{EffectSettings, Effects};
use super::gates::{Gates, NamedGate};
use super::order::Order;
use super::plan::{AgentOptions, Planned, Refused, Team, Wishes, ledger_agent};
use super::server::Server;
use super::settings::{Policy, Timing};
use super::waiters::Waiters;
use super::{tend, work};
use crate::dispatch::{ConfigError, Settings, Task};
use crate::http::{Native, Transport};
use crate::ledger::machine::Event;
use crate::ledger::{Agent, Entry, Errand, Ledger, LedgerError, Options, Record, Recorded, Story};
use crate::route::{Registry, Routes};
use crate::task::{AgentName, TaskType};

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DispatcherError {
    /// The task is not taken.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The ledger did not do it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The place where webhooks and callbacks are received cannot be opened.
    #[error("cannot receive webhooks: {0}")]
    Receive(String),
    /// It is not possible where the dispatch stands.
    #[error("dispatch {id} is {phase}: {why}")]
    NotNow {
        /// The dispatch.
        id: Uuid,
        /// Where it stands.
        phase: String,
        /// Why that does not go.
        why: &'static str,
    },
}

/// What a dispatcher is made of.
pub struct Builder<T: Transport = Native> {
    pub(super) place: PathBuf,
    pub(super) team: Team,
    agents: Vec<(AgentName, AgentOptions)>,
    local: (LocalAgents, LocalReports),
    gates: Vec<(String, NamedGate)>,
    pub(super) transport: Arc<T>,
    observer: Option<Box<dyn FnOnce(Options) -> Options + Send>>,
}

impl<T: Transport> std::fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// A dispatcher with its ledger in that file, the built-in agents and routes, and the native
    /// transport.
    #[must_use]
    pub fn new(ledger: impl AsRef<Path>, settings: Settings) -> Self {
        Self::over(ledger, settings, Native::new())
    }
}

impl<T: Transport> Builder<T> {
    /// The same over a transport of one's own.
    #[must_use]
    pub fn over(ledger: impl AsRef<Path>, settings: Settings, transport: T) -> Self {
        Self {
            place: ledger.as_ref().to_owned(),
            team: Team {
                settings,
                registry: Registry::default(),
                routes: Routes::default(),
                policy: Policy::default(),
            },
            agents: Vec::new(),
            local: LocalAgents::new(),
            gates: Vec::new(),
            transport: Arc::new(transport),
            observer: None,
        }
    }

    /// Who is there and who gets what.
    #[must_use]
    pub fn team(mut self, registry: Registry, routes: Routes) -> Self {
        self.team.registry = registry;
        self.team.routes = routes;
        self
    }

    /// Times, limits and what holds for every task.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.team.policy = policy;
        self
    }

    /// More about an agent of the registry.
    #[must_use]
    pub fn agent(mut self, name: impl Into<AgentName>, options: AgentOptions) -> Self {
        self.agents.push((name.into(), options));
        self
    }

    /// Does a local agent's work in this process. What it returns is the result; an error is a failed
    /// attempt.
    #[must_use]
    pub fn local_agent<F, R>(self, name: impl Into<AgentName>, handler: F) -> Self
    where
        F: Fn(LocalTask) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, LocalFailure>> + Send + 'static,
    {
        self.local.0.register(name.into().to_string(), handler);
        self
    }

    /// Registers a function for [`Gate::Named`](super::Gate::Named).
    #[must_use]
    pub fn gate(mut self, name: impl Into<String>, gate: NamedGate) -> Self {
        self.gates.push((name.into(), gate));
        self
    }

    /// Changes how the ledger is opened; a test can have itself called around every commit.
    #[must_use]
    pub fn ledger_options(
        mut self,
        change: impl FnOnce(Options) -> Options + Send + 'static,
    ) -> Self {
        self.observer = Some(Box::new(change));
        self
    }

    /// What would become of a task, without opening anything.
    ///
    /// # Errors
    /// [`Refused`], which names what is missing.
    pub fn plan(&self, task: &Task, wishes: &Wishes) -> Result<Planned, Refused> {
        self.team.plan(task, wishes)
    }

    /// Opens the ledger and works: claims, hands over, watches, reviews. Must run inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`DispatcherError::Ledger`], [`DispatcherError::Config`] and [`DispatcherError::Receive`].
    pub async fn open(self) -> Result<Dispatcher<T>, DispatcherError> {
        let agents = self.ledger_agents()?;
        let received = tend::receive(&self.team.policy).await?;
        let address = received.as_ref().map(|(receiver, _)| receiver.address());
        let dispatcher = self.build(Some(agents), address).await?;
        work::start(&dispatcher.0, received);
        Ok(dispatcher)
    }

    /// Opens the ledger to submit, look and steer; somebody else works. Must run inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn visit(self) -> Result<Dispatcher<T>, DispatcherError> {
        self.build(None, None).await
    }

    pub(super) fn ledger_agents(&self) -> Result<Vec<Agent>, DispatcherError> {
        for (name, _) in &self.agents {
            let known = self.team.registry.get(name);
            known.map_err(|unknown| Refused(unknown.to_string()))?;
        }
        let timing = self.team.policy.timing;
        let most = timing.lease.saturating_sub(timing.margin);
        for (name, options) in &self.agents {
            // It could never be begun.
            if options.timeout.is_some_and(|timeout| timeout > most) {
                let most = most.as_secs_f64();
                let text = format!(
                    "the timeout of {name} is longer than {most} s, which the lease allows"
                );
                return Err(Refused(text).into());
            }
        }
        let none = AgentOptions::default();
        let agents = self.team.registry.iter().map(|spec| {
            let own = self
                .agents
                .iter()
                .rev()
                .find(|(name, _)| *name == spec.name);
            let own = own.map_or(&none, |(_, options)| options);
            ledger_agent(spec, own, &self.team.policy)
        });
        Ok(agents.collect())
    }

    async fn build(
        self,
        agents: Option<Vec<Agent>>,
        received_at: Option<SocketAddr>,
    ) -> Result<Dispatcher<T>, DispatcherError> {
        let timing = self.team.policy.timing;
        let mut options = Options::default()
            .lease(timing.lease)
            .quarantine(timing.quarantine)
            .grace(timing.grace)
            .review(timing.review)
            .backoff(timing.backoff);
        if let Some(change) = self.observer {
            options = change(options);
        }
        let ledger = match &agents {
            Some(agents) => Ledger::open(&self.place, agents.clone(), options.clone()).await?,
            None => Ledger::visit(&self.place, options.clone()).await?,
        };
        let mut settings = self.team.settings.clone();
        if !settings.gitea_enabled {
            // It is not used, and need not be right.
            settings.gitea_url = "http://localhost".to_owned();
        }
        let transport = Arc::clone(&self.transport);
        let server = Server::new(&settings, transport, timing.request)?;
        let gates = Gates::new(server.clone(), self.gates);
        let (local, reports) = self.local;
        let (stage, _) = watch::channel(Stage::Working);
        let receiver = receiver(&self.team.policy, received_at);
        let engaged = Engaged::new(ledger, &server, &local, timing, receiver.clone());
        Ok(Dispatcher(Arc::new(Inner {
            team: self.team,
            place: self.place,
            agents: agents.unwrap_or_default(),
            options,
            engaged: RwLock::new(engaged),
            server,
            gates,
            local,
            reports: Mutex::new(Some(reports)),
            received_at,
            receiver,
            waiters: Waiters::default(),
            wake: Notify::new(),
            stage,
            tasks: Mutex::new(JoinSet::new()),
            last: Mutex::new(JoinSet::new()),
        })))
    }
}

/// Where agents are told to call back: at the address that was given for it, or where we listen.
fn receiver(policy: &Policy, received_at: Option<SocketAddr>) -> Option<Receiver> {
    let receive = policy.receive.as_ref()?;
    // Under an address that stands for all of the machine's nobody can call.
    let here = received_at.filter(|address| !address.ip().is_unspecified());
    let url = receive.public_url.clone();
    Some(Receiver {
        url: url.or_else(|| here.map(|address| format!("http://{address}")))?,
        secret: receive.secret.clone(),
    })
}

/// What there is to work with under one name in the ledger.
pub(super) struct Engaged<T> {
    pub(super) ledger: Ledger,
    pub(super) effects: Arc<Effects<T>>,
}

impl<T> Clone for Engaged<T> {
    fn clone(&self) -> Self {
        Self {
            ledger: self.ledger.clone(),
            effects: Arc::clone(&self.effects),
        }
    }
}

impl<T: Transport> Engaged<T> {
    fn new(
        ledger: Ledger,
        server: &Server<T>,
        local: &LocalAgents,
        timing: Timing,
        receiver: Option<Receiver>,
    ) -> Self {
        let settings = EffectSettings {
            limit: timing.request,
            quarantine: timing.quarantine,
            backoff: timing.again,
            held: timing.quarantine,
            receiver,
        };
        let effects = Effects::new(server.clone(), ledger.clone(), local.clone(), settings);
        Self {
            ledger,
            effects: Arc::new(effects),
        }
    }
}

/// Whether a dispatcher goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Working,
    /// Nothing more is claimed; what is on its way is brought to its end.
    Draining,
    Stopped,
}

pub(super) struct Inner<T> {
    pub(super) team: Team,
    place: PathBuf,
    agents: Vec<Agent>,
    options: Options,
    engaged: RwLock<Engaged<T>>,
    pub(super) server: Server<T>,
    pub(super) gates: Gates<T>,
    pub(super) local: LocalAgents,
    pub(super) reports: Mutex<Option<LocalReports>>,
    received_at: Option<SocketAddr>,
    receiver: Option<Receiver>,
    pub(super) waiters: Waiters,
    /// Somebody wants the work to be looked at.
    pub(super) wake: Notify,
    pub(super) stage: watch::Sender<Stage>,
    /// What works, until it is drained.
    pub(super) tasks: Mutex<JoinSet<()>>,
    /// What goes on until nothing can happen any more.
    pub(super) last: Mutex<JoinSet<()>>,
}

impl<T: Transport> Inner<T> {
    /// The ledger; another one after a lease was lost.
    pub(super) fn ledger(&self) -> Ledger {
        self.engaged().ledger
    }

    /// The same with what carries out what stands in it.
    pub(super) fn engaged(&self) -> Engaged<T> {
        let engaged = self.engaged.read().unwrap_or_else(PoisonError::into_inner);
        engaged.clone()
    }

    /// Enters the ledger anew, under another name: others look after what was ours.
    pub(super) async fn reenter(&self) -> Result<(), LedgerError> {
        let entered = Ledger::open(&self.place, self.agents.clone(), self.options.clone()).await?;
        let (timing, receiver) = (self.team.policy.timing, self.receiver.clone());
        let engaged = Engaged::new(entered, &self.server, &self.local, timing, receiver);
        *self.engaged.write().unwrap_or_else(PoisonError::into_inner) = engaged;
        Ok(())
    }

    /// The agents that this process brought.
    pub(super) fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// Whether Gitea can be used at all.
    pub(super) fn has_gitea(&self) -> bool {
        let settings = &self.team.settings;
        settings.gitea_enabled && !settings.gitea_token.is_empty()
    }

    /// The agents that this process can hand tasks to.
    pub(super) fn handled(&self) -> Vec<String> {
        let specs = self.team.registry.iter();
        let handled = specs.filter(|spec| match spec.interface {
            crate::task::Interface::Gitea => self.has_gitea(),
            crate::task::Interface::Api => true,
            crate::task::Interface::Local => self.local.has(spec.name.as_str()),
        });
        handled.map(|spec| spec.name.to_string()).collect()
    }
}

/// Dispatches tasks and forgets none. Cheap to clone.
pub struct Dispatcher<T: Transport = Native>(pub(super) Arc<Inner<T>>);

impl<T: Transport> Clone for Dispatcher<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Transport> std::fmt::Debug for Dispatcher<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatcher")
            .field("place", &self.0.place)
            .finish_non_exhaustive()
    }
}

impl<T: Transport> Dispatcher<T> {
    /// The ledger's place.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.0.place
    }

    /// The ledger itself.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.0.ledger()
    }

    /// Where webhooks and callbacks are received, where they are.
    #[must_use]
    pub fn received_at(&self) -> Option<SocketAddr> {
        self.0.received_at
    }

    /// What would become of a task, without keeping or sending anything.
    ///
    /// # Errors
    /// [`Refused`], which names what is missing.
    pub fn plan(&self, task: &Task, wishes: &Wishes) -> Result<Planned, Refused> {
        self.0.team.plan(task, wishes)
    }

    /// Keeps a task; when this returns, it is on the disk. A task about an issue that is open here
    /// already is that dispatch.
    ///
    /// # Errors
    /// [`DispatcherError::Refused`] and [`DispatcherError::Ledger`].
    pub async fn submit(
        &self,
        task: &Task,
        wishes: &Wishes,
    ) -> Result<Dispatch<T>, DispatcherError> {
        let submission = self.plan(task, wishes)?.submission(wishes);
        let submitted = self.ledger().submit(submission).await?;
        self.0.wake.notify_one();
        Ok(Dispatch {
            id: submitted.id,
            new: submitted.new,
            dispatcher: self.clone(),
        })
    }

    /// A dispatch that was submitted before.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub async fn dispatch(&self, id: Uuid) -> Result<Dispatch<T>, DispatcherError> {
        self.get(id).await?;
        Ok(Dispatch {
            id,
            new: false,
            dispatcher: self.clone(),
        })
    }

    /// Where a dispatch stands.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub async fn get(&self, id: Uuid) -> Result<Record, DispatcherError> {
        Ok(self.ledger().get(id).await?)
    }

    /// All that is known of a dispatch.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub async fn story(&self, id: Uuid) -> Result<Story, DispatcherError> {
        Ok(self.ledger().story(id).await?)
    }

    /// The newest dispatches first, unfinished ones only or all.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn list(&self, finished: bool, limit: usize) -> Result<Vec<Record>, DispatcherError> {
        Ok(self.ledger().list(finished, limit).await?)
    }

    /// The effects that are not settled.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn outbox(&self, limit: usize) -> Result<Vec<Errand>, DispatcherError> {
        Ok(self.ledger().outbox(limit).await?)
    }

    /// Waits until a dispatch has ended.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub async fn wait(&self, id: Uuid) -> Result<Record, DispatcherError> {
        let changed = self.0.waiters.of(id);
        loop {
            let notified = changed.notified();
            let record = self.get(id).await?;
            if record.state.phase.is_terminal() {
                return Ok(record);
            }
            // Whoever does not work hears of nothing; and a second look does no harm.
            let patience = match self.0.agents.is_empty() {
                true => self.0.team.policy.timing.tick,
                false => Duration::from_secs(5),
            };
            let _ = tokio::time::timeout(patience, notified).await;
        }
    }

    /// Calls a dispatch off. What was handed out is taken back first.
    ///
    /// # Errors
    /// [`DispatcherError::NotNow`] where it has ended.
    pub async fn cancel(&self, id: Uuid) -> Result<Record, DispatcherError> {
        self.steer(id, Event::Cancel, "it has ended").await
    }

    /// Has a dispatch that ended tried again, from the first agent of its route on.
    ///
    /// # Errors
    /// [`DispatcherError::NotNow`] where it has not ended, [`LedgerError::Busy`] where another one
    /// is open about the same issue.
    pub async fn retry(&self, id: Uuid) -> Result<Record, DispatcherError> {
        self.steer(id, Event::Retry, "only what has ended can be tried again")
            .await
    }

    /// Stops everything about a dispatch until it is released.
    ///
    /// # Errors
    /// [`DispatcherError::NotNow`] where it has ended.
    pub async fn hold(&self, id: Uuid, reason: &str) -> Result<Record, DispatcherError> {
        self.steer(id, Event::Hold(reason.to_owned()), "it has ended")
            .await
    }

    /// Lets a dispatch that is held go on.
    ///
    /// # Errors
    /// [`DispatcherError::NotNow`] where it is not held.
    pub async fn release(&self, id: Uuid) -> Result<Record, DispatcherError> {
        self.steer(id, Event::Release, "it is not held").await
    }

    async fn steer(
        &self,
        id: Uuid,
        event: Event,
        why: &'static str,
    ) -> Result<Record, DispatcherError> {
        let ledger = self.ledger();
        let recorded = ledger.record(id, event).await?;
        let record = ledger.get(id).await?;
        self.0.wake.notify_one();
        match recorded {
            Recorded::Applied(_) => Ok(record),
            Recorded::Stale => Err(DispatcherError::NotNow {
                id,
                phase: record.state.phase.to_string(),
                why,
            }),
        }
    }

    /// Gives a dispatch that is not handed out another type, and with it another route, and releases
    /// it where it is held.
    ///
    /// # Errors
    /// [`DispatcherError::NotNow`] where it is handed out or has ended.
    pub async fn retype(&self, id: Uuid, task_type: TaskType) -> Result<Record, DispatcherError> {
        let record = self.get(id).await?;
        let order = Order::of(&record.task)?;
        let before = order.task_type.clone();
        let (task, wishes) = order.again(task_type, &record.state.plan);
        let planned = self.plan(&task, &wishes)?;
        let how = json!({ "task_type": task_type.as_str(), "by": "person", "instead_of": before });
        let ledger = self.ledger();
        let task = json!(planned.order);
        let done = ledger.replan(id, task, planned.plan, how).await?;
        let record = ledger.get(id).await?;
        self.0.wake.notify_one();
        match done {
            true => Ok(record),
            false => Err(DispatcherError::NotNow {
                id,
                phase: record.state.phase.to_string(),
                why: "only what is not handed out gets another type",
            }),
        }
    }

    /// Gives an agent, or all of them, no more tasks, or tasks again; in every process.
    ///
    /// # Errors
    /// [`LedgerError::UnknownAgent`].
    pub async fn pause(&self, agent: Option<String>, paused: bool) -> Result<(), DispatcherError> {
        self.ledger().pause(agent, paused).await?;
        self.0.wake.notify_one();
        Ok(())
    }

    /// A repository has another name: what is open about it goes on there.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn relocate(&self, from: &str, to: &str) -> Result<usize, DispatcherError> {
        crate::dispatch::check_repo(to)?;
        let moved = self.ledger().relocate(from, to).await?;
        self.0.wake.notify_one();
        Ok(moved)
    }

    /// What happened, from behind `after` on; waits until there is something.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn events(&self, after: i64, limit: usize) -> Result<Vec<Entry>, DispatcherError> {
        let ledger = self.ledger();
        let mut changes = ledger.changes();
        loop {
            changes.mark_unchanged();
            let entries = ledger.events(after, limit).await?;
            if !entries.is_empty() || *self.0.stage.borrow() == Stage::Stopped {
                return Ok(entries);
            }
            let _ = tokio::time::timeout(self.0.team.policy.timing.tick, changes.changed()).await;
        }
    }

    /// Claims nothing more, brings what is on its way to its end, for as long as `limit`, and leaves.
    /// Others look after what is open at once. Doing it twice does no harm.
    pub async fn close(&self, limit: Duration) {
        self.0.stage.send_if_modified(|stage| {
            let first = *stage == Stage::Working;
            *stage = Stage::Draining.max(*stage);
            first
        });
        let taken = |tasks: &Mutex<JoinSet<()>>| {
            std::mem::take(&mut *tasks.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let mut tasks = taken(&self.0.tasks);
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, ended).await.is_err() {
            tasks.shutdown().await;
        }
        self.0.stage.send_replace(Stage::Stopped);
        taken(&self.0.last).join_all().await;
        let _ = self.ledger().leave().await;
    }
}

/// A dispatch that was submitted.
pub struct Dispatch<T: Transport = Native> {
    id: Uuid,
    new: bool,
    dispatcher: Dispatcher<T>,
}

impl<T: Transport> std::fmt::Debug for Dispatch<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dispatch({})", self.id)
    }
}

impl<T: Transport> Dispatch<T> {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// Whether it was not there before.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.new
    }

    /// Where it stands.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] once it was pruned.
    pub async fn get(&self) -> Result<Record, DispatcherError> {
        self.dispatcher.get(self.id).await
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] once it was pruned.
    pub async fn wait(&self) -> Result<Record, DispatcherError> {
        self.dispatcher.wait(self.id).await
    }

    /// Calls it off.
    ///
    /// # Errors
    /// [`DispatcherError::NotNow`] where it has ended.
    pub async fn cancel(&self) -> Result<Record, DispatcherError> {
        self.dispatcher.cancel(self.id).await
    }
}
