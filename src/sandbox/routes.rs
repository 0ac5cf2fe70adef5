//! From a request to what answers it: the one map of what is served.

use serde_json::json;

use super::access::Caller;
use super::answer::{Answer, Handled};
use super::ask::Ask;
use super::state::{Gitea, Place, next};
use super::{comments, commits, hooks, issues, labels, pulls, repos, reviews};

/// Answers a request and carries out what it asks for.
pub(super) fn answer(gitea: &mut Gitea, ask: &Ask) -> Answer {
    let segments = ask.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let handled = match segments.as_slice() {
        ["agent"] | ["agent", _] => agent(gitea, ask),
        ["api", "v1", rest @ ..] => {
            Caller::of(&gitea.site, ask).and_then(|caller| api(gitea, ask, &caller, rest))
        }
        _ => Err(gitea.site.not_found()),
    };
    handled.unwrap_or_else(|refusal| refusal)
}

/// Not Gitea: an agent that takes tasks over HTTP.
fn agent(gitea: &mut Gitea, ask: &Ask) -> Handled {
    if ask.method != "POST" {
        return Err(Answer::empty(405).with("Allow", "POST"));
    }
    let id = next(&mut gitea.site.ids.task);
    Ok(Answer::json(202, &json!({"status": "accepted", "id": id})))
}

/// As a request to the API by this caller, whatever it says of itself; the path is what follows
/// `/api/v1`.
pub(super) fn answer_to(gitea: &mut Gitea, caller: &Caller, ask: &Ask) -> Answer {
    let segments = ask.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    api(gitea, ask, caller, &segments).unwrap_or_else(|refusal| refusal)
}

fn api(gitea: &mut Gitea, ask: &Ask, caller: &Caller, path: &[&str]) -> Handled {
    let site = &mut gitea.site;
    let write = !matches!(ask.method, "GET" | "HEAD");
    match (ask.method, path) {
        ("GET", ["version"]) => {
            let version = site.version.full();
            Ok(Answer::json(200, &json!({"version": version})))
        }
        ("GET", ["settings", "api"]) => Ok(Answer::json(
            200,
            &json!({
                "max_response_items": 50,
                "default_paging_num": 30,
                "default_git_trees_per_page": 1000,
                "default_max_blob_size": 10_485_760,
                "default_max_response_size": 104_857_600,
            }),
        )),
        ("GET", ["user"]) => {
            caller.scope(site, "user", write)?;
            repos::whoami(site, caller)
        }
        ("POST", ["user", "repos"]) => {
            caller.scope(site, "repository", write)?;
            repos::create(gitea, caller, ask)
        }
        ("POST", ["admin", "users"]) => {
            caller.scope(site, "admin", write)?;
            repos::create_user(site, caller, ask)
        }
        ("GET", ["users", name]) => {
            caller.scope(site, "user", write)?;
            repos::account(site, name)
        }
        ("POST", ["users", name, "tokens"]) => repos::create_token(site, caller, name, ask),
        (_, ["repos", owner, name, rest @ ..]) => {
            let category = match rest {
                ["labels" | "issues", ..] => "issue",
                _ => "repository",
            };
            caller.scope(site, category, write)?;
            match gitea.locate(owner, name) {
                Place::Here(id) => in_repo(gitea, id, caller, ask, rest),
                Place::Moved(status, owner, name) => {
                    let path = ["", "api", "v1", "repos", &owner, &name];
                    Ok(moved(ask, status, &[&path, rest].concat()))
                }
                Place::Nowhere => Err(gitea.site.not_found()),
            }
        }
        _ => Err(site.not_found()),
    }
}

/// As Go's `http.Redirect`: a relative Location, and a page only for who reads one.
fn moved(ask: &Ask, status: u16, path: &[&str]) -> Answer {
    let mut location = path.join("/");
    if let Some((_, query)) = ask.target.split_once('?') {
        location = format!("{location}?{query}");
    }
    let answer = if ask.method == "GET" {
        let reason = if status == 301 {
            "Moved Permanently"
        } else {
            "Temporary Redirect"
        };
        let href = location.replace('&', "&amp;");
        let page = format!("<a href=\"{href}\">{reason}</a>.\n\n");
        Answer::raw(status, "text/html; charset=utf-8", page)
    } else {
        Answer::empty(status)
    };
    answer.with("Location", location)
}

fn in_repo(gitea: &mut Gitea, id: u64, caller: &Caller, ask: &Ask, path: &[&str]) -> Handled {
    match (ask.method, path) {
        ("PATCH", []) => return repos::edit(gitea, id, caller, ask),
        ("DELETE", []) => return repos::delete(gitea, id, caller),
        _ => {}
    }
    let Some((site, repo)) = gitea.repo_mut(id) else {
        return Err(gitea.site.not_found());
    };
    if !caller.sees(repo) {
        return Err(site.not_found());
    }
    // What is no number is 0 to Gitea, and nothing has that.
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    match (ask.method, path) {
        ("GET", []) => repos::get(site, repo, caller),
        ("PUT" | "DELETE", ["collaborators", name]) => {
            repos::collaborator(site, repo, caller, name, ask)
        }
        ("GET", ["labels"]) => labels::list(site, repo, ask),
        ("POST", ["labels"]) => labels::create(site, repo, caller, ask),
        ("GET", ["labels", id]) => labels::get(site, repo, number(id)),
        ("GET", ["issues"]) => issues::list(site, repo, caller, ask),
        ("POST", ["issues"]) => issues::create(site, repo, caller, ask),
        (
            "GET" | "PATCH" | "DELETE",
            ["issues", "comments", id] | ["issues", _, "comments", id],
        ) => comments::one(site, repo, caller, number(id), ask),
        ("GET", ["branches"]) => commits::branches(site, repo, None),
        ("GET", ["branches", name @ ..]) => commits::branches(site, repo, Some(&name.join("/"))),
        ("POST", ["contents", file @ ..]) => {
            commits::create_file(site, repo, caller, &file.join("/"), ask)
        }
        ("POST", ["statuses", sha]) => commits::create_status(site, repo, caller, sha, ask),
        ("GET", ["statuses", reference] | ["commits", reference, "statuses"]) => {
            commits::list_statuses(site, repo, reference, ask)
        }
        ("GET", ["commits", reference, "status"]) => {
            commits::combined_status(site, repo, caller, reference)
        }
        ("GET" | "POST", ["hooks"]) => hooks::list_or_create(site, repo, caller, ask),
        ("GET" | "PATCH" | "DELETE", ["hooks", id]) => {
            hooks::one(site, repo, caller, number(id), ask)
        }
        ("GET", ["pulls"]) => pulls::list(site, repo, caller, ask),
        ("POST", ["pulls"]) => pulls::create(site, repo, caller, ask),
        (method, ["pulls", n, rest @ ..]) => {
            let n = number(n);
            match (method, rest) {
                ("GET", []) => pulls::get(site, repo, caller, n),
                ("PATCH", []) => pulls::edit(site, repo, caller, n, ask),
                ("GET", ["merge"]) => pulls::is_merged(site, repo, n),
                ("POST", ["merge"]) => pulls::merge(site, repo, caller, n, ask),
                ("POST" | "DELETE", ["requested_reviewers"]) => {
                    reviews::request(site, repo, caller, n, ask)
                }
                ("GET", ["reviews"]) => reviews::list(site, repo, caller, n, ask),
                ("POST", ["reviews"]) => reviews::submit(site, repo, caller, n, None, ask),
                ("POST", ["reviews", id]) => {
                    reviews::submit(site, repo, caller, n, Some(number(id)), ask)
                }
                ("GET", ["reviews", id]) => reviews::get(site, repo, caller, n, number(id)),
                ("DELETE", ["reviews", id]) => reviews::delete(site, repo, caller, n, number(id)),
                ("POST", ["reviews", id, what @ ("dismissals" | "undismissals")]) => {
                    let dismissed = *what == "dismissals";
                    reviews::dismiss(site, repo, caller, n, number(id), dismissed, ask)
                }
                _ => Err(site.not_found()),
            }
        }
        (method, ["issues", n, rest @ ..]) => {
            let n = number(n);
            match (method, rest) {
                ("GET", []) => issues::get(site, repo, caller, n),
                ("PATCH", []) => issues::edit(site, repo, caller, n, ask),
                ("DELETE", []) => issues::delete(site, repo, caller, n),
                ("DELETE", ["labels"]) => labels::clear(site, repo, caller, n),
                ("GET", ["labels"]) => labels::list_of_issue(site, repo, n),
                ("POST" | "PUT", ["labels"]) => labels::add_to_issue(site, repo, caller, n, ask),
                ("DELETE", ["labels", id]) => {
                    labels::remove_from_issue(site, repo, caller, n, number(id))
                }
                ("GET", ["comments"]) => comments::list(site, repo, caller, n, ask),
                ("POST", ["comments"]) => comments::create(site, repo, caller, n, ask),
                ("GET", ["timeline"]) => comments::timeline(site, repo, caller, n, ask),
                ("PUT" | "DELETE", ["lock"]) => issues::lock(site, repo, caller, n, ask),
                _ => Err(site.not_found()),
            }
        }
        _ => Err(site.not_found()),
    }
}
