//! The Gitea client: labels, comments, issues. What a real server answers shaped each of them.

pub(crate) mod answer;
mod comments;
mod labels;

pub(crate) use comments::post_comment;
pub(crate) use labels::{DEFAULT_COLOR, apply_label};

/// The address of one issue, or of what follows below it.
pub(crate) fn issue_url(base: &str, repo: &str, issue: &str, below: &str) -> String {
    [base, "/repos/", repo, "/issues/", issue, below].concat()
}
