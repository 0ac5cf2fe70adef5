//! Stub: replaced by the effects part.
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::agents::LocalAgents;
use super::server::Server;
use super::settings::Policy;
use crate::http::Transport;
use crate::ledger::machine::Event;
use crate::ledger::{Answer, Errand, Ledger};

/// What came of an effect.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) answer: Answer,
    pub(crate) notes: Vec<Note>,
}

/// What an answer tells beside what became of the effect.
#[derive(Debug)]
pub(crate) enum Note {
    Event(Event, Value),
    Held { repo: String, reason: String },
}

pub(crate) struct Effects<T> {
    request: Duration,
    _transport: Arc<T>,
}

impl<T: Transport> Effects<T> {
    pub(crate) fn new(
        _server: Option<Server<T>>,
        transport: Arc<T>,
        _local: LocalAgents,
        policy: &Policy,
    ) -> Self {
        Self {
            request: policy.timing.request,
            _transport: transport,
        }
    }

    pub(crate) fn effect_timeout(&self, _errand: &Errand) -> Duration {
        self.request
    }

    pub(crate) async fn carry_out(&self, _ledger: &Ledger, _errand: &Errand) -> Outcome {
        Outcome {
            answer: Answer::Taken(Some(1)),
            notes: vec![],
        }
    }

    pub(crate) async fn look_for(&self, _ledger: &Ledger, _errand: &Errand) -> Outcome {
        Outcome {
            answer: Answer::Found(1, Some(1)),
            notes: vec![],
        }
    }
}
