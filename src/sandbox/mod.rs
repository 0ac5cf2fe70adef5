//! A Gitea stand-in on a loopback socket, for tests, demos and benches.
//!
//! It holds repos, issues, labels and comments, pull requests with their reviews and checks, and
//! webhooks; answers as a real Gitea does, traps included (label names that are not unique,
//! unknown ids that are ignored with a 200, 500 for a comment on an issue that does not exist);
//! records every request and webhook; and makes mistakes on order ([`Fault`], [`DeliveryFault`]).
//! Beside Gitea it plays an agent that takes tasks over HTTP: `POST /agent` and
//! `POST /agent/{name}` answer 202.
//!
//! **Pull requests** come from branches of the same repo; [`Sandbox::push`] makes and moves them,
//! and there are no contents behind them. Merging closes the issues that the pull request says it
//! closes at once, where a real Gitea takes a second or two.
//!
//! **Webhooks** go out at most once each, one after the other in the order of what happened, are
//! waited for 5 seconds and not tried again. They go to this machine only, and there too only
//! where [`SandboxBuilder::webhook_hosts`] allows it.
//!
//! **Who.** [`Sandbox::create_user`] makes users with tokens of some scopes, and
//! [`Sandbox::act`] does what the API can do in any user's name, without a socket.
//!
//! It runs in a thread of its own, so it can be used from tests that know nothing of async, and
//! from inside any runtime. Dropping it stops it.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use timmy_dispatcher::sandbox::{Fault, GiteaVersion, Sandbox};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gitea = Sandbox::builder().version(GiteaVersion::V1_26).start()?;
//! let repo = gitea.create_repo("swarm")?;
//! let issue = gitea.create_issue(&repo, "Design the LLM router", "")?;
//! gitea.fault(Fault::status(503).retry_after("2").on("GET", "/labels").times(1))?;
//!
//! let mut socket = TcpStream::connect(gitea.address())?;
//! write!(socket, "GET /api/v1/repos/{repo}/labels HTTP/1.0\r\n\r\n")?;
//! let mut answer = String::new();
//! socket.read_to_string(&mut answer)?;
//! assert!(answer.contains("503") && answer.contains("Retry-After: 2"));
//! assert_eq!(gitea.requests()[0].status, Some(503));
//! assert_eq!(gitea.issue(&repo, issue)?["state"], "open");
//! # Ok(())
//! # }
//! ```

mod access;
mod acts;
mod answer;
mod ask;
mod builder;
mod clock;
mod comments;
mod commits;
mod deliveries;
mod faults;
mod hooks;
mod issues;
mod labels;
mod pulls;
mod record;
mod repos;
mod reviews;
mod routes;
mod server;
mod state;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use builder::Running;
pub use builder::SandboxBuilder;
pub use deliveries::{DeliveryFault, RecordedDelivery};
pub use faults::Fault;
pub use record::RecordedRequest;
use server::{Shared, World};
pub use state::GiteaVersion;
use state::{Access, Issue, Place, Repo, Site};

/// What the sandbox refused to its owner. (What it refuses to a client is an HTTP status.)
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The socket could not be opened, or the thread not started.
    #[error("the sandbox cannot start: {0}")]
    Start(#[from] io::Error),
    /// A setting that cannot be.
    #[error("{0}")]
    Setup(String),
    /// No repo of this name.
    #[error("the sandbox has no repo {0:?}; create_repo makes one")]
    UnknownRepo(String),
    /// No issue of this number.
    #[error("the sandbox has no issue {number} in {repo}; create_issue makes one")]
    UnknownIssue {
        /// `owner/name`.
        repo: String,
        /// The number that was asked for.
        number: u64,
    },
    /// A name that is taken or not allowed, or a colour that is none.
    #[error("the sandbox refuses it as Gitea would: {0}")]
    Refused(String),
    /// A fault that could not be sent.
    #[error("{0}")]
    Fault(String),
}

/// A running Gitea stand-in. Repos are named `owner/name`.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    version: GiteaVersion,
    address: SocketAddr,
    url: String,
    token: String,
    owner: String,
    owner_id: u64,
    running: Mutex<Option<Running>>,
}

impl Sandbox {
    /// A sandbox with the usual settings, to be changed and started.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder::new()
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address behind [`url`](Self::url).
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that may do everything.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Who owns the repos and that token.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Which Gitea it answers like.
    #[must_use]
    pub fn version(&self) -> GiteaVersion {
        self.version
    }

    /// Closes every connection and the socket. What is held and recorded can still be read.
    ///
    /// In a process that was forked off the one that started it, it does nothing: the server's
    /// thread is not there.
    pub fn stop(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(running) = running {
            running.stop();
        }
    }

    /// Makes a repo of the owner's and gives its full name, `owner/name`.
    ///
    /// # Errors
    /// Where the name is taken or not allowed.
    pub fn create_repo(&self, name: &str) -> Result<String, SandboxError> {
        if !repos::valid_name(name) {
            return Err(SandboxError::Refused(format!(
                "no name for a repo: {name:?}"
            )));
        }
        let mut world = self.shared.world();
        match world.gitea.add_repo(self.owner_id, name) {
            Some(_) => Ok(format!("{}/{name}", world.gitea.site.login(self.owner_id))),
            None => Err(SandboxError::Refused(format!(
                "there is a repo {name:?} already"
            ))),
        }
    }

    /// Opens an issue and gives its number.
    ///
    /// # Errors
    /// Where there is no such repo.
    pub fn create_issue(&self, repo: &str, title: &str, body: &str) -> Result<u64, SandboxError> {
        self.change(repo, |site, repo| {
            repo.add_issue(site, self.owner_id, title, body, None)
        })
    }

    /// Makes a label and gives its id. Asked twice, it makes two, as Gitea does.
    ///
    /// # Errors
    /// Where there is no such repo, or the colour is none (`#rgb` and `#rrggbb` are).
    pub fn create_label(&self, repo: &str, name: &str, color: &str) -> Result<u64, SandboxError> {
        self.change(repo, |site, repo| {
            let label = repo.add_label(site, name, color);
            label.map(|label| label.id).map_err(SandboxError::Refused)
        })?
    }

    /// Closes an issue, as somebody else would.
    ///
    /// # Errors
    /// Where there is no such repo or issue.
    pub fn close_issue(&self, repo: &str, number: u64) -> Result<(), SandboxError> {
        self.set_closed(repo, number, true)
    }

    /// Opens a closed issue again.
    ///
    /// # Errors
    /// Where there is no such repo or issue.
    pub fn reopen_issue(&self, repo: &str, number: u64) -> Result<(), SandboxError> {
        self.set_closed(repo, number, false)
    }

    fn set_closed(&self, repo: &str, number: u64, closed: bool) -> Result<(), SandboxError> {
        self.change(repo, |site, found| {
            found
                .issue(number)
                .ok_or_else(|| unknown_issue(repo, number))?;
            found.set_closed(site, self.owner_id, number, closed);
            Ok(())
        })?
    }

    /// Locks an issue: who may not write may not comment either.
    ///
    /// # Errors
    /// Where there is no such repo or issue.
    pub fn lock_issue(&self, repo: &str, number: u64) -> Result<(), SandboxError> {
        self.change(repo, |_, found| match found.issue_mut(number) {
            Some(issue) => {
                issue.locked = true;
                Ok(())
            }
            None => Err(unknown_issue(repo, number)),
        })?
    }

    /// Comments on an issue as the owner and gives the comment's id.
    ///
    /// # Errors
    /// Where there is no such repo or issue.
    pub fn create_comment(&self, repo: &str, number: u64, body: &str) -> Result<u64, SandboxError> {
        self.change(repo, |site, found| {
            let made = found.comment(site, self.owner_id, number, body.to_owned());
            made.ok_or_else(|| unknown_issue(repo, number))
        })?
    }

    /// Renames a repo and gives its new full name; the old one answers 301 from now on.
    ///
    /// # Errors
    /// Where there is no such repo, or the new name is taken or not allowed.
    pub fn rename_repo(&self, repo: &str, name: &str) -> Result<String, SandboxError> {
        let mut world = self.shared.world();
        let id = id_of(&world, repo)?;
        if !repos::valid_name(name) || !world.gitea.rename_repo(id, name) {
            return Err(SandboxError::Refused(format!(
                "no name for {repo}: {name:?}"
            )));
        }
        let (site, repo) = found(&mut world, repo, id)?;
        Ok(repo.full_name(site))
    }

    /// Renames a user; paths with the old login answer 307 from now on.
    ///
    /// # Errors
    /// Where there is no such user, or the new name is taken or not allowed.
    pub fn rename_user(&self, login: &str, new: &str) -> Result<(), SandboxError> {
        let mut world = self.shared.world();
        if repos::valid_name(new) && world.gitea.rename_user(login, new) {
            return Ok(());
        }
        Err(SandboxError::Refused(format!(
            "{login} cannot become {new:?}"
        )))
    }

    /// Archives a repo: issues and comments are refused with 423 from now on.
    ///
    /// # Errors
    /// Where there is no such repo.
    pub fn archive_repo(&self, repo: &str) -> Result<(), SandboxError> {
        self.change(repo, |_, repo| repo.archived = true)
    }

    /// Switches a repo's issues off or on.
    ///
    /// # Errors
    /// Where there is no such repo.
    pub fn set_issues_enabled(&self, repo: &str, enabled: bool) -> Result<(), SandboxError> {
        self.change(repo, |_, repo| repo.has_issues = enabled)
    }

    /// Makes a repo private or public.
    ///
    /// # Errors
    /// Where there is no such repo.
    pub fn set_private(&self, repo: &str, private: bool) -> Result<(), SandboxError> {
        self.change(repo, |_, repo| repo.private = private)
    }

    /// Makes a user who is no administrator, with a token of these scopes (`write:issue`, …).
    ///
    /// # Errors
    /// Where the name is taken or not allowed.
    pub fn create_user(
        &self,
        login: &str,
        token: &str,
        scopes: &[&str],
    ) -> Result<(), SandboxError> {
        let site = &mut self.shared.world().gitea.site;
        if !repos::valid_name(login) || site.user_named(login).is_some() {
            return Err(SandboxError::Refused(format!(
                "no name for a user: {login:?}"
            )));
        }
        let id = site.add_user(login, &format!("{login}@example.com"), "", false);
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        site.add_token(id, token, scopes);
        Ok(())
    }

    /// Lets a user write to a repo.
    ///
    /// # Errors
    /// Where there is no such repo or user.
    pub fn add_writer(&self, repo: &str, login: &str) -> Result<(), SandboxError> {
        self.change(repo, |site, repo| match site.user_named(login) {
            Some(user) => {
                repo.set_access(user.id, Some(Access::Write));
                Ok(())
            }
            None => Err(SandboxError::Refused(format!("there is no user {login:?}"))),
        })?
    }

    /// An issue as served to the administrator.
    ///
    /// # Errors
    /// Where there is no such repo or issue.
    pub fn issue(&self, repo: &str, number: u64) -> Result<Value, SandboxError> {
        self.read_issue(repo, number, |site, repo, issue| {
            issue.json(site, repo, true)
        })
    }

    /// All labels of a repo as served, on one page.
    ///
    /// # Errors
    /// Where there is no such repo.
    pub fn labels(&self, repo: &str) -> Result<Vec<Value>, SandboxError> {
        self.change(repo, |site, repo| repo.labels_json(site))
    }

    /// The labels of an issue as served.
    ///
    /// # Errors
    /// Where there is no such repo or issue.
    pub fn issue_labels(&self, repo: &str, number: u64) -> Result<Vec<Value>, SandboxError> {
        self.read_issue(repo, number, |site, repo, issue| {
            repo.issue_labels_json(site, issue)
        })
    }

    /// The comments of an issue as served, oldest first.
    ///
    /// # Errors
    /// Where there is no such repo or issue.
    pub fn comments(&self, repo: &str, number: u64) -> Result<Vec<Value>, SandboxError> {
        self.read_issue(repo, number, |site, repo, issue| {
            repo.comments_json(site, issue)
        })
    }

    /// Makes a second label of that name, with a higher id, and gives the id. Where there is none
    /// yet, it makes two.
    ///
    /// # Errors
    /// Where there is no such repo.
    pub fn duplicate_label(&self, repo: &str, name: &str) -> Result<u64, SandboxError> {
        self.change(repo, |site, repo| {
            let mut known = repo.labels.iter().filter(|label| label.name == name);
            let color = known.next().map(|label| label.color.clone());
            if color.is_none() {
                repo.add_label(site, name, FILLER_COLOR)
                    .map_err(SandboxError::Refused)?;
            }
            let color = color.as_deref().unwrap_or(FILLER_COLOR);
            let label = repo.add_label(site, name, color);
            label.map(|label| label.id).map_err(SandboxError::Refused)
        })?
    }

    /// Pushes a label behind the first page of any size, with labels whose names sort before it,
    /// and gives its id. Where there is no such label yet, it is made.
    ///
    /// # Errors
    /// Where there is no such repo, or the name is one that nothing sorts before.
    pub fn page_2_label(&self, repo: &str, name: &str) -> Result<u64, SandboxError> {
        const FIRST_PAGE_AT_MOST: usize = 50;
        self.change(repo, |site, repo| {
            let filler = |number: usize| format!("!before-{number:02}");
            if name <= filler(FIRST_PAGE_AT_MOST).as_str() {
                return Err(SandboxError::Refused(format!("too early a name: {name:?}")));
            }
            let mut known = repo.labels.iter().filter(|label| label.name == name);
            let known = known.next().map(|label| label.id);
            let before = repo
                .labels
                .iter()
                .filter(|label| label.name.as_str() < name)
                .count();
            for number in before..FIRST_PAGE_AT_MOST {
                repo.add_label(site, &filler(number), FILLER_COLOR)
                    .map_err(SandboxError::Refused)?;
            }
            match known {
                Some(id) => Ok(id),
                None => {
                    let label = repo.add_label(site, name, FILLER_COLOR);
                    label.map(|label| label.id).map_err(SandboxError::Refused)
                }
            }
        })?
    }

    /// Every request since the start or the last clearing, in order of arrival; of very many, the
    /// last 50,000.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.world().log.all()
    }

    /// Forgets the requests.
    pub fn clear_requests(&self) {
        self.shared.world().log.clear();
    }

    /// Waits until so many requests have arrived since the last clearing, answered or not; false
    /// where that takes longer than `timeout`.
    ///
    /// A request that is neither delayed nor held before its effect has had it by then.
    #[must_use = "false says that they did not arrive"]
    pub fn wait_for_requests(&self, count: usize, timeout: Duration) -> bool {
        self.wait_until(timeout, |world| world.log.len() >= count)
    }

    /// Orders a fault.
    ///
    /// # Errors
    /// Where its status or a header could not be sent.
    pub fn fault(&self, fault: Fault) -> Result<(), SandboxError> {
        fault.check()?;
        self.shared.world().faults.add(fault);
        Ok(())
    }

    /// Forgets all faults, of webhooks too, and releases what they hold.
    pub fn clear_faults(&self) {
        let mut world = self.shared.world();
        world.faults.clear();
        world.post.clear_faults();
        drop(world);
        self.release();
    }

    /// Lets go on what [`Fault::hold`], [`Fault::commit_at_release`] and
    /// [`DeliveryFault::overtake`] hold. What arrives later is held as before.
    pub fn release(&self) {
        self.shared.change(|world| {
            world.post.release();
            self.shared.releases.send_modify(|count| *count += 1);
        });
    }

    fn change<T>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Site, &mut Repo) -> T,
    ) -> Result<T, SandboxError> {
        self.shared.change(|world| {
            let id = id_of(world, name)?;
            let (site, repo) = found(world, name, id)?;
            Ok(change(site, repo))
        })
    }

    fn read_issue<T>(
        &self,
        name: &str,
        number: u64,
        read: impl FnOnce(&Site, &Repo, &Issue) -> T,
    ) -> Result<T, SandboxError> {
        self.change(name, |site, repo| match repo.issue(number) {
            Some(issue) => Ok(read(site, repo, issue)),
            None => Err(unknown_issue(name, number)),
        })?
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The grey of a label that is only there to be there.
const FILLER_COLOR: &str = "ededed";

fn id_of(world: &World, name: &str) -> Result<u64, SandboxError> {
    let unknown = || SandboxError::UnknownRepo(name.to_owned());
    let (owner, repo) = name.split_once('/').ok_or_else(unknown)?;
    match world.gitea.locate(owner, repo) {
        Place::Here(id) => Ok(id),
        Place::Moved(..) | Place::Nowhere => Err(unknown()),
    }
}

fn found<'a>(
    world: &'a mut World,
    name: &str,
    id: u64,
) -> Result<(&'a mut Site, &'a mut Repo), SandboxError> {
    let found = world.gitea.repo_mut(id);
    found.ok_or_else(|| SandboxError::UnknownRepo(name.to_owned()))
}

fn unknown_issue(repo: &str, number: u64) -> SandboxError {
    SandboxError::UnknownIssue {
        repo: repo.to_owned(),
        number,
    }
}
