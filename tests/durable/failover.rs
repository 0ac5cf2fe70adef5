//! Whole lives while the PostgreSQL below them dies, goes back, or has no room.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use timmy_dispatcher::durable::{Builder, Dispatcher, DispatcherError, Wishes};
use timmy_dispatcher::ledger::machine::Phase;
use timmy_dispatcher::ledger::{Ledger, LedgerError};
use timmy_dispatcher::route::{Registry, Routes};
use timmy_dispatcher::sandbox::GiteaVersion;
use timmy_dispatcher::task::AgentName;
use tokio::task::spawn_blocking;

use crate::forwarder::Forwarder;
use crate::kills::{agent_of, check, start, submit};
use crate::postgres::Server;
use crate::world::{VERSIONS, World, ended, until};

/// Has the script do something while everything else goes on.
async fn told(mut server: Server, what: &'static str) -> Server {
    let told = spawn_blocking(move || {
        server.tell(what);
        server
    });
    told.await.unwrap()
}

async fn at_work(place: &str) -> usize {
    let seen = Ledger::inspect(place).await.unwrap().unwrap();
    // Each has said whom it works for.
    let workers = seen.workers.iter().filter(|one| !one.handles.is_empty());
    workers.count()
}

/// Two workers, somebody who submits, and an agent; once so many of what is submitted meanwhile are
/// acknowledged, the primary dies.
async fn fails_over(version: GiteaVersion, pooled: bool, after: usize) {
    const BEFORE: usize = 12;
    const MEANWHILE: usize = 24;
    let server = Server::start(&["--standby", "sync"]);
    let schema = server.schema();
    let (_, parameter) = schema.rsplit_once('?').unwrap();
    let way = Forwarder::to(&server.url).await;
    // The pooler is turned to the standby by itself.
    let place = match pooled {
        true => format!("{}?{parameter}&pgbouncer=true", server.pooled),
        false => way.before(&schema),
    };
    let world = Arc::new(World::new(version).at(&place));
    let mut issues = submit(&world, BEFORE).await;
    let tasks: Vec<_> = (0..MEANWHILE)
        .map(|number| world.task(&format!("Fix typo {number} of a second kind")))
        .collect();
    issues.extend(tasks.iter().filter_map(|task| task.issue_number));
    let (agent, stops) = agent_of(&world, &issues);
    let mut workers = [start(&world, None), start(&world, None)];
    // Who only begins to work may fail with it.
    while at_work(&place).await < workers.len() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let visitor = world.builder(World::policy()).visit().await.unwrap();
    let mut dying = None;
    let mut server = Some(server);
    for (number, task) in tasks.iter().enumerate() {
        visitor.submit(task, &Wishes::default()).await.unwrap();
        if number == after {
            let server = server.take().unwrap();
            let way = &way;
            let standby = server.standby.clone();
            dying = Some(tokio::spawn(told(server, "fail-over")));
            way.turn_to(&standby);
        }
    }
    let _server = dying.unwrap().await.unwrap();
    for worker in &mut workers {
        assert!(worker.wait().unwrap().success());
    }
    // They may have ended while nothing was open.
    assert!(start(&world, None).wait().unwrap().success());
    drop(stops);
    agent.join().unwrap();
    check(&world, &issues).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_takes_over_and_nothing_is_lost() {
    let rounds = std::env::var("TIMMY_FAILOVERS").map_or(2, |rounds| rounds.parse().unwrap());
    let seed: usize = std::env::var("TIMMY_SEED").map_or_else(
        |_| std::process::id().try_into().unwrap(),
        |seed| seed.parse().unwrap(),
    );
    println!("TIMMY_SEED={seed}");
    for round in 0..rounds {
        let version = VERSIONS[(round + round / 2) % 2];
        fails_over(version, round % 2 == 1, (seed + 7 * round) % 20).await;
        println!("{} of {rounds} failed over", round + 1);
    }
}

/// With agents that take several tasks at once.
fn roomy(world: &World) -> Builder {
    let mut registry = Registry::default();
    for name in [AgentName::KIMI_CODE, AgentName::CLAUDE_CODE] {
        let mut agent = registry.get(&name).unwrap().clone();
        agent.max_concurrent = 4;
        registry.insert(agent);
    }
    world
        .builder(World::policy())
        .team(registry, Routes::default())
}

fn handed_over(world: &World, issue: u64) -> usize {
    let comments = world.comments(issue);
    let ours = comments
        .iter()
        .filter(|text| text.starts_with("## Assigned"));
    ours.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_standby_takes_over_and_nothing_is_done_before_it_was_looked_at() {
    for version in VERSIONS {
        let server = Server::start(&["--standby", "async"]);
        let schema = server.schema();
        let way = Forwarder::to(&server.url).await;
        let world = World::new(version).at(&way.before(&schema));
        let dispatcher = roomy(&world).open().await.unwrap();
        let submit = |task| {
            let dispatcher = dispatcher.clone();
            async move { dispatcher.submit(&task, &Wishes::default()).await }
        };
        let claude = || Some("claude_code".to_owned());
        let (known, late, lost) = (world.task("one"), world.task("two"), world.task("three"));
        let [known_issue, late_issue, lost_issue] =
            [&known, &late, &lost].map(|task| task.issue_number.unwrap());
        let known = submit(known).await.unwrap().id();
        until(&dispatcher, known, Phase::HandedOver).await;
        dispatcher.pause(claude(), true).await.unwrap();
        let route = Wishes {
            route: vec![AgentName::CLAUDE_CODE],
            ..Wishes::default()
        };
        let late = dispatcher.submit(&late, &route).await.unwrap().id();
        let server = told(server, "detach").await;

        // What the standby does not get: one task is handed over, another is submitted too.
        dispatcher.pause(claude(), false).await.unwrap();
        until(&dispatcher, late, Phase::HandedOver).await;
        let gone = submit(lost.clone()).await.unwrap().id();
        until(&dispatcher, gone, Phase::HandedOver).await;
        let server = told(server, "fail-over").await;
        way.turn_to(&server.standby);

        // Who was at work notices, and does nothing more.
        let refused = submit(world.task("four")).await.unwrap_err();
        assert_eq!(refused, DispatcherError::Ledger(LedgerError::WentBack));
        let visitor = world.builder(World::policy()).visit().await.unwrap();
        let unknown = visitor.get(gone).await.unwrap_err();
        let unknown = matches!(unknown, DispatcherError::Ledger(LedgerError::Unknown(_)));
        assert!(unknown);
        assert_eq!(visitor.get(late).await.unwrap().state.phase, Phase::Queued);
        visitor.pause(claude(), false).await.unwrap();
        let restored = visitor.restored().await.unwrap();
        let held = |id| {
            let found = restored.iter().find(|one| one.id == id).unwrap();
            let why = found.held.as_deref();
            why.is_some_and(|why| why.starts_with("it was handed over"))
        };
        assert_eq!((restored.len(), held(known), held(late)), (2, false, true));

        // Then it goes on by itself.
        world.close("kimi", known_issue);
        let record = ended(&dispatcher, known).await;
        assert_eq!(
            (record.state.phase, record.state.fence),
            (Phase::Completed, 1)
        );
        assert_eq!(visitor.get(late).await.unwrap().state.phase, Phase::Held);
        for issue in [known_issue, late_issue, lost_issue] {
            assert_eq!(handed_over(&world, issue), 1);
        }
        // What is not known any more is another one when it is submitted again.
        let again = submit(lost).await.unwrap();
        assert!(again.is_new() && again.id() != gone);
        until(&dispatcher, again.id(), Phase::HandedOver).await;
        assert_eq!(handed_over(&world, lost_issue), 2);
        dispatcher.close(Duration::from_secs(5)).await;
    }
}

/// Submits until it is refused; yields what was taken, and why the last was not.
async fn until_refused(world: &World, dispatcher: &Dispatcher) -> (Vec<u64>, DispatcherError) {
    let mut taken = Vec::new();
    loop {
        let task = world.task(&"Fix the typo ".repeat(500));
        let issue = task.issue_number.unwrap();
        match dispatcher.submit(&task, &Wishes::default()).await {
            Ok(_) => taken.push(issue),
            Err(refused) => return (taken, refused),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_disk_is_full_stops_it_and_loses_nothing() {
    for version in VERSIONS {
        let server = Server::start(&["--disk", "80"]);
        let mut raw = PgConnection::connect(&server.url).await.unwrap();
        let world = Arc::new(World::new(version).at(&server.schema()));
        let dispatcher = roomy(&world).open().await.unwrap();
        // Nobody gets anything yet: all is to be there later.
        let kimi = || Some("kimi_code".to_owned());
        dispatcher.pause(kimi(), true).await.unwrap();
        let server = told(server, "fill").await;
        let (mut issues, refused) = until_refused(&world, &dispatcher).await;
        let said = refused.to_string();
        let full = matches!(refused, DispatcherError::Ledger(LedgerError::Full(_)));
        assert!(full && said.contains("make room"), "{said}");

        // Where its log has no room either, the server falls.
        let more = "SELECT pg_logical_emit_message(true, 'x', repeat('x', 100000))";
        while let Ok(_) | Err(sqlx::Error::Database(_)) =
            sqlx::raw_sql(more).execute(&mut raw).await
        {}
        let server = told(server, "free").await;
        let _server = told(server, "restart").await;
        let task = world.task("Fix the last typo");
        issues.extend(task.issue_number);
        let last = dispatcher.submit(&task, &Wishes::default()).await;
        assert!(last.unwrap().is_new());
        dispatcher.pause(kimi(), false).await.unwrap();

        let (agent, stops) = agent_of(&world, &issues);
        for record in dispatcher.list(true, 10_000).await.unwrap() {
            ended(&dispatcher, record.id).await;
        }
        drop(stops);
        agent.join().unwrap();
        dispatcher.close(Duration::from_secs(5)).await;
        check(&world, &issues).await;
    }
}
