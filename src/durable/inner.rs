//! What all parts of an open dispatcher share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::agents::{LocalAgents, LocalReports, Receiver};
use super::effects::{Callbacks, EffectSettings, Effects};
use super::gates::Gates;
use super::plan::Team;
use super::server::Server;
use super::settings::Timing;
use super::waiters::Waiters;
use crate::http::Transport;
use crate::ledger::{Agent, Ledger, LedgerError, Options};
use crate::task::Interface;

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
    pub(super) fn new(
        ledger: Ledger,
        server: &Server<T>,
        local: &LocalAgents,
        callbacks: &Callbacks,
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
            effects: Arc::new(effects.telling(callbacks.clone())),
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
    pub(super) place: PathBuf,
    /// The agents that this process brought.
    pub(super) agents: Vec<Agent>,
    pub(super) options: Options,
    pub(super) engaged: RwLock<Engaged<T>>,
    pub(super) server: Server<T>,
    pub(super) gates: Gates<T>,
    pub(super) local: LocalAgents,
    pub(super) callbacks: Callbacks,
    pub(super) reports: Mutex<Option<LocalReports>>,
    pub(super) received_at: Option<SocketAddr>,
    pub(super) receiver: Option<Receiver>,
    pub(super) waiters: Waiters,
    /// Somebody wants the work to be looked at.
    pub(super) wake: Notify,
    /// There is something to review.
    pub(super) reviews: Notify,
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
        let (server, local, callbacks) = (&self.server, &self.local, &self.callbacks);
        let engaged = Engaged::new(entered, server, local, callbacks, timing, receiver);
        *self.engaged.write().unwrap_or_else(PoisonError::into_inner) = engaged;
        Ok(())
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
            Interface::Gitea => self.has_gitea(),
            Interface::Api => true,
            Interface::Local => self.local.has(spec.name.as_str()),
        });
        handled.map(|spec| spec.name.to_string()).collect()
    }
}
