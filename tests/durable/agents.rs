//! Agents over HTTP and in this process.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use timmy_dispatcher::durable::Order;
use timmy_dispatcher::durable::agents::{
    LocalFailure, Receiver, StatusPolls, StatusReport, signature,
};
use timmy_dispatcher::durable::effects::{EffectSettings, Outcome};
use timmy_dispatcher::ledger::Answer;
use timmy_dispatcher::ledger::machine::{Closer, Event, Phase, Plan};
use timmy_dispatcher::sandbox::{Fault, GiteaVersion};
use uuid::Uuid;

use crate::scene::{Scene, TOKEN};

async fn scene() -> Scene {
    Scene::new(GiteaVersion::V1_26).await
}

async fn hand_to_api(scene: &Scene) -> Uuid {
    let plan = Plan {
        has_issue: false,
        max_retries: 1,
        ..Plan::new(["api"])
    };
    scene.begin(&scene.order(), plan).await
}

fn says(body: &Value) -> Fault {
    Fault::replace(body.to_string()).path("/agent/api").times(1)
}

#[tokio::test]
async fn an_agent_gets_the_task_with_a_key_and_takes_it() {
    let receiver = Receiver {
        url: "http://here:8080/".to_owned(),
        secret: "shared".to_owned(),
    };
    let settings = EffectSettings {
        receiver: Some(receiver),
        ..EffectSettings::default()
    };
    let scene = Scene::with(GiteaVersion::V1_26, false, settings).await;
    let id = hand_to_api(&scene).await;
    scene.settle().await;
    assert_eq!(scene.phase(id).await, Phase::HandedOver);
    let requests = scene.gitea.requests();
    assert_eq!(requests.len(), 1);
    let key = format!("{id}:1");
    assert_eq!(requests[0].header("idempotency-key"), Some(key.as_str()));
    assert_eq!(requests[0].header("authorization"), None); // the token is for Gitea alone
    let signed = requests[0].header(signature::HEADER).unwrap();
    assert!(signature::verify(
        "shared",
        id,
        1,
        &requests[0].body,
        signed
    ));
    assert_eq!(
        requests[0].json().unwrap(),
        json!({
            "title": "Design it",
            "description": "Design the router",
            "acceptance_criteria": ["Failover works"],
            "issue_number": scene.number,
            "agent": "api",
            "task_type": "architecture",
            "dispatch_id": id.to_string(),
            "fence": 1,
            "callback": format!("http://here:8080/callbacks/{id}"),
        })
    );
}

#[tokio::test]
async fn an_agent_may_be_done_at_once_or_fail_at_once() {
    let failed = |class: &str| json!({ "status": "failed", "class": class, "error": "no model" });
    for (body, phase, reason) in [
        (
            json!({ "status": "completed", "result": 42 }),
            Phase::Completed,
            "",
        ),
        (failed("transient"), Phase::RetryWait, "no model"),
        (failed("rate_limited"), Phase::RetryWait, "no model"),
        (failed("permanent"), Phase::Escalated, ""),
        (json!({ "status": "failed" }), Phase::Escalated, ""),
        (json!({ "status": "queued" }), Phase::HandedOver, ""),
        (json!(["completed"]), Phase::HandedOver, ""),
    ] {
        let scene = scene().await;
        let id = hand_to_api(&scene).await;
        scene.gitea.fault(says(&body)).unwrap();
        scene.settle().await;
        let record = scene.get(id).await;
        assert_eq!(
            (record.state.phase, record.reason.as_str()),
            (phase, reason),
            "{body}"
        );
        if phase == Phase::Completed {
            let kept = scene.entries(id, "finished").await.remove(0);
            assert_eq!(kept["evidence"], body);
        }
    }
    // Only a 200 ends it.
    let scene = scene().await;
    let id = hand_to_api(&scene).await;
    let body = json!({ "status": "completed" }).to_string();
    scene.gitea.fault(Fault::status(202).body(body)).unwrap();
    scene.settle().await;
    assert_eq!(scene.phase(id).await, Phase::HandedOver);
}

#[tokio::test]
async fn a_post_in_doubt_is_repeated_only_where_the_key_is_honoured() {
    for fault in [
        Fault::drop_connection().after_effect(),
        Fault::truncated(),
        Fault::status(502),
        Fault::status(503).retry_after("0"),
    ] {
        let fault = fault.path("/agent/api").times(1);
        let scene = scene().await;
        let id = hand_to_api(&scene).await;
        scene.gitea.fault(fault.clone()).unwrap();
        scene.settle().await;
        scene.ledger.due(10).await.unwrap(); // the agent has been silent for long enough
        assert_eq!(scene.phase(id).await, Phase::Escalated);
        assert_eq!(scene.gitea.requests().len(), 1);

        let settings = EffectSettings::default();
        let scene = Scene::with(GiteaVersion::V1_26, true, settings).await;
        let id = hand_to_api(&scene).await;
        scene.gitea.fault(fault).unwrap();
        scene.settle().await;
        assert_eq!(scene.phase(id).await, Phase::HandedOver);
        let requests = scene.gitea.requests();
        let keys = requests
            .iter()
            .map(|one| one.header("idempotency-key").unwrap());
        let keys: Vec<&str> = keys.collect();
        let key = format!("{id}:1");
        assert_eq!(keys, [&key, &key]);
    }
}

#[tokio::test]
async fn a_repeat_that_meets_the_first_one_is_taken() {
    let scene = Scene::with(GiteaVersion::V1_26, true, EffectSettings::default()).await;
    let id = hand_to_api(&scene).await;
    let lost = Fault::drop_connection().after_effect();
    scene.gitea.fault(lost.path("/agent/api").times(1)).unwrap();
    scene
        .gitea
        .fault(Fault::status(409).path("/agent/api"))
        .unwrap();
    scene.settle().await;
    assert_eq!(scene.phase(id).await, Phase::HandedOver);
}

#[tokio::test]
async fn an_agent_that_is_busy_gets_it_later_and_one_that_refuses_does_not() {
    let scene = scene().await;
    let id = hand_to_api(&scene).await;
    let busy = Fault::status(429).retry_after("3");
    scene.gitea.fault(busy.times(1)).unwrap();
    let errand = scene.next().await;
    let outcome = scene.effects.carry_out(&errand).await;
    let at = format!("http://{}", scene.gitea.address());
    let why = format!("{at} is left alone: {at}/agent/api answered 429");
    let later = Answer::NotTaken(Duration::from_secs(3), why.clone());
    assert_eq!(
        outcome,
        Outcome::Answer {
            answer: later,
            then: Vec::new()
        }
    );
    scene.effects.conclude(&errand, outcome).await.unwrap();
    let record = scene.get(id).await;
    assert_eq!(record.state.phase, Phase::HandingOver);
    let waits = record.reason.strip_prefix("the post for api waits until ");
    let waits = waits.and_then(|rest| rest.split_once(" UTC: ")).unwrap();
    assert_eq!((waits.0.len(), waits.1), ("12:03:05".len(), why.as_str()));

    for (fault, reason) in [
        (
            Fault::status(404).body("nope"),
            "answered 404: nope; there is nothing that takes tasks",
        ),
        (
            Fault::redirect(301, "http://evil.example/"),
            "answered 301: ; it is somewhere else",
        ),
        (
            Fault::status(401).body(format!("{TOKEN} hunter22")),
            "answered 401: *** ***; put user",
        ),
        (Fault::status(409), "answered 409"),
    ] {
        let scene = crate::agents::scene().await;
        let order = Order {
            endpoint: Some(format!(
                "http://me:hunter22@{}/agent/x",
                scene.gitea.address()
            )),
            ..scene.order()
        };
        let id = scene.begin(&order, Plan::new(["api"])).await;
        scene.gitea.fault(fault.path("/agent/x")).unwrap();
        scene.send().await;
        let record = scene.get(id).await;
        assert_eq!(
            scene.gitea.requests()[0].header("authorization"),
            Some("Basic bWU6aHVudGVyMjI=")
        );
        let refused = scene.entries(id, "settled").await[0]["reason"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(refused.contains(reason), "{refused}");
        assert!(
            !refused.contains("hunter22") && !refused.contains(TOKEN),
            "{refused}"
        );
        assert_eq!(record.state.phase, Phase::Escalated);
    }
}

#[tokio::test]
async fn an_agent_has_as_long_as_its_terms_say() {
    let scene = scene().await;
    let id = hand_to_api(&scene).await;
    scene.gitea.fault(Fault::hold().path("/agent/api")).unwrap();
    let mut errand = scene.next().await;
    assert_eq!(
        scene.effects.effect_timeout(&errand),
        Duration::from_secs(2)
    );
    errand.terms["timeout"] = json!(50);
    let began = Instant::now();
    let outcome = scene.effects.carry_out(&errand).await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let lost = matches!(
        &outcome,
        Outcome::Answer {
            answer: Answer::Lost(_),
            ..
        }
    );
    assert!(lost, "{outcome:?}");
    scene.effects.conclude(&errand, outcome).await.unwrap();
    scene.look().await;
    assert_eq!(scene.phase(id).await, Phase::Withdrawing);
}

async fn polled(
    polls: &mut StatusPolls<timmy_dispatcher::http::Native>,
    scene: &Scene,
) -> Vec<StatusReport> {
    let watched = scene.ledger.watched().await.unwrap();
    polls.look(&watched).await.unwrap()
}

#[tokio::test]
async fn an_agent_is_asked_at_the_place_that_it_named_also_by_the_next_process() {
    let scene = scene().await;
    let order = Order {
        endpoint: Some(format!(
            "http://me:hunter22@{}/agent/api",
            scene.gitea.address()
        )),
        ..scene.order()
    };
    let id = scene
        .begin(
            &order,
            Plan {
                has_issue: false,
                ..Plan::new(["api"])
            },
        )
        .await;
    scene
        .gitea
        .fault(says(&json!({ "status_url": "../jobs/7" })))
        .unwrap();
    scene.settle().await;
    let place = format!("{}/jobs/7", scene.gitea.url());
    let accepted = scene.entries(id, "accepted").await;
    assert_eq!(accepted, [json!({ "status_url": place })]);

    let mut polls = StatusPolls::new(scene.again(), Duration::ZERO);
    let answers = [
        Fault::status(404),
        Fault::replace("no JSON"),
        Fault::drop_connection().times(2),
        Fault::replace(json!({ "status": "in_progress" }).to_string()),
        Fault::replace(json!({ "status": "in_progress" }).to_string()),
        Fault::replace(json!({ "status": "completed", "result": "all of it" }).to_string()),
    ];
    let mut seen = Vec::new();
    for answer in answers {
        scene.gitea.clear_faults();
        scene.gitea.fault(answer.path("/jobs/7")).unwrap();
        let before = scene.count("GET", "/jobs/7");
        let mut reports = Vec::new();
        while scene.count("GET", "/jobs/7") == before {
            reports = polled(&mut polls, &scene).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for report in reports {
            seen.push(report.event.clone());
            let StatusReport {
                dispatch,
                event,
                evidence,
            } = report;
            scene
                .ledger
                .record_with(dispatch, event, evidence)
                .await
                .unwrap();
        }
    }
    let by = Closer::Agent;
    assert_eq!(
        seen,
        [
            Event::SignOfLife { fence: 1 },
            Event::Finished { fence: 1, by }
        ]
    );
    assert_eq!(scene.phase(id).await, Phase::Completed);
    let requests = scene.gitea.requests();
    let asked = requests.iter().find(|one| one.method == "GET").unwrap();
    assert_eq!(
        asked.header("authorization"),
        Some("Basic bWU6aHVudGVyMjI=")
    );
    // Nothing is asked about what is over.
    let count = requests.len();
    assert_eq!(polled(&mut polls, &scene).await, []);
    assert_eq!(scene.gitea.requests().len(), count);
}

#[tokio::test]
async fn a_place_that_wants_to_be_left_alone_is() {
    let scene = scene().await;
    hand_to_api(&scene).await;
    scene
        .gitea
        .fault(says(&json!({ "status_url": "/jobs/7" })))
        .unwrap();
    scene.settle().await;
    let mut polls = StatusPolls::new(scene.again(), Duration::ZERO);
    let slow = json!({ "status": "running" }).to_string();
    let slow = Fault::replace(slow).retry_after("3600").path("/jobs/7");
    scene.gitea.fault(slow).unwrap();
    assert_eq!(polled(&mut polls, &scene).await.len(), 1);
    assert_eq!(polled(&mut polls, &scene).await.len(), 0);
    assert_eq!(scene.count("GET", "/jobs/7"), 1);
}

#[tokio::test]
async fn an_agent_cannot_have_us_ask_elsewhere() {
    let other = scene().await;
    for url in [
        format!("{}/jobs/7", other.gitea.url()),
        "file:///etc/passwd".to_owned(),
    ] {
        let scene = scene().await;
        let id = hand_to_api(&scene).await;
        scene
            .gitea
            .fault(says(&json!({ "status_url": url })))
            .unwrap();
        scene.settle().await;
        assert_eq!(scene.phase(id).await, Phase::HandedOver);
        let said = scene.entries(id, "accepted").await.remove(0);
        assert!(
            said["status_url_refused"].is_string() && said.get("status_url").is_none(),
            "{said}"
        );
        let mut polls = StatusPolls::new(scene.again(), Duration::ZERO);
        assert_eq!(polled(&mut polls, &scene).await, []);
    }
    assert_eq!(other.gitea.requests(), []);
}

async fn hand_to_timmy(scene: &Scene) -> Uuid {
    scene
        .begin(
            &scene.order(),
            Plan {
                has_issue: false,
                ..Plan::new(["timmy"])
            },
        )
        .await
}

#[tokio::test]
async fn a_function_takes_a_task_and_its_end_is_reported() {
    let mut scene = scene().await;
    scene.local.register("timmy", |task| async move {
        Ok(json!({ "title": task.order.title, "fence": task.fence }))
    });
    assert_eq!(scene.local.names(), ["timmy"]);
    let id = hand_to_timmy(&scene).await;
    scene.send().await;
    let report = scene.reports.recv().await.unwrap();
    assert_eq!(scene.phase(id).await, Phase::Working); // before its end was known
    let by = Closer::Agent;
    assert_eq!(
        (report.dispatch, &report.event),
        (id, &Event::Finished { fence: 1, by })
    );
    scene
        .ledger
        .record_with(id, report.event, report.evidence)
        .await
        .unwrap();
    assert_eq!(scene.phase(id).await, Phase::Completed);
    let kept = scene.entries(id, "finished").await.remove(0);
    assert_eq!(
        kept["evidence"],
        json!({ "title": "Design it", "fence": 1 })
    );
    assert_eq!(scene.local.running(), 0);
}

#[tokio::test]
async fn a_function_may_fail_and_panic() {
    let failed = |transient, reason: &str| Event::AgentFailed {
        fence: 1,
        transient,
        reason: reason.to_owned(),
    };
    for (title, event) in [
        ("fail", failed(false, "no disk")),
        ("later", failed(true, "no network")),
        ("lost", Event::WorkerLost { fence: 1 }),
        ("panic", failed(false, "the handler panicked: boom 7")),
        (
            "early",
            failed(false, "the handler panicked: before it began"),
        ),
    ] {
        let mut scene = scene().await;
        scene.local.register("timmy", |task| {
            assert!(task.order.title != "early", "before it began");
            async move {
                match task.order.title.as_str() {
                    "fail" => Err("no disk".into()),
                    "later" => Err(LocalFailure {
                        reason: "no network".to_owned(),
                        transient: true,
                        lost: false,
                    }),
                    "lost" => Err(LocalFailure {
                        reason: "nobody knows".to_owned(),
                        transient: false,
                        lost: true,
                    }),
                    _ => panic!("boom {}", 7),
                }
            }
        });
        let order = Order {
            title: title.to_owned(),
            ..scene.order()
        };
        scene
            .begin(
                &order,
                Plan {
                    has_issue: false,
                    ..Plan::new(["timmy"])
                },
            )
            .await;
        scene.send().await;
        assert_eq!(scene.reports.recv().await.unwrap().event, event);
        assert_eq!(scene.local.running(), 0);
    }
}

#[tokio::test]
async fn a_function_whose_task_was_taken_back_is_told_and_then_dropped() {
    for listens in [true, false] {
        let mut scene = scene().await;
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        scene.local.register("timmy", move |mut task| {
            let told = told.clone();
            async move {
                if listens {
                    task.cancelled.cancelled().await;
                    told.send(task.cancelled.is_cancelled()).unwrap();
                    return Ok(Value::Null);
                }
                let _held = told; // given back where it is dropped
                std::future::pending().await
            }
        });
        let id = hand_to_timmy(&scene).await;
        scene.send().await;
        scene.local.keep(&scene.ledger.watched().await.unwrap());
        assert_eq!(scene.local.running(), 1);
        scene.ledger.record(id, Event::Cancel).await.unwrap();
        scene.local.keep(&scene.ledger.watched().await.unwrap());
        let report = scene.reports.recv().await.unwrap();
        assert_eq!(report.event, Event::Silent { fence: 1 });
        if listens {
            assert_eq!(heard.recv().await, Some(true));
        }
        scene.ledger.record(id, report.event).await.unwrap();
        assert_eq!(
            (scene.phase(id).await, scene.local.running()),
            (Phase::Cancelled, 0)
        );
    }
}

#[tokio::test]
async fn a_task_waits_for_a_process_that_has_the_function() {
    let mut scene = scene().await;
    let id = hand_to_timmy(&scene).await;
    scene.send().await;
    assert_eq!(scene.phase(id).await, Phase::HandingOver);
    scene.local.register("timmy", |_| async { Ok(Value::Null) });
    scene.settle().await;
    assert!(matches!(
        scene.reports.recv().await.unwrap().event,
        Event::Finished { .. }
    ));
}
