//! Whole lives with gates.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use timmy_dispatcher::durable::{Gate, NamedGate, Verdict, Wishes};
use timmy_dispatcher::ledger::machine::Phase;
use timmy_dispatcher::task::AgentName;

use crate::world::{VERSIONS, World, ended, eventually, handed_over, until};

const CHECKED: Gate = Gate::PullRequest {
    without_checks: false,
};

fn gated(gates: &[Gate]) -> Wishes {
    Wishes {
        gates: Some(gates.to_vec()),
        route: vec![AgentName::KIMI_CODE, AgentName::CLAUDE_CODE],
        ..Wishes::default()
    }
}

/// A pull request of an agent's that closes the issue, with its checks, merged by somebody else.
fn merged(world: &World, login: &str, issue: u64, checks: &str) -> u64 {
    let branch = format!("{login}-{issue}");
    world.gitea.push(&world.repo, &branch).unwrap();
    let act = |who: &str, path: &str, body: &Value| {
        let path = format!("/repos/{}{path}", world.repo);
        world.gitea.act(who, "POST", &path, body).unwrap()
    };
    let body = format!("closes #{issue}");
    let pull = json!({ "title": branch, "head": branch, "base": "main", "body": body });
    let pull = act(login, "/pulls", &pull)["number"].as_u64().unwrap();
    world
        .gitea
        .set_status(&world.repo, &branch, "ci", checks)
        .unwrap();
    let merge = format!("/pulls/{pull}/merge");
    act("eve", &merge, &json!({ "Do": "merge" }));
    pull
}

#[tokio::test]
async fn merged_with_green_checks_it_is_done() {
    for version in VERSIONS {
        let world = World::new(version);
        let dispatcher = world.open().await;
        let task = world.task("Fix the typo");
        let issue = task.issue_number.unwrap();
        let wishes = gated(&[CHECKED]);
        let id = handed_over(&dispatcher, &task, &wishes).await;
        merged(&world, "kimi", issue, "success");
        let record = ended(&dispatcher, id).await;
        assert_eq!(record.state.phase, Phase::Completed);
        assert_eq!(record.state.fence, 1);
        assert!(world.is_closed(issue));
        // What it went by is kept.
        let story = dispatcher.story(id).await.unwrap();
        assert!(format!("{story:?}").contains("pull_request"), "{story:#?}");
        dispatcher.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn where_the_checks_failed_the_next_agent_gets_it() {
    for version in VERSIONS {
        let world = World::new(version);
        let dispatcher = world.open().await;
        let task = world.task("Fix the typo");
        let issue = task.issue_number.unwrap();
        let wishes = gated(&[CHECKED]);
        let id = handed_over(&dispatcher, &task, &wishes).await;
        let pull = merged(&world, "kimi", issue, "failure");
        eventually(&dispatcher, id, |record| {
            record.state.fence == 2 && record.state.phase == Phase::HandedOver
        })
        .await;
        assert!(!world.is_closed(issue));
        assert_eq!(world.labels(issue), ["claude-ready"]);
        let why = format!("the checks of pull request #{pull}: failure (ci)");
        let comments = world.comments(issue);
        assert!(
            comments.iter().any(|text| text.contains(&why)),
            "{comments:#?}"
        );

        merged(&world, "claude", issue, "success");
        assert_eq!(ended(&dispatcher, id).await.state.phase, Phase::Completed);
        dispatcher.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn what_a_person_closed_is_refused_and_stays_closed() {
    for version in VERSIONS {
        let world = World::new(version);
        let dispatcher = world.open().await;
        let task = world.task("Fix the typo");
        let issue = task.issue_number.unwrap();
        let wishes = gated(&[CHECKED]);
        let id = handed_over(&dispatcher, &task, &wishes).await;
        world.close("eve", issue);
        let record = ended(&dispatcher, id).await;
        assert_eq!(record.state.phase, Phase::Refused);
        assert_eq!(record.state.reason, "no pull request closes the issue");
        assert!(world.is_closed(issue));
        dispatcher.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn it_waits_for_an_approval_and_for_a_function() {
    for version in VERSIONS {
        let world = World::new(version);
        let ready = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ready);
        let gate: NamedGate = Arc::new(move |_| {
            let verdict = if asked.load(Ordering::SeqCst) {
                Verdict::Passed
            } else {
                Verdict::Pending("not on a Friday".to_owned())
            };
            Box::pin(async move { (verdict, Value::Null) })
        });
        let builder = world.builder(World::policy()).gate("weekday", gate);
        let dispatcher = builder.open().await.unwrap();
        let task = world.task("Fix the typo");
        let issue = task.issue_number.unwrap();
        let weekday = Gate::Named {
            name: "weekday".to_owned(),
        };
        let wishes = gated(&[CHECKED, Gate::Approved, weekday]);
        let id = handed_over(&dispatcher, &task, &wishes).await;
        let pull = merged(&world, "kimi", issue, "success");
        until(&dispatcher, id, Phase::Reviewing).await;
        let approve = |who: &str| {
            let reviewed = world
                .gitea
                .review_pull(&world.repo, pull, who, "APPROVED", "");
            reviewed.unwrap();
        };
        approve("eve");
        // Why it waits can be seen.
        let waits = eventually(&dispatcher, id, |record| {
            record.reason.contains("not on a Friday")
        })
        .await;
        assert!(waits.reason.starts_with("gates: "), "{}", waits.reason);
        ready.store(true, Ordering::SeqCst);
        assert_eq!(ended(&dispatcher, id).await.state.phase, Phase::Completed);
        dispatcher.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn the_list_must_be_ticked() {
    for version in VERSIONS {
        let world = World::new(version);
        let dispatcher = world.open().await;
        let mut task = world.task("Fix the typo");
        task.acceptance_criteria = vec!["it builds".into(), "it is `tested`".into()];
        let issue = task.issue_number.unwrap();
        let wishes = gated(&[Gate::Checklist]);
        let id = handed_over(&dispatcher, &task, &wishes).await;
        world.say("kimi", issue, "- [x] It builds\n- [ ] It is tested");
        world.close("kimi", issue);
        eventually(&dispatcher, id, |record| {
            record.state.fence == 2 && record.state.phase == Phase::HandedOver
        })
        .await;
        world.say("kimi", issue, "- [x] It is tested"); // too late, and somebody else's turn
        world.say("claude", issue, "- [x] It builds\n- [x] It is tested");
        world.close("claude", issue);
        assert_eq!(ended(&dispatcher, id).await.state.phase, Phase::Completed);
        dispatcher.close(Duration::from_secs(5)).await;
    }
}
