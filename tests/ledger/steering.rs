//! What moves a dispatch beside its agent: time, people, and who else has a slot.

use std::time::Duration;

use serde_json::json;
use timmy_dispatcher::ledger::effect;
use timmy_dispatcher::ledger::machine::{Channel, Effect, Event, Phase, Plan, Timer};
use timmy_dispatcher::ledger::{Agent, Answer, Glance, Ledger, LedgerError, Options, Submission};

use crate::place::{Dialect, Place, agents, kimi, on_each, options, task, without_issue};

async fn open(place: &Place, agents: Vec<Agent>, options: Options) -> Ledger {
    Ledger::open(place.ledger(), agents, options).await.unwrap()
}

/// Every timer goes off at once.
fn impatient() -> Options {
    options()
        .grace(Duration::ZERO)
        .review(Duration::ZERO)
        .backoff(Duration::ZERO)
}

on_each!(deadlines_and_silences_come_by_themselves);
async fn deadlines_and_silences_come_by_themselves(dialect: Dialect) {
    let place = Place::new(dialect);
    let hasty = agents(1)
        .into_iter()
        .map(|agent| Agent {
            deadline: 0,
            ..agent
        })
        .collect();
    let ledger = open(&place, hasty, impatient()).await;
    let id = ledger.submit(task("x")).await.unwrap().id;
    assert_eq!(ledger.due(10).await.unwrap(), 0);
    ledger.claim(kimi(), 1).await.unwrap();
    let record = ledger.get(id).await.unwrap();
    assert_eq!(record.state.timer(), Some(Timer::Deadline));
    assert!(record.due_at.unwrap() >= record.created_at);

    assert_eq!(ledger.due(10).await.unwrap(), 1);
    let record = ledger.get(id).await.unwrap();
    assert_eq!(record.state.phase, Phase::Withdrawing);
    assert_eq!(record.state.timer(), Some(Timer::Grace));
    for errand in ledger.send(10).await.unwrap() {
        ledger.answered(&errand, Answer::Taken(None)).await.unwrap();
    }
    for errand in ledger.send(10).await.unwrap() {
        ledger.answered(&errand, Answer::Taken(None)).await.unwrap();
    }
    assert_eq!(ledger.due(10).await.unwrap(), 1);
    let record = ledger.get(id).await.unwrap();
    assert_eq!((record.state.phase, record.due_at), (Phase::TimedOut, None));
    assert_eq!(ledger.due(10).await.unwrap(), 0);
}

on_each!(a_deadline_outlasts_being_held_and_a_sign_of_life_begins_the_grace_anew);
async fn a_deadline_outlasts_being_held_and_a_sign_of_life_begins_the_grace_anew(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let id = ledger.submit(task("x")).await.unwrap().id;
    ledger.claim(kimi(), 1).await.unwrap();
    let deadline = ledger.get(id).await.unwrap().due_at;
    assert!(deadline.is_some());
    ledger
        .record(id, Event::Hold("moved".to_owned()))
        .await
        .unwrap();
    assert_eq!(ledger.get(id).await.unwrap().due_at, None);
    ledger.record(id, Event::Release).await.unwrap();
    assert_eq!(ledger.get(id).await.unwrap().due_at, deadline);

    ledger.record(id, Event::Cancel).await.unwrap();
    let first = ledger.get(id).await.unwrap().due_at.unwrap();
    let grace = 600_000;
    assert!(first >= ledger.get(id).await.unwrap().created_at + grace);
    loop {
        ledger
            .record(id, Event::SignOfLife { fence: 1 })
            .await
            .unwrap();
        let next = ledger.get(id).await.unwrap().due_at.unwrap();
        assert!(next >= first);
        if next > first {
            break;
        }
    }
}

on_each!(a_glance_says_what_there_is_to_do);
async fn a_glance_says_what_there_is_to_do(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = open(&place, agents(1), impatient()).await;
    assert_eq!(ledger.glance().await.unwrap(), Glance::default());
    let id = ledger.submit(task("x")).await.unwrap().id;
    assert!(ledger.glance().await.unwrap().queued);
    ledger.claim(kimi(), 1).await.unwrap();
    let glance = ledger.glance().await.unwrap();
    assert!(glance.ready && !glance.queued && !glance.due);
    assert!(glance.next_in.unwrap() > 80_000_000); // the deadline
    let comment = ledger.send(1).await.unwrap().remove(0);
    ledger
        .answered(&comment, Answer::Lost(String::new()))
        .await
        .unwrap();
    assert!(ledger.glance().await.unwrap().doubtful);
    ledger.record(id, Event::Cancel).await.unwrap();
    assert!(ledger.glance().await.unwrap().due); // the silence
    let other = place.open().await;
    assert!(!other.glance().await.unwrap().deserted);
    drop(ledger);
    while !other.glance().await.unwrap().deserted {
        tokio::task::yield_now().await;
    }
}

on_each!(a_retry_waits_and_is_queued_again);
async fn a_retry_waits_and_is_queued_again(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = open(&place, agents(1), impatient()).await;
    let id = ledger.submit(without_issue("api")).await.unwrap().id;
    ledger.claim(vec!["api".to_owned()], 1).await.unwrap();
    let post = ledger.send(1).await.unwrap().remove(0);
    assert_eq!((post.effect, post.agent.as_str()), (Effect::Post, "api"));
    ledger.answered(&post, Answer::Taken(None)).await.unwrap();
    let reason = "503".to_owned();
    let failed = Event::AgentFailed {
        fence: 1,
        transient: true,
        reason,
    };
    let evidence = json!({ "status": 503 });
    ledger
        .record_with(id, failed, evidence.clone())
        .await
        .unwrap();
    let record = ledger.get(id).await.unwrap();
    assert_eq!(
        (record.state.phase, record.reason.as_str()),
        (Phase::RetryWait, "503")
    );
    let story = ledger.story(id).await.unwrap();
    let last = story.entries.last().unwrap();
    assert_eq!(
        (last.kind.as_str(), &last.body["evidence"]),
        ("agent failed", &evidence)
    );
    assert_eq!(story.attempts[0].outcome.as_deref(), Some("later"));
    assert_eq!(story.effects.len(), 1);

    assert_eq!(ledger.due(10).await.unwrap(), 1);
    assert_eq!(ledger.get(id).await.unwrap().state.phase, Phase::Queued);
    assert_eq!(
        ledger.claim(vec!["api".to_owned()], 1).await.unwrap()[0].fence,
        2
    );
}

on_each!(who_is_busy_is_stood_in_for_where_that_is_wanted);
async fn who_is_busy_is_stood_in_for_where_that_is_wanted(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = open(&place, agents(1), options()).await;
    let both = || vec!["kimi".to_owned(), "api".to_owned()];
    let mut ids = Vec::new();
    for fallback in [vec![], vec![], vec!["api".to_owned()]] {
        let mut plan = Plan::new(["kimi", "api"]);
        plan.fallback = fallback;
        let submission = Submission::new(json!({}), plan);
        ids.push(ledger.submit(submission).await.unwrap().id);
    }
    assert_eq!(ledger.claim(kimi(), 10).await.unwrap()[0].id, ids[0]);
    let claims = ledger.claim(both(), 10).await.unwrap();
    assert_eq!(claims.len(), 1);
    assert_eq!((claims[0].id, claims[0].agent.as_str()), (ids[2], "api"));
    let state = ledger.get(ids[2]).await.unwrap().state;
    assert_eq!(state.plan.agents, ["api", "kimi"]); // whose turn comes next
    assert_eq!(
        ledger.get(ids[1]).await.unwrap().reason,
        "no free slot of kimi: 1 of 1 are taken"
    );
}

on_each!(a_pause_says_so);
async fn a_pause_says_so(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let id = ledger.submit(task("x")).await.unwrap().id;
    ledger.pause(Some("kimi".to_owned()), true).await.unwrap();
    assert_eq!(ledger.claim(kimi(), 1).await.unwrap(), []);
    assert_eq!(ledger.get(id).await.unwrap().reason, "kimi is paused");
    ledger.pause(None, true).await.unwrap();
    ledger.pause(Some("kimi".to_owned()), false).await.unwrap();
    assert_eq!(ledger.claim(kimi(), 1).await.unwrap(), []);
    assert_eq!(ledger.get(id).await.unwrap().reason, "everything is paused");
    ledger.pause(None, false).await.unwrap();
    assert_eq!(ledger.claim(kimi(), 1).await.unwrap().len(), 1);
    let unknown = ledger
        .pause(Some("eve".to_owned()), true)
        .await
        .unwrap_err();
    assert!(matches!(unknown, LedgerError::UnknownAgent { .. }));
}

on_each!(a_visitor_submits_and_cancels_and_looks_after_nothing);
async fn a_visitor_submits_and_cancels_and_looks_after_nothing(dialect: Dialect) {
    let place = Place::new(dialect);
    let worker = place.open().await;
    let visitor = Ledger::visit(place.ledger(), options()).await.unwrap();
    let before = worker.version().await.unwrap();
    let id = visitor.submit(task("x")).await.unwrap().id;
    assert_ne!(worker.version().await.unwrap(), before);
    assert_eq!(
        visitor.claim(kimi(), 1).await.unwrap_err(),
        LedgerError::LeaseLost
    );
    assert_eq!(visitor.agents().await.unwrap(), agents(2));
    worker.claim(kimi(), 1).await.unwrap();
    assert_eq!(worker.watched().await.unwrap().len(), 1);
    visitor.record(id, Event::Cancel).await.unwrap();
    assert_eq!(visitor.get(id).await.unwrap().owner, Some(worker.owner()));
    let watched = worker.watched().await.unwrap();
    assert_eq!(
        (watched[0].phase, watched[0].draining),
        (Phase::Withdrawing, true)
    );
}

on_each!(a_visitor_comes_before_any_worker);
async fn a_visitor_comes_before_any_worker(dialect: Dialect) {
    let place = Place::new(dialect);
    let visitor = Ledger::visit(place.ledger(), options()).await.unwrap();
    let early = visitor.submit(task("x")).await.unwrap();
    let worker = place.open().await;
    let claims = worker.claim(kimi(), 1).await.unwrap();
    assert_eq!(claims[0].id, early.id);
    // Whom nobody else knows it may know itself.
    let mut strange = task("z");
    strange.plan = Plan::new(["eve"]);
    let id = visitor.submit(strange).await.unwrap().id;
    let record = visitor.get(id).await.unwrap();
    assert_eq!(record.reason, "there is no agent eve any more");
}

on_each!(a_repo_with_another_name);
async fn a_repo_with_another_name(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let mut submission = Submission::new(json!({ "repo": "o/old" }), Plan::new(["kimi"]));
    submission.subject = Some("http://git/o/old#7".to_owned());
    let id = ledger.submit(submission).await.unwrap().id;
    ledger
        .record(id, Event::Hold("301".to_owned()))
        .await
        .unwrap();
    assert_eq!(ledger.relocate("o/other", "o/new").await.unwrap(), 0);
    assert_eq!(ledger.relocate("o/old", "o/new").await.unwrap(), 1);
    let record = ledger.get(id).await.unwrap();
    assert_eq!(record.subject.as_deref(), Some("http://git/o/new#7"));
    assert_eq!(record.task["repo"], "o/new");
    assert_eq!(record.state.phase, Phase::Queued);
}

on_each!(an_effect_can_be_hastened_and_given_up);
async fn an_effect_can_be_hastened_and_given_up(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let id = ledger.submit(task("x")).await.unwrap().id;
    ledger.claim(kimi(), 1).await.unwrap();
    let comment = ledger.send(1).await.unwrap().remove(0);
    assert!(!ledger.abandon(comment.id).await.unwrap()); // on its way
    let later = Answer::NotTaken(Duration::from_secs(3600), "busy".to_owned());
    ledger.answered(&comment, later).await.unwrap();
    assert_eq!(ledger.send(1).await.unwrap(), []);
    let reason = ledger.get(id).await.unwrap().reason;
    assert!(
        reason.starts_with("the comment for kimi waits until ") && reason.ends_with(" UTC: busy"),
        "{reason}"
    );
    assert!(ledger.hasten(comment.id).await.unwrap());
    assert_eq!(ledger.get(id).await.unwrap().reason, "");
    let again = ledger.send(1).await.unwrap().remove(0);
    assert_eq!(again.id, comment.id);
    ledger
        .answered(&again, Answer::Lost(String::new()))
        .await
        .unwrap();
    assert_eq!(ledger.outbox(10).await.unwrap().len(), 2);
    assert!(ledger.abandon(comment.id).await.unwrap());
    let story = ledger.story(id).await.unwrap();
    assert_eq!(story.effects[0].row.phase, effect::Phase::Dropped);
    assert_eq!(ledger.outbox(10).await.unwrap().len(), 1);
}

on_each!(what_ran_in_a_lost_process_is_lost_with_it);
async fn what_ran_in_a_lost_process_is_lost_with_it(dialect: Dialect) {
    for (idempotent, phase) in [(false, Phase::WorkerLost), (true, Phase::RetryWait)] {
        for started in [false, true] {
            let place = Place::new(dialect);
            let local = Agent {
                idempotent,
                ..Agent::new("timmy", Channel::Local)
            };
            let first = open(&place, vec![local.clone()], options()).await;
            let id = first.submit(without_issue("timmy")).await.unwrap().id;
            first.claim(vec!["timmy".to_owned()], 1).await.unwrap();
            let run = first.send(1).await.unwrap().remove(0);
            assert_eq!(run.effect, Effect::Run);
            if started {
                first.answered(&run, Answer::Taken(None)).await.unwrap();
                first
                    .record(id, Event::SignOfLife { fence: 1 })
                    .await
                    .unwrap();
            }
            drop(first);
            let second = open(&place, vec![local], options()).await;
            while second.take_over().await.unwrap() == 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(
                second.get(id).await.unwrap().state.phase,
                phase,
                "{started}"
            );
        }
    }
}

on_each!(what_is_held_from_the_beginning_gets_another_plan);
async fn what_is_held_from_the_beginning_gets_another_plan(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let mut submission = task("x");
    submission.hold = Some("which kind of work is it?".to_owned());
    submission.evidence = json!({ "probability": 0.3 });
    let id = ledger.submit(submission).await.unwrap().id;
    let record = ledger.get(id).await.unwrap();
    assert_eq!(record.state.phase, Phase::Held);
    assert_eq!(record.reason, "which kind of work is it?");
    let entries = ledger.events(0, 10).await.unwrap();
    assert_eq!(entries[0].body["evidence"]["probability"], 0.3);
    assert_eq!(ledger.claim(kimi(), 1).await.unwrap(), []);

    let replan = |plan: &str| {
        let (task, plan) = (json!({ "title": "y" }), Plan::new([plan]));
        let ledger = ledger.clone();
        async move { ledger.replan(id, task, plan, json!("eve says so")).await }
    };
    assert!(matches!(
        replan("eve").await,
        Err(LedgerError::UnknownAgent { .. })
    ));
    assert!(replan("kimi").await.unwrap());
    let record = ledger.get(id).await.unwrap();
    assert_eq!(
        (record.state.phase, &record.task["title"]),
        (Phase::Queued, &json!("y"))
    );
    assert_eq!(ledger.claim(kimi(), 1).await.unwrap().len(), 1);
    assert!(!replan("kimi").await.unwrap()); // handed out
}

on_each!(what_comes_from_a_copy_is_held_and_its_fences_jump);
async fn what_comes_from_a_copy_is_held_and_its_fences_jump(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let live = ledger.submit(task("x")).await.unwrap().id;
    ledger.claim(kimi(), 1).await.unwrap();
    let ended = ledger.submit(task("y")).await.unwrap().id;
    ledger.record(ended, Event::Cancel).await.unwrap();
    assert_eq!(ledger.restored().await.unwrap(), [live]);
    let record = ledger.get(live).await.unwrap();
    assert_eq!(record.state.phase, Phase::Held);
    assert_eq!(record.reason, "the ledger was restored from a copy");
    assert_eq!(ledger.send(10).await.unwrap(), []);
    // The comment may have been sent: it is looked for first.
    ledger.record(live, Event::Release).await.unwrap();
    assert_eq!(ledger.send(10).await.unwrap(), []);
    let doubtful = ledger.doubtful(10).await.unwrap();
    assert_eq!(doubtful[0].effect, Effect::Comment);
    ledger.record(live, Event::IssueGone).await.unwrap();
    ledger.record(ended, Event::Retry).await.unwrap();
    assert_eq!(ledger.get(ended).await.unwrap().state.fence, 1001);
}
