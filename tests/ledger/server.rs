//! What only a server can do: be restarted, run transactions beside each other, lose a session, and
//! stand behind a pooler.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::json;
use sqlx::{Connection, PgConnection};
use timmy_dispatcher::ledger::machine::{Phase, Plan};
use timmy_dispatcher::ledger::{Answer, Ledger, LedgerError, Moment, Submission};
use tokio::task::{JoinSet, spawn_blocking};

use crate::forwarder::Forwarder;
use crate::place::{Dialect, Place, agents, kimi, options, task};
use crate::postgres::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_in_the_middle() {
    let mut server = Server::start(&[]);
    let place = Place::at(&server.schema());
    let ledger = place.open().await;
    let going = Arc::new(AtomicBool::new(true));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (ledger, going) = (ledger.clone(), Arc::clone(&going));
        tasks.spawn(async move {
            let mut ids = Vec::new();
            while going.load(Ordering::SeqCst) {
                let submission = task("x");
                // Also where the answer to the commit was lost: then the server is asked later.
                let submitted = ledger.submit(submission.clone()).await.unwrap();
                assert_eq!(submitted.id, submission.id);
                assert_eq!(ledger.get(submission.id).await.unwrap().id, submission.id);
                ids.push(submission.id);
            }
            ids
        });
    }
    let restarts = spawn_blocking(move || {
        for _ in 0..3 {
            server.tell("restart");
        }
        going.store(false, Ordering::SeqCst);
        server
    });
    let _server = restarts.await.unwrap();
    let ids: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let stored = ledger.list(true, 1_000_000).await.unwrap();
    let stored: HashSet<_> = stored.iter().map(|record| record.id).collect();
    assert_eq!(stored, ids.iter().copied().collect());
    assert!(ids.len() >= 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_server_is_away() {
    let mut server = Server::start(&[]);
    let place = Place::at(&server.schema());
    let ledger = place.open().await;
    let id = ledger.submit(task("x")).await.unwrap().id;
    server.tell("stop");
    let later = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.claim(kimi(), 1).await }
    });
    let read = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.get(id).await }
    });
    let server = spawn_blocking(move || {
        server.tell("start");
        server
    });
    let _server = server.await.unwrap();
    assert_eq!(later.await.unwrap().unwrap()[0].id, id);
    assert_eq!(read.await.unwrap().unwrap().id, id);
    let restarted = Ledger::open(place.ledger(), agents(2), options()).await;
    // All sessions were lost, which says nothing about their owners.
    assert_eq!(restarted.unwrap().take_over().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_wait_for_a_transaction_that_is_still_open() {
    let place = Place::new(Dialect::Postgres);
    let quick = place.open().await;
    let first = quick.submit(task("first")).await.unwrap().id;
    let (reached, at) = mpsc::channel();
    let (go, waits) = mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let holds = options().observed(move |moment, names| {
        if moment == Moment::BeforeCommit && names == ["submit"] {
            reached.send(()).unwrap();
            waits.lock().unwrap().recv().unwrap();
        }
    });
    let slow = Ledger::open(place.ledger(), agents(2), holds)
        .await
        .unwrap();
    let held = tokio::spawn(async move { slow.submit(task("slow")).await.unwrap().id });
    let at = spawn_blocking(move || at.recv().map(|()| at));
    let _at = at.await.unwrap().unwrap();

    // What comes after it is kept at once, but not shown before it.
    let after = quick.submit(task("after")).await.unwrap().id;
    let shown = |entries: Vec<timmy_dispatcher::ledger::Entry>| {
        let ids = entries.iter().map(|entry| entry.dispatch);
        (
            ids.collect::<Vec<_>>(),
            entries.last().map(|entry| entry.seq),
        )
    };
    let (ids, last) = shown(quick.events(0, 100).await.unwrap());
    assert_eq!(ids, [first]);
    assert_eq!(quick.get(after).await.unwrap().id, after);
    assert!(quick.last_event().await.unwrap() <= last.unwrap());

    go.send(()).unwrap();
    let slow = held.await.unwrap();
    let (ids, _) = shown(quick.events(last.unwrap(), 100).await.unwrap());
    assert_eq!(ids, [slow, after]);
}

#[tokio::test]
async fn a_lost_session_is_taken_over_from_but_its_effects_have_until_the_lease_ends() {
    let mut raw = PgConnection::connect(&Server::shared().url).await.unwrap();
    let place = Place::new(Dialect::Postgres);
    let first = place.open().await;
    let id = first.submit(task("x")).await.unwrap().id;
    first.claim(kimi(), 1).await.unwrap();
    let comment = first.send(1).await.unwrap().remove(0);
    let second = place.open().await;
    assert_eq!(second.take_over().await.unwrap(), 0);
    let killed: Vec<bool> = sqlx::query_scalar(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' \
         AND objsubid = 1 AND (classid::bigint << 32) + objid::bigint = hashtextextended($1, 0)",
    )
    .bind(first.owner().to_string())
    .fetch_all(&mut raw)
    .await
    .unwrap();
    assert_eq!(killed, [true]);
    while second.take_over().await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(second.get(id).await.unwrap().owner, Some(second.owner()));
    // The first may be alive and begin it before its lease ends, by its own clock.
    assert_eq!(second.doubtful(10).await.unwrap(), []);
    let outbox = second.outbox(10).await.unwrap();
    let ends: i64 = first.lease_left().as_millis().try_into().unwrap();
    assert!(outbox[0].row.not_before > outbox[0].row.quarantine + 1_700_000_000_000 + ends);
    let bounced = first.claim(kimi(), 1).await.unwrap_err();
    assert_eq!(bounced, LedgerError::LeaseLost);
    assert_eq!(first.lease_left(), Duration::ZERO);
    let late = first.answered(&comment, Answer::Taken(Some(7))).await;
    assert_eq!(late.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_everybody_gets_their_own_answers() {
    let server = Server::shared();
    let schema = server.schema();
    let schema = schema.rsplit_once('?').unwrap().1;
    let place = Place::at(&format!("{}?{schema}&pgbouncer=true", server.pooled));
    let mut tasks = JoinSet::new();
    // Each with two connections, over four servers.
    for worker in 0..16 {
        let ledger = place.open().await;
        tasks.spawn(async move {
            let mut ids = Vec::new();
            for number in 0..20 {
                let what = json!({ "worker": worker, "number": number });
                let submission = Submission::new(what.clone(), Plan::new(["kimi"]));
                let id = submission.id;
                let (submitted, listed, events) = tokio::join!(
                    ledger.submit(submission),
                    ledger.list(false, 3),
                    ledger.events(0, 5)
                );
                assert_eq!(submitted.unwrap().id, id);
                assert!(listed.unwrap().len() <= 3);
                assert!(
                    events
                        .unwrap()
                        .iter()
                        .all(|entry| entry.kind == "submitted")
                );
                assert_eq!(ledger.get(id).await.unwrap().task, what);
                assert!(ledger.agents().await.unwrap() == agents(2));
                ids.push(id);
            }
            ids
        });
    }
    let ids: HashSet<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(ids.len(), 320);
    let ledger = place.open().await;
    let claim = ledger.claim(kimi(), 1).await.unwrap().remove(0);
    for _ in 0..2 {
        let errand = ledger.send(1).await.unwrap().remove(0);
        ledger.answered(&errand, Answer::Taken(None)).await.unwrap();
    }
    let record = ledger.get(claim.id).await.unwrap();
    assert_eq!(record.state.phase, Phase::HandedOver);
}

#[tokio::test]
async fn over_tls() {
    let server = Server::start(&["ssl=on"]);
    let schema = server.schema();
    let open = |rest: String| {
        let url = format!("{schema}&sslmode=verify-full{rest}");
        async move { Ledger::open(url, agents(1), options()).await }
    };
    let known = format!("&sslrootcert={}", server.certificate);
    let ledger = open(known).await.unwrap();
    assert!(ledger.submit(task("x")).await.unwrap().new);
    let shown = ledger.place();
    assert!(shown.starts_with("postgresql://127.0.0.1:"), "{shown}");
    let refused = open(String::new()).await.unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_begins_nothing_after_its_lease() {
    let server = Server::shared();
    let place = Place::at(&server.schema());
    let way = Forwarder::to(place.ledger()).await;
    let through = way.before(place.ledger());
    let lease = Duration::from_millis(300);
    let cut_off = Ledger::open(through, agents(2), options().lease(lease))
        .await
        .unwrap();
    let id = cut_off.submit(task("x")).await.unwrap().id;
    cut_off.claim(kimi(), 1).await.unwrap();
    let comment = cut_off.send(1).await.unwrap().remove(0);
    assert!(cut_off.lease_left() > Duration::ZERO);
    way.open(false);
    let beat = tokio::spawn({
        let ledger = cut_off.clone();
        async move { ledger.heartbeat().await }
    });
    let other = place.open().await;
    while other.take_over().await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    // Whoever could take over knows that the lease was over by then, by the other's clock too.
    assert_eq!(cut_off.lease_left(), Duration::ZERO);
    assert_eq!(other.get(id).await.unwrap().owner, Some(other.owner()));
    way.open(true);
    assert_eq!(beat.await.unwrap().unwrap_err(), LedgerError::LeaseLost);
    assert_eq!(cut_off.lease_left(), Duration::ZERO);
    let late = cut_off.answered(&comment, Answer::Taken(None)).await;
    assert_eq!(late.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_hangs_keeps_its_process_out_no_longer() {
    let server = Server::shared();
    let place = Place::at(&server.schema());
    let way = Forwarder::to(place.ledger()).await;
    let ledger = Ledger::open(way.before(place.ledger()), agents(2), options())
        .await
        .unwrap();
    let id = ledger.submit(task("x")).await.unwrap().id;
    ledger.claim(kimi(), 1).await.unwrap();
    let other = place.open().await;
    // The server goes on believing in the old session, and in its lock.
    way.cut();
    ledger.heartbeat().await.unwrap();
    assert!(ledger.lease_left() > Duration::ZERO);
    assert_eq!(other.take_over().await.unwrap(), 0);
    assert_eq!(ledger.get(id).await.unwrap().owner, Some(ledger.owner()));
}
