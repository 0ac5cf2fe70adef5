//! The Gitea client: labels, comments, issues. What a real server answers shaped each of them.

pub(crate) mod answer;
mod comments;
mod labels;

pub(crate) use comments::post_comment;
pub(crate) use labels::{DEFAULT_COLOR, apply_label};

/// The address of one issue.
pub(crate) fn issue_url(base: &str, repo: &str, issue: &str) -> String {
    format!("{base}/repos/{repo}/issues/{issue}")
}
