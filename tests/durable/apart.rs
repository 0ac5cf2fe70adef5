//! Workers that are stopped or cut off while others go on, and ledgers that know nothing of each
//! other.

use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use timmy_dispatcher::dispatch::Task;
use timmy_dispatcher::durable::{Dispatcher, Wishes};
use timmy_dispatcher::ledger::machine::Phase;
use timmy_dispatcher::sandbox::Fault;
use timmy_dispatcher::task::AgentName;
use tokio::task::{JoinSet, spawn_blocking};
use uuid::Uuid;

use crate::forwarder::Forwarder;
use crate::kills::{agent_of, check, start, start_at, submit, worlds};
use crate::postgres::Server;
use crate::world::{VERSIONS, World, ended, handed_over, until};

/// Waits while everything else goes on.
async fn ends_well(mut worker: Child) {
    let ended = spawn_blocking(move || worker.wait().unwrap());
    assert!(ended.await.unwrap().success());
}

/// One that is stopped does not stay behind where a test fails.
struct Sleeper(Option<Child>);

impl Drop for Sleeper {
    fn drop(&mut self) {
        if let Some(mut worker) = self.0.take() {
            let _ = worker.kill().and_then(|()| worker.wait());
        }
    }
}

fn signal(worker: &Child, name: &str) {
    let id = worker.id().to_string();
    let sent = Command::new("kill").args([name, &id]).status();
    assert!(sent.unwrap().success());
}

/// It has listed the labels before it puts one on, and sleeps before it hears the answer.
async fn sleeps_in_an_effect(world: World) {
    let world = Arc::new(world);
    let issues = submit(&world, 1).await;
    let listing = Fault::hold().on("GET", "*/swarm/labels").times(1);
    world.gitea.fault(listing).unwrap();
    let sleeper = start(&world, None);
    let asked = || {
        let requests = world.gitea.requests();
        let mut paths = requests.iter().map(|one| one.path.split('?').next());
        paths.any(|path| path.is_some_and(|path| path.ends_with("/swarm/labels")))
    };
    while !asked() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    signal(&sleeper, "-STOP");
    let mut sleeper = Sleeper(Some(sleeper));
    // Others bring it to its end, once the lease is over.
    let (agent, stops) = agent_of(&world, &issues);
    ends_well(start(&world, None)).await;
    drop(stops);
    agent.join().unwrap();
    check(&world, &issues).await;
    world.gitea.release();
    let sleeper = sleeper.0.take().unwrap();
    signal(&sleeper, "-CONT");
    ends_well(sleeper).await;
    check(&world, &issues).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sleeps_in_the_middle_of_an_effect_goes_no_further() {
    // Beside each other, for each waits for a lease to end.
    let all: JoinSet<()> = worlds().map(sleeps_in_an_effect).collect();
    all.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_from_the_ledger_alone_leaves_it_to_others() {
    for version in VERSIONS {
        let url = Server::shared().schema();
        let way = Forwarder::to(&url).await;
        let world = Arc::new(World::new(version).at(&url));
        let issues = submit(&world, 10).await;
        let (agent, stops) = agent_of(&world, &issues);
        let cut_off = start_at(&world, way.before(&url).as_ref(), None);
        while issues.iter().all(|issue| world.comments(*issue).is_empty()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        way.open(false);
        ends_well(start(&world, None)).await;
        check(&world, &issues).await;
        way.open(true);
        ends_well(cut_off).await;
        drop(stops);
        agent.join().unwrap();
        check(&world, &issues).await;
    }
}

async fn given(dispatcher: &Dispatcher, issue: u64, to: AgentName) -> Uuid {
    let mut task = Task::new("Fix it").issue(issue);
    task.agent = Some(to);
    handed_over(dispatcher, &task, &Wishes::default()).await
}

#[tokio::test]
async fn two_ledgers_on_one_issue_leave_each_other_alone() {
    for (version, (agent, login)) in VERSIONS.into_iter().cycle().zip([
        (AgentName::KIMI_CODE, "kimi"),
        (AgentName::KIMI_CODE, "kimi"),
        (AgentName::CLAUDE_CODE, "claude"),
        (AgentName::CLAUDE_CODE, "claude"),
    ]) {
        let world = World::new(version);
        let first = world.open().await;
        let second = world.builder_at(&world.ledger().with_extension("other"), World::policy());
        let second = second.open().await.unwrap();
        let issue = world.gitea.create_issue(&world.repo, "Fix it", "").unwrap();
        let one = given(&first, issue, AgentName::KIMI_CODE).await;
        let two = given(&second, issue, agent).await;
        for (who, dispatcher, id) in [("kimi", &first, one), (login, &second, two)] {
            for label in world.labels(issue) {
                if label.starts_with(who) {
                    world.unlabel(who, issue, &label);
                }
            }
            world.say(who, issue, "on it");
            until(dispatcher, id, Phase::Working).await;
        }
        world.close("kimi", issue);
        for (dispatcher, id) in [(&first, one), (&second, two)] {
            let record = ended(dispatcher, id).await;
            let state = (record.state.phase, record.state.fence);
            assert_eq!(state, (Phase::Completed, 1), "{}", record.reason);
        }
        for dispatcher in [first, second] {
            assert_eq!(dispatcher.list(true, 10).await.unwrap().len(), 1);
            dispatcher.close(Duration::from_secs(5)).await;
        }
        let comments = world.comments(issue);
        let ours = comments
            .iter()
            .filter(|text| text.contains("<!-- timmy-dispatch:"));
        assert_eq!(ours.count(), 2, "{comments:#?}");
        assert_eq!(world.labels(issue), [""; 0]);
    }
}
