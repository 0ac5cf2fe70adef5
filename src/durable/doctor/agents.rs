//! What the agents are reached by: labels, accounts, endpoints.

use std::time::Duration;

use tokio::net::TcpStream;

use super::super::order::Terms;
use super::super::server::Server;
use super::{Finding, listed, missing_scope};
use crate::dispatch::check_http_url;
use crate::gitea::{Label, Repository};
use crate::http::{Transport, redact_url};
use crate::ledger::Agent;
use crate::ledger::machine::Channel;

/// A connection may take so long.
const CONNECT: Duration = Duration::from_secs(5);

/// The agents of a channel, with their terms.
fn of(agents: &[Agent], channel: Channel) -> impl Iterator<Item = (&Agent, Terms)> {
    let on_it = agents.iter().filter(move |agent| agent.channel == channel);
    on_it.map(|agent| (agent, Terms::of(&agent.terms).unwrap_or_default()))
}

/// The labels that make agents begin.
pub(super) async fn labels<T: Transport>(
    repository: &Repository<T>,
    agents: &[Agent],
    findings: &mut Vec<Finding>,
) {
    let there = match repository.labels().await {
        Ok(there) => there,
        Err(error) => {
            let advice = match missing_scope(&error) {
                Some(scope) => format!("make a token that has {scope} too, and set GITEA_TOKEN"),
                None => "try again".to_owned(),
            };
            findings.push(Finding::error("labels", error.to_string(), advice));
            return;
        }
    };
    for (agent, terms) in of(agents, Channel::Label) {
        match terms.label {
            Some(name) => findings.push(label(&name, &there)),
            None => findings.push(Finding::error(
                "labels",
                format!("{} has none", agent.name),
                "give it a gitea_label",
            )),
        }
    }
}

fn label(name: &str, there: &[Label]) -> Finding {
    let check = format!("label {name}");
    let mut of_name: Vec<&Label> = there.iter().filter(|label| label.name == name).collect();
    of_name.sort_by_key(|label| label.id);
    match of_name.as_slice() {
        [] => Finding::ok(
            check,
            "not there yet; it is made when it is needed for the first time",
        ),
        [only] if only.exclusive => {
            let scope = name.rsplit_once('/').map_or(name, |(scope, _)| scope);
            let found = format!("it is exclusive: put on, it takes off every other of {scope}/");
            Finding::warning(check, found, "make it one that is not exclusive")
        }
        [only] if only.is_archived => {
            Finding::warning(check, "it is archived", "unarchive it, so that it is shown")
        }
        [only] => Finding::ok(check, format!("there, with the id {}", only.id)),
        [first, ..] => {
            let ids: Vec<String> = of_name.iter().map(|label| label.id.to_string()).collect();
            let ids = listed(ids.iter().map(String::as_str));
            let found = format!("{} labels have that name: {ids}", of_name.len());
            let advice = format!("delete all but {}, the oldest, which is used", first.id);
            Finding::warning(check, found, advice)
        }
    }
}

/// The accounts by which signs of life are known.
pub(super) async fn accounts<T: Transport>(
    server: &Server<T>,
    repository: &Repository<T>,
    agents: &[Agent],
    findings: &mut Vec<Finding>,
) {
    let me = server.me().await.ok();
    for (agent, terms) in of(agents, Channel::Label) {
        let check = format!("account of {}", agent.name);
        let Some(login) = terms.gitea_user else {
            findings.push(Finding::warning(
                check,
                "not known: that it has begun is seen by nothing",
                "set its gitea_user (`--agent-account`) to the account that it works with",
            ));
            continue;
        };
        if me.is_some_and(|me| me.is(&login)) {
            findings.push(Finding::warning(
                check,
                format!("{login} is our own: what we write counts as its sign of life"),
                "give the dispatcher an account of its own",
            ));
            continue;
        }
        findings.push(match repository.account(&login).await {
            Ok(user) => Finding::ok(check, user.login),
            Err(error) if error.status() == Some(404) => Finding::error(
                check,
                format!("the server has no account {login}"),
                "correct its gitea_user (`--agent-account`)",
            ),
            Err(error) => match missing_scope(&error) {
                Some(scope) => Finding::warning(
                    check,
                    format!("{login}, which cannot be looked up without the scope {scope}"),
                    format!("make a token that has {scope} too, and set GITEA_TOKEN"),
                ),
                None => Finding::warning(check, format!("{login}: {error}"), "try again"),
            },
        });
    }
}

/// Whether the agents over HTTP are there. Nothing is sent to them.
pub(super) async fn endpoints(agents: &[Agent], findings: &mut Vec<Finding>) {
    for (agent, terms) in of(agents, Channel::Http) {
        let check = format!("endpoint of {}", agent.name);
        let Some(url) = terms.endpoint else {
            findings.push(Finding::warning(
                check,
                "it has none: only tasks that bring one of their own reach it",
                "give it an api_endpoint (`--agent-endpoint`)",
            ));
            continue;
        };
        let shown = redact_url(&url);
        if let Err(error) = check_http_url("its endpoint", &url) {
            findings.push(Finding::error(check, error.to_string(), "correct it"));
            continue;
        }
        let advice = "start the agent, or correct its api_endpoint (`--agent-endpoint`)";
        findings.push(match connect(&url).await {
            Ok(()) => Finding::ok(check, format!("{shown} takes connections")),
            Err(why) => Finding::error(check, format!("{shown} cannot be reached: {why}"), advice),
        });
    }
}

async fn connect(url: &str) -> Result<(), String> {
    let parsed = reqwest::Url::parse(url).map_err(|error| error.to_string())?;
    let host = parsed.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = parsed.port_or_known_default().unwrap_or(80);
    match tokio::time::timeout(CONNECT, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {} s", CONNECT.as_secs())),
    }
}
