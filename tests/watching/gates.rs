//! Gates against the stand-in.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use timmy_dispatcher::durable::gates::{Gates, NamedGate, Review, Verdict};
use timmy_dispatcher::durable::{Gate, Order};
use timmy_dispatcher::http::Native;
use timmy_dispatcher::ledger::Watched;
use timmy_dispatcher::sandbox::Fault;

use crate::scene::{Scene, number, scenes};

const CHECKED: Gate = Gate::PullRequest {
    without_checks: false,
};
const UNCHECKED: Gate = Gate::PullRequest {
    without_checks: true,
};

fn gates(scene: &Scene, named: Vec<(String, NamedGate)>) -> Gates<Native> {
    Gates::new(scene.server(), named)
}

fn order(watched: &Watched, gates: Vec<Gate>) -> Order {
    Order {
        gates,
        ..Order::of(&watched.task).unwrap()
    }
}

async fn judged(scene: &Scene, watched: &Watched, gate: Gate) -> Verdict {
    let review = gates(scene, Vec::new())
        .judge(watched, &order(watched, vec![gate]))
        .await;
    review.verdict
}

fn failed(reason: impl Into<String>) -> Verdict {
    Verdict::Failed(reason.into())
}

fn pending(reason: impl Into<String>) -> Verdict {
    Verdict::Pending(reason.into())
}

fn merge(scene: &Scene, pull: u64) {
    let path = format!("/pulls/{pull}/merge");
    scene.act("alice", "POST", &path, &json!({ "Do": "merge" }));
}

#[tokio::test]
async fn a_pull_request_must_be_merged_and_its_checks_succeed() {
    for scene in scenes() {
        let watched = scene.handed_over();
        let judged = async |gate: &Gate| judged(&scene, &watched, gate.clone()).await;
        assert_eq!(
            judged(&CHECKED).await,
            failed("no pull request closes the issue")
        );
        // One that only speaks of it closes nothing.
        scene.pull("kimi", "other", &format!("see #{}", number(&watched)));
        assert_eq!(
            judged(&CHECKED).await,
            failed("no pull request closes the issue")
        );

        let pull = scene.pull("kimi", "work", &format!("closes #{}", number(&watched)));
        let name = format!("pull request #{pull}");
        assert_eq!(
            judged(&UNCHECKED).await,
            pending(format!("{name} is not merged"))
        );
        let check = |context: &str, state: &str| {
            scene
                .gitea
                .set_status(&scene.repo, "work", context, state)
                .unwrap();
        };
        merge(&scene, pull);
        let none = format!("{name} is merged, and has no checks");
        assert_eq!(judged(&CHECKED).await, pending(none));
        assert_eq!(judged(&UNCHECKED).await, Verdict::Passed);
        check("build", "pending");
        let at_work = format!("the checks of {name} are at work");
        assert_eq!(judged(&CHECKED).await, pending(at_work.clone()));
        assert_eq!(judged(&UNCHECKED).await, pending(at_work));
        check("build", "success");
        assert_eq!(judged(&CHECKED).await, Verdict::Passed);
        check("lint", "failure");
        let why = format!("the checks of {name}: failure (lint)");
        assert_eq!(judged(&CHECKED).await, failed(why));
        check("lint", "success");
        assert_eq!(judged(&CHECKED).await, Verdict::Passed);

        // It can be seen what it goes by.
        let order = order(&watched, vec![CHECKED]);
        let review = gates(&scene, Vec::new()).judge(&watched, &order).await;
        let by = &review.evidence[0]["by"];
        assert_eq!(by["pull_request"], pull);
        assert_eq!(by["checks"], "success");
        assert_eq!(by["commit"].as_str().unwrap().len(), 40);
    }
}

#[tokio::test]
async fn one_good_pull_request_is_enough() {
    for scene in scenes() {
        let watched = scene.handed_over();
        let closes = format!("fixes #{}", number(&watched));
        let given_up = scene.pull("kimi", "first", &closes);
        let path = format!("/pulls/{given_up}");
        scene.act("kimi", "PATCH", &path, &json!({ "state": "closed" }));
        let verdict = judged(&scene, &watched, CHECKED).await;
        assert_eq!(verdict, failed("no pull request closes the issue"));

        let good = scene.pull("kimi", "second", &closes);
        scene
            .gitea
            .set_status(&scene.repo, "second", "ci", "success")
            .unwrap();
        merge(&scene, good);
        scene.pull("claude", "third", &closes);
        assert_eq!(judged(&scene, &watched, CHECKED).await, Verdict::Passed);
    }
}

#[tokio::test]
async fn an_approval_is_official_fresh_and_the_last_word() {
    for scene in scenes() {
        let watched = scene.handed_over();
        let judged = async || judged(&scene, &watched, Gate::Approved).await;
        assert_eq!(judged().await, failed("no pull request closes the issue"));
        let pull = scene.pull("claude", "work", &format!("closes #{}", number(&watched)));
        let nobody = pending(format!("nobody has approved pull request #{pull}"));
        let review = |who: &str, event: &str| {
            let review = scene
                .gitea
                .review_pull(&scene.repo, pull, who, event, "because");
            review.unwrap();
        };
        assert_eq!(judged().await, nobody);
        scene
            .gitea
            .create_user("bob", "bob-token", &["write:issue"])
            .unwrap();
        review("bob", "APPROVED"); // who may not write
        review("kimi", "APPROVED"); // the agent itself
        review("alice", "COMMENT");
        assert_eq!(judged().await, nobody);
        review("alice", "APPROVED");
        assert_eq!(judged().await, Verdict::Passed);
        review("alice", "REQUEST_CHANGES");
        let changes = format!("alice asks for changes in pull request #{pull}");
        assert_eq!(judged().await, failed(changes));
        review("alice", "APPROVED");
        merge(&scene, pull);
        assert_eq!(judged().await, Verdict::Passed);

        let watched = scene.handed_over();
        let pull = scene.pull("claude", "more", &format!("closes #{}", number(&watched)));
        scene
            .gitea
            .review_pull(&scene.repo, pull, "alice", "APPROVED", "")
            .unwrap();
        scene.gitea.push(&scene.repo, "more").unwrap(); // stale from now on
        let verdict = self::judged(&scene, &watched, Gate::Approved).await;
        assert_eq!(
            verdict,
            pending(format!("nobody has approved pull request #{pull}"))
        );
    }
}

#[tokio::test]
async fn every_criterion_must_be_ticked_where_it_counts() {
    for scene in scenes() {
        let body = "Do it.\n\n- [x] It *builds*\n- [ ] It is tested\n";
        let issue = scene
            .gitea
            .create_issue(&scene.repo, "a task", body)
            .unwrap();
        scene.comment("kimi", issue, "- [x] It is tested"); // of an earlier attempt
        let watched = scene.hand_over(issue, 2);
        let mut order = order(&watched, vec![Gate::Checklist]);
        let judge = async |order: &Order| {
            let gates = gates(&scene, Vec::new());
            gates.judge(&watched, order).await.verdict
        };
        assert_eq!(judge(&order).await, Verdict::Passed); // nothing was asked for
        order.acceptance_criteria = vec!["it builds".to_owned()];
        assert_eq!(judge(&order).await, Verdict::Passed);
        order.acceptance_criteria.push("It is `tested`".to_owned());
        let open = failed("not ticked: It is `tested`");
        assert_eq!(judge(&order).await, open);
        scene.comment("alice", issue, "- [x] It is tested");
        assert_eq!(judge(&order).await, open);
        scene.comment("kimi", issue, "Report:\n\n* [X] It is tested\n");
        assert_eq!(judge(&order).await, Verdict::Passed);
    }
}

#[tokio::test]
async fn a_server_that_fails_decides_nothing() {
    for scene in scenes() {
        let watched = scene.handed_over();
        let pull = scene.pull("kimi", "work", &format!("closes #{}", number(&watched)));
        scene
            .gitea
            .set_status(&scene.repo, "work", "ci", "success")
            .unwrap();
        merge(&scene, pull);
        let mut order = order(&watched, vec![CHECKED, Gate::Checklist]);
        order.acceptance_criteria = vec!["it builds".to_owned()];
        let faults = [
            Fault::status(500),
            Fault::status(503),
            Fault::status(401),
            Fault::status(403),
            Fault::truncated(),
            Fault::reset_connection(),
            Fault::replace("{}"),
            Fault::replace("[{}]"),
        ];
        for fault in faults {
            let shown = format!("{fault:?}");
            scene.gitea.fault(fault.path("*/repos/*")).unwrap();
            let review = gates(&scene, Vec::new()).judge(&watched, &order).await;
            scene.gitea.clear_faults();
            let decided = !matches!(review.verdict, Verdict::Pending(_));
            assert!(!decided, "{shown}: {review:?}");
        }
    }
}

/// Answers once with that, and gives what was asked.
fn endpoint(status: &str, body: &str) -> (String, std::thread::JoinHandle<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://me:s3cret@{}/gate", listener.local_addr().unwrap());
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    let thread = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let (mut asked, mut buffer) = (Vec::new(), [0; 4096]);
        let body = loop {
            let read = socket.read(&mut buffer).unwrap();
            asked.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&asked).into_owned();
            if let Some((_, body)) = text.split_once("\r\n\r\n")
                && let Ok(body) = serde_json::from_str(body)
            {
                assert!(!text.contains("sandbox-token"), "{text}");
                break body;
            }
        };
        socket.write_all(answer.as_bytes()).unwrap();
        body
    });
    (url, thread)
}

#[tokio::test]
async fn an_endpoint_decides() {
    let scene = scenes().next().unwrap();
    let watched = scene.handed_over();
    let ask = async |status: &str, body: &str| {
        let (url, asked) = endpoint(status, body);
        let gate = Gate::Endpoint { url };
        let review = gates(&scene, Vec::new());
        let review = review.judge(&watched, &order(&watched, vec![gate])).await;
        assert!(!format!("{review:?}").contains("s3cret"), "{review:?}");
        (review.verdict, asked.join().unwrap())
    };
    let (verdict, asked) = ask("200 OK", r#"{"verdict":"pass"}"#).await;
    assert_eq!(verdict, Verdict::Passed);
    assert_eq!(asked["dispatch"], watched.id.to_string());
    assert_eq!(asked["fence"], 1);
    assert_eq!(asked["issue"], number(&watched));
    let (verdict, _) = ask("200 OK", r#"{"verdict":"fail","reason":"too\nslow"}"#).await;
    assert_eq!(verdict, failed("too slow"));
    let (verdict, _) = ask("200 OK", r#"{"verdict":"fail"}"#).await;
    assert_eq!(verdict, failed("the gate does not say why"));
    let (verdict, _) = ask("200 OK", r#"{"verdict":"pending","reason":"soon"}"#).await;
    assert_eq!(verdict, pending("soon"));
    for (status, body) in [
        ("200 OK", r#"{"verdict":"PASS"}"#),
        ("200 OK", "pass"),
        ("200 OK", ""),
        ("204 No Content", ""),
        ("302 Found", r#"{"verdict":"pass"}"#),
        ("500 Oh", r#"{"verdict":"pass"}"#),
        ("404 Not Found", r#"{"verdict":"fail"}"#),
    ] {
        let (verdict, _) = ask(status, body).await;
        assert!(
            matches!(verdict, Verdict::Pending(_)),
            "{status} {body}: {verdict:?}"
        );
    }
    let gate = Gate::Endpoint {
        url: "http://me:s3cret@127.0.0.1:1/gate".to_owned(),
    };
    let verdict = judged(&scene, &watched, gate).await;
    let Verdict::Pending(reason) = &verdict else {
        panic!("{verdict:?}");
    };
    assert!(reason.starts_with("the gate cannot be asked: ") && !reason.contains("s3cret"));
}

fn says(verdict: Verdict) -> NamedGate {
    Arc::new(move |question| {
        let by = json!({ "title": question.order.title, "agent": question.agent });
        let verdict = verdict.clone();
        Box::pin(async move { (verdict, by) })
    })
}

#[tokio::test]
async fn functions_decide_by_their_names() {
    let scene = scenes().next().unwrap();
    let watched = scene.handed_over();
    let named = |name: &str| Gate::Named {
        name: name.to_owned(),
    };
    let broken: NamedGate = Arc::new(|_| Box::pin(async { panic!("on purpose") }));
    let gates = gates(
        &scene,
        vec![
            ("yes".to_owned(), says(Verdict::Passed)),
            ("no".to_owned(), says(failed("bad"))),
            ("worse".to_owned(), says(failed("worse"))),
            ("later".to_owned(), says(pending("soon"))),
            ("broken".to_owned(), broken),
        ],
    );
    let judge = async |names: &[&str]| -> Review {
        let asked = names.iter().map(|name| named(name)).collect();
        gates.judge(&watched, &order(&watched, asked)).await
    };
    assert_eq!(judge(&[]).await.verdict, Verdict::Passed);
    assert_eq!(judge(&["yes", "yes"]).await.verdict, Verdict::Passed);
    assert_eq!(judge(&["yes", "later"]).await.verdict, pending("soon"));
    let review = judge(&["later", "no", "yes", "worse"]).await;
    assert_eq!(review.verdict, failed("bad; worse"));
    let verdicts: Vec<&str> = review
        .evidence
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts, ["pending", "failed", "passed", "failed"]);
    assert_eq!(review.evidence[2]["by"]["agent"], "kimi");
    let unknown = judge(&["missing"]).await.verdict;
    assert_eq!(unknown, pending("no running process has the gate missing"));
    let broken = judge(&["broken"]).await.verdict;
    assert_eq!(broken, pending("the gate broken broke off"));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_takes_its_time_is_begun_once() {
    let scene = scenes().next().unwrap();
    let watched = scene.handed_over();
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let slow: NamedGate = Arc::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            (Verdict::Passed, Value::Null)
        })
    });
    let gates = gates(&scene, vec![("slow".to_owned(), slow)]);
    let gate = Gate::Named {
        name: "slow".to_owned(),
    };
    let order = order(&watched, vec![gate]);
    for _ in 0..2 {
        let verdict = gates.judge(&watched, &order).await.verdict;
        assert_eq!(verdict, pending("the gate slow is at work"));
    }
    assert_eq!(gates.judge(&watched, &order).await.verdict, Verdict::Passed);
    assert_eq!(begun.load(Ordering::Relaxed), 1);
}
