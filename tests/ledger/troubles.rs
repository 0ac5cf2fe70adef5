//! Clocks that jump, files that are full, fixed, broken or old.

use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, PgConnection};
use timmy_dispatcher::ledger::effect::{Repeat, Row};
use timmy_dispatcher::ledger::machine::{Channel, Dispatch, Event, Phase, Plan, SlotHold};
use timmy_dispatcher::ledger::{Answer, Ledger, LedgerError};
use uuid::Uuid;

use crate::place::{Dialect, Place, agents, kimi, on_each, options, task};
use crate::postgres::Server;

const HOUR: i64 = 3_600_000;

on_each!(a_clock_that_jumps_lets_nothing_expire);
async fn a_clock_that_jumps_lets_nothing_expire(dialect: Dialect) {
    for jump in [HOUR, -HOUR] {
        let place = Place::new(dialect);
        let clock = Arc::new(AtomicI64::new(0));
        let open = |lease| {
            let options = options().clock(Arc::clone(&clock));
            let options = options.lease(Duration::from_millis(lease));
            Ledger::open(place.ledger(), agents(2), options)
        };
        let (quiet, ledger) = (open(60_000).await.unwrap(), open(500).await.unwrap());
        let id = quiet.submit(task("x")).await.unwrap().id;
        quiet.claim(kimi(), 1).await.unwrap();
        let comment = quiet.send(1).await.unwrap().remove(0);
        quiet
            .answered(&comment, Answer::Lost(String::new()))
            .await
            .unwrap();
        assert_eq!(ledger.claim(kimi(), 1).await.unwrap(), []);
        clock.store(jump, Ordering::SeqCst);

        // The other's lease is over, and the quarantine, as that clock says; but not really.
        assert_eq!(ledger.take_over().await.unwrap(), 0);
        let why = ledger.claim(kimi(), 1).await.unwrap_err();
        let LedgerError::ClockJumped { by, left } = why.clone() else {
            panic!("{why}");
        };
        assert!((by - jump).abs() < 60_000 && left <= 500, "{why}");
        assert!(why.to_string().starts_with("the ledger's clock jumped by"));
        assert!(ledger.doubtful(1).await.is_err() && ledger.due(1).await.is_err());
        let glance = ledger.glance().await.unwrap();
        assert!(!glance.deserted && glance.next_in.unwrap() <= 500);
        ledger.submit(task("y")).await.unwrap(); // Nobody's time is over by that.

        quiet.heartbeat().await.unwrap();
        while let Err(LedgerError::ClockJumped { .. }) = ledger.claim(vec![], 1).await {
            tokio::task::yield_now().await;
        }
        assert_eq!(ledger.take_over().await.unwrap(), 0);
        assert_eq!(ledger.get(id).await.unwrap().owner, Some(quiet.owner()));
        assert_eq!(ledger.claim(kimi(), 1).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_damaged_ledger_says_so() {
    let place = Place::new(Dialect::Sqlite);
    let ledger = place.open().await;
    for _ in 0..200 {
        ledger.submit(task("x")).await.unwrap();
    }
    drop(ledger);
    // Once the file is whole in itself.
    let file = SqliteConnectOptions::new().filename(place.ledger());
    let mut raw = SqliteConnection::connect_with(&file).await.unwrap();
    let checkpoint = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)");
    checkpoint.execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(place.ledger())
        .unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4096)).unwrap();
    let rest = usize::try_from(length - 4096).unwrap();
    file.write_all(&vec![0x5a; rest]).unwrap();
    drop(file);
    let damaged = match Ledger::open(place.ledger(), agents(2), options()).await {
        Ok(ledger) => ledger.list(true, 1000).await.unwrap_err(),
        Err(damaged) => damaged,
    };
    assert!(matches!(damaged, LedgerError::Damaged(_)), "{damaged}");
    assert_eq!(std::fs::metadata(place.ledger()).unwrap().len(), length);
}

#[tokio::test]
async fn a_ledger_of_the_first_version_goes_on() {
    let place = Place::new(Dialect::Sqlite);
    let file = SqliteConnectOptions::new()
        .filename(place.ledger())
        .create_if_missing(true);
    let mut old = SqliteConnection::connect_with(&file).await.unwrap();
    let tables = include_str!("../../src/ledger/database/sqlite/0001_ledger.sql");
    sqlx::raw_sql(tables).execute(&mut old).await.unwrap();
    let stamp = "PRAGMA application_id = 0x54696d6d; PRAGMA user_version = 1";
    sqlx::raw_sql(stamp).execute(&mut old).await.unwrap();
    let mut state = Dispatch::new(Plan::new(["kimi"]));
    let claimed = Event::Claimed {
        agent: "kimi".to_owned(),
        channel: Channel::Label,
        idempotent: false,
    };
    assert!(state.apply(&claimed).is_some());
    let id = Uuid::now_v7();
    let name = id.to_string();
    let insert = "INSERT INTO dispatches (id, task, state, priority, created_at) \
         VALUES (?1, '{}', ?2, 0, 1); \
         INSERT INTO attempts (dispatch_id, fence, agent, started_at, terms) \
         VALUES (?1, 1, 'kimi', 1, 'null'); \
         INSERT INTO slots (agent, slot, dispatch_id, fence) VALUES ('kimi', 1, ?1, 1)";
    for statement in insert.split("; ") {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(&name)
            .bind(serde_json::to_string(&state).unwrap())
            .execute(&mut old)
            .await
            .unwrap();
    }
    for (position, effect) in ["comment", "label"].into_iter().enumerate() {
        sqlx::query(
            "INSERT INTO outbox (id, dispatch_id, fence, position, effect, nonce, row) \
             VALUES (?, ?, 1, ?, ?, ?, ?)",
        )
        .bind(Uuid::now_v7().to_string())
        .bind(&name)
        .bind(i64::try_from(position).unwrap())
        .bind(effect)
        .bind(Uuid::new_v4().to_string())
        .bind(serde_json::to_string(&Row::new(Repeat::LookUp, 0)).unwrap())
        .execute(&mut old)
        .await
        .unwrap();
    }
    old.close().await.unwrap();

    let ledger = Ledger::open(place.ledger(), agents(1), options())
        .await
        .unwrap();
    ledger.submit(task("next")).await.unwrap();
    assert_eq!(ledger.claim(kimi(), 1).await.unwrap(), []); // the one slot is taken
    for _ in 0..2 {
        let errand = ledger.send(1).await.unwrap().remove(0);
        ledger.answered(&errand, Answer::Taken(None)).await.unwrap();
    }
    let record = ledger.get(id).await.unwrap();
    assert_eq!(record.state.phase, Phase::HandedOver);
    ledger.record(id, Event::Cancel).await.unwrap();
    ledger.record(id, Event::Silent { fence: 1 }).await.unwrap();
    assert_eq!(ledger.get(id).await.unwrap().state.slot, SlotHold::None);
    assert_eq!(ledger.claim(kimi(), 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_foreign_or_newer_schema_is_left_alone() {
    let mut raw = PgConnection::connect(&Server::shared().url).await.unwrap();
    let place = Place::new(Dialect::Postgres);
    let schema = place.ledger().rsplit_once('=').unwrap().1;
    let foreign = format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.sprints (id int)");
    let foreign = sqlx::raw_sql(sqlx::AssertSqlSafe(foreign));
    foreign.execute(&mut raw).await.unwrap();
    let refused = Ledger::open(place.ledger(), agents(1), options())
        .await
        .unwrap_err();
    assert!(matches!(refused, LedgerError::Foreign(_)), "{refused}");

    let place = Place::new(Dialect::Postgres);
    drop(place.open().await);
    let schema = place.ledger().rsplit_once('=').unwrap().1;
    let newer = format!("UPDATE {schema}.ledger_version SET version = 99");
    let newer = sqlx::raw_sql(sqlx::AssertSqlSafe(newer));
    newer.execute(&mut raw).await.unwrap();
    let refused = Ledger::open(place.ledger(), agents(1), options())
        .await
        .unwrap_err();
    let newer = matches!(refused, LedgerError::Newer { found: 99, .. });
    assert!(newer, "{refused}");

    for (place, why) in [
        ("mysql://there/db", "not at mysql://"),
        ("sqlite:///:memory:", "needs a file"),
        (
            "postgresql://u:hunter22@there/db?schema=A-b",
            "small letters",
        ),
        ("postgresql://u:hunter22@there:port/db", "port"),
    ] {
        let refused = Ledger::open(place, agents(1), options()).await.unwrap_err();
        let said = refused.to_string();
        assert!(said.contains(why) && !said.contains("hunter22"), "{said}");
    }
}
