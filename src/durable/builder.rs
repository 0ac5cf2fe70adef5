//! What a dispatcher is made of, before it is opened.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::agents::{LocalAgents, LocalFailure, LocalReports, LocalTask, Receiver};
use super::dispatcher::{Dispatcher, DispatcherError};
use super::effects::{Callbacks, NamedCallback};
use super::gates::{Gates, NamedGate};
use super::inner::{Engaged, Inner, Stage};
use super::plan::{AgentOptions, Planned, Refused, Team, Wishes, ledger_agent};
use super::server::Server;
use super::settings::Policy;
use super::waiters::Waiters;
use super::{tend, work};
use crate::dispatch::{Settings, Task};
use crate::http::{Native, Transport};
use crate::ledger::{Agent, Ledger, Options};
use crate::route::{Registry, Routes};
use crate::task::AgentName;

/// What a dispatcher is made of.
pub struct Builder<T: Transport = Native> {
    pub(super) place: PathBuf,
    pub(super) team: Team,
    agents: Vec<(AgentName, AgentOptions)>,
    local: (LocalAgents, LocalReports),
    gates: Vec<(String, NamedGate)>,
    callbacks: Vec<(String, NamedCallback)>,
    pub(super) transport: Arc<T>,
    options: Option<Box<dyn FnOnce(Options) -> Options + Send>>,
}

impl<T: Transport> std::fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the place: a URL may hold a password.
        f.debug_struct("Builder").finish_non_exhaustive()
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
            callbacks: Vec::new(),
            transport: Arc::new(transport),
            options: None,
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

    /// Registers a function that tells an owner that a person is asked, for tasks whose
    /// [`callback`](Wishes::callback) is its name. It may be called twice about the same.
    #[must_use]
    pub fn callback(mut self, name: impl Into<String>, callback: NamedCallback) -> Self {
        self.callbacks.push((name.into(), callback));
        self
    }

    /// Changes how the ledger is opened; a test can have itself called around every commit.
    #[must_use]
    pub fn ledger_options(
        mut self,
        change: impl FnOnce(Options) -> Options + Send + 'static,
    ) -> Self {
        self.options = Some(Box::new(change));
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
        timing.check()?;
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
        if let Some(change) = self.options {
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
        let callbacks: Callbacks = self.callbacks.into_iter().collect();
        let engaged = Engaged::new(
            ledger,
            &server,
            &local,
            &callbacks,
            timing,
            receiver.clone(),
        );
        Ok(Dispatcher(Arc::new(Inner {
            team: self.team,
            place: self.place,
            agents: agents.unwrap_or_default(),
            options,
            engaged: RwLock::new(engaged),
            server,
            gates,
            local,
            callbacks,
            reports: Mutex::new(Some(reports)),
            received_at,
            receiver,
            waiters: Waiters::default(),
            wake: Notify::new(),
            reviews: Notify::new(),
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
