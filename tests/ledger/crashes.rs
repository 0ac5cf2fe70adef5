//! Workers as real processes, killed at random and at every named point.

use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use timmy_dispatcher::ledger::machine::{Phase, SlotHold};
use timmy_dispatcher::ledger::{Answer, Ledger, LedgerError, effect};

use crate::place::{Dialect, Place, agents, kimi, on_each, options, task};

/// Cargo builds the examples beside the tests, where it runs all of them.
fn worker() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let target = tests.parent().and_then(Path::parent).unwrap();
    target.join("examples").join("ledger_worker")
}

fn start(place: &Place, tasks: u32, seed: u64, point: Option<&str>) -> Child {
    Command::new(worker())
        .arg(place.ledger())
        .arg(place.folder.join("server"))
        .args([tasks.to_string(), seed.to_string()])
        .args(point)
        .stderr(if point.is_some() {
            Stdio::null()
        } else {
            Stdio::inherit()
        })
        .spawn()
        .unwrap()
}

/// Every task done, by one attempt, with one comment, one label and one removal on the "server".
async fn check(place: &Place, tasks: u32) {
    let ledger = Ledger::open(place.ledger(), agents(1), options())
        .await
        .unwrap();
    let all = ledger.list(true, 10_000).await.unwrap();
    assert_eq!(
        all.len(),
        tasks as usize,
        "dispatches were lost or came twice"
    );
    let server = std::fs::read_to_string(place.folder.join("server")).unwrap();
    let mut effects: HashMap<&str, Vec<&str>> = HashMap::new();
    for line in server.lines() {
        let (dispatch, rest) = line.split_once(' ').unwrap();
        effects.entry(dispatch).or_default().push(rest);
    }
    for one in all {
        assert_eq!(one.state.phase, Phase::Completed);
        assert_eq!(one.state.fence, 1, "it was handed out again: {one:?}");
        assert_eq!(one.state.slot, SlotHold::None);
        let id = one.id.to_string();
        let mut seen: Vec<&str> = effects[id.as_str()]
            .iter()
            .map(|line| line.rsplit_once(' ').unwrap().0)
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, ["1 comment", "1 label", "1 unlabel"], "{id}");
    }
}

on_each!(killed_at_random_hundreds_of_times);
async fn killed_at_random_hundreds_of_times(dialect: Dialect) {
    const TASKS: u32 = 120;
    // So many are about what it takes to bring the tasks to their end.
    const KILLS: u32 = 300;
    let kills = std::env::var("TIMMY_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
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
    for _ in 0..kills.div_ceil(KILLS) {
        let place = Place::new(dialect);
        let mut workers: Vec<Child> = (0..2)
            .map(|seed| start(&place, TASKS, seed, None))
            .collect();
        for _ in 0..kills.min(KILLS) {
            // The length of a life is what is random here; nothing is waited for.
            std::thread::sleep(Duration::from_micros(2_000 + next(40_000)));
            let victim = &mut workers[usize::try_from(next(2)).unwrap()];
            victim.kill().unwrap();
            victim.wait().unwrap();
            *victim = start(&place, TASKS, next(u64::MAX >> 34), None);
        }
        for worker in &mut workers {
            // One that could not write for a whole lease, because the other always did, says so.
            while worker.wait().unwrap().code() == Some(3) {
                *worker = start(&place, TASKS, 7, None);
            }
            assert!(worker.wait().unwrap().success());
        }
        check(&place, TASKS).await;
    }
}

on_each!(killed_at_every_named_point);
async fn killed_at_every_named_point(dialect: Dialect) {
    let points = [
        "submit",
        "claim",
        "record",
        "send",
        "doubtful",
        "answered",
        "request",
        "take over",
    ];
    for point in points {
        for moment in ["before", "after"] {
            let point = format!("{moment} {point}");
            let place = Place::new(dialect);
            let died = start(&place, 6, 1, Some(&point)).wait().unwrap();
            assert!(!died.success(), "it did not come by at {point:?}");
            assert!(
                start(&place, 6, 2, None).wait().unwrap().success(),
                "{point}"
            );
            check(&place, 6).await;
        }
    }
}

on_each!(a_worker_that_slept_through_its_lease_bounces);
async fn a_worker_that_slept_through_its_lease_bounces(dialect: Dialect) {
    const TASKS: u32 = 20;
    let place = Place::new(dialect);
    let mut sleeper = start(&place, TASKS, 1, Some("asleep"));
    let stat = format!("/proc/{}/stat", sleeper.id());
    let stopped = || std::fs::read_to_string(&stat).unwrap().contains(") T ");
    while !stopped() {
        assert!(
            sleeper.try_wait().unwrap().is_none(),
            "it did not go to sleep"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(start(&place, TASKS, 2, None).wait().unwrap().success());
    let id = sleeper.id().to_string();
    let woken = Command::new("kill").args(["-CONT", &id]).status().unwrap();
    assert!(woken.success());
    assert_eq!(
        sleeper.wait().unwrap().code(),
        Some(3),
        "its lease had passed"
    );
    check(&place, TASKS).await;
}

on_each!(a_takeover_during_an_effect);
async fn a_takeover_during_an_effect(dialect: Dialect) {
    let place = Place::new(dialect);
    let short = options().lease(Duration::from_millis(50));
    let first = Ledger::open(place.ledger(), agents(1), short)
        .await
        .unwrap();
    first.submit(task("x")).await.unwrap();
    first.claim(kimi(), 1).await.unwrap();
    let sent = first.send(1).await.unwrap().remove(0);
    let second = place.open().await;
    while second.take_over().await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let doubtful = loop {
        // On a server it may still be begun until its lease ends.
        if let Some(doubtful) = second.doubtful(1).await.unwrap().pop() {
            break doubtful;
        }
    };
    let answer = Answer::Found(0, None);
    second.answered(&doubtful, answer).await.unwrap();
    let again = second.send(1).await.unwrap().remove(0);
    assert_eq!((again.id, again.row.sends), (sent.id, 2));

    // The first goes on as if nothing had happened.
    let refused = Answer::Refused("423".to_owned());
    assert_eq!(first.answered(&sent, refused).await.unwrap(), None);
    assert_eq!(first.lease_left(), Duration::ZERO);
    let bounced = first.send(1).await.unwrap_err();
    assert_eq!(bounced, LedgerError::LeaseLost);
    let done = second.answered(&again, Answer::Taken(None)).await.unwrap();
    assert_eq!(done, Some(effect::Phase::Settling));
}

#[tokio::test]
async fn a_full_disk_stops_it_and_loses_nothing() {
    const TASKS: u32 = 60;
    let place = Place::new(Dialect::Sqlite);
    // No file may become larger than so many blocks, and a write that would make it is an error.
    let limited = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 600; exec \"$@\"", "sh"])
        .arg(worker())
        .arg(place.ledger())
        .arg(place.folder.join("server"))
        .args([TASKS.to_string(), "1".to_owned()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&limited.stderr);
    assert_eq!(limited.status.code(), Some(1), "{said}");
    assert!(said.contains("disk"), "{said}");
    assert!(start(&place, TASKS, 2, None).wait().unwrap().success());
    check(&place, TASKS).await;
}

#[tokio::test]
async fn a_ledger_that_may_not_be_written_says_so() {
    let place = Place::new(Dialect::Sqlite);
    drop(place.open().await);
    let own = place.folder.join("worker");
    std::fs::copy(worker(), &own).unwrap();
    let may = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    may(Path::new(place.ledger()), 0o444);
    may(&place.folder, 0o555);
    let user = Command::new("id").arg("-u").output().unwrap().stdout;
    let mut command = if user == b"0\n" {
        // Root may write everything.
        let mut other = Command::new("setpriv");
        other.args(["--reuid=65534", "--clear-groups"]).arg(own);
        other
    } else {
        Command::new(own)
    };
    command.arg(place.ledger());
    let refused = command
        .arg(place.folder.join("server"))
        .arg("1")
        .output()
        .unwrap();
    may(&place.folder, 0o755);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let place = place.ledger();
    assert!(
        said.contains(place)
            && said.contains("this user must be able to write to the file and to its folder"),
        "{said}"
    );
}
