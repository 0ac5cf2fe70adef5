//! The Gitea client: labels, comments, issues. What a real server answers shaped each of them.

pub(crate) mod answer;
mod comments;
mod labels;
#[cfg(feature = "durable")]
mod repository;
#[cfg(feature = "durable")]
mod values;

pub(crate) use comments::post_comment;
#[cfg(feature = "durable")]
pub(crate) use labels::Creating;
pub(crate) use labels::{DEFAULT_COLOR, apply_label};
#[cfg(feature = "durable")]
pub use repository::{GiteaError, Repository};
#[cfg(feature = "durable")]
pub use values::{
    CombinedStatus, Comment, CommitStatus, Head, Hook, HookConfig, Issue, Label, Permissions,
    Place, PullRequest, Reference, RepositoryInfo, Review, ServerVersion, TimelineEntry, User,
};

/// The address of one issue, or of what follows below it.
pub(crate) fn issue_url(base: &str, repo: &str, issue: &str, below: &str) -> String {
    [base, "/repos/", repo, "/issues/", issue, below].concat()
}
