use std::time::Duration;

use serde_json::{Value, json};
use timmy_dispatcher::durable::Order;
use timmy_dispatcher::durable::effects::{EffectSettings, Outcome};
use timmy_dispatcher::ledger::Answer;
use timmy_dispatcher::ledger::machine::{Effect, Event, Phase, Plan};
use timmy_dispatcher::sandbox::Fault;

use crate::scene::{ME, Scene, TOKEN, both};

fn answer(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Answer { answer, .. } => answer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_task_is_handed_over_by_a_comment_and_then_a_label() {
    for version in both() {
        let scene = Scene::new(version).await;
        let id = scene.hand_to_kimi().await;
        assert_eq!(scene.send().await, [Effect::Comment]);
        assert_eq!(scene.labels(), [""; 0]);
        assert_eq!(scene.send().await, [Effect::Label]);
        assert_eq!(scene.phase(id).await, Phase::HandedOver);
        assert_eq!(scene.labels(), ["kimi-ready"]);
        let body = scene.bodies().remove(0);
        let (text, mark) = body.split_once("\n\n<!-- ").unwrap();
        assert_eq!(
            text,
            "## Assigned to Kimi Code\n\n**Task type:** `architecture`\n\n\
             **Description:**\nDesign the router\n\n**Acceptance criteria:**\n- Failover works\n\n\
             ---\n*Dispatched by Timmy agent dispatcher.*"
        );
        assert!(
            mark.starts_with(&format!("timmy-dispatch:{id}:1:comment:")),
            "{mark}"
        );
        assert!(mark.ends_with(" -->"), "{mark}");
        // Nothing was asked that did not have to be.
        assert_eq!(scene.gitea.requests().len(), 5); // comment; list, create, list, add
    }
}

#[tokio::test]
async fn a_comment_whose_answer_was_lost_is_found_and_not_repeated() {
    for version in both() {
        for fault in [
            Fault::drop_connection().after_effect(),
            Fault::truncated(),
            Fault::status(502).after_effect(),
            Fault::status(500).after_effect(),
            Fault::replace("half an ans").after_effect(),
            Fault::replace("{}").after_effect(),
        ] {
            let scene = Scene::new(version).await;
            let id = scene.hand_to_kimi().await;
            let shown = format!("{fault:?}");
            scene
                .gitea
                .fault(fault.on("POST", "/comments").times(1))
                .unwrap();
            scene.settle().await;
            assert_eq!(scene.count("POST", "/comments"), 1, "{shown}");
            assert_eq!(scene.comments().len(), 1);
            assert_eq!(
                (scene.phase(id).await, scene.added()),
                (Phase::HandedOver, 1)
            );
            let handover = scene.ledger.watched().await.unwrap().remove(0).handover;
            assert_eq!(handover, scene.comments()[0]["id"].as_i64());
            // The story tells it.
            assert_eq!(scene.entries(id, "in doubt").await[0]["effect"], "comment");
            let settled = &scene.entries(id, "settled").await[0];
            assert_eq!(
                (&settled["effect"], &settled["how"]),
                (&"comment".into(), &"found".into())
            );
            assert_eq!(settled["remote_id"].as_i64(), handover);
        }
    }
}

#[tokio::test]
async fn a_comment_that_did_not_arrive_is_sent_again() {
    for version in both() {
        for fault in [
            Fault::drop_connection(),
            Fault::reset_connection(),
            Fault::status(500),
            Fault::status(503),
            Fault::zeroed_issue(),
        ] {
            let scene = Scene::new(version).await;
            let id = scene.hand_to_kimi().await;
            scene
                .gitea
                .fault(fault.on("POST", "/comments").times(1))
                .unwrap();
            scene.settle().await;
            assert_eq!((scene.comments().len(), scene.added()), (1, 1));
            assert_eq!(scene.phase(id).await, Phase::HandedOver);
        }
    }
}

#[tokio::test]
async fn a_comment_that_the_server_kept_later_than_the_quarantine_is_removed() {
    for version in both() {
        let scene = Scene::new(version).await;
        let id = scene.hand_to_kimi().await;
        let late = Fault::drop_connection().commit_at_release();
        scene
            .gitea
            .fault(late.on("POST", "/comments").times(1))
            .unwrap();
        scene.send().await;
        scene.look().await; // not there
        scene.send().await; // again, and it is
        assert_eq!(scene.comments().len(), 1);
        scene.gitea.release();
        assert!(scene.gitea.wait_for_late_effects(Duration::from_secs(10)));
        let ids: Vec<i64> = scene
            .comments()
            .iter()
            .map(|one| one["id"].as_i64().unwrap())
            .collect();
        assert_eq!(ids.len(), 2);
        assert_eq!(scene.send().await, []); // no label before it is settled
        scene.settle().await;
        assert_eq!(scene.comments().len(), 1);
        assert_eq!(scene.comments()[0]["id"], ids[0]);
        let surplus = json!({ "effect": "comment", "stays": ids[0], "removed": [ids[1]] });
        assert_eq!(scene.entries(id, "surplus").await, [surplus]);
        assert_eq!(
            (scene.phase(id).await, scene.added()),
            (Phase::HandedOver, 1)
        );
    }
}

#[tokio::test]
async fn a_surplus_comment_that_cannot_be_removed_is_tried_again() {
    let scene = Scene::new(both().last().unwrap()).await;
    scene.hand_to_kimi().await;
    let errand = scene.next().await;
    // As two processes would, one of them believed dead.
    scene.effects.carry_out(&errand).await;
    scene.conclude(&errand).await;
    let late = scene.ledger.outbox(10).await.unwrap();
    assert_eq!((late[0].effect, scene.comments().len()), (Effect::Label, 2));
    let deleting = Fault::status(502).method("DELETE").times(2);
    scene.gitea.fault(deleting).unwrap();
    let found = loop {
        match answer(scene.effects.look_for(&errand).await) {
            Answer::NotTaken(wait, _) => tokio::time::sleep(wait).await,
            found => break found,
        }
    };
    let lowest = scene.comments()[0]["id"].as_i64();
    assert_eq!(found, Answer::Found(2, lowest));
    assert_eq!(scene.comments().len(), 1);
}

#[tokio::test]
async fn a_mark_counts_only_at_the_end_of_a_comment_of_ours() {
    for version in both() {
        let scene = Scene::new(version).await;
        // The mark of an earlier attempt stands in the description of a later task.
        scene.hand_to_kimi().await;
        let earlier = scene.next().await;
        scene.conclude(&earlier).await;
        scene.settle().await;
        let first = scene.bodies().remove(0);
        let mark = first.lines().last().unwrap().to_owned();
        let hostile = Order {
            description: format!("Do it\n{first}\n\n{mark}\n<!-- timmy-dispatch:"),
            acceptance_criteria: vec![mark.clone()],
            ..scene.order()
        };
        scene.begin(&hostile, Plan::new(["claude"])).await;
        let lost = Fault::drop_connection().after_effect();
        scene
            .gitea
            .fault(lost.on("POST", "/comments").times(1))
            .unwrap();
        let errand = scene.next().await;
        scene.conclude(&errand).await;
        // Somebody else copies all of it at once.
        let ours = scene.bodies().remove(1);
        let path = format!("/repos/{}/issues/{}/comments", scene.repo, scene.number);
        let copied = scene
            .gitea
            .act("kimi", "POST", &path, &json!({ "body": ours }));
        let theirs = copied.unwrap()["id"].clone();
        let found = answer(scene.effects.look_for(&errand).await);
        assert_eq!(found, Answer::Found(1, scene.comments()[1]["id"].as_i64()));
        scene.settle().await;
        let ids: Vec<Value> = scene
            .comments()
            .iter()
            .map(|one| one["id"].clone())
            .collect();
        assert_eq!(ids.len(), 3);
        assert!(ids.contains(&theirs)); // and nothing of theirs is removed
        // Our own comment that quotes the mark is not the one that bears it.
        let found = answer(scene.effects.look_for(&earlier).await);
        assert_eq!(found, Answer::Found(1, ids[0].as_i64()));
    }
}

#[tokio::test]
async fn without_the_right_to_ask_who_we_are_nothing_of_ours_is_known_until_we_write() {
    let scene = Scene::new(both().last().unwrap()).await;
    scene
        .gitea
        .create_user("narrow", "narrow-token", &["write:issue"])
        .unwrap();
    scene.gitea.add_writer(&scene.repo, "narrow").unwrap();
    let narrow = scene.as_who_has("narrow-token");
    scene.hand_to_kimi().await;
    let errand = scene.next().await;
    let Outcome::Held(held) = narrow.look_for(&errand).await else {
        panic!("looked for without knowing whose it is");
    };
    assert!(held.reason.contains("read:user"), "{}", held.reason);
    let Answer::Taken(id) = answer(narrow.carry_out(&errand).await) else {
        panic!("not taken");
    };
    assert_eq!(answer(narrow.look_for(&errand).await), Answer::Found(1, id));
}

#[tokio::test]
async fn a_label_that_the_agent_took_off_at_once_was_put_on() {
    for version in both() {
        for fault in [Fault::drop_connection().after_effect(), Fault::truncated()] {
            let scene = Scene::new(version).await;
            let id = scene.hand_to_kimi().await;
            scene.send().await;
            let labels = format!("*/issues/{}/labels", scene.number);
            scene
                .gitea
                .fault(fault.on("POST", &labels).times(1))
                .unwrap();
            scene.send().await;
            scene.take_off("kimi", "kimi-ready");
            scene.settle().await;
            assert_eq!((scene.added(), scene.labels().len()), (1, 0));
            assert_eq!(scene.count("POST", &labels[1..]), 1); // not even below us
            assert_eq!(scene.phase(id).await, Phase::HandedOver);
        }
    }
}

#[tokio::test]
async fn a_label_of_an_earlier_attempt_or_of_somebody_else_is_not_ours() {
    for version in both() {
        let scene = Scene::new(version).await;
        let id = scene.hand_to_kimi().await;
        scene.settle().await;
        scene.ledger.record(id, Event::Cancel).await.unwrap();
        scene.settle().await;
        scene.ledger.due(10).await.unwrap(); // the agent has been silent for long enough
        assert_eq!(scene.labels(), [""; 0]);
        scene.hand_to_kimi().await;
        scene.send().await;
        let labels = format!("*/issues/{}/labels", scene.number);
        let lost = Fault::drop_connection().on("POST", &labels).times(1);
        scene.gitea.fault(lost).unwrap();
        scene.send().await;
        let path = format!("/repos/{}/issues/{}/labels", scene.repo, scene.number);
        let label = scene.ids("kimi-ready")[0];
        let by_hand = scene
            .gitea
            .act("kimi", "POST", &path, &json!({ "labels": [label] }));
        by_hand.unwrap();
        let errand = scene.ledger.doubtful(1).await.unwrap().remove(0);
        assert_eq!(
            answer(scene.effects.look_for(&errand).await),
            Answer::Found(0, None)
        );
    }
}

#[tokio::test]
async fn a_label_is_found_behind_fifty_things_that_happened() {
    for version in both() {
        let scene = Scene::new(version).await;
        for number in 0..120 {
            let said = format!("comment {number}");
            scene
                .gitea
                .create_comment(&scene.repo, scene.number, &said)
                .unwrap();
        }
        scene.hand_to_kimi().await;
        scene.send().await;
        let labels = format!("*/issues/{}/labels", scene.number);
        let lost = Fault::drop_connection().after_effect();
        scene
            .gitea
            .fault(lost.on("POST", &labels).times(1))
            .unwrap();
        scene.settle().await;
        assert_eq!((scene.added(), scene.count("POST", "/labels")), (1, 2));
    }
}

#[tokio::test]
async fn many_at_once_make_one_label() {
    for version in both() {
        let scene = Scene::new(version).await;
        let mut errands = Vec::new();
        for _ in 0..8 {
            let number = scene.gitea.create_issue(&scene.repo, "x", "").unwrap();
            let order = Order {
                issue: Some(number),
                ..scene.order()
            };
            scene.begin(&order, Plan::new(["kimi"])).await;
        }
        scene.send().await;
        errands.extend(scene.ledger.send(100).await.unwrap());
        assert_eq!(errands.len(), 8);
        let mut running = tokio::task::JoinSet::new();
        for errand in errands {
            let effects = scene.effects.clone();
            running.spawn(async move { effects.carry_out(&errand).await });
        }
        for outcome in running.join_all().await {
            assert_eq!(answer(outcome), Answer::Taken(None));
        }
        assert_eq!(scene.ids("kimi-ready").len(), 1);
    }
}

#[tokio::test]
async fn of_several_labels_of_a_name_the_lowest_is_put_on_and_all_are_taken_off() {
    for version in both() {
        let scene = Scene::new(version).await;
        let second = scene
            .gitea
            .duplicate_label(&scene.repo, "kimi-ready")
            .unwrap();
        let first = scene.ids("kimi-ready")[0];
        let id = scene.hand_to_kimi().await;
        scene.settle().await;
        let on = scene.gitea.issue_labels(&scene.repo, scene.number).unwrap();
        assert_eq!((on.len(), &on[0]["id"]), (1, &json!(first)));
        let path = format!("/repos/{}/issues/{}/labels", scene.repo, scene.number);
        let by_hand = scene
            .gitea
            .act("kimi", "POST", &path, &json!({ "labels": [second] }));
        by_hand.unwrap();
        scene.ledger.record(id, Event::Cancel).await.unwrap();
        scene.settle().await;
        assert_eq!(scene.labels(), [""; 0]);
        assert!(scene.bodies()[1].starts_with(
            "## Withdrawn from Kimi Code\n\n**Reason:** `cancelled`\n\nPlease stop working on it;"
        ));
    }
}

#[tokio::test]
async fn a_label_that_the_server_does_not_know_any_more_is_looked_up_anew() {
    for version in both() {
        let scene = Scene::new(version).await;
        scene.hand_to_kimi().await;
        scene.settle().await;
        // An id that the server does not know any more is left out with a 200.
        let ignored = Fault::replace("[]")
            .on("POST", "*/issues/*/labels")
            .times(1);
        scene.gitea.fault(ignored).unwrap();
        scene.gitea.clear_requests();
        let id = scene.begin(&scene.order(), Plan::new(["kimi"])).await;
        scene.settle().await;
        assert_eq!(scene.phase(id).await, Phase::HandedOver);
        let asked = (
            scene.count("GET", "/labels"),
            scene.count("POST", "/labels"),
        );
        assert_eq!(asked, (1, 2)); // added, looked up, added
    }
}

#[tokio::test]
async fn a_label_whose_creation_was_lost_is_looked_for_before_another_is_made() {
    for version in both() {
        let scene = Scene::new(version).await;
        scene.hand_to_kimi().await;
        let lost = Fault::drop_connection().after_effect();
        scene
            .gitea
            .fault(lost.on("POST", "swarm/labels").times(1))
            .unwrap();
        scene.settle().await;
        assert_eq!((scene.ids("kimi-ready").len(), scene.added()), (1, 1));
    }
}

#[tokio::test]
async fn a_repository_that_moved_holds_its_dispatches_and_says_where_it_is() {
    for version in both() {
        for label in [false, true] {
            let scene = Scene::new(version).await;
            scene.hand_to_kimi().await;
            if label {
                scene.send().await;
            }
            let errand = scene.next().await;
            let new = scene.gitea.rename_repo(&scene.repo, "herd").unwrap();
            let outcome = scene.effects.carry_out(&errand).await;
            let held = scene
                .effects
                .conclude(&errand, outcome)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                (held.repo, held.moved_to.as_ref()),
                ("timmy/swarm".to_owned(), Some(&new))
            );
            assert_eq!(
                held.reason,
                "timmy/swarm answers 301: it is timmy/herd now; `repo move timmy/swarm timmy/herd` \
                 goes on"
            );
            let Outcome::Held(held) = scene.effects.look_for(&errand).await else {
                panic!("looked for in another place");
            };
            assert_eq!(held.moved_to, Some(new));
        }
    }
    let scene = Scene::new(both().last().unwrap()).await;
    scene.hand_to_kimi().await;
    let errand = scene.next().await;
    scene.gitea.rename_user("timmy", "timothy").unwrap();
    let Outcome::Held(held) = scene.effects.carry_out(&errand).await else {
        panic!("not held");
    };
    assert_eq!(held.moved_to.as_deref(), Some("timothy/swarm"));
    // A place that a hostile server names is not repeated.
    let hostile = Fault::redirect(308, "http://evil.example/repos/a b/c`d`");
    scene.gitea.fault(hostile.path("/comments")).unwrap();
    let Outcome::Held(held) = scene.effects.carry_out(&errand).await else {
        panic!("not held");
    };
    assert!(
        held.moved_to.is_none() && !held.reason.contains("evil"),
        "{}",
        held.reason
    );
}

#[tokio::test]
async fn what_nothing_can_be_done_in_is_held() {
    for version in both() {
        for reason in [
            "archived (423)",
            "switched off",
            "there is no repository timmy/swarm (404)",
        ] {
            let scene = Scene::new(version).await;
            let id = scene.hand_to_kimi().await;
            let errand = scene.next().await;
            let (gitea, repo) = (&scene.gitea, scene.repo.as_str());
            match reason {
                "archived (423)" => gitea.archive_repo(repo).unwrap(),
                "switched off" => gitea.set_issues_enabled(repo, false).unwrap(),
                _ => {
                    let path = format!("/repos/{repo}");
                    let deleted = gitea.act(gitea.owner(), "DELETE", &path, &Value::Null);
                    deleted.unwrap();
                }
            }
            let outcome = scene.effects.carry_out(&errand).await;
            let held = scene.effects.conclude(&errand, outcome).await.unwrap();
            let held = held.unwrap_or_else(|| panic!("not held: {reason}"));
            assert!(held.reason.contains(reason), "{}", held.reason);
            // It goes on where it was once that is over.
            let hold = Event::Hold(held.reason);
            scene.ledger.record(id, hold).await.unwrap();
            assert_eq!(scene.ledger.send(10).await.unwrap(), []);
            scene.ledger.record(id, Event::Release).await.unwrap();
            assert_eq!(scene.next().await.effect, Effect::Comment);
        }
    }
}

#[tokio::test]
async fn an_issue_that_is_gone_ends_it() {
    for version in both() {
        for label in [false, true] {
            let scene = Scene::new(version).await;
            let id = scene.hand_to_kimi().await;
            if label {
                scene.send().await;
            }
            scene.gitea.delete_issue(&scene.repo, scene.number).unwrap();
            scene.send().await;
            assert_eq!(scene.phase(id).await, Phase::IssueGone);
            scene.settle().await;
            assert_eq!(scene.phase(id).await, Phase::IssueGone);
        }
        // In doubt, too.
        let scene = Scene::new(version).await;
        let id = scene.hand_to_kimi().await;
        let lost = Fault::drop_connection().after_effect();
        scene
            .gitea
            .fault(lost.on("POST", "/comments").times(1))
            .unwrap();
        scene.send().await;
        scene.gitea.delete_issue(&scene.repo, scene.number).unwrap();
        scene.settle().await;
        assert_eq!(scene.phase(id).await, Phase::IssueGone);
    }
}

#[tokio::test]
async fn what_is_refused_says_what_to_do() {
    for version in both() {
        let scene = Scene::new(version).await;
        scene
            .gitea
            .create_user("guest", "guest-token", &["write:issue", "read:user"])
            .unwrap();
        let guest = scene.as_who_has("guest-token");
        let id = scene.hand_to_kimi().await;
        scene.gitea.lock_issue(&scene.repo, scene.number).unwrap();
        let errand = scene.next().await;
        let Answer::Refused(reason) = answer(guest.carry_out(&errand).await) else {
            panic!("not refused");
        };
        assert_eq!(
            reason,
            "cannot comment (timmy/swarm#1): 403: You cannot comment on a locked issue.; unlock the \
             issue, or give the token the scope write:issue (and read:user) and its account the \
             right to write to timmy/swarm"
        );
        let refused = Outcome::Answer {
            answer: Answer::Refused(reason),
            then: Vec::new(),
        };
        scene.effects.conclude(&errand, refused).await.unwrap();
        assert_eq!(scene.phase(id).await, Phase::Withdrawing);

        // A server's words, bounded and without our token.
        let scene = Scene::new(version).await;
        scene.hand_to_kimi().await;
        let long = format!("token {TOKEN} {}", "x".repeat(10_000));
        scene
            .gitea
            .fault(Fault::status(422).message(&long).method("POST"))
            .unwrap();
        let errand = scene.next().await;
        let Answer::Refused(reason) = answer(scene.effects.carry_out(&errand).await) else {
            panic!("not refused");
        };
        assert!(reason.len() < 400 && !reason.contains(TOKEN), "{reason}");
        scene.gitea.clear_faults();
        scene
            .gitea
            .fault(Fault::status(413).body("").method("POST"))
            .unwrap();
        let Answer::Refused(reason) = answer(scene.effects.carry_out(&errand).await) else {
            panic!("not refused");
        };
        assert!(reason.contains("shorten the description"), "{reason}");
    }
}

#[tokio::test]
async fn our_token_stands_in_no_comment() {
    for version in both() {
        let scene = Scene::new(version).await;
        let order = Order {
            description: format!("Use {TOKEN}, http://me:hunter22@git.example/x"),
            acceptance_criteria: vec![TOKEN.to_owned()],
            ..scene.order()
        };
        let id = scene.begin(&order, Plan::new(["kimi"])).await;
        scene.settle().await;
        let hold = Event::LabelTaken {
            fence: 1,
            by: format!("`@{TOKEN}\n# x"),
        };
        scene.ledger.record(id, hold).await.unwrap();
        scene.settle().await;
        let all = scene.bodies().concat();
        assert!(!all.contains(TOKEN) && !all.contains("hunter22"), "{all}");
        assert!(
            all.contains("**Reason:** `@*** # x took the label off`"),
            "{all}"
        );
    }
}

fn left_alone(scene: &Scene) -> String {
    let address = scene.gitea.address();
    format!("http://{address}/api/v1 is left alone: cannot comment: 429")
}

#[tokio::test]
async fn a_server_that_asks_for_it_is_left_alone() {
    for version in both() {
        let scene = Scene::new(version).await;
        scene.hand_to_kimi().await;
        let limit = Fault::status(429).retry_after("7").times(1);
        scene.gitea.fault(limit.on("POST", "/comments")).unwrap();
        let errand = scene.next().await;
        let seven = Duration::from_secs(7);
        let told = answer(scene.effects.carry_out(&errand).await);
        assert_eq!(told, Answer::NotTaken(seven, left_alone(&scene)));
        // For all that goes there.
        let Answer::NotTaken(wait, why) = answer(scene.effects.look_for(&errand).await) else {
            panic!("asked");
        };
        assert!(wait > Duration::from_secs(1) && wait <= seven + Duration::from_secs(1));
        assert_eq!(why, left_alone(&scene));
        assert_eq!(scene.effects.cooling().len(), 1);
        assert_eq!(scene.gitea.requests().len(), 1);
        scene
            .effects
            .conclude(
                &errand,
                Outcome::Answer {
                    answer: told,
                    then: Vec::new(),
                },
            )
            .await
            .unwrap();
        let row = scene.ledger.outbox(1).await.unwrap().remove(0).row;
        assert_eq!(row.sends, 0);

        let scene = Scene::new(version).await;
        scene.hand_to_kimi().await;
        scene
            .gitea
            .fault(Fault::status(429).retry_after("99999999999"))
            .unwrap();
        let errand = scene.next().await;
        let most = Duration::from_secs(15 * 60);
        assert_eq!(
            answer(scene.effects.carry_out(&errand).await),
            Answer::NotTaken(most, left_alone(&scene))
        );
    }
}

#[tokio::test]
async fn one_401_proves_nothing_and_a_burst_of_errors_passes() {
    for version in both() {
        for fault in [
            Fault::status(401),
            Fault::status(503),
            Fault::status(500),
            Fault::status(502),
            Fault::drop_connection(),
        ] {
            let scene = Scene::new(version).await;
            let id = scene.hand_to_kimi().await;
            let shown = format!("{fault:?}");
            scene.gitea.fault(fault.times(8)).unwrap();
            scene.settle().await;
            assert_eq!((scene.comments().len(), scene.added()), (1, 1), "{shown}");
            assert_eq!(scene.phase(id).await, Phase::HandedOver);
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_takes_nothing() {
    let scene = Scene::new(both().last().unwrap()).await;
    scene.hand_to_kimi().await;
    let errand = scene.next().await;
    scene.gitea.stop();
    assert!(matches!(
        answer(scene.effects.carry_out(&errand).await),
        Answer::NotTaken(..)
    ));
}

#[tokio::test]
async fn an_effect_takes_no_longer_than_it_may() {
    let settings = EffectSettings {
        limit: Duration::from_millis(100),
        ..EffectSettings::default()
    };
    let scene = Scene::with(both().last().unwrap(), false, settings).await;
    let id = scene.hand_to_kimi().await;
    let errand = scene.next().await;
    assert_eq!(
        scene.effects.effect_timeout(&errand),
        Duration::from_millis(100)
    );
    scene
        .gitea
        .fault(
            Fault::hold()
                .after_effect()
                .on("POST", "/comments")
                .times(1),
        )
        .unwrap();
    let outcome = scene.effects.carry_out(&errand).await;
    let lost = matches!(
        &outcome,
        Outcome::Answer {
            answer: Answer::Lost(_),
            ..
        }
    );
    assert!(lost, "{outcome:?}");
    scene.effects.conclude(&errand, outcome).await.unwrap();
    scene
        .gitea
        .fault(Fault::hold().on("GET", "/comments").times(1))
        .unwrap();
    let held = scene.ledger.doubtful(1).await.unwrap().remove(0);
    let outcome = scene.effects.look_for(&held).await;
    assert!(matches!(
        outcome,
        Outcome::Answer {
            answer: Answer::NotTaken(..),
            ..
        }
    ));
    scene.gitea.release();
    scene.settle().await;
    assert_eq!(
        (scene.comments().len(), scene.phase(id).await),
        (1, Phase::HandedOver)
    );
    assert_eq!(scene.comments()[0]["user"]["login"], ME);
}
