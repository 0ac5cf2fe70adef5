//! A folder that goes away with its test, and what the tests ask a ledger.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use timmy_dispatcher::ledger::machine::{Channel, Plan};
use timmy_dispatcher::ledger::{Agent, Ledger, Options, Submission};
use uuid::Uuid;

pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("ledger-test-{}", Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.0.join("dispatch.db")
    }

    pub(crate) async fn open(&self) -> Ledger {
        Ledger::open(self.ledger(), agents(2), options())
            .await
            .unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn options() -> Options {
    Options::default().quarantine(Duration::ZERO)
}

pub(crate) fn agents(max_concurrent: u32) -> Vec<Agent> {
    let agent = |name: &str, channel| Agent {
        max_concurrent,
        ..Agent::new(name, channel)
    };
    vec![agent("kimi", Channel::Label), agent("api", Channel::Http)]
}

pub(crate) fn task(title: &str) -> Submission {
    Submission::new(json!({ "title": title }), Plan::new(["kimi"]))
}

pub(crate) fn kimi() -> Vec<String> {
    vec!["kimi".to_owned()]
}
