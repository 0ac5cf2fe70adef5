//! Servers that fail, repositories that move, issues that go.

use std::time::Duration;

use serde_json::Value;
use timmy_dispatcher::durable::watch::Pace;
use timmy_dispatcher::ledger::Watched;
use timmy_dispatcher::ledger::machine::{Closer, Event};
use timmy_dispatcher::sandbox::Fault;

use crate::scene::{Scene, at_once, events, held, number, scenes};

const DONE: Event = Event::Finished {
    fence: 1,
    by: Closer::Agent,
};

/// Everything is read in every round.
fn rereading() -> Pace {
    Pace {
        reread: Duration::ZERO,
        ..at_once()
    }
}

/// The three ways in which a watcher meets an issue: new, known, read singly.
async fn gone_after(scene: &Scene, pace: Pace, looks_before: usize) {
    let watched = [scene.handed_over(), scene.handed_over()];
    let mut watcher = scene.watcher(pace);
    for _ in 0..looks_before {
        assert_eq!(events(&watcher.look(&watched).await), []);
    }
    scene
        .gitea
        .delete_issue(&scene.repo, number(&watched[0]))
        .unwrap();
    assert_eq!(events(&watcher.look(&watched).await), []);
    assert_eq!(events(&watcher.look(&watched).await), [Event::IssueGone]);
    // Until the ledger has it.
    assert_eq!(events(&watcher.look(&watched).await), [Event::IssueGone]);
    assert_eq!(events(&watcher.look(&watched[1..]).await), []);
}

#[tokio::test]
async fn an_issue_that_is_missing_twice_is_gone() {
    for scene in scenes() {
        gone_after(&scene, at_once(), 0).await;
        gone_after(&scene, rereading(), 1).await;
        gone_after(&scene, rereading(), 3).await;
    }
}

#[tokio::test]
async fn an_issue_that_comes_back_is_not_gone() {
    for scene in scenes() {
        let watched = [scene.handed_over()];
        let mut watcher = scene.watcher(rereading());
        assert_eq!(events(&watcher.look(&watched).await), []);
        let path = format!("/issues/{}", number(&watched[0]));
        scene
            .gitea
            .fault(Fault::status(404).on("GET", &path).times(1))
            .unwrap();
        for _ in 0..3 {
            assert_eq!(events(&watcher.look(&watched).await), []);
        }
        // Errors of the server's, and one of its empty issues.
        scene
            .gitea
            .fault(Fault::zeroed_issue().on("GET", &path).times(2))
            .unwrap();
        for _ in 0..4 {
            assert_eq!(events(&watcher.look(&watched).await), []);
        }
        scene.state("kimi", number(&watched[0]), "closed");
        assert_eq!(events(&watcher.look(&watched).await), [DONE]);
    }
}

#[tokio::test]
async fn a_repository_that_moved_is_held_and_says_where_it_is() {
    for scene in scenes() {
        let watched = [scene.handed_over()];
        let (mut known, mut new) = (scene.watcher(at_once()), scene.watcher(at_once()));
        assert_eq!(events(&known.look(&watched).await), []);
        scene.gitea.rename_repo(&scene.repo, "hive").unwrap();
        let reason = "the repository answers 301: it has moved to timmy/hive";
        assert_eq!(held(&known.look(&watched).await), [reason]);
        assert_eq!(held(&new.look(&watched).await), [reason]);
        scene.gitea.rename_user("timmy", "jimmy").unwrap();
        let mut hive = watched.clone();
        hive[0].task["repo"] = "timmy/hive".into();
        let reason = "the repository answers 307: it has moved to jimmy/hive";
        assert_eq!(held(&new.look(&hive).await), [reason]);
        assert_eq!(held(&known.look(&hive).await), [reason]);
        // What is held is left in peace.
        hive[0].phase = timmy_dispatcher::ledger::machine::Phase::Held;
        scene.gitea.clear_requests();
        assert_eq!(known.look(&hive).await, []);
        assert_eq!(scene.gitea.requests().len(), 0);
        hive[0].draining = true;
        assert_eq!(known.look(&hive).await, []);
    }
}

#[tokio::test]
async fn a_redirect_of_the_whole_server_is_no_move() {
    for scene in scenes() {
        let watched = [scene.handed_over()];
        let to = format!("https://git.example/api/v1/repos/{}/issues", scene.repo);
        scene
            .gitea
            .fault(Fault::redirect(301, &to).path("*/repos/*").times(1))
            .unwrap();
        let mut watcher = scene.watcher(at_once());
        assert_eq!(watcher.look(&watched).await, []);
        scene.state("kimi", number(&watched[0]), "closed");
        assert_eq!(events(&watcher.look(&watched).await), [DONE]);
    }
}

#[tokio::test]
async fn where_nothing_can_be_done_it_is_held() {
    for scene in scenes() {
        let watched = [scene.handed_over()];
        scene.gitea.set_issues_enabled(&scene.repo, false).unwrap();
        let mut watcher = scene.watcher(at_once());
        let off = "the repository's issues are switched off";
        assert_eq!(held(&watcher.look(&watched).await), [off]);
        scene.gitea.set_issues_enabled(&scene.repo, true).unwrap();
        assert_eq!(events(&watcher.look(&watched).await), []);
        scene.gitea.set_issues_enabled(&scene.repo, false).unwrap();
        assert_eq!(held(&watcher.look(&watched).await), [off]);
        scene.gitea.set_issues_enabled(&scene.repo, true).unwrap();

        // Once may be a mistake.
        scene
            .gitea
            .fault(Fault::status(404).path("*/repos/*").times(4))
            .unwrap();
        assert_eq!(watcher.look(&watched).await, []);
        let missing = "the repository is not there, or we may not see it";
        assert_eq!(held(&watcher.look(&watched).await), [missing]);
        scene.gitea.clear_faults();
        assert_eq!(events(&watcher.look(&watched).await), []);

        scene.gitea.archive_repo(&scene.repo).unwrap();
        let mut watcher = scene.watcher(at_once());
        assert_eq!(
            held(&watcher.look(&watched).await),
            ["the repository is archived"]
        );
    }
}

async fn survives(scene: &Scene, fault: Fault) {
    let watched = [scene.handed_over(), scene.handed_over()];
    let (mut known, mut new) = (scene.watcher(rereading()), scene.watcher(at_once()));
    assert_eq!(events(&known.look(&watched).await), []);
    scene.state("kimi", number(&watched[1]), "closed");
    let shown = format!("{fault:?}");
    scene.gitea.fault(fault).unwrap();
    for _ in 0..3 {
        assert_eq!(known.look(&watched).await, [], "{shown}");
        assert_eq!(new.look(&watched).await, [], "{shown}");
    }
    scene.gitea.clear_faults();
    assert_eq!(events(&known.look(&watched).await), [DONE], "{shown}");
    assert_eq!(events(&new.look(&watched).await), [DONE], "{shown}");
}

#[tokio::test]
async fn a_server_that_fails_loses_nothing_and_invents_nothing() {
    for mut scene in scenes() {
        for fault in [
            Fault::status(500),
            Fault::status(503),
            Fault::status(502).body("<html>bad gateway</html>"),
            Fault::status(401),
            Fault::status(403),
            Fault::truncated(),
            Fault::reset_connection(),
            Fault::replace("null"),
            Fault::replace("{"),
            Fault::zeroed_issue(),
            Fault::replace("[{\"number\":0,\"state\":\"\"}]"),
        ] {
            survives(&scene, fault.clone().path("*/repos/*")).await;
            survives(&scene, fault.path("*/issues*")).await;
        }
        scene.timeout = Duration::from_millis(200);
        survives(&scene, Fault::hold().path("*/issues*")).await;
    }
}

#[tokio::test]
async fn a_burst_of_errors_in_the_middle_is_caught_up_with() {
    for scene in scenes() {
        let watched: Vec<Watched> = (0..20).map(|_| scene.handed_over()).collect();
        let mut watcher = scene.watcher(at_once());
        assert_eq!(events(&watcher.look(&watched).await), []);
        for one in &watched {
            scene.state("kimi", number(one), "closed");
        }
        scene
            .gitea
            .fault(Fault::status(503).path("/timeline").skip(7).times(12))
            .unwrap();
        let mut left = watched;
        let mut rounds = 0;
        while !left.is_empty() {
            let seen = watcher.look(&left).await;
            assert!(events(&seen).iter().all(|event| *event == DONE));
            let told = |watched: &Watched| {
                let id = watched.id;
                let mut seen = seen.iter();
                seen.any(|seen| matches!(seen, timmy_dispatcher::durable::watch::Seen::Event { id: told, .. } if *told == id))
            };
            left.retain(|watched| !told(watched));
            rounds += 1;
            assert!(rounds < 40, "{} are left", left.len());
        }
        assert!(rounds > 1);
    }
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_is() {
    for scene in scenes() {
        let watched = [scene.handed_over()];
        let mut watcher = scene.watcher(at_once());
        assert_eq!(events(&watcher.look(&watched).await), []);
        let fault = Fault::status(429).retry_after("3600").path("*/issues*");
        scene.gitea.fault(fault.times(1)).unwrap();
        assert_eq!(watcher.look(&watched).await, []);
        scene.state("kimi", number(&watched[0]), "closed");
        scene.gitea.clear_requests();
        assert_eq!(watcher.look(&watched).await, []);
        assert_eq!(scene.gitea.requests().len(), 0);

        // A moment is soon over.
        let mut watcher = scene.watcher(at_once());
        let fault = Fault::status(429).retry_after("0").path("*/issues*");
        scene.gitea.fault(fault.times(1)).unwrap();
        assert_eq!(watcher.look(&watched).await, []);
        assert_eq!(events(&watcher.look(&watched).await), [DONE]);
    }
}

#[tokio::test]
async fn who_we_are_must_be_known() {
    for scene in scenes() {
        let watched = [scene.handed_over()];
        scene.state("kimi", number(&watched[0]), "closed");
        scene
            .gitea
            .fault(Fault::status(403).path("/user").times(1))
            .unwrap();
        let mut watcher = scene.watcher(at_once());
        assert_eq!(watcher.look(&watched).await, []);
        assert_eq!(events(&watcher.look(&watched).await), [DONE]);
        assert_eq!(scene.act("timmy", "GET", "", &Value::Null)["name"], "swarm");
    }
}
