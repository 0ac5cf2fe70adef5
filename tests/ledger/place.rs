//! A place for a ledger that goes away with its test, and what the tests ask a ledger.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use timmy_dispatcher::ledger::machine::{Channel, Plan};
use timmy_dispatcher::ledger::{Agent, Ledger, Options, Submission};
use uuid::Uuid;

use crate::postgres::Server;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// The tests of a function that takes the dialect.
macro_rules! on_each {
    ($name:ident) => {
        mod $name {
            use crate::place::Dialect;

            #[tokio::test]
            async fn sqlite() {
                super::$name(Dialect::Sqlite).await;
            }

            #[tokio::test]
            async fn postgres() {
                super::$name(Dialect::Postgres).await;
            }
        }
    };
}
pub(crate) use on_each;

pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    ledger: String,
}

impl Place {
    pub(crate) fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Sqlite => {
                let mut place = Self::at("");
                place.ledger = place.folder.join("dispatch.db").display().to_string();
                place
            }
            Dialect::Postgres => Self::at(&Server::shared().schema()),
        }
    }

    pub(crate) fn at(ledger: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ledger-test-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        Self {
            folder,
            ledger: ledger.to_owned(),
        }
    }

    /// Its path or URL.
    pub(crate) fn ledger(&self) -> &str {
        &self.ledger
    }

    pub(crate) async fn open(&self) -> Ledger {
        Ledger::open(self.ledger(), agents(2), options())
            .await
            .unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn options() -> Options {
    let options = Options::default().quarantine(Duration::ZERO);
    // So that it can be seen that tests fail without it.
    if std::env::var_os("TIMMY_WITHOUT_FENCE").is_some() {
        return options.without_fence();
    }
    options
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

/// A task without an issue, for an agent that needs none.
pub(crate) fn without_issue(agent: &str) -> Submission {
    let plan = Plan {
        has_issue: false,
        ..Plan::new([agent])
    };
    Submission::new(json!({}), plan)
}

pub(crate) fn kimi() -> Vec<String> {
    vec!["kimi".to_owned()]
}
