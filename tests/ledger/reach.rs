//! A server that cannot be had: it is said at once, with what to do.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use timmy_dispatcher::ledger::{Ledger, LedgerError};
use tokio::net::TcpListener;

use crate::forwarder::Forwarder;
use crate::place::{Place, agents, options, task};
use crate::postgres::Server;

/// Why it cannot be opened; without waiting for as long as it waits for a server that is away.
async fn refused(url: &str) -> String {
    let opened = Ledger::open(url, agents(1), options());
    let opened = tokio::time::timeout(Duration::from_secs(20), opened).await;
    let error = opened.expect("it waits").unwrap_err();
    assert!(matches!(error, LedgerError::Unreachable { .. }), "{error}");
    let (said, looked) = (error.to_string(), Ledger::inspect(url).await.unwrap_err());
    assert_eq!(looked.to_string(), said);
    assert!(!said.contains("hunter22"), "{said}");
    said
}

fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_address_is_said_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let said = refused(&format!("postgresql://me:hunter22@{nobody}/db")).await;
    let place = format!("no connection to the ledger at postgresql://{nobody}/db (timmy");
    assert_says(
        &said,
        &[&place, "refused", "see that the host and the port", "runs"],
    );
    // A name that is asked of nobody, for it cannot be one.
    let said = refused("postgresql://me:hunter22@no..where/db").await;
    assert_says(&said, &["no..where", "see that the host and the port"]);
}

#[tokio::test]
async fn what_the_server_does_not_let_in_is_told_what_to_mend() {
    let rules = std::env::temp_dir().join(format!("hba-{}", uuid::Uuid::new_v4()));
    std::fs::write(
        &rules,
        "host all timmy 127.0.0.1/32 trust\nhost all guest 127.0.0.1/32 scram-sha-256\n",
    )
    .unwrap();
    std::fs::set_permissions(&rules, PermissionsExt::from_mode(0o644)).unwrap();
    let server = Server::start(&[&format!("hba_file={}", rules.display())]);
    let mut raw = PgConnection::connect(&server.url).await.unwrap();
    sqlx::raw_sql(
        "CREATE ROLE guest LOGIN PASSWORD 'right'; GRANT ALL ON DATABASE postgres TO guest",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    let of = |user: &str, database: &str| {
        let url = server.url.replace("timmy@", &format!("{user}@"));
        url.replace("/postgres", &format!("/{database}"))
    };
    let advice = "see that the user and the password";
    for (user, database, parts) in [
        (
            "guest:hunter22",
            "postgres",
            ["password authentication failed", advice],
        ),
        ("guest", "postgres", ["password", advice]),
        ("stranger:hunter22", "postgres", ["pg_hba.conf", advice]),
        ("timmy", "nowhere", ["\"nowhere\"", "make the database"]),
    ] {
        assert_says(&refused(&of(user, database)).await, &parts);
    }
    let opened = Ledger::open(of("guest:right", "postgres"), agents(1), options()).await;
    assert!(opened.unwrap().submit(task("x")).await.unwrap().new);
    std::fs::remove_file(rules).unwrap();
}

#[tokio::test]
async fn a_pooler_that_is_not_said_to_be_one_is_noticed() {
    let said = refused(&Server::shared().pooled).await;
    assert_says(&said, &["?pgbouncer=true"]);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let said = refused(&format!("postgresql://me@{at}/db")).await;
    assert_says(&said, &["does not answer", "can be reached from here"]);
}

#[tokio::test]
async fn a_list_of_hosts_is_no_address() {
    let several = "postgresql://me:hunter22@one:5432,two:5432/db";
    let refused = Ledger::open(several, agents(1), options()).await;
    let said = refused.unwrap_err().to_string();
    assert_says(&said, &["one address", "proxy"]);
    assert!(!said.contains("hunter22"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_told_apart_and_waited_out() {
    let mut server = Server::start(&["--standby", "sync"]);
    let place = Place::at(&server.schema());
    let ledger = place.open().await;
    let first = ledger.submit(task("x")).await.unwrap().id;

    // Nothing was ever kept by who comes there first.
    let schema = server.schema();
    let parameter = schema.rsplit_once('?').unwrap().1;
    let said = Ledger::open(
        format!("{}?{parameter}", server.standby),
        agents(1),
        options(),
    );
    assert_says(&said.await.unwrap_err().to_string(), &["it is a standby"]);

    // Who is led there in the middle waits until it is one no more.
    let way = Forwarder::to(&server.url).await;
    let through = Ledger::open(way.before(place.ledger()), agents(2), options());
    let through = through.await.unwrap();
    way.turn_to(&server.standby);
    let later = tokio::spawn({
        let ledger = through.clone();
        async move { ledger.submit(task("y")).await }
    });
    let _server = tokio::task::spawn_blocking(move || {
        server.tell("fail-over");
        server
    })
    .await
    .unwrap();
    let second = later.await.unwrap().unwrap().id;
    let all = through.list(true, 10).await.unwrap();
    let ids: Vec<_> = all.iter().map(|record| record.id).collect();
    assert_eq!(ids, [second, first]);
}
