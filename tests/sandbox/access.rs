use serde_json::json;
use timmy_dispatcher::sandbox::Sandbox;

use crate::both;
use crate::client::{Reply, get, post, send};

fn as_who(gitea: &Sandbox, method: &str, path: &str, authorization: Option<&str>) -> Reply {
    let body = match (method, path) {
        ("GET", _) => None,
        (_, path) if path.ends_with("/comments") => Some(r#"{"body": "hello"}"#),
        (_, path) if path.contains("/issues/") => Some(r#"{"labels": [1]}"#),
        _ => Some(r##"{"name": "g", "color": "#fff"}"##),
    };
    send(gitea, method, path, authorization, body).unwrap()
}

#[test]
fn anybody_reads_a_public_repo_and_only_a_token_writes() {
    for (gitea, repo) in both() {
        gitea.create_issue(&repo, "x", "").unwrap();
        assert_eq!(
            as_who(&gitea, "GET", &format!("/repos/{repo}/labels"), None).status,
            200
        );
        for path in ["labels", "issues/1/labels", "issues/1/comments"] {
            let refused = as_who(&gitea, "POST", &format!("/repos/{repo}/{path}"), None);
            assert_eq!(
                (refused.status, &refused.json()["message"]),
                (401, &json!("token is required"))
            );
        }
    }
}

#[test]
fn a_bad_token_is_401_where_none_would_do() {
    for (gitea, repo) in both() {
        for bad in ["token 0000", "Bearer 0000", "Basic dDp4"] {
            let refused = as_who(&gitea, "GET", &format!("/repos/{repo}/labels"), Some(bad));
            assert_eq!(refused.status, 401, "{bad}");
            assert_eq!(
                refused.json()["message"],
                "invalid username, password or token"
            );
        }
    }
}

#[test]
fn a_token_comes_by_either_scheme() {
    for (gitea, _) in both() {
        for scheme in ["token", "Bearer", "bearer"] {
            let authorization = format!("{scheme} {}", gitea.token());
            let reply = as_who(&gitea, "GET", "/user", Some(&authorization));
            assert_eq!(
                (reply.status, &reply.json()["login"]),
                (200, &json!("timmy"))
            );
        }
    }
}

#[test]
fn who_may_not_write_may_comment_unless_the_issue_is_locked() {
    for (gitea, repo) in both() {
        gitea.create_label(&repo, "l", "#fff").unwrap();
        gitea.create_issue(&repo, "x", "").unwrap();
        gitea
            .create_user("guest", "guest-token", &["write:issue"])
            .unwrap();
        let guest = |path: &str| {
            as_who(
                &gitea,
                "POST",
                &format!("/repos/{repo}/{path}"),
                Some("token guest-token"),
            )
        };
        let label = guest("labels");
        assert_eq!(label.status, 403);
        assert_eq!(
            label.json()["message"],
            "user should have a permission to write to a repo"
        );
        let added = guest("issues/1/labels");
        assert_eq!(
            (added.status, &added.json()["message"]),
            (403, &json!("write permission is required"))
        );
        let comment = guest("issues/1/comments");
        assert_eq!(
            (comment.status, &comment.json()["user"]["login"]),
            (201, &json!("guest"))
        );
        // Only an administrator is told what is wrong inside.
        let missing = guest("issues/9/comments");
        assert_eq!(
            (missing.status, &missing.json()["message"]),
            (500, &json!(""))
        );
        gitea.lock_issue(&repo, 1).unwrap();
        let locked = guest("issues/1/comments");
        assert_eq!(locked.status, 403);
        assert_eq!(
            locked.json()["message"],
            "You cannot comment on a locked issue."
        );
        gitea.add_writer(&repo, "guest").unwrap();
        assert_eq!(guest("issues/1/comments").status, 201);
        assert_eq!(guest("issues/1/labels").status, 200);
    }
}

#[test]
fn a_scope_that_is_missing_is_named() {
    for (gitea, repo) in both() {
        gitea.create_issue(&repo, "x", "").unwrap();
        gitea
            .create_user("narrow", "read-issue", &["read:issue"])
            .unwrap();
        gitea
            .create_user("none", "read-user", &["read:user"])
            .unwrap();
        let path = format!("/repos/{repo}/issues/1/comments");
        assert_eq!(
            as_who(&gitea, "GET", &path, Some("token read-issue")).status,
            200
        );
        for (method, token, required, scope) in [
            ("POST", "read-issue", "write:issue", "read:issue"),
            ("POST", "read-user", "write:issue", "read:user"),
            ("GET", "read-user", "read:issue", "read:user"),
        ] {
            let refused = as_who(&gitea, method, &path, Some(&format!("token {token}")));
            assert_eq!(refused.status, 403);
            let message = format!(
                "token does not have at least one of required scope(s), \
                 required=[{required}], token scope={scope}"
            );
            assert_eq!(refused.json()["message"], message);
        }
    }
}

#[test]
fn a_private_repo_is_not_there_for_others() {
    for (gitea, repo) in both() {
        gitea.set_private(&repo, true).unwrap();
        gitea
            .create_user("guest", "guest-token", &["write:issue"])
            .unwrap();
        let path = format!("/repos/{repo}/labels");
        assert_eq!(
            as_who(&gitea, "GET", &path, Some("token guest-token")).status,
            404
        );
        assert_eq!(as_who(&gitea, "GET", &path, None).status, 404);
        assert_eq!(get(&gitea, &path).status, 200);
    }
}

#[test]
fn users_and_tokens_are_made_over_http_too() {
    for (gitea, repo) in both() {
        let guest =
            json!({"username": "guest", "email": "g@example.com", "password": "Passw0rd!x"});
        assert_eq!(post(&gitea, "/admin/users", guest.clone()).status, 201);
        assert_eq!(post(&gitea, "/admin/users", guest).status, 422);
        let wanted = r#"{"name": "t", "scopes": ["write:issue"]}"#;
        let basic = "Basic Z3Vlc3Q6UGFzc3cwcmQheA==";
        let made = send(
            &gitea,
            "POST",
            "/users/guest/tokens",
            Some(basic),
            Some(wanted),
        )
        .unwrap();
        assert_eq!(made.status, 201);
        let token = made.json()["sha1"].as_str().unwrap().to_owned();
        assert_eq!(token.len(), 40);
        let path = format!("/repos/{repo}/labels");
        let authorization = format!("token {token}");
        assert_eq!(
            as_who(&gitea, "POST", &path, Some(&authorization)).status,
            403
        );
        let place = format!("/repos/{repo}/collaborators/guest");
        let body = json!({"permission": "write"});
        assert_eq!(
            crate::client::ask(&gitea, "PUT", &place, Some(body)).status,
            204
        );
        assert_eq!(
            as_who(&gitea, "POST", &path, Some(&authorization)).status,
            201
        );
    }
}

#[test]
fn a_repo_is_removed_by_who_may_write_to_it() {
    for (gitea, repo) in both() {
        gitea
            .create_user("guest", "guest-token", &["write:repository"])
            .unwrap();
        let path = format!("/repos/{repo}");
        let delete = |token: &str, path: &str| {
            let authorization = format!("token {token}");
            send(&gitea, "DELETE", path, Some(&authorization), None).unwrap()
        };
        assert_eq!(delete("guest-token", &path).status, 403);
        assert_eq!(
            send(&gitea, "DELETE", &path, None, None).unwrap().status,
            401
        );
        let new = gitea.rename_repo(&repo, "new").unwrap();
        let removed = delete(gitea.token(), &format!("/repos/{new}"));
        assert_eq!((removed.status, removed.body.as_slice()), (204, &b""[..]));
        assert_eq!(get(&gitea, &format!("/repos/{new}")).status, 404);
        assert_eq!(get(&gitea, &path).status, 404);
        assert_eq!(gitea.create_repo("swarm").unwrap(), repo);
    }
}

#[test]
fn accounts_are_looked_up_with_the_scope_for_it() {
    for (gitea, _) in both() {
        let none: [&str; 0] = [];
        gitea.create_user("kimi", "narrow", &none).unwrap();
        let asked = |name: &str, token: &str| {
            let authorization = format!("token {token}");
            as_who(
                &gitea,
                "GET",
                &format!("/users/{name}"),
                Some(&authorization),
            )
        };
        let found = asked("Kimi", gitea.token());
        assert_eq!(
            (found.status, &found.json()["login"]),
            (200, &json!("kimi"))
        );
        assert_eq!(asked("nobody", gitea.token()).status, 404);
        let refused = asked("kimi", "narrow");
        assert_eq!(refused.status, 403);
        let message = refused.json()["message"].to_string();
        assert!(message.contains("required=[read:user]"), "{message}");
    }
}
