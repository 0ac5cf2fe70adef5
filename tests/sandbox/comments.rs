use serde_json::{Value, json};
use timmy_dispatcher::sandbox::{GiteaVersion, Sandbox};

use crate::client::{ask, ask_raw, exchange, get, post};
use crate::{both, swarm};

/// An issue's comments.
fn commented() -> impl Iterator<Item = (Sandbox, String, String)> {
    both().map(|(gitea, repo)| {
        let number = gitea.create_issue(&repo, "x", "").unwrap();
        let path = format!("/repos/{repo}/issues/{number}/comments");
        (gitea, repo, path)
    })
}

#[test]
fn a_comment_is_made_and_served() {
    for (gitea, repo, path) in commented() {
        let made = post(&gitea, &path, json!({"body": "## Task\n<!-- marker -->"}));
        assert_eq!(made.status, 201);
        let comment = made.json();
        assert_eq!(comment["body"], "## Task\n<!-- marker -->");
        assert_eq!(comment["user"]["login"], "timmy");
        let hidden = match gitea.version() {
            GiteaVersion::V1_25 => "timmy@noreply.localhost",
            _ => "1+timmy@noreply.localhost",
        };
        assert_eq!(comment["user"]["email"], hidden);
        let listed = get(&gitea, &path);
        assert_eq!((listed.total(), listed.json()), (1, json!([comment])));
        assert_eq!(gitea.comments(&repo, 1).unwrap(), [comment]);
        assert_eq!(gitea.issue(&repo, 1).unwrap()["comments"], 1);
    }
}

#[test]
fn an_empty_body_is_refused_and_a_blank_one_is_not() {
    for (gitea, _, path) in commented() {
        let empty = post(&gitea, &path, json!({"body": ""}));
        assert_eq!(
            (empty.status, &empty.json()["message"]),
            (422, &json!("[Body]: Required"))
        );
        let blank = post(&gitea, &path, json!({"body": "   \n"}));
        assert_eq!(
            (blank.status, &blank.json()["body"]),
            (201, &json!("   \n"))
        );
    }
}

#[test]
fn a_nul_stays_and_a_lone_surrogate_becomes_a_replacement_character() {
    for (gitea, _, path) in commented() {
        let body = r#"{"body": "nul \u0000 lone \ud800 pair \ud83d\ude00 end"}"#;
        let made = ask_raw(&gitea, "POST", &path, Some(body)).unwrap();
        assert_eq!(made.status, 201);
        assert_eq!(made.json()["body"], "nul \0 lone \u{fffd} pair 😀 end");
    }
}

#[test]
fn a_comment_of_five_million_characters_is_taken() {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    gitea.create_issue(&repo, "x", "").unwrap();
    let made = post(
        &gitea,
        &format!("/repos/{repo}/issues/1/comments"),
        json!({"body": "x".repeat(5_000_000)}),
    );
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["body"].as_str().unwrap().len(), 5_000_000);
}

#[test]
fn on_an_issue_that_does_not_exist_everything_about_comments_is_500() {
    for (gitea, repo, _) in commented() {
        let missing = format!("/repos/{repo}/issues/99999");
        let made = post(&gitea, &format!("{missing}/comments"), json!({"body": "x"}));
        let listed = get(&gitea, &format!("{missing}/comments"));
        let timeline = get(&gitea, &format!("{missing}/timeline"));
        for reply in [made, listed, timeline] {
            assert_eq!(reply.status, 500);
            let message = reply.json()["message"].as_str().unwrap().to_owned();
            assert_eq!(
                message,
                "issue does not exist [id: 0, repo_id: 1, index: 99999]"
            );
        }
    }
}

#[test]
fn comments_and_events_share_their_ids() {
    for (gitea, repo, path) in commented() {
        let label = gitea.create_label(&repo, "l", "#fff").unwrap();
        let first = post(&gitea, &path, json!({"body": "a"})).json()["id"].clone();
        post(
            &gitea,
            &format!("/repos/{repo}/issues/1/labels"),
            json!({"labels": [label]}),
        );
        let second = post(&gitea, &path, json!({"body": "b"})).json()["id"].clone();
        assert_eq!((first, second), (json!(1), json!(3)));
        assert_eq!(gitea.create_comment(&repo, 1, "c").unwrap(), 4);
    }
}

#[test]
fn comments_are_listed_since() {
    for (gitea, _, path) in commented() {
        let made = post(&gitea, &path, json!({"body": "a"})).json();
        let created = made["created_at"].as_str().unwrap();
        assert_eq!(get(&gitea, &format!("{path}?since={created}")).total(), 1);
        let future = get(&gitea, &format!("{path}?since=2099-01-01T00:00:00Z"));
        assert_eq!((future.total(), future.json()), (0, json!([])));
    }
}

#[test]
fn an_empty_page_of_the_timeline_is_null() {
    for (gitea, repo, path) in commented() {
        post(&gitea, &path, json!({"body": "a"}));
        let timeline = format!("/repos/{repo}/issues/1/timeline?limit=50");
        assert_eq!(get(&gitea, &timeline).total(), 1);
        let empty = get(&gitea, &format!("{timeline}&page=9"));
        assert_eq!((empty.total(), empty.json()), (0, Value::Null));
    }
}

#[test]
fn a_body_that_is_not_said_to_be_json_is_refused() {
    for (gitea, repo, path) in commented() {
        let token = gitea.token();
        for content_type in ["", "Content-Type: text/plain\r\n"] {
            let request = format!(
                "POST /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: token {token}\r\n\
                 {content_type}Content-Length: 12\r\nConnection: close\r\n\r\n{{\"body\":\"x\"}}"
            );
            assert_eq!(exchange(&gitea, &request).unwrap().status, 422);
        }
        assert!(gitea.comments(&repo, 1).unwrap().is_empty());
    }
}

#[test]
fn a_comment_is_read_edited_and_deleted_by_its_id() {
    for (gitea, repo) in both() {
        gitea.create_issue(&repo, "x", "").unwrap();
        gitea.create_user("kimi", "kimi-token", &["all"]).unwrap();
        let id = gitea.create_comment(&repo, 1, "first").unwrap();
        let path = format!("/repos/{repo}/issues/comments/{id}");
        let updated = gitea.issue(&repo, 1).unwrap()["updated_at"].clone();
        assert_eq!(get(&gitea, &path).json()["body"], "first");
        for (method, body) in [("PATCH", json!({"body": "x"})), ("DELETE", json!(null))] {
            let refused = gitea.act("kimi", method, &path, &body).unwrap_err();
            assert!(refused.to_string().contains("403"), "{refused}");
        }
        let edited = ask(&gitea, "PATCH", &path, Some(json!({"body": "second"})));
        assert_eq!(
            (edited.status, &edited.json()["body"]),
            (200, &json!("second"))
        );
        assert_eq!(
            ask(&gitea, "PATCH", &path, Some(json!({"body": ""}))).status,
            422
        );
        assert_eq!(gitea.comments(&repo, 1).unwrap()[0]["body"], "second");

        let own = format!("/repos/{repo}/issues/1/comments");
        let own = gitea
            .act("kimi", "POST", &own, &json!({"body": "mine"}))
            .unwrap();
        let own = format!("/repos/{repo}/issues/comments/{}", own["id"]);
        gitea.act("kimi", "DELETE", &own, &json!(null)).unwrap();
        assert_eq!(ask(&gitea, "DELETE", &path, None).status, 204);
        for method in ["GET", "PATCH", "DELETE"] {
            let body = (method == "PATCH").then(|| json!({"body": "x"}));
            assert_eq!(ask(&gitea, method, &path, body).status, 404, "{method}");
        }
        let issue = gitea.issue(&repo, 1).unwrap();
        assert_eq!(
            (
                &issue["comments"],
                issue["updated_at"].as_str() >= updated.as_str()
            ),
            (&json!(0), true)
        );
        assert!(gitea.timeline(&repo, 1).unwrap().is_empty());
        // A row that is no comment is none to delete.
        gitea.close_issue(&repo, 1).unwrap();
        let row = gitea.timeline(&repo, 1).unwrap()[0]["id"].clone();
        let row = format!("/repos/{repo}/issues/comments/{row}");
        assert_eq!(ask(&gitea, "DELETE", &row, None).status, 404);
    }
}
