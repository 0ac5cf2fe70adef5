//! Where Gitea is and how to get in.

use std::env;
use std::sync::{PoisonError, RwLock};

use crate::http::redact_url;

/// The settings that dispatching reads. The token is never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `GITEA_URL`: where the server is; a path and a trailing slash are fine.
    pub gitea_url: String,
    /// `GITEA_TOKEN`: an access token with the scope `write:issue`.
    pub gitea_token: String,
    /// `GITEA_REPO`: the repository, `owner/name`.
    pub gitea_repo: String,
    /// `GITEA_ENABLED`: whether Gitea is used at all.
    pub gitea_enabled: bool,
}

impl Settings {
    /// Reads `GITEA_URL`, `GITEA_TOKEN`, `GITEA_REPO` and `GITEA_ENABLED`.
    #[must_use]
    pub fn from_env() -> Self {
        let get = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            gitea_url: get("GITEA_URL").unwrap_or_else(|| "http://localhost:3000".to_owned()),
            gitea_token: get("GITEA_TOKEN").unwrap_or_default(),
            gitea_repo: get("GITEA_REPO").unwrap_or_default(),
            gitea_enabled: get("GITEA_ENABLED").is_none_or(|value| {
                !matches!(
                    value.trim().to_lowercase().as_str(),
                    "0" | "false" | "no" | "off" | "f" | "n"
                )
            }),
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("gitea_url", &redact_url(&self.gitea_url))
            .field("gitea_repo", &self.gitea_repo)
            .field("gitea_enabled", &self.gitea_enabled)
            .finish_non_exhaustive()
    }
}

/// A setting that cannot work; the text says which and what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// The address of Gitea's API, from the address of Gitea.
///
/// # Errors
/// [`ConfigError`] where it is no http or https URL.
///
/// ```
/// use timmy_dispatcher::dispatch::api_base;
/// assert_eq!(api_base("http://git.example/sub/").unwrap(), "http://git.example/sub/api/v1");
/// assert!(api_base("git.example").is_err());
/// ```
pub fn api_base(gitea_url: &str) -> Result<String, ConfigError> {
    /// The address that was right the last time: it is asked for with every hand-over.
    static KNOWN: RwLock<Option<String>> = RwLock::new(None);
    let base = gitea_url.trim().trim_end_matches('/');
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if known.as_deref() != Some(base) {
        drop(known);
        check_base(base)?;
        *KNOWN.write().unwrap_or_else(PoisonError::into_inner) = Some(base.to_owned());
    }
    Ok([base, "/api/v1"].concat())
}

fn check_base(base: &str) -> Result<(), ConfigError> {
    check_http_url("GITEA_URL", base)?;
    if base.contains(['?', '#']) {
        return Err(ConfigError(format!(
            "GITEA_URL is {:?}, which has a query; give the address that the web page of Gitea has",
            redact_url(base)
        )));
    }
    Ok(())
}

/// Checks that a URL is one that a request can be sent to.
///
/// # Errors
/// [`ConfigError`], which names the setting.
pub fn check_http_url(setting: &str, url: &str) -> Result<(), ConfigError> {
    // The parser would take "http:host" as well, which nobody means and `redact_url` cannot read.
    let lower = url.to_ascii_lowercase();
    let spelled_out = lower.starts_with("http://") || lower.starts_with("https://");
    if spelled_out && reqwest::Url::parse(url).is_ok_and(|url| url.has_host()) {
        return Ok(());
    }
    // Where the parts of it are is anybody's guess, so what may be a password is not shown.
    let shown = url.rfind('@').map_or_else(
        || url.to_owned(),
        |at| format!("***{}", url.get(at..).unwrap_or_default()),
    );
    Err(ConfigError(format!(
        "{setting} is {shown:?}, which is no http or https URL such as http://localhost:3000"
    )))
}

/// Checks that a repository is named `owner/name`.
///
/// # Errors
/// [`ConfigError`], which shows what it is.
pub fn check_repo(repo: &str) -> Result<(), ConfigError> {
    let part = |text: &str| {
        !text.is_empty()
            && text != "."
            && text != ".."
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match repo.split_once('/') {
        Some((owner, name)) if part(owner) && part(name) => Ok(()),
        _ => Err(ConfigError(format!(
            "GITEA_REPO is {repo:?}; it must be owner/name, such as timmy/swarm"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_is_shown_without_its_password() {
        for url in [
            "me:pw@host",
            "http:me:pw@host",
            "http:/me:pw@host",
            "http://me:pw/w@host",
            "ftp://me:pw@host",
            "http://me:pw@host:port",
            "http://me:pw@host/?q=1",
            "http://",
            "",
        ] {
            let wrong = api_base(url).unwrap_err().to_string();
            assert!(!wrong.contains("pw"), "{wrong}");
            assert!(wrong.starts_with("GITEA_URL is "), "{wrong}");
        }
        assert_eq!(
            api_base(" HTTP://me:pw@host:3000/sub//\n").unwrap(),
            "HTTP://me:pw@host:3000/sub/api/v1"
        );
    }

    #[test]
    fn a_repo_is_an_owner_and_a_name() {
        for repo in [
            "", "o", "o/", "/r", "o/r/x", "o/..", "./r", "o/a b", "o/r?x", "o/\u{e9}",
        ] {
            assert!(check_repo(repo).is_err(), "{repo}");
        }
        assert!(check_repo("Some-one/na_me.git").is_ok());
    }
}
