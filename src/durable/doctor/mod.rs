//! Looks at everything that dispatching needs, changes nothing, and says what to do.
//!
//! | module | what it looks at |
//! |---|---|
//! | `server` | the settings, the server and its clock, the token, the repository |
//! | `agents` | labels, accounts, endpoints |
//! | `webhook` | whether the server tells us of changes, and may |
//! | `place` | the ledger: file, disk, version, workers |

mod agents;
mod place;
mod server;
mod webhook;

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;

use super::builder::Builder;
use super::plan::Team;
use super::server::Server;
use crate::gitea::GiteaError;
use crate::http::Transport;
use crate::ledger::{Agent, Ledger};
use crate::task::{UnknownName, named};

named! {
    /// How bad a [`Finding`] is.
    Severity, "severity", {
        /// As it should be.
        Ok = "ok",
        /// It works, but not as well as it could.
        Warning = "warning",
        /// It cannot work.
        Error = "error",
    }
}

/// Something that was looked at. The texts hold no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `server`, `token`, `label claude-ready`, …
    pub check: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub found: String,
    /// What to do about it. Empty where there is nothing to do.
    pub advice: String,
}

impl Finding {
    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Severity::Ok, found, "")
    }

    fn warning(
        check: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(check, Severity::Warning, found, advice)
    }

    fn error(
        check: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(check, Severity::Error, found, advice)
    }

    fn new(
        check: impl Into<String>,
        severity: Severity,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            check: check.into(),
            severity,
            found: found.into(),
            advice: advice.into(),
        }
    }
}

impl<T: Transport> Builder<T> {
    /// Looks at the settings, the server, the token, the repository, the agents and the ledger. It
    /// changes nothing, and makes no ledger where there is none. The agents are those in force in
    /// the ledger; where it has none yet, this builder's.
    pub fn examine(&self) -> impl Future<Output = Vec<Finding>> + Send + use<T> {
        let (place, team) = (self.place.clone(), self.team.clone());
        let (ours, transport) = (self.ledger_agents(), Arc::clone(&self.transport));
        async move {
            let mut findings = Vec::new();
            let inspection = Ledger::inspect(&place).await;
            let agents = match (&inspection, ours) {
                (Ok(Some(seen)), _) if !seen.agents.is_empty() => seen.agents.clone(),
                (_, Ok(ours)) => ours,
                (_, Err(error)) => {
                    let advice = "take it out of the options";
                    findings.push(Finding::error("agents", error.to_string(), advice));
                    Vec::new()
                }
            };
            gitea(&team, &agents, transport, &mut findings).await;
            agents::endpoints(&agents, &mut findings).await;
            place::examine(&place, &inspection, &mut findings);
            findings
        }
    }
}

/// Everything about the server.
async fn gitea<T: Transport>(
    team: &Team,
    agents: &[Agent],
    transport: Arc<T>,
    findings: &mut Vec<Finding>,
) {
    let settings = &team.settings;
    if !server::settings(settings, findings) {
        return;
    }
    match Server::new(settings, transport, team.policy.timing.request) {
        Ok(gitea) => {
            let subject = server::Subject {
                server: &gitea,
                repository: gitea.repository(&settings.gitea_repo),
                has_token: !settings.gitea_token.is_empty(),
                agents,
                policy: &team.policy,
            };
            subject.examine(findings).await;
        }
        Err(error) => {
            let advice = "set GITEA_URL";
            findings.push(Finding::error("settings", error.to_string(), advice));
        }
    }
}

/// The scope that a token lacks, as the server names it.
fn missing_scope(error: &GiteaError) -> Option<String> {
    let GiteaError::Status {
        status: 403,
        message,
        ..
    } = error
    else {
        return None;
    };
    if !message.contains("scope") {
        return None;
    }
    let (_, after) = message.split_once('[')?;
    let (scopes, _) = after.split_once(']')?;
    Some(scopes.to_owned())
}

/// A list in words.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_scope_is_what_the_server_names() {
        let refused = |status, message: &str| GiteaError::Status {
            status,
            message: message.to_owned(),
            retry_after: None,
            location: None,
        };
        let since_1_23 = "token does not have at least one of required scope(s), \
                          required=[write:issue], token scope=read:issue";
        let before = "token does not have at least one of required scope(s): [read:user]";
        assert_eq!(
            missing_scope(&refused(403, since_1_23)).as_deref(),
            Some("write:issue")
        );
        assert_eq!(
            missing_scope(&refused(403, before)).as_deref(),
            Some("read:user")
        );
        assert_eq!(missing_scope(&refused(403, "no [write] access")), None);
        assert_eq!(missing_scope(&refused(404, since_1_23)), None);
    }
}
