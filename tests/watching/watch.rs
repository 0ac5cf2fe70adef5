use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use timmy_dispatcher::durable::watch::{Pace, Seen};
use timmy_dispatcher::ledger::Watched;
use timmy_dispatcher::ledger::machine::{Closer, Event, Phase};

use crate::scene::{Scene, at_once, events, kimi, number, scenes};

const SIGN: Event = Event::SignOfLife { fence: 1 };
const BY_AGENT: Event = Event::Finished {
    fence: 1,
    by: Closer::Agent,
};
const BY_PERSON: Event = Event::Finished {
    fence: 1,
    by: Closer::Person,
};

/// What a watcher that knows nothing yet says of one attempt.
async fn first_look(scene: &Scene, watched: &Watched) -> Vec<Event> {
    let mut watcher = scene.watcher(at_once());
    events(&watcher.look(std::slice::from_ref(watched)).await)
}

#[tokio::test]
async fn the_agent_gives_signs_of_life() {
    for scene in scenes() {
        let quiet = scene.handed_over();
        scene.comment("alice", number(&quiet), "kimi, are you there?");
        scene.comment("timmy", number(&quiet), "still there?");
        assert_eq!(first_look(&scene, &quiet).await, []);

        let commented = scene.handed_over();
        scene.comment("kimi", number(&commented), "on it");
        assert_eq!(first_look(&scene, &commented).await, [SIGN]);

        let unlabelled = scene.handed_over();
        scene.unlabel("kimi", number(&unlabelled), scene.kimi_ready);
        assert_eq!(first_look(&scene, &unlabelled).await, [SIGN]);

        let pulled = scene.handed_over();
        scene.pull("kimi", "work", &format!("see #{}", number(&pulled)));
        assert_eq!(first_look(&scene, &pulled).await, [SIGN]);

        let mut started = commented;
        (started.phase, started.started) = (Phase::Working, true);
        assert_eq!(first_look(&scene, &started).await, []);
    }
}

#[tokio::test]
async fn who_closes_it_ends_it() {
    for scene in scenes() {
        let by_kimi = scene.handed_over();
        scene.state("kimi", number(&by_kimi), "closed");
        assert_eq!(first_look(&scene, &by_kimi).await, [BY_AGENT]);

        let by_alice = scene.handed_over();
        scene.comment("kimi", number(&by_alice), "done?");
        scene.unlabel("alice", number(&by_alice), scene.kimi_ready);
        scene.state("alice", number(&by_alice), "closed");
        assert_eq!(first_look(&scene, &by_alice).await, [BY_PERSON]);

        let merged = scene.handed_over();
        let pull = scene.pull("kimi", "work", &format!("closes #{}", number(&merged)));
        assert_eq!(first_look(&scene, &merged).await, [SIGN]);
        let merge = format!("/pulls/{pull}/merge");
        scene.act("alice", "POST", &merge, &json!({ "Do": "merge" }));
        let mut watcher = scene.watcher(at_once());
        let seen = watcher.look(std::slice::from_ref(&merged)).await;
        assert_eq!(events(&seen), [BY_AGENT]);
        let Seen::Event { evidence, .. } = &seen[0] else {
            panic!("{seen:?}");
        };
        assert_eq!(evidence["pull_request"], pull);
        assert_eq!(evidence["by"], "alice");
        assert_eq!(evidence["issue"], number(&merged));

        // Opened again by hand, and closed by hand: no merge.
        scene.state("alice", number(&merged), "open");
        assert_eq!(first_look(&scene, &merged).await, [SIGN]);
    }
}

#[tokio::test]
async fn a_label_taken_off_is_the_agents_or_somebodys() {
    for scene in scenes() {
        let taken = scene.handed_over();
        scene.unlabel("alice", number(&taken), scene.kimi_ready);
        let by = |by: &str| Event::LabelTaken {
            fence: 1,
            by: by.to_owned(),
        };
        assert_eq!(first_look(&scene, &taken).await, [by("alice")]);
        scene.label("alice", number(&taken), scene.kimi_ready);
        assert_eq!(first_look(&scene, &taken).await, []);
        scene.unlabel("timmy", number(&taken), scene.kimi_ready);
        assert_eq!(first_look(&scene, &taken).await, [by("timmy")]);

        // Whose account is not known: not ours is good enough, and a comment is not.
        let mut unknown = scene.handed_over();
        unknown.terms["gitea_user"] = Value::Null;
        scene.comment("kimi", number(&unknown), "on it");
        assert_eq!(first_look(&scene, &unknown).await, []);
        scene.unlabel("kimi", number(&unknown), scene.kimi_ready);
        assert_eq!(first_look(&scene, &unknown).await, [SIGN]);
        scene.state("kimi", number(&unknown), "closed");
        assert_eq!(first_look(&scene, &unknown).await, [BY_PERSON]);
    }
}

#[tokio::test]
async fn an_agent_may_share_our_account() {
    for scene in scenes() {
        let mut shared = scene.handed_over();
        shared.terms["gitea_user"] = "Timmy".into();
        scene.comment(
            "timmy",
            number(&shared),
            "withdrawn\n<!-- timmy-dispatch:y -->",
        );
        assert_eq!(first_look(&scene, &shared).await, []);
        scene.comment("timmy", number(&shared), "on it");
        assert_eq!(first_look(&scene, &shared).await, [SIGN]);
        scene.state("timmy", number(&shared), "closed");
        assert_eq!(first_look(&scene, &shared).await, [BY_AGENT]);
    }
}

#[tokio::test]
async fn another_agents_label_is_a_reassignment() {
    for scene in scenes() {
        let given = scene.handed_over();
        let to_claude = Event::Reassigned {
            fence: 1,
            agent: "claude".to_owned(),
            by: "alice".to_owned(),
        };
        // Ours, of an earlier attempt, come late.
        scene.label("timmy", number(&given), scene.claude_ready);
        assert_eq!(first_look(&scene, &given).await, []);
        scene.unlabel("timmy", number(&given), scene.claude_ready);

        scene.label("alice", number(&given), scene.claude_ready);
        assert_eq!(
            first_look(&scene, &given).await,
            std::slice::from_ref(&to_claude)
        );
        scene.unlabel("alice", number(&given), scene.claude_ready);
        assert_eq!(first_look(&scene, &given).await, []);
        scene.label("alice", number(&given), scene.claude_ready);
        scene.unlabel("claude", number(&given), scene.claude_ready); // it begins
        assert_eq!(first_look(&scene, &given).await, [to_claude]);
    }
}

#[tokio::test]
async fn exclusive_labels_take_each_other_off() {
    for scene in scenes() {
        let label = |name: &str| {
            let label = json!({ "name": name, "color": "#0af", "exclusive": true });
            scene.act("timmy", "POST", "/labels", &label)["id"]
                .as_u64()
                .unwrap()
        };
        let (kimi_label, claude_label) = (label("agent/kimi"), label("agent/claude"));
        let mut given = scene.handed_over();
        given.terms["label"] = "agent/kimi".into();
        scene.label("timmy", number(&given), kimi_label);
        scene.label("alice", number(&given), claude_label);
        let known = timmy_dispatcher::durable::watch::KnownAgent {
            name: "claude".to_owned(),
            label: Some("agent/claude".to_owned()),
            gitea_user: None,
        };
        let mut watcher =
            timmy_dispatcher::durable::watch::Watcher::new(scene.server(), vec![known], at_once());
        let seen = events(&watcher.look(&[given]).await);
        assert_eq!(
            seen,
            [Event::Reassigned {
                fence: 1,
                agent: "claude".to_owned(),
                by: "alice".to_owned(),
            }]
        );
    }
}

#[tokio::test]
async fn nothing_is_lost_within_a_second() {
    for scene in scenes() {
        let (fleeting, closed) = (scene.handed_over(), scene.handed_over());
        let watched = [fleeting.clone(), closed.clone()];
        let mut watcher = scene.watcher(at_once());
        assert_eq!(events(&watcher.look(&watched).await), []);
        // All with the time of what was just looked at, most likely.
        scene.state("kimi", number(&fleeting), "closed");
        scene.comment("kimi", number(&fleeting), "no, wait");
        scene.state("kimi", number(&fleeting), "open");
        scene.state("alice", number(&closed), "closed");
        let seen = events(&watcher.look(&watched).await);
        assert_eq!(seen, [SIGN, BY_PERSON]);

        // Closed and opened: nothing that the listing shows has changed.
        let fleeting = [Watched {
            phase: Phase::Withdrawing,
            draining: true,
            ..fleeting
        }];
        watcher.look(&fleeting).await;
        scene.state("kimi", number(&fleeting[0]), "closed");
        scene.state("kimi", number(&fleeting[0]), "open");
        let mut seen = Vec::new();
        while seen.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            seen = events(&watcher.look(&fleeting).await);
        }
        assert_eq!(seen, [SIGN]);
    }
}

#[tokio::test]
async fn what_was_before_the_hand_over_does_not_count() {
    for scene in scenes() {
        let first = scene.handed_over();
        let issue = number(&first);
        scene.comment("kimi", issue, "done");
        scene.state("kimi", issue, "closed");
        scene.unlabel("alice", issue, scene.kimi_ready);
        scene.label("alice", issue, scene.claude_ready);
        scene.state("timmy", issue, "open");
        let second = scene.hand_over(issue, 2);
        assert_eq!(first_look(&scene, &second).await, []);
        scene.state("kimi", issue, "closed");
        let done = Event::Finished {
            fence: 2,
            by: Closer::Agent,
        };
        assert_eq!(first_look(&scene, &second).await, [done]);
    }
}

#[tokio::test]
async fn before_the_hand_over_is_confirmed_only_life_counts() {
    for scene in scenes() {
        let mut watched = scene.handed_over();
        watched.phase = Phase::HandingOver;
        scene.comment("kimi", number(&watched), "done");
        scene.state("kimi", number(&watched), "closed");
        let mut watcher = scene.watcher(at_once());
        let mut look = async |watched: &Watched| {
            let seen = watcher.look(std::slice::from_ref(watched)).await;
            events(&seen)
        };
        assert_eq!(look(&watched).await, [SIGN]);
        watched.started = true;
        assert_eq!(look(&watched).await, []);
        watched.phase = Phase::Working;
        assert_eq!(look(&watched).await, [BY_AGENT]);

        // Without a hand-over there is nothing to count from, and nothing is asked.
        watched.handover = None;
        scene.gitea.clear_requests();
        assert_eq!(look(&watched).await, []);
        assert_eq!(scene.requests(), [""; 0]);
    }
}

#[tokio::test]
async fn activity_begins_the_silence_anew_and_is_told_once() {
    for scene in scenes() {
        let mut watched = scene.handed_over();
        let issue = number(&watched);
        scene.comment("kimi", issue, "on it");
        let mut watcher = scene.watcher(at_once());
        let mut look = async |watched: &Watched| {
            let seen = watcher.look(std::slice::from_ref(watched)).await;
            events(&seen)
        };
        assert_eq!(look(&watched).await, [SIGN]);
        (watched.phase, watched.draining, watched.started) = (Phase::Withdrawing, true, true);
        scene.unlabel("timmy", issue, scene.kimi_ready);
        scene.comment("timmy", issue, "withdrawn");
        assert_eq!(look(&watched).await, []);
        scene.comment("kimi", issue, "just a moment");
        assert_eq!(look(&watched).await, [SIGN]);
        assert_eq!(look(&watched).await, []);
        watched.phase = Phase::Held;
        scene.comment("kimi", issue, "I stop.\n\n /Stopped \n");
        assert_eq!(look(&watched).await, [Event::Silent { fence: 1 }]);
        scene.comment("kimi", issue, "only one more thing");
        assert_eq!(look(&watched).await, [SIGN]);
    }
}

#[tokio::test]
async fn what_the_ledger_did_not_keep_is_told_again() {
    for scene in scenes() {
        let mut watched = scene.handed_over();
        let mut watcher = scene.watcher(at_once());
        watcher.look(std::slice::from_ref(&watched)).await;
        scene.state("kimi", number(&watched), "closed");
        for _ in 0..3 {
            let seen = watcher.look(std::slice::from_ref(&watched)).await;
            assert_eq!(events(&seen), [BY_AGENT]);
        }
        watched.phase = Phase::Reviewing;
        for _ in 0..3 {
            scene.gitea.clear_requests();
            let seen = watcher.look(std::slice::from_ref(&watched)).await;
            assert_eq!(events(&seen), []);
            assert_eq!(scene.requests().len(), 1, "{:?}", scene.requests());
        }
    }
}

#[tokio::test]
async fn many_issues_cost_one_listing() {
    for scene in scenes() {
        let watched: Vec<Watched> = (0..60).map(|_| scene.handed_over()).collect();
        // After the overlap, for that is when the last changes need not be listed any more.
        let pace = Pace {
            overlap: Duration::from_secs(2),
            ..Pace::default()
        };
        let mut watcher = scene.watcher(pace);
        assert_eq!(events(&watcher.look(&watched).await), []);
        tokio::time::sleep(Duration::from_millis(2100)).await;
        watcher.look(&watched).await; // once more, for the second in which each was handed over
        tokio::time::sleep(Duration::from_millis(2100)).await;
        watcher.look(&watched).await;
        for _ in 0..5 {
            scene.gitea.clear_requests();
            assert_eq!(events(&watcher.look(&watched).await), []);
            let requests = scene.requests();
            assert_eq!(requests.len(), 1, "{requests:?}");
            assert!(requests[0].starts_with("GET /issues?state=all&type=issues&since="));
        }

        scene.state("kimi", number(&watched[40]), "closed");
        scene.gitea.clear_requests();
        assert_eq!(events(&watcher.look(&watched).await), [BY_AGENT]);
        assert_eq!(scene.requests().len(), 3); // and its history, with the page behind its last

        for one in &watched {
            scene.state("alice", number(one), "closed");
        }
        let seen = watcher.look(&watched).await;
        let seen: HashSet<_> = seen
            .iter()
            .filter_map(|seen| match seen {
                Seen::Event { id, .. } => Some(*id),
                Seen::Held { .. } => None,
            })
            .collect();
        assert_eq!(seen.len(), 60);
    }
}

#[tokio::test]
async fn no_more_than_some_are_looked_at_in_one_round() {
    for scene in scenes() {
        let watched: Vec<Watched> = (0..25).map(|_| scene.handed_over()).collect();
        for one in &watched {
            scene.state("kimi", number(one), "closed");
        }
        let pace = Pace {
            most: 10,
            ..Pace::default()
        };
        let mut watcher = scene.watcher(pace);
        let mut left = watched.clone();
        for expected in [10, 10, 5] {
            let seen = watcher.look(&left).await;
            assert_eq!(events(&seen).len(), expected);
            left.retain(|watched| {
                !seen
                    .iter()
                    .any(|seen| matches!(seen, Seen::Event { id, .. } if *id == watched.id))
            });
        }
        assert_eq!(left, []);
    }
}

#[tokio::test]
async fn a_long_history_is_read_to_its_end() {
    for scene in scenes() {
        let watched = scene.handed_over();
        for n in 0..130 {
            scene.comment("alice", number(&watched), &format!("remark {n}"));
        }
        let history = scene.server().repository(&scene.repo);
        let history = history.timeline(number(&watched)).await.unwrap();
        assert_eq!(history.len(), 132);
        scene.state("kimi", number(&watched), "closed");
        assert_eq!(first_look(&scene, &watched).await, [BY_AGENT]);
    }
}

#[tokio::test]
async fn a_hint_asks_only_where_it_points() {
    for scene in scenes() {
        let here = scene.handed_over();
        let other = scene.gitea.create_repo("other").unwrap();
        let n = scene.gitea.create_issue(&other, "x", "").unwrap();
        let comment = scene.gitea.create_comment(&other, n, "take it").unwrap();
        let mut there = here.clone();
        there.id = uuid::Uuid::now_v7();
        there.task["repo"] = other.as_str().into();
        there.task["issue"] = n.into();
        there.handover = i64::try_from(comment).ok();
        let mut watcher = scene.watcher(at_once());
        let watched = [here, there];
        scene.gitea.close_issue(&other, n).unwrap();
        let hints = HashSet::from([other.to_uppercase()]);
        assert_eq!(
            events(&watcher.look_at(&watched, &hints).await),
            [BY_PERSON]
        );
        let asked = scene.requests();
        assert!(
            !asked.iter().any(|path| path.contains("GET /issues")),
            "{asked:?}"
        );
        scene.state("kimi", number(&watched[0]), "closed");
        let seen = watcher.look(&watched).await;
        assert_eq!(events(&seen).len(), 2);
        assert_eq!(kimi().gitea_user.as_deref(), Some("kimi"));
    }
}
