//! What the stand-in holds. Plain data and functions on it: no socket, no lock, no clock but `now`.

use std::collections::HashMap;
use std::str::FromStr;

use super::SandboxError;
use super::clock;
use super::commits::{Branch, Status};
use super::hooks::{Happened, Hook, Notice};
use super::pulls::Pull;

/// Which Gitea the sandbox answers like.
///
/// They differ in the label list: from 1.26 it is always paged, before that only when `page` is
/// given. Forgejo answers as 1.25 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum GiteaVersion {
    /// Gitea up to 1.25, and Forgejo.
    V1_25,
    /// Gitea from 1.26 on.
    #[default]
    V1_26,
}

impl GiteaVersion {
    /// Every version, oldest first.
    pub const ALL: &'static [Self] = &[Self::V1_25, Self::V1_26];

    /// `1.25` or `1.26`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_25 => "1.25",
            Self::V1_26 => "1.26",
        }
    }

    /// The full number that `GET /version` answers with.
    pub(super) const fn full(self) -> &'static str {
        match self {
            Self::V1_25 => "1.25.5",
            Self::V1_26 => "1.26.1",
        }
    }
}

impl FromStr for GiteaVersion {
    type Err = SandboxError;

    fn from_str(text: &str) -> Result<Self, SandboxError> {
        let found = Self::ALL.iter().find(|version| version.as_str() == text);
        found.copied().ok_or_else(|| {
            SandboxError::Setup(format!(
                "unknown Gitea version {text:?}; known are 1.25, 1.26"
            ))
        })
    }
}

/// Everything behind the one mutex.
#[derive(Debug)]
pub(super) struct Gitea {
    pub(super) site: Site,
    pub(super) repos: Vec<Repo>,
}

/// What belongs to no single repo.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) version: GiteaVersion,
    pub(super) url: String,
    pub(super) users: Vec<User>,
    pub(super) tokens: Vec<Token>,
    pub(super) ids: Ids,
    /// What happened since webhooks were last made of it.
    pub(super) notices: Vec<Notice>,
    /// Old names, in lower case, and the id of the repo that had them.
    renamed_repos: HashMap<(String, String), u64>,
    /// Old logins, in lower case, and the id of the user that had them.
    renamed_users: HashMap<String, u64>,
}

/// The last id given out of each sequence. Each is shared by all repos, as in Gitea's tables.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pub(super) user: u64,
    pub(super) token: u64,
    pub(super) repo: u64,
    pub(super) label: u64,
    pub(super) issue: u64,
    /// Comments and timeline events are rows of one table.
    pub(super) entry: u64,
    pub(super) pull: u64,
    pub(super) review: u64,
    pub(super) status: u64,
    pub(super) hook: u64,
    pub(super) commit: u64,
    /// Tasks taken by the agent stand-in.
    pub(super) task: u64,
}

pub(super) fn next(last: &mut u64) -> u64 {
    *last += 1;
    *last
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) login: String,
    pub(super) email: String,
    pub(super) password: String,
    pub(super) admin: bool,
    pub(super) created: i64,
}

#[derive(Debug)]
pub(super) struct Token {
    pub(super) secret: String,
    pub(super) user: u64,
    pub(super) scopes: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Repo {
    pub(super) id: u64,
    pub(super) owner: u64,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) private: bool,
    pub(super) archived: bool,
    pub(super) has_issues: bool,
    pub(super) created: i64,
    pub(super) updated: i64,
    /// Users other than the owner, and what they may.
    pub(super) collaborators: Vec<(u64, Access)>,
    pub(super) labels: Vec<Label>,
    /// Pull requests among them, as in Gitea's tables.
    pub(super) issues: Vec<Issue>,
    /// The last number given out; those of deleted issues do not come back.
    pub(super) last_number: u64,
    pub(super) branches: Vec<Branch>,
    pub(super) statuses: Vec<Status>,
    pub(super) hooks: Vec<Hook>,
}

/// What a user may in a repo; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    Read,
    Write,
    Admin,
}

#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) id: u64,
    pub(super) name: String,
    /// Six digits, without `#`.
    pub(super) color: String,
    pub(super) description: String,
    pub(super) exclusive: bool,
    pub(super) archived: bool,
}

#[derive(Debug)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) poster: u64,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) closed: Option<i64>,
    pub(super) locked: bool,
    pub(super) created: i64,
    pub(super) updated: i64,
    pub(super) content_version: u64,
    pub(super) labels: Vec<u64>,
    pub(super) timeline: Vec<Entry>,
    pub(super) pull: Option<Pull>,
}

/// A row of an issue's timeline.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) user: u64,
    pub(super) created: i64,
    pub(super) updated: i64,
    pub(super) what: Event,
}

#[derive(Debug)]
pub(super) enum Event {
    Comment(String),
    LabelAdded(u64),
    LabelRemoved(u64),
    Closed,
    Reopened,
    Locked(String),
    Unlocked,
    /// A pull request names this issue, to close it or not.
    Referenced {
        pull: u64,
        closes: bool,
    },
    /// A review was handed in; its id.
    Reviewed(u64),
    /// A review was asked of a user, or no longer is.
    ReviewRequested {
        reviewer: u64,
        review: u64,
        withdrawn: bool,
    },
    /// A review was dismissed: its id, and why.
    Dismissed(u64, String),
    /// The branch of a pull request has new commits.
    Pushed,
    /// The commit that a pull request was merged by.
    Merged(String),
}

/// Where a path's `owner/name` leads.
#[derive(Debug)]
pub(super) enum Place {
    Here(u64),
    /// Renamed: the status of the redirect and the names that are right now.
    Moved(u16, String, String),
    Nowhere,
}

impl Gitea {
    pub(super) fn new(version: GiteaVersion, url: String) -> Self {
        let site = Site {
            version,
            url,
            users: Vec::new(),
            tokens: Vec::new(),
            ids: Ids::default(),
            notices: Vec::new(),
            renamed_repos: HashMap::new(),
            renamed_users: HashMap::new(),
        };
        Self {
            site,
            repos: Vec::new(),
        }
    }

    /// The repo and the site beside it, both to be changed.
    pub(super) fn repo_mut(&mut self, id: u64) -> Option<(&mut Site, &mut Repo)> {
        let repo = self.repos.iter_mut().find(|repo| repo.id == id)?;
        Some((&mut self.site, repo))
    }

    fn repo_named(&self, owner: u64, name: &str) -> Option<&Repo> {
        self.repos
            .iter()
            .find(|repo| repo.owner == owner && repo.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn locate(&self, owner: &str, name: &str) -> Place {
        let Some(user) = self.site.user_named(owner) else {
            let renamed = self.site.renamed_users.get(&owner.to_ascii_lowercase());
            return match renamed.and_then(|id| self.site.user(*id)) {
                Some(user) => Place::Moved(307, user.login.clone(), name.to_owned()),
                None => Place::Nowhere,
            };
        };
        if let Some(repo) = self.repo_named(user.id, name) {
            return Place::Here(repo.id);
        }
        let old = (owner.to_ascii_lowercase(), name.to_ascii_lowercase());
        let id = self.site.renamed_repos.get(&old);
        let repo = id.and_then(|id| self.repos.iter().find(|repo| repo.id == *id));
        match repo.and_then(|repo| Some((repo, self.site.user(repo.owner)?))) {
            Some((repo, user)) => Place::Moved(301, user.login.clone(), repo.name.clone()),
            None => Place::Nowhere,
        }
    }

    /// Makes a repo; `None` where the owner has one of that name.
    pub(super) fn add_repo(&mut self, owner: u64, name: &str) -> Option<u64> {
        if self.repo_named(owner, name).is_some() {
            return None;
        }
        // Who takes an old name ends its redirect.
        let login = self.site.login(owner).to_ascii_lowercase();
        let taken = (login, name.to_ascii_lowercase());
        self.site.renamed_repos.remove(&taken);
        let (id, now) = (next(&mut self.site.ids.repo), clock::now());
        let main = Branch::initial(&mut self.site, "main");
        self.repos.push(Repo {
            id,
            owner,
            name: name.to_owned(),
            description: String::new(),
            private: false,
            archived: false,
            has_issues: true,
            created: now,
            updated: now,
            collaborators: Vec::new(),
            labels: Vec::new(),
            issues: Vec::new(),
            last_number: 0,
            branches: vec![main],
            statuses: Vec::new(),
            hooks: Vec::new(),
        });
        Some(id)
    }

    /// Removes a repo, and the redirects that lead to it.
    pub(super) fn remove_repo(&mut self, id: u64) {
        self.repos.retain(|repo| repo.id != id);
        self.site.renamed_repos.retain(|_, repo| *repo != id);
    }

    /// Renames a repo and leaves a redirect; false where the name is taken.
    pub(super) fn rename_repo(&mut self, id: u64, name: &str) -> bool {
        let Some(repo) = self.repos.iter().find(|repo| repo.id == id) else {
            return false;
        };
        let (owner, old) = (repo.owner, repo.name.clone());
        if self
            .repo_named(owner, name)
            .is_some_and(|repo| repo.id != id)
        {
            return false;
        }
        let login = self.site.login(owner).to_ascii_lowercase();
        let redirects = &mut self.site.renamed_repos;
        redirects.insert((login.clone(), old.to_ascii_lowercase()), id);
        redirects.remove(&(login, name.to_ascii_lowercase()));
        if let Some((_, repo)) = self.repo_mut(id) {
            repo.name = name.to_owned();
            repo.updated = clock::now();
        }
        true
    }

    /// Renames a user and leaves a redirect; false where there is no such user or the name is taken.
    pub(super) fn rename_user(&mut self, old: &str, new: &str) -> bool {
        let site = &mut self.site;
        if site.user_named(new).is_some() {
            return false;
        }
        let user = site
            .users
            .iter_mut()
            .find(|user| user.login.eq_ignore_ascii_case(old));
        let Some(user) = user else { return false };
        user.login = new.to_owned();
        site.renamed_users.insert(old.to_ascii_lowercase(), user.id);
        site.renamed_users.remove(&new.to_ascii_lowercase());
        // Redirects of the user's repos go by the login of the path, which is now the new one.
        let moved: Vec<_> = site
            .renamed_repos
            .keys()
            .filter(|(login, _)| login.eq_ignore_ascii_case(old))
            .cloned()
            .collect();
        for key in moved {
            if let Some(repo) = site.renamed_repos.remove(&key) {
                site.renamed_repos
                    .insert((new.to_ascii_lowercase(), key.1), repo);
            }
        }
        true
    }
}

impl Site {
    pub(super) fn user(&self, id: u64) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    pub(super) fn user_named(&self, login: &str) -> Option<&User> {
        self.users
            .iter()
            .find(|user| user.login.eq_ignore_ascii_case(login))
    }

    /// A user's login; an unknown one is Gitea's `Ghost`.
    pub(super) fn login(&self, id: u64) -> &str {
        self.user(id).map_or("Ghost", |user| &user.login)
    }

    pub(super) fn add_user(
        &mut self,
        login: &str,
        email: &str,
        password: &str,
        admin: bool,
    ) -> u64 {
        let id = next(&mut self.ids.user);
        self.users.push(User {
            id,
            login: login.to_owned(),
            email: email.to_owned(),
            password: password.to_owned(),
            admin,
            created: clock::now(),
        });
        id
    }
}

impl Repo {
    pub(super) fn label(&self, id: u64) -> Option<&Label> {
        self.labels.iter().find(|label| label.id == id)
    }

    pub(super) fn issue(&self, number: u64) -> Option<&Issue> {
        self.issues.iter().find(|issue| issue.number == number)
    }

    pub(super) fn issue_mut(&mut self, number: u64) -> Option<&mut Issue> {
        self.issues.iter_mut().find(|issue| issue.number == number)
    }

    /// What a user may who is no administrator of the site; `None` where nobody let them in.
    pub(super) fn access(&self, user: u64) -> Option<Access> {
        if self.owner == user {
            return Some(Access::Admin);
        }
        let mut known = self.collaborators.iter();
        known
            .find(|(known, _)| *known == user)
            .map(|(_, access)| *access)
    }

    /// Closes or reopens an issue or a pull request, with everything that follows from it.
    pub(super) fn set_closed(&mut self, site: &mut Site, user: u64, number: u64, closed: bool) {
        let id = self.id;
        if let Some(issue) = self.issue_mut(number)
            && issue.set_closed(&mut site.ids, user, closed)
        {
            let action = if closed { "closed" } else { "reopened" };
            let happened = if issue.pull.is_some() {
                Happened::Pull(action)
            } else {
                Happened::Issue(action)
            };
            site.notice(id, number, user, happened);
        }
    }

    /// Lets a user in, or with `None` out.
    pub(super) fn set_access(&mut self, user: u64, access: Option<Access>) {
        self.collaborators.retain(|(known, _)| *known != user);
        self.collaborators
            .extend(access.map(|access| (user, access)));
    }
}

impl Issue {
    /// Adds a row to the timeline, which counts as a change of the issue.
    pub(super) fn record(&mut self, ids: &mut Ids, user: u64, what: Event) -> u64 {
        let (id, now) = (next(&mut ids.entry), clock::now());
        self.updated = now;
        self.timeline.push(Entry {
            id,
            user,
            created: now,
            updated: now,
            what,
        });
        id
    }

    /// Closes or reopens; false where it is so already, and stays untouched.
    fn set_closed(&mut self, ids: &mut Ids, user: u64, closed: bool) -> bool {
        if self.closed.is_some() == closed {
            return false;
        }
        self.closed = closed.then(clock::now);
        let what = if closed {
            Event::Closed
        } else {
            Event::Reopened
        };
        self.record(ids, user, what);
        true
    }
}
