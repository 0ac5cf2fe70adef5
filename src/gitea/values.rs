//! What Gitea answers with, as far as it is looked at. What is missing is empty: servers differ.

use serde::{Deserialize, Deserializer};

/// Null is as good as missing.
fn or_default<'de, D: Deserializer<'de>, V: Deserialize<'de> + Default>(
    from: D,
) -> Result<V, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// An account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct User {
    /// Its number.
    pub id: i64,
    /// Its name. Upper and lower case are the same.
    #[serde(deserialize_with = "or_default")]
    pub login: String,
}

impl User {
    /// Whether it is the account of that name.
    #[must_use]
    pub fn is(&self, login: &str) -> bool {
        !login.is_empty() && self.login.eq_ignore_ascii_case(login)
    }
}

/// A label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Label {
    /// Its number.
    pub id: i64,
    /// Its name. Several labels may have the same one.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Whether it takes the others of its scope (what stands before the last `/`) off an issue.
    pub exclusive: bool,
    /// Whether it is offered to nobody any more.
    pub is_archived: bool,
}

/// An issue, or a pull request as an issue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Issue {
    /// Its number in the repository.
    pub number: u64,
    /// `open` or `closed`.
    #[serde(deserialize_with = "or_default")]
    pub state: String,
    /// The title.
    #[serde(deserialize_with = "or_default")]
    pub title: String,
    /// The text.
    #[serde(deserialize_with = "or_default")]
    pub body: String,
    /// The labels on it.
    #[serde(deserialize_with = "or_default")]
    pub labels: Vec<Label>,
    /// How many comments it has.
    pub comments: u64,
    /// When it changed, with the precision of a second.
    #[serde(deserialize_with = "or_default")]
    pub updated_at: String,
    /// When it was closed. None where it is open.
    pub closed_at: Option<String>,
}

impl Issue {
    /// Whether it is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == "closed"
    }
}

/// A comment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Comment {
    /// Its number, shared with the entries of timelines.
    pub id: i64,
    /// Who wrote it.
    #[serde(deserialize_with = "or_default")]
    pub user: User,
    /// The text.
    #[serde(deserialize_with = "or_default")]
    pub body: String,
}

/// Something that happened to an issue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TimelineEntry {
    /// Its number, shared with comments.
    pub id: i64,
    /// `comment`, `label`, `close`, `reopen`, `pull_ref`, …
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// Who did it.
    #[serde(deserialize_with = "or_default")]
    pub user: User,
    /// The text; of a label `1` where it was put on and nothing where it was taken off.
    #[serde(deserialize_with = "or_default")]
    pub body: String,
    /// The label that it is about.
    pub label: Option<Label>,
    /// The issue or pull request that refers to this one.
    pub ref_issue: Option<Reference>,
    /// `closes`, `reopens` or nothing much.
    #[serde(deserialize_with = "or_default")]
    pub ref_action: String,
    /// When, with the precision of a second.
    #[serde(deserialize_with = "or_default")]
    pub created_at: String,
}

/// An issue or a pull request that refers to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reference {
    /// Its number in its repository.
    pub number: u64,
    /// Where it is.
    pub repository: Option<Place>,
    /// Set where it is a pull request.
    pub pull_request: Option<serde_json::Value>,
}

/// The repository of a [`Reference`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Place {
    /// `owner/name`.
    #[serde(deserialize_with = "or_default")]
    pub full_name: String,
}

/// Which server it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServerVersion {
    /// `1.26.1`, or Forgejo's `11.0.3+gitea-1.22.0`.
    #[serde(deserialize_with = "or_default")]
    pub version: String,
    /// What time it was there, with the precision of a second.
    #[serde(skip)]
    pub date: Option<std::time::SystemTime>,
}

/// A webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Its number.
    pub id: i64,
    /// Whether it sends anything.
    pub active: bool,
    /// What it tells of.
    #[serde(deserialize_with = "or_default")]
    pub events: Vec<String>,
    /// Where it sends it.
    #[serde(deserialize_with = "or_default")]
    pub config: HookConfig,
}

/// Where a [`Hook`] sends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HookConfig {
    /// The address.
    #[serde(deserialize_with = "or_default")]
    pub url: String,
    /// `json` or `form`.
    #[serde(deserialize_with = "or_default")]
    pub content_type: String,
}

/// A repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RepositoryInfo {
    /// Its number, which stays when it is renamed.
    pub id: i64,
    /// `owner/name`.
    #[serde(deserialize_with = "or_default")]
    pub full_name: String,
    /// Whether nothing in it may be changed.
    pub archived: bool,
    /// Whether it has issues.
    pub has_issues: bool,
    /// What the token's account may do.
    #[serde(deserialize_with = "or_default")]
    pub permissions: Permissions,
}

/// What an account may do in a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Everything.
    pub admin: bool,
    /// Write.
    pub push: bool,
    /// Read.
    pub pull: bool,
}

/// A pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// `open` or `closed`.
    #[serde(deserialize_with = "or_default")]
    pub state: String,
    /// Whether it was merged.
    #[serde(deserialize_with = "or_default")]
    pub merged: bool,
    /// Who opened it.
    #[serde(deserialize_with = "or_default")]
    pub user: User,
    /// Where it comes from.
    #[serde(deserialize_with = "or_default")]
    pub head: Head,
}

/// The branch that a pull request comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Head {
    /// The commit.
    #[serde(deserialize_with = "or_default")]
    pub sha: String,
}

/// What the checks of a commit say together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CombinedStatus {
    /// `pending`, `success`, `error`, `failure`, `warning`, `skipped`; without any check `pending`
    /// or nothing.
    #[serde(deserialize_with = "or_default")]
    pub state: String,
    /// How many checks there are.
    pub total_count: u64,
    /// Each of them.
    #[serde(deserialize_with = "or_default")]
    pub statuses: Vec<CommitStatus>,
}

/// A check of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CommitStatus {
    /// What it is called.
    #[serde(deserialize_with = "or_default")]
    pub context: String,
    /// As [`CombinedStatus::state`].
    #[serde(deserialize_with = "or_default")]
    pub status: String,
}

/// A review of a pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Review {
    /// Its number.
    pub id: i64,
    /// Who wrote it.
    #[serde(deserialize_with = "or_default")]
    pub user: User,
    /// `APPROVED`, `REQUEST_CHANGES`, `COMMENT`, `PENDING`, `REQUEST_REVIEW`.
    #[serde(deserialize_with = "or_default")]
    pub state: String,
    /// Whether the branch has moved on since.
    pub stale: bool,
    /// Whether somebody dismissed it.
    pub dismissed: bool,
    /// Whether its writer may approve.
    pub official: bool,
}
