use serde_json::{Value, json};
use timmy_dispatcher::sandbox::{GiteaVersion, Sandbox};

use crate::both;
use crate::client::{Reply, ask, get, post};

/// A sandbox of each version with issue 1, and pull request 2 that closes it.
fn pulled() -> impl Iterator<Item = (Sandbox, String)> {
    both().map(|(gitea, repo)| {
        gitea.create_issue(&repo, "Write a README", "").unwrap();
        gitea.push(&repo, "work").unwrap();
        let number = gitea.create_pull(&repo, "Fix", "Closes #1", "work");
        assert_eq!(number.unwrap(), 2);
        gitea.create_user("guest", "guest-token", &["all"]).unwrap();
        gitea.create_user("kimi", "kimi-token", &["all"]).unwrap();
        gitea.add_writer(&repo, "kimi").unwrap();
        (gitea, repo)
    })
}

fn head(gitea: &Sandbox, repo: &str) -> String {
    let pull = gitea.pull(repo, 2).unwrap();
    pull["head"]["sha"].as_str().unwrap().to_owned()
}

fn events(gitea: &Sandbox, repo: &str, number: u64) -> Vec<Value> {
    let rows = gitea.timeline(repo, number).unwrap();
    rows.iter().map(|row| row["type"].clone()).collect()
}

#[test]
fn a_branch_and_a_pull_request_are_made_over_http() {
    for (gitea, repo) in both() {
        gitea.create_issue(&repo, "Write a README", "").unwrap();
        let file = json!({"content": "aGk=", "new_branch": "work", "message": "m"});
        let path = format!("/repos/{repo}/contents/docs/a.txt");
        assert_eq!(post(&gitea, &path, file.clone()).status, 201);
        assert_eq!(post(&gitea, &path, file).status, 422);

        let path = format!("/repos/{repo}/pulls");
        let asked = json!({"title": "Fix", "body": "Closes #1", "head": "work", "base": "main"});
        let made = post(&gitea, &path, asked.clone());
        assert_eq!(made.status, 201);
        let pull = made.json();
        let page = format!("{}/{repo}/pulls/2", gitea.url());
        assert_eq!((&pull["number"], &pull["url"]), (&json!(2), &json!(page)));
        assert_eq!(pull["state"], "open");
        assert_eq!(
            (&pull["merged"], &pull["merged_at"]),
            (&json!(false), &Value::Null)
        );
        assert_eq!(pull["head"]["ref"], "work");
        assert_eq!(pull["head"]["sha"].as_str().unwrap().len(), 40);
        assert_eq!(pull["base"]["sha"], pull["merge_base"]);
        assert_eq!(pull["changed_files"], 1);
        assert_eq!(pull["requested_reviewers"], json!([]));
        assert!(pull.get("review_comments").is_none());
        let newer = gitea.version() >= GiteaVersion::V1_26;
        assert_eq!(pull.get("content_version").is_some(), newer);
        assert_eq!(pull["allow_maintainer_edit"], newer);

        assert_eq!(post(&gitea, &path, asked).status, 409);
        for (head, status) in [("main", 422), ("nowhere", 404), ("", 422)] {
            let asked = json!({"title": "Fix", "head": head, "base": "main"});
            assert_eq!(post(&gitea, &path, asked).status, status, "{head:?}");
        }
        assert_eq!(get(&gitea, &path).numbers(), [2]);
        assert_eq!(get(&gitea, &format!("{path}/1")).status, 404);
    }
}

#[test]
fn a_pull_request_is_an_issue_too() {
    for (gitea, repo) in pulled() {
        let issue = gitea.issue(&repo, 2).unwrap();
        let page = format!("{}/{repo}/pulls/2", gitea.url());
        assert_eq!(issue["html_url"], json!(page));
        assert_eq!(issue["pull_request"]["merged"], false);
        assert_eq!(gitea.issue(&repo, 1).unwrap()["pull_request"], Value::Null);

        let listed = |query: &str| get(&gitea, &format!("/repos/{repo}/issues?{query}")).numbers();
        assert_eq!(listed("state=all"), [2, 1]);
        assert_eq!(listed("type=issues"), [1]);
        assert_eq!(listed("type=pulls"), [2]);
        let repo_json = get(&gitea, &format!("/repos/{repo}")).json();
        assert_eq!(repo_json["open_issues_count"], 1);
        assert_eq!(repo_json["open_pr_counter"], 1);

        let path = format!("/repos/{repo}/issues/2/comments");
        let comment = post(&gitea, &path, json!({"body": "x"})).json();
        assert_eq!(comment["pull_request_url"], json!(page));
        assert_eq!(comment["issue_url"], "");
    }
}

#[test]
fn the_timeline_of_an_issue_names_the_pull_request_that_closes_it() {
    for (gitea, repo) in pulled() {
        let timeline = get(&gitea, &format!("/repos/{repo}/issues/1/timeline"));
        assert_eq!(timeline.total(), 1);
        let row = &timeline.json()[0];
        assert_eq!(row["type"], "pull_ref");
        assert_eq!(row["ref_action"], "closes");
        assert_eq!(row["ref_issue"]["number"], 2);
        assert_eq!(row["ref_issue"]["pull_request"]["merged"], false);

        // Named without a keyword is not closed; named again is noted once.
        gitea.create_issue(&repo, "Another", "").unwrap();
        let body = json!({"body": "Closes #1, see #3, see #3"});
        assert_eq!(
            ask(
                &gitea,
                "PATCH",
                &format!("/repos/{repo}/pulls/2"),
                Some(body)
            )
            .status,
            201
        );
        assert_eq!(events(&gitea, &repo, 1), ["pull_ref"]);
        let other = gitea.timeline(&repo, 3).unwrap();
        assert_eq!((other.len(), &other[0]["ref_action"]), (1, &json!("none")));
        gitea.merge_pull(&repo, 2).unwrap();
        assert_eq!(gitea.issue(&repo, 3).unwrap()["state"], "open");
    }
}

#[test]
fn merging_closes_the_issue_and_ends_the_pull_request() {
    for (gitea, repo) in pulled() {
        let path = format!("/repos/{repo}/pulls/2/merge");
        assert_eq!(get(&gitea, &path).status, 404);
        let stale = json!({"Do": "merge", "head_commit_id": "0".repeat(40)});
        assert_eq!(post(&gitea, &path, stale).status, 409);
        assert_eq!(post(&gitea, &path, json!({})).status, 422);
        let refused = gitea.act("guest", "POST", &path, &json!({"Do": "merge"}));
        assert!(refused.unwrap_err().to_string().contains("405"));
        let merged = post(&gitea, &path, json!({"Do": "merge"}));
        assert_eq!((merged.status, merged.body.as_slice()), (200, &b""[..]));
        assert_eq!(get(&gitea, &path).status, 204);

        let pull = gitea.pull(&repo, 2).unwrap();
        assert_eq!(
            (&pull["state"], &pull["merged"]),
            (&json!("closed"), &json!(true))
        );
        assert_eq!(pull["merged_by"]["login"], "timmy");
        assert_eq!(pull["base"]["sha"], pull["merge_commit_sha"]);
        assert_ne!(pull["merge_base"], pull["merge_commit_sha"]);
        assert!(pull["merged_at"].is_string() && pull["closed_at"].is_string());
        assert_eq!(gitea.issue(&repo, 1).unwrap()["state"], "closed");
        assert_eq!(events(&gitea, &repo, 1), ["pull_ref", "close"]);
        assert_eq!(events(&gitea, &repo, 2), ["merge_pull"]);

        assert_eq!(post(&gitea, &path, json!({"Do": "merge"})).status, 405);
        let reopen = json!({"state": "open"});
        let reopened = ask(
            &gitea,
            "PATCH",
            &format!("/repos/{repo}/pulls/2"),
            Some(reopen),
        );
        assert_eq!(reopened.status, 412);
    }
}

#[test]
fn a_closed_pull_request_cannot_be_merged_and_can_be_opened_again() {
    for (gitea, repo) in pulled() {
        gitea.close_issue(&repo, 2).unwrap();
        assert!(
            gitea
                .merge_pull(&repo, 2)
                .unwrap_err()
                .to_string()
                .contains("404")
        );
        gitea.reopen_issue(&repo, 2).unwrap();
        gitea.merge_pull(&repo, 2).unwrap();
        assert_eq!(
            get(&gitea, &format!("/repos/{repo}/pulls?state=closed")).numbers(),
            [2]
        );
    }
}

#[test]
fn a_commit_has_statuses_and_one_word_for_all() {
    for (gitea, repo) in pulled() {
        let sha = head(&gitea, &repo);
        let combined = || get(&gitea, &format!("/repos/{repo}/commits/{sha}/status"));
        let none = combined();
        assert_eq!(none.total(), 0);
        // No checks at all: the one fact in which the versions differ here.
        let word = if gitea.version() >= GiteaVersion::V1_26 {
            "pending"
        } else {
            ""
        };
        assert_eq!(none.json()["state"], word);
        assert_eq!(none.json()["statuses"], Value::Null);
        assert_eq!(none.json()["sha"], json!(sha));

        let path = format!("/repos/{repo}/statuses/{sha}");
        let made = post(
            &gitea,
            &path,
            json!({"state": "success", "context": "ci/test"}),
        );
        assert_eq!(made.status, 201);
        // Each says `status`, all together say `state`.
        assert_eq!(made.json()["status"], "success");
        assert!(made.json().get("state").is_none());
        assert_eq!(combined().json()["state"], "success");
        for (context, state, word) in [
            ("ci/lint", "pending", "pending"),
            ("ci/docs", "warning", "pending"),
            ("ci/lint", "skipped", "success"),
            ("ci/docs", "error", "failure"),
            ("ci/lint", "pending", "failure"),
        ] {
            gitea.set_status(&repo, "work", context, state).unwrap();
            assert_eq!(combined().json()["state"], word, "{context} {state}");
        }
        assert_eq!(
            (
                combined().total(),
                combined().json()["total_count"].as_u64()
            ),
            (3, Some(3))
        );
        assert_eq!(get(&gitea, &path).total(), 6);
        assert_eq!(get(&gitea, &path).json()[5]["context"], "ci/test");

        assert_eq!(post(&gitea, &path, json!({"state": "fine"})).status, 422);
        let refused = gitea.act("guest", "POST", &path, &json!({"state": "success"}));
        assert!(refused.unwrap_err().to_string().contains("403"));
        assert_eq!(
            get(
                &gitea,
                &format!("/repos/{repo}/commits/{}/status", "0".repeat(40))
            )
            .status,
            404
        );
    }
}

fn reviews(gitea: &Sandbox, repo: &str) -> Vec<(String, bool, bool, bool)> {
    let listed: Reply = get(gitea, &format!("/repos/{repo}/pulls/2/reviews"));
    let listed = listed.json();
    let flag = |review: &Value, name: &str| review[name].as_bool().unwrap();
    let reviews = listed.as_array().unwrap().iter();
    reviews
        .map(|review| {
            let state = review["state"].as_str().unwrap().to_owned();
            let official = flag(review, "official");
            (
                state,
                official,
                flag(review, "stale"),
                flag(review, "dismissed"),
            )
        })
        .collect()
}

fn review(state: &str, official: bool, stale: bool, dismissed: bool) -> (String, bool, bool, bool) {
    (state.to_owned(), official, stale, dismissed)
}

#[test]
fn an_approval_is_official_where_its_author_may_write() {
    for (gitea, repo) in pulled() {
        assert!(reviews(&gitea, &repo).is_empty());
        gitea
            .review_pull(&repo, 2, "guest", "APPROVED", "ok")
            .unwrap();
        let pull = gitea.pull(&repo, 2).unwrap();
        assert_eq!(pull["review_comments"], 1);
        // Who decided counts as asked.
        assert_eq!(pull["requested_reviewers"][0]["login"], "guest");
        gitea.review_pull(&repo, 2, "kimi", "APPROVED", "").unwrap();
        let both = [
            review("APPROVED", false, false, false),
            review("APPROVED", true, false, false),
        ];
        assert_eq!(reviews(&gitea, &repo), both);
        let listed = get(&gitea, &format!("/repos/{repo}/pulls/2/reviews")).json();
        assert_eq!(listed[0]["commit_id"], json!(head(&gitea, &repo)));
        assert_eq!(events(&gitea, &repo, 2), ["review", "review"]);
    }
}

#[test]
fn a_push_makes_reviews_stale_and_the_last_word_of_a_reviewer_counts() {
    for (gitea, repo) in pulled() {
        gitea
            .review_pull(&repo, 2, "kimi", "REQUEST_CHANGES", "no")
            .unwrap();
        let before = head(&gitea, &repo);
        let pushed = gitea.push(&repo, "work").unwrap();
        assert_eq!(head(&gitea, &repo), pushed);
        assert_ne!(before, pushed);
        assert_eq!(
            reviews(&gitea, &repo),
            [review("REQUEST_CHANGES", true, true, false)]
        );

        gitea.review_pull(&repo, 2, "kimi", "APPROVED", "").unwrap();
        let two = [
            review("REQUEST_CHANGES", false, true, true),
            review("APPROVED", true, false, false),
        ];
        assert_eq!(reviews(&gitea, &repo), two);
        // The checks were of the commit before.
        gitea.set_status(&repo, &before, "ci", "success").unwrap();
        let status = get(&gitea, &format!("/repos/{repo}/commits/{pushed}/status"));
        assert_eq!(status.total(), 0);
        let old = get(&gitea, &format!("/repos/{repo}/commits/{before}/status"));
        assert_eq!(old.json()["state"], "success");
    }
}

#[test]
fn reviews_are_asked_for_begun_handed_in_and_dismissed() {
    for (gitea, repo) in pulled() {
        let pull = format!("/repos/{repo}/pulls/2");
        let asked = json!({"reviewers": ["kimi"]});
        let path = format!("{pull}/requested_reviewers");
        assert_eq!(post(&gitea, &path, asked.clone()).status, 201);
        assert_eq!(
            reviews(&gitea, &repo),
            [review("REQUEST_REVIEW", true, false, false)]
        );
        assert_eq!(
            ask(&gitea, "DELETE", &path, Some(asked.clone())).status,
            204
        );
        assert!(reviews(&gitea, &repo).is_empty());
        assert_eq!(
            post(&gitea, &path, json!({"reviewers": ["timmy"]})).status,
            422
        );
        assert_eq!(
            post(&gitea, &path, json!({"reviewers": ["nobody"]})).status,
            404
        );

        // A comment decides nothing, and answers what was asked for.
        post(&gitea, &path, asked);
        let comment = gitea.review_pull(&repo, 2, "kimi", "COMMENT", "hm");
        assert_eq!(
            reviews(&gitea, &repo),
            [review("COMMENT", false, false, false)]
        );

        let begun = gitea
            .review_pull(&repo, 2, "guest", "PENDING", "so far")
            .unwrap();
        let path = format!("/repos/{repo}/pulls/2/reviews/{begun}");
        assert!(gitea.act("kimi", "GET", &path, &Value::Null).is_err());
        let done = gitea
            .act("guest", "POST", &path, &json!({"event": "APPROVED"}))
            .unwrap();
        assert_eq!(
            (&done["id"], &done["state"]),
            (&json!(begun), &json!("APPROVED"))
        );

        let dismissal = json!({"message": "too quick"});
        let by_writer = gitea.act("kimi", "POST", &format!("{path}/dismissals"), &dismissal);
        assert!(by_writer.unwrap_err().to_string().contains("403"));
        let comment = format!(
            "/repos/{repo}/pulls/2/reviews/{}/dismissals",
            comment.unwrap()
        );
        assert_eq!(post(&gitea, &comment, dismissal.clone()).status, 403);
        assert_eq!(
            post(&gitea, &format!("{path}/dismissals"), dismissal).json()["dismissed"],
            true
        );
        let undone = post(&gitea, &format!("{path}/undismissals"), Value::Null);
        assert_eq!(undone.json()["dismissed"], false);
        let last = gitea.timeline(&repo, 2).unwrap().pop().unwrap();
        assert_eq!(
            (&last["type"], &last["body"]),
            (&json!("dismiss_review"), &json!("too quick"))
        );
        assert_eq!(last["review_id"], json!(begun));
        assert_eq!(ask(&gitea, "DELETE", &path, None).status, 204);
        assert_eq!(get(&gitea, &path).status, 404);
    }
}

#[test]
fn a_review_that_gitea_refuses_is_refused() {
    for (gitea, repo) in pulled() {
        let refused = |login: &str, event: &str, body: &str| {
            let refused = gitea.review_pull(&repo, 2, login, event, body);
            refused.unwrap_err().to_string()
        };
        assert!(refused("timmy", "APPROVED", "").contains("approve your own pull is not allowed"));
        assert!(refused("timmy", "REQUEST_CHANGES", "x").contains("reject your own pull"));
        assert!(refused("kimi", "REQUEST_CHANGES", " ").contains("requires a body"));
        assert!(refused("kimi", "COMMENT", "").contains("422"));
        assert!(refused("nobody", "APPROVED", "").contains("nobody"));
        assert!(reviews(&gitea, &repo).is_empty());
    }
}

#[test]
fn the_number_of_a_deleted_issue_does_not_come_back() {
    for (gitea, repo) in pulled() {
        gitea.delete_issue(&repo, 2).unwrap();
        assert_eq!(get(&gitea, &format!("/repos/{repo}/issues/2")).status, 404);
        assert_eq!(get(&gitea, &format!("/repos/{repo}")).status, 200);
        assert_eq!(gitea.create_issue(&repo, "next", "").unwrap(), 3);
        let refused = gitea.act(
            "kimi",
            "DELETE",
            &format!("/repos/{repo}/issues/1"),
            &Value::Null,
        );
        assert!(refused.unwrap_err().to_string().contains("403"));
        assert!(gitea.delete_issue(&repo, 2).is_err());
    }
}
