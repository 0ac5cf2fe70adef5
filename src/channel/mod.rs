//! How a task reaches an agent: `gitea`, `api` or `local`; and what is said on the issue.

pub(crate) mod api;
pub mod comment;
pub(crate) mod gitea;
pub(crate) mod local;
