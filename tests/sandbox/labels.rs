use serde_json::{Value, json};
use timmy_dispatcher::sandbox::{GiteaVersion, Sandbox};

use crate::client::{ask, ask_raw, get, post};
use crate::{both, swarm};

fn many_labels(version: GiteaVersion) -> (Sandbox, String) {
    let (gitea, repo) = swarm(version);
    for number in 0..66 {
        gitea
            .create_label(&repo, &format!("label-{number:02}"), "#ededed")
            .unwrap();
    }
    (gitea, repo)
}

fn shown(gitea: &Sandbox, repo: &str, query: &str) -> usize {
    let reply = get(gitea, &format!("/repos/{repo}/labels{query}"));
    assert_eq!((reply.status, reply.total()), (200, 66), "{query}");
    assert_eq!(reply.header("link"), None);
    reply.names().len()
}

#[test]
fn from_1_26_the_list_is_always_paged() {
    let (gitea, repo) = many_labels(GiteaVersion::V1_26);
    assert_eq!(shown(&gitea, &repo, ""), 30);
    assert_eq!(shown(&gitea, &repo, "?limit=50"), 50);
}

#[test]
fn before_1_26_the_list_is_whole_unless_a_page_is_named() {
    let (gitea, repo) = many_labels(GiteaVersion::V1_25);
    assert_eq!(shown(&gitea, &repo, ""), 66);
    assert_eq!(shown(&gitea, &repo, "?limit=50"), 66);
}

#[test]
fn a_named_page_is_the_same_in_both() {
    for version in GiteaVersion::ALL {
        let (gitea, repo) = many_labels(*version);
        for (query, count) in [
            ("?page=1", 30),
            ("?page=3", 6),
            ("?limit=50&page=1", 50),
            ("?limit=50&page=2", 16),
            ("?limit=50&page=3", 0),
            ("?limit=1000&page=1", 50),
            ("?limit=0&page=1", 30),
        ] {
            assert_eq!(shown(&gitea, &repo, query), count, "{query}");
        }
    }
}

#[test]
fn the_list_is_sorted_by_name_and_then_by_id() {
    for (gitea, repo) in both() {
        for name in ["kimi", "agent/kimi", "Kimi", "kimi"] {
            gitea.create_label(&repo, name, "#fff").unwrap();
        }
        let reply = get(&gitea, &format!("/repos/{repo}/labels"));
        assert_eq!(reply.names(), ["Kimi", "agent/kimi", "kimi", "kimi"]);
        let ids: Vec<_> = reply
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["id"].clone())
            .collect();
        assert_eq!(ids, [3, 2, 1, 4]);
    }
}

#[test]
fn a_label_is_served_whole() {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    let made = post(
        &gitea,
        &format!("/repos/{repo}/labels"),
        json!({"name": "kimi-ready", "color": "#ff6600"}),
    );
    assert_eq!(made.status, 201);
    let expected = json!({
        "id": 1, "name": "kimi-ready", "exclusive": false, "is_archived": false, "color": "ff6600",
        "description": "", "url": format!("{}/api/v1/repos/{repo}/labels/1", gitea.url()),
    });
    assert_eq!(made.json(), expected);
    assert_eq!(
        get(&gitea, &format!("/repos/{repo}/labels/1")).json(),
        expected
    );
    assert_eq!(gitea.labels(&repo).unwrap(), [expected]);
    assert_eq!(
        made.header("content-type"),
        Some("application/json;charset=utf-8")
    );
}

#[test]
fn colours_come_in_four_forms_and_back_in_one() {
    for (gitea, repo) in both() {
        for (given, kept) in [
            ("#FF6600", "ff6600"),
            ("00ff00", "00ff00"),
            ("#0f0", "00ff00"),
            ("abc", "aabbcc"),
        ] {
            let made = post(
                &gitea,
                &format!("/repos/{repo}/labels"),
                json!({"name": "x", "color": given}),
            );
            assert_eq!(
                (made.status, made.json()["color"].as_str()),
                (201, Some(kept))
            );
        }
        for bad in ["orange", "#ff", "#12345", "#gggggg", "##fff"] {
            let refused = post(
                &gitea,
                &format!("/repos/{repo}/labels"),
                json!({"name": "x", "color": bad}),
            );
            assert_eq!(refused.status, 422, "{bad}");
        }
    }
}

#[test]
fn what_is_missing_or_broken_is_422_with_a_message_and_the_url_of_the_manual() {
    for (gitea, repo) in both() {
        let path = format!("/repos/{repo}/labels");
        for (body, message) in [
            (r#"{"name": "x"}"#, "[Color]: Required"),
            (r##"{"name": "", "color": "#fff"}"##, "[Name]: Required"),
            ("{}", "[Name]: Required"),
            (
                r#"{"name": "x", "color": "orange"}"#,
                "invalid color: #orange",
            ),
        ] {
            let refused = ask_raw(&gitea, "POST", &path, Some(body)).unwrap();
            let url = format!("{}/api/swagger", gitea.url());
            assert_eq!(refused.status, 422);
            assert_eq!(refused.json(), json!({"message": message, "url": url}));
        }
        for broken in [r#"{"name": "x""#, "[]", r#"{"name": 1, "color": "fff"}"#] {
            assert_eq!(
                ask_raw(&gitea, "POST", &path, Some(broken)).unwrap().status,
                422
            );
        }
        assert!(gitea.labels(&repo).unwrap().is_empty());
    }
}

#[test]
fn names_are_not_unique_even_at_once() {
    for (gitea, repo) in both() {
        let create = || {
            post(
                &gitea,
                &format!("/repos/{repo}/labels"),
                json!({"name": "race", "color": "#fff"}),
            )
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
            for thread in threads {
                assert_eq!(thread.join().unwrap().status, 201);
            }
        });
        assert_eq!(gitea.labels(&repo).unwrap().len(), 8);
    }
}

/// An issue and its labels' path.
fn issue(gitea: &Sandbox, repo: &str) -> (u64, String) {
    let number = gitea
        .create_issue(repo, "Design the LLM router", "")
        .unwrap();
    (number, format!("/repos/{repo}/issues/{number}/labels"))
}

fn ids(labels: &Value) -> Vec<u64> {
    labels
        .as_array()
        .unwrap()
        .iter()
        .map(|label| label["id"].as_u64().unwrap())
        .collect()
}

#[test]
fn labels_are_added_by_id_or_by_name_and_what_is_unknown_is_ignored() {
    for (gitea, repo) in both() {
        let first = gitea.create_label(&repo, "kimi-ready", "#fff").unwrap();
        let second = gitea.create_label(&repo, "kimi-ready", "#fff").unwrap();
        let other = gitea.create_label(&repo, "claude-ready", "#fff").unwrap();
        let elsewhere = gitea.create_repo("other").unwrap();
        let foreign = gitea.create_label(&elsewhere, "foreign", "#fff").unwrap();
        let (number, path) = issue(&gitea, &repo);
        let add = |labels: Value| {
            let reply = post(&gitea, &path, json!({"labels": labels}));
            assert_eq!(reply.status, 200, "{labels}");
            ids(&reply.json())
        };
        assert_eq!(add(json!([second])), [second]);
        assert_eq!(add(json!([second])), [second]);
        // A name attaches every label of that name.
        assert_eq!(add(json!(["kimi-ready"])), [first, second]);
        for ignored in [
            json!([999_999]),
            json!(["no-such"]),
            json!([]),
            json!([other.to_string()]),
            json!([foreign]),
        ] {
            assert_eq!(add(ignored), [first, second]);
        }
        let mixed = post(&gitea, &path, json!({"labels": [other, "kimi-ready"]}));
        assert_eq!(mixed.status, 400);
        assert_eq!(
            mixed.json()["message"],
            "labels should be an array of strings or integers"
        );
        assert_eq!(add(json!([other])), [other, first, second]);
        assert_eq!(ids(&get(&gitea, &path).json()), [other, first, second]);
        assert_eq!(
            ids(&gitea.issue_labels(&repo, number).unwrap().into()),
            [other, first, second]
        );

        let replaced = ask(&gitea, "PUT", &path, Some(json!({"labels": [first]})));
        assert_eq!((replaced.status, ids(&replaced.json())), (200, vec![first]));
    }
}

#[test]
fn an_issue_that_does_not_exist_has_no_labels() {
    for (gitea, repo) in both() {
        let label = gitea.create_label(&repo, "l", "#fff").unwrap();
        let path = format!("/repos/{repo}/issues/99999/labels");
        let reply = post(&gitea, &path, json!({"labels": [label]}));
        let url = format!("{}/api/swagger", gitea.url());
        assert_eq!(reply.status, 404);
        assert_eq!(
            reply.json(),
            json!({"errors": null, "message": "not found", "url": url})
        );
        assert_eq!(get(&gitea, &path).status, 404);
    }
}

#[test]
fn an_exclusive_label_takes_off_its_rivals() {
    for (gitea, repo) in both() {
        let create = |name: &str, exclusive: bool| {
            let body = json!({"name": name, "color": "#111111", "exclusive": exclusive});
            post(&gitea, &format!("/repos/{repo}/labels"), body).json()["id"]
                .as_u64()
                .unwrap()
        };
        let kimi = create("agent/kimi", true);
        let claude = create("agent/claude", true);
        let plain = create("agent/plain", false);
        let elsewhere = create("size/big", true);
        let (number, path) = issue(&gitea, &repo);
        for label in [plain, elsewhere, kimi, claude] {
            assert_eq!(post(&gitea, &path, json!({"labels": [label]})).status, 200);
        }
        assert_eq!(ids(&get(&gitea, &path).json()), [claude, plain, elsewhere]);

        let timeline = get(&gitea, &format!("/repos/{repo}/issues/{number}/timeline")).json();
        let events: Vec<_> = timeline
            .as_array()
            .unwrap()
            .iter()
            .map(|event| {
                (
                    event["label"]["id"].as_u64().unwrap(),
                    event["body"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            events,
            [
                (plain, "1"),
                (elsewhere, "1"),
                (kimi, "1"),
                (kimi, ""),
                (claude, "1")
            ]
        );
    }
}

#[test]
fn removing_is_204_also_where_there_is_nothing_to_remove() {
    for (gitea, repo) in both() {
        let label = gitea.create_label(&repo, "l", "#fff").unwrap();
        let (number, path) = issue(&gitea, &repo);
        post(&gitea, &path, json!({"labels": [label]}));
        for _ in 0..2 {
            let removed = ask(&gitea, "DELETE", &format!("{path}/{label}"), None);
            assert_eq!((removed.status, removed.body.len()), (204, 0));
            assert!(gitea.issue_labels(&repo, number).unwrap().is_empty());
        }
        assert_eq!(
            ask(&gitea, "DELETE", &format!("{path}/999999"), None).status,
            422
        );
    }
}

#[test]
fn a_duplicate_has_the_higher_id() {
    for (gitea, repo) in both() {
        let first = gitea.create_label(&repo, "kimi-ready", "#f60").unwrap();
        let second = gitea.duplicate_label(&repo, "kimi-ready").unwrap();
        assert!(second > first);
        let labels = gitea.labels(&repo).unwrap();
        assert_eq!(ids(&labels.clone().into()), [first, second]);
        assert_eq!(labels[0]["color"], labels[1]["color"]);
        gitea.duplicate_label(&repo, "new").unwrap();
        assert_eq!(gitea.labels(&repo).unwrap().len(), 4);
    }
}

#[test]
fn a_page_2_label_is_behind_the_first_page_of_any_size() {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    let label = gitea.create_label(&repo, "kimi-ready", "#f60").unwrap();
    assert_eq!(gitea.page_2_label(&repo, "kimi-ready").unwrap(), label);
    let path = format!("/repos/{repo}/labels");
    for first_page in ["", "?limit=50", "?page=1"] {
        let names = get(&gitea, &format!("{path}{first_page}")).names();
        assert!(!names.contains(&"kimi-ready".to_owned()));
    }
    let second = get(&gitea, &format!("{path}?page=2&limit=50"));
    assert_eq!(second.names(), ["kimi-ready"]);
    // Asked again, there is nothing to do; a label that is not there yet is made.
    gitea.page_2_label(&repo, "kimi-ready").unwrap();
    gitea.page_2_label(&repo, "kimi-ready-2").unwrap();
    assert_eq!(get(&gitea, &path).total(), 52);
}
