//! Every fault at every request: what comes of it, and what is sent again.

use timmy_dispatcher::dispatch::Task;
use timmy_dispatcher::sandbox::Fault;

use crate::Wire;

/// A request of a hand-over: method, path, the step that fails with it, and whether it is asked
/// again where the connection broke. What may have had its effect is not.
type Asked = (&'static str, &'static str, &'static str, bool);

const REQUESTS: [Asked; 5] = [
    ("GET", "REPO/labels", "label", true),
    ("POST", "REPO/labels", "label", false),
    ("POST", "REPO/issues/1/labels", "label", true),
    ("POST", "REPO/issues/1/comments", "comment", false),
    ("POST", "/agent", "agent", false),
];

/// Every pair of a request and something else.
fn each<'a, T>(requests: &'a [Asked], others: &'a [T]) -> impl Iterator<Item = (Asked, &'a T)> {
    requests
        .iter()
        .flat_map(move |request| others.iter().map(move |other| (*request, other)))
}

/// Hands over with a fault at one request; the reason of the failure and how often it was sent.
async fn fail(
    wire: &mut Wire,
    (method, path, step, _): Asked,
    fault: Fault,
) -> (Option<String>, usize) {
    wire.renew();
    let path = path.replace("REPO", &wire.repo);
    wire.gitea.fault(fault.on(method, &path)).unwrap();
    let task = if step == "agent" {
        Task {
            api_endpoint: Some(format!("{}/agent", wire.gitea.url())),
            max_retries: 0,
            ..Task::new("Research it")
        }
    } else {
        wire.task()
    };
    let result = wire.swarm.dispatch(&task).await;
    let reason = match &result.failed_steps[..] {
        [] => result.error,
        [(failed, reason)] => {
            assert_eq!(*failed, step);
            Some(reason.clone())
        }
        more => panic!("{more:?}"),
    };
    let requests = wire.gitea.requests();
    let sent = requests
        .iter()
        .filter(|one| one.method == method && one.path.ends_with(&path));
    (reason, sent.count())
}

#[tokio::test]
async fn a_connection_that_breaks() {
    let faults = [
        Fault::drop_connection(),
        Fault::drop_connection().after_effect(),
        Fault::reset_connection(),
        Fault::reset_connection().after_effect(),
        Fault::truncated(),
        Fault::truncated_after(0),
    ];
    for mut wire in Wire::both() {
        let broken = format!("{} broke off: ", wire.host());
        for (request, fault) in each(&REQUESTS, &faults) {
            let times = if request.3 { 2 } else { 1 };
            let (reason, sent) = fail(&mut wire, request, fault.clone()).await;
            assert!(
                reason.unwrap().starts_with(&broken),
                "{request:?} {fault:?}"
            );
            assert_eq!(sent, times, "{request:?} {fault:?}");
            let (reason, sent) = fail(&mut wire, request, fault.clone().times(1)).await;
            assert_eq!(reason.is_none(), request.3, "{request:?} {fault:?}");
            assert_eq!(sent, times, "{request:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_is_never_asked_for_again() {
    let faults = [
        (Fault::status(400).message("no"), "400"),
        (Fault::status(403), "403"),
        (Fault::status(423), "423"),
        (Fault::status(429), "429"),
        (Fault::status(500), "500"),
        (Fault::status(500).after_effect(), "500"),
        (Fault::status(503).body("plain"), "503"),
        (Fault::status(502).body("x".repeat(2_000_000)), "502"),
        (Fault::redirect(301, "/elsewhere"), "301"),
        (Fault::huge(17 * 1024 * 1024), "the answer of"),
    ];
    for mut wire in Wire::both() {
        for (request, (fault, text)) in each(&REQUESTS, &faults) {
            let (reason, sent) = fail(&mut wire, request, fault.clone()).await;
            let reason = reason.unwrap();
            let shown = reason.trim_start_matches("API agent returned ");
            assert!(shown.starts_with(text), "{request:?}: {reason}");
            assert!(reason.chars().count() < 300, "{request:?}: {reason}");
            assert_eq!(sent, 1, "{request:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_success_that_cannot_be_read() {
    let answers: [&[u8]; 5] = [
        b"<html>",
        b"{\"id\": \"\xff\"}",
        b"",
        b"7",
        &[b'['; 100_000],
    ];
    for mut wire in Wire::both() {
        for (request, answer) in each(&REQUESTS, &answers) {
            let (reason, sent) = fail(&mut wire, request, Fault::replace(answer.to_vec())).await;
            // Adding a label believes its status, and an agent may answer with any bytes.
            let believed = request.1.ends_with("/1/labels") || request.2 == "agent";
            assert_eq!(reason.is_none(), believed, "{request:?}: {reason:?}");
            assert_eq!(sent, 1);
        }
    }
}

#[tokio::test]
async fn an_issue_that_is_asked_for_again() {
    for wire in Wire::both() {
        wire.gitea.close_issue(&wire.repo, wire.number).unwrap();
        let faults = [
            (Fault::drop_connection(), 2),
            (Fault::reset_connection(), 2),
            (Fault::truncated(), 2),
            (Fault::huge(17 * 1024 * 1024), 1),
            (Fault::status(503), 1),
            (Fault::redirect(301, "/elsewhere"), 1),
            (Fault::zeroed_issue(), 1),
            (Fault::replace("<html>"), 1),
            (Fault::replace(b"{\"state\":\"closed\xff\"}".to_vec()), 1),
        ];
        for (fault, times) in faults {
            wire.gitea.clear_requests();
            wire.gitea.clear_faults();
            wire.gitea.fault(fault.times(times)).unwrap();
            let status = wire
                .swarm
                .wait_for_completion(wire.number, 0.01, 60.0)
                .await;
            assert!(status.is_success());
            assert_eq!(wire.gitea.requests().len() as u64, times + 1);
        }
    }
}

#[tokio::test]
async fn a_dropped_dispatch_leaves_nothing_that_others_wait_for() {
    for wire in Wire::both() {
        let creation = Fault::hold().on("POST", "*/swarm/labels").times(1);
        wire.gitea.fault(creation).unwrap();
        let (swarm, task) = (wire.swarm.clone(), wire.task());
        let dropped = tokio::spawn(async move { swarm.dispatch(&task).await });
        while wire.gitea.requests().len() < 2 {
            tokio::task::yield_now().await;
        }
        dropped.abort();
        assert!(dropped.await.unwrap_err().is_cancelled());
        assert!(wire.swarm.dispatch(&wire.task()).await.is_success());
    }
}
