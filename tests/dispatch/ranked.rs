//! Hand-overs whose type is found by ranking.

use timmy_dispatcher::rank::{Below, Inference, rank_task_types};
use timmy_dispatcher::task::{AgentName, DispatchStatus, TaskType};

use crate::Wire;

/// The rules find `routine_coding` in it, ranking is sure of `creative`.
const SURE: &str = "Write a friendly blog post for our users";
/// The rules find `code_review` in it, ranking is not so sure of something else.
const UNSURE: &str = "The review page crashes sometimes";

fn ranked(min_confidence: u32, below: Below) -> Inference {
    Inference::Ranked {
        model: None,
        min_confidence,
        below,
    }
}

fn wire(inference: Inference) -> Wire {
    let mut wire = Wire::both().next().unwrap();
    wire.swarm.inference = inference;
    wire
}

#[tokio::test]
async fn the_ranked_type_is_dispatched_and_told_with_its_words() {
    let wire = wire(ranked(0, Below::Ask));
    let mut task = wire.task();
    task.title = SURE.to_owned();
    let result = wire.swarm.dispatch(&task).await;
    assert!(result.is_success(), "{result:?}");
    assert_eq!(result.task_type, TaskType::Creative);
    let found = result.ranking.unwrap();
    let ranking = rank_task_types(SURE, "");
    assert_eq!(found.probability, ranking.first().probability);
    assert!(found.words.contains(&"blog".to_owned()), "{found:?}");
    assert_eq!((found.below, found.reason()), (None, None));

    task.agent = Some(AgentName::KIMI_CODE);
    let result = wire.swarm.dispatch(&task).await;
    let agent = (result.agent, result.task_type);
    assert_eq!(agent, (AgentName::KIMI_CODE, TaskType::Creative));
    let comments = wire.gitea.comments(&wire.repo, wire.number).unwrap();
    let body = comments.last().unwrap()["body"].as_str().unwrap();
    assert!(body.contains("**Task type:** `creative`"), "{body}");
}

#[tokio::test]
async fn a_type_that_is_given_always_wins_and_the_exact_rules_are_the_default() {
    let mut wire = wire(ranked(10_001, Below::Ask));
    let mut task = wire.task();
    task.title = UNSURE.to_owned();
    task.task_type = Some(TaskType::Refactoring);
    let result = wire.swarm.dispatch(&task).await;
    assert_eq!(result.task_type, TaskType::Refactoring);
    assert_eq!((result.is_success(), result.ranking), (true, None));
    wire.swarm.inference = Inference::default();
    task.task_type = None;
    let result = wire.swarm.dispatch(&task).await;
    assert_eq!(result.task_type, TaskType::CodeReview);
    assert_eq!((result.is_success(), result.ranking), (true, None));
}

#[tokio::test]
async fn below_the_confidence_it_is_of_the_exact_rules_type_or_of_one_that_is_named() {
    for (below, task_type) in [
        (Below::Exact, TaskType::CodeReview),
        (Below::Type(TaskType::Planning), TaskType::Planning),
    ] {
        let wire = wire(ranked(10_001, below));
        let mut task = wire.task();
        task.title = UNSURE.to_owned();
        let result = wire.swarm.dispatch(&task).await;
        assert_eq!(result.task_type, task_type);
        assert_eq!(result.ranking.unwrap().below, Some(below));
    }
}

#[tokio::test]
async fn below_the_confidence_somebody_is_asked_and_nothing_is_sent() {
    let wire = wire(ranked(10_001, Below::Ask));
    let mut task = wire.task();
    task.title = UNSURE.to_owned();
    wire.gitea.clear_requests();
    let result = wire.swarm.dispatch(&task).await;
    assert_eq!(result.status, DispatchStatus::Pending);
    assert_eq!((result.is_success(), &result.error), (false, &None));
    assert_eq!(result.issue_number, Some(wire.number));
    let found = result.ranking.unwrap();
    assert_eq!(result.task_type, found.likeliest);
    let reason = found.reason().unwrap();
    assert!(reason.ends_with(": give the task_type"), "{reason}");
    assert_eq!(wire.gitea.requests(), []);

    task.agent = Some(AgentName::from("nobody"));
    let unknown = wire.swarm.try_dispatch(&task).await.unwrap_err();
    assert!(unknown.to_string().contains("nobody"), "{unknown}");
    task.title = " ".to_owned();
    let refused = wire.swarm.dispatch(&task).await;
    assert_eq!(refused.status, DispatchStatus::Failed);
}
