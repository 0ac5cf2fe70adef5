//! A worker of a durable dispatcher, fifty times as fast as usual, that goes on until nothing is
//! open. The tests kill it.
//!
//! `durable_worker LEDGER GITEA_URL TOKEN REPO [POINT]`: `POINT` (`before claim`, `after answered`, …)
//! is the commit at which it dies, the first time that it comes by.

use std::process::ExitCode;
use std::time::Duration;

use timmy_dispatcher::dispatch::Settings;
use timmy_dispatcher::durable::{AgentOptions, Builder, Policy, Timing};
use timmy_dispatcher::ledger::Moment;
use timmy_dispatcher::route::{Registry, Routes};
use timmy_dispatcher::task::AgentName;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ledger, url, token, repo, rest @ ..] = arguments.as_slice() else {
        return Err("durable_worker LEDGER GITEA_URL TOKEN REPO [POINT]".into());
    };
    let point = rest.first().cloned();
    let settings = Settings {
        gitea_url: url.clone(),
        gitea_token: token.clone(),
        gitea_repo: repo.clone(),
        gitea_enabled: true,
    };
    let timing = Timing {
        // A busy machine must not make a request fail that would have come.
        request: Duration::from_secs(2),
        quarantine: Duration::from_millis(500),
        lease: Duration::from_secs(6),
        margin: Duration::from_millis(100),
        ..Timing::default().faster(50)
    };
    let mut registry = Registry::default();
    let mut kimi = registry.get(&AgentName::KIMI_CODE)?.clone();
    kimi.max_concurrent = 8;
    registry.insert(kimi);
    let options = AgentOptions {
        gitea_user: Some("kimi".to_owned()),
        ..AgentOptions::default()
    };
    let dispatcher = Builder::new(ledger, settings)
        .team(registry, Routes::default())
        .policy(Policy {
            timing,
            ..Policy::default()
        })
        .agent(AgentName::KIMI_CODE, options)
        .ledger_options(move |options| {
            options.observed(move |moment, names| {
                let when = match moment {
                    Moment::BeforeCommit => "before",
                    Moment::AfterCommit => "after",
                };
                for name in names {
                    if point.as_deref() == Some(&format!("{when} {name}")) {
                        std::process::abort();
                    }
                }
            })
        })
        .open()
        .await?;
    while !dispatcher.list(false, 1).await?.is_empty() {
        tokio::time::sleep(timing.tick).await;
    }
    dispatcher.close(Duration::from_secs(5)).await;
    Ok(ExitCode::SUCCESS)
}
