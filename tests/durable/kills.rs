//! Workers as real processes, killed, against a sandbox whose agent does its work.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use timmy_dispatcher::durable::Wishes;
use timmy_dispatcher::ledger::machine::Phase;

use crate::world::{VERSIONS, World};

/// Cargo builds the examples beside the tests, where it runs all of them.
fn worker() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let target = tests.parent().and_then(Path::parent).unwrap();
    target.join("examples").join("durable_worker")
}

fn start(world: &World, point: Option<&str>) -> Child {
    Command::new(worker())
        .arg(world.ledger())
        .args([world.gitea.url(), world.gitea.token(), &world.repo])
        .args(point)
        .spawn()
        .unwrap()
}

async fn submit(world: &World, tasks: usize) -> Vec<u64> {
    assert!(
        worker().exists(),
        "cargo build --examples --features sandbox,durable makes it"
    );
    let visitor = world.builder(World::policy()).open().await.unwrap();
    // Its own work is not wanted here.
    visitor.pause(None, true).await.unwrap();
    let mut issues = Vec::new();
    for number in 0..tasks {
        let task = world.task(&format!("Fix typo {number}"));
        visitor.submit(&task, &Wishes::default()).await.unwrap();
        issues.push(task.issue_number.unwrap());
    }
    visitor.close(Duration::from_secs(5)).await;
    visitor.pause(None, false).await.unwrap();
    issues
}

/// The agent: it takes the label off, says that it is on it, and closes the issue.
fn play(world: &World, issues: &[u64], stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        for &issue in issues {
            if world
                .labels(issue)
                .iter()
                .any(|label| label == "kimi-ready")
            {
                world.unlabel("kimi", issue, "kimi-ready");
                world.say("kimi", issue, "on it");
                world.close("kimi", issue);
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Every task done by one attempt, with one hand-over and no label left.
async fn check(world: &World, issues: &[u64]) {
    let visitor = world.builder(World::policy()).visit().await.unwrap();
    let all = visitor.list(true, 10_000).await.unwrap();
    assert_eq!(
        all.len(),
        issues.len(),
        "dispatches were lost or came twice"
    );
    for record in all {
        let story = visitor.story(record.id).await.unwrap();
        assert_eq!(record.state.phase, Phase::Completed, "{story:#?}");
        assert_eq!(record.state.fence, 1, "handed out again: {story:#?}");
    }
    for &issue in issues {
        let comments = world.comments(issue);
        let ours = comments
            .iter()
            .filter(|text| text.contains("<!-- timmy-dispatch:"));
        assert_eq!(ours.count(), 1, "{comments:#?}");
        let timeline = world.gitea.timeline(&world.repo, issue).unwrap();
        let put_on = timeline
            .iter()
            .filter(|entry| entry["type"] == "label" && entry["body"] == "1");
        assert_eq!(put_on.count(), 1, "{timeline:#?}");
        assert_eq!(world.labels(issue), Vec::<String>::new());
    }
}

#[tokio::test]
async fn killed_at_random() {
    const TASKS: usize = 40;
    let kills = std::env::var("TIMMY_KILLS").map_or(100, |kills| kills.parse().unwrap());
    let mut random = std::env::var("TIMMY_SEED").map_or_else(
        |_| u64::from(std::process::id()) << 20 | 1,
        |seed| seed.parse().unwrap(),
    );
    println!("TIMMY_SEED={random}");
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    for version in VERSIONS {
        let world = World::new(version);
        let issues = submit(&world, TASKS).await;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| play(&world, &issues, &stop));
            let mut workers = [start(&world, None), start(&world, None)];
            for _ in 0..kills / VERSIONS.len() {
                // The length of a life is what is random here; nothing is waited for.
                std::thread::sleep(Duration::from_millis(20 + next(150)));
                let victim = &mut workers[usize::try_from(next(2)).unwrap()];
                victim.kill().unwrap();
                victim.wait().unwrap();
                *victim = start(&world, None);
            }
            for worker in &mut workers {
                assert!(worker.wait().unwrap().success());
            }
            stop.store(true, Ordering::SeqCst);
        });
        check(&world, &issues).await;
    }
}

#[tokio::test]
async fn killed_at_every_commit() {
    for point in [
        "claim",
        "record",
        "send",
        "answered",
        "heartbeat",
        "take over",
    ] {
        for moment in ["before", "after"] {
            let point = format!("{moment} {point}");
            let world = World::new(VERSIONS[0]);
            let issues = submit(&world, 3).await;
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| play(&world, &issues, &stop));
                let died = start(&world, Some(&point)).wait().unwrap();
                assert!(!died.success(), "it did not come by at {point:?}");
                assert!(start(&world, None).wait().unwrap().success(), "{point}");
                stop.store(true, Ordering::SeqCst);
            });
            check(&world, &issues).await;
        }
    }
}
