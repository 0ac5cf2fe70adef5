//! Repos and users: what is served of them, making them, renaming, archiving.

use serde_json::{Value, json};

use super::access::Caller;
use super::answer::{Answer, Handled};
use super::ask::Ask;
use super::clock::{self, rfc3339};
use super::state::{Access, Gitea, Repo, Site, next};

/// How much of a user is shown. Gitea itself is of three minds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The poster of an issue, or oneself, as an administrator sees them.
    ToAdmin,
    /// The owner of a repo; the poster of an issue as anybody else sees them.
    Plain,
    /// The author of a comment.
    WithoutEmail,
}

impl Site {
    pub(super) fn api_url(&self, repo: &Repo) -> String {
        let (owner, name) = (self.login(repo.owner), &repo.name);
        format!("{}/api/v1/repos/{owner}/{name}", self.url)
    }

    pub(super) fn html_url(&self, repo: &Repo) -> String {
        format!("{}/{}/{}", self.url, self.login(repo.owner), repo.name)
    }

    pub(super) fn user_json(&self, id: u64, shown: Shown) -> Value {
        let Some(user) = self.user(id) else {
            return Value::Null;
        };
        let admin = shown == Shown::ToAdmin;
        let login = &user.login;
        let email = match (shown, self.version) {
            (Shown::ToAdmin | Shown::Plain, _) => user.email.clone(),
            (_, super::GiteaVersion::V1_25) => format!("{login}@noreply.localhost"),
            (_, super::GiteaVersion::V1_26) => format!("{id}+{login}@noreply.localhost"),
        };
        json!({
            "id": id,
            "login": login,
            "login_name": "",
            "source_id": 0,
            "full_name": "",
            "email": email,
            "avatar_url": format!("{}/avatars/{id:032x}", self.url),
            "html_url": format!("{}/{login}", self.url),
            "language": "",
            "is_admin": admin && user.admin,
            "last_login": if admin { "1970-01-01T00:00:00Z" } else { clock::NEVER },
            "created": rfc3339(user.created),
            "restricted": false,
            "active": admin,
            "prohibit_login": false,
            "location": "",
            "website": "",
            "description": "",
            "visibility": "public",
            "followers_count": 0,
            "following_count": 0,
            "starred_repos_count": 0,
            "username": login,
        })
    }
}

impl Repo {
    pub(super) fn full_name(&self, site: &Site) -> String {
        format!("{}/{}", site.login(self.owner), self.name)
    }

    /// Issues and comments cannot be made in an archived repo; labels can.
    pub(super) fn not_archived(&self, site: &Site) -> Result<(), Answer> {
        if !self.archived {
            return Ok(());
        }
        Err(site.error(423, format!("{} is archived", self.full_name(site))))
    }

    pub(super) fn json(&self, site: &Site, caller: &Caller) -> Value {
        let (api_url, html_url) = (site.api_url(self), site.html_url(self));
        let open = self.issues.iter().filter(|issue| issue.closed.is_none());
        let (pulls, issues): (Vec<_>, Vec<_>) = open.partition(|issue| issue.pull.is_some());
        let (writes, administers) = (caller.writes(self), caller.administers(self));
        json!({
            "id": self.id,
            "owner": site.user_json(self.owner, Shown::Plain),
            "name": self.name,
            "full_name": self.full_name(site),
            "description": self.description,
            "empty": false,
            "private": self.private,
            "fork": false,
            "template": false,
            "mirror": false,
            "size": 25,
            "language": "",
            "html_url": html_url,
            "url": api_url,
            "clone_url": format!("{html_url}.git"),
            "website": "",
            "stars_count": 0,
            "forks_count": 0,
            "watchers_count": 1,
            "open_issues_count": issues.len(),
            "open_pr_counter": pulls.len(),
            "default_branch": "main",
            "archived": self.archived,
            "created_at": rfc3339(self.created),
            "updated_at": rfc3339(self.updated),
            "archived_at": rfc3339(if self.archived { self.updated } else { 0 }),
            "permissions": {"admin": administers, "push": writes, "pull": true},
            "has_issues": self.has_issues,
            "has_wiki": true,
            "has_pull_requests": true,
            "has_projects": true,
            "has_releases": true,
            "internal": false,
            "object_format_name": "sha1",
            "topics": [],
            "licenses": [],
        })
    }
}

/// Names that Gitea takes for a user or a repo.
pub(super) fn valid_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.chars().all(letter) && name != "." && name != ".."
}

/// `GET /user`.
pub(super) fn whoami(site: &Site, caller: &Caller) -> Handled {
    let id = caller.known(site)?;
    Ok(Answer::json(200, &site.user_json(id, Shown::ToAdmin)))
}

/// `GET /users/{name}`.
pub(super) fn account(site: &Site, name: &str) -> Handled {
    let user = site.user_named(name).ok_or_else(|| site.not_found())?;
    Ok(Answer::json(200, &site.user_json(user.id, Shown::Plain)))
}

/// `GET /repos/{o}/{r}`.
pub(super) fn get(site: &Site, repo: &Repo, caller: &Caller) -> Handled {
    Ok(Answer::json(200, &repo.json(site, caller)))
}

/// `POST /user/repos`.
pub(super) fn create(gitea: &mut Gitea, caller: &Caller, ask: &Ask) -> Handled {
    let site = &gitea.site;
    let owner = caller.known(site)?;
    let fields = ask.object(site)?;
    let name = fields.required(site, "name")?;
    let description = fields.text(site, "description")?.unwrap_or_default();
    let private = fields.flag(site, "private")?.unwrap_or(false);
    if !valid_name(name) {
        let rule = "[Name]: should be valid alpha, numeric, dash or dot characters";
        return Err(site.error(422, rule));
    }
    let made = gitea.add_repo(owner, name);
    let Some((site, repo)) = made.and_then(|id| gitea.repo_mut(id)) else {
        let why = "The repository with the same name already exists.";
        return Err(gitea.site.error(409, why));
    };
    repo.description = description.to_owned();
    repo.private = private;
    Ok(Answer::json(201, &repo.json(site, caller)))
}

/// `PATCH /repos/{o}/{r}`: name, description, private, archived, has_issues.
pub(super) fn edit(gitea: &mut Gitea, id: u64, caller: &Caller, ask: &Ask) -> Handled {
    let site = &gitea.site;
    caller.known(site)?;
    let fields = ask.object(site)?;
    let name = fields.text(site, "name")?;
    let description = fields.text(site, "description")?;
    let private = fields.flag(site, "private")?;
    let archived = fields.flag(site, "archived")?;
    let has_issues = fields.flag(site, "has_issues")?;
    let Some((site, repo)) = gitea.repo_mut(id) else {
        return Err(gitea.site.not_found());
    };
    caller.administrator(site, repo)?;
    if let Some(name) = name.filter(|name| *name != repo.name) {
        if !valid_name(name) {
            return Err(site.error(422, format!("repo name is invalid [{name}]")));
        }
        if !gitea.rename_repo(id, name) {
            let why = format!("repo name is already taken [name: {name}]");
            return Err(gitea.site.error(422, why));
        }
    }
    let Some((site, repo)) = gitea.repo_mut(id) else {
        return Err(gitea.site.not_found());
    };
    if let Some(description) = description {
        repo.description = description.to_owned();
    }
    repo.private = private.unwrap_or(repo.private);
    repo.archived = archived.unwrap_or(repo.archived);
    repo.has_issues = has_issues.unwrap_or(repo.has_issues);
    repo.updated = clock::now();
    Ok(Answer::json(200, &repo.json(site, caller)))
}

/// `DELETE /repos/{o}/{r}`.
pub(super) fn delete(gitea: &mut Gitea, id: u64, caller: &Caller) -> Handled {
    caller.known(&gitea.site)?;
    match gitea.repo_mut(id) {
        Some((_, repo)) if caller.writes(repo) => {}
        Some((site, repo)) if caller.sees(repo) => {
            return Err(site.error(403, "user should be an owner of the repository"));
        }
        _ => return Err(gitea.site.not_found()),
    }
    gitea.remove_repo(id);
    Ok(Answer::empty(204))
}

/// `POST /admin/users`.
pub(super) fn create_user(site: &mut Site, caller: &Caller, ask: &Ask) -> Handled {
    caller.known(site)?;
    if !caller.admin() {
        return Err(site.error(403, "user should be the site admin"));
    }
    let fields = ask.object(site)?;
    let name = fields.required(site, "username")?;
    let email = fields.required(site, "email")?;
    let password = fields.text(site, "password")?.unwrap_or_default();
    if !valid_name(name) || site.user_named(name).is_some() {
        let why = format!("user already exists or its name is invalid [name: {name}]");
        return Err(site.error(422, why));
    }
    let id = site.add_user(name, email, password, false);
    Ok(Answer::json(201, &site.user_json(id, Shown::ToAdmin)))
}

/// `POST /users/{name}/tokens`, by password.
pub(super) fn create_token(site: &mut Site, caller: &Caller, user: &str, ask: &Ask) -> Handled {
    let id = caller.known(site)?;
    let by_password = ask.authorization.is_some_and(|value| {
        value
            .get(..6)
            .is_some_and(|s| s.eq_ignore_ascii_case("basic "))
    });
    if !by_password {
        return Err(site.error(401, "auth required"));
    }
    if site.user_named(user).is_none_or(|user| user.id != id) {
        return Err(site.error(
            403,
            "doer should be the site admin or be same as the contextUser",
        ));
    }
    let fields = ask.object(site)?;
    let name = fields.required(site, "name")?;
    let scopes = fields.get("scopes").and_then(Value::as_array);
    let scopes: Vec<String> = scopes
        .map(|scopes| {
            scopes
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default();
    let token_id = next(&mut site.ids.token);
    // Forty digits, as Gitea's; the secrets of a sandbox need not be hard to guess.
    let secret = format!("{:040x}", u128::from(token_id) << 64 | u128::from(id));
    let last_eight = secret.get(32..).unwrap_or_default();
    let answer = json!({
        "id": token_id,
        "name": name,
        "sha1": secret,
        "token_last_eight": last_eight,
        "scopes": scopes,
    });
    site.add_token(id, &secret, scopes);
    Ok(Answer::json(201, &answer))
}

/// `PUT` and `DELETE /repos/{o}/{r}/collaborators/{name}`.
pub(super) fn collaborator(
    site: &Site,
    repo: &mut Repo,
    caller: &Caller,
    name: &str,
    ask: &Ask,
) -> Handled {
    caller.administrator(site, repo)?;
    let Some(id) = site.user_named(name).map(|user| user.id) else {
        return Err(site.error(422, format!("user does not exist [name: {name}]")));
    };
    let access = if ask.method == "PUT" {
        let fields = ask.object(site)?;
        Some(match fields.text(site, "permission")?.unwrap_or("write") {
            "read" => Access::Read,
            "admin" => Access::Admin,
            _ => Access::Write,
        })
    } else {
        None
    };
    repo.set_access(id, access);
    Ok(Answer::empty(204))
}
