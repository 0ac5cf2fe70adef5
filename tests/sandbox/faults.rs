use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use timmy_dispatcher::sandbox::{Fault, GiteaVersion, Sandbox};

use crate::client::{PATIENCE, ask_raw, exchange, get, post};
use crate::swarm;

/// A sandbox with an issue, and the path of its comments.
fn commented() -> (Sandbox, String, String) {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    gitea.create_issue(&repo, "x", "").unwrap();
    let path = format!("/repos/{repo}/issues/1/comments");
    (gitea, repo, path)
}

fn comment(gitea: &Sandbox, path: &str) -> std::io::Result<crate::client::Reply> {
    ask_raw(gitea, "POST", path, Some(r#"{"body": "x"}"#))
}

fn comments(gitea: &Sandbox, repo: &str) -> usize {
    gitea.comments(repo, 1).unwrap().len()
}

#[test]
fn a_status_comes_in_place_of_the_effect() {
    let (gitea, repo, path) = commented();
    gitea
        .fault(
            Fault::status(503)
                .message("busy")
                .retry_after("2")
                .on("POST", "/comments")
                .times(1),
        )
        .unwrap();
    let refused = comment(&gitea, &path).unwrap();
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("2"))
    );
    let url = format!("{}/api/swagger", gitea.url());
    assert_eq!(refused.json(), json!({"message": "busy", "url": url}));
    assert_eq!(comments(&gitea, &repo), 0);
    assert_eq!(comment(&gitea, &path).unwrap().status, 201);
    let answered: Vec<_> = gitea
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(answered, [Some(503), Some(201)]);
}

#[test]
fn a_status_can_have_a_body_and_headers_of_its_own() {
    let (gitea, _, path) = commented();
    let fault = Fault::status(429)
        .body("slow down")
        .header("Content-Type", "text/plain")
        .retry_after("Fri, 01 Jan 2027 00:00:00 GMT");
    gitea.fault(fault).unwrap();
    let refused = get(&gitea, &path);
    assert_eq!(
        (refused.status, refused.body.as_slice()),
        (429, &b"slow down"[..])
    );
    assert_eq!(refused.header("content-type"), Some("text/plain"));
    assert_eq!(
        refused.header("retry-after"),
        Some("Fri, 01 Jan 2027 00:00:00 GMT")
    );
}

#[test]
fn a_status_after_the_effect_hides_it() {
    let (gitea, repo, path) = commented();
    gitea.fault(Fault::status(502).after_effect()).unwrap();
    assert_eq!(comment(&gitea, &path).unwrap().status, 502);
    assert_eq!(comments(&gitea, &repo), 1);
}

#[test]
fn a_fault_meets_only_what_it_matches() {
    let (gitea, repo, path) = commented();
    gitea
        .fault(Fault::status(500).on("POST", "/labels"))
        .unwrap();
    gitea
        .fault(Fault::status(500).path("/issues/7/comments"))
        .unwrap();
    gitea
        .fault(Fault::status(418).method("GET").path("*/labels?page=2*"))
        .unwrap();
    assert_eq!(comment(&gitea, &path).unwrap().status, 201);
    assert_eq!(get(&gitea, &format!("/repos/{repo}/labels")).status, 200);
    assert_eq!(
        get(&gitea, &format!("/repos/{repo}/labels?page=2&limit=50")).status,
        418
    );
    assert_eq!(
        post(
            &gitea,
            &format!("/repos/{repo}/issues/1/labels"),
            json!({"labels": []})
        )
        .status,
        500
    );
    gitea.clear_faults();
    assert_eq!(
        post(
            &gitea,
            &format!("/repos/{repo}/issues/1/labels"),
            json!({"labels": []})
        )
        .status,
        200
    );
}

#[test]
fn skip_and_times_say_which_of_the_matching() {
    let (gitea, _, path) = commented();
    gitea
        .fault(Fault::status(500).path("/comments").skip(1).times(2))
        .unwrap();
    let statuses: Vec<_> = (0..5).map(|_| get(&gitea, &path).status).collect();
    assert_eq!(statuses, [200, 500, 500, 200, 200]);
}

#[test]
fn the_agent_can_fail_too() {
    let (gitea, ..) = commented();
    gitea.fault(Fault::status(500).path("/agent/kimi")).unwrap();
    let request =
        "POST /agent/kimi HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(&gitea, request).unwrap().status, 500);
}

#[test]
fn a_connection_dropped_before_the_effect_has_none() {
    for (fault, kind) in [
        (Fault::drop_connection(), ErrorKind::UnexpectedEof),
        (Fault::reset_connection(), ErrorKind::ConnectionReset),
    ] {
        let (gitea, repo, path) = commented();
        gitea.fault(fault.times(1)).unwrap();
        assert_eq!(comment(&gitea, &path).unwrap_err().kind(), kind);
        assert_eq!(comments(&gitea, &repo), 0);
        assert_eq!(gitea.requests()[0].status, None);
        assert_eq!(comment(&gitea, &path).unwrap().status, 201);
    }
}

#[test]
fn a_connection_dropped_after_the_effect_has_it() {
    for (fault, kind) in [
        (Fault::drop_connection(), ErrorKind::UnexpectedEof),
        (Fault::reset_connection(), ErrorKind::ConnectionReset),
    ] {
        let (gitea, repo, path) = commented();
        gitea.fault(fault.after_effect()).unwrap();
        assert_eq!(comment(&gitea, &path).unwrap_err().kind(), kind);
        assert_eq!(comments(&gitea, &repo), 1);
        assert_eq!(gitea.requests()[0].status, None);
    }
}

#[test]
fn a_truncated_answer_promises_more_than_it_sends() {
    let (gitea, repo, path) = commented();
    gitea.fault(Fault::truncated().times(1)).unwrap();
    gitea
        .fault(Fault::truncated_after(3).body("0123456789").times(1))
        .unwrap();
    gitea.fault(Fault::truncated_after(0).times(1)).unwrap();
    let half = comment(&gitea, &path).unwrap_err();
    assert_eq!(half.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(comments(&gitea, &repo), 1);
    assert_eq!(
        comment(&gitea, &path).unwrap_err().to_string(),
        "3 of 10 bytes"
    );
    assert!(
        comment(&gitea, &path)
            .unwrap_err()
            .to_string()
            .starts_with("0 of ")
    );
    assert_eq!(comment(&gitea, &path).unwrap().status, 201);
}

#[test]
fn a_huge_answer_is_as_long_as_ordered() {
    let (gitea, repo, path) = commented();
    gitea.fault(Fault::huge(3_000_001).times(1)).unwrap();
    let huge = get(&gitea, &path);
    assert_eq!((huge.status, huge.body.len()), (200, 3_000_001));
    assert_eq!(huge.header("content-length"), None);
    // A client that hangs up on gigabytes leaves the sandbox well.
    gitea.fault(Fault::huge(1 << 40).times(1)).unwrap();
    let mut socket = TcpStream::connect(gitea.address()).unwrap();
    write!(
        socket,
        "GET /api/v1/repos/{repo}/labels HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    .unwrap();
    socket.read_exact(&mut vec![0; 1_000_000]).unwrap();
    drop(socket);
    assert_eq!(get(&gitea, &path).status, 200);
}

#[test]
fn a_zeroed_issue_is_200_with_nothing_in_it() {
    let (gitea, repo, _) = commented();
    gitea
        .fault(Fault::zeroed_issue().on("GET", "/issues/1"))
        .unwrap();
    let zeroed = get(&gitea, &format!("/repos/{repo}/issues/1"));
    assert_eq!(zeroed.status, 200);
    assert_eq!(
        (&zeroed.json()["number"], &zeroed.json()["state"]),
        (&json!(0), &json!(""))
    );
    assert_eq!(zeroed.json()["created_at"], "0001-01-01T00:00:00Z");
}

#[test]
fn a_redirect_leads_where_ordered() {
    let (gitea, repo, path) = commented();
    gitea
        .fault(Fault::redirect(301, "/api/v1/repos/timmy/new").times(1))
        .unwrap();
    gitea
        .fault(Fault::redirect(307, "http://elsewhere.example/x").times(1))
        .unwrap();
    let relative = comment(&gitea, &path).unwrap();
    assert_eq!(
        (relative.status, relative.header("location")),
        (301, Some("/api/v1/repos/timmy/new"))
    );
    let absolute = comment(&gitea, &path).unwrap();
    assert_eq!(
        (absolute.status, absolute.header("location")),
        (307, Some("http://elsewhere.example/x"))
    );
    assert_eq!(comments(&gitea, &repo), 0);
}

#[test]
fn a_body_is_replaced_as_it_stands() {
    let (gitea, repo, path) = commented();
    gitea
        .fault(Fault::replace("[{\"name\": NaN}]").times(1))
        .unwrap();
    let replaced = comment(&gitea, &path).unwrap();
    assert_eq!(
        (replaced.status, replaced.body.as_slice()),
        (200, &b"[{\"name\": NaN}]"[..])
    );
    assert_eq!(comments(&gitea, &repo), 0);
    gitea.fault(Fault::replace("").after_effect()).unwrap();
    let empty = comment(&gitea, &path).unwrap();
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    assert_eq!(comments(&gitea, &repo), 1);
}

#[test]
fn a_delay_takes_its_time() {
    let (gitea, repo, path) = commented();
    let time = Duration::from_millis(60);
    for fault in [Fault::delay(time), Fault::delay(time).after_effect()] {
        gitea.fault(fault.times(1)).unwrap();
        let begun = Instant::now();
        assert_eq!(comment(&gitea, &path).unwrap().status, 201);
        assert!(begun.elapsed() >= time);
    }
    assert_eq!(comments(&gitea, &repo), 2);
}

#[test]
fn a_client_that_gives_up_on_a_delay_has_caused_nothing_or_all() {
    for (after_effect, made) in [(false, 0), (true, 1)] {
        let (gitea, repo, path) = commented();
        let fault = Fault::delay(PATIENCE).times(1);
        gitea
            .fault(if after_effect {
                fault.after_effect()
            } else {
                fault
            })
            .unwrap();
        let mut socket = TcpStream::connect(gitea.address()).unwrap();
        let token = gitea.token();
        write!(
            socket,
            "POST /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: token {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{{\"body\":\"x\"}}"
        )
        .unwrap();
        assert!(gitea.wait_for_requests(1, PATIENCE));
        drop(socket);
        assert_eq!(comments(&gitea, &repo), made);
    }
}

#[test]
fn what_is_held_waits_for_the_release() {
    for after_effect in [false, true] {
        let (gitea, repo, path) = commented();
        let fault = Fault::hold().path("/comments");
        gitea
            .fault(if after_effect {
                fault.after_effect()
            } else {
                fault
            })
            .unwrap();
        std::thread::scope(|scope| {
            let held = scope.spawn(|| comment(&gitea, &path).unwrap());
            assert!(gitea.wait_for_requests(1, PATIENCE));
            assert_eq!(gitea.requests()[0].status, None);
            assert_eq!(comments(&gitea, &repo), usize::from(after_effect));
            assert_eq!(
                get(&gitea, &format!("/repos/{repo}/labels")).status,
                200,
                "others go on"
            );
            gitea.release();
            assert_eq!(held.join().unwrap().status, 201);
        });
        // What comes later is held as before, and goes with the fault.
        std::thread::scope(|scope| {
            let held = scope.spawn(|| comment(&gitea, &path).unwrap());
            assert!(gitea.wait_for_requests(3, PATIENCE));
            assert_eq!(gitea.requests()[2].status, None);
            gitea.clear_faults();
            assert_eq!(held.join().unwrap().status, 201);
        });
        assert_eq!(comments(&gitea, &repo), 2);
    }
}

#[test]
fn stopping_ends_what_is_held() {
    let (gitea, repo, path) = commented();
    gitea.fault(Fault::hold()).unwrap();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| comment(&gitea, &path));
        assert!(gitea.wait_for_requests(1, PATIENCE));
        gitea.stop();
        assert!(held.join().unwrap().is_err());
    });
    assert_eq!(comments(&gitea, &repo), 0);
}

#[test]
fn a_hold_and_a_status_add_up() {
    let (gitea, _, path) = commented();
    gitea.fault(Fault::hold()).unwrap();
    gitea.fault(Fault::status(503)).unwrap();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| comment(&gitea, &path).unwrap());
        assert!(gitea.wait_for_requests(1, PATIENCE));
        gitea.release();
        assert_eq!(held.join().unwrap().status, 503);
    });
}

#[test]
fn a_dripping_answer_is_whole_in_the_end() {
    let (gitea, _, path) = commented();
    let interval = Duration::from_millis(5);
    gitea
        .fault(Fault::drip(interval).body("0123456789"))
        .unwrap();
    let begun = Instant::now();
    let dripped = get(&gitea, &path);
    assert_eq!(
        (dripped.status, dripped.body.as_slice()),
        (200, &b"0123456789"[..])
    );
    assert!(begun.elapsed() >= interval * 10);
}

#[test]
fn the_head_of_a_dripping_answer_is_not_kept_waiting() {
    let (gitea, repo, _) = commented();
    gitea.fault(Fault::drip(PATIENCE * 100)).unwrap();
    let mut socket = TcpStream::connect(gitea.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        socket,
        "GET /api/v1/repos/{repo}/labels HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    .unwrap();
    let mut start = [0; 15];
    socket.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
}

#[test]
fn what_cannot_be_sent_is_refused_when_ordered() {
    let (gitea, ..) = commented();
    let status = gitea.fault(Fault::status(99)).unwrap_err();
    assert!(status.to_string().contains("99"));
    assert!(
        gitea
            .fault(Fault::status(503).header("a\r\nb", "c"))
            .is_err()
    );
    assert!(
        gitea
            .fault(Fault::status(503).header("a", "b\r\nc"))
            .is_err()
    );
}

#[test]
fn an_effect_comes_late_after_the_connection_was_dropped() {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    gitea.create_issue(&repo, "x", "").unwrap();
    let path = format!("/repos/{repo}/issues/1/comments");
    let late = Duration::from_millis(200);
    let fault = Fault::drop_connection()
        .commit_late(late)
        .on("POST", "/comments");
    gitea.fault(fault.times(1)).unwrap();
    let begun = Instant::now();
    assert!(ask_raw(&gitea, "POST", &path, Some("{\"body\": \"late\"}")).is_err());
    assert!(gitea.wait_for_late_effects(PATIENCE));
    assert!(begun.elapsed() >= late);
    let comments = gitea.comments(&repo, 1).unwrap();
    assert_eq!(
        (comments.len(), comments[0]["body"].as_str()),
        (1, Some("late"))
    );
    assert_eq!(gitea.requests()[0].status, None);
    // One that is repeated meanwhile is there twice in the end.
    post(&gitea, &path, json!({"body": "late"}));
    assert_eq!(gitea.comments(&repo, 1).unwrap().len(), 2);
}

#[test]
fn effects_wait_for_the_release_behind_an_answer_of_any_kind() {
    for fault in [
        Fault::status(504),
        Fault::reset_connection(),
        Fault::status(429).retry_after("2"),
        Fault::huge(10),
    ] {
        let (gitea, repo) = swarm(GiteaVersion::V1_25);
        gitea.create_issue(&repo, "x", "").unwrap();
        let path = format!("/repos/{repo}/issues/1/labels");
        let label = gitea.create_label(&repo, "kimi-ready", "#ff6600").unwrap();
        gitea
            .fault(fault.commit_at_release().on("POST", "/labels").times(1))
            .unwrap();
        let body = json!({"labels": [label]}).to_string();
        let answered = ask_raw(&gitea, "POST", &path, Some(&body));
        assert_ne!(answered.map_or(0, |answer| answer.status), 201);
        assert!(!gitea.wait_for_late_effects(Duration::ZERO));
        assert!(gitea.issue_labels(&repo, 1).unwrap().is_empty());
        gitea.release();
        assert!(gitea.wait_for_late_effects(PATIENCE));
        assert_eq!(gitea.issue_labels(&repo, 1).unwrap().len(), 1);
        assert_eq!(gitea.timeline(&repo, 1).unwrap()[0]["body"], "1");
    }
}

#[test]
fn a_late_effect_is_refused_as_it_would_be_then() {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    gitea.create_issue(&repo, "x", "").unwrap();
    let path = format!("/repos/{repo}/issues/1/comments");
    gitea
        .fault(Fault::drop_connection().commit_at_release())
        .unwrap();
    assert!(ask_raw(&gitea, "POST", &path, Some("{\"body\": \"x\"}")).is_err());
    gitea.archive_repo(&repo).unwrap();
    gitea.clear_faults();
    assert!(gitea.wait_for_late_effects(PATIENCE));
    assert!(gitea.comments(&repo, 1).unwrap().is_empty());
}

#[test]
fn what_is_answered_for_real_is_not_committed_late() {
    let (gitea, _) = swarm(GiteaVersion::V1_26);
    for fault in [
        Fault::truncated(),
        Fault::drip(PATIENCE),
        Fault::hold(),
        Fault::delay(PATIENCE),
    ] {
        assert!(gitea.fault(fault.commit_at_release()).is_err());
    }
}
