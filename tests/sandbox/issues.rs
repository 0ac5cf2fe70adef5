use serde_json::json;
use timmy_dispatcher::sandbox::{GiteaVersion, Sandbox};

use crate::client::{ask, get, post, send};
use crate::{both, swarm};

#[test]
fn an_issue_is_made_and_served() {
    for (gitea, repo) in both() {
        let made = post(
            &gitea,
            &format!("/repos/{repo}/issues"),
            json!({"title": "Write a README"}),
        );
        assert_eq!(made.status, 201);
        let issue = made.json();
        assert_eq!(issue["number"], 1);
        assert_eq!(
            (&issue["state"], &issue["body"]),
            (&json!("open"), &json!(""))
        );
        assert_eq!(issue["user"]["login"], "timmy");
        assert_eq!(
            issue["html_url"],
            format!("{}/{repo}/issues/1", gitea.url())
        );
        assert_eq!(issue["repository"]["full_name"], repo);
        for null in ["closed_at", "pull_request", "milestone", "assignee"] {
            assert!(issue[null].is_null(), "{null}");
        }
        let created = issue["created_at"].as_str().unwrap();
        assert!(
            created.len() == 20 && created.ends_with('Z'),
            "whole seconds: {created}"
        );
        assert_eq!(
            get(&gitea, &format!("/repos/{repo}/issues/1")).json(),
            issue
        );
        assert_eq!(gitea.issue(&repo, 1).unwrap(), issue);
        let new = gitea.version() == GiteaVersion::V1_26;
        assert_eq!(issue.get("content_version").is_some(), new);
    }
}

#[test]
fn an_issue_needs_a_title_and_a_number_that_exists() {
    for (gitea, repo) in both() {
        let refused = post(
            &gitea,
            &format!("/repos/{repo}/issues"),
            json!({"title": ""}),
        );
        assert_eq!(
            (refused.status, &refused.json()["message"]),
            (422, &json!("[Title]: Required"))
        );
        for number in ["99999", "0", "x"] {
            assert_eq!(
                get(&gitea, &format!("/repos/{repo}/issues/{number}")).status,
                404
            );
        }
        assert_eq!(get(&gitea, "/repos/timmy/nope/issues/1").status, 404);
    }
}

#[test]
fn ids_are_shared_by_all_repos_and_numbers_are_not() {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    let other = gitea.create_repo("other").unwrap();
    assert_eq!(gitea.create_issue(&repo, "a", "").unwrap(), 1);
    assert_eq!(gitea.create_issue(&other, "b", "").unwrap(), 1);
    assert_eq!(gitea.issue(&other, 1).unwrap()["id"], 2);
    assert_eq!(gitea.create_label(&repo, "a", "#fff").unwrap(), 1);
    assert_eq!(gitea.create_label(&other, "b", "#fff").unwrap(), 2);
}

#[test]
fn closing_sets_closed_at_and_reopening_takes_it_away() {
    for (gitea, repo) in both() {
        gitea.create_issue(&repo, "x", "").unwrap();
        let path = format!("/repos/{repo}/issues/1");
        let closed = ask(&gitea, "PATCH", &path, Some(json!({"state": "closed"})));
        assert_eq!(
            (closed.status, &closed.json()["state"]),
            (201, &json!("closed"))
        );
        assert!(get(&gitea, &path).json()["closed_at"].is_string());
        let comments = format!("{path}/comments");
        assert_eq!(
            post(&gitea, &comments, json!({"body": "still open to comments"})).status,
            201
        );
        let opened = ask(&gitea, "PATCH", &path, Some(json!({"state": "open"})));
        assert_eq!(
            (opened.status, &opened.json()["state"]),
            (201, &json!("open"))
        );
        assert!(get(&gitea, &path).json()["closed_at"].is_null());

        gitea.close_issue(&repo, 1).unwrap();
        assert_eq!(get(&gitea, &path).json()["state"], "closed");
        gitea.reopen_issue(&repo, 1).unwrap();
        assert_eq!(get(&gitea, &path).json()["state"], "open");
        let types: Vec<_> = get(&gitea, &format!("{path}/timeline"))
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(types, ["close", "comment", "reopen", "close", "reopen"]);
    }
}

#[test]
fn a_stale_edit_is_409_from_1_26_and_taken_before() {
    for (gitea, repo) in both() {
        gitea.create_issue(&repo, "x", "one").unwrap();
        let path = format!("/repos/{repo}/issues/1");
        let edit = |body: &str| {
            ask(
                &gitea,
                "PATCH",
                &path,
                Some(json!({"body": body, "content_version": 0})),
            )
            .status
        };
        assert_eq!(edit("two"), 201);
        let new = gitea.version() == GiteaVersion::V1_26;
        assert_eq!(edit("three"), if new { 409 } else { 201 });
    }
}

fn many_issues(gitea: &Sandbox, repo: &str) {
    for number in 1..=57 {
        gitea
            .create_issue(repo, &format!("issue {number}"), "")
            .unwrap();
    }
}

#[test]
fn the_list_is_newest_first_and_paged_with_links() {
    for (gitea, repo) in both() {
        many_issues(&gitea, &repo);
        let path = format!("/repos/{repo}/issues");
        let url = format!("{}/api/v1{path}", gitea.url());

        let plain = get(&gitea, &path);
        assert_eq!((plain.numbers().len(), plain.total()), (30, 57));
        assert_eq!(plain.numbers()[..2], [57, 56]);
        let link = format!("<{url}?page=2>; rel=\"next\",<{url}?page=2>; rel=\"last\"");
        assert_eq!(plain.header("link"), Some(link.as_str()));

        let second = get(
            &gitea,
            &format!("{path}?state=all&type=issues&limit=50&page=2"),
        );
        assert_eq!(second.numbers(), [7, 6, 5, 4, 3, 2, 1]);
        let query = "limit=50&page=1&state=all&type=issues";
        let link = format!("<{url}?{query}>; rel=\"first\",<{url}?{query}>; rel=\"prev\"");
        assert_eq!(second.header("link"), Some(link.as_str()));

        // Behind the last page: nothing, and the links are the last page's.
        let third = get(
            &gitea,
            &format!("{path}?state=all&type=issues&limit=50&page=3"),
        );
        assert!(third.numbers().is_empty());
        assert_eq!(
            (third.header("link"), third.total()),
            (Some(link.as_str()), 57)
        );

        let few = get(&gitea, &format!("{path}?state=closed"));
        assert_eq!(
            (few.numbers().len(), few.header("link"), few.total()),
            (0, None, 0)
        );
    }
}

#[test]
fn the_list_is_filtered_by_state_and_type() {
    for (gitea, repo) in both() {
        for title in ["a", "b", "c"] {
            gitea.create_issue(&repo, title, "").unwrap();
        }
        gitea.close_issue(&repo, 2).unwrap();
        let list = |query: &str| get(&gitea, &format!("/repos/{repo}/issues?{query}")).numbers();
        assert_eq!(list(""), [3, 1]);
        assert_eq!(list("state=open"), [3, 1]);
        assert_eq!(list("state=closed"), [2]);
        assert_eq!(list("state=all&type=issues"), [3, 2, 1]);
        assert!(list("state=all&type=pulls").is_empty());
    }
}

#[test]
fn several_labels_mean_all_of_them_and_unknown_names_mean_nothing() {
    for (gitea, repo) in both() {
        for name in ["a", "b", "c"] {
            gitea.create_label(&repo, name, "#fff").unwrap();
            gitea.create_issue(&repo, name, "").unwrap();
        }
        for (number, labels) in [(1, json!(["a"])), (2, json!(["a", "b"]))] {
            let path = format!("/repos/{repo}/issues/{number}/labels");
            post(&gitea, &path, json!({"labels": labels}));
        }
        let list =
            |labels: &str| get(&gitea, &format!("/repos/{repo}/issues?labels={labels}")).numbers();
        assert_eq!(list("a"), [2, 1]);
        assert_eq!(list("a,b"), [2]);
        assert!(list("a,c").is_empty());
        assert_eq!(list("a,no-such"), [2, 1]);
        assert_eq!(list("no-such"), [3, 2, 1], "the filter vanishes");
    }
}

#[test]
fn since_and_before_are_inclusive() {
    for (gitea, repo) in both() {
        gitea.create_issue(&repo, "x", "").unwrap();
        let updated = gitea.issue(&repo, 1).unwrap()["updated_at"]
            .as_str()
            .unwrap()
            .to_owned();
        let encoded = updated.replace(':', "%3A");
        let list = |query: &str| get(&gitea, &format!("/repos/{repo}/issues?{query}"));
        assert_eq!(list(&format!("since={encoded}")).numbers(), [1]);
        assert_eq!(list(&format!("before={updated}")).numbers(), [1]);
        assert_eq!(list("since=2099-01-01T00:00:00Z").total(), 0);
        assert_eq!(list("before=2000-01-01T00:00:00%2B01:00").total(), 0);
        assert_eq!(list("since=yesterday").status, 422);
    }
}

#[test]
fn a_renamed_repo_redirects_reads_and_writes() {
    for (gitea, repo) in both() {
        gitea.create_issue(&repo, "x", "").unwrap();
        assert_eq!(gitea.rename_repo(&repo, "hive").unwrap(), "timmy/hive");
        let read = get(&gitea, "/repos/timmy/swarm/labels?limit=50&page=1");
        assert_eq!(read.status, 301);
        assert_eq!(
            read.header("location"),
            Some("/api/v1/repos/timmy/hive/labels?limit=50&page=1")
        );
        assert_eq!(
            read.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let write = post(
            &gitea,
            "/repos/timmy/swarm/issues/1/comments",
            json!({"body": "x"}),
        );
        assert_eq!((write.status, write.body.len()), (301, 0));
        assert_eq!(
            write.header("location"),
            Some("/api/v1/repos/timmy/hive/issues/1/comments")
        );
        assert_eq!(write.header("content-type"), None);
        assert!(gitea.comments("timmy/hive", 1).unwrap().is_empty());
        assert!(gitea.issue(&repo, 1).is_err());
        // The old name can be taken, which ends the redirect.
        gitea.create_repo("swarm").unwrap();
        assert_eq!(get(&gitea, "/repos/timmy/swarm/issues/1").status, 404);
    }
}

#[test]
fn a_renamed_owner_redirects_with_307() {
    for (gitea, _) in both() {
        gitea.rename_user("timmy", "tim").unwrap();
        let reply = get(&gitea, "/repos/timmy/swarm/labels");
        assert_eq!(reply.status, 307);
        assert_eq!(
            reply.header("location"),
            Some("/api/v1/repos/tim/swarm/labels")
        );
        assert_eq!(get(&gitea, "/repos/tim/swarm/labels").status, 200);
        assert_eq!(get(&gitea, "/user").json()["login"], "tim");
    }
}

#[test]
fn names_in_other_letter_case_and_double_slashes_are_found() {
    for (gitea, _) in both() {
        assert_eq!(get(&gitea, "/repos/TIMMY/SWARM/labels").status, 200);
        assert_eq!(get(&gitea, "//repos/timmy//swarm/labels").status, 200);
    }
}

#[test]
fn an_archived_repo_takes_labels_but_no_comments() {
    for (gitea, repo) in both() {
        let label = gitea.create_label(&repo, "l", "#fff").unwrap();
        gitea.create_issue(&repo, "x", "").unwrap();
        gitea.archive_repo(&repo).unwrap();
        let comment = post(
            &gitea,
            &format!("/repos/{repo}/issues/1/comments"),
            json!({"body": "x"}),
        );
        assert_eq!(comment.status, 423);
        assert_eq!(comment.json()["message"], "timmy/swarm is archived");
        let added = post(
            &gitea,
            &format!("/repos/{repo}/issues/1/labels"),
            json!({"labels": [label]}),
        );
        assert_eq!((added.status, added.names()), (200, vec!["l".to_owned()]));
        let made = post(
            &gitea,
            &format!("/repos/{repo}/labels"),
            json!({"name": "m", "color": "#fff"}),
        );
        assert_eq!(made.status, 201);
        assert_eq!(
            post(
                &gitea,
                &format!("/repos/{repo}/issues"),
                json!({"title": "x"})
            )
            .status,
            423
        );
    }
}

#[test]
fn with_issues_switched_off_there_are_labels_and_no_issues() {
    for (gitea, repo) in both() {
        gitea.create_issue(&repo, "x", "").unwrap();
        gitea.set_issues_enabled(&repo, false).unwrap();
        assert_eq!(get(&gitea, &format!("/repos/{repo}/issues/1")).status, 404);
        assert_eq!(get(&gitea, &format!("/repos/{repo}/labels")).status, 200);
        let missing = post(
            &gitea,
            &format!("/repos/{repo}/issues/2/comments"),
            json!({"body": "x"}),
        );
        assert_eq!(missing.status, 500);
    }
}

#[test]
fn repos_are_made_and_changed_over_http_too() {
    for (gitea, _) in both() {
        assert_eq!(get(&gitea, "/user").json()["login"], "timmy");
        let made = post(
            &gitea,
            "/user/repos",
            json!({"name": "web", "auto_init": true}),
        );
        assert_eq!(
            (made.status, &made.json()["full_name"]),
            (201, &json!("timmy/web"))
        );
        assert_eq!(
            post(&gitea, "/user/repos", json!({"name": "WEB"})).status,
            409
        );
        assert_eq!(
            post(&gitea, "/user/repos", json!({"name": "a b"})).status,
            422
        );
        let patch = |body| ask(&gitea, "PATCH", "/repos/timmy/web", Some(body));
        let changed = patch(json!({"has_issues": false, "archived": true}));
        assert_eq!(
            (changed.status, &changed.json()["has_issues"]),
            (200, &json!(false))
        );
        assert_eq!(get(&gitea, "/repos/timmy/web").json()["archived"], true);
        assert_eq!(patch(json!({"name": "swarm"})).status, 422, "taken");
        assert_eq!(patch(json!({"name": "site"})).json()["name"], "site");
        assert_eq!(get(&gitea, "/repos/timmy/web").status, 301);
    }
}

#[test]
fn the_version_and_the_settings_need_no_token() {
    for (gitea, _) in both() {
        let version = send(&gitea, "GET", "/version", None, None).unwrap().json();
        let version = version["version"].as_str().unwrap().to_owned();
        assert!(version.starts_with(gitea.version().as_str()), "{version}");
        let settings = send(&gitea, "GET", "/settings/api", None, None)
            .unwrap()
            .json();
        assert_eq!(
            (
                &settings["max_response_items"],
                &settings["default_paging_num"]
            ),
            (&json!(50), &json!(30))
        );
    }
}
