//! The settings, the server and its clock, the token and what it may do, the repository.

use std::time::{Duration, SystemTime};

use super::super::server::Server;
use super::super::settings::Policy;
use super::{Finding, agents, missing_scope, webhook};
use crate::dispatch::{Settings, api_base, check_repo};
use crate::gitea::{GiteaError, Repository, RepositoryInfo, ServerVersion};
use crate::http::Transport;
use crate::ledger::Agent;

/// Two clocks may differ by so much.
const APART: Duration = Duration::from_secs(5);
/// Tokens have had scopes since then.
const OLDEST: (u32, u32) = (1, 20);

/// Whether the server can be asked at all.
pub(super) fn settings(settings: &Settings, findings: &mut Vec<Finding>) -> bool {
    let check = "settings";
    if !settings.gitea_enabled {
        findings.push(Finding::warning(
            check,
            "Gitea is switched off; only agents over HTTP and in process get tasks",
            "set GITEA_ENABLED=true",
        ));
        return false;
    }
    let wrong = [
        (api_base(&settings.gitea_url).err(), "set GITEA_URL"),
        (check_repo(&settings.gitea_repo).err(), "set GITEA_REPO"),
    ];
    let before = findings.len();
    for (error, advice) in wrong {
        if let Some(error) = error {
            findings.push(Finding::error(check, error.to_string(), advice));
        }
    }
    if findings.len() > before {
        return false;
    }
    let url = crate::http::redact_url(&settings.gitea_url);
    findings.push(Finding::ok(
        check,
        format!("{} at {url}", settings.gitea_repo),
    ));
    true
}

/// What is asked about.
pub(super) struct Subject<'a, T> {
    pub(super) server: &'a Server<T>,
    pub(super) repository: Repository<T>,
    pub(super) has_token: bool,
    pub(super) agents: &'a [Agent],
    pub(super) policy: &'a Policy,
}

impl<T: Transport> Subject<'_, T> {
    /// Asks for one thing after the other, as long as there is somebody to answer.
    pub(super) async fn examine(&self, findings: &mut Vec<Finding>) {
        if !self.reach(findings).await || !self.token(findings).await {
            return;
        }
        if !self.rights(findings).await {
            return;
        }
        agents::labels(&self.repository, self.agents, findings).await;
        agents::accounts(self.server, &self.repository, self.agents, findings).await;
        webhook::examine(&self.repository, self.policy, findings).await;
    }

    async fn reach(&self, findings: &mut Vec<Finding>) -> bool {
        let check = "server";
        let asked = SystemTime::now();
        let answer = self.repository.server_version().await;
        let answered = SystemTime::now();
        match answer {
            Ok(version) => {
                findings.push(mode(&version.version));
                findings.push(clock(&version, asked, answered));
                true
            }
            // It answers; what it says of the token comes next.
            Err(error) if matches!(error.status(), Some(401 | 403)) => true,
            Err(GiteaError::Status {
                status: status @ 300..=399,
                location,
                ..
            }) => {
                let to = location.unwrap_or_else(|| "another address".to_owned());
                let found = format!("GITEA_URL answers {status}, it has moved to {to}");
                let advice = "set GITEA_URL to where Gitea is now; redirects are not followed";
                findings.push(Finding::error(check, found, advice));
                false
            }
            Err(GiteaError::Status {
                status, message, ..
            }) => {
                let advice = match status {
                    404 => "what is at GITEA_URL is no Gitea; give the address of its front page",
                    _ => "look at the server's log, and try again",
                };
                let found = format!("it answers {status} {message}");
                findings.push(Finding::error(check, found.trim(), advice));
                false
            }
            Err(error) => {
                let advice =
                    "check GITEA_URL, that the server runs, and that this machine reaches it";
                findings.push(Finding::error(check, error.to_string(), advice));
                false
            }
        }
    }

    async fn token(&self, findings: &mut Vec<Finding>) -> bool {
        let check = "token";
        let make = "make one on Gitea under Settings, Applications, with the scopes write:issue, \
                    read:repository and read:user, and set GITEA_TOKEN";
        if !self.has_token {
            findings.push(Finding::error(check, "there is none", make));
            return false;
        }
        match self.server.me().await {
            Ok(me) => findings.push(Finding::ok(check, format!("of the account {}", me.login))),
            Err(error) if error.status() == Some(401) => {
                let found = format!("the server does not take it ({error})");
                findings.push(Finding::error(check, found, make));
                return false;
            }
            Err(error) => match missing_scope(&error) {
                Some(scope) => findings.push(lacks(
                    &scope,
                    "our own comments cannot be told from others'",
                )),
                None => {
                    findings.push(Finding::error(check, error.to_string(), "try again"));
                    return false;
                }
            },
        }
        // A label without a name is never made; but whether one may be made is looked at first.
        match self.repository.create_label("", "").await {
            Err(error) if error.status() == Some(403) => match missing_scope(&error) {
                Some(scope) => {
                    findings.push(lacks(
                        &scope,
                        "no label can be put on and no comment written",
                    ));
                }
                None => findings.push(Finding::error(
                    "rights",
                    format!("its account may not write here ({error})"),
                    "add the account to the repository as a collaborator who may write",
                )),
            },
            _ => {}
        }
        true
    }

    /// Whether the repository is there.
    async fn rights(&self, findings: &mut Vec<Finding>) -> bool {
        let (check, name) = ("repository", self.repository.name());
        match self.repository.info().await {
            Ok(info) => {
                repository(&info, findings);
                true
            }
            Err(GiteaError::Status {
                status: status @ 300..=399,
                location,
                ..
            }) => {
                let place = location.unwrap_or_default();
                let found = format!("{name} answers {status}: it has another name now ({place})");
                let advice = format!(
                    "set GITEA_REPO to its new name; what is open goes on there with \
                     `timmy-dispatch repo move {name} NEW`"
                );
                findings.push(Finding::error(check, found, advice));
                false
            }
            Err(error) if error.status() == Some(404) => {
                let found = format!("{name} is not there, or the account may not see it");
                let advice = "check GITEA_REPO, and add the account to a private repository";
                findings.push(Finding::error(check, found, advice));
                false
            }
            Err(error) => {
                findings.push(match missing_scope(&error) {
                    Some(scope) => lacks(&scope, "gates see no pull requests and no checks"),
                    None => Finding::error(check, error.to_string(), "try again"),
                });
                true
            }
        }
    }
}

fn lacks(scope: &str, so: &str) -> Finding {
    Finding::error(
        "token",
        format!("it lacks the scope {scope}: {so}"),
        format!("make a token that has {scope} too, and set GITEA_TOKEN"),
    )
}

fn repository(info: &RepositoryInfo, findings: &mut Vec<Finding>) {
    let (check, name) = ("repository", &info.full_name);
    if info.archived {
        let found = format!("{name} is archived: nothing in it can be changed");
        findings.push(Finding::error(check, found, "unarchive it"));
    } else if !info.has_issues {
        let found = format!("{name} has its issues switched off");
        let advice = "switch them on in the repository's settings";
        findings.push(Finding::error(check, found, advice));
    } else {
        let may = match info.permissions {
            rights if rights.admin => "administer",
            rights if rights.push => "write",
            _ => "only read",
        };
        findings.push(Finding::ok(check, format!("{name}, which it may {may}")));
    }
}

/// What kind of server that version is.
fn mode(version: &str) -> Finding {
    let check = "server";
    if let Some((own, gitea)) = version.split_once("+gitea-") {
        return Finding::ok(check, format!("Forgejo {own}, taken as Gitea {gitea}"));
    }
    let mut numbers = version.split(['.', '+', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST => Finding::warning(
            check,
            format!("Gitea {version}, which nobody has tried"),
            format!("update it to {}.{} or later", OLDEST.0, OLDEST.1),
        ),
        (Some(Ok(major)), Some(Ok(minor))) => {
            let lists = match (major, minor) >= (1, 26) {
                true => "its label lists always come in pages",
                false => "its label lists come in pages where asked",
            };
            Finding::ok(check, format!("Gitea {version}; {lists}"))
        }
        _ => Finding::warning(
            check,
            format!("it says that its version is {version:?}"),
            "check that GITEA_URL leads to a Gitea or Forgejo",
        ),
    }
}

fn clock(version: &ServerVersion, asked: SystemTime, answered: SystemTime) -> Finding {
    let check = "clock";
    let Some(theirs) = version.date else {
        let advice = "a proxy before it may drop the header Date";
        return Finding::warning(check, "the server does not say what time it is", advice);
    };
    // Its time has no fractions.
    let ahead = theirs.duration_since(answered).ok();
    let behind = asked.duration_since(theirs + Duration::from_secs(1)).ok();
    let apart = ahead.map(|by| (by, "ahead of"));
    match apart.or(behind.map(|by| (by, "behind"))) {
        Some((by, way)) if by > APART => Finding::warning(
            check,
            format!("the server's is {} s {way} ours", by.as_secs()),
            "have both machines' clocks set by NTP",
        ),
        _ => Finding::ok(check, "the server's is ours"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn kinds_of_servers() {
        for (version, severity, found) in [
            ("1.26.1", Severity::Ok, "always"),
            ("1.27.0+dev-12-gabc", Severity::Ok, "always"),
            ("1.25.5", Severity::Ok, "where asked"),
            ("11.0.3+gitea-1.22.0", Severity::Ok, "Forgejo 11.0.3"),
            ("1.19.4", Severity::Warning, "tried"),
            ("", Severity::Warning, "version"),
            ("one", Severity::Warning, "one"),
        ] {
            let finding = mode(version);
            assert_eq!(finding.severity, severity, "{version}");
            assert!(finding.found.contains(found), "{finding:?}");
        }
    }

    #[test]
    fn a_second_without_fractions_is_no_difference() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let of = |date: Option<SystemTime>| {
            let version = ServerVersion {
                version: String::new(),
                date,
            };
            clock(&version, now, now).severity
        };
        let second = Duration::from_secs(1);
        assert_eq!(of(Some(now - second * 6)), Severity::Ok);
        assert_eq!(of(Some(now + second * 5)), Severity::Ok);
        assert_eq!(of(Some(now - second * 8)), Severity::Warning);
        assert_eq!(of(Some(now + second * 6)), Severity::Warning);
        assert_eq!(of(None), Severity::Warning);
    }
}
