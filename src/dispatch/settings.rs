//! Where Gitea is and how to get in.

use std::env;

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
    let base = gitea_url.trim_end_matches('/');
    check_http_url("GITEA_URL", base)?;
    Ok(format!("{base}/api/v1"))
}

/// Checks that a URL is one that a request can be sent to.
///
/// # Errors
/// [`ConfigError`], which names the setting.
pub fn check_http_url(setting: &str, url: &str) -> Result<(), ConfigError> {
    let usable = reqwest::Url::parse(url)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    if usable {
        return Ok(());
    }
    let shown = redact_url(url);
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
