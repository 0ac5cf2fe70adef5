//! Workers as real processes, killed, against a sandbox whose agent does its work.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use timmy_dispatcher::durable::Wishes;
use timmy_dispatcher::ledger::machine::Phase;

use crate::postgres::Server;
use crate::world::{VERSIONS, World};

/// Cargo builds the examples beside the tests, where it runs all of them.
fn worker() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let target = tests.parent().and_then(Path::parent).unwrap();
    target.join("examples").join("durable_worker")
}

pub(crate) fn start(world: &World, point: Option<&str>) -> Child {
    start_at(world, &world.ledger(), point)
}

/// A worker that reaches the ledger some other way.
pub(crate) fn start_at(world: &World, ledger: &Path, point: Option<&str>) -> Child {
    Command::new(worker())
        .arg(ledger)
        .args([world.gitea.url(), world.gitea.token(), &world.repo])
        .args(point)
        .spawn()
        .unwrap()
}

pub(crate) async fn submit(world: &World, tasks: usize) -> Vec<u64> {
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

/// Tells the agent that it may go, also where a test has failed.
pub(crate) struct Stops(Arc<AtomicBool>);

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Does what the agent does about those issues, for as long as the second is held.
pub(crate) fn agent_of(world: &Arc<World>, issues: &[u64]) -> (JoinHandle<()>, Stops) {
    let stop = Arc::new(AtomicBool::new(false));
    let stops = Stops(Arc::clone(&stop));
    let (world, issues) = (Arc::clone(world), issues.to_vec());
    (
        std::thread::spawn(move || play(&world, &issues, &stop)),
        stops,
    )
}

/// Every task done by one attempt, with one hand-over and no label left.
pub(crate) async fn check(world: &World, issues: &[u64]) {
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

/// Both modes of the server, and both kinds of ledgers.
pub(crate) fn worlds() -> impl Iterator<Item = World> + Clone {
    let files = VERSIONS.into_iter().map(World::new);
    let servers = VERSIONS
        .into_iter()
        .map(|version| World::new(version).at(&Server::shared().schema()));
    files.chain(servers)
}

// Whoever leaves a ledger does so on a thread of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random() {
    let kills = std::env::var("TIMMY_KILLS").map_or(100, |kills| kills.parse().unwrap());
    // So many at most before all is brought to its end and looked at.
    let at_once = (kills / 40).max(25);
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
    let mut killed = 0;
    for world in worlds().cycle() {
        if killed >= kills {
            break;
        }
        let issues = submit(&world, at_once * 4 / 5).await;
        let most = kills.min(killed + at_once);
        let world = Arc::new(world);
        let (agent, stops) = agent_of(&world, &issues);
        let mut workers = [start(&world, None), start(&world, None)];
        while killed < most {
            // The length of a life is what is random here; nothing is waited for.
            std::thread::sleep(Duration::from_millis(20 + next(150)));
            let at_work = |worker: &mut Child| worker.try_wait().unwrap().is_none();
            if !workers.iter_mut().any(at_work) {
                break; // All is done, and only who is at work can be killed.
            }
            let victim = &mut workers[usize::try_from(next(2)).unwrap()];
            if at_work(victim) {
                victim.kill().unwrap();
                victim.wait().unwrap();
                killed += 1;
            }
            *victim = start(&world, None);
        }
        for worker in &mut workers {
            assert!(worker.wait().unwrap().success());
        }
        drop(stops);
        agent.join().unwrap();
        check(&world, &issues).await;
        println!("{killed} of {kills} killed");
    }
}

// Whoever leaves a ledger does so on a thread of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_commit() {
    let points = [
        "claim",
        "record",
        "send",
        "answered",
        "heartbeat",
        "take over",
    ];
    let moments = ["before", "after"];
    let points = points
        .iter()
        .flat_map(|point| moments.map(|moment| format!("{moment} {point}")));
    for (point, world) in points.zip(worlds().cycle()) {
        let issues = submit(&world, 3).await;
        let world = Arc::new(world);
        let (agent, stops) = agent_of(&world, &issues);
        let died = start(&world, Some(&point)).wait().unwrap();
        assert!(!died.success(), "it did not come by at {point:?}");
        assert!(start(&world, None).wait().unwrap().success(), "{point}");
        drop(stops);
        agent.join().unwrap();
        check(&world, &issues).await;
    }
}
