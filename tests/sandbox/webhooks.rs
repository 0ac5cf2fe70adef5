use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use ring::hmac;
use serde_json::{Value, json};
use timmy_dispatcher::sandbox::{DeliveryFault, GiteaVersion, RecordedDelivery, Sandbox};

use crate::client::{PATIENCE, ask, get, post};

/// What a receiver got.
#[derive(Debug, Clone)]
struct Got {
    head: String,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        let mut lines = self.head.split("\r\n");
        lines.find_map(|line| line.strip_prefix(&start)).unwrap()
    }

    fn said(&self) -> (String, String) {
        let action = self.json()["action"].as_str().unwrap_or("").to_owned();
        (self.header("X-Gitea-Event-Type").to_owned(), action)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Answers so many deliveries with 200 and gives them.
fn receiver(count: usize) -> (String, JoinHandle<Vec<Got>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut got = Vec::new();
        while got.len() < count {
            let (mut socket, _) = listener.accept().unwrap();
            got.push(read(&mut socket));
            socket
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        }
        got
    });
    (url, thread)
}

fn read(socket: &mut TcpStream) -> Got {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_owned();
            let got = Got {
                head,
                body: body.to_owned(),
            };
            if body.len() == got.header("Content-Length").parse::<usize>().unwrap() {
                return got;
            }
        }
        let read = socket.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "cut off: {text}");
        bytes.extend_from_slice(&buffer[..read]);
    }
}

fn hooked(version: GiteaVersion) -> (Sandbox, String) {
    let gitea = Sandbox::builder().version(version).start().unwrap();
    let repo = gitea.create_repo("swarm").unwrap();
    (gitea, repo)
}

fn both_hooked() -> impl Iterator<Item = (Sandbox, String)> {
    GiteaVersion::ALL.iter().map(|version| hooked(*version))
}

fn sha256(text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"s3cret");
    let tag = hmac::sign(&key, text.as_bytes());
    tag.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn said(deliveries: &[RecordedDelivery]) -> Vec<&str> {
    deliveries
        .iter()
        .map(|sent| sent.event_type.as_str())
        .collect()
}

#[test]
fn what_happens_to_an_issue_is_told_signed_and_in_order() {
    for (gitea, repo) in both_hooked() {
        let (url, received) = receiver(9);
        let events = ["issues", "pull_request"];
        gitea.create_hook(&repo, &url, "s3cret", &events).unwrap();
        let label = gitea.create_label(&repo, "kimi-ready", "#ff6600").unwrap();
        let n = gitea.create_issue(&repo, "watched", "").unwrap();
        let issue = format!("/repos/{repo}/issues/{n}");
        post(
            &gitea,
            &format!("{issue}/labels"),
            json!({"labels": [label]}),
        );
        let comment = gitea.create_comment(&repo, n, "done").unwrap();
        gitea.close_issue(&repo, n).unwrap();
        gitea.reopen_issue(&repo, n).unwrap();
        ask(&gitea, "DELETE", &format!("{issue}/labels/{label}"), None);
        ask(&gitea, "DELETE", &format!("{issue}/labels"), None);
        let edited = format!("/repos/{repo}/issues/comments/{comment}");
        ask(&gitea, "PATCH", &edited, Some(json!({"body": "undone"})));
        gitea.delete_comment(&repo, comment).unwrap();

        let got = received.join().unwrap();
        let told: Vec<_> = got.iter().map(Got::said).collect();
        let told: Vec<_> = told.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(
            told,
            [
                ("issues", "opened"),
                ("issue_label", "label_updated"),
                ("issue_comment", "created"),
                ("issues", "closed"),
                ("issues", "reopened"),
                ("issue_label", "label_updated"),
                ("issue_label", "label_cleared"),
                ("issue_comment", "edited"),
                ("issue_comment", "deleted"),
            ]
        );
        for delivery in &got {
            assert!(delivery.head.starts_with("POST /hook?a=b HTTP/1.1\r\n"));
            assert_eq!(delivery.header("Content-Type"), "application/json");
            let event = delivery.header("X-Gitea-Event");
            let kind = delivery.header("X-Gitea-Event-Type");
            assert_eq!(
                event,
                if kind == "issue_label" {
                    "issues"
                } else {
                    kind
                }
            );
            assert_eq!(delivery.header("X-Gitea-Delivery").len(), 36);
            let signature = sha256(&delivery.body);
            assert_eq!(delivery.header("X-Gitea-Signature"), signature);
            assert_eq!(
                delivery.header("X-Hub-Signature-256"),
                format!("sha256={signature}")
            );
            let payload = delivery.json();
            assert_eq!(payload["repository"]["full_name"], json!(repo));
            assert_eq!(payload["sender"]["login"], "timmy");
            assert_eq!(payload["issue"]["number"], json!(n));
        }
        let closed = got[3].json();
        assert_eq!(
            (&closed["number"], &closed["issue"]["state"]),
            (&json!(n), &json!("closed"))
        );
        assert_eq!(got[2].json()["comment"]["body"], "done");
        assert_eq!(got[2].json()["is_pull"], false);
        assert_eq!(got[7].json()["comment"]["body"], "undone");
        let mut ids: Vec<_> = got.iter().map(|d| d.header("X-Gitea-Delivery")).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 9);
    }
}

#[test]
fn what_happens_to_a_pull_request_is_told() {
    for (gitea, repo) in both_hooked() {
        let (url, received) = receiver(10);
        gitea
            .create_hook(&repo, &url, "", &["pull_request", "status"])
            .unwrap();
        gitea.create_issue(&repo, "x", "").unwrap();
        gitea.create_user("kimi", "kimi-token", &["all"]).unwrap();
        gitea.push(&repo, "work").unwrap();
        let n = gitea
            .create_pull(&repo, "Fix", "Closes #1", "work")
            .unwrap();
        gitea.create_comment(&repo, n, "look").unwrap();
        let asked = json!({"reviewers": ["kimi"]});
        post(
            &gitea,
            &format!("/repos/{repo}/pulls/{n}/requested_reviewers"),
            asked,
        );
        gitea
            .review_pull(&repo, n, "kimi", "REQUEST_CHANGES", "no")
            .unwrap();
        gitea.push(&repo, "work").unwrap();
        gitea
            .review_pull(&repo, n, "kimi", "COMMENT", "hm")
            .unwrap();
        gitea
            .review_pull(&repo, n, "kimi", "APPROVED", "ok")
            .unwrap();
        gitea.set_status(&repo, "work", "ci", "success").unwrap();
        post(
            &gitea,
            &format!("/repos/{repo}/issues/{n}/labels"),
            json!({"labels": []}),
        );
        gitea.merge_pull(&repo, n).unwrap();
        let got = received.join().unwrap();
        let events: Vec<_> = got
            .iter()
            .map(|d| (d.header("X-Gitea-Event").to_owned(), d.said()))
            .collect();
        let events: Vec<_> = events
            .iter()
            .map(|(event, (kind, action))| (event.as_str(), kind.as_str(), action.as_str()))
            .collect();
        assert_eq!(
            events,
            [
                ("pull_request", "pull_request", "opened"),
                ("issue_comment", "pull_request_comment", "created"),
                (
                    "pull_request",
                    "pull_request_review_request",
                    "review_requested"
                ),
                (
                    "pull_request_rejected",
                    "pull_request_review_rejected",
                    "reviewed"
                ),
                ("pull_request", "pull_request_sync", "synchronized"),
                (
                    "pull_request_comment",
                    "pull_request_review_comment",
                    "reviewed"
                ),
                (
                    "pull_request_approved",
                    "pull_request_review_approved",
                    "reviewed"
                ),
                ("status", "status", ""),
                ("pull_request", "pull_request_label", "label_updated"),
                ("pull_request", "pull_request", "closed"),
            ]
        );
        assert_eq!(got[9].json()["pull_request"]["merged"], true);
        assert_eq!(got[6].json()["sender"]["login"], "kimi");
        // No secret: there, and empty.
        assert_eq!(got[0].header("X-Gitea-Signature"), "");
        assert_eq!(got[0].header("X-Hub-Signature-256"), "sha256=");
    }
}

#[test]
fn a_form_carries_the_payload_and_the_signature_covers_its_value() {
    let (gitea, repo) = hooked(GiteaVersion::V1_26);
    let (url, received) = receiver(1);
    let config = json!({"url": url, "content_type": "form", "secret": "s3cret"});
    let hook = json!({"type": "gitea", "config": config, "events": ["issues"], "active": true});
    assert_eq!(
        post(&gitea, &format!("/repos/{repo}/hooks"), hook).status,
        201
    );
    gitea.create_issue(&repo, "a & b = c", "").unwrap();
    let got = received.join().unwrap();
    assert_eq!(
        got[0].header("Content-Type"),
        "application/x-www-form-urlencoded"
    );
    assert!(gitea.wait_for_deliveries(1, PATIENCE));
    let sent = gitea.deliveries();
    assert_eq!(got[0].header("X-Gitea-Signature"), sha256(&sent[0].payload));
    let value = got[0].body.strip_prefix("payload=").unwrap();
    assert!(
        !value.contains('&') && value.contains("a+%26+b+%3D+c"),
        "{value}"
    );
    assert_eq!(sent[0].status, Some(200));
    assert_eq!(sent[0].id, got[0].header("X-Gitea-Delivery"));
}

#[test]
fn a_hook_is_made_shown_changed_and_removed_by_who_administers_the_repo() {
    for (gitea, repo) in both_hooked() {
        gitea.create_user("kimi", "kimi-token", &["all"]).unwrap();
        gitea.add_writer(&repo, "kimi").unwrap();
        let path = format!("/repos/{repo}/hooks");
        let config = json!({"url": "http://localhost:1/", "content_type": "json", "secret": "s"});
        let hook = |key: &str, value: Value| {
            let mut hook = json!({"type": "gitea", "config": config, "events": ["issues"]});
            hook[key] = value;
            hook
        };
        let made = post(&gitea, &path, hook("type", "gitea".into()));
        assert_eq!(made.status, 201);
        let made = made.json();
        assert_eq!(made["active"], false);
        assert_eq!(
            made["config"],
            json!({"url": "http://localhost:1/", "content_type": "json"})
        );
        let newer = gitea.version() >= GiteaVersion::V1_26;
        assert_eq!(made.get("name").is_some(), newer);
        let all = [
            "issues",
            "issue_assign",
            "issue_label",
            "issue_milestone",
            "issue_comment",
        ];
        assert_eq!(made["events"], json!(all));

        let events =
            |named: Value| post(&gitea, &path, hook("events", named)).json()["events"].clone();
        assert_eq!(events(json!(["issues_only"])), json!(["issues"]));
        assert_eq!(
            events(json!(["issue_comment", "status"])),
            json!(["issue_comment", "status"])
        );
        assert_eq!(events(json!(["pull_request"])).as_array().unwrap().len(), 8);
        assert_eq!(events(json!([])), json!(["push"]));
        for (key, value) in [
            ("type", json!("slack")),
            ("type", json!("")),
            ("config", json!({"content_type": "json"})),
            ("config", json!({"url": "http://localhost"})),
            (
                "config",
                json!({"url": "http://localhost", "content_type": "xml"}),
            ),
            (
                "config",
                json!({"url": "localhost", "content_type": "json"}),
            ),
        ] {
            assert_eq!(
                post(&gitea, &path, hook(key, value.clone())).status,
                422,
                "{value}"
            );
        }
        let refused = gitea.act("kimi", "GET", &path, &Value::Null).unwrap_err();
        assert!(refused.to_string().contains("403"), "{refused}");
        let admin = json!({"permission": "admin"});
        let collaborator = format!("/repos/{repo}/collaborators/kimi");
        assert_eq!(ask(&gitea, "PUT", &collaborator, Some(admin)).status, 204);
        assert_eq!(
            gitea.act("kimi", "GET", &path, &Value::Null).unwrap()[0],
            made
        );

        let one = format!("{path}/{}", made["id"]);
        let change =
            json!({"active": true, "events": ["status"], "config": {"content_type": "form"}});
        let changed = ask(&gitea, "PATCH", &one, Some(change)).json();
        assert_eq!(
            (&changed["active"], &changed["events"]),
            (&json!(true), &json!(["status"]))
        );
        assert_eq!(changed["config"]["content_type"], "form");
        assert_eq!(ask(&gitea, "DELETE", &one, None).status, 204);
        assert_eq!(get(&gitea, &one).status, 404);
    }
}

#[test]
fn this_machine_is_no_target_where_it_is_not_allowed() {
    let gitea = Sandbox::builder()
        .webhook_hosts("external")
        .start()
        .unwrap();
    let repo = gitea.create_repo("swarm").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    gitea
        .create_hook(&repo, &url, "s3cret", &["issues"])
        .unwrap();
    gitea.create_issue(&repo, "x", "").unwrap();
    assert!(gitea.wait_for_deliveries(1, PATIENCE));
    let sent = gitea.deliveries();
    let why = sent[0].error.as_deref().unwrap();
    assert!(why.contains("ALLOWED_HOST_LIST"), "{why}");
    assert_eq!(sent[0].status, None);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

#[test]
fn nothing_is_sent_a_second_time() {
    let (gitea, repo) = hooked(GiteaVersion::V1_26);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    gitea.create_hook(&repo, &url, "", &["issues"]).unwrap();
    gitea.create_issue(&repo, "answered by a 500", "").unwrap();
    let (mut socket, _) = listener.accept().unwrap();
    read(&mut socket);
    socket
        .write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    gitea
        .create_issue(&repo, "answered by nothing", "")
        .unwrap();
    let (mut socket, _) = listener.accept().unwrap();
    read(&mut socket);
    drop(socket);
    assert!(gitea.wait_for_deliveries(2, PATIENCE));
    drop(listener);
    gitea.create_issue(&repo, "nobody there", "").unwrap();
    assert!(gitea.wait_for_deliveries(3, PATIENCE));
    let sent = gitea.deliveries();
    let statuses: Vec<_> = sent.iter().map(|sent| sent.status).collect();
    assert_eq!(statuses, [Some(500), None, None]);
    assert!(sent[1].error.is_some() && sent[2].error.is_some());
}

#[test]
fn a_receiver_that_says_nothing_is_given_up_and_the_next_is_told() {
    let (gitea, repo) = hooked(GiteaVersion::V1_26);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    gitea.create_hook(&repo, &url, "", &["issues"]).unwrap();
    gitea.create_issue(&repo, "x", "").unwrap();
    let (mut socket, _) = silent.accept().unwrap();
    read(&mut socket);
    assert!(gitea.wait_for_deliveries(1, PATIENCE));
    let why = gitea.deliveries()[0].error.clone().unwrap();
    assert_eq!(why, "no answer within 5 s");
}

#[test]
fn webhooks_are_lost_repeated_and_overtaken_on_order() {
    let (gitea, repo) = hooked(GiteaVersion::V1_26);
    let (url, received) = receiver(5);
    gitea.create_hook(&repo, &url, "", &["issues"]).unwrap();
    gitea
        .delivery_fault(DeliveryFault::lose().event("issues").skip(1).times(1))
        .unwrap();
    gitea
        .delivery_fault(DeliveryFault::repeat(1).event("issue_comment").times(1))
        .unwrap();
    gitea
        .delivery_fault(DeliveryFault::overtake().event("issue_lab*").times(1))
        .unwrap();
    assert!(gitea.delivery_fault(DeliveryFault::repeat(1_001)).is_err());
    let n = gitea.create_issue(&repo, "x", "").unwrap();
    gitea.close_issue(&repo, n).unwrap();
    gitea.create_comment(&repo, n, "twice").unwrap();
    let labels = format!("/repos/{repo}/issues/{n}/labels");
    post(&gitea, &labels, json!({"labels": []}));
    gitea.reopen_issue(&repo, n).unwrap();

    let got = received.join().unwrap();
    let told: Vec<_> = got.iter().map(Got::said).collect();
    let told: Vec<_> = told
        .iter()
        .map(|(kind, action)| format!("{kind} {action}"))
        .collect();
    assert_eq!(
        told,
        [
            "issues opened",
            "issue_comment created",
            "issue_comment created",
            "issues reopened",
            "issue_label label_updated",
        ]
    );
    assert_eq!(got[1].body, got[2].body);
    assert_eq!(
        got[1].header("X-Gitea-Delivery"),
        got[2].header("X-Gitea-Delivery")
    );
    assert!(gitea.wait_for_deliveries(6, PATIENCE));
    let lost: Vec<_> = gitea
        .deliveries()
        .into_iter()
        .filter(|sent| sent.error.as_deref() == Some("lost on order"))
        .collect();
    assert_eq!(said(&lost), ["issues"]);
}

#[test]
fn what_nothing_overtakes_goes_out_when_released() {
    let (gitea, repo) = hooked(GiteaVersion::V1_26);
    let (url, received) = receiver(1);
    gitea.create_hook(&repo, &url, "", &["issues"]).unwrap();
    gitea.delivery_fault(DeliveryFault::overtake()).unwrap();
    gitea.create_issue(&repo, "x", "").unwrap();
    assert!(!gitea.wait_for_deliveries(1, Duration::ZERO));
    gitea.clear_faults();
    assert!(gitea.wait_for_deliveries(1, PATIENCE));
    assert_eq!(received.join().unwrap().len(), 1);
    assert_eq!(gitea.deliveries()[0].status, Some(200));
}
