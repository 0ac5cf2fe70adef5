use std::time::Duration;

use serde_json::json;
use timmy_dispatcher::ledger::effect;
use timmy_dispatcher::ledger::machine::{Closer, Effect, Event, Phase, Plan, SlotHold};
use timmy_dispatcher::ledger::{Answer, Ledger, LedgerError, Recorded, Submission};
use timmy_dispatcher::task::DispatchStatus;
use uuid::Uuid;

use crate::place::{Dialect, Place, agents, kimi, on_each, options, task, without_issue};

/// Carries out everything that is to be done, each at once and well.
async fn settle(ledger: &Ledger) -> Vec<Effect> {
    let mut done = Vec::new();
    loop {
        let errands = ledger.send(100).await.unwrap();
        if errands.is_empty() {
            return done;
        }
        for errand in errands {
            done.push(errand.effect);
            ledger
                .answered(&errand, Answer::Taken(Some(1)))
                .await
                .unwrap();
        }
    }
}

on_each!(a_life_from_the_submission_to_the_end);
async fn a_life_from_the_submission_to_the_end(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let id = ledger.submit(task("x")).await.unwrap().id;
    assert_eq!(
        ledger.get(id).await.unwrap().reason,
        "submitted; no running process handles kimi"
    );

    let claims = ledger.claim(kimi(), 10).await.unwrap();
    assert_eq!((claims.len(), claims[0].id, claims[0].fence), (1, id, 1));
    assert_eq!(claims[0].task, json!({ "title": "x" }));

    // The label only once the comment is confirmed.
    let first = ledger.send(10).await.unwrap();
    assert_eq!(
        first.iter().map(|e| e.effect).collect::<Vec<_>>(),
        [Effect::Comment]
    );
    assert_eq!(ledger.send(10).await.unwrap(), []);
    ledger
        .answered(&first[0], Answer::Taken(Some(17)))
        .await
        .unwrap();
    assert_eq!(settle(&ledger).await, [Effect::Label]);
    let record = ledger.get(id).await.unwrap();
    assert_eq!(record.state.status(), DispatchStatus::Assigned);
    assert_eq!(record.state.phase, Phase::HandedOver);
    assert_eq!(record.owner, Some(ledger.owner()));

    ledger
        .record(id, Event::SignOfLife { fence: 1 })
        .await
        .unwrap();
    let by = Closer::Agent;
    let came = ledger
        .record(id, Event::Finished { fence: 1, by })
        .await
        .unwrap();
    assert_eq!(came, Recorded::Applied(Phase::Withdrawing));
    assert_eq!(settle(&ledger).await, [Effect::Unlabel]);
    assert_eq!(ledger.get(id).await.unwrap().state.phase, Phase::Completed);
    assert_eq!(ledger.list(false, 10).await.unwrap(), []);

    let entries = ledger.events(0, 100).await.unwrap();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "submitted",
            "claimed",
            "settled",
            "settled",
            "sign of life",
            "finished",
            "settled"
        ]
    );
    // Each says which effect it is about.
    let settled = entries.iter().filter(|entry| entry.kind == "settled");
    let said = |name: &'static str| settled.clone().map(move |entry| &entry.body[name]);
    assert!(said("effect").eq(["comment", "label", "unlabel"]));
    assert!(said("how").eq(["done", "done", "done"]));
    assert!(said("remote_id").eq([17, 1, 1]));
    assert_eq!(entries[2].body["reason"], "comment done");

    let rest = ledger.events(entries[4].seq, 100).await.unwrap();
    assert_eq!(rest, entries[5..]);
}

on_each!(a_second_submission_is_the_first);
async fn a_second_submission_is_the_first(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let mut first = task("x");
    first.subject = Some("http://git/timmy/swarm#7".to_owned());
    let id = ledger.submit(first.clone()).await.unwrap().id;
    let again = ledger.submit(first.clone()).await.unwrap();
    assert_eq!((again.id, again.new), (id, false));

    let mut same_issue = task("y");
    same_issue.subject.clone_from(&first.subject);
    assert_eq!(ledger.submit(same_issue.clone()).await.unwrap().id, id);

    // Once it is finished, the issue may be handed out again, but not beside another.
    ledger.record(id, Event::Cancel).await.unwrap();
    let second = ledger.submit(same_issue).await.unwrap();
    assert!(second.new);
    assert_eq!(
        ledger.record(id, Event::Retry).await.unwrap_err(),
        LedgerError::Busy(second.id.to_string())
    );
}

on_each!(an_idempotency_key_belongs_to_one_task_for_good);
async fn an_idempotency_key_belongs_to_one_task_for_good(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let keyed = |title: &str| {
        let mut submission = task(title);
        submission.idempotency_key = Some("mine".to_owned());
        submission
    };
    let id = ledger.submit(keyed("x")).await.unwrap().id;
    ledger.record(id, Event::Cancel).await.unwrap();
    assert_eq!(ledger.submit(keyed("x")).await.unwrap().id, id);
    let key = "mine".to_owned();
    let refused = ledger.submit(keyed("y")).await.unwrap_err();
    assert_eq!(refused, LedgerError::OtherTask { key, id });

    assert_eq!(ledger.prune(Duration::from_secs(60), 10).await.unwrap(), 0);
    assert_eq!(ledger.prune(Duration::ZERO, 10).await.unwrap(), 1);
    assert!(matches!(ledger.get(id).await, Err(LedgerError::Unknown(_))));
    assert_eq!(ledger.events(0, 10).await.unwrap(), []);
    assert!(ledger.submit(keyed("y")).await.unwrap().new);
}

on_each!(no_more_than_the_slots_and_the_urgent_and_old_first);
async fn no_more_than_the_slots_and_the_urgent_and_old_first(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let mut ids = Vec::new();
    for priority in [0, 0, 5] {
        let mut submission = task(&priority.to_string());
        submission.priority = priority;
        ids.push(ledger.submit(submission).await.unwrap().id);
    }
    assert_eq!(ledger.claim(vec!["api".to_owned()], 10).await.unwrap(), []);
    let claims = ledger.claim(kimi(), 10).await.unwrap();
    assert_eq!(
        claims.iter().map(|c| c.id).collect::<Vec<_>>(),
        [ids[2], ids[0]]
    );
    assert_eq!(ledger.claim(kimi(), 10).await.unwrap(), []);
    let waiting = ledger.get(ids[1]).await.unwrap();
    assert_eq!(waiting.reason, "no free slot of kimi: 2 of 2 are taken");

    // Called off before anything was sent: what was queued to be sent is dropped with it.
    ledger.record(ids[2], Event::Cancel).await.unwrap();
    assert_eq!(ledger.claim(kimi(), 10).await.unwrap(), []); // draining
    settle(&ledger).await;
    ledger
        .record(ids[2], Event::Silent { fence: 1 })
        .await
        .unwrap();
    assert_eq!(
        ledger.get(ids[2]).await.unwrap().state.phase,
        Phase::Cancelled
    );
    assert_eq!(ledger.claim(kimi(), 10).await.unwrap()[0].id, ids[1]);
}

on_each!(many_processes_never_share_a_slot);
async fn many_processes_never_share_a_slot(dialect: Dialect) {
    let place = Place::new(dialect);
    let first = place.open().await;
    for number in 0..20 {
        first.submit(task(&number.to_string())).await.unwrap();
    }
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let ledger = place.open().await;
        tasks.spawn(async move { ledger.claim(kimi(), 10).await.unwrap().len() });
    }
    let claimed: usize = tasks.join_all().await.iter().sum();
    assert_eq!(claimed, 2);
    let live = first.list(false, 100).await.unwrap();
    let taken = live.iter().filter(|one| one.state.slot == SlotHold::Taken);
    assert_eq!(taken.count(), 2);
}

on_each!(what_is_stale_is_recorded_and_changes_nothing);
async fn what_is_stale_is_recorded_and_changes_nothing(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let id = ledger.submit(task("x")).await.unwrap().id;
    ledger.claim(kimi(), 1).await.unwrap();
    let before = ledger.get(id).await.unwrap();
    for fence in [0, 2, 99] {
        let came = ledger
            .record(id, Event::DeadlinePassed { fence })
            .await
            .unwrap();
        assert_eq!(came, Recorded::Stale);
    }
    assert_eq!(ledger.get(id).await.unwrap(), before);
    let entries = ledger.events(0, 100).await.unwrap();
    let stale: Vec<u64> = entries
        .iter()
        .filter(|entry| entry.kind == "stale")
        .map(|entry| entry.fence)
        .collect();
    assert_eq!(stale, [0, 2, 99]);
    let unknown = ledger.record(Uuid::now_v7(), Event::Cancel).await;
    assert!(matches!(unknown, Err(LedgerError::Unknown(_))));
}

on_each!(an_effect_in_doubt_is_looked_for_before_it_is_sent_again);
async fn an_effect_in_doubt_is_looked_for_before_it_is_sent_again(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    ledger.submit(task("x")).await.unwrap();
    ledger.claim(kimi(), 1).await.unwrap();
    let comment = ledger.send(1).await.unwrap().remove(0);
    ledger
        .answered(&comment, Answer::Lost(String::new()))
        .await
        .unwrap();
    assert_eq!(ledger.send(1).await.unwrap(), []);
    let doubtful = ledger.doubtful(10).await.unwrap();
    assert_eq!((doubtful.len(), doubtful[0].id), (1, comment.id));
    let came = ledger
        .answered(&doubtful[0], Answer::Found(0, None))
        .await
        .unwrap();
    assert_eq!(came, Some(effect::Phase::Ready));
    let again = ledger.send(1).await.unwrap().remove(0);
    assert_eq!((again.nonce, again.row.sends), (comment.nonce, 2));
    // The first request's answer comes after all: it says nothing about the second.
    let late = ledger
        .answered(&comment, Answer::Refused("423".to_owned()))
        .await
        .unwrap();
    assert_eq!(late, None);
    let came = ledger
        .answered(&again, Answer::Taken(Some(3)))
        .await
        .unwrap();
    assert_eq!(came, Some(effect::Phase::Settling));
    let last = ledger.doubtful(10).await.unwrap().remove(0);
    let came = ledger
        .answered(&last, Answer::Found(2, Some(3)))
        .await
        .unwrap();
    assert_eq!(came, Some(effect::Phase::Settling)); // the surplus is to be removed
    let last = ledger.doubtful(10).await.unwrap().remove(0);
    let came = ledger
        .answered(&last, Answer::Found(1, Some(3)))
        .await
        .unwrap();
    assert_eq!(came, Some(effect::Phase::Done));
}

on_each!(what_could_not_be_looked_for_stays_in_doubt);
async fn what_could_not_be_looked_for_stays_in_doubt(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let id = ledger.submit(task("x")).await.unwrap().id;
    ledger.claim(kimi(), 1).await.unwrap();
    let comment = ledger.send(1).await.unwrap().remove(0);
    ledger
        .answered(&comment, Answer::Lost("502".to_owned()))
        .await
        .unwrap();
    let doubtful = ledger.doubtful(10).await.unwrap();
    let later = Answer::NotTaken(Duration::from_secs(3600), "a\0b".to_owned());
    let came = ledger.answered(&doubtful[0], later).await;
    assert_eq!(came.unwrap(), Some(effect::Phase::InDoubt));
    let reason = ledger.get(id).await.unwrap().reason;
    let doubt = "whether the comment for kimi arrived is not known; it is looked for after ";
    assert!(
        reason.starts_with(doubt) && reason.ends_with(" UTC: a\u{fffd}b"),
        "{reason}"
    );
    let told = ledger.story(id).await.unwrap().entries;
    let told = told.iter().find(|entry| entry.kind == "in doubt").unwrap();
    assert_eq!(told.body, json!({ "effect": "comment", "reason": "502" }));
    assert_eq!(ledger.doubtful(10).await.unwrap(), []); // not before the hour is over
}

on_each!(what_was_taken_back_while_it_was_on_its_way_is_not_sent_again);
async fn what_was_taken_back_while_it_was_on_its_way_is_not_sent_again(dialect: Dialect) {
    let later = Answer::NotTaken(Duration::ZERO, String::new());
    for answers in [
        &[later][..],
        &[Answer::Lost(String::new()), Answer::Found(0, None)],
    ] {
        let place = Place::new(dialect);
        let ledger = place.open().await;
        let id = ledger.submit(task("x")).await.unwrap().id;
        ledger.claim(kimi(), 1).await.unwrap();
        let comment = ledger.send(1).await.unwrap().remove(0);
        ledger.record(id, Event::Cancel).await.unwrap();
        let mut came = None;
        for answer in answers {
            came = ledger.answered(&comment, answer.clone()).await.unwrap();
        }
        assert_eq!(came, Some(effect::Phase::Dropped));
        let effects = settle(&ledger).await;
        assert_eq!(effects, [Effect::Unlabel, Effect::Withdrawal]);
    }
}

on_each!(a_note_is_kept_beside_what_happened);
async fn a_note_is_kept_beside_what_happened(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let id = ledger.submit(task("x")).await.unwrap().id;
    let said = json!({ "ids": [4, 5] });
    ledger.note(id, 1, "surplus", said.clone()).await.unwrap();
    let entries = ledger.story(id).await.unwrap().entries;
    let last = entries.last().unwrap();
    assert_eq!(
        (last.kind.as_str(), last.fence, &last.body),
        ("surplus", 1, &said)
    );
}

on_each!(a_refused_comment_hands_the_task_to_nobody);
async fn a_refused_comment_hands_the_task_to_nobody(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let id = ledger.submit(task("x")).await.unwrap().id;
    ledger.claim(kimi(), 1).await.unwrap();
    let comment = ledger.send(1).await.unwrap().remove(0);
    let no = Answer::Refused("423 locked".to_owned());
    ledger.answered(&comment, no).await.unwrap();
    let record = ledger.get(id).await.unwrap();
    assert_eq!(record.state.phase, Phase::Withdrawing);
    assert_eq!(record.reason, "comment refused: 423 locked");
    let effects = settle(&ledger).await;
    assert!(!effects.contains(&Effect::Label), "{effects:?}");
    assert_eq!(ledger.get(id).await.unwrap().state.phase, Phase::Escalated);
}

on_each!(a_post_in_doubt_is_not_repeated);
async fn a_post_in_doubt_is_not_repeated(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let id = ledger.submit(without_issue("api")).await.unwrap().id;
    ledger.claim(vec!["api".to_owned()], 1).await.unwrap();
    let post = ledger.send(1).await.unwrap().remove(0);
    ledger
        .answered(&post, Answer::Lost(String::new()))
        .await
        .unwrap();
    assert_eq!(ledger.doubtful(10).await.unwrap(), []);
    let record = ledger.get(id).await.unwrap();
    assert_eq!(record.state.phase, Phase::Withdrawing); // until the agent is known to be silent
    assert_eq!(record.reason, "whether the post arrived is not known");
    ledger.record(id, Event::Silent { fence: 1 }).await.unwrap();
    assert_eq!(ledger.get(id).await.unwrap().state.phase, Phase::Escalated);
    assert_eq!(ledger.send(10).await.unwrap(), []);
}

on_each!(an_older_configuration_claims_nothing);
async fn an_older_configuration_claims_nothing(dialect: Dialect) {
    let place = Place::new(dialect);
    let old = place.open().await;
    old.submit(task("x")).await.unwrap();
    let new = Ledger::open(place.ledger(), agents(5), options())
        .await
        .unwrap();
    let refused = old.claim(kimi(), 1).await.unwrap_err();
    assert!(matches!(
        refused,
        LedgerError::OldConfiguration { stored: 2, ours: 1 }
    ));
    assert_eq!(new.claim(kimi(), 1).await.unwrap().len(), 1);
    let unknown = new
        .submit(Submission::new(json!({}), Plan::new(["eve"])))
        .await;
    assert_eq!(
        unknown.unwrap_err().to_string(),
        "unknown agent \"eve\"; known are kimi, api"
    );
}

on_each!(who_is_gone_is_taken_over_from_and_nothing_is_handed_out_again);
async fn who_is_gone_is_taken_over_from_and_nothing_is_handed_out_again(dialect: Dialect) {
    let place = Place::new(dialect);
    let first = place.open().await;
    let id = first.submit(task("x")).await.unwrap().id;
    first.claim(kimi(), 1).await.unwrap();
    let comment = first.send(1).await.unwrap().remove(0);
    let second = place.open().await;
    assert_eq!(second.take_over().await.unwrap(), 0); // it is alive
    drop(first);
    while second.take_over().await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let record = second.get(id).await.unwrap();
    assert_eq!(
        (record.owner, record.state.fence),
        (Some(second.owner()), 1)
    );
    assert_eq!(second.claim(kimi(), 1).await.unwrap(), []);
    let doubtful = second.doubtful(10).await.unwrap();
    assert_eq!(doubtful[0].id, comment.id);
}

#[tokio::test]
async fn a_foreign_or_newer_file_is_left_alone() {
    use sqlx::Connection;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

    let place = Place::new(Dialect::Sqlite);
    let file = SqliteConnectOptions::new()
        .filename(place.ledger())
        .create_if_missing(true);
    let mut foreign = SqliteConnection::connect_with(&file).await.unwrap();
    let table = sqlx::raw_sql("CREATE TABLE sprints (id INTEGER)");
    table.execute(&mut foreign).await.unwrap();
    foreign.close().await.unwrap();
    let before = std::fs::read(place.ledger()).unwrap();
    let refused = Ledger::open(place.ledger(), agents(1), options())
        .await
        .unwrap_err();
    assert!(matches!(refused, LedgerError::Foreign(_)), "{refused}");
    assert_eq!(std::fs::read(place.ledger()).unwrap(), before);

    let place = Place::new(Dialect::Sqlite);
    drop(place.open().await);
    let file = SqliteConnectOptions::new().filename(place.ledger());
    let mut newer = SqliteConnection::connect_with(&file).await.unwrap();
    let stamp = sqlx::raw_sql("PRAGMA user_version = 99");
    stamp.execute(&mut newer).await.unwrap();
    newer.close().await.unwrap();
    let refused = Ledger::open(place.ledger(), agents(1), options())
        .await
        .unwrap_err();
    assert_eq!(
        refused,
        LedgerError::Newer {
            found: 99,
            known: 4
        }
    );

    let place = Place::new(Dialect::Sqlite);
    std::fs::write(place.ledger(), "a text, and no database at all".repeat(100)).unwrap();
    let refused = Ledger::open(place.ledger(), agents(1), options())
        .await
        .unwrap_err();
    assert!(matches!(refused, LedgerError::Foreign(_)), "{refused}");
}

on_each!(any_text_is_kept);
async fn any_text_is_kept(dialect: Dialect) {
    let place = Place::new(dialect);
    let ledger = place.open().await;
    let text = "\0 \\u0000 \u{1} \u{fffd} ' \" \\ {} $1 ?1 \u{1f980}\r\n".repeat(3);
    let submission = task(&text);
    let id = ledger.submit(submission.clone()).await.unwrap().id;
    assert_eq!(ledger.submit(submission).await.unwrap().id, id);
    assert_eq!(ledger.get(id).await.unwrap().task, json!({ "title": text }));
    let hold = Event::Hold(text.clone());
    let evidence = json!({ text.clone(): [text.clone()] });
    ledger
        .record_with(id, hold, evidence.clone())
        .await
        .unwrap();
    let story = ledger.story(id).await.unwrap();
    // A reason is looked for by the database, which keeps every character but one.
    assert_eq!(story.record.reason, text.replace('\0', "\u{fffd}"));
    let last = story.entries.last().unwrap();
    assert_eq!(
        (&last.body["evidence"], &last.body["reason"]),
        (&evidence, &json!(text))
    );
    assert_eq!(ledger.relocate("o/old", "o/new").await.unwrap(), 0);

    let mut keyed = task("y");
    keyed.idempotency_key = Some("\0".to_owned());
    let refused = ledger.submit(keyed).await.unwrap_err();
    assert!(matches!(refused, LedgerError::Unusable(_)), "{refused}");
}
