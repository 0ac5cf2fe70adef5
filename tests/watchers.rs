//! What ten thousand watched issues of one repository cost: alone in its process, for it measures
//! the memory.

#![cfg(feature = "durable")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use timmy_dispatcher::dispatch::Settings;
use timmy_dispatcher::durable::Server;
use timmy_dispatcher::durable::watch::{Pace, Seen, Watcher};
use timmy_dispatcher::http::{Request, Response, SendError, Transport};
use timmy_dispatcher::ledger::Watched;
use timmy_dispatcher::ledger::machine::{Channel, Phase};
use uuid::Uuid;

const WATCHERS: u64 = 10_000;

/// A server that is always there, in which issues are closed on order.
#[derive(Default)]
struct Fake {
    asked: Mutex<HashMap<&'static str, usize>>,
    /// The issues that changed, so that they are listed.
    closed: Mutex<Vec<u64>>,
}

fn issue(number: u64, state: &str, at: &str) -> Value {
    json!({ "number": number, "state": state, "updated_at": at, "labels": [], "comments": 1 })
}

impl Fake {
    /// What was asked for since, by kind.
    fn asked(&self) -> HashMap<&'static str, usize> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn answer(&self, url: &str) -> (&'static str, Value, usize) {
        const BEFORE: &str = "2026-11-25T09:00:00Z";
        /// The first that is read.
        const LATEST: &str = "2026-11-25T09:30:00Z";
        const LATER: &str = "2026-11-25T10:00:00Z";
        let number = |rest: &str| {
            let digits = rest.split(['/', '?']).next().unwrap();
            digits.parse::<u64>().unwrap()
        };
        let path = url.split_once("/api/v1").unwrap().1;
        if path == "/user" {
            return ("user", json!({ "id": 1, "login": "timmy" }), 0);
        }
        let path = path.strip_prefix("/repos/timmy/swarm").unwrap();
        if path.is_empty() {
            return ("repository", json!({ "id": 1, "has_issues": true }), 0);
        }
        let closed = self.closed.lock().unwrap();
        if let Some(query) = path.strip_prefix("/issues?") {
            let page = query.split("page=").nth(1).unwrap();
            let page: usize = page.split('&').next().unwrap().parse().unwrap();
            let part = closed.chunks(50).nth(page - 1).unwrap_or_default();
            let listed = part.iter().map(|n| issue(*n, "closed", LATER)).collect();
            return ("listing", listed, closed.len());
        }
        let rest = path.strip_prefix("/issues/").unwrap();
        let n = number(rest);
        if !rest.contains("timeline") {
            let at = if n == 1 { LATEST } else { BEFORE };
            return ("issue", issue(n, "open", at), 0);
        }
        if rest.contains("page=2&") {
            return ("history", Value::Null, 0);
        }
        let mut history = vec![
            json!({ "id": 100, "type": "comment", "user": { "id": 1 }, "body": "x".repeat(2_000) }),
        ];
        if closed.contains(&n) {
            history
                .push(json!({ "id": 101, "type": "close", "user": { "id": 2, "login": "kimi" } }));
        }
        ("history", history.into(), 0)
    }
}

struct Carrier(Arc<Fake>);

impl Transport for Carrier {
    async fn send(&self, request: Request) -> Result<Response, SendError> {
        let (kind, body, total) = self.0.answer(&request.url);
        *self.0.asked.lock().unwrap().entry(kind).or_default() += 1;
        Ok(Response {
            status: 200,
            headers: vec![("x-total-count".to_owned(), total.to_string())],
            body: body.to_string().into_bytes(),
        })
    }
}

fn watcher(fake: &Arc<Fake>, pace: Pace) -> Watcher<Carrier> {
    let settings = Settings {
        gitea_url: "http://gitea.example".to_owned(),
        gitea_token: "token".to_owned(),
        gitea_repo: String::new(),
        gitea_enabled: true,
    };
    let carrier = Arc::new(Carrier(Arc::clone(fake)));
    let server = Server::new(&settings, carrier, Duration::from_secs(10)).unwrap();
    Watcher::new(server, Vec::new(), pace)
}

fn watched() -> Vec<Watched> {
    (1..=WATCHERS)
        .map(|number| Watched {
            id: Uuid::now_v7(),
            fence: 1,
            phase: Phase::HandedOver,
            started: false,
            draining: false,
            agent: "kimi".to_owned(),
            channel: Channel::Label,
            terms: json!({ "label": "kimi-ready", "gitea_user": "kimi" }),
            task: json!({ "repo": "timmy/swarm", "issue": number }),
            max_retries: 1,
            handover: Some(100),
        })
        .collect()
}

/// Bytes of this process in memory.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

async fn many_watchers_cost_one_request_and_little_memory() {
    let fake = Arc::new(Fake::default());
    let watched = watched();
    let pace = Pace {
        reread: Duration::from_secs(1_000_000),
        ..Pace::default()
    };
    let mut watcher = watcher(&fake, pace);
    #[cfg(target_os = "linux")]
    let before = resident();

    // The first looks, so many at once.
    for _ in 0..(WATCHERS as usize).div_ceil(pace.most) {
        assert_eq!(watcher.look(&watched).await, []);
        assert!(fake.asked()["history"] <= 2 * pace.most);
    }
    #[cfg(target_os = "linux")]
    {
        let each = resident().saturating_sub(before) / WATCHERS as usize;
        println!("{each} bytes for each watcher");
        assert!(each <= 2 * 1024, "{each} bytes for each watcher");
    }
    for _ in 0..10 {
        assert_eq!(watcher.look(&watched).await, []);
        assert_eq!(fake.asked(), HashMap::from([("listing", 1)]));
    }

    // 120 changes: three pages, and the history of each.
    *fake.closed.lock().unwrap() = (1..=120).map(|n| n * 70).collect();
    let seen = watcher.look(&watched).await;
    assert_eq!(seen.len(), 120);
    assert!(seen.iter().all(|seen| matches!(seen, Seen::Event { .. })));
    assert_eq!(
        fake.asked(),
        HashMap::from([("listing", 3), ("history", 240)])
    );
}

async fn each_is_read_singly_once_an_hour_and_not_all_at_once() {
    let fake = Arc::new(Fake::default());
    let watched = watched();
    let pace = Pace {
        most: 20_000,
        ..Pace::default()
    };
    let mut watcher = watcher(&fake, pace);
    watcher.look(&watched).await;
    fake.asked();
    let (mut singly, mut most, mut others) = (0, 0, 0);
    for _ in 0..60 {
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(watcher.look(&watched).await, []);
        let mut asked = fake.asked();
        let now = asked.remove("issue").unwrap_or_default();
        (singly, most) = (singly + now, most.max(now));
        others += asked.values().sum::<usize>();
    }
    // The first one was read for the time at the server.
    let all = WATCHERS as usize;
    assert!((all - 1..=all).contains(&singly), "{singly}");
    assert!(most <= 2 * all / 60, "{most} at once");
    // A listing in each round, the repository once, and what one read found to be new to it.
    assert!(others <= 60 + 1 + 2 * all + 2, "{others}");
}

#[test]
fn ten_thousand_watchers() {
    let paused = |test: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(test);
    };
    paused(Box::pin(many_watchers_cost_one_request_and_little_memory()));
    paused(Box::pin(
        each_is_read_singly_once_an_hour_and_not_all_at_once(),
    ));
}
