//! The Gitea stand-in answers as real servers did: 1.25.5 and 1.26.1, unless a test says otherwise.

#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod client;
mod comments;
mod faults;
mod issues;
mod labels;
mod pulls;
mod recording;
mod webhooks;

use timmy_dispatcher::sandbox::{GiteaVersion, Sandbox};

/// A sandbox of each version with the repo `timmy/swarm`.
fn both() -> impl Iterator<Item = (Sandbox, String)> {
    GiteaVersion::ALL.iter().map(|version| swarm(*version))
}

fn swarm(version: GiteaVersion) -> (Sandbox, String) {
    let gitea = Sandbox::builder().version(version).start().unwrap();
    let repo = gitea.create_repo("swarm").unwrap();
    (gitea, repo)
}
