//! Agents that are not reached by an issue: over HTTP, and in this process.
//!
//! An HTTP agent gets its task in one POST and answers that it is done, or that it took it; then it
//! is asked at the place that it named ([`StatusPolls`]), or calls back with a signature
//! ([`signature`]). A local one is a function ([`LocalAgents`]).

mod local;
mod post;
mod said;
pub mod signature;
mod status;

pub use local::{Cancelled, LocalAgents, LocalFailure, LocalReport, LocalReports, LocalTask};
pub use status::{StatusPolls, StatusReport};

pub(crate) use post::Destination;
pub use said::Said;
pub(crate) use said::{bounded, kept};

/// Where agents report how it went.
#[derive(Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Its address, as the agents see it: `http://here:8080`. `/callbacks/<id>` is put behind it.
    pub url: String,
    /// What its callers sign with. Never shown by `Debug`.
    pub secret: String,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("url", &crate::http::redact_url(&self.url))
            .finish_non_exhaustive()
    }
}
