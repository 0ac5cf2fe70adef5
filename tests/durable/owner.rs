//! Taking back, opening again, and asking a person.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use timmy_dispatcher::dispatch::Task;
use timmy_dispatcher::durable::agents::{Receiver, signature};
use timmy_dispatcher::durable::effects::EffectSettings;
use timmy_dispatcher::durable::{Escalation, NamedCallback, Order, Wishes};
use timmy_dispatcher::ledger::machine::{Closer, Effect, Event, Phase, Plan};
use timmy_dispatcher::sandbox::Fault;

use crate::scene::{Scene, TOKEN, both};
use crate::world::{VERSIONS, World, ended, eventually};

/// Handed over, closed by its agent, and not what was wanted: on to whoever comes next.
async fn reviewed_badly(scene: &Scene, plan: Plan, order: &Order) -> uuid::Uuid {
    let plan = Plan {
        gated: true,
        ..plan
    };
    let id = scene.begin(order, plan).await;
    scene.settle().await;
    scene.gitea.close_issue(&scene.repo, scene.number).unwrap();
    let by = Closer::Agent;
    for event in [
        Event::Finished { fence: 1, by },
        Event::GatesFailed {
            fence: 1,
            reason: "no checks, `@all`".to_owned(),
        },
    ] {
        scene.ledger.record(id, event).await.unwrap();
    }
    id
}

#[tokio::test]
async fn the_next_agent_gets_an_open_issue() {
    for version in both() {
        for lost in [false, true] {
            let scene = Scene::new(version).await;
            let id = reviewed_badly(&scene, Plan::new(["kimi", "claude"]), &scene.order()).await;
            if lost {
                let lost = Fault::drop_connection().after_effect();
                scene.gitea.fault(lost.method("PATCH").times(2)).unwrap();
            }
            scene.settle().await;
            assert_eq!(scene.phase(id).await, Phase::Queued);
            let issue = scene.gitea.issue(&scene.repo, scene.number).unwrap();
            assert_eq!((&issue["state"], scene.labels().len()), (&json!("open"), 0));
            assert!(
                scene.bodies()[1].contains("**Reason:** `no checks,  @all`"),
                "{}",
                scene.bodies()[1]
            );
            scene
                .ledger
                .claim(vec!["claude".to_owned()], 1)
                .await
                .unwrap();
            scene.settle().await;
            assert_eq!(scene.labels(), ["claude-ready"]);
        }
    }
}

#[tokio::test]
async fn what_somebody_closed_again_stays_closed() {
    for version in both() {
        let scene = Scene::new(version).await;
        reviewed_badly(&scene, Plan::new(["kimi", "claude"]), &scene.order()).await;
        // Until the issue is open.
        let lost = Fault::drop_connection().after_effect();
        scene.gitea.fault(lost.method("PATCH").times(2)).unwrap();
        while !scene.send().await.contains(&Effect::Reopen) {}
        scene.gitea.close_issue(&scene.repo, scene.number).unwrap();
        scene.settle().await;
        let issue = scene.gitea.issue(&scene.repo, scene.number).unwrap();
        assert_eq!(issue["state"], "closed");
    }
}

#[tokio::test]
async fn a_person_is_asked_with_the_history_and_the_owner_is_told() {
    for version in both() {
        let receiver = Receiver {
            url: "http://here".to_owned(),
            secret: "shared".to_owned(),
        };
        let settings = EffectSettings {
            receiver: Some(receiver),
            ..EffectSettings::default()
        };
        let scene = Scene::with(version, false, settings).await;
        let order = Order {
            callback: Some(format!(
                "http://me:hunter22@{}/agent/owner",
                scene.gitea.address()
            )),
            ..scene.order()
        };
        let plan = Plan {
            callback: true,
            ..Plan::new(["kimi"])
        };
        let id = reviewed_badly(&scene, plan, &order).await;
        // Everything about it is lost once, and the owner is not there at first.
        let lost = Fault::drop_connection().after_effect().times(2);
        scene
            .gitea
            .fault(lost.clone().on("POST", "/comments").skip(1))
            .unwrap();
        scene
            .gitea
            .fault(lost.on("POST", "*/issues/*/labels"))
            .unwrap();
        scene
            .gitea
            .fault(Fault::status(503).path("/agent/owner").times(2))
            .unwrap();
        scene.settle().await;
        assert_eq!(scene.phase(id).await, Phase::Escalated);
        assert_eq!(scene.labels(), ["needs-human"]);
        let bodies = scene.bodies();
        assert_eq!(bodies.len(), 3);
        let (text, _) = bodies[2].split_once("\n\n<!-- ").unwrap();
        let attempt = "- Attempt 1, `kimi`, after 0 s: `no checks,  @all`";
        assert_eq!(
            text,
            format!(
                "## Dispatch Escalated\n\nNobody could finish this in 1 attempt(s).\n\n\
                 **Error:** `no checks,  @all`\n\n{attempt}\n\nManual intervention required.\n\n---\n\
                 *Timmy agent dispatcher.*"
            )
        );
        let requests = scene.gitea.requests();
        let told: Vec<_> = requests
            .iter()
            .filter(|one| one.path == "/agent/owner")
            .collect();
        assert_eq!(told.len(), 3);
        let key = format!("{id}:1:callback");
        for one in &told {
            assert_eq!(one.header("idempotency-key"), Some(key.as_str()));
            let signed = one.header(signature::HEADER).unwrap();
            assert!(signature::verify("shared", id, 1, &one.body, signed));
            assert!(!String::from_utf8_lossy(&one.body).contains(TOKEN));
        }
        let body = told[0].json().unwrap();
        assert_eq!(
            (
                &body["event"],
                &body["dispatch_id"],
                &body["status"],
                &body["reason"]
            ),
            (
                &json!("escalated"),
                &json!(id.to_string()),
                &json!("escalated"),
                &json!("no checks, `@all`")
            )
        );
        assert_eq!(body["attempts"][0]["agent"], "kimi");
    }
}

/// It fails at first, and takes longer than an effect may then: it is called again, and not twice at
/// the same time.
#[tokio::test]
async fn the_owner_is_told_by_a_function_of_the_program() {
    let world = World::new(VERSIONS[0]);
    let told: Arc<Mutex<Vec<Escalation>>> = Arc::default();
    let calls = Arc::clone(&told);
    let (open, gate) = tokio::sync::watch::channel(false);
    let function: NamedCallback = Arc::new(move |escalation| {
        let times = {
            let mut told = calls.lock().unwrap();
            told.push(escalation);
            told.len()
        };
        let mut gate = gate.clone();
        Box::pin(async move {
            if times == 1 {
                return Err(format!("no line to anybody with {TOKEN}"));
            }
            gate.wait_for(|open| *open).await.unwrap();
            Ok(())
        })
    });
    let mut policy = World::policy();
    policy.callback = Some("oncall".to_owned());
    policy.timing.request = Duration::from_millis(200);
    let dispatcher = world
        .builder(policy)
        .callback("oncall", function)
        .local_agent("timmy", |_| async { Err("I cannot".into()) })
        .open()
        .await
        .unwrap();
    let task = Task::new("Triage the backlog");
    let id = dispatcher.submit(&task, &Wishes::default()).await;
    let id = id.unwrap().id();
    assert_eq!(ended(&dispatcher, id).await.state.phase, Phase::Escalated);
    let waits = eventually(&dispatcher, id, |record| record.reason.contains("at work"));
    let reason = waits.await.reason;
    assert!(
        reason.starts_with("I cannot; whether the callback arrived is not known")
            && reason.ends_with("the callback oncall is at work"),
        "{reason}"
    );
    open.send_replace(true);
    eventually(&dispatcher, id, |record| record.reason.is_empty()).await;
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 2);
    for one in told {
        assert_eq!(
            (one.id, one.fence, one.reason.as_str()),
            (id, 1, "I cannot")
        );
        assert_eq!(one.order.title, "Triage the backlog");
        assert_eq!(one.attempts[0].agent, "timmy");
    }
    dispatcher.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_function_that_no_process_has_is_waited_for() {
    let world = World::new(VERSIONS[0]);
    let dispatcher = world
        .builder(World::policy())
        .local_agent("timmy", |_| async { Err("I cannot".into()) })
        .open()
        .await
        .unwrap();
    let wishes = Wishes {
        callback: Some("oncall".to_owned()),
        ..Wishes::default()
    };
    let task = Task::new("Triage the backlog");
    let id = dispatcher.submit(&task, &wishes).await.unwrap().id();
    ended(&dispatcher, id).await;
    eventually(&dispatcher, id, |record| {
        record
            .reason
            .ends_with("no running process has the callback oncall")
    })
    .await;
    for nobody in ["", "ftp://here/"] {
        let wishes = Wishes {
            callback: Some(nobody.to_owned()),
            ..Wishes::default()
        };
        assert!(dispatcher.submit(&task, &wishes).await.is_err(), "{nobody}");
    }
    dispatcher.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_person_who_took_the_label_off_is_not_asked_again() {
    for version in both() {
        let scene = Scene::new(version).await;
        let id = reviewed_badly(&scene, Plan::new(["kimi"]), &scene.order()).await;
        let lost = Fault::drop_connection().after_effect();
        scene
            .gitea
            .fault(lost.on("POST", "*/issues/*/labels").times(1))
            .unwrap();
        while !scene.send().await.contains(&Effect::EscalationLabel) {}
        scene.take_off("kimi", "needs-human");
        scene.settle().await;
        assert_eq!(
            (scene.labels().len(), scene.phase(id).await),
            (0, Phase::Escalated)
        );
    }
}

#[tokio::test]
async fn a_label_that_was_to_come_off_is_looked_for_on_the_issue() {
    for version in both() {
        for (fault, twice) in [
            (Fault::drop_connection().after_effect(), false),
            (Fault::drop_connection(), true),
            (Fault::status(502), true),
        ] {
            let scene = Scene::new(version).await;
            let id = scene.hand_to_kimi().await;
            scene.settle().await;
            scene.gitea.fault(fault.method("DELETE").times(2)).unwrap();
            scene.ledger.record(id, Event::Cancel).await.unwrap();
            scene.settle().await;
            assert_eq!(scene.labels(), [""; 0]);
            let removals = scene
                .gitea
                .requests()
                .iter()
                .filter(|one| one.method == "DELETE")
                .count();
            assert_eq!(removals > 2, twice, "{removals}");
        }
    }
}
